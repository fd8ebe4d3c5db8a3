//! What was measured: HDR histograms of each step and each second.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use democtl_core::{
    figures::{self, Tally, add, histogram},
    suite::{Step, Test},
    verdict::{Second, TestResult, Verdict},
};
use hdrhistogram::Histogram;

use crate::Progress;

/// Everything measured in a test.
#[derive(Debug)]
struct Measured {
    total: Tally,
    steps: Vec<Tally>,
    seconds: Vec<(u32, Tally)>,
    checks_passed: u64,
    checks_failed: u64,
    iterations: Histogram<u64>,
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
        let now = measured.total.requests();
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
            p95_ms: measured.total.percentile_ms(95.0),
            stage,
        }
    }

    pub(crate) fn result(&self, test: &Test, took: Duration) -> TestResult {
        let measured = self.lock();
        let seconds = took.as_secs_f64();
        let thresholds = figures::Measured {
            total: &measured.total,
            checks_passed: measured.checks_passed,
            checks_failed: measured.checks_failed,
            iterations: &measured.iterations,
        }
        .results(test, seconds);
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
