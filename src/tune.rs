//! The driver of a search for a better policy: forecasts its trials on all cores until the budget is spent, and proves what
//! was found over seeds that the search has not seen. The search itself is `democtl_core::tune`.

use std::time::{Duration, Instant};

use democtl_core::{
    capacity,
    profile::Profile,
    sim::{self, Forecast, Options},
    tune::{Figures, Measure, Outcome, Policy, Search, Trial},
};
use serde::Serialize;

use crate::{environment::Request, parallel};

/// Of the time that a search may take, this share is for searching; the rest for making the best policy simple.
const SEARCHING: f64 = 0.65;
/// When that is over too; the rest is for the proof.
const SIMPLIFYING: f64 = 0.85;
/// So many of the policies found are tried to be proven.
const ATTEMPTS: usize = 5;

/// What is forecast, whatever the policy.
#[derive(Debug)]
pub struct Job<'a> {
    /// The given profile.
    pub request: &'a Request,
    /// Tests, speed, faults; the seed is each trial's own.
    pub options: Options,
    /// Share of each limit that is to be left.
    pub margin: f64,
    /// The greatest nodes must hold the greatest replicas, as they do in the given profile.
    pub roomy: bool,
}

/// How a policy fares at one speed over seeds that the search has not seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    /// Durations were divided by this.
    pub speed: f64,
    /// First seed.
    pub first_seed: u64,
    /// How many, from the first on.
    pub seeds: usize,
    /// Seeds in which every threshold held.
    pub passed: usize,
    /// Greatest 95th percentile of a test in any of them, milliseconds.
    pub p95_ms: f64,
    /// Greatest share of failed requests.
    pub failed_rate: f64,
}

impl Job<'_> {
    fn forecast(&self, profile: &Profile, seed: u64, speed: f64) -> Option<Forecast> {
        sim::forecast(profile, &Options { seed, speed, ..self.options.clone() }).ok()
    }

    fn measure(&self, sets: &[(String, String)], measure: Measure) -> Outcome {
        let Ok(profile) = self.request.profile_with(sets) else { return Outcome::Invalid };
        if self.roomy && !capacity::has_room(&profile) {
            return Outcome::Invalid;
        }
        match measure {
            Measure::Suite(seed) => {
                let forecast = self.forecast(&profile, seed, self.options.speed);
                forecast
                    .map_or(Outcome::Invalid, |forecast| Outcome::Suite(Figures::of(&profile, &forecast, self.margin)))
            }
            Measure::Day => {
                let day = sim::traffic(&profile, &Options::default(), 1).ok();
                Outcome::Day(day.map(|day| day.monthly_usd).filter(|usd| usd.is_finite()))
            }
        }
    }

    /// Searches until the search's own budget or the time is spent; `told` hears of each policy that is the best so far.
    pub fn search(&self, search: &mut Search, time: Option<Duration>, told: impl Fn(Duration, &Policy, u64)) {
        let begun = Instant::now();
        let is_over = |share: f64| time.is_some_and(|time| begun.elapsed() >= time.mul_f64(share));
        let mut best: Option<usize> = None;
        loop {
            let trials: Vec<(Trial, Vec<(String, String)>)> =
                search.ask().to_vec().into_iter().map(|trial| (trial, search.sets(trial.policy))).collect();
            if trials.is_empty() {
                return;
            }
            let work =
                |(trial, sets): &(Trial, Vec<_>)| (!is_over(SIMPLIFYING)).then(|| self.measure(sets, trial.measure));
            let outcomes: Option<Vec<Outcome>> = parallel::map(&trials, work).into_iter().collect();
            // What the time cut off in the middle of a batch tells nothing.
            let Some(outcomes) = outcomes else { return };
            search.tell(&outcomes);
            if let Some(policy) = search.found().first().filter(|policy| Some(policy.id) != best) {
                best = Some(policy.id);
                told(begun.elapsed(), policy, search.forecasts());
            }
            if is_over(SEARCHING) {
                search.wind_up();
            }
        }
    }

    /// The best of these policies that passes over other seeds as often as was asked for, at the speed of the search and
    /// at 1, with its proofs; and how many better ones did not.
    pub fn prove(&self, found: &[Policy], seeds: &[u64], probability: f64) -> (Option<(Policy, Vec<Proof>)>, usize) {
        for (failed, policy) in found.iter().take(ATTEMPTS).enumerate() {
            let Ok(profile) = self.request.profile_with(&policy.sets) else { continue };
            let mut speeds = vec![self.options.speed, 1.0];
            speeds.dedup();
            let proofs: Option<Vec<Proof>> = speeds.iter().map(|speed| self.proof(&profile, seeds, *speed)).collect();
            let passes = |proof: &Proof| proof.passed as f64 >= probability * proof.seeds as f64 - 1e-9;
            if let Some(proofs) = proofs.filter(|proofs| proofs.iter().all(passes)) {
                return (Some((policy.clone(), proofs)), failed);
            }
        }
        (None, found.len().min(ATTEMPTS))
    }

    fn proof(&self, profile: &Profile, seeds: &[u64], speed: f64) -> Option<Proof> {
        let one = |seed: &u64| Some(Figures::of(profile, &self.forecast(profile, *seed, speed)?, self.margin));
        let figures: Vec<Figures> = parallel::map(seeds, one).into_iter().collect::<Option<_>>()?;
        let greatest = |of: fn(&Figures) -> f64| figures.iter().map(of).fold(0.0, f64::max);
        Some(Proof {
            speed,
            first_seed: *seeds.first()?,
            seeds: seeds.len(),
            passed: figures.iter().filter(|figures| figures.passed).count(),
            p95_ms: greatest(|figures| figures.p95_ms),
            failed_rate: greatest(|figures| figures.failed_rate),
        })
    }
}
