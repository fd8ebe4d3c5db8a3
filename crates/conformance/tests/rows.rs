//! Every row of the copied files passes.

use democtl_conformance::judge;

fn passes(text: &str) {
    let report = judge(text).expect("the file can be read");
    assert!(report.failures.is_empty(), "{report}");
    assert!(report.kinds.values().map(|(passed, _)| passed).sum::<usize>() > 0, "the file has rows");
}

#[test]
fn hpa_replica_calculator() {
    passes(include_str!("../data/hpa_replica_calculator.json"));
}

#[test]
fn hpa_behavior() {
    passes(include_str!("../data/hpa_behavior.json"));
}

#[test]
fn hpa_derived() {
    passes(include_str!("../data/hpa_derived.json"));
}

#[test]
fn scheduler() {
    passes(include_str!("../data/scheduler.json"));
}
