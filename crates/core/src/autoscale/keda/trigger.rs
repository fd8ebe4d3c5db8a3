//! Triggers: their parameters, metric names and targets.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::quantity::{float_milli, text};

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
    Prometheus {
        /// Base address of the server.
        server: String,
        /// Query.
        query: String,
        /// Value per replica, milli-units.
        threshold_milli: i64,
        /// Active above this.
        activation: f64,
        /// No or infinite values count as 0.
        ignore_null: bool,
    },
    /// Length of a Redis list.
    Redis {
        /// `host:port`.
        address: String,
        /// List.
        list: String,
        /// Messages per replica.
        length: i64,
        /// Active above this.
        activation: i64,
    },
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
    /// What is handed to the HPA, milli-units.
    pub milli: i64,
    /// Whether the trigger asks for at least one replica.
    pub active: bool,
}

/// A trigger that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TriggerError(pub String);

impl Trigger {
    /// Reads an entry of `spec.triggers`.
    pub fn parse(index: usize, trigger: &Json) -> Result<Self, TriggerError> {
        let kind = trigger["type"].as_str().unwrap_or_default();
        let metric_type = trigger["metricType"].as_str().unwrap_or_default();
        let metadata = Metadata(
            trigger["metadata"]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.trim().to_owned())))
                .filter(|(_, value)| !value.is_empty())
                .collect(),
        );
        let source = match kind {
            "prometheus" => metadata.prometheus()?,
            "redis" => metadata.redis()?,
            "cpu" | "memory" => metadata.resource(kind, metric_type)?,
            other => return Err(TriggerError(format!("no scaler found for type: {other}"))),
        };
        let metric_type = match metric_type {
            "" => "AverageValue",
            "Utilization" if !matches!(source, Source::Resource { .. }) => {
                let text = "'Utilization' metric type is unsupported for external metrics, allowed values are 'Value' or 'AverageValue'";
                return Err(TriggerError(text.to_owned()));
            }
            other => other,
        };
        Ok(Self { index, metric_type: metric_type.to_owned(), source })
    }

    /// Name of the external metric; none for resources.
    pub fn metric_name(&self) -> Option<String> {
        let base = match &self.source {
            Source::Prometheus { .. } => "prometheus".to_owned(),
            Source::Redis { list, .. } => normalize(&format!("redis-{list}")),
            Source::Resource { .. } => return None,
        };
        Some(format!("s{}-{base}", self.index))
    }

    /// The HPA metric that it renders to.
    pub fn metric_spec(&self, scaled_object: &str) -> Json {
        let target_milli = match &self.source {
            Source::Prometheus { threshold_milli, .. } => *threshold_milli,
            Source::Redis { length, .. } => length * 1000,
            Source::Resource { name, container: Some(container), target } => {
                let resource = json!({ "name": name, "target": target, "container": container });
                return json!({ "type": "ContainerResource", "containerResource": resource });
            }
            Source::Resource { name, container: None, target } => {
                return json!({ "type": "Resource", "resource": { "name": name, "target": target } });
            }
        };
        let key = if self.metric_type == "AverageValue" { "averageValue" } else { "value" };
        let labels = json!({ "scaledobject.keda.sh/name": scaled_object });
        json!({
            "type": "External",
            "external": {
                "metric": { "name": self.metric_name(), "selector": { "matchLabels": labels } },
                "target": { "type": self.metric_type, key: text(target_milli) },
            },
        })
    }

    /// What a number that the source gave means.
    pub fn value(&self, number: f64) -> Value {
        let active = match &self.source {
            Source::Prometheus { activation, .. } => number > *activation,
            Source::Redis { activation, .. } => number > *activation as f64,
            Source::Resource { .. } => false,
        };
        Value { milli: float_milli(number), active }
    }
}

/// Characters that metric names may not have.
fn normalize(name: &str) -> String {
    name.chars().map(|c| if "/.:%()".contains(c) { '-' } else { c }).collect()
}

struct Metadata(BTreeMap<String, String>);

impl Metadata {
    fn required(&self, name: &str) -> Result<String, TriggerError> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| TriggerError(format!("missing required parameter {name:?} in [triggerMetadata]")))
    }

    fn number<T: serde::de::DeserializeOwned>(&self, name: &str, default: T) -> Result<T, TriggerError> {
        self.0.get(name).map_or(Ok(default), |value| {
            serde_json::from_str(value)
                .map_err(|error| TriggerError(format!("unable to set param {name:?} value {value:?}: {error}")))
        })
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, TriggerError> {
        match self.0.get(name).map(String::as_str) {
            None => Ok(default),
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
            Some(value) => Err(TriggerError(format!("unable to set param {name:?} value {value:?}"))),
        }
    }

    fn prometheus(&self) -> Result<Source, TriggerError> {
        let prefix = |TriggerError(text)| TriggerError(format!("error parsing prometheus metadata: {text}"));
        let read = || {
            self.required("threshold")?;
            Ok(Source::Prometheus {
                server: self.required("serverAddress")?,
                query: self.required("query")?,
                threshold_milli: float_milli(self.number("threshold", 0.0)?),
                activation: self.number("activationThreshold", 0.0)?,
                ignore_null: self.flag("ignoreNullValues", true)?,
            })
        };
        read().map_err(prefix)
    }

    fn redis(&self) -> Result<Source, TriggerError> {
        let prefix = |TriggerError(text)| TriggerError(format!("error parsing redis metadata: {text}"));
        let pair = || Some(format!("{}:{}", self.0.get("host")?, self.0.get("port")?));
        let first = |list: &String| list.split(',').next().map(|part| part.trim().to_owned());
        let address = ["address", "addresses"].iter().find_map(|name| self.0.get(*name)).and_then(first).or_else(pair);
        let read = || {
            let missing = "no addresses or hosts given. address should be a comma separated list of host:port or set the host/port values";
            Ok(Source::Redis {
                list: self.required("listName")?,
                length: self.number("listLength", 5)?,
                activation: self.number("activationListLength", 0)?,
                address: address.ok_or_else(|| TriggerError(missing.to_owned()))?,
            })
        };
        read().map_err(prefix)
    }

    fn resource(&self, name: &str, metric_type: &str) -> Result<Source, TriggerError> {
        let value = self.required("value")?;
        let target = match metric_type {
            "Utilization" => {
                let percent: i32 =
                    value.parse().map_err(|error| TriggerError(format!("error parsing {name} metadata: {error}")))?;
                json!({ "type": "Utilization", "averageUtilization": percent })
            }
            "AverageValue" => json!({ "type": "AverageValue", "averageValue": value }),
            other => {
                let allowed = "allowed values are 'Utilization' or 'AverageValue'";
                return Err(TriggerError(format!("unknown metric type: {other}, {allowed}")));
            }
        };
        Ok(Source::Resource { name: name.to_owned(), container: self.0.get("containerName").cloned(), target })
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
    fn what_is_missing_is_named() {
        let error = Trigger::parse(0, &json!({ "type": "prometheus", "metadata": { "query": "up" } }))
            .expect_err("no threshold");
        assert!(error.0.contains("missing required parameter \"threshold\""), "{error}");
    }
}
