//! Forecasts: one run as a real one's summary, many seeds as probabilities, a day or month of traffic.

use std::fmt::Write as _;

use democtl_core::{
    event::Event,
    profile::Profile,
    sim::{Forecast, Options, TrafficForecast},
    suite::Threshold,
    verdict::Verdict,
};
use serde::Serialize;

use super::{
    human,
    summary::{Cost, RunSummary, TestSummary},
};
use crate::ui::{Style, timeline};

/// A forecast run; the first seed's where there are several.
#[derive(Debug, Serialize)]
pub struct ForecastSummary {
    /// As a real run's.
    #[serde(flatten)]
    pub run: RunSummary,
    /// What the seeds came to, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeds: Option<Seeds>,
    /// The timeline.
    pub events: Vec<Event>,
}

/// Figures over seeds.
#[derive(Debug, Serialize)]
pub struct Seeds {
    /// How many.
    pub count: usize,
    /// Share in which every threshold held.
    pub passed: f64,
    /// Tests in order.
    pub tests: Vec<SeedsOfTest>,
    /// Dollars of the run.
    pub run_usd: Spread,
    /// Greatest number of ready nodes.
    pub nodes: Spread,
}

/// One test over seeds.
#[derive(Debug, Serialize)]
pub struct SeedsOfTest {
    /// Its name.
    pub name: String,
    /// Median latency, milliseconds.
    pub p50_ms: Spread,
    /// 95th percentile, milliseconds.
    pub p95_ms: Spread,
    /// 99th percentile, milliseconds.
    pub p99_ms: Spread,
    /// Share of failed requests.
    pub failed_rate: Spread,
    /// Thresholds with the share of seeds in which they held.
    pub thresholds: Vec<ThresholdOdds>,
}

/// How often a threshold held.
#[derive(Debug, Serialize)]
pub struct ThresholdOdds {
    /// The condition.
    pub threshold: Threshold,
    /// Share of seeds.
    pub probability: f64,
}

/// Least, middle and greatest of a figure.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// Least.
    pub min: f64,
    /// Median.
    pub median: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Greatest.
    pub max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * values.len().saturating_sub(1) as f64).round() as usize;
            values.get(index).copied().unwrap_or(f64::NAN)
        };
        Self { min: at(0.0), median: at(0.5), p95: at(0.95), max: at(1.0) }
    }
}

/// A forecast in the words of a real run.
pub fn summary(profile: &Profile, options: &Options, forecast: &Forecast) -> RunSummary {
    let mut notes = vec!["forecast in virtual time: nothing ran".to_owned()];
    notes.extend(forecast.notes.iter().cloned());
    RunSummary {
        environment: "virtual time".to_owned(),
        profile: profile.name.clone(),
        target: "forecast".to_owned(),
        speed: options.speed,
        seed: options.seed,
        engine: "forecast".to_owned(),
        verdict: forecast.verdict(),
        tests: forecast.tests.iter().map(TestSummary::of).collect(),
        baseline: forecast.before.now.clone(),
        peak: forecast.after.peak.clone(),
        r#final: forecast.after.now.clone(),
        settled_s: forecast.settled_s,
        scaling_events: forecast.after.scaling_events,
        unschedulable: forecast.after.unschedulable.clone(),
        cost: Cost::of(profile, &forecast.after),
        notes,
        directory: String::new(),
    }
}

impl Seeds {
    /// The figures of forecasts that differ by their seeds.
    pub fn of(runs: &[RunSummary]) -> Self {
        let passed = runs.iter().filter(|run| run.verdict == Verdict::Pass).count();
        let first = runs.first().map_or(&[] as &[TestSummary], |run| &run.tests);
        let test = |(index, test): (usize, &TestSummary)| {
            let all = || runs.iter().filter_map(move |run| run.tests.get(index));
            let odds = |(at, result): (usize, &democtl_core::verdict::ThresholdResult)| {
                let held = all().filter(|test| test.thresholds[at].verdict == Verdict::Pass).count();
                ThresholdOdds { threshold: result.threshold.clone(), probability: held as f64 / runs.len() as f64 }
            };
            SeedsOfTest {
                name: test.name.clone(),
                p50_ms: Spread::of(all().map(|test| test.p50_ms)),
                p95_ms: Spread::of(all().map(|test| test.p95_ms)),
                p99_ms: Spread::of(all().map(|test| test.p99_ms)),
                failed_rate: Spread::of(all().map(|test| test.failed_rate)),
                thresholds: test.thresholds.iter().enumerate().map(odds).collect(),
            }
        };
        Self {
            count: runs.len(),
            passed: passed as f64 / runs.len().max(1) as f64,
            tests: first.iter().enumerate().map(test).collect(),
            run_usd: Spread::of(runs.iter().map(|run| run.cost.run_usd)),
            nodes: Spread::of(runs.iter().map(|run| f64::from(run.peak.nodes))),
        }
    }
}

/// For people: the timeline of one seed, or the odds of several; then the summary.
pub fn human(summary: &ForecastSummary, style: Style) -> String {
    let mut text = String::new();
    match &summary.seeds {
        None => {
            for line in summary.events.iter().filter_map(timeline::line) {
                let _ = writeln!(text, "  {line}");
            }
        }
        Some(seeds) => odds(seeds, &mut text),
    }
    text.push_str(&human::run(&summary.run, style));
    text
}

fn odds(seeds: &Seeds, text: &mut String) {
    let _ = writeln!(text, "{} seeds, {:.0} % of them pass", seeds.count, 100.0 * seeds.passed);
    for test in &seeds.tests {
        let (p95, failed) = (test.p95_ms, test.failed_rate);
        let _ = writeln!(
            text,
            "  {:8} p95 {:.0} to {:.0} ms (median {:.0}), {:.1} to {:.1} % failed (median {:.1})",
            test.name,
            p95.min,
            p95.max,
            p95.median,
            100.0 * failed.min,
            100.0 * failed.max,
            100.0 * failed.median,
        );
        for odds in &test.thresholds {
            let _ = writeln!(text, "           {:5.1} % hold {}", 100.0 * odds.probability, odds.threshold);
        }
    }
    text.push_str("the first seed:\n");
}

/// A day or a month of traffic, for people: what there was at each change of the first day.
pub fn traffic(profile: &Profile, forecast: &TrafficForecast) -> String {
    let mut text = format!(
        "{}: {} of traffic, as shares of `{}`\n",
        profile.name,
        if forecast.days == 1 { "a day".to_owned() } else { format!("{} days", forecast.days) },
        forecast.test
    );
    for step in forecast.steps.iter().filter(|step| step.at_s < 86_400.0) {
        let pods: Vec<_> = step.counts.pods.iter().map(|(name, pods)| format!("{name} {pods}")).collect();
        let _ = writeln!(
            text,
            "  {} load {:3.0} %  {:6.1} requests/s  {} nodes; {}",
            timeline::stamp(step.at_s),
            100.0 * step.load,
            step.rps,
            step.counts.nodes,
            pods.join(", ")
        );
    }
    let _ = writeln!(
        text,
        "  {:.0} requests, {:.2} % refused, at most {:.0} messages in the queue, {} nodes at the peak",
        forecast.requests,
        100.0 * forecast.failed_rate,
        forecast.queue_max,
        forecast.peak.nodes
    );
    let _ = writeln!(
        text,
        "  ${:.2} in this time ({:.1} node-hours), ${:.0} a month of such days; {} ({})",
        forecast.usd, forecast.node_hours, forecast.monthly_usd, profile.prices.origin, profile.prices.as_of
    );
    text
}
