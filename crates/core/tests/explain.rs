//! Explanations of recorded runs: three failures with three causes, and small recordings for each rule.

use std::{fs, path::Path};

use democtl_core::{
    event::Event,
    explain::{Cause, Explanation, Recording, Rule, explain, explain_at},
    profile::Profile,
    verdict::TestResult,
};

struct Recorded {
    profile: Profile,
    events: Vec<Event>,
    tests: Vec<TestResult>,
}

impl Recorded {
    /// A spike on the local target at speed 15, recorded by `run-tests`; events of failed probes are left out.
    fn read(name: &str, profile: &str, sets: &[(&str, &str)]) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/explain").join(name);
        let text = |file: &str| fs::read_to_string(dir.join(file)).expect("it is in the repository");
        let events = text("events.jsonl").lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
        let tests = serde_json::from_str(&text("tests.json")).expect("figures of tests");
        Self { profile: load(profile, sets), events, tests }
    }

    fn recording(&self) -> Recording<'_> {
        Recording { profile: &self.profile, events: &self.events, tests: &self.tests }
    }

    fn explain(&self) -> Explanation {
        explain(&self.recording())
    }
}

fn load(profile: &str, sets: &[(&str, &str)]) -> Profile {
    let sets: Vec<(String, String)> = sets.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    Profile::load_builtin(profile, &sets).expect("built in").unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}

#[test]
fn three_failures_have_three_causes() {
    let cases = [
        ("m3demo1", Recorded::read("m3demo1", "m3demo1", &[]), Cause::Concurrency),
        ("m3demo2-as-written", Recorded::read("m3demo2-as-written", "m3demo2-as-written", &[]), Cause::TriggerSignal),
        (
            "m3demo2-max-3",
            Recorded::read("m3demo2-max-3", "m3demo2", &[("workload.web.scaling.max", "3")]),
            Cause::ReplicasAtMax,
        ),
    ];
    for (name, recorded, cause) in cases {
        let explanation = recorded.explain();
        println!("{name}: {explanation:#?}");
        let [spike] = explanation.failed.as_slice() else {
            panic!("{name}: one test failed: {:?}", explanation.failed)
        };
        let first = &spike.bottlenecks[0];
        assert_eq!((spike.test.as_str(), first.cause), ("spike", cause), "{name}: {spike:#?}");
        assert!(first.share > 0.5, "{name}: {spike:#?}");
        let all: f64 = spike.bottlenecks.iter().map(|bottleneck| bottleneck.share).sum();
        assert!((all - 1.0).abs() < 1e-9, "{name}: shares sum to {all}");
    }
}
