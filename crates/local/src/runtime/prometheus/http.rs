//! Prometheus's HTTP API: <https://prometheus.io/docs/prometheus/latest/querying/api/>.
//!
//! Every answer to a query carries a warning when profile time is not real time.

use std::collections::BTreeSet;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, RawQuery, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, SecondsFormat, Utc};
use democtl_core::promql::{
    self, Answer, Evaluator, MOST_POINTS, QueryError, Window,
    series::{Labels, Series, text},
};
use promql_parser::parser::Expr;
use serde_json::{Value, json};

use super::{Prometheus, now};

/// An error answer.
#[derive(Debug)]
pub struct ApiError {
    kind: &'static str,
    message: String,
}

impl ApiError {
    fn bad_data(message: impl Into<String>) -> Self {
        Self { kind: "bad_data", message: message.into() }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Parse(_) => Self::bad_data(format!("invalid parameter \"query\": {error}")),
            QueryError::Unsupported(_) | QueryError::Execution(_) => {
                Self { kind: "execution", message: error.to_string() }
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = if self.kind == "bad_data" { StatusCode::BAD_REQUEST } else { StatusCode::UNPROCESSABLE_ENTITY };
        (status, Json(json!({"status": "error", "errorType": self.kind, "error": self.message}))).into_response()
    }
}

/// Parameters of a request, from its query string and its form.
struct Params(Vec<(String, String)>);

impl Params {
    fn new(query: Option<&str>, form: &[u8]) -> Result<Self, ApiError> {
        let form = std::str::from_utf8(form).map_err(|_| ApiError::bad_data("form is not UTF-8"))?;
        let joined = [query.unwrap_or(""), form].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let uri: Uri = format!("/?{}", joined.join("&"))
            .parse()
            .map_err(|_| ApiError::bad_data("error parsing form values: not a query string"))?;
        Query::try_from_uri(&uri).map(|Query(pairs)| Self(pairs)).map_err(|error| ApiError::bad_data(error.to_string()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn need(&self, name: &'static str) -> Result<&str, ApiError> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| ApiError::bad_data(format!("invalid parameter {name:?}: empty")))
    }

    fn time(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|text| time(name, text)).transpose()
    }
}

/// The API's routes.
pub fn router(prometheus: Prometheus) -> Router {
    Router::new()
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(|| async { "Prometheus Server is Ready.\n" }))
        .route("/api/v1/query", get(query).post(query))
        .route("/api/v1/query_range", get(query_range).post(query_range))
        .route("/api/v1/series", get(series).post(series))
        .route("/api/v1/labels", get(labels).post(labels))
        .route("/api/v1/label/{name}/values", get(label_values))
        .route("/api/v1/targets", get(targets))
        .route("/api/v1/status/buildinfo", get(build_info))
        .with_state(prometheus)
}

async fn healthy(State(prometheus): State<Prometheus>) -> String {
    let speed = prometheus.speed();
    format!(
        "Prometheus Server is Healthy. Durations in queries run {speed} times real time; rates are per real second.\n"
    )
}

async fn query(
    State(prometheus): State<Prometheus>,
    RawQuery(raw): RawQuery,
    form: Bytes,
) -> Result<Json<Value>, ApiError> {
    let params = Params::new(raw.as_deref(), &form)?;
    let data = instant(&prometheus, params.need("query")?, params.time("time")?)?;
    Ok(success(&prometheus, &data))
}

/// An instant query's `data`; `at` is Unix milliseconds, now when none.
pub fn instant(prometheus: &Prometheus, query: &str, at: Option<i64>) -> Result<Value, ApiError> {
    let expr = promql::parse(query)?;
    let at = at.unwrap_or_else(now);
    let state = prometheus.read();
    let answer = Evaluator::new(&state.storage, at, prometheus.speed()).eval(&expr)?;
    Ok(match answer {
        Answer::Scalar(value) => json!({"resultType": "scalar", "result": point(at, value)}),
        Answer::Text(text) => json!({"resultType": "string", "result": [seconds(at), text]}),
        Answer::Vector(elements) => {
            let result: Vec<Value> = elements
                .into_iter()
                .map(|element| json!({"metric": element.labels, "value": point(at, element.value)}))
                .collect();
            json!({"resultType": "vector", "result": result})
        }
        Answer::Matrix(windows) => matrix(&windows),
    })
}

async fn query_range(
    State(prometheus): State<Prometheus>,
    RawQuery(raw): RawQuery,
    form: Bytes,
) -> Result<Json<Value>, ApiError> {
    let params = Params::new(raw.as_deref(), &form)?;
    let need = |name: &'static str| {
        params.time(name)?.ok_or_else(|| ApiError::bad_data(format!("invalid parameter {name:?}: empty")))
    };
    let (start, end) = (need("start")?, need("end")?);
    let step = duration("step", params.need("step")?)?;
    if end < start {
        return Err(ApiError::bad_data("invalid parameter \"end\": end timestamp must not be before start time"));
    }
    if step <= 0 {
        return Err(ApiError::bad_data(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if (end - start) / step > MOST_POINTS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let expr = promql::parse(params.need("query")?)?;
    let state = prometheus.read();
    let bounds = (start, end);
    let evaluator = Evaluator { storage: &state.storage, at: start, bounds, speed: prometheus.speed() };
    let windows = evaluator.series(&expr, (start, end, step))?;
    Ok(success(&prometheus, &matrix(&windows)))
}

async fn series(
    State(prometheus): State<Prometheus>,
    RawQuery(raw): RawQuery,
    form: Bytes,
) -> Result<Json<Value>, ApiError> {
    let params = Params::new(raw.as_deref(), &form)?;
    let mut found: BTreeSet<Labels> = BTreeSet::new();
    let mut any = false;
    for (_, selector) in params.0.iter().filter(|(name, _)| name == "match[]") {
        any = true;
        let Expr::VectorSelector(_) = promql::parse(selector)? else {
            return Err(ApiError::bad_data(format!("invalid parameter \"match[]\": {selector} is no series selector")));
        };
        // A range over the whole retention finds series that have ended too.
        let expr = promql::parse(&format!("last_over_time({selector}[1y])"))?;
        let state = prometheus.read();
        if let Answer::Vector(elements) = Evaluator::new(&state.storage, now(), prometheus.speed()).eval(&expr)? {
            found.extend(elements.into_iter().map(|element| element.labels));
        }
    }
    if !any {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    Ok(success(&prometheus, &json!(found)))
}

async fn labels(State(prometheus): State<Prometheus>) -> Json<Value> {
    let names: BTreeSet<String> = {
        let state = prometheus.read();
        state.storage.all().iter().flat_map(|series| series.labels.keys().cloned()).collect()
    };
    success(&prometheus, &json!(names))
}

async fn label_values(State(prometheus): State<Prometheus>, Path(name): Path<String>) -> Json<Value> {
    let values: BTreeSet<String> = {
        let state = prometheus.read();
        let value = |series: &Series| series.labels.get(&name).cloned();
        state.storage.all().iter().filter_map(value).collect()
    };
    success(&prometheus, &json!(values))
}

async fn targets(State(prometheus): State<Prometheus>) -> Json<Value> {
    let active: Vec<Value> = prometheus
        .read()
        .targets
        .iter()
        .map(|state| {
            json!({
                "discoveredLabels": {},
                "labels": state.target.labels,
                "scrapePool": "kubernetes-pods",
                "scrapeUrl": state.target.url,
                "globalUrl": state.target.url,
                "lastError": state.error.as_deref().unwrap_or(""),
                "lastScrape": rfc3339(state.at),
                "lastScrapeDuration": state.took.as_secs_f64(),
                "health": if state.error.is_none() { "up" } else { "down" },
            })
        })
        .collect();
    success(&prometheus, &json!({"activeTargets": active, "droppedTargets": []}))
}

async fn build_info(State(prometheus): State<Prometheus>) -> Json<Value> {
    success(&prometheus, &json!({"version": concat!("democtl-", env!("CARGO_PKG_VERSION"))}))
}

fn success(prometheus: &Prometheus, data: &Value) -> Json<Value> {
    let mut body = json!({"status": "success", "data": data});
    let speed = prometheus.speed();
    if (speed - 1.0).abs() > f64::EPSILON {
        body["warnings"] = json!([format!(
            "durations in queries are divided by the cluster's speed {speed}; rates are per real second"
        )]);
    }
    Json(body)
}

fn matrix(windows: &[Window]) -> Value {
    let result: Vec<Value> = windows
        .iter()
        .map(|window| {
            let values: Vec<Value> = window.samples.iter().map(|sample| point(sample.at, sample.value)).collect();
            json!({"metric": window.labels, "values": values})
        })
        .collect();
    json!({"resultType": "matrix", "result": result})
}

fn point(at: i64, value: f64) -> Value {
    json!([seconds(at), text(value)])
}

fn seconds(at: i64) -> f64 {
    at as f64 / 1000.0
}

/// A Unix time in seconds or RFC 3339, in milliseconds.
fn time(name: &str, text: &str) -> Result<i64, ApiError> {
    if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
        return Ok((seconds * 1000.0).round() as i64);
    }
    DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis()).map_err(|_| {
        ApiError::bad_data(format!("invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp"))
    })
}

/// A duration in seconds or Prometheus's form (`1m30s`), in real milliseconds: a step is not divided.
fn duration(name: &str, text: &str) -> Result<i64, ApiError> {
    if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
        return Ok((seconds * 1000.0).round() as i64);
    }
    promql_parser::util::parse_duration(text).map(|duration| duration.as_millis() as i64).map_err(|_| {
        ApiError::bad_data(format!("invalid parameter {name:?}: cannot parse {text:?} to a valid duration"))
    })
}

fn rfc3339(at: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(at).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}
