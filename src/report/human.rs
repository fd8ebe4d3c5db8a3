//! Summaries for people.

use std::fmt::Write as _;

use democtl_core::verdict::Verdict;

use super::summary::{DemoSummary, RunSummary, TestSummary};
use crate::{observe::Counts, ui::Style};

/// `PASS` or `FAIL`, coloured where colours are on.
pub fn verdict(verdict: Verdict, style: Style) -> String {
    match verdict {
        Verdict::Pass => style.paint("1;32", "PASS"),
        Verdict::Fail => style.paint("1;31", "FAIL"),
    }
}

/// One test on one line.
pub fn test_line(test: &TestSummary, style: Style) -> String {
    let mut line = format!(
        "  {:8} {}  {:>7} requests  {:>5.1} % failed  p50 {:>4.0} ms  p95 {:>5.0} ms  p99 {:>5.0} ms",
        test.name,
        verdict(test.verdict, style),
        test.requests,
        100.0 * test.failed_rate,
        test.p50_ms,
        test.p95_ms,
        test.p99_ms,
    );
    for result in test.thresholds.iter().filter(|result| result.verdict == Verdict::Fail) {
        let _ = write!(line, "\n           failed: {} (was {})", result.threshold, figure(result.value));
    }
    line
}

fn figure(value: f64) -> String {
    if value.abs() < 1.0 { format!("{value:.4}") } else { format!("{value:.1}") }
}

fn counts(counts: &Counts) -> String {
    let pods: Vec<_> = counts.pods.iter().map(|(name, pods)| format!("{name} {pods}")).collect();
    format!("{} nodes; {}", counts.nodes, pods.join(", "))
}

/// A run's summary.
pub fn run(summary: &RunSummary, style: Style) -> String {
    let mut text = format!(
        "{} on {} ({} target, {} engine{}): {}\n",
        style.paint("1", &summary.profile),
        summary.environment,
        summary.target,
        summary.engine,
        if (summary.speed - 1.0).abs() < f64::EPSILON { String::new() } else { format!(", speed {}", summary.speed) },
        verdict(summary.verdict, style),
    );
    for test in &summary.tests {
        let _ = writeln!(text, "{}", test_line(test, style));
    }
    let _ = writeln!(text, "  before   {}", counts(&summary.baseline));
    let _ = writeln!(text, "  peak     {}   ({} scaling events)", counts(&summary.peak), summary.scaling_events);
    let _ = writeln!(text, "  after    {}{}", counts(&summary.r#final), settled(summary));
    for (workload, message) in &summary.unschedulable {
        let _ = writeln!(text, "  pending  {workload}: {message}");
    }
    let cost = &summary.cost;
    let _ = writeln!(
        text,
        "  cost     ${:.2} this run; ${:.2}/h before, ${:.2}/h at the peak, ${:.2}/h after; {} a month\n           ({})",
        cost.run_usd,
        cost.hourly_before_usd,
        cost.hourly_peak_usd,
        cost.hourly_after_usd,
        style.paint("1", &format!("${:.0}", cost.monthly_usd)),
        cost.assumption,
    );
    for note in &summary.notes {
        let _ = writeln!(text, "  note     {note}");
    }
    if !summary.directory.is_empty() {
        let _ = writeln!(text, "  files    {}", summary.directory);
    }
    text
}

fn settled(summary: &RunSummary) -> String {
    summary.settled_s.map_or_else(String::new, |seconds| {
        if seconds < 30.0 { String::new() } else { format!("   (back after {:.0} min)", seconds / 60.0) }
    })
}

/// A whole demo: the runs, then the two systems side by side.
pub fn demo(summary: &DemoSummary, style: Style) -> String {
    let mut text = String::new();
    for environment in &summary.environments {
        let _ = writeln!(text, "{}", run(environment, style));
    }
    if let Some(comparison) = &summary.comparison {
        let (first, last) = comparison.verdicts;
        let _ = writeln!(
            text,
            "{} {} at ${:.0} a month; {} {} at ${:.0} a month: {}",
            comparison.from,
            verdict(first, style),
            summary.environments.first().map_or(0.0, |run| run.cost.monthly_usd),
            comparison.to,
            verdict(last, style),
            summary.environments.last().map_or(0.0, |run| run.cost.monthly_usd),
            style.paint("1", &saving(comparison.monthly_saving_rate)),
        );
    }
    let _ = writeln!(text, "demo took {:.0} s of real time", summary.duration_s);
    text
}

fn saving(rate: f64) -> String {
    if rate >= 0.0 { format!("{:.0} % cheaper", 100.0 * rate) } else { format!("{:.0} % dearer", -100.0 * rate) }
}
