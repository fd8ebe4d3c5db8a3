//! `explain`: a recorded run read back, a moment of it, warnings about a profile, and what is refused.

use std::fs;

use serde_json::Value;

use crate::{environment::TestEnvironment, recorded::recorded};

#[test]
fn a_profile_that_misleads_is_named_before_any_run() {
    let environment = TestEnvironment::new();
    insta::assert_snapshot!(environment.expect(0, &["explain", "m3demo2-as-written"]).stdout);
    let value = environment.json(&["explain", "m3demo2-as-written", "--output", "json"]);
    assert_eq!(value["profile"], "m3demo2-as-written");
    let never = |lint: &&Value| lint["code"] == "threshold_never_crossed";
    assert_eq!(value["lints"].as_array().expect("a list").iter().filter(never).count(), 2, "{value}");
    let sets = ["--set", "workload.web.scaling.trigger.2.threshold=50", "--output", "json"];
    let better = environment.json(&[&["explain", "m3demo2-as-written"][..], &sets].concat());
    assert_eq!(better["lints"].as_array().expect("a list").iter().filter(never).count(), 1, "{better}");
}

#[test]
fn a_recorded_run_is_explained() {
    let environment = TestEnvironment::new();
    let run = recorded(&environment);
    insta::assert_snapshot!(environment.expect(0, &["explain", "run"]).stdout);
    insta::assert_snapshot!(environment.expect(0, &["explain", "run", "--at", "01:00"]).stdout);
    let value = environment.json(&["explain", "run", "--output", "json"]);
    assert_eq!((&value["run"], &value["profile"]), (&Value::from("run"), &Value::from("m3demo2")));
    assert_eq!(value["failed"][0]["bottlenecks"][0]["cause"], "replicas_at_max");
    let moment = environment.json(&["explain", "run", "--at", "01:00", "--output", "json"]);
    assert_eq!((&moment["vus"], &moment["workloads"][0]["wanted"]), (&Value::from(600), &Value::from(3)));

    // A run that was killed leaves half a line at the end, and no figures.
    let events = fs::read_to_string(run.join("events.jsonl")).expect("it was copied");
    fs::write(run.join("events.jsonl"), &events[..events.len() - 20]).expect("the directory is ours");
    fs::remove_file(run.join("tests.json")).expect("the directory is ours");
    let cut = environment.expect(0, &["explain", "run"]);
    assert!(cut.stdout.contains("web 2 -> 3") && cut.stdout.contains("no test failed"), "{}", cut.stdout);
    fs::write(run.join("events.jsonl"), format!("{{}}\n{events}")).expect("the directory is ours");
    let damaged = environment.expect(1, &["explain", "run"]);
    assert!(damaged.stderr.contains("events.jsonl:1 is no event"), "{}", damaged.stderr);
}

/// Of every command that reads a recording.
fn notes(environment: &TestEnvironment, wanted: &str) {
    for command in [&["explain", "run"][..], &["calibrate", "run"], &["forecast", "--against", "run"]] {
        let human = environment.expect(0, command).stdout;
        assert!(human.contains(&format!("note: {wanted}")), "{command:?}: {human}");
        let value = environment.json(&[command, &["--output", "json"]].concat());
        assert!(value["notes"].to_string().contains(wanted), "{command:?}: {value}");
    }
}

#[test]
fn what_a_run_began_with_and_how_it_was_ended_are_told() {
    let environment = TestEnvironment::new();
    let events = recorded(&environment).join("events.jsonl");
    let text = fs::read_to_string(&events).expect("it was copied");
    let (pods, many) = ("\"workload\":\"web\",\"ready\":2", "\"workload\":\"web\",\"ready\":7");
    fs::write(&events, text.replacen(pods, many, 1)).expect("the directory is ours");
    notes(&environment, "the run began off the baseline, with 7 ready pods of web (2 at the baseline)");
    let lines: Vec<_> = text.lines().filter(|line| !line.contains("run_finished")).collect();
    let cancelled = "{\"id\":90,\"at_s\":310.0,\"time\":\"\",\"fact\":\"run_cancelled\"}";
    fs::write(&events, format!("{}\n{cancelled}\n", lines.join("\n"))).expect("the directory is ours");
    notes(&environment, "the run was cancelled: it is recorded up to 5m10s, after the test spike");
}

#[test]
fn a_forecast_is_explained_like_a_run() {
    let environment = TestEnvironment::new();
    let value = environment.json(&["explain", "m3demo1", "--forecast", "--output", "json"]);
    assert_eq!(value["failed"][0]["test"], "spike");
    assert_eq!(value["failed"][0]["bottlenecks"][0]["cause"], "concurrency");
    let scaled = environment.json(&["explain", "m3demo2-as-written", "--forecast", "--output", "json"]);
    assert_eq!(scaled["failed"][0]["bottlenecks"][0]["cause"], "trigger_signal", "{}", scaled["failed"]);
    let metric = |decision: &Value| decision["subject"] == "web" && decision["rule"] == "metric_above";
    let decisions = scaled["decisions"].as_array().expect("decisions");
    assert!(decisions.iter().any(|decision| metric(decision) && !decision["metrics"].is_null()), "{decisions:?}");
    // A moment is the whole second of it: what a timeline tells at 16:12 has happened.
    let change = decisions.iter().find(|decision| metric(decision) && decision["to"].is_number()).expect("it scales");
    let second = change["at_s"].as_f64().expect("seconds").floor();
    let arguments = ["explain", "m3demo2-as-written", "--forecast", "--output", "json", "--at", &format!("{second}s")];
    assert_eq!(environment.json(&arguments)["workloads"][0]["wanted"], change["to"]);
    assert_eq!(scaled["notes"], serde_json::json!([]), "its syncs are known, and the brain decides alike");
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let environment = TestEnvironment::new();
    recorded(&environment);
    let refused: [(&[&str], &str); 6] = [
        (&["explain"], "no environment is set up"),
        (&["explain", "m3demo3"], "there is no profile \"m3demo3\""),
        (&["explain", "m3demo2", "--at", "02:15"], "--at is for runs, and m3demo2 is a profile"),
        (&["explain", "run", "--set", "pool.main.max=3"], "--set and --forecast are for profiles"),
        (&["explain", "run", "--at", "99:00"], "after the run's end"),
        (&["explain", "run", "--at", "noon"], "invalid value 'noon'"),
    ];
    for (arguments, words) in refused {
        let outcome = environment.expect(2, arguments);
        assert!(outcome.stderr.contains(words), "{arguments:?}: {}", outcome.stderr);
    }
}
