//! What a search for a better policy found: the front of cost against latency, the best policy, its proof, its text.

use std::{fmt::Write as _, time::Duration};

use democtl_core::{
    tune::{Change, Policy, Score},
    units::format_duration,
};
use serde::Serialize;

use crate::tune::Proof;

/// Everything that came of a search.
#[derive(Debug, Serialize)]
pub struct Tuned {
    /// The given profile's name.
    pub profile: String,
    /// Seeds of the search.
    pub seeds: u32,
    /// Share of them in which a policy must hold.
    pub probability: f64,
    /// Share of each limit that is left unused.
    pub margin: f64,
    /// Speed of the search.
    pub speed: f64,
    /// Forecasts made by the search.
    pub forecasts: u64,
    /// Policies that it forecast.
    pub policies: usize,
    /// The given profile.
    pub given: Policy,
    /// Policies that hold, none of which is worse in cost, latency and failures than another; the cheapest first.
    pub front: Vec<Policy>,
    /// The cheapest that other seeds prove.
    pub best: Option<Policy>,
    /// Better ones that other seeds do not prove.
    pub unproven: usize,
    /// The proof, at each speed.
    pub proofs: Vec<Proof>,
    /// The best as a profile that extends the given one.
    pub toml: Option<String>,
}

/// Rows of the front that people are shown.
const ROWS: usize = 12;

/// A line for each policy that is the best so far.
pub fn progress(passed: Duration, policy: &Policy, forecasts: u64) -> String {
    let passed = format_duration(Duration::from_secs(passed.as_secs()));
    format!("  after {passed} and {forecasts} forecasts: {}", figures(&policy.score))
}

fn figures(score: &Score) -> String {
    format!("${:.0} a month, p95 {:.0} ms, {:.1} % failed", score.monthly_usd, score.p95_ms, 100.0 * score.failed_rate)
}

/// One sentence about the best policy.
pub fn sentence(tuned: &Tuned) -> String {
    let Some(best) = &tuned.best else { return String::new() };
    format!("{}, tuned: {} in the forecast", tuned.profile, figures(&best.score))
}

/// For people.
pub fn human(tuned: &Tuned) -> String {
    let mut text = format!(
        "{}: {} forecasts of {} policies, {} seeds at speed {}\n",
        tuned.profile, tuned.forecasts, tuned.policies, tuned.seeds, tuned.speed
    );
    let given = &tuned.given.score;
    let _ = writeln!(text, "as given: {}; {} of {} seeds pass", figures(given), given.passed, given.seeds);
    if tuned.front.is_empty() {
        return text;
    }
    let _ = writeln!(
        text,
        "policies that hold in {:.0} % of the seeds with {:.0} % of each limit to spare (p95 and failed: means of the worst test):",
        100.0 * tuned.probability,
        100.0 * tuned.margin
    );
    let _ = writeln!(text, "    $/month  p95 ms  failed  changes");
    for policy in tuned.front.iter().take(ROWS) {
        let mark = if tuned.best.as_ref().is_some_and(|best| best.id == policy.id) { '*' } else { ' ' };
        let score = &policy.score;
        let failed = 100.0 * score.failed_rate;
        let (usd, p95, changes) = (score.monthly_usd, score.p95_ms, policy.changes.len());
        let _ = writeln!(text, "  {mark} {usd:7.0} {p95:7.0} {failed:5.1} %  {changes}");
    }
    if tuned.front.len() > ROWS {
        let _ = writeln!(text, "    and {} more (--output json)", tuned.front.len() - ROWS);
    }
    if tuned.unproven > 0 {
        let _ = writeln!(text, "{} cheaper ones do not pass other seeds as often", tuned.unproven);
    }
    if let Some(best) = &tuned.best {
        the_best(tuned, best, &mut text);
    }
    text
}

fn the_best(tuned: &Tuned, best: &Policy, text: &mut String) {
    let _ = writeln!(text, "the best: {}", figures(&best.score));
    if best.changes.is_empty() {
        text.push_str("  it is the given profile\n");
    }
    for Change { path, from, to } in &best.changes {
        let _ = writeln!(text, "  {path}: {from} -> {to}");
    }
    for proof in &tuned.proofs {
        let last = proof.first_seed.wrapping_add(proof.seeds as u64 - 1);
        let _ = writeln!(
            text,
            "proven at speed {}: {} of {} other seeds pass ({} to {last}), p95 at most {:.0} ms, at most {:.1} % failed",
            proof.speed,
            proof.passed,
            proof.seeds,
            proof.first_seed,
            proof.p95_ms,
            100.0 * proof.failed_rate
        );
    }
    if let Some(toml) = &tuned.toml {
        let _ = write!(text, "\n{toml}");
    }
}
