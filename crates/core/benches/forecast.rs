//! How long forecasts take: `cargo bench -p democtl-core --bench forecast`. Criterion's throughput is the real-time factor:
//! an element is a second of the time that is forecast.

mod large;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use democtl_core::{
    profile::Profile,
    sim::{Options, forecast, traffic},
};

/// Seconds.
const DAY_S: u64 = 86_400;

fn profile(name: &str) -> Profile {
    let loaded = Profile::load_builtin(name, &[]).expect("built in");
    loaded.expect("valid")
}

fn run_of_suite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("suite");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for name in ["m3demo1", "m3demo2", "m3demo2-as-written"] {
        let profile = profile(name);
        let whole = forecast(&profile, &Options::default()).expect("a forecast");
        group.throughput(Throughput::Elements(whole.events.last().map_or(0.0, |event| event.at_s) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| forecast(black_box(&profile), &Options::default()).expect("a forecast"));
        });
    }
    group.finish();
}

fn traffic_of_days(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("traffic");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    let profile = profile("m3demo2");
    for (name, days) in [("day", 1), ("month", 30)] {
        group.throughput(Throughput::Elements(u64::from(days) * DAY_S));
        group.bench_function(name, |bencher| {
            bencher.iter(|| traffic(black_box(&profile), &Options::default(), days).expect("a forecast"));
        });
    }
    group.finish();
}

/// The day of an hour of full traffic, by the number of nodes at the peak; `examples/growth.rs` tells what is in it.
fn traffic_of_large_clusters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("large");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(DAY_S));
    for nodes in [125, 250, 500, 1000] {
        let profile = large::profile(nodes);
        group.bench_function(format!("{nodes} nodes"), |bencher| {
            bencher.iter(|| traffic(black_box(&profile), &Options::default(), 1).expect("a forecast"));
        });
    }
    group.finish();
}

criterion_group!(benches, run_of_suite, traffic_of_days, traffic_of_large_clusters);
criterion_main!(benches);
