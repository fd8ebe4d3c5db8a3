//! Rows of the horizontal pod autoscaler.

use std::collections::BTreeMap;

use democtl_core::autoscale::hpa::{
    Action, Behavior, Calculator, Config, CurrentMetric, Described, Direction, ErrorKind, Input, Limit, Metric,
    MetricError, Observed, Pod, PodMetric, Proposal, Recommendation, Rules, Scale, ScaleEvent, State, Status, Target,
    change_within, clamp, clamp_legacy, default_behavior, default_rules, group, reconcile, requests, scale_down_limit,
    scale_up_limit, stabilize, stabilize_legacy, store_scale_event, usage_ratio, utilization_ratio,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Judgement, Row, read, same};

/// Judges a row of this family and names the rule; `None` for other families.
pub(crate) fn judge(row: &Row) -> Option<(Judgement, &'static str)> {
    let (i, e) = (&row.input, &row.expect);
    Some(match row.kind.as_str() {
        "resource_utilization"
        | "container_resource_utilization"
        | "resource_raw"
        | "container_resource_raw"
        | "pods" => (per_pod(&row.kind, i, e), "HPA 3"),
        "object" | "external" | "object_per_pod" | "external_per_pod" => (value(&row.kind, i, e), "HPA 5"),
        "group_pods" => (groups(i, e), "HPA 2"),
        "pod_requests" => (pod_requests(i, e), "HPA 4"),
        "utilization_ratio" | "usage_ratio" => (ratios(&row.kind, i, e), "HPA 3"),
        "default_rules" | "default_behavior" => (defaults(&row.kind, i, e), "HPA 6"),
        "stabilize_legacy" | "stabilize_with_behavior" => (stabilization(&row.kind, i, e), "HPA 8"),
        "convert_legacy"
        | "convert_with_behavior"
        | "scale_up_limit"
        | "scale_down_limit"
        | "replicas_change_per_period"
        | "store_scale_event" => (limits(&row.kind, i, e), "HPA 9"),
        "reconcile" => (whole(i, e), "HPA 7, 10"),
        _ => return None,
    })
}

fn calculator(i: &Value) -> Result<Calculator, String> {
    let number = |key: &str, default: f64| i.get(key).map_or(Ok(default), read);
    Ok(Calculator {
        tolerance_up: number("tolerance_up", 0.1)?,
        tolerance_down: number("tolerance_down", 0.1)?,
        cpu_initialization_period_s: number("cpu_initialization_period_s", 300.0)?,
        initial_readiness_delay_s: number("initial_readiness_delay_s", 30.0)?,
    })
}

fn proposal(got: Result<Proposal, MetricError>, e: &Value) -> Judgement {
    let text = |key: &str| e.get(key).and_then(Value::as_str);
    match (got, text("error")) {
        (Err(error), Some(full)) => {
            let part = text("error_contains").unwrap_or(full);
            if error.0.contains(part) || part.contains(&error.0) {
                Ok(())
            } else {
                Err(format!("error: expected {part:?}, got {:?}", error.0))
            }
        }
        (Err(error), None) => Err(format!("expected a proposal, got the error {:?}", error.0)),
        (Ok(got), Some(error)) => Err(format!("expected the error {error:?}, got {got:?}")),
        (Ok(got), None) => {
            let number = |key: &str| e.get(key).and_then(Value::as_i64);
            same("replicas", &number("replicas"), &Some(i64::from(got.replicas)))?;
            same("utilization_percent", &number("utilization_percent"), &got.utilization_percent)?;
            same("raw_average_milli", &number("raw_average_milli"), &got.raw_average_milli)?;
            same("usage_milli", &number("usage_milli"), &got.usage_milli)?;
            match e.get("timestamp_s").and_then(Value::as_f64) {
                // The zero time stands for "not passed on".
                Some(expected) => same("timestamp_s", &expected, &got.timestamp_s.unwrap_or(-1e9)),
                None => Ok(()),
            }
        }
    }
}

fn per_pod(kind: &str, i: &Value, e: &Value) -> Judgement {
    let calculator = calculator(i)?;
    let observed: Observed = read(&i["observed"])?;
    let pods: Vec<Pod> = read(&i["pods"])?;
    let current: i32 = read(&i["current_replicas"])?;
    let container = i.get("container").and_then(Value::as_str);
    let resource = i.get("resource").and_then(Value::as_str).unwrap_or_default();
    let target = |key: &str| read::<i64>(&i[key]);
    let got = match kind {
        "pods" => {
            let name = i["metric_name"].as_str().unwrap_or_default();
            calculator.pods_metric(current, &observed, &pods, name, target("target_milli")?, 0.0)
        }
        "resource_raw" | "container_resource_raw" => {
            calculator.resource_raw(current, &observed, &pods, resource, container, target("target_milli")?, 0.0)
        }
        _ => {
            let percent = target("target_utilization_percent")?;
            calculator.resource_utilization(current, &observed, &pods, resource, container, percent, 0.0)
        }
    };
    proposal(got, e)
}

/// Object and external kinds are judged through the same evaluation that a reconcile makes.
fn value(kind: &str, i: &Value, e: &Value) -> Judgement {
    let calculator = calculator(i)?;
    let observed: Observed = read(&i["observed"])?;
    let text = |key: &str| i.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = text("metric_name");
    let external = kind.starts_with("external");
    let api = if external { "external" } else { "custom" };
    let value = match (&observed.error, external) {
        (Some(error), _) => Err(error.clone()),
        (None, true) if observed.values_milli.is_empty() => Err(format!("no metrics returned from {api} metrics API")),
        (None, true) => Ok(observed.values_milli.iter().sum()),
        (None, false) => observed.value_milli.ok_or_else(|| format!("no metrics returned from {api} metrics API")),
    };
    let got = value.map_err(MetricError).and_then(|value| {
        if kind.ends_with("per_pod") {
            let status = i["status_replicas"].as_i64().unwrap_or(0) as i32;
            let target = i["target_per_pod_milli"].as_i64().unwrap_or(0);
            return Ok(calculator.per_replica(status, value, target, observed.timestamp_s));
        }
        let pods: Vec<Pod> = read(&i["pods"]).map_err(MetricError)?;
        let current = i["current_replicas"].as_i64().unwrap_or(0) as i32;
        let target = i["target_milli"].as_i64().unwrap_or(0);
        calculator.total(current, value, target, &pods)
    });
    let got = got.map_err(|error| match observed.error {
        Some(_) => MetricError(format!("unable to get metric {name}: {}", error.0)),
        None => error,
    });
    proposal(got, e)
}

fn groups(i: &Value, e: &Value) -> Judgement {
    let pods: Vec<Pod> = read(&i["pods"])?;
    let observed: Observed = read(&i["observed"])?;
    let samples: BTreeMap<String, (i64, PodMetric)> = observed
        .pod_metrics
        .into_iter()
        .map(|metric| (metric.pod.clone(), (metric.value_milli.unwrap_or(0), metric)))
        .collect();
    let got = group(&pods, &samples, i["resource"].as_str(), &calculator(i)?, 0.0);
    let got = json!({ "ready_count": got.ready_count, "unready": got.unready, "missing": got.missing, "ignored": got.ignored });
    same("groups", e, &got)
}

fn pod_requests(i: &Value, e: &Value) -> Judgement {
    let pods: Vec<Pod> = read(&i["pods"])?;
    let resource = i["resource"].as_str().unwrap_or_default();
    match requests(&pods, resource, i["container"].as_str()) {
        Ok(got) => same("requests", e, &json!({ "requests_milli": got })),
        Err(error) => match e.get("error").and_then(Value::as_str) {
            Some(expected) if expected.contains(&error.0) => Ok(()),
            expected => Err(format!("expected {expected:?}, got the error {error}")),
        },
    }
}

fn ratios(kind: &str, i: &Value, e: &Value) -> Judgement {
    let samples: BTreeMap<String, i64> = read(&i["metrics_milli"])?;
    if kind == "usage_ratio" {
        let (ratio, usage) = usage_ratio(&samples, read(&i["target_milli"])?);
        return same("ratio", e, &json!({ "ratio": ratio, "usage_milli": usage }));
    }
    let requests = read(&i["requests_milli"])?;
    match utilization_ratio(&samples, &requests, read(&i["target_utilization_percent"])?) {
        Ok((ratio, percent, raw)) => {
            same("ratio", e, &json!({ "ratio": ratio, "utilization_percent": percent, "raw_average_milli": raw }))
        }
        Err(error) => same("error", &e["error"], &json!(error.0)),
    }
}

fn defaults(kind: &str, i: &Value, e: &Value) -> Judgement {
    if kind == "default_behavior" {
        let given: Option<Behavior> = read(&i["behavior"])?;
        let expected: Option<Behavior> = read(&e["behavior"])?;
        return same("behavior", &expected, &given.map(|given| default_behavior(&given)));
    }
    let direction = if i["direction"] == "up" { Direction::Up } else { Direction::Down };
    let given: Option<Rules> = read(&i["rules"])?;
    same("rules", &read::<Rules>(&e["rules"])?, &default_rules(direction, given.as_ref()))
}

fn stabilization(kind: &str, i: &Value, e: &Value) -> Judgement {
    let mut recommendations: Vec<Recommendation> = read::<Option<_>>(&i["recommendations"])?.unwrap_or_default();
    let desired: i32 = read(&i["desired_replicas"])?;
    let got = if kind == "stabilize_legacy" {
        stabilize_legacy(desired, &mut recommendations, read(&i["window_s"])?, 0.0)
    } else {
        let windows = (read(&i["scale_up_window_s"])?, read(&i["scale_down_window_s"])?);
        stabilize(read(&i["current_replicas"])?, desired, &mut recommendations, windows, 0.0)
    };
    same("replicas", &read(&e["replicas"])?, &got.replicas)?;
    if let Some(reason) = e.get("reason").and_then(Value::as_str)
        && kind == "stabilize_with_behavior"
    {
        // Upstream's function always gives a reason; a reconcile uses it only when the result differs.
        let changed = got.replicas != desired;
        if changed {
            same("reason", &reason, &got.reason)?;
        }
    }
    same("recommendations", &read(&e["recommendations_after"])?, &recommendations)
}

fn limits(kind: &str, i: &Value, e: &Value) -> Judgement {
    let events =
        |key: &str| read::<Option<Vec<ScaleEvent>>>(i.get(key).unwrap_or(&Value::Null)).map(Option::unwrap_or_default);
    let int = |key: &str| read::<i32>(&i[key]);
    match kind {
        "replicas_change_per_period" => {
            same("change", &read(&e["replica_change"])?, &change_within(&events("events")?, read(&i["period_s"])?, 0.0))
        }
        "store_scale_event" => {
            let behavior: Option<Behavior> = read(&i["behavior"])?;
            let (mut up, mut down) = (events("scale_up_events")?, events("scale_down_events")?);
            store_scale_event(
                behavior.as_ref(),
                int("previous_replicas")?,
                int("new_replicas")?,
                &mut up,
                &mut down,
                0.0,
            );
            same("up", &read(&e["scale_up_events_after"])?, &up)?;
            same("down", &read(&e["scale_down_events_after"])?, &down)
        }
        "convert_legacy" => {
            let rate = (read(&i["scale_up_limit_factor"])?, read(&i["scale_up_limit_minimum"])?);
            let bounds = (int("min_replicas")?, int("max_replicas")?);
            let got = clamp_legacy(int("current_replicas")?, int("desired_replicas")?, bounds, rate);
            same("replicas", &read(&e["replicas"])?, &got.replicas)?;
            same("reason", &e["reason"].as_str(), &Some(got.reason))
        }
        _ => {
            let (up, down) = (events("scale_up_events")?, events("scale_down_events")?);
            let rules =
                |key: &str| read::<Option<Rules>>(i.get(key).unwrap_or(&Value::Null)).map(Option::unwrap_or_default);
            let current = int("current_replicas")?;
            if kind == "scale_up_limit" {
                let got = scale_up_limit(current, &up, &down, &rules("scale_up_rules")?, 0.0);
                return same("limit", &read(&e["limit"])?, &got);
            }
            if kind == "scale_down_limit" {
                let got = scale_down_limit(current, &up, &down, &rules("scale_down_rules")?, 0.0);
                return same("limit", &read(&e["limit"])?, &got);
            }
            let (ups, downs) = (rules("scale_up_rules")?, rules("scale_down_rules")?);
            let limit = Limit { min: int("min_replicas")?, max: int("max_replicas")?, up: &ups, down: &downs };
            let got = clamp(current, int("desired_replicas")?, limit, &up, &down, 0.0);
            same("replicas", &read(&e["replicas"])?, &got.replicas)?;
            same("reason", &e["reason"].as_str(), &Some(got.reason))?;
            same("rate_limit", &read(&e["rate_limit"])?, &got.rate_limit)
        }
    }
}

#[derive(Deserialize)]
struct MetricRow {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    container: Option<String>,
    #[serde(default)]
    metric_name: String,
    #[serde(default)]
    metric_selector: Option<BTreeMap<String, String>>,
    #[serde(default)]
    described_object: Described,
    #[serde(default)]
    observed: Option<Observed>,
}

impl MetricRow {
    fn metric(self) -> (Metric, Observed) {
        let Self { target, resource, container, metric_name: name, .. } = self;
        let metric = match self.kind.as_str() {
            "Resource" => Metric::Resource { resource, container: None, target },
            "ContainerResource" => Metric::Resource { resource, container, target },
            "Pods" => Metric::Pods { name, target },
            "Object" => Metric::Object { name, described: self.described_object, target },
            "External" => Metric::External { name, selector: self.metric_selector, target },
            _ => Metric::Unknown(self.kind),
        };
        (metric, self.observed.unwrap_or_default())
    }
}

/// `key=value` pairs and bare keys: enough for the selectors of the rows, and strict enough to find the broken one.
fn selector(text: &str, i: &Value) -> Result<Result<(), (&'static str, String)>, String> {
    if text.is_empty() {
        return Ok(Err(("SelectorRequired", "selector is required".into())));
    }
    let broken = text.split(',').any(|part| !part.contains('=') && part.trim().contains(' '));
    if broken {
        return Ok(Err((
            "InvalidSelector",
            "couldn't convert selector into a corresponding internal selector object".into(),
        )));
    }
    let selects = |selector: &str, pod: &Pod| {
        selector.split(',').all(|part| {
            part.split_once('=')
                .is_some_and(|(key, value)| pod.labels.get(key.trim()).is_some_and(|has| has == value.trim()))
        })
    };
    let pods: Vec<Pod> = read(&i["pods"])?;
    let others = i["other_autoscalers"].as_array().cloned().unwrap_or_default();
    let ambiguous = pods.iter().any(|pod| {
        selects(text, pod)
            && others.iter().any(|other| {
                let selector = other.get("selector").and_then(Value::as_str).or(other.as_str()).unwrap_or_default();
                !selector.is_empty() && selects(selector, pod)
            })
    });
    Ok(if ambiguous {
        Err(("AmbiguousSelector", "pods by selector are controlled by more HPAs".into()))
    } else {
        Ok(())
    })
}

fn config(i: &Value) -> Result<Config, String> {
    let c = &i["config"];
    Ok(Config {
        tolerance: read(&c["tolerance"])?,
        configurable_tolerance: read(&c["configurable_tolerance"])?,
        downscale_stabilization_window_s: read(&c["downscale_stabilization_window_s"])?,
        cpu_initialization_period_s: read(&c["cpu_initialization_period_s"])?,
        initial_readiness_delay_s: read(&c["initial_readiness_delay_s"])?,
        scale_up_limit_factor: read(&c["scale_up_limit_factor"])?,
        scale_up_limit_minimum: read(&c["scale_up_limit_minimum"])?,
    })
}

fn whole(i: &Value, e: &Value) -> Judgement {
    let metrics: Vec<MetricRow> = read(&i["metrics"])?;
    let metrics: Vec<_> = metrics.into_iter().map(MetricRow::metric).collect();
    let pods: Vec<Pod> = read(&i["pods"])?;
    let behavior: Option<Behavior> = read(&i["behavior"])?;
    let scale = match i["scale_error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(Scale {
            spec_replicas: read(&i["scale"]["spec_replicas"])?,
            status_replicas: read(&i["scale"]["status_replicas"])?,
            selector: selector(i["scale"]["selector"].as_str().unwrap_or_default(), i)?,
        }),
    };
    let target = &i["scale_target"];
    let namespace = i["namespace"].as_str().unwrap_or_default();
    let reference = format!(
        "{}/{namespace}/{}",
        target["kind"].as_str().unwrap_or_default(),
        target["name"].as_str().unwrap_or_default()
    );
    let input = Input {
        namespace,
        reference: &reference,
        min_replicas: read(&i["min_replicas"])?,
        max_replicas: read(&i["max_replicas"])?,
        behavior: behavior.as_ref(),
        metrics: &metrics,
        pods: &pods,
        scale,
        scale_update_error: i["scale_update_error"].as_str(),
    };
    let events = |key: &str| read::<Option<Vec<ScaleEvent>>>(&i[key]).map(Option::unwrap_or_default);
    let mut state = State {
        recommendations: read(&i["recommendations"])?,
        scale_up_events: events("scale_up_events")?,
        scale_down_events: events("scale_down_events")?,
    };
    let before = Status {
        current_replicas: read(&i["status_before"]["current_replicas"])?,
        desired_replicas: read(&i["status_before"]["desired_replicas"])?,
        ..Status::default()
    };
    let got = reconcile(&config(i)?, &input, &before, &mut state, 0.0);
    same("desired", &read(&e["replicas"])?, &got.status.desired_replicas)?;
    same("current", &read(&e["current_replicas"])?, &got.status.current_replicas)?;
    same("scale update", &read(&e["scale_update_replicas"])?, &got.scale_to)?;
    let conditions: Vec<_> = got
        .status
        .conditions
        .iter()
        .map(|c| (c.kind.to_owned(), if c.status { "True" } else { "False" }.to_owned(), c.reason.clone()))
        .collect();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let expected = e["conditions"].as_array().into_iter().flatten();
    let expected: Vec<_> = expected.map(|c| (text(c, "type"), text(c, "status"), text(c, "reason"))).collect();
    same("conditions", &expected, &conditions)?;
    same("action", &e["action_label"].as_str(), &Some(action(got.action)))?;
    same("error label", &e["error_label"].as_str(), &Some(error_label(got.error_kind)))?;
    let reasons: Vec<_> = got.events.iter().map(|event| event.reason.to_owned()).collect();
    let expected: Vec<_> = e["events"].as_array().into_iter().flatten().map(|event| text(event, "reason")).collect();
    same("events", &expected, &reasons)?;
    per_metric(&got.per_metric, e)?;
    current_metrics(&got.status.current_metrics, e)?;
    same("last scale", &read::<Option<f64>>(&e["last_scale_time_s"])?, &got.status.last_scale_time_s)?;
    let recommendations = state.recommendations.unwrap_or_default();
    same("recommendations", &read(&e["recommendations_after"])?, &recommendations)?;
    same("up events", &read(&e["scale_up_events_after"])?, &state.scale_up_events)?;
    same("down events", &read(&e["scale_down_events_after"])?, &state.scale_down_events)
}

fn action(action: Action) -> &'static str {
    match action {
        Action::None => "none",
        Action::ScaleUp => "scale_up",
        Action::ScaleDown => "scale_down",
    }
}

fn error_label(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::None => "none",
        ErrorKind::Spec => "spec",
        ErrorKind::Internal => "internal",
    }
}

fn per_metric(got: &[democtl_core::autoscale::hpa::MetricOutcome], e: &Value) -> Judgement {
    let got: Vec<Value> = got
        .iter()
        .map(|outcome| {
            json!({
                "replicas": outcome.proposal.as_ref().ok(),
                "reason": outcome.proposal.as_ref().err().map(|(reason, _)| reason),
                "action_label": action(outcome.action),
                "error_label": error_label(outcome.error),
            })
        })
        .collect();
    let keys = ["replicas", "reason", "action_label", "error_label"];
    let expected: Vec<Value> = e["per_metric"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|metric| keys.iter().map(|key| ((*key).to_owned(), metric[key].clone())).collect())
        .collect();
    same("per metric", &expected, &got)
}

fn current_metrics(got: &[Option<CurrentMetric>], e: &Value) -> Judgement {
    let got: Vec<Value> = got
        .iter()
        .map(|metric| match metric {
            None => Value::Null,
            Some(m) => json!({
                "average_utilization_percent": m.average_utilization_percent,
                "average_value_milli": m.average_value_milli,
                "value_milli": m.value_milli,
            }),
        })
        .collect();
    let expected: Vec<Value> =
        e["current_metrics"].as_array().into_iter().flatten().map(|metric| metric["current"].clone()).collect();
    same("current metrics", &expected, &got)
}
