//! What a policy is worth: figures of one forecast, and of all its forecasts together.

use std::cmp::Ordering;

use serde::Serialize;

use crate::{
    capacity, cost,
    profile::Profile,
    sim::Forecast,
    suite::Op,
    verdict::{ThresholdResult, Verdict},
};

/// One forecast of the suite in short.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Every threshold held.
    pub passed: bool,
    /// Greatest share of a threshold's limit that was used; above 1 it did not hold.
    pub strain: f64,
    /// By how much the limits, less the margin, were exceeded; the sum over all thresholds.
    pub excess: f64,
    /// Greatest 95th percentile of a test, milliseconds.
    pub p95_ms: f64,
    /// Greatest share of failed requests of a test.
    pub failed_rate: f64,
    /// A month of the profile's traffic with the peak of this forecast.
    pub monthly_usd: f64,
}

impl Figures {
    /// The figures of a forecast; of each limit, `margin` (a share) is to be left.
    pub fn of(profile: &Profile, forecast: &Forecast, margin: f64) -> Self {
        let strains = forecast.tests.iter().flat_map(|test| &test.thresholds).map(strain);
        let (most, excess) = strains.fold((0.0_f64, 0.0), |(most, excess), strain| {
            (most.max(strain), excess + (strain - (1.0 - margin)).max(0.0))
        });
        let total = |of: fn(&crate::verdict::Figures) -> f64| {
            forecast.tests.iter().map(|test| of(&test.total)).fold(0.0, f64::max)
        };
        let peak = capacity::spread(profile, forecast.after.peak.nodes.max(0) as u32);
        Self {
            passed: forecast.verdict() == Verdict::Pass,
            strain: most,
            excess,
            p95_ms: total(|total| total.p95_ms),
            failed_rate: total(|total| total.failed_rate),
            monthly_usd: cost::project(profile, Some(&peak)).map_or(f64::INFINITY, |month| month.monthly_usd),
        }
    }
}

/// Something far beyond any limit, for what has no value.
const BEYOND: f64 = 1e3;

/// The share of a threshold's limit that was used.
fn strain(result: &ThresholdResult) -> f64 {
    let (value, limit) = (result.value, result.threshold.limit);
    let share = match result.threshold.op {
        Op::Lt | Op::Le => value / limit,
        Op::Gt | Op::Ge => limit / value,
        Op::Eq | Op::Ne => f64::NAN,
    };
    match (share.is_finite(), result.verdict) {
        (true, _) => share.clamp(0.0, BEYOND),
        (false, Verdict::Pass) => 0.0,
        (false, Verdict::Fail) => BEYOND,
    }
}

/// A policy over its seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// Seeds that were forecast.
    pub seeds: usize,
    /// Seeds in which every threshold held.
    pub passed: usize,
    /// Seeds in which the margin was left besides.
    pub held: usize,
    /// Mean of [`Figures::strain`].
    pub strain: f64,
    /// Mean of [`Figures::excess`].
    pub excess: f64,
    /// Mean of [`Figures::p95_ms`].
    pub p95_ms: f64,
    /// Mean of [`Figures::failed_rate`].
    pub failed_rate: f64,
    /// A month: the greatest of all forecasts, that of a day of traffic in virtual time among them.
    pub monthly_usd: f64,
}

impl Score {
    /// The score of these forecasts; `day` is what a month of forecast days costs.
    pub fn of(figures: &[Figures], day: Option<f64>) -> Self {
        let count = figures.len().max(1) as f64;
        let mean = |of: fn(&Figures) -> f64| figures.iter().map(of).sum::<f64>() / count;
        Self {
            seeds: figures.len(),
            passed: figures.iter().filter(|figures| figures.passed).count(),
            held: figures.iter().filter(|figures| figures.passed && figures.excess <= 0.0).count(),
            strain: mean(|figures| figures.strain),
            excess: mean(|figures| figures.excess),
            p95_ms: mean(|figures| figures.p95_ms),
            failed_rate: mean(|figures| figures.failed_rate),
            monthly_usd: figures.iter().map(|figures| figures.monthly_usd).chain(day).fold(0.0, f64::max),
        }
    }

    /// Cents, so that equal months are equal.
    pub(super) fn cents(&self) -> i64 {
        (self.monthly_usd * 100.0).round().min(1e15) as i64
    }

    /// Which of two policies is better, less being better; `holds` tells whether each may still hold as often as asked.
    /// One that holds comes first, then the cheaper one, then the one with more room; of those that do not, the closer.
    pub(super) fn order(&self, holds: bool, other: &Self, other_holds: bool) -> Ordering {
        let by_excess = if holds || other_holds { Ordering::Equal } else { self.excess.total_cmp(&other.excess) };
        let room = || self.strain.total_cmp(&other.strain);
        other_holds.cmp(&holds).then(by_excess).then(self.cents().cmp(&other.cents())).then_with(room)
    }

    /// Whether this one is no worse in cost, latency and failures, and better in one of them.
    pub(super) fn dominates(&self, other: &Self) -> bool {
        let mine = (self.cents(), self.rounded());
        let others = (other.cents(), other.rounded());
        let no_worse = mine.0 <= others.0 && mine.1.0 <= others.1.0 && mine.1.1 <= others.1.1;
        no_worse && mine != others
    }

    /// Milliseconds and tenths of a percent: what is below is noise.
    pub(super) fn rounded(&self) -> (i64, i64) {
        (self.p95_ms.round().min(1e9) as i64, (self.failed_rate * 1000.0).round() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(text: &str, value: f64, verdict: Verdict) -> ThresholdResult {
        ThresholdResult { threshold: text.parse().expect("a threshold"), value, verdict }
    }

    #[test]
    fn a_strain_is_the_used_share_of_a_limit() {
        assert!((strain(&result("http_req_duration: p(95)<500", 400.0, Verdict::Pass)) - 0.8).abs() < 1e-12);
        assert!((strain(&result("http_reqs: count>100", 50.0, Verdict::Fail)) - 2.0).abs() < 1e-12);
        assert!(strain(&result("http_req_failed: rate==0", 0.1, Verdict::Fail)) > 100.0);
        assert!(strain(&result("http_req_failed: rate<0", 0.1, Verdict::Fail)) > 100.0);
        assert!(strain(&result("http_req_duration: p(95)<500", f64::NAN, Verdict::Fail)) > 100.0);
    }

    fn figures(strain: f64, monthly_usd: f64) -> Figures {
        let excess = (strain - 0.9).max(0.0);
        Figures { passed: strain < 1.0, strain, excess, p95_ms: 500.0 * strain, failed_rate: 0.0, monthly_usd }
    }

    #[test]
    fn what_holds_comes_before_what_is_cheap_and_what_is_cheap_before_what_is_fast() {
        let score = |strain: f64, usd: f64| Score::of(&[figures(strain, usd)], None);
        let (dear, cheap, fast, failing) = (score(0.5, 500.0), score(0.8, 300.0), score(0.7, 300.0), score(1.5, 100.0));
        assert_eq!(cheap.order(true, &dear, true), Ordering::Less);
        assert_eq!(fast.order(true, &cheap, true), Ordering::Less);
        assert_eq!(dear.order(true, &failing, false), Ordering::Less);
        assert_eq!(
            score(1.2, 900.0).order(false, &failing, false),
            Ordering::Less,
            "the closer one, whatever it costs"
        );
        assert!(fast.dominates(&cheap) && !cheap.dominates(&fast) && !dear.dominates(&cheap) && !fast.dominates(&fast));
    }

    #[test]
    fn a_score_counts_seeds_and_keeps_the_dearest_month() {
        let score = Score::of(&[figures(0.8, 300.0), figures(0.95, 310.0), figures(1.5, 305.0)], Some(320.0));
        assert_eq!((score.seeds, score.passed, score.held, score.cents()), (3, 2, 1, 32_000));
    }
}
