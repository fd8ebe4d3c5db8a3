//! What load is put on a system: suites, tests, executors, journeys and thresholds, resolved and checked.
//!
//! Owns the words and their units; parsing from TOML lives in [`crate::profile`], running in `democtl-loadgen`.
//! Semantics are those of k6 1.x (<https://grafana.com/docs/k6/latest/using-k6/scenarios/executors/>).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An ordered list of tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    /// The suite's name, such as `standard`.
    pub name: String,
    /// Tests in the order in which they run.
    pub tests: Vec<Test>,
}

/// One load test: an executor, the journey each VU repeats, and the thresholds that judge it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Name, unique in the suite: `soak`, `load`, `spike`.
    pub name: String,
    /// How many VUs, when.
    pub executor: Executor,
    /// What each VU does, over and over.
    pub journey: Vec<Step>,
    /// What must hold at the end.
    pub thresholds: Vec<Threshold>,
    /// How long iterations in flight may go on when the executor ends (k6 `gracefulStop`, default 30 s).
    pub graceful_stop: Duration,
}

/// k6's executors `constant-vus` and `ramping-vus`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Executor {
    /// A fixed number of VUs for a time.
    ConstantVus {
        /// Virtual users.
        vus: u32,
        /// For how long.
        duration: Duration,
    },
    /// VUs that follow stages, linearly interpolated between targets.
    RampingVus {
        /// Virtual users at the start.
        start_vus: u32,
        /// Stages in order.
        stages: Vec<Stage>,
        /// How long an iteration may go on when its VU is taken away (k6 `gracefulRampDown`, default 30 s).
        graceful_ramp_down: Duration,
    },
}

/// One stage of a ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Length of the stage.
    pub duration: Duration,
    /// VUs at its end.
    pub target: u32,
}

/// One step of a journey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Step {
    /// One HTTP request.
    Request(Request),
    /// Sleep for a random time, uniform between both ends. Never divided by the speed: it is part of the demand.
    Think {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// Repeat a GET of the address that the last request gave as `Location` until the answer's JSON has `field == equals`.
    PollUntil {
        /// Name in the figures.
        name: String,
        /// Top-level JSON field of the answer, such as `status`.
        field: String,
        /// Value that ends the polling, such as `stored`.
        equals: String,
        /// Time between two tries.
        interval: Duration,
        /// Give up after this; the iteration then counts one failed check.
        timeout: Duration,
    },
}

/// One HTTP request of a journey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Name in the figures, such as `create`.
    pub name: String,
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// Path below the base address. `${seq}`, `${vu}` and `${iter}` are replaced.
    pub path: String,
    /// JSON body, with the same replacements.
    pub body: Option<String>,
    /// Statuses that count as success; empty means 200..=399 as in k6.
    pub expect: Vec<u16>,
}

/// A condition on a metric, in k6's syntax: `http_req_failed: rate<0.05`, `http_req_duration: p(95)<500`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// k6's metric name: `http_req_failed`, `http_req_duration` (ms), `http_reqs`, `checks`, `iteration_duration` (ms).
    pub metric: String,
    /// What is taken of it.
    pub aggregate: Aggregate,
    /// How it is compared.
    pub op: Op,
    /// With what: a share for rates, milliseconds for durations, a number for counts.
    pub limit: f64,
}

/// k6's aggregation methods.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// Share of non-zero samples (rates), or per second (counters).
    Rate,
    /// Number of samples.
    Count,
    /// Mean.
    Avg,
    /// Least.
    Min,
    /// Median.
    Med,
    /// Greatest.
    Max,
    /// A percentile, 0..=100.
    P(f64),
}

/// Comparison operators of k6's threshold syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `==` or `===`
    Eq,
    /// `!=`
    Ne,
}
