//! A load suite as it is written: serde types, as [`super::raw`] has them for profiles.

use schemars::JsonSchema;
use serde::Deserialize;

use super::raw::SpanRange;
use crate::units::Span;

/// A load suite as it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "democtl suite")]
pub(super) struct RawSuite {
    /// Name (default: the file's).
    pub(super) name: Option<String>,
    /// One sentence.
    #[expect(dead_code, reason = "for readers of the file")]
    pub(super) description: Option<String>,
    /// Tests in the order in which they run.
    #[serde(default)]
    pub(super) test: Vec<RawTest>,
}

/// One load test: `vus` and `duration` for a constant one, `stages` for a ramp.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Test")]
pub(super) struct RawTest {
    /// Name, unique in the suite.
    pub(super) name: String,
    /// Virtual users; with stages: at the start (default 1).
    #[schemars(range(min = 0, max = 100_000))]
    pub(super) vus: Option<u32>,
    /// Length of a constant test.
    pub(super) duration: Option<Span>,
    /// Ramp: VUs at the end of each stage.
    pub(super) stages: Option<Vec<RawStage>>,
    /// k6's gracefulStop (default 30s).
    pub(super) graceful_stop: Option<Span>,
    /// k6's gracefulRampDown (default 30s).
    pub(super) graceful_ramp_down: Option<Span>,
    /// Conditions in k6's syntax, such as `http_req_duration: p(95)<500`.
    pub(super) thresholds: Vec<RawThreshold>,
    /// What each VU does, over and over.
    pub(super) journey: Vec<RawStep>,
}

/// A condition in k6's syntax.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("format" = "threshold"))]
#[schemars(rename = "Threshold")]
pub(super) struct RawThreshold(pub(super) String);

/// One stage of a ramp.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Stage")]
pub(super) struct RawStage {
    /// Length.
    pub(super) duration: Span,
    /// VUs at its end.
    #[schemars(range(min = 0, max = 100_000))]
    pub(super) target: u32,
}

/// One step: a request (`get`, `post`, `put`, `delete`), a `think` time, or a `poll` of the last Location.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Step")]
pub(super) struct RawStep {
    /// Name in the figures (default: the method).
    pub(super) name: Option<String>,
    /// GET this path.
    pub(super) get: Option<String>,
    /// POST to this path.
    pub(super) post: Option<String>,
    /// PUT to this path.
    pub(super) put: Option<String>,
    /// DELETE this path.
    pub(super) delete: Option<String>,
    /// JSON body; `${seq}`, `${vu}`, `${iter}` are replaced.
    pub(super) body: Option<String>,
    /// Statuses that count as success (default 200 to 399).
    #[serde(default)]
    #[schemars(inner(range(min = 100, max = 599)))]
    pub(super) expect: Vec<u16>,
    /// Sleep, such as `1s..3s`.
    pub(super) think: Option<SpanRange>,
    /// Poll the last Location until a field has a value.
    pub(super) poll: Option<RawPoll>,
}

/// Poll until the answer's JSON has `field == equals`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Poll")]
pub(super) struct RawPoll {
    /// Top-level field.
    pub(super) field: String,
    /// Value that ends it.
    pub(super) equals: String,
    /// Time between two tries (default 500ms).
    pub(super) interval: Option<Span>,
    /// Give up after this (default 30s).
    pub(super) timeout: Option<Span>,
}
