//! What came out: figures of a test and pass or fail, the same shape whichever engine ran it.

use serde::{Deserialize, Serialize};

use crate::suite::Threshold;

/// Pass or fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every threshold held.
    Pass,
    /// At least one did not.
    Fail,
}

/// The figures of one request step, or of all steps of a test together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Requests finished (answered or failed).
    pub requests: u64,
    /// Of these, failed: no answer, or a status that was not expected.
    pub failed: u64,
    /// `failed / requests`, 0 without requests.
    pub failed_rate: f64,
    /// Requests per second of the test's wall time.
    pub rps: f64,
    /// Latency in milliseconds.
    pub avg_ms: f64,
    /// Least latency in milliseconds.
    pub min_ms: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 90th percentile in milliseconds.
    pub p90_ms: f64,
    /// 95th percentile in milliseconds.
    pub p95_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
    /// Greatest latency in milliseconds.
    pub max_ms: f64,
}

/// One second of a test.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Whole real seconds since the test began.
    pub at_s: u32,
    /// Active VUs at the end of the second.
    pub vus: u32,
    /// Requests finished in it.
    pub requests: u64,
    /// Failed ones among them.
    pub failed: u64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile in milliseconds.
    pub p95_ms: f64,
}

/// How one threshold came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdResult {
    /// The condition.
    pub threshold: Threshold,
    /// What was measured.
    pub value: f64,
    /// Whether it held.
    pub verdict: Verdict,
}

/// The summary of one test, from whichever engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// The test's name.
    pub name: String,
    /// Pass when every threshold passed.
    pub verdict: Verdict,
    /// Which engine ran it: `builtin` or `k6`.
    pub engine: String,
    /// Real seconds from the first VU's start to the end.
    pub duration_s: f64,
    /// All requests together.
    pub total: Figures,
    /// By step name, in the order of the journey.
    pub steps: Vec<(String, Figures)>,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// Checks that passed and failed.
    pub checks_passed: u64,
    /// Checks that failed.
    pub checks_failed: u64,
    /// Iterations that ended.
    pub iterations: u64,
    /// Iterations cut off at the end of the test or of a ramp-down.
    pub iterations_interrupted: u64,
    /// Greatest number of VUs at once.
    pub vus_max: u32,
    /// Each threshold.
    pub thresholds: Vec<ThresholdResult>,
}
