//! Thresholds: <https://grafana.com/docs/k6/latest/using-k6/thresholds/>.

use democtl_core::{
    suite::{Aggregate, Op, Test, Threshold},
    verdict::{ThresholdResult, Verdict},
};
use hdrhistogram::Histogram;

use crate::figures::Measured;

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

pub(crate) fn results(test: &Test, measured: &Measured, seconds: f64) -> Vec<ThresholdResult> {
    test.thresholds
        .iter()
        .map(|threshold| {
            let value = value(threshold, measured, seconds);
            ThresholdResult { threshold: threshold.clone(), value, verdict: evaluate(threshold, value) }
        })
        .collect()
}

fn value(threshold: &Threshold, measured: &Measured, seconds: f64) -> f64 {
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
        "iteration_duration" => trend(threshold.aggregate, &measured.iterations),
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
