//! `tune`: what it finds within a few forecasts, that what it writes is a profile, and how it refuses.

use std::fs;

use serde_json::Value;

use crate::environment::TestEnvironment;

/// A search that is counted in forecasts, so that it finds the same on any machine.
const SEARCH: [&str; 9] =
    ["tune", "m3demo2-as-written", "--test", "spike", "--seeds", "2", "--forecasts", "70", "--margin=0.05"];

#[test]
fn a_policy_that_passes_is_found_for_the_profile_as_written() {
    let environment = TestEnvironment::new();
    let outcome = environment.expect(0, &[&SEARCH[..], &["--out", "found.toml"]].concat());
    insta::assert_snapshot!(outcome.stdout);
    let text = fs::read_to_string(environment.path("found.toml")).expect("it was written");
    assert!(outcome.stdout.ends_with(&text), "what is shown is what is written");
    let spike = ["--test", "spike", "--speed", "15", "--output", "json"];
    let found = environment.json(&[&["forecast", "./found.toml"][..], &spike].concat());
    assert_eq!((&found["profile"], &found["verdict"]), (&Value::from("found"), &Value::from("pass")));
    environment.expect(99, &[&["forecast", "m3demo2-as-written"][..], &spike].concat());
    // Its own file may be written again, and the same seed finds the same.
    let again = environment.json(&[&SEARCH[..], &["--out", "found.toml", "--output", "json"]].concat());
    assert_eq!(again["toml"], Value::from(text));
    assert_eq!(again["given"]["passed"], 0);
    assert!(again["front"].as_array().is_some_and(|front| !front.is_empty()), "{again}");
    for proof in again["proofs"].as_array().expect("proofs at both speeds") {
        assert_eq!((&proof["seeds"], &proof["passed"], &proof["first_seed"]), (&4.into(), &4.into(), &3.into()));
    }
}

#[test]
fn a_test_that_nothing_passes_ends_with_the_code_of_a_failed_threshold() {
    let environment = TestEnvironment::new();
    let arguments =
        ["tune", "./tiny.toml", "--test", "hopeless", "--seeds", "1", "--forecasts", "8", "--out", "o.toml"];
    let outcome = environment.expect(99, &arguments);
    assert!(outcome.stderr.contains("policies was seen to pass as asked within 8 forecasts"), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("0 of 1 seeds pass"), "{}", outcome.stdout);
    assert!(!environment.path("o.toml").exists());
}

#[test]
fn what_cannot_be_searched_or_written_is_refused_before_the_search() {
    let environment = TestEnvironment::new();
    let refused = |arguments: &[&str], words: &str| {
        let outcome = environment.expect(2, &[&["tune"], arguments].concat());
        assert!(outcome.stderr.contains(words), "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stdout.is_empty(), "{}", outcome.stdout);
    };
    refused(&["m3demo9"], "there is no profile \"m3demo9\"");
    refused(&["--test", "spik"], "its tests are soak, load, spike");
    refused(&["--keep", "workload.web.scaling.ma"], "is nothing that is tuned; that is pool.main.vm_size");
    refused(&["--keep", "pool", "--keep", "workload"], "has nothing to tune");
    refused(&["--probability", "95"], "95 % is 0.95");
    refused(&["--seeds", "0"], "--seeds");
    refused(&["--time", "soon"], "--time");
    refused(&["--out", "tiny.toml"], "was not written by tune");
    refused(&["--out", "nowhere/found.toml"], "there is no directory nowhere");
    refused(&["--out", "Found It.toml"], "cannot name a profile");
    refused(&["--out", "m3demo2.toml"], "extends itself");
    let found = "# Made by democtl tune\nextends = \"m3demo2\"\n";
    fs::write(environment.path("found.toml"), found).expect("the directory is ours");
    refused(&["./found.toml", "--out", "found.toml"], "extends itself");
    assert_eq!(fs::read_to_string(environment.path("found.toml")).expect("it is there"), found);
    assert!(!environment.path("m3demo2.toml").exists());
}
