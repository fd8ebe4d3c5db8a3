//! A day of a profile with so many nodes at its peak: `growth NODES`.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for people, with an argument and a result"
)]

#[path = "../benches/large/mod.rs"]
mod large;

use democtl_core::sim::{Options, traffic};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nodes = std::env::args().nth(1).unwrap_or_else(|| "1000".to_owned()).parse()?;
    let profile = large::profile(nodes);
    let day = traffic(&profile, &Options::default(), 1)?;
    let pods: i32 = day.peak.pods.values().sum();
    let (workloads, requests, usd) = (profile.workloads.len(), day.requests, day.usd);
    println!(
        "{} nodes and {pods} pods at the peak, {workloads} workloads: {requests:.0} requests, ${usd:.2}, {} events",
        day.peak.nodes,
        day.events.len()
    );
    Ok(())
}
