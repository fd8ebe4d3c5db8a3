//! Costs follow from nodes, prices and the day's shape; nothing is a constant of a profile.

use std::time::Duration;

use democtl_core::{
    capacity,
    cost::{self, NodeCount, NodeStep, PriceKind, Prices, RetailPrice, linux_vm_price},
    profile::Profile,
};
use proptest::prelude::{ProptestConfig, prop, proptest};

fn profile(name: &str, sets: &[(&str, &str)]) -> Profile {
    let sets: Vec<(String, String)> = sets.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    Profile::load_builtin(name, &sets).expect("built in").unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}

fn d4(count: u32) -> Vec<NodeCount> {
    vec![NodeCount { vm_size: "Standard_D4s_v5".into(), count }]
}

#[test]
fn the_two_systems_cost_what_they_are_said_to() {
    let fixed = cost::project(&profile("m3demo1", &[]), None).expect("priced");
    let scaled = cost::project(&profile("m3demo2", &[]), None).expect("priced");
    assert!((3000.0..3500.0).contains(&fixed.monthly_usd), "{fixed:?}");
    assert!((400.0..600.0).contains(&scaled.monthly_usd), "{scaled:?}");
    let comparison = cost::compare(&fixed, &scaled);
    assert!((0.8..0.889).contains(&comparison.saved_share), "{comparison:?}");
    assert_eq!(
        scaled.assumption,
        "a day of 23 h at 2 nodes and 1 h at 3 nodes (peak as the greatest replicas need it), 730 h a month; \
         list prices for westeurope, Linux, pay-as-you-go, from democtl's own table (2026-11)"
    );
}

#[test]
fn prices_say_whose_they_are() {
    let there = profile("m3demo2", &[("azure.location", "eastus")]);
    assert!(
        there.prices.origin.ends_with("from democtl's own table (it has none for eastus)"),
        "{}",
        there.prices.origin
    );
}

#[test]
fn the_projection_moves_with_the_measured_peak_and_the_traffic() {
    let system = profile("m3demo2", &[]);
    let month = |system: &Profile, peak: u32| cost::project(system, Some(&[peak])).expect("priced");
    let hour_a_day = 0.23 * 730.0 / 24.0 + system.prices.os_disk * 730.0 / 24.0;
    let step = month(&system, 7).monthly_usd - month(&system, 6).monthly_usd;
    assert!((step - hour_a_day).abs() < 1e-6, "one node more for an hour a day: {step}");
    let busy = profile("m3demo2", &[("traffic.day", "[{at=\"00:00\", load=1}]")]);
    assert!((month(&busy, 7).mean_nodes - 7.0).abs() < 1e-9);
    assert!((month(&system, 2).mean_nodes - 2.0).abs() < 1e-9);
}

#[test]
fn twelve_large_pods_do_not_fit_nine_large_nodes() {
    let needed = |sets: &[(&str, &str)]| capacity::needed(&profile("m3demo1", sets), capacity::most_replicas);
    assert_eq!(needed(&[]).pending, 0);
    assert_eq!(needed(&[("workload.web.replicas", "12")]).pending, 5, "2 workers and 7 web pods fill nine nodes");
    let small = [
        ("workload.web.replicas", "12"),
        ("workload.web.requests.cpu", "500m"),
        ("workload.web.requests.memory", "1Gi"),
    ];
    assert_eq!(needed(&small).pending, 0);
}

#[test]
fn the_written_limits_never_need_seven_nodes() {
    let system = profile("m3demo2", &[]);
    assert_eq!(capacity::needed(&system, capacity::least_replicas).total(), 2);
    assert_eq!(capacity::needed(&system, capacity::most_replicas).total(), 3);
}

#[test]
fn a_run_is_paid_by_its_timeline() {
    let minutes = |m: u64| Duration::from_secs(m * 60);
    let timeline = [
        NodeStep { at: minutes(0), nodes: d4(2) },
        NodeStep { at: minutes(30), nodes: d4(3) },
        NodeStep { at: minutes(60), nodes: d4(2) },
    ];
    let prices = Prices::committed();
    let run = cost::run(&prices, &timeline, minutes(15), minutes(75)).expect("priced");
    assert!((run.node_hours - 2.5).abs() < 1e-9, "{run:?}");
    let expected = 2.5 * (0.23 + prices.os_disk) + prices.fixed_per_hour();
    assert!((run.run_usd - expected).abs() < 1e-9, "{run:?}");
    assert!((run.before_per_hour - run.after_per_hour).abs() < 1e-9 && run.peak_per_hour > run.before_per_hour);
    let unknown = vec![NodeCount { vm_size: "Standard_Z9".into(), count: 1 }];
    assert_eq!(prices.per_hour(&unknown), None, "an unknown price is never $0.00");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn doubled_prices_double_every_cost(steps in prop::collection::vec((0_u64..7200, 0_u32..9), 1..8), end in 7200_u64..20000) {
        let mut steps = steps;
        steps.sort_unstable();
        let timeline: Vec<NodeStep> =
            steps.iter().map(|(at, count)| NodeStep { at: Duration::from_secs(*at), nodes: d4(*count) }).collect();
        let (start, end) = (timeline[0].at, Duration::from_secs(end));
        let once = cost::run(&Prices::committed(), &timeline, start, end).expect("priced");
        let twice = cost::run(&Prices::committed().scaled(2.0), &timeline, start, end).expect("priced");
        assert!((twice.run_usd - 2.0 * once.run_usd).abs() < 1e-9);
        assert!((twice.node_hours - once.node_hours).abs() < 1e-12);
    }

    #[test]
    fn cost_is_additive_over_time(counts in prop::collection::vec(0_u32..9, 1..8), cut in 0_u64..8000) {
        let prices = Prices::committed();
        let timeline: Vec<NodeStep> = counts
            .iter()
            .enumerate()
            .map(|(index, count)| NodeStep { at: Duration::from_secs(index as u64 * 1000), nodes: d4(*count) })
            .collect();
        let (start, cut, end) = (Duration::ZERO, Duration::from_secs(cut), Duration::from_secs(8000));
        let whole = prices.between(&timeline, start, end).expect("priced");
        let parts = prices.between(&timeline, start, cut).expect("priced") + prices.between(&timeline, cut, end).expect("priced");
        assert!((whole - parts).abs() < 1e-9);
    }
}

#[test]
fn doubled_prices_double_the_month() {
    for name in ["m3demo1", "m3demo2"] {
        let once = cost::project(&profile(name, &[]), None).expect("priced").monthly_usd;
        let twice = cost::project(&profile(name, &[("prices.factor", "2")]), None).expect("priced").monthly_usd;
        assert!((twice - 2.0 * once).abs() < 1e-6, "{name}: {once} {twice}");
    }
}

fn item(product: &str, sku: &str, arm_sku: &str, usd: f64) -> RetailPrice {
    RetailPrice {
        product_name: product.into(),
        sku_name: sku.into(),
        meter_name: sku.into(),
        arm_sku_name: arm_sku.into(),
        retail_price: usd,
        unit_of_measure: "1 Hour".into(),
        kind: "Consumption".into(),
    }
}

/// Traps of others: the Windows price, Spot, Low Priority, $0.00 for unknown, the case of a SKU's name.
#[test]
fn the_price_of_a_linux_vm_is_none_of_the_others() {
    let (linux, windows) = ("Virtual Machines Dsv5 Series", "Virtual Machines Dsv5 Series Windows");
    let reserved = RetailPrice { kind: "Reservation".into(), ..item(linux, "D4s v5", "Standard_D4s_v5", 900.0) };
    let list = [
        item(windows, "D4s v5", "Standard_D4s_v5", 0.41),
        item(linux, "D4s v5 Spot", "Standard_D4s_v5", 0.05),
        item(linux, "D4s v5 Low Priority", "Standard_D4s_v5", 0.046),
        reserved,
        item(linux, "D4s v5", "Standard_D4s_v5", 0.0),
        item(linux, "D8s v5", "Standard_D8s_v5", 0.47),
        item(linux, "D4s v5", "standard_d4s_v5", 0.235),
    ];
    assert_eq!(linux_vm_price(&list, "Standard_D4s_v5"), Some(0.235));
    assert_eq!(linux_vm_price(&list[..5], "Standard_D4s_v5"), None, "never $0.00");
}

#[test]
fn a_list_replaces_what_the_profile_does_not_price() {
    let list = [item("Virtual Machines Dsv5 Series", "D4s v5", "Standard_D4s_v5", 0.25)];
    let with =
        |prices: Prices, sizes: &[&str]| prices.with_list(&list, sizes, "westeurope", "2026-11-25", PriceKind::List);
    let taken = with(Prices::committed(), &["Standard_D4s_v5"]);
    assert_eq!((taken.vm["Standard_D4s_v5"], taken.kind, taken.as_of.as_str()), (0.25, PriceKind::List, "2026-11-25"));
    let overridden = profile("m3demo2", &[("prices.Standard_D4s_v5", "0.2")]).prices;
    assert!((with(overridden, &["Standard_D4s_v5"]).vm["Standard_D4s_v5"] - 0.2).abs() < 1e-9);
    let incomplete = with(Prices::committed(), &["Standard_D4s_v5", "Standard_D8s_v5"]);
    assert_eq!(incomplete, Prices::committed(), "one size is missing: nothing is mixed");
}
