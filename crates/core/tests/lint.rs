//! Warnings about the built-in profiles: the arithmetic of the facts, and what changes it.

use democtl_core::profile::{BUILTIN_PROFILES, Profile, lint};

fn lints(name: &str, sets: &[(&str, &str)]) -> Vec<democtl_core::profile::Lint> {
    let sets: Vec<(String, String)> = sets.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    let profile = Profile::load_builtin(name, &sets).expect("built in");
    lint(&profile.unwrap_or_else(|errors| panic!("{}", errors.to_text(100))))
}

fn codes(name: &str, sets: &[(&str, &str)]) -> Vec<String> {
    lints(name, sets).into_iter().map(|lint| format!("{} {}", lint.code, lint.path)).collect()
}

#[test]
fn built_in_profiles_are_warned_of_as_recorded() {
    for (name, _) in BUILTIN_PROFILES {
        insta::assert_json_snapshot!(format!("lints@{name}"), lints(name, &[]));
    }
}

#[test]
fn twelve_large_pods_fit_nowhere_and_small_ones_do() {
    let twelve = ("workload.web.replicas", "12");
    assert!(codes("m3demo1", &[twelve]).contains(&"pods_fit_nowhere pool".to_owned()));
    let small =
        codes("m3demo1", &[twelve, ("workload.web.requests.cpu", "500m"), ("workload.web.requests.memory", "1Gi")]);
    assert!(!small.contains(&"pods_fit_nowhere pool".to_owned()), "{small:?}");
    assert!(!small.contains(&"fits_once workload.web.requests.cpu".to_owned()), "{small:?}");
}

#[test]
fn each_warning_goes_when_its_cause_goes() {
    let cases: [(&str, &str, &str, &str); 6] = [
        ("threshold_never_crossed", "workload.web.scaling.trigger.0", "workload.web.cpu_per_request", "6ms"),
        ("threshold_never_crossed", "workload.web.scaling.trigger.2", "workload.web.scaling.trigger.2.threshold", "50"),
        ("max_never_needed", "pool.main.max", "pool.main.max", "3"),
        (
            "window_too_long",
            "workload.web.scaling.trigger.2",
            "workload.web.scaling.trigger.2.query",
            "sum(rate(http_requests_total[30s]))",
        ),
        ("window_too_short", "workload.web.scaling.trigger.2", "workload.prometheus.scrape_interval", "5s"),
        ("queue_outgrows_workers", "workload.worker.batch", "workload.worker.batch", "100"),
    ];
    let broken = [("workload.prometheus.scrape_interval", "90s"), ("workload.worker.batch", "10")];
    for (code, path, key, value) in cases {
        let lint = format!("{code} {path}");
        let before: Vec<(&str, &str)> = if code == "window_too_long" { vec![] } else { broken.into() };
        let with = codes("m3demo2", &before);
        assert!(with.contains(&lint), "{lint} is not among {with:?}");
        let after: Vec<(&str, &str)> = before.iter().copied().chain([(key, value)]).collect();
        let without = codes("m3demo2", &after);
        assert!(!without.contains(&lint), "{lint} stays with {key}={value}: {without:?}");
    }
    assert!(
        codes("m3demo2", &[("workload.web.scaling.max", "2")])
            .contains(&"min_equals_max workload.web.scaling.max".into())
    );
}

/// Overrides of a profile.
type Sets = &'static [(&'static str, &'static str)];

#[test]
fn each_setting_that_misleads_is_named() {
    let web = "workload.web.scaling";
    let cases: [(&str, Sets, &str); 7] = [
        (
            "m3demo2",
            &[("workload.web.scaling.trigger.3.threshold", "600")],
            "threshold_never_crossed workload.web.scaling.trigger.3",
        ),
        ("m3demo2", &[("workload.web.base_memory", "800Mi")], "idle_above_threshold workload.web.scaling.trigger.1"),
        (
            "m3demo2",
            &[("workload.web.scaling.behavior.scale_down.window", "1s")],
            "window_shorter_than_scrape workload.web.scaling.behavior.scale_down.window",
        ),
        ("m3demo2", &[], "scale_down_outlasts_pause workload.worker.scaling.behavior.scale_down.window"),
        (
            "m3demo2",
            &[("workload.web.scaling.trigger.3.query", "avg(http_requests_in_flight)")],
            "averaged_twice workload.web.scaling.trigger.3",
        ),
        (
            "m3demo2",
            &[("workload.web.scaling.trigger.3.query", "sum(rate(http_requests_total[2m]))")],
            "triggers_fight workload.web.scaling.trigger.2",
        ),
        ("m3demo1", &[], "request_over_use workload.web.requests.cpu"),
    ];
    for (profile, sets, wanted) in cases {
        let found = codes(profile, sets);
        assert!(found.iter().any(|code| code == wanted), "{wanted} is not among {found:?}");
    }
    let calm = [("workload.worker.scaling.behavior.scale_down.window", "0s"), ("workload.web.base_memory", "128Mi")];
    let found = codes("m3demo2", &calm);
    for code in ["idle_above_threshold", "window_shorter", "averaged_twice", "triggers_fight"] {
        assert!(!found.iter().any(|lint| lint.starts_with(code)), "{code} in {found:?}");
    }
    assert!(!found.iter().any(|lint| lint.starts_with("scale_down_outlasts_pause workload.worker")), "{found:?}");
    assert!(!found.iter().any(|lint| lint.starts_with(&format!("window_shorter_than_scrape {web}"))), "{found:?}");
}
