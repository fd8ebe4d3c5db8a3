//! The built-in profiles read as the facts have them, and `--set`, `extends` and inheritance do what they say.

use std::time::Duration;

use proptest::prelude::{ProptestConfig, proptest};

use democtl_core::{
    capacity,
    profile::{Pattern, Profile, ProfileErrors, Role, Source, Trigger},
    suite::Executor,
    units::{Bytes, Millicores},
};

fn load(name: &str, sets: &[(&str, &str)]) -> Result<Profile, ProfileErrors> {
    let sets: Vec<(String, String)> = sets.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    Profile::load_builtin(name, &sets).expect("built in")
}

fn sound(name: &str, sets: &[(&str, &str)]) -> Profile {
    load(name, sets).unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}

#[test]
fn m3demo1_is_nine_large_nodes_and_eight_large_pods() {
    let profile = sound("m3demo1", &[]);
    assert_eq!(profile.name, "m3demo1");
    assert_eq!(profile.pools.iter().map(|pool| pool.count).sum::<u32>(), 9);
    assert!(profile.pools.iter().all(|pool| pool.vm_size.name == "Standard_D8s_v5" && !pool.autoscaled));
    assert!(profile.autoscaler.is_none());
    let web = profile.workload("web").expect("there");
    assert_eq!((web.replicas, web.requests.cpu, web.limits.cpu), (6, Millicores(4000), Millicores(6000)));
    assert_eq!(web.requests.memory, Bytes(12 << 30));
    assert!(web.scaling.is_none());
    assert_eq!(profile.workload("worker").expect("there").replicas, 2);
}

#[test]
fn m3demo2_scales_as_the_facts_say() {
    let profile = sound("m3demo2", &[]);
    let pool = &profile.pools[0];
    assert_eq!((pool.vm_size.name, pool.min, pool.max, pool.count), ("Standard_D4s_v5", 2, 7, 2));
    let autoscaler = profile.autoscaler.as_ref().expect("autoscales");
    assert_eq!(autoscaler.scale_down_delay_after_add, Duration::from_secs(600));
    assert_eq!(autoscaler.scale_down_unneeded_time, Duration::from_secs(600));
    assert!((autoscaler.scale_down_utilization_threshold - 0.5).abs() < f64::EPSILON);
    let web = profile.workload("web").expect("there");
    let scaling = web.scaling.as_ref().expect("scaled");
    assert_eq!((scaling.min, scaling.max, scaling.triggers.len()), (2, 10, 4));
    let up = scaling.behavior.scale_up.as_ref().expect("given");
    assert_eq!((up.policies[0].value, up.policies[0].period_seconds), (400, 15));
    let worker = profile.workload("worker").expect("there");
    let list =
        Trigger::Redis { address: "redis:6379".into(), list: "customer_operations".into(), length: 5, activation: 0 };
    assert_eq!(worker.scaling.as_ref().expect("scaled").triggers, [list]);
    let Role::Web(web) = &web.role else { panic!("web is web") };
    assert_eq!((web.concurrency, web.queue, web.pattern), (10, 110, Pattern::Async));
    assert_eq!(web.writes, "customer_operations");
}

#[test]
fn as_written_has_the_readme_triggers_only() {
    let profile = sound("m3demo2-as-written", &[]);
    assert_eq!(profile.name, "m3demo2-as-written", "a name is not inherited");
    let scaling = profile.workload("web").and_then(|web| web.scaling.clone()).expect("scaled");
    assert_eq!(scaling.triggers.len(), 3, "lists are replaced");
    assert_eq!(scaling.max, 10, "tables are merged");
}

#[test]
fn the_standard_suite_is_the_one_of_the_facts() {
    let suite = sound("m3demo2", &[]).suite;
    let vus = |index: usize| match &suite.tests[index].executor {
        Executor::ConstantVus { vus, duration } => vec![(*vus, duration.as_secs())],
        Executor::RampingVus { stages, .. } => stages.iter().map(|s| (s.target, s.duration.as_secs())).collect(),
    };
    assert_eq!(vus(0), [(40, 600)]);
    assert_eq!(vus(1), [(10, 30), (30, 60), (70, 120), (50, 60), (10, 30)]);
    assert_eq!(vus(2), [(15, 30), (600, 15), (600, 180), (15, 15), (15, 60)]);
    let thresholds: Vec<String> = suite.tests[2].thresholds.iter().map(ToString::to_string).collect();
    assert_eq!(thresholds, ["http_req_failed: rate<0.05", "http_req_duration: p(95)<500"]);
}

#[test]
fn overrides_reach_every_kind_of_value() {
    let web = |sets| sound("m3demo1", sets).workload("web").expect("there").clone();
    assert_eq!(web(&[("workload.web.replicas", "12")]).replicas, 12);
    let set = [("workload.web.requests.cpu", "500m"), ("workload.web.requests.memory", "1Gi")];
    assert_eq!(web(&set).requests.cpu, Millicores(500));
    let profile = sound("m3demo2", &[("workload.web.scaling.max", "3")]);
    assert_eq!(profile.workload("web").and_then(|w| w.scaling.as_ref()).expect("scaled").max, 3);
    let profile = sound("m3demo2", &[("workload.web.scaling.trigger.3.threshold", "12.5")]);
    let scaling = profile.workload("web").and_then(|w| w.scaling.clone()).expect("scaled");
    assert!(matches!(&scaling.triggers[3], Trigger::Prometheus { threshold, .. } if (*threshold - 12.5).abs() < 1e-9));
    let profile = sound("m3demo2", &[("prices.Standard_D4s_v5", "0.46"), ("azure.kubernetes_version", "1.33")]);
    assert!((profile.prices.vm["Standard_D4s_v5"] - 0.46).abs() < 1e-9);
    assert_eq!(profile.azure.kubernetes_version.as_deref(), Some("1.33"));
    assert_eq!(sound("m3demo2", &[("meta.environment", "42")]).environment, "42");
}

#[test]
fn extends_finds_given_texts_before_built_in_ones() {
    let child = Source { name: "mine.toml".into(), text: "extends = \"base\"".into() };
    let base = democtl_core::profile::builtin("m3demo1").expect("built in");
    let resolve = |name: &str| (name == "base").then(|| base.clone());
    let profile = Profile::load(&child, &[], &resolve).expect("sound");
    assert_eq!((profile.name.as_str(), profile.pools.len()), ("mine", 3));
}

#[test]
fn nodes_beyond_the_minima_go_to_the_autoscaled_pools() {
    assert_eq!(capacity::spread(&sound("m3demo1", &[]), 12), [3, 3, 3], "fixed pools never grow");
    assert_eq!(capacity::spread(&sound("m3demo2", &[]), 5), [5]);
    assert_eq!(capacity::spread(&sound("m3demo2", &[]), 1), [2]);
    assert_eq!(capacity::spread(&sound("m3demo2", &[]), 9), [7]);
}

#[test]
fn all_problems_are_told_at_once_and_in_order() {
    let errors =
        load("m3demo2", &[("workload.web.scaling.min", "11"), ("pool.main.min", "9"), ("local.vm_delay", "5 min")])
            .expect_err("three problems");
    let codes: Vec<&str> = errors.problems().iter().map(democtl_core::profile::Problem::code).collect();
    assert_eq!(codes, ["conflict", "conflict", "bad_unit"], "{}", errors.to_text(100));
    assert_eq!(errors.problems()[0].position(), ("--set", 1, 26));
}

/// Loads a text that may be anything, and renders whatever is wrong with it.
fn survive(text: String, sets: &[(String, String)]) {
    let source = Source { name: "any.toml".into(), text };
    if let Err(errors) = Profile::load(&source, sets, &|_| None) {
        assert!(!errors.problems().is_empty());
        assert!(!errors.to_text(80).is_empty());
        assert!(errors.problems().iter().all(|problem| problem.position().1 >= 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_answered_without_a_panic(text in "[\\[\\]a-z.=\"' \n{},0-9äé#-]{0,80}") {
        survive(text, &[]);
    }

    #[test]
    fn a_damaged_profile_is_answered_without_a_panic(at in 0_usize..2000, length in 0_usize..40, with in "[ -~é\n]{0,12}") {
        let text: Vec<char> = democtl_core::profile::builtin("m3demo2").expect("built in").text.chars().collect();
        let at = at.min(text.len());
        let end = (at + length).min(text.len());
        survive(text[..at].iter().chain(&with.chars().collect::<Vec<_>>()).chain(&text[end..]).collect(), &[]);
    }

    #[test]
    fn any_override_is_answered_without_a_panic(path in "(workload|pool|meta|prices|x|traffic)(\\.(web|main|scaling|trigger|0|max|é|day|)){0,4}", value in "[ -~é]{0,12}") {
        survive(democtl_core::profile::builtin("m3demo2").expect("built in").text, &[(path, value)]);
    }
}
