//! A forecast beside the run that it forecasts, for people and for machines.

use std::fmt::Write as _;

use democtl_core::{
    caveats::caveats,
    event::Event,
    explain::Recording,
    fidelity::{Counted, CurvePair, Fidelity, Pair, TestPair, Verdicts, compare},
    profile::Profile,
    sim::Forecast,
    timeline::Moment,
};
use serde::Serialize;

use super::{human, recorded::Recorded, summary::Cost};
use crate::{environment::Request, ui::Style};

/// Money on both sides.
#[derive(Debug, Serialize)]
pub struct CostPair {
    /// Dollars of the run itself, in profile time.
    pub run_usd: Pair,
    /// Dollars of a month of the profile's traffic.
    pub monthly_usd: Pair,
}

/// A run and its forecast.
#[derive(Debug, Serialize)]
pub struct Against {
    /// The run's directory; of several, those of all.
    pub runs: Vec<String>,
    /// Profile that ran.
    pub profile: String,
    /// Profile that was forecast: the same, unless another one was asked for.
    pub forecast: String,
    /// Durations were divided by this.
    pub speed: f64,
    /// The run's seed, and the first of the forecast's; of several runs, the first one's.
    pub seed: u64,
    /// How many forecasts there are.
    pub seeds: usize,
    /// Figures and curves.
    #[serde(flatten)]
    pub fidelity: Fidelity,
    /// Money.
    pub cost: CostPair,
    /// What a reader must know besides.
    pub notes: Vec<String>,
    /// The timeline of the first seed's forecast.
    pub events: Vec<Event>,
}

impl Against {
    /// Puts forecasts of a profile by several seeds beside the recorded runs; there is at least one of both.
    pub fn new(runs: &[(String, Recorded)], request: &Request, profile: &Profile, forecasts: &[Forecast]) -> Self {
        let measured: Vec<Cost> =
            runs.iter().map(|(_, run)| Cost::of(&run.profile, &Moment::of(&run.events))).collect();
        let foreseen: Vec<Cost> = forecasts.iter().map(|forecast| Cost::of(profile, &forecast.after)).collect();
        let recordings: Vec<Recording<'_>> = runs.iter().map(|(_, run)| run.recording()).collect();
        let mut foretold = Vec::new();
        for Forecast { events, tests, .. } in forecasts {
            foretold.push(Recording { profile, events, tests });
        }
        let pair = |of: fn(&Cost) -> f64| Pair::new(measured.iter().map(of), foreseen.iter().map(of));
        Self {
            runs: runs.iter().map(|(dir, _)| dir.clone()).collect(),
            profile: recordings.first().map(|run| run.profile.name.clone()).unwrap_or_default(),
            forecast: profile.name.clone(),
            speed: request.speed,
            seed: request.seed,
            seeds: forecasts.len(),
            fidelity: compare(&recordings, &foretold),
            cost: CostPair { run_usd: pair(|cost| cost.run_usd), monthly_usd: pair(|cost| cost.monthly_usd) },
            notes: recordings
                .iter()
                .flat_map(caveats)
                .chain(forecasts.first().into_iter().flat_map(|forecast| forecast.notes.clone()))
                .collect(),
            events: forecasts.first().map(|forecast| forecast.events.clone()).unwrap_or_default(),
        }
    }
}

fn verdicts(of: &Verdicts, style: Style) -> String {
    let sign = if of.agree() { "as measured" } else { "not as measured" };
    format!("{} measured, {} forecast: {sign}", human::verdict(of.measured, style), human::verdict(of.forecast, style))
}

/// `+3.2 %`, or `new` where nothing was measured.
fn difference(pair: &Pair) -> String {
    pair.difference.map_or_else(|| "new".to_owned(), |share| format!("{:+.1} %", 100.0 * share))
}

fn row(text: &mut String, name: &str, pair: &Pair, digits: usize, unit: &str) {
    let value = |value: f64| format!("{value:.digits$}{unit}");
    let (measured, forecast) = (value(pair.measured), value(pair.forecast));
    let (least, most) = pair.range;
    let range = if most > least { format!("  ({} to {})", value(least), value(most)) } else { String::new() };
    let _ = writeln!(text, "    {name:20} {measured:>12} {forecast:>12} {:>10}{range}", difference(pair));
}

fn test(text: &mut String, test: &TestPair, style: Style) {
    let _ = writeln!(text, "  {}: {}", style.paint("1", &test.name), verdicts(&test.verdict, style));
    row(text, "requests", &test.requests, 0, "");
    row(text, "failed", &test.failed, 0, "");
    for (name, pair) in [("p50", &test.p50_ms), ("p95", &test.p95_ms), ("p99", &test.p99_ms)] {
        row(text, name, pair, 1, " ms");
    }
}

fn curve(text: &mut String, curve: &CurvePair) {
    let counted = match curve.counted {
        Counted::Replicas => "replicas",
        Counted::Ready => "pods ready",
        Counted::Nodes => "ready",
    };
    let name = format!("{} {counted}", curve.subject);
    let of = |pair: &Pair| format!("{:.2}, {:.2}", pair.measured, pair.forecast);
    let most = format!("{:.0}, {:.0}", curve.greatest.measured, curve.greatest.forecast);
    let _ = writeln!(
        text,
        "    {name:22} {:>14} {most:>8} {:>8.0} {:>8.1} s {:>8.2}",
        of(&curve.mean),
        curve.area_s,
        curve.shift_s,
        curve.shift_syncs
    );
}

/// For people: each test, then the curves, then the money.
pub fn human(against: &Against, style: Style) -> String {
    let fidelity = &against.fidelity;
    let mut text = format!(
        "forecast of {} against {} (profile {}, speed {}, seed {}{})\n  suite: {}\n",
        style.paint("1", &against.forecast),
        against.runs.join(", "),
        against.profile,
        against.speed,
        against.seed,
        if against.seeds > 1 { format!("; means of {} forecasts", against.seeds) } else { String::new() },
        verdicts(&fidelity.verdict, style)
    );
    let _ = writeln!(text, "    {:20} {:>12} {:>12} {:>10}", "", "measured", "forecast", "difference");
    for pair in &fidelity.tests {
        test(&mut text, pair, style);
    }
    text.push_str("  cost\n");
    row(&mut text, "this run", &against.cost.run_usd, 3, " $");
    row(&mut text, "a month", &against.cost.monthly_usd, 0, " $");
    let _ = writeln!(
        text,
        "  curves (measured, forecast)\n    {:22} {:>14} {:>8} {:>8} {:>10} {:>8}",
        "", "mean", "most", "area", "shift", "syncs"
    );
    for pair in &fidelity.curves {
        curve(&mut text, pair);
    }
    text.push_str(
        "  area: between both curves, units x seconds; shift: area by the sum of the steps, the mean time by which a step\n  \
         is off; syncs: the same in sync periods of 15 s\n",
    );
    for note in &against.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}
