//! `democtl doctor`: what it finds on a machine, with stand-ins of the tools, and that it changes nothing.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;

use crate::environment::{Outcome, TestEnvironment, finish, kill};

/// A program that answers as a tool would.
fn tool(environment: &TestEnvironment, name: &str, script: &str) {
    let dir = environment.path("bin");
    fs::create_dir_all(&dir).expect("the directory is ours");
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the directory is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
}

/// A command that sees the stand-ins only.
fn command(environment: &TestEnvironment, arguments: &[&str]) -> Command {
    let mut command = environment.command(arguments);
    command.env("PATH", environment.path("bin"));
    command
}

fn checks(outcome: &Outcome) -> Vec<(String, String, String)> {
    let told: Value = serde_json::from_str(&outcome.stdout).expect("--output json writes JSON");
    let text = |check: &Value, name: &str| check[name].as_str().expect("text").to_owned();
    let checks = told["checks"].as_array().expect("a list").iter();
    checks.map(|check| (text(check, "what"), text(check, "standing"), text(check, "found"))).collect()
}

#[test]
fn a_machine_without_tools_is_ready_for_the_local_target_only() {
    let environment = TestEnvironment::new();
    fs::create_dir_all(environment.path("bin")).expect("the directory is ours");
    let local = finish(command(&environment, &["doctor"]));
    assert_eq!(local.code, Some(0), "{}", local.stderr);
    assert!(local.stdout.contains("warning  kubectl       not found (needed: 1.22 or later)"), "{}", local.stdout);
    assert!(local.stdout.ends_with("ready for --target local\n"), "{}", local.stdout);
    assert!(!local.stdout.contains("terraform") && !local.stdout.contains("credential"), "{}", local.stdout);

    let azure = finish(command(&environment, &["doctor", "--target", "azure"]));
    assert_eq!(azure.code, Some(3), "{}", azure.stdout);
    assert!(azure.stderr.contains("3 of "), "terraform, az, the subscription: {}", azure.stderr);
    for line in [
        "REFUSED  terraform     not found (needed: 1.9 up to below 2.0)",
        "-> install it: https://developer.hashicorp.com/terraform/install",
        "REFUSED  az            not found (needed: 2.54 or later)",
        "ok       credential    the Azure CLI",
        "REFUSED  subscription  none is named",
    ] {
        assert!(azure.stdout.contains(line), "{line}\n{}", azure.stdout);
    }
    assert!(!environment.path("home").exists(), "nothing was made");
}

#[test]
fn tools_are_judged_by_the_version_they_tell() {
    let environment = TestEnvironment::new();
    tool(&environment, "terraform", "echo '{\"terraform_version\": \"1.5.7\"}'");
    tool(&environment, "az", "exit 1");
    tool(&environment, "kubectl", "echo '{\"clientVersion\": {\"gitVersion\": \"v1.33.1\"}}'");
    tool(&environment, "k6", "echo 'k6 v0.49.0'");
    let outcome = finish(command(&environment, &["doctor", "--target", "azure", "--output", "json"]));
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    let checks = checks(&outcome);
    let row = |what: &str| {
        let found = checks.iter().find(|(name, _, _)| name == what).expect("it is looked at");
        (found.1.clone(), found.2.clone())
    };
    assert_eq!(row("terraform"), ("refused".into(), "1.5 (needed: 1.9 up to below 2.0)".into()));
    assert_eq!(row("az").0, "refused");
    assert_eq!(row("kubectl"), ("ok".into(), "1.33 (needed: 1.22 or later)".into()));
    assert_eq!(row("k6"), ("warning".into(), "0.49 (needed: 1.0 or later), for --engine k6 only".into()));

    let mut by_token =
        command(&environment, &["doctor", "--target", "azure", "--subscription", "s", "--output", "json"]);
    by_token.env("AZURE_ACCESS_TOKEN", "t0ken").env("DEMOCTL_AZURE_ENDPOINT", "http://127.0.0.1:1");
    let outcome = finish(by_token);
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(said.contains("a given access token") && !said.contains("t0ken"), "{said}");
    assert!(said.contains("Connection refused") && !said.contains("\"az\""), "{said}");
}

#[test]
fn what_earlier_commands_left_is_told_with_its_remedy() {
    let environment = TestEnvironment::new();
    environment.setup();
    let found = |what: &str| {
        let outcome = environment.expect(0, &["doctor", "--output", "json"]);
        let all = checks(&outcome).into_iter().filter(|(name, _, _)| name == what);
        all.map(|(_, standing, found)| format!("{standing}: {found}")).collect::<Vec<_>>()
    };
    assert_eq!(found("environments"), ["ok: 1: tiny"]);
    assert_eq!(found("permissions"), Vec::<String>::new());
    let pid = environment.cluster_pid().expect("it runs");
    kill(pid);
    environment.wait_until("its end", |it| !it.processes().iter().any(|(other, _)| *other == pid));
    assert_eq!(found("environments")[1], format!("warning: tiny: its cluster is down: process {pid} has ended"));
    fs::set_permissions(environment.environment_dir(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let open = format!("warning: others can read {}", environment.environment_dir().display());
    assert_eq!(found("permissions"), [open]);
    fs::write(environment.environment_dir().join("environment.json"), "{").expect("it is ours");
    let damaged = found("environments");
    assert!(damaged[1].contains("tiny: ") && damaged[1].ends_with("environment.json is damaged"), "{damaged:?}");
    let human = environment.expect(0, &["doctor"]);
    assert!(human.stdout.contains("-> democtl cleanup --name tiny"), "{}", human.stdout);
}
