//! `forecast`: exit codes, and the shapes of what it writes; nothing is set up for it.

use serde_json::Value;

use crate::environment::TestEnvironment;

#[test]
fn a_forecast_has_the_shape_of_a_run_and_its_exit_code() {
    let environment = TestEnvironment::new();
    let spike = ["--test", "spike", "--speed", "15", "--output", "json"];
    let passed = environment.json(&[&["forecast", "m3demo2"][..], &spike].concat());
    assert_eq!((&passed["verdict"], &passed["profile"]), (&Value::from("pass"), &Value::from("m3demo2")));
    for figure in ["failed_rate", "p50_ms", "p95_ms", "p99_ms"] {
        assert!(passed["tests"][0][figure].is_number(), "{figure} in {}", passed["tests"]);
    }
    assert_eq!((&passed["peak"]["web"], &passed["final"]["nodes"]), (&Value::from(10), &Value::from(2)));
    assert!(passed["cost"]["run_usd"].as_f64().is_some_and(|usd| usd > 0.0), "{}", passed["cost"]);
    let events = passed["events"].as_array().expect("a timeline");
    assert!(events.iter().any(|event| event["fact"] == "replicas" && event["to"] == 10), "{events:?}");

    let failed = environment.expect(99, &["forecast", "m3demo1", "--test", "spike", "--speed", "15"]);
    assert!(failed.stderr.contains("error: thresholds failed in spike"), "{}", failed.stderr);
    assert!(failed.stdout.contains("test spike FAILED"), "{}", failed.stdout);
    let sets = ["--set", "workload.web.scaling.max=3"];
    environment.expect(99, &[&["forecast", "m3demo2"][..], &spike, &sets].concat());
}

#[test]
fn seeds_give_odds_and_days_give_cost() {
    let environment = TestEnvironment::new();
    let arguments = ["forecast", "--test", "spike", "--speed", "15", "--seeds", "3", "--output", "json"];
    let seeds = environment.json(&arguments)["seeds"].take();
    assert_eq!((&seeds["count"], &seeds["passed"]), (&Value::from(3), &Value::from(1.0)));
    assert_eq!(seeds["tests"][0]["thresholds"][0]["probability"], 1.0);
    let p95 = &seeds["tests"][0]["p95_ms"];
    assert!(p95["min"].as_f64() < p95["max"].as_f64(), "{p95}");

    let day = environment.json(&["forecast", "--day", "--output", "json"]);
    assert!(day["monthly_usd"].as_f64().is_some_and(|usd| (400.0..600.0).contains(&usd)), "{day}");

    let wrong = environment.expect(2, &["forecast", "--fault", "fire@1m"]);
    assert!(wrong.stderr.contains("node-lost@TIME"), "{}", wrong.stderr);
    let unknown = environment.expect(2, &["forecast", "--test", "spik"]);
    assert!(unknown.stderr.contains("its tests are soak, load, spike"), "{}", unknown.stderr);
}
