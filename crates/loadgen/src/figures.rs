//! What was measured: HDR histograms of each step and each second.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use democtl_core::{
    suite::{Step, Test},
    verdict::{Figures, Second, TestResult, Verdict},
};
use hdrhistogram::Histogram;

use crate::{Progress, threshold};

/// Latencies in microseconds, three significant digits, growing as needed.
fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new(digits).expect("1 to 5 digits are valid")
}

/// Adds a duration; unlike `saturating_record`, which would clamp to the range that the histogram has now.
fn add(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.record(took.as_micros() as u64).expect("it grows up to the range of u64");
}

/// Counts and latencies of one step, or of all: what both engines' figures are made of.
#[derive(Debug)]
pub struct Tally {
    requests: u64,
    failed: u64,
    latency: Histogram<u64>,
}

impl Tally {
    /// Nothing yet; latencies will be kept to this many significant digits, 1 to 5.
    ///
    /// # Panics
    ///
    /// For another number of digits.
    pub fn new(digits: u8) -> Self {
        Self { requests: 0, failed: 0, latency: histogram(digits) }
    }

    /// Takes in a request.
    ///
    /// # Panics
    ///
    /// Never: the histogram grows.
    pub fn record(&mut self, took: Duration, failed: bool) {
        self.requests += 1;
        self.failed += u64::from(failed);
        add(&mut self.latency, took);
    }

    /// Share of failed requests, 0 without requests.
    pub fn failed_rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.failed as f64 / self.requests as f64 }
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    pub(crate) fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }

    /// A percentile (0 to 100) of the latencies, in milliseconds.
    pub fn percentile_ms(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1000.0
    }

    /// The figures of one second of a test.
    pub fn second(&self, at_s: u32, vus: u32) -> Second {
        let (p50_ms, p95_ms) = (self.percentile_ms(50.0), self.percentile_ms(95.0));
        Second { at_s, vus, requests: self.requests, failed: self.failed, p50_ms, p95_ms }
    }

    /// The figures of so many seconds.
    pub fn figures(&self, seconds: f64) -> Figures {
        let percentile = |p| self.percentile_ms(p);
        Figures {
            requests: self.requests,
            failed: self.failed,
            failed_rate: self.failed_rate(),
            rps: if seconds > 0.0 { self.requests as f64 / seconds } else { 0.0 },
            avg_ms: self.latency.mean() / 1000.0,
            min_ms: self.latency.min() as f64 / 1000.0,
            p50_ms: percentile(50.0),
            p90_ms: percentile(90.0),
            p95_ms: percentile(95.0),
            p99_ms: percentile(99.0),
            max_ms: self.latency.max() as f64 / 1000.0,
        }
    }
}

/// Everything measured in a test.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) total: Tally,
    steps: Vec<Tally>,
    seconds: Vec<(u32, Tally)>,
    pub(crate) checks_passed: u64,
    pub(crate) checks_failed: u64,
    pub(crate) iterations: Histogram<u64>,
    interrupted: u64,
    vus_max: u32,
    last: (u64, Duration),
    rps: f64,
}

/// Takes samples from all VUs.
#[derive(Debug)]
pub(crate) struct Recorder {
    begun: Instant,
    measured: Mutex<Measured>,
}

impl Recorder {
    pub(crate) fn new(test: &Test) -> Self {
        let measured = Measured {
            total: Tally::new(3),
            steps: test.journey.iter().map(|_| Tally::new(3)).collect(),
            seconds: Vec::new(),
            checks_passed: 0,
            checks_failed: 0,
            iterations: histogram(3),
            interrupted: 0,
            vus_max: 0,
            last: (0, Duration::ZERO),
            rps: 0.0,
        };
        Self { begun: Instant::now(), measured: Mutex::new(measured) }
    }

    fn lock(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn request(&self, step: usize, took: Duration, failed: bool) {
        let second = self.begun.elapsed().as_secs() as usize;
        let mut measured = self.lock();
        measured.total.record(took, failed);
        measured.steps[step].record(took, failed);
        let vus = measured.vus_max;
        measured.second(second, vus).1.record(took, failed);
    }

    pub(crate) fn check(&self, held: bool) {
        let mut measured = self.lock();
        if held { measured.checks_passed += 1 } else { measured.checks_failed += 1 }
    }

    pub(crate) fn iteration(&self, took: Duration) {
        add(&mut self.lock().iterations, took);
    }

    pub(crate) fn interrupted(&self) {
        self.lock().interrupted += 1;
    }

    pub(crate) fn active_vus(&self, elapsed: Duration, active: u32) {
        let mut measured = self.lock();
        measured.vus_max = measured.vus_max.max(active);
        measured.second(elapsed.as_secs() as usize, active).0 = active;
    }

    pub(crate) fn progress(&self, elapsed: Duration, vus: u32, stage: String) -> Progress {
        let mut measured = self.lock();
        let (before, at) = measured.last;
        let now = measured.total.requests;
        let passed = (elapsed.saturating_sub(at)).as_secs_f64();
        if passed >= 1.0 || measured.rps == 0.0 {
            measured.rps = if passed > 0.0 { (now - before) as f64 / passed } else { 0.0 };
            measured.last = (now, elapsed);
        }
        Progress {
            elapsed,
            vus,
            rps: measured.rps,
            failed_rate: measured.total.failed_rate(),
            p95_ms: measured.total.latency.value_at_percentile(95.0) as f64 / 1000.0,
            stage,
        }
    }

    pub(crate) fn result(&self, test: &Test, took: Duration) -> TestResult {
        let measured = self.lock();
        let seconds = took.as_secs_f64();
        let thresholds = threshold::results(test, &measured, seconds);
        let passed = thresholds.iter().all(|result| result.verdict == Verdict::Pass);
        TestResult {
            name: test.name.clone(),
            verdict: if passed { Verdict::Pass } else { Verdict::Fail },
            engine: "builtin".to_owned(),
            duration_s: seconds,
            total: measured.total.figures(seconds),
            steps: test
                .journey
                .iter()
                .zip(&measured.steps)
                .filter_map(|(step, tally)| match step {
                    Step::Request(request) => Some((request.name.clone(), tally.figures(seconds))),
                    Step::PollUntil { name, .. } => Some((name.clone(), tally.figures(seconds))),
                    Step::Think { .. } => None,
                })
                .collect(),
            seconds: measured.seconds.iter().enumerate().map(second).collect(),
            checks_passed: measured.checks_passed,
            checks_failed: measured.checks_failed,
            iterations: measured.iterations.len(),
            iterations_interrupted: measured.interrupted,
            vus_max: measured.vus_max,
            thresholds,
        }
    }
}

impl Measured {
    fn second(&mut self, second: usize, vus: u32) -> &mut (u32, Tally) {
        while self.seconds.len() <= second {
            self.seconds.push((vus, Tally::new(2)));
        }
        &mut self.seconds[second]
    }
}

fn second((at, (vus, tally)): (usize, &(u32, Tally))) -> Second {
    tally.second(at as u32, *vus)
}
