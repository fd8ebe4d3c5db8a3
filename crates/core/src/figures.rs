//! Figures of load tests: counts and latencies in HDR histograms, and thresholds judged by them.
//!
//! The same for every engine and for the forecast. Thresholds:
//! <https://grafana.com/docs/k6/latest/using-k6/thresholds/>.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::{
    suite::{Aggregate, Op, Test, Threshold},
    verdict::{Figures, Second, ThresholdResult, Verdict},
};

/// Latencies in microseconds, three significant digits, growing as needed.
/// # Panics
///
/// For another number of digits than 1 to 5.
pub fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new(digits).expect("1 to 5 digits are valid")
}

/// Adds a duration; unlike `saturating_record`, which would clamp to the range that the histogram has now.
/// # Panics
///
/// Never: the histogram grows.
pub fn add(histogram: &mut Histogram<u64>, took: Duration) {
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

    /// The latencies, in microseconds.
    pub fn latency(&self) -> &Histogram<u64> {
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

/// What thresholds are judged by.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// All requests.
    pub total: &'a Tally,
    /// Checks that held.
    pub checks_passed: u64,
    /// Checks that did not.
    pub checks_failed: u64,
    /// Lengths of iterations, in microseconds.
    pub iterations: &'a Histogram<u64>,
}

/// Whether `value` satisfies a threshold; not a number never does.
pub fn evaluate(threshold: &Threshold, value: f64) -> Verdict {
    let limit = threshold.limit;
    #[expect(clippy::float_cmp, reason = "k6 compares exactly")]
    let held = match threshold.op {
        Op::Lt => value < limit,
        Op::Le => value <= limit,
        Op::Gt => value > limit,
        Op::Ge => value >= limit,
        Op::Eq => value == limit,
        Op::Ne => value != limit,
    };
    if held { Verdict::Pass } else { Verdict::Fail }
}

impl Measured<'_> {
    /// Each threshold of a test that took so many seconds.
    pub fn results(&self, test: &Test, seconds: f64) -> Vec<ThresholdResult> {
        let result = |threshold: &Threshold| {
            let value = value(threshold, self, seconds);
            ThresholdResult { threshold: threshold.clone(), value, verdict: evaluate(threshold, value) }
        };
        test.thresholds.iter().map(result).collect()
    }
}

fn value(threshold: &Threshold, measured: &Measured<'_>, seconds: f64) -> f64 {
    let counter = |count: u64| match threshold.aggregate {
        Aggregate::Count => count as f64,
        Aggregate::Rate => count as f64 / seconds,
        _ => f64::NAN,
    };
    match threshold.metric.as_str() {
        "http_req_failed" => match threshold.aggregate {
            Aggregate::Rate => measured.total.failed_rate(),
            _ => f64::NAN,
        },
        "checks" => {
            let all = measured.checks_passed + measured.checks_failed;
            match threshold.aggregate {
                Aggregate::Rate if all > 0 => measured.checks_passed as f64 / all as f64,
                _ => f64::NAN,
            }
        }
        "http_reqs" => counter(measured.total.requests()),
        "iterations" => counter(measured.iterations.len()),
        "http_req_duration" => trend(threshold.aggregate, measured.total.latency()),
        "iteration_duration" => trend(threshold.aggregate, measured.iterations),
        _ => f64::NAN,
    }
}

/// Milliseconds of a histogram of microseconds.
fn trend(aggregate: Aggregate, latency: &Histogram<u64>) -> f64 {
    let micros = match aggregate {
        Aggregate::Avg => latency.mean(),
        Aggregate::Min => latency.min() as f64,
        Aggregate::Max => latency.max() as f64,
        Aggregate::Med => latency.value_at_percentile(50.0) as f64,
        Aggregate::P(percentile) => latency.value_at_percentile(percentile) as f64,
        Aggregate::Count => return latency.len() as f64,
        Aggregate::Rate => return f64::NAN,
    };
    micros / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_k6s() {
        let verdict = |text: &str, value| evaluate(&text.parse().expect("a threshold"), value);
        assert_eq!(verdict("http_req_failed: rate<0.05", 0.049), Verdict::Pass);
        assert_eq!(verdict("http_req_failed: rate<0.05", 0.05), Verdict::Fail);
        assert_eq!(verdict("http_req_duration: p(95)<=500", 500.0), Verdict::Pass);
        assert_eq!(verdict("http_req_duration: p(95)<500", f64::NAN), Verdict::Fail);
    }
}
