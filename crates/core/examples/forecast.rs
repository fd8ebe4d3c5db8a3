//! Forecasts a profile as JSON lines: `forecast PROFILE [SPEED] [SEED] [TEST|days:N] [PATH=VALUE]`.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for people, with arguments and a result"
)]

use democtl_core::{
    profile::Profile,
    sim::{Options, forecast, traffic},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    let sets: Vec<_> = arguments.iter().filter_map(|text| text.split_once('=')).collect();
    let sets: Vec<_> = sets.into_iter().map(|(path, value)| (path.to_owned(), value.to_owned())).collect();
    let profile = Profile::load_builtin(argument(0).unwrap_or("m3demo2"), &sets).ok_or("no such profile")??;
    let options = Options {
        speed: argument(1).unwrap_or("1").parse()?,
        seed: argument(2).unwrap_or("1").parse()?,
        tests: argument(3).filter(|test| *test != "all").map(ToOwned::to_owned).into_iter().collect(),
        ..Options::default()
    };
    if let Some(days) = argument(3).and_then(|text| text.strip_prefix("days:")) {
        let options = Options { tests: Vec::new(), ..options };
        println!("{}", serde_json::to_string_pretty(&traffic(&profile, &options, days.parse()?)?)?);
        return Ok(());
    }
    let outcome = forecast(&profile, &options)?;
    for event in outcome.events.iter().filter(|event| !matches!(event.fact, democtl_core::event::Fact::Sample { .. })) {
        println!("{}", serde_json::to_string(event)?);
    }
    for test in &outcome.tests {
        let total = &test.total;
        println!(
            "{} {:?} {} requests, {:.2} % failed, p50 {} p95 {} p99 {} in {:.1} s",
            test.name,
            test.verdict,
            total.requests,
            100.0 * total.failed_rate,
            total.p50_ms,
            total.p95_ms,
            total.p99_ms,
            test.duration_s
        );
    }
    println!("settled {:?} peak {:?} notes {:?}", outcome.settled_s, outcome.after.peak, outcome.notes);
    Ok(())
}
