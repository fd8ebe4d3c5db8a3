//! k6's summary, as `handleSummary` gets it (<https://grafana.com/docs/k6/latest/results-output/end-of-test/custom-summary/>),
//! and the samples as a result.

use democtl_core::{
    render::k6::ITERATIONS_STARTED,
    suite::{Step, Test, Threshold},
    verdict::{TestResult, ThresholdResult, Verdict},
};
use serde_json::Value;

use super::samples::Samples;

/// Why a summary cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It is not JSON.
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    /// Something is not where k6 puts it.
    #[error("it has no {0}")]
    Missing(String),
    /// Its count is not that of the stream: samples were lost.
    #[error("it counts {summary} requests, but {samples} were told of")]
    Lost {
        /// In the summary.
        summary: u64,
        /// In the stream.
        samples: u64,
    },
    /// Its thresholds and its exit code differ.
    #[error("its thresholds {0}, but k6's exit code says otherwise")]
    Verdict(&'static str),
}

/// The result of a test; `failed` is what k6's exit code says of its thresholds.
pub(super) fn result(test: &Test, bytes: &[u8], samples: &Samples, failed: bool) -> Result<TestResult, Unusable> {
    let summary: Value = serde_json::from_slice(bytes)?;
    let of = |path: &str| number(&summary, path).ok_or_else(|| Unusable::Missing(path.to_owned()));
    // A metric without a sample is not in the summary.
    let count = |path: &str| number(&summary, path).unwrap_or(0.0) as u64;
    let seconds = of("/state/testRunDurationMs")? / 1000.0;
    let requests = count("/metrics/http_reqs/values/count");
    if requests != samples.total.requests() {
        return Err(Unusable::Lost { summary: requests, samples: samples.total.requests() });
    }
    let thresholds =
        test.thresholds.iter().map(|threshold| judged(threshold, &summary)).collect::<Result<Vec<_>, _>>()?;
    let passed = thresholds.iter().all(|threshold| threshold.verdict == Verdict::Pass);
    if passed == failed {
        return Err(Unusable::Verdict(if passed { "held" } else { "did not hold" }));
    }
    let iterations = count("/metrics/iterations/values/count");
    let started = count(&format!("/metrics/{ITERATIONS_STARTED}/values/count"));
    let steps = test.journey.iter().zip(&samples.steps).filter_map(|(step, tally)| {
        let name = match step {
            Step::Request(request) => &request.name,
            Step::PollUntil { name, .. } => name,
            Step::Think { .. } => return None,
        };
        Some((name.clone(), tally.figures(seconds)))
    });
    Ok(TestResult {
        name: test.name.clone(),
        verdict: if passed { Verdict::Pass } else { Verdict::Fail },
        engine: "k6".to_owned(),
        duration_s: seconds,
        total: samples.total.figures(seconds),
        steps: steps.collect(),
        seconds: samples.seconds(),
        checks_passed: count("/metrics/checks/values/passes"),
        checks_failed: count("/metrics/checks/values/fails"),
        iterations,
        iterations_interrupted: started.saturating_sub(iterations),
        vus_max: samples.vus_max,
        thresholds,
    })
}

fn number(summary: &Value, path: &str) -> Option<f64> {
    summary.pointer(path)?.as_f64()
}

/// k6's own judgement. It judges a metric without a sample to hold, and leaves it out.
fn judged(threshold: &Threshold, summary: &Value) -> Result<ThresholdResult, Unusable> {
    let condition = threshold.condition();
    let result = |value, held| ThresholdResult { threshold: threshold.clone(), value, verdict: verdict(held) };
    let Some(metric) = summary.pointer(&format!("/metrics/{}", threshold.metric)) else {
        return Ok(result(0.0, true));
    };
    let missing = |what: &str| Unusable::Missing(format!("{what} of {threshold}"));
    let held = metric["thresholds"][&condition]["ok"].as_bool().ok_or_else(|| missing("judgement"))?;
    let value = metric["values"][threshold.aggregate.to_string()].as_f64().ok_or_else(|| missing("value"))?;
    Ok(result(value, held))
}

fn verdict(held: bool) -> Verdict {
    if held { Verdict::Pass } else { Verdict::Fail }
}
