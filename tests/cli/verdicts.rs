//! `run-tests`: exit codes, and the shapes of what it writes.

use std::fs;

use crate::environment::TestEnvironment;

#[test]
fn the_exit_code_tells_the_verdict() {
    let environment = TestEnvironment::new();
    environment.setup();
    let passed = environment.json(&["run-tests", "--test", "calm", "--output", "json"]);
    assert_eq!(passed["verdict"], "pass");
    assert_eq!(passed["tests"][0]["name"], "calm");
    assert!(passed["tests"][0]["requests"].as_u64().is_some_and(|requests| requests > 0), "{passed}");
    for figure in ["failed_rate", "p50_ms", "p95_ms", "p99_ms"] {
        assert!(passed["tests"][0][figure].is_number(), "{figure} in {passed}");
    }
    for figure in ["run_usd", "monthly_usd"] {
        assert!(passed["cost"][figure].as_f64().is_some_and(|usd| usd > 0.0), "{figure} in {passed}");
    }
    for figure in ["peak", "final"] {
        assert_eq!(passed[figure]["nodes"], 1, "{figure} in {passed}");
    }

    let failed = environment.expect(99, &["run-tests", "--test", "hopeless", "--junit", "junit.xml"]);
    assert!(failed.stderr.contains("error: thresholds failed in hopeless"), "{}", failed.stderr);
    let report = fs::read_to_string(environment.path("junit.xml")).expect("--junit writes it");
    assert!(report.contains("<testsuite name=\"tiny.hopeless\" tests=\"1\""), "{report}");
    assert!(report.contains("failures=\"1\""), "{report}");

    let lost = environment.expect(1, &["run-tests", "--test", "calm", "--junit", "/dev/full"]);
    assert!(lost.stderr.contains("error: cannot write /dev/full\n  caused by: No space left"), "{}", lost.stderr);
    assert!(lost.stdout.contains("calm"), "the result is shown all the same: {}", lost.stdout);

    let unknown = environment.expect(2, &["run-tests", "--test", "calmer"]);
    insta::assert_snapshot!(unknown.stderr, @r#"
    error: the suite has no test "calmer"
    hint: did you mean `calm`?
    hint: its tests are calm, hopeless, long
    "#);
}

#[test]
fn a_run_begins_on_the_nodes_that_the_least_replicas_need() {
    let environment = TestEnvironment::new();
    let profile = fs::read_to_string(environment.path("tiny.toml")).expect("it was written");
    // Longer than pods that nothing is done for are waited for.
    let slow = "[local]\nvm_delay = \"9m..9m\"\n\n";
    let scaled = "[workload.web.scaling]\nmin = 4\nmax = 5\ntrigger = [{ type = \"cpu\", utilization = 60 }]\n\n";
    let profile = profile
        .replace("count = 1", "min = 1\nmax = 3")
        .replace("replicas = 1\n", "")
        .replace("cpu = \"500m\"", "cpu = \"1500m\"")
        .replace("[workload.redis]", &format!("{slow}{scaled}[workload.redis]"));
    fs::write(environment.path("growing.toml"), profile).expect("the directory is ours");
    environment.expect(0, &["setup", "--profile", "./growing.toml", "--speed", "60"]);
    let run = environment.json(&["run-tests", "--test", "calm", "--output", "json"]);
    let begun = &run["baseline"];
    assert_eq!((&begun["web"], &begun["nodes"]), (&4.into(), &3.into()), "{run}");
    assert_eq!(run["cost"]["hourly_before_usd"], run["cost"]["hourly_peak_usd"], "{run}");
}
