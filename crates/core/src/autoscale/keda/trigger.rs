//! Triggers: their kinds, metric names and targets.

use serde_json::{Value as Json, json};

use super::{
    cron::Cron,
    parameters::{META, Parameters, Reader},
    prometheus::Prometheus,
    quantity::Quantity,
    redis::Redis,
};

/// A trigger of a `ScaledObject`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// Position in `spec.triggers`.
    pub index: usize,
    /// `metricType` of an external trigger: `AverageValue` or `Value`.
    pub metric_type: String,
    /// Where its value comes from.
    pub source: Source,
}

/// Where a trigger's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A PromQL query.
    Prometheus(Prometheus),
    /// Length of a Redis list.
    Redis(Redis),
    /// The time of day.
    Cron(Cron),
    /// `cpu` or `memory`, which the HPA reads itself.
    Resource {
        /// Resource.
        name: String,
        /// The one container that counts.
        container: Option<String>,
        /// An HPA metric target.
        target: Json,
    },
}

/// What a source gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// What is handed to the HPA.
    pub quantity: Quantity,
    /// Whether the trigger asks for at least one replica.
    pub active: bool,
}

/// A trigger that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TriggerError(pub String);

impl Trigger {
    /// Reads an entry of `spec.triggers` that has no authentication and no environment.
    pub fn parse(index: usize, trigger: &Json) -> Result<Self, TriggerError> {
        let kind = trigger["type"].as_str().unwrap_or_default();
        let metric_type = trigger["metricType"].as_str().unwrap_or_default();
        Self::read(index, kind, metric_type, &Parameters::of_trigger(trigger))
    }

    /// Reads a trigger from all its parameters.
    pub fn read(index: usize, kind: &str, metric_type: &str, parameters: &Parameters) -> Result<Self, TriggerError> {
        let source = match kind {
            "prometheus" => Source::Prometheus(Prometheus::parse(parameters, "").map_err(TriggerError)?),
            "redis" | "redis-cluster" | "redis-sentinel" => {
                Source::Redis(Redis::parse(parameters).map_err(TriggerError)?)
            }
            "cron" => Source::Cron(Cron::parse(parameters).map_err(TriggerError)?),
            "cpu" | "memory" => {
                let (target, container) = resource_target(kind, metric_type, parameters)
                    .map_err(|error| TriggerError(format!("error parsing {kind} metadata: {error}")))?;
                return Ok(Self {
                    index,
                    metric_type: metric_type.to_owned(),
                    source: Source::Resource { name: kind.to_owned(), container, target },
                });
            }
            other => return Err(TriggerError(format!("no scaler found for type: {other}"))),
        };
        Ok(Self { index, metric_type: metric_target_type(metric_type).map_err(TriggerError)?.to_owned(), source })
    }

    /// Name of the external metric; none for resources.
    pub fn metric_name(&self) -> Option<String> {
        let base = match &self.source {
            Source::Prometheus(_) => "prometheus".to_owned(),
            Source::Redis(redis) => format!("redis-{}", redis.list_name),
            Source::Cron(cron) => cron.base_name(),
            Source::Resource { .. } => return None,
        };
        Some(format!("s{}-{}", self.index, normalize(&base)))
    }

    /// The target of the HPA metric that it renders to.
    pub fn target(&self) -> Json {
        match &self.source {
            Source::Prometheus(prometheus) => {
                external_target(&self.metric_type, &Quantity::spelled_float(prometheus.threshold))
            }
            Source::Redis(redis) => external_target(&self.metric_type, &Quantity::from_int(redis.list_length)),
            Source::Cron(_) => external_target(&self.metric_type, &Quantity::from_int(1)),
            Source::Resource { target, .. } => target.clone(),
        }
    }

    /// The HPA metric that it renders to.
    pub fn metric_spec(&self, scaled_object: &str) -> Json {
        if let Source::Resource { name, container, .. } = &self.source {
            return match container {
                Some(container) => {
                    let resource = json!({ "name": name, "target": self.target(), "container": container });
                    json!({ "type": "ContainerResource", "containerResource": resource })
                }
                None => json!({ "type": "Resource", "resource": { "name": name, "target": self.target() } }),
            };
        }
        let labels = json!({ "scaledobject.keda.sh/name": scaled_object });
        json!({
            "type": "External",
            "external": {
                "metric": { "name": self.metric_name(), "selector": { "matchLabels": labels } },
                "target": self.target(),
            },
        })
    }

    /// What a number that the source gave means.
    pub fn value(&self, number: f64) -> Value {
        let active = match &self.source {
            Source::Prometheus(prometheus) => prometheus.is_active(number),
            Source::Redis(redis) => redis.is_active(number as i64),
            Source::Cron(_) => number != 0.0,
            Source::Resource { .. } => false,
        };
        Value { quantity: Quantity::from_float(number), active }
    }
}

/// Target and container of a `cpu` or `memory` trigger.
pub fn resource_target(
    kind: &str,
    metric_type: &str,
    parameters: &Parameters,
) -> Result<(Json, Option<String>), String> {
    let mut reader = Reader::new(parameters);
    if !reader.text(&["type"], META).is_empty() {
        let text = "info: The 'type' setting is DEPRECATED and is removed in v2.18 - Use 'metricType' instead.";
        reader.errors.push(format!("scaler {kind} {text}"));
    }
    let value = reader.required_text("value");
    let container = reader.text(&["containerName"], META);
    if !reader.errors.is_empty() {
        return Err(reader.errors.join("\n"));
    }
    let target = match metric_type {
        "Utilization" => {
            let percent: i32 = value.parse().map_err(|error| format!("{value:?}: {error}"))?;
            json!({ "type": "Utilization", "averageUtilization": percent })
        }
        "AverageValue" => {
            let quantity = Quantity::spelled(&value).map_err(|error| error.to_string())?;
            json!({ "type": "AverageValue", "averageValue": quantity })
        }
        other => {
            let allowed = "allowed values are 'Utilization' or 'AverageValue'";
            return Err(format!("unknown metric type: {other}, {allowed}"));
        }
    };
    Ok((target, Some(container).filter(|name| !name.is_empty())))
}

/// The metric type of an external trigger.
pub fn metric_target_type(given: &str) -> Result<&str, String> {
    match given {
        "" => Ok("AverageValue"),
        "Utilization" => Err(
            "'Utilization' metric type is unsupported for external metrics, allowed values are 'Value' or 'AverageValue'"
                .to_owned(),
        ),
        other => Ok(other),
    }
}

/// An external metric's target.
pub fn external_target(metric_type: &str, quantity: &impl ToString) -> Json {
    let key = if metric_type == "AverageValue" { "averageValue" } else { "value" };
    json!({ "type": metric_type, key: quantity.to_string() })
}

/// Characters that metric names may not have become dashes.
pub fn normalize(name: &str) -> String {
    name.chars().map(|c| if "/.:%()".contains(c) { '-' } else { c }).collect()
}

/// The name of a metric without the index of its trigger.
pub fn remove_index(index: usize, name: &str) -> Result<&str, String> {
    match name.split_once('-') {
        None => Err("metric name without index prefix".to_owned()),
        Some((prefix, rest)) if prefix == format!("s{index}") => Ok(rest),
        Some(_) => Err("metric name contains incorrect index prefix".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_trigger_is_named_by_its_index_and_list() {
        let trigger =
            json!({ "type": "redis", "metadata": { "address": "redis:6379", "listName": "a.b", "listLength": "7" } });
        let trigger = Trigger::parse(2, &trigger).expect("a good trigger");
        assert_eq!(trigger.metric_name().as_deref(), Some("s2-redis-a-b"));
        let spec = trigger.metric_spec("worker");
        assert_eq!(spec["external"]["target"], json!({ "type": "AverageValue", "averageValue": "7" }));
        assert!(trigger.value(1.0).active && !trigger.value(0.0).active);
    }

    #[test]
    fn a_cron_trigger_is_named_by_its_times() {
        let metadata =
            json!({ "timezone": "Etc/UTC", "start": "*/5 8 ? * *", "end": "1,2 9 * * *", "desiredReplicas": "3" });
        let trigger = Trigger::parse(0, &json!({ "type": "cron", "metadata": metadata })).expect("a good trigger");
        assert_eq!(trigger.metric_name().as_deref(), Some("s0-cron-Etc-UTC-xSl58Qmxx-1Cm29xxx"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Trigger::parse(0, &json!({ "type": "prometheus", "metadata": { "query": "up" } }))
            .expect_err("no threshold");
        assert!(error.0.contains("missing required parameter \"threshold\""), "{error}");
    }
}
