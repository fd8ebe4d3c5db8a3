//! Commands that end before their work is done: cancelled (exit code 6), or not healthy in time (5). Both can go on. A watch
//! has no other end.

use std::{fs, io::Read as _, process::Child};

use rustix::process::{Pid, Signal, kill_process};

use crate::environment::{TestEnvironment, serves};

/// Ends a command as Ctrl-C or a job's end does; yields its exit code and what it said.
fn end(child: Child, signal: Signal) -> (Option<i32>, String) {
    kill_process(Pid::from_child(&child), signal).expect("it runs");
    let output = child.wait_with_output().expect("the process is ours");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_cancelled_setup_says_how_to_go_on() {
    let environment = TestEnvironment::new();
    let never = "workload.web.probes.readiness.initial_delay=1h";
    let setup = ["setup", "--profile", "./tiny.toml", "--speed", "10", "--set", never];
    for signal in [Signal::INT, Signal::TERM] {
        let child = environment.start(&setup);
        let holder = format!("pid {}\n", child.id());
        environment.wait_until("its work on a pod", |it| {
            let lock = fs::read_to_string(it.environment_dir().join("lock")).unwrap_or_default();
            lock == holder && it.processes().iter().any(|(_, line)| line.contains(" app web"))
        });
        let (code, words) = end(child, signal);
        assert_eq!(code, Some(6), "{words}");
        assert!(words.contains("stopping; press Ctrl-C again to stop at once"), "{words}");
        assert!(
            words.contains("error: cancelled\nhint: setup goes on where it stopped; cleanup removes it"),
            "{words}"
        );
    }
    let cluster = environment.cluster_pid();
    let late = environment.expect(5, &[&setup[..], &["--timeout", "1s"]].concat());
    assert!(late.stderr.contains("error: not healthy within 1s: web has 0 of 1 replicas ready"), "{}", late.stderr);
    assert_eq!(environment.cluster_pid(), cluster, "it went on with what there was");
    let status = environment.json(&["status", "--output", "json"]);
    assert_eq!((&status[0]["cluster"]["state"], &status[0]["delivered"]), (&"running".into(), &false.into()));
}

#[test]
fn what_is_not_healthy_in_time_may_be_so_later() {
    let environment = TestEnvironment::new();
    // Five seconds at this speed.
    let slow = "workload.web.probes.readiness.initial_delay=50s";
    let setup = ["setup", "--profile", "./tiny.toml", "--speed", "10", "--set", slow];
    let late = environment.expect(5, &[&setup[..], &["--timeout", "1ms"]].concat());
    assert!(late.stderr.contains("error: not healthy within 1ms: "), "{}", late.stderr);
    assert!(late.stdout.is_empty(), "{}", late.stdout);
    let done = environment.expect(0, &setup);
    assert!(done.stdout.contains("tiny is up"), "{}", done.stdout);
    let status = environment.json(&["status", "--output", "json"]);
    assert_eq!(status[0]["delivered"], true);
    assert!(serves(status[0]["address"].as_str().expect("it has an address")));
}

#[test]
fn cancelled_tests_leave_an_environment_that_works() {
    let environment = TestEnvironment::new();
    environment.setup();
    for (signal, runs) in [(Signal::INT, 1), (Signal::TERM, 2)] {
        let child = environment.start(&["run-tests", "--test", "long"]);
        environment.wait_until("a test", |it| {
            let dirs = fs::read_dir(it.environment_dir().join("runs")).into_iter().flatten().flatten();
            let events = dirs.filter_map(|run| fs::read_to_string(run.path().join("events.jsonl")).ok());
            events.filter(|events| events.contains("test_started")).count() == runs
        });
        let (code, words) = end(child, signal);
        assert_eq!(code, Some(6), "{words}");
        assert!(words.contains("error: cancelled\nhint: environment tiny still runs"), "{words}");
        let explained = environment.expect(0, &["explain"]).stdout;
        assert!(explained.contains("note: the run was cancelled: it is recorded up to "), "{explained}");
        assert!(explained.contains(", in the test long, which is not judged"), "{explained}");
    }
    environment.expect(0, &["run-tests", "--test", "calm"]);
}

#[test]
fn a_watch_ends_well_by_the_only_end_that_it_has() {
    let environment = TestEnvironment::new();
    environment.setup();
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = environment.start(&["watch"]);
        let mut first = String::new();
        let said = child.stderr.as_mut().expect("it is piped");
        while !first.ends_with('\n') {
            let mut byte = [0];
            said.read_exact(&mut byte).expect("it says what it watches");
            first.push(char::from(byte[0]));
        }
        assert_eq!(first, "watching tiny; Ctrl-C ends it\n");
        let (code, words) = end(child, signal);
        assert_eq!(code, Some(0), "{words}");
        assert!(!words.contains("error"), "{words}");
    }
}
