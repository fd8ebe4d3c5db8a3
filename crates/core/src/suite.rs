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

impl Suite {
    /// The tests of these names, in the suite's order; all of them when none is named.
    ///
    /// # Errors
    /// A name that no test has.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Test>, UnknownTest> {
        if let Some(name) = names.iter().find(|name| !self.tests.iter().any(|test| test.name == **name)) {
            let known = self.tests.iter().map(|test| test.name.clone()).collect();
            return Err(UnknownTest { name: name.clone(), known });
        }
        Ok(self.tests.iter().filter(|test| names.is_empty() || names.contains(&test.name)).collect())
    }
}

/// A test that a suite does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the suite has no test {name:?}")]
pub struct UnknownTest {
    /// What was asked for.
    pub name: String,
    /// Those that there are.
    pub known: Vec<String>,
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

impl Test {
    /// How long the executor runs, without graceful stop.
    pub fn length(&self) -> Duration {
        match &self.executor {
            Executor::ConstantVus { duration, .. } => *duration,
            Executor::RampingVus { stages, .. } => stages.iter().map(|stage| stage.duration).sum(),
        }
    }
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

/// Why a threshold could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// No colon between metric and condition.
    #[error("`{0}` is not `metric: condition`")]
    Shape(String),
    /// A metric that no engine reports.
    #[error("unknown metric `{0}`")]
    Metric(String),
    /// An aggregate that does not exist, or not for this kind of metric.
    #[error("`{aggregate}` cannot be taken of {metric}, which has {allowed}")]
    Aggregate {
        /// What was asked for.
        aggregate: String,
        /// Of which metric.
        metric: String,
        /// What there is.
        allowed: &'static str,
    },
    /// No comparison, or no number behind it.
    #[error("`{0}` is not a comparison with a number")]
    Comparison(String),
}

/// k6's built-in metrics and the aggregates of each kind
/// (<https://grafana.com/docs/k6/latest/using-k6/thresholds/>).
const METRICS: [(&str, &str); 6] = [
    ("http_req_failed", "rate"),
    ("checks", "rate"),
    ("http_reqs", "count, rate"),
    ("iterations", "count, rate"),
    ("http_req_duration", "avg, min, med, max, p(N)"),
    ("iteration_duration", "avg, min, med, max, p(N)"),
];

impl std::str::FromStr for Threshold {
    type Err = ThresholdError;

    /// Reads `http_req_duration: p(95)<500`.
    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let (metric, condition) = text.split_once(':').ok_or_else(|| ThresholdError::Shape(text.to_owned()))?;
        let (metric, condition) = (metric.trim(), condition.trim());
        let (_, allowed) = METRICS
            .iter()
            .find(|(name, _)| *name == metric)
            .ok_or_else(|| ThresholdError::Metric(metric.to_owned()))?;
        let comparison = || ThresholdError::Comparison(condition.to_owned());
        let start = condition.find(['<', '>', '=', '!']).ok_or_else(comparison)?;
        let (left, right) = condition.split_at(start);
        let (op, number) = [
            ("===", Op::Eq),
            ("==", Op::Eq),
            ("!=", Op::Ne),
            ("<=", Op::Le),
            (">=", Op::Ge),
            ("<", Op::Lt),
            (">", Op::Gt),
        ]
        .into_iter()
        .find_map(|(sign, op)| Some((op, right.strip_prefix(sign)?)))
        .ok_or_else(comparison)?;
        let limit: f64 = number.trim().parse().map_err(|_| comparison())?;
        let left = left.trim();
        let aggregate = Aggregate::parse(left).filter(|aggregate| allowed.split(", ").any(|a| a == aggregate.kind()));
        let aggregate = aggregate.ok_or_else(|| ThresholdError::Aggregate {
            aggregate: left.to_owned(),
            metric: metric.to_owned(),
            allowed,
        })?;
        if limit.is_finite() { Ok(Self { metric: metric.to_owned(), aggregate, op, limit }) } else { Err(comparison()) }
    }
}

impl Aggregate {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "rate" => Self::Rate,
            "count" => Self::Count,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "med" => Self::Med,
            "max" => Self::Max,
            _ => {
                let percent: f64 = text.strip_prefix("p(")?.strip_suffix(')')?.trim().parse().ok()?;
                return (0.0..=100.0).contains(&percent).then_some(Self::P(percent));
            }
        })
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Count => "count",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Med => "med",
            Self::Max => "max",
            Self::P(_) => "p(N)",
        }
    }
}

impl std::fmt::Display for Aggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::P(percent) => write!(f, "p({percent})"),
            other => f.write_str(other.kind()),
        }
    }
}

impl Threshold {
    /// The condition without the metric, in k6's syntax: `p(95)<500`.
    pub fn condition(&self) -> String {
        let op = match self.op {
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
            Op::Eq => "==",
            Op::Ne => "!=",
        };
        format!("{}{op}{}", self.aggregate, self.limit)
    }
}

impl std::fmt::Display for Threshold {
    /// k6's syntax; reading it back gives the same threshold.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.metric, self.condition())
    }
}
