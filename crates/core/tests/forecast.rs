//! Forecasts against what real runs showed, against themselves, and against their own fluid form.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use democtl_core::{
    cost,
    event::{Event, Fact},
    profile::{Profile, Source},
    sim::{Fault, Forecast, Options, TrafficForecast, forecast, traffic},
    verdict::{Figures, Verdict},
};
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

fn builtin(name: &str, sets: &[(&str, &str)]) -> Profile {
    let sets: Vec<_> = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    Profile::load_builtin(name, &sets).unwrap().unwrap()
}

/// m3demo2 with more TOML, and a suite of one test.
fn with_suite(toml: &str, test: &str) -> Profile {
    let source = Source { name: "trial.toml".into(), text: format!("extends = \"m3demo2\"\nsuite = \"one\"\n{toml}") };
    let suite =
        format!("name = \"one\"\n[[test]]\nname = \"only\"\nthresholds = [\"http_req_failed: rate<0.05\"]\n{test}");
    let find =
        |name: &str| name.ends_with("one").then(|| Source { name: "suites/one.toml".into(), text: suite.clone() });
    Profile::load(&source, &[], &find).unwrap()
}

const CREATE: &str = r#"{ name = "create", post = "/api/customers", body = '{"name":"Customer"}' }"#;

/// As the local target runs the spike in the benchmarks.
fn spike(profile: &Profile, seed: u64) -> Forecast {
    let options = Options { tests: vec!["spike".into()], seed, speed: 15.0, ..Options::default() };
    forecast(profile, &options).unwrap()
}

fn replicas<'a>(events: &'a [Event], of: &'a str) -> Vec<(i32, i32)> {
    let change = |event: &Event| match &event.fact {
        Fact::Replicas { workload, from, to, .. } if workload == of => Some((*from, *to)),
        _ => None,
    };
    events.iter().filter_map(change).collect()
}

fn within(value: f64, measured: f64, share: f64) -> bool {
    (value / measured - 1.0).abs() <= share
}

/// Means of what docs/benchmarks.md tells of local runs at speed 15: p95 in milliseconds, failed share, verdict. One run's
/// p95 lies up to a tenth beside the mean, measured or forecast: a run has no more than 12,000 requests.
#[test]
fn forecasts_agree_with_measured_spikes() {
    let max_3 = [("workload.web.scaling.max", "3")];
    let small = [
        ("workload.web.replicas", "12"),
        ("workload.web.requests.cpu", "500m"),
        ("workload.web.requests.memory", "1Gi"),
    ];
    let rows = [
        ("m3demo1", &[][..], 887.0, 0.0, Verdict::Fail),
        ("m3demo1", &small[..1], 709.0, 0.0, Verdict::Fail),
        ("m3demo1", &small[..], 200.0, 0.0, Verdict::Pass),
        ("m3demo2", &[][..], 340.0, 0.010, Verdict::Pass),
        ("m3demo2", &max_3[..], 1218.0, 0.384, Verdict::Fail),
        ("m3demo2-as-written", &[][..], 1210.0, 0.230, Verdict::Fail),
    ];
    for (name, sets, measured_ms, failed, verdict) in rows {
        let outcomes: Vec<_> = (1..=4).map(|seed| spike(&builtin(name, sets), seed)).collect();
        let mean =
            |of: fn(&Figures) -> f64| outcomes.iter().map(|outcome| of(&outcome.tests[0].total)).sum::<f64>() / 4.0;
        for outcome in &outcomes {
            assert_eq!(outcome.verdict(), verdict, "{name} {sets:?}: {:?}", outcome.tests[0].total);
        }
        let (p95_ms, failed_rate) = (mean(|total| total.p95_ms), mean(|total| total.failed_rate));
        assert!(within(p95_ms, measured_ms, 0.15), "{name} {sets:?}: p95 {p95_ms} ms, measured {measured_ms}");
        assert!((failed_rate - failed).abs() < 0.03, "{name} {sets:?}: {failed_rate} failed, measured {failed}");
    }
}

#[test]
fn a_forecast_scales_as_the_local_run_did() {
    let outcome = spike(&builtin("m3demo2", &[]), 1);
    assert_eq!(replicas(&outcome.events, "web")[0], (2, 10), "in one sync");
    assert_eq!((outcome.before.now.nodes, outcome.after.peak.nodes, outcome.after.now.nodes), (2, 3, 2));
    assert!(outcome.after.unschedulable.contains_key("worker"));
    assert!(outcome.settled_s.is_some_and(|seconds| (600.0..1800.0).contains(&seconds)), "{:?}", outcome.settled_s);
    let node =
        outcome.events.iter().find(|event| matches!(&event.fact, Fact::Nodes { change, .. } if change == "ready"));
    let cause = |event: &Event| outcome.events.iter().find(|other| Some(other.id) == event.cause).unwrap().clone();
    let asked = cause(node.unwrap());
    let unplaced = cause(&asked);
    assert!(matches!(asked.fact, Fact::Nodes { .. }) && matches!(unplaced.fact, Fact::FailedScheduling { .. }));
    assert!(matches!(cause(&unplaced).fact, Fact::Replicas { .. }));
}

#[test]
fn the_whole_suite_of_the_static_system_fails_by_its_spike_alone() {
    let outcome = forecast(&builtin("m3demo1", &[]), &Options { speed: 15.0, ..Options::default() }).unwrap();
    let verdicts: Vec<_> = outcome.tests.iter().map(|test| (test.name.as_str(), test.verdict)).collect();
    assert_eq!(verdicts, [("soak", Verdict::Pass), ("load", Verdict::Pass), ("spike", Verdict::Fail)]);
    assert!(within(outcome.tests[0].total.p95_ms, 202.0, 0.02) && within(outcome.tests[1].total.p50_ms, 52.0, 0.05));
    assert!(replicas(&outcome.events, "web").is_empty());
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let profile = builtin("m3demo2", &[]);
    let bytes = |seed: u64| {
        let outcome = spike(&profile, seed);
        serde_json::to_vec(&(&outcome.tests, &outcome.events)).unwrap()
    };
    let first = bytes(5);
    assert!(first == bytes(5));
    assert!(first != bytes(6));
}

#[test]
fn a_lost_node_costs_its_pods_and_comes_back() {
    let options = Options {
        tests: vec!["spike".into()],
        faults: vec!["node-lost@2m".parse::<Fault>().unwrap()],
        ..Options::default()
    };
    let outcome = forecast(&builtin("m3demo2", &[]), &options).unwrap();
    let plain = forecast(&builtin("m3demo2", &[]), &Options { faults: Vec::new(), ..options }).unwrap();
    let removed = |event: &&Event| matches!(&event.fact, Fact::Nodes { reason, .. } if reason.contains("fault"));
    let lost = outcome.events.iter().find(removed).unwrap();
    assert!((160.0..180.0).contains(&lost.at_s), "noticed after 50 s: {}", lost.at_s);
    assert!(outcome.tests[0].total.failed > plain.tests[0].total.failed);
    assert_eq!(outcome.after.now, outcome.before.now, "all is back at the end");
}

#[test]
fn other_faults_show_where_they_strike() {
    let profile = builtin("m3demo2", &[]);
    let run = |fault: &str| {
        let options =
            Options { tests: vec!["spike".into()], faults: vec![fault.parse().unwrap()], ..Options::default() };
        forecast(&profile, &options).unwrap()
    };
    let reasons = |outcome: &Forecast, wanted: &str| {
        outcome.events.iter().any(|event| matches!(&event.fact, Fact::Kubernetes { reason, .. } if reason == wanted))
    };
    let short = run("zone-short@0s+20m");
    assert!(reasons(&short, "FailedScaleUp") && short.after.peak.nodes == 2);
    let paused = run("redis-pause@2m+20s");
    assert!(reasons(&paused, "Paused") && paused.tests[0].total.failed_rate > 0.01);
    let slow = run("slow-registry=2m");
    assert!(slow.after.peak.nodes == 3, "the images are on the first nodes; only the new one pulls");
    let late =
        Options { tests: vec!["spike".into()], faults: vec!["node-lost@99h".parse().unwrap()], ..Options::default() };
    let refused = forecast(&profile, &late).unwrap_err().to_string();
    assert!(refused.starts_with("a fault at 99h never happens: the forecast ends at "), "{refused}");
}

#[test]
fn a_run_begins_with_the_nodes_that_the_least_replicas_need() {
    let profile = builtin("m3demo2", &[("workload.web.scaling.min", "10"), ("workload.worker.scaling.min", "5")]);
    let outcome = forecast(&profile, &Options { tests: vec!["load".into()], ..Options::default() }).unwrap();
    assert_eq!((outcome.before.now.nodes, outcome.after.now.nodes), (3, 3));
}

/// A steady crowd at the level of requests, and the same crowd as a rate.
fn both(vus: u32) -> (Forecast, TrafficForecast) {
    let test = format!("vus = {vus}\nduration = \"8m\"\njourney = [{CREATE}, {{ think = \"0s..1s\" }}]\n");
    let day = "[traffic]\nday = [{ at = \"00:00\", load = 1.0 }]\n";
    let profile = with_suite(day, &test);
    let options = Options { settle: false, ..Options::default() };
    (forecast(&profile, &options).unwrap(), traffic(&profile, &options, 1).unwrap())
}

#[test]
fn requests_and_rates_agree_on_a_steady_crowd() {
    for vus in [10, 100, 300] {
        let (requests, rates) = both(vus);
        let flow = rates.steps.last().unwrap();
        let late: Vec<_> = requests.tests[0].seconds.iter().filter(|second| second.at_s > 300).collect();
        let rps = late.iter().map(|second| second.requests).sum::<u64>() as f64 / late.len() as f64;
        assert!(within(flow.rps, rps, 0.03), "{vus} VUs: {} and {rps} requests/s", flow.rps);
        let (now, flows) = (&requests.after.now, &flow.counts);
        assert_eq!(now.nodes, flows.nodes, "{vus} VUs: {now:?} and {flows:?}");
        for workload in ["web", "worker"] {
            let apart = now.pods[workload] - flows.pods[workload];
            assert!(apart.abs() <= 1, "{vus} VUs, {workload}: {now:?} and {flows:?}");
        }
    }
}

#[test]
fn a_day_follows_its_traffic_and_a_month_is_thirty_of_them() {
    let profile = builtin("m3demo2", &[]);
    let day = traffic(&profile, &Options::default(), 1).unwrap();
    assert_eq!((day.peak.nodes, day.peak.pods["web"]), (3, 10));
    assert_eq!(day.steps.last().unwrap().counts.nodes, 2, "back by midnight");
    assert!(day.requests > 3_000_000.0 && day.failed_rate < 0.05, "{} {}", day.requests, day.failed_rate);
    let month = traffic(&profile, &Options::default(), 30).unwrap();
    assert!(within(month.usd, 30.0 * day.usd, 0.01) && within(month.requests, 30.0 * day.requests, 0.01));
    assert!((400.0..600.0).contains(&month.monthly_usd), "{}", month.monthly_usd);
    let fixed = traffic(&builtin("m3demo1", &[]), &Options::default(), 1).unwrap();
    assert!(fixed.monthly_usd > 3000.0 && (fixed.node_hours - 9.0 * 24.0).abs() < 1e-6);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replicas_stay_within_bounds_and_time_goes_on(
        (min, more) in (1_u32..4, 0_u32..9), vus in 1_u32..300, threshold in 1_u32..30, seed in any::<u64>(),
    ) {
        let max = min + more;
        let scaling = format!(
            "[workload.web.scaling]\nmin = {min}\nmax = {max}\ntrigger = [{{ type = \"prometheus\", name = \"in-flight\", \
             query = \"sum(http_requests_in_flight)\", threshold = {threshold} }}]\n"
        );
        let test = format!("vus = {vus}\nduration = \"10m\"\njourney = [{CREATE}, {{ think = \"0s..1s\" }}]\n");
        let profile = with_suite(&scaling, &test);
        let outcome = forecast(&profile, &Options { seed, speed: 20.0, ..Options::default() }).unwrap();
        for (_, to) in replicas(&outcome.events, "web") {
            prop_assert!((min as i32..=max as i32).contains(&to), "{to} is outside {min} to {max}");
        }
        prop_assert!(outcome.events.windows(2).all(|pair| pair[0].at_s <= pair[1].at_s && pair[0].id < pair[1].id));
        prop_assert!(outcome.events.iter().all(|event| event.cause.is_none_or(|cause| cause < event.id)));
        let total = &outcome.tests[0].total;
        prop_assert!(total.failed <= total.requests && total.p50_ms <= total.p95_ms && total.p95_ms <= total.max_ms);
    }

    /// Each VU sends one request while the ramp goes up: the arrivals do not depend on what the pods do with them.
    #[test]
    fn more_capacity_never_fails_more_of_the_same_arrivals(
        (concurrency, queue) in (1_u32..8, 1_u32..40), (wider, longer) in (0_u32..8, 0_u32..40),
        vus in 50_u32..600, seed in any::<u64>(),
    ) {
        let failed = |concurrency: u32, queue: u32| {
            let web = format!("[workload.web]\nconcurrency = {concurrency}\nqueue = {queue}\n[workload.web.scaling]\nmin = 2\nmax = 2\n");
            let test = format!(
                "stages = [{{ duration = \"5s\", target = {vus} }}]\njourney = [{CREATE}, {{ think = \"10m\" }}]\n"
            );
            let profile = with_suite(&web, &test);
            let outcome = forecast(&profile, &Options { seed, settle: false, ..Options::default() }).unwrap();
            (outcome.tests[0].total.requests, outcome.tests[0].total.failed)
        };
        let (less, more) = (failed(concurrency, queue), failed(concurrency + wider, queue + longer));
        prop_assert_eq!(less.0, more.0, "the same arrivals");
        prop_assert!(more.1 <= less.1, "{} failed with more room, {} with less", more.1, less.1);
    }

    #[test]
    fn cost_is_additive_over_time(cut in 0.0_f64..1.0, seed in 0_u64..4) {
        let profile = builtin("m3demo2", &[]);
        let outcome = spike(&profile, seed);
        let end = Duration::from_secs_f64(outcome.after.at_s);
        let between = |from, to| profile.prices.between(&outcome.after.node_steps, from, to).unwrap();
        let middle = end.mul_f64(cut);
        let whole = cost::run(&profile.prices, &outcome.after.node_steps, Duration::ZERO, end).unwrap().run_usd;
        let parts = between(Duration::ZERO, middle) + between(middle, end);
        prop_assert!((parts - whole).abs() < 1e-9, "{parts} and {whole}");
    }
}
