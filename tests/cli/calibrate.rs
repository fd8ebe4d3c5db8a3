//! `calibrate`: durations of a recorded run as a profile, and what is refused.

use std::fs;

use serde_json::Value;

use crate::{environment::TestEnvironment, recorded::recorded};

#[test]
fn a_recorded_run_becomes_a_profile_that_extends_its_own() {
    let environment = TestEnvironment::new();
    recorded(&environment);
    insta::assert_snapshot!(environment.expect(0, &["calibrate", "run"]).stdout);
    let value = environment.json(&["calibrate", "run", "--output", "json"]);
    let fits = value["fits"].as_array().expect("a list");
    let write = fits.iter().find(|fit| fit["path"] == "workload.web.write").expect("it is fitted");
    assert_eq!(write["assumed"], "100ms");
    assert!(write["difference"].as_f64().is_some_and(|share| share.abs() < 0.03), "{write}");
    assert!(write["samples"].as_u64() > Some(20), "{write}");

    let written = environment.expect(0, &["calibrate", "run", "--out", "calibrated.toml"]);
    assert!(
        !written.stdout.contains("extends") && written.stderr.contains("wrote calibrated.toml"),
        "{}",
        written.stderr
    );
    let text = fs::read_to_string(environment.path("calibrated.toml")).expect("it was written");
    assert_eq!(value["toml"], Value::from(text));
    environment.expect(0, &["profile", "check", "calibrated.toml"]);
    let again = environment.expect(2, &["calibrate", "run", "--out", "calibrated.toml"]);
    assert!(again.stderr.contains("calibrated.toml is there"), "{}", again.stderr);
    let beside = environment.json(&["forecast", "calibrated.toml", "--against", "run", "--output", "json"]);
    assert_eq!(beside["forecast"], "calibrated");
    assert_eq!(beside["curves"][0]["greatest"]["forecast"], 3.0, "the run's own override is in it");
}

#[test]
fn what_is_no_run_is_refused() {
    let environment = TestEnvironment::new();
    let none = environment.expect(2, &["calibrate", "m3demo2"]);
    assert!(none.stderr.contains("there is no run \"m3demo2\""), "{}", none.stderr);
    let empty = environment.expect(2, &["calibrate"]);
    assert!(empty.stderr.contains("no environment is set up"), "{}", empty.stderr);
    recorded(&environment);
    let nowhere = environment.expect(1, &["calibrate", "run", "--out", "missing/calibrated.toml"]);
    assert!(nowhere.stderr.contains("cannot write missing/calibrated.toml"), "{}", nowhere.stderr);
}
