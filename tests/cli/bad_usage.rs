//! Wrong command lines: what each says, and its exit code.

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _};

use crate::environment::{TestEnvironment, finish};

/// Runs the lines and lists what each said.
fn table(environment: &TestEnvironment, lines: &[&str]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        let arguments: Vec<_> = line.split_whitespace().collect();
        let outcome = environment.run(&arguments);
        assert_ne!(outcome.code, Some(101), "{line} panicked: {}", outcome.stderr);
        let code = outcome.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        let _ = writeln!(text, "$ democtl {line}\n{}exit {code}\n", environment.plain(&outcome.stderr));
        text
    })
}

#[test]
fn wrong_command_lines_say_what_is_wrong() {
    let environment = TestEnvironment::new();
    fs::write(environment.path("not-text.toml"), [0xff, 0xfe, 0x00]).expect("the directory is ours");
    fs::write(environment.path("not-toml.toml"), "[meta\n").expect("the directory is ours");
    fs::write(environment.path("empty.toml"), "").expect("the directory is ours");
    fs::create_dir(environment.path("directory.toml")).expect("the directory is ours");
    fs::write(environment.path("a-file"), "").expect("the directory is ours");
    insta::assert_snapshot!(table(
        &environment,
        &[
            "setupp",
            "setup",
            "setup --profil m3demo1",
            "setup --profile m3demo3",
            "setup --profile ./missing.toml",
            "setup --profile ./directory.toml",
            "setup --profile ./not-text.toml",
            "setup --profile ./not-toml.toml",
            "setup --profile ./empty.toml",
            "setup --profile m3demo1 --set workload.web",
            "setup --profile m3demo1 --set =3",
            "setup --profile m3demo1 --set workload.wbe.replicas=3",
            "setup --profile m3demo2 --set workload.web.scaling.max=many",
            "setup --profile m3demo1 --speed 0",
            "setup --profile m3demo1 --speed fast",
            "setup --profile m3demo1 --speed inf",
            "setup --profile m3demo1 --seed -1",
            "setup --profile m3demo1 --target moon",
            "setup --profile m3demo1 --name ../escape",
            "setup --profile m3demo1 --name UPPER",
            "setup --profile m3demo1 --home a-file",
            "setup --profile m3demo1 --output yaml",
            "demo m3demo9",
            "demo m3demo2 --test spyke",
            "explain nosuch",
            "explain m3dmeo2",
            "explain --profile m3dmeo2",
            "explain m3demo2 --profile m3demo2",
            "forecast nosuch",
            "forecast m3dmeo2",
            "forecast m3demo1 --profile m3demo2",
            "forecast --test spyke",
            "tune --profile m3dmeo2",
            "calibrate nosuch",
            "run-tests",
            "run-tests --name nowhere",
            "run-tests --engine wrk",
            "status --name nowhere",
            "watch",
            "kubeconfig",
            "cleanup",
            "cleanup --name nowhere",
            "cleanup --all --name nowhere",
            "plan --profile nowhere",
            "render --profile m3demo1 --out a-file",
            "profile",
            "profile show",
            "profile check nowhere",
            "completions tcsh",
            "app",
            "app cook",
            "local-cluster --dir nowhere",
        ],
    ));
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let environment = TestEnvironment::new();
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut command = environment.command(&["profile", "list"]);
    command.stdout(full);
    let outcome = finish(command);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.starts_with("error: cannot write to standard output: No space left"), "{}", outcome.stderr);
}

#[test]
fn several_environments_need_a_name() {
    let environment = TestEnvironment::new();
    for name in ["one", "two"] {
        fs::create_dir_all(environment.path("home/environments").join(name)).expect("the directory is ours");
    }
    insta::assert_snapshot!(table(
        &environment,
        &[
            "run-tests",
            "watch",
            "kubeconfig",
            "cleanup",
            "run-tests --name three",
            "run-tests --name tow",
            "run-tests --name one",
            "explain two"
        ],
    ));
}

#[test]
fn a_damaged_environment_is_named_and_can_be_removed() {
    let environment = TestEnvironment::new();
    let dir = environment.environment_dir();
    fs::create_dir_all(&dir).expect("the directory is ours");
    fs::write(dir.join("environment.json"), "{\"profile\":").expect("the directory is ours");
    fs::write(dir.join("ledger.jsonl"), "garbage\n").expect("the directory is ours");
    insta::assert_snapshot!(table(
        &environment,
        &["status", "run-tests", "setup --profile ./tiny.toml", "cleanup", "status"],
    ));
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let environment = TestEnvironment::new();
    let home = environment.path("locked");
    fs::create_dir(&home).expect("the directory is ours");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o500)).expect("the directory is ours");
    // Root writes anywhere; nobody can write below /proc.
    let home = if fs::create_dir(home.join("probe")).is_ok() { "/proc/democtl" } else { "locked" };
    let outcome = environment.expect(1, &["setup", "--profile", "./tiny.toml", "--home", home]);
    assert!(outcome.stderr.contains("error: cannot make "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("environments/tiny"), "{}", outcome.stderr);
}
