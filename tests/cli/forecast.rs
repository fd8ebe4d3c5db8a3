//! `forecast`: exit codes, and the shapes of what it writes; nothing is set up for it.

use serde_json::Value;

use crate::{environment::TestEnvironment, recorded::recorded};

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

#[test]
fn a_forecast_is_put_beside_the_run_it_forecasts() {
    let environment = TestEnvironment::new();
    recorded(&environment);
    let value = environment.json(&["forecast", "--against", "run", "--seeds", "3", "--output", "json"]);
    assert_eq!((&value["profile"], &value["forecast"]), (&Value::from("m3demo2"), &Value::from("m3demo2")));
    assert_eq!(
        (&value["speed"], &value["seed"], &value["seeds"]),
        (&Value::from(15.0), &Value::from(1), &Value::from(3))
    );
    assert_eq!(value["verdict"], serde_json::json!({ "measured": "fail", "forecast": "fail", "passed": 0.0 }));
    let spike = &value["tests"][0];
    assert_eq!((&spike["name"], &spike["requests"]["measured"]), (&Value::from("spike"), &Value::from(7093.0)));
    assert!(spike["p95_ms"]["difference"].as_f64().is_some_and(|share| share.abs() < 0.15), "{spike}");
    assert!(
        value["cost"]["run_usd"]["difference"].as_f64().is_some_and(|share| share.abs() < 0.05),
        "{}",
        value["cost"]
    );
    let web = &value["curves"][0];
    assert_eq!((&web["subject"], &web["counted"]), (&Value::from("web"), &Value::from("replicas")));
    assert_eq!((&web["measured_steps"], &web["forecast_steps"]), (&Value::from(1.0), &Value::from(1.0)));
    assert!(value["events"].as_array().is_some_and(|events| events.iter().any(|event| event["fact"] == "sync")));

    // It compares and judges nothing: the run failed, and so did its forecast.
    let human = environment.expect(0, &["forecast", "--against", "run"]).stdout;
    assert!(human.contains("FAIL measured, FAIL forecast: as measured") && human.contains("web replicas"), "{human}");
    let other = environment.json(&["forecast", "m3demo1", "--against", "run", "--output", "json"]);
    assert_eq!((&other["profile"], &other["forecast"]), (&Value::from("m3demo2"), &Value::from("m3demo1")));
    let more = ["--set", "workload.web.scaling.max=10", "--output", "json"];
    let wider = environment.json(&[&["forecast", "--against", "run"][..], &more].concat());
    assert!(wider["curves"][0]["greatest"]["forecast"].as_f64() > Some(3.0), "{}", wider["curves"][0]);

    let refused: [(&[&str], &str); 3] = [
        (&["forecast", "--against", "nowhere"], "there is no run \"nowhere\""),
        (&["forecast", "--against", "run", "--speed", "2"], "cannot be used with"),
        (&["forecast", "--against", "run", "--day"], "cannot be used with"),
    ];
    for (arguments, words) in refused {
        let outcome = environment.expect(2, arguments);
        assert!(outcome.stderr.contains(words), "{arguments:?}: {}", outcome.stderr);
    }
    std::fs::remove_file(environment.path("run/tests.json")).expect("it was copied");
    let early = environment.expect(2, &["forecast", "--against", "run"]);
    assert!(early.stderr.contains("no test of the run run has ended"), "{}", early.stderr);
}
