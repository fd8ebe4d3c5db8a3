//! Everything killed with SIGKILL in the middle: the next command puts it right.

use std::fs;

use crate::environment::{TestEnvironment, kill, kill_child, serves};

/// Whether a command has come so far.
type Reached = fn(&TestEnvironment) -> bool;

fn address(environment: &TestEnvironment) -> String {
    let status = environment.json(&["status", "--output", "json"]);
    status[0]["address"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_killed_cluster_comes_back_as_it_was() {
    let environment = TestEnvironment::new();
    environment.setup();
    let cluster = environment.cluster_pid().expect("it runs");
    kill(cluster);
    environment.wait_until("the end of the pods with their cluster", |it| it.processes().is_empty());
    let status = environment.json(&["status", "--output", "json"]);
    assert_eq!(status[0]["cluster"]["state"], "down");
    let watch = environment.expect(4, &["watch"]);
    assert!(watch.stderr.contains("is down: process"), "{}", watch.stderr);

    environment.setup();
    assert_ne!(environment.cluster_pid(), Some(cluster));
    let ledger = fs::read_to_string(environment.environment_dir().join("ledger.jsonl")).expect("it is there");
    let delivered = ledger.lines().filter(|line| line.contains("\"delivery\"") && line.contains("\"done\"")).count();
    assert_eq!(delivered, 1, "the objects came from the journal: {ledger}");
    assert!(serves(&address(&environment)));

    kill(environment.cluster_pid().expect("it runs"));
    environment.expect(0, &["run-tests", "--test", "calm"]);
}

#[test]
fn a_killed_pod_is_started_again() {
    let environment = TestEnvironment::new();
    environment.setup();
    let web = |it: &TestEnvironment| it.processes().into_iter().find(|(_, line)| line.contains(" app web"));
    let (old, _) = web(&environment).expect("a web pod runs");
    kill(old);
    environment.wait_until("another web process", |it| web(it).is_some_and(|(pid, _)| pid != old));
    let address = address(&environment);
    environment.wait_until("the app's answer", |_| serves(&address));
}

#[test]
fn a_killed_setup_goes_on() {
    let environment = TestEnvironment::new();
    let steps: [(&str, Reached); 3] = [
        ("the ledger", |it| it.environment_dir().join("ledger.jsonl").exists()),
        ("the cluster's process", |it| it.cluster_pid().is_some()),
        ("the first pod", |it| it.processes().len() > 1),
    ];
    for (what, reached) in steps {
        let mut child = environment.start(&["setup", "--profile", "./tiny.toml", "--speed", "10"]);
        environment.wait_until(what, reached);
        kill_child(&mut child);
    }
    environment.setup();
    assert!(serves(&address(&environment)));
}

#[test]
fn killed_tests_leave_an_environment_that_works() {
    let environment = TestEnvironment::new();
    environment.setup();
    let mut child = environment.start(&["run-tests", "--test", "long"]);
    environment.wait_until("the run", |it| {
        let runs = fs::read_dir(it.environment_dir().join("runs"));
        runs.is_ok_and(|mut runs| runs.any(|run| run.is_ok_and(|run| run.path().join("events.jsonl").exists())))
    });
    kill_child(&mut child);
    let status = environment.json(&["status", "--output", "json"]);
    assert_eq!(status[0]["cluster"]["state"], "running");
    environment.expect(0, &["cleanup"]);
    assert!(environment.processes().is_empty());
}

#[test]
fn a_killed_cleanup_is_finished_by_the_next_command() {
    let environment = TestEnvironment::new();
    environment.setup();
    let cluster = environment.cluster_pid().expect("it runs");
    let mut child = environment.start(&["cleanup"]);
    environment.wait_until("the end of the cluster", |it| !it.processes().iter().any(|(pid, _)| *pid == cluster));
    kill_child(&mut child);
    environment.expect(0, &["cleanup", "--all"]);
    assert!(!environment.environment_dir().exists());
}

#[test]
fn setup_after_a_half_done_cleanup_delivers_again() {
    let environment = TestEnvironment::new();
    environment.setup();
    kill(environment.cluster_pid().expect("it runs"));
    environment.wait_until("the end of the processes", |it| it.processes().is_empty());
    // As a cleanup leaves it that was killed after it removed the cluster and before it wrote so.
    fs::remove_dir_all(environment.environment_dir().join("cluster")).expect("the directory is ours");
    environment.setup();
    assert!(serves(&address(&environment)));
}

#[test]
fn a_cluster_that_no_line_of_the_ledger_calls_made_is_noted_by_the_next_setup() {
    let environment = TestEnvironment::new();
    environment.setup();
    // As a setup leaves it that was killed between the cluster's start and its line.
    let file = environment.environment_dir().join("ledger.jsonl");
    let all = fs::read_to_string(&file).expect("setup wrote it");
    let begun = all.lines().next().expect("the cluster was begun");
    fs::write(&file, format!("{begun}\n")).expect("the directory is ours");
    environment.setup();
    let doctor = environment.json(&["doctor", "--output", "json"]);
    let mut checks = doctor["checks"].as_array().expect("a list").iter();
    let left = checks.find(|check| check["what"] == "environments").expect("it looks at them");
    assert_eq!(left["standing"], "ok", "{left}");
    environment.expect(0, &["cleanup"]);
}
