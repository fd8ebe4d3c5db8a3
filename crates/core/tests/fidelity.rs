//! Recordings read back: what they show of a profile's durations, and how near a forecast is to them.

use std::time::Duration;

use democtl_core::{
    calibrate::{Fit, calibrate, extending},
    event::Event,
    explain::Recording,
    fidelity::{Counted, compare, known},
    profile::{Profile, Role, Source},
    sim::{Options, forecast},
    units::parse_duration,
    verdict::{TestResult, Verdict},
};

fn load(name: &str, sets: &[(&str, &str)]) -> Profile {
    let sets: Vec<(String, String)> = sets.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    Profile::load_builtin(name, &sets).expect("built in").unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}

/// A spike on the local target at speed 15 with at most three web pods, recorded by `run-tests`.
fn recorded() -> (Profile, Vec<Event>, Vec<TestResult>) {
    let events = include_str!("data/explain/m3demo2-max-3/events.jsonl");
    let tests = include_str!("data/explain/m3demo2-max-3/tests.json");
    let events = events.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    (load("m3demo2", &[("workload.web.scaling.max", "3")]), events, serde_json::from_str(tests).expect("figures"))
}

fn fit<'a>(fits: &'a [Fit], path: &str) -> &'a Fit {
    fits.iter().find(|fit| fit.path == path).unwrap_or_else(|| panic!("no {path} in {fits:?}"))
}

fn off_by(fit: &Fit) -> f64 {
    fit.difference.unwrap_or_else(|| panic!("nothing fitted: {fit:?}"))
}

/// Durations that the forecast's suite shows, and how near each comes back.
const SHOWN: [(&str, f64); 7] = [
    ("workload.web.read_one", 0.01),
    ("workload.web.read_all", 0.01),
    ("workload.web.write", 0.01),
    ("workload.web.cpu_per_request", 0.05),
    ("workload.worker.batch_time", 0.05),
    ("workload.worker.cpu_per_message", 0.1),
    ("local.container_start", 0.3),
];

#[test]
fn a_forecasts_own_recording_gives_its_profile_back() {
    for sets in [
        &[][..],
        &[
            ("workload.web.read_one", "80ms"),
            ("workload.web.write", "60ms"),
            ("workload.web.cpu_per_request", "5ms"),
            ("workload.worker.batch_time", "600ms"),
            ("workload.worker.cpu_per_message", "3ms"),
            ("local.container_start", "6s"),
        ],
    ] {
        let ran = load("m3demo2", sets);
        let options = Options { speed: 15.0, settle: false, ..Options::default() };
        let outcome = forecast(&ran, &options).expect("a forecast");
        let fits = calibrate(&Recording { profile: &ran, events: &outcome.events, tests: &outcome.tests });
        for (path, near) in SHOWN {
            assert!(off_by(fit(&fits, path)).abs() <= near, "{sets:?}: {:?}", fit(&fits, path));
        }
        let machine = fit(&fits, "local.vm_delay");
        assert!(machine.fitted.is_none() && machine.samples == 1, "{machine:?}");
    }
}

#[test]
fn what_a_run_shows_is_found_though_another_profile_was_assumed() {
    let ran = load("m3demo2", &[("workload.web.write", "130ms"), ("local.vm_delay", "8m..8m")]);
    let outcome = forecast(&ran, &Options { speed: 15.0, ..Options::default() }).expect("a forecast");
    let assumed = load("m3demo2", &[]);
    let fits = calibrate(&Recording { profile: &assumed, events: &outcome.events, tests: &outcome.tests });
    let write = fit(&fits, "workload.web.write");
    assert_eq!((write.assumed.as_str(), write.fitted.as_deref()), ("100ms", Some("130ms")), "{write:?}");
    assert_eq!(fit(&fits, "local.vm_delay").fitted.as_deref(), Some("2m..8m"));

    let (text, left) = extending("m3demo2", &[("workload.web.queue".into(), "90".into())], &fits);
    assert_eq!(left, Vec::<String>::new());
    let source = Source { name: "calibrated.toml".into(), text };
    let calibrated = Profile::load(&source, &[], &|_| None).unwrap_or_else(|errors| panic!("{}", errors.to_text(100)));
    let Role::Web(web) = &calibrated.workloads[0].role else { panic!("web is first") };
    assert_eq!((web.write, web.queue), (Duration::from_millis(130), 90));
    assert_eq!(calibrated.local.vm_delay_max, Duration::from_secs(480));
}

#[test]
fn a_profile_of_overrides_keeps_what_is_no_item_of_a_list() {
    let sets = [("workload.web.scaling.trigger.2.threshold".to_owned(), "50".to_owned())];
    let (text, left) = extending("m3demo2", &sets, &[]);
    assert_eq!(
        (text.as_str(), left),
        ("extends = \"m3demo2\"\n", vec!["workload.web.scaling.trigger.2.threshold=50".to_owned()])
    );
}

#[test]
fn a_recorded_run_gives_the_profile_back_that_it_ran() {
    let (profile, events, tests) = recorded();
    let fits = calibrate(&Recording { profile: &profile, events: &events, tests: &tests });
    let write = fit(&fits, "workload.web.write");
    assert!(off_by(write).abs() < 0.03 && write.samples > 20, "{write:?}");
    let cpu = fit(&fits, "workload.web.cpu_per_request");
    assert!(off_by(cpu).abs() < 0.1, "{cpu:?}");
    for path in ["workload.web.read_one", "workload.web.read_all"] {
        let none = fit(&fits, path);
        assert_eq!((none.samples, none.fitted.as_deref()), (0, None), "a spike has no reads: {none:?}");
    }
    for fitted in fits.iter().filter(|fit| fit.path != "local.vm_delay").filter_map(|fit| fit.fitted.as_deref()) {
        assert!(parse_duration(fitted).is_ok(), "{fitted}");
    }
}

#[test]
fn a_recorded_run_and_its_forecast_are_near() {
    let (profile, events, tests) = recorded();
    let run = Recording { profile: &profile, events: &events, tests: &tests };
    let known = known(&events, 1);
    assert!(known.phase.is_some_and(|phase| phase < Duration::from_secs(15)), "{known:?}");
    let outcomes: Vec<_> = (1..=5)
        .map(|seed| {
            let tests = vec!["spike".to_owned()];
            let known = Some(known.clone());
            let options = Options { tests, seed, speed: 15.0, settle: false, known, ..Options::default() };
            forecast(&profile, &options).expect("a forecast")
        })
        .collect();
    let recordings: Vec<_> = outcomes
        .iter()
        .map(|outcome| Recording { profile: &profile, events: &outcome.events, tests: &outcome.tests })
        .collect();
    let found = compare(&[run], &recordings);
    assert!(found.verdict.agree() && found.verdict.measured == Verdict::Fail, "{:?}", found.verdict);
    let [spike] = found.tests.as_slice() else { panic!("one test: {:?}", found.tests) };
    for pair in [&spike.p95_ms, &spike.requests, &spike.failed] {
        assert!(pair.difference.is_some_and(|share| share.abs() < 0.15), "{spike:?}");
        assert!(pair.range.0 <= pair.forecast && pair.forecast <= pair.range.1, "{spike:?}");
    }
    let curve = |subject: &str, counted| {
        found.curves.iter().find(|curve| curve.subject == subject && curve.counted == counted).expect("a curve")
    };
    let web = curve("web", Counted::Replicas);
    assert!(web.shift_syncs <= 1.0 && web.greatest.measured > 2.5, "{web:?}");
    assert!(curve("nodes", Counted::Nodes).area_s.abs() < 1e-9, "no machine was asked for");

    let same = compare(&[run, run], &[run]);
    assert!(same.curves.iter().all(|curve| curve.area_s.abs() < 1e-9), "{:?}", same.curves);
}
