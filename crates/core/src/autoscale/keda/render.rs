//! The HPA that a `ScaledObject` renders to.

use serde_json::{Value, json};

use super::trigger::Trigger;

/// Pause annotations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an annotation of its own")]
pub struct Annotations {
    /// Nothing scales, the HPA is gone.
    pub paused: bool,
    /// Replicas while paused.
    pub paused_replicas: Option<i32>,
    /// No scaling down.
    pub paused_in: bool,
    /// No scaling up.
    pub paused_out: bool,
    /// Active whatever the triggers say.
    pub forced: bool,
}

impl Annotations {
    /// Reads them from a `ScaledObject`.
    pub fn read(object: &Value) -> Self {
        let get = |name: &str| {
            let key = format!("autoscaling.keda.sh/{name}");
            object["metadata"]["annotations"].get(key).and_then(Value::as_str)
        };
        let on =
            |name: &str| get(name).is_some_and(|text| !matches!(text, "0" | "f" | "F" | "FALSE" | "false" | "False"));
        let paused_replicas = get("paused-replicas");
        Self {
            paused: paused_replicas.is_some() || on("paused"),
            paused_replicas: paused_replicas.and_then(|text| text.parse().ok()),
            paused_in: on("paused-scale-in"),
            paused_out: on("paused-scale-out"),
            forced: on("force-activation"),
        }
    }
}

/// Name and object of the HPA; owner references are the caller's.
pub fn hpa(object: &Value, triggers: &[Trigger]) -> (String, Value) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let spec = &object["spec"];
    let advanced = &spec["advanced"]["horizontalPodAutoscalerConfig"];
    let hpa_name = advanced["name"].as_str().map_or_else(|| format!("keda-hpa-{name}"), ToOwned::to_owned);
    let mut metrics: Vec<Value> = triggers.iter().map(|trigger| trigger.metric_spec(name)).collect();
    metrics.sort_by_key(|metric| metric["type"].as_str().unwrap_or_default().to_owned());
    let mut behavior = advanced["behavior"].clone();
    let annotations = Annotations::read(object);
    for (paused, direction) in [(annotations.paused_in, "scaleDown"), (annotations.paused_out, "scaleUp")] {
        if paused {
            if behavior.is_null() {
                behavior = json!({});
            }
            behavior[direction]["selectPolicy"] = json!("Disabled");
        }
    }
    let target = &spec["scaleTargetRef"];
    let text = |key: &str, default: &str| target[key].as_str().unwrap_or(default).to_owned();
    let mut labels = json!({
        "app.kubernetes.io/name": hpa_name,
        "app.kubernetes.io/part-of": name,
        "app.kubernetes.io/managed-by": "keda-operator",
        "app.kubernetes.io/version": "2.21.0",
    });
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        labels[key] = value.clone();
    }
    let min = spec["minReplicaCount"].as_i64().filter(|min| *min > 0).unwrap_or(1);
    let mut rendered = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": hpa_name, "namespace": object["metadata"]["namespace"], "labels": labels },
        "spec": {
            "scaleTargetRef": {
                "apiVersion": text("apiVersion", "apps/v1"),
                "kind": text("kind", "Deployment"),
                "name": text("name", ""),
            },
            "minReplicas": min,
            "maxReplicas": spec["maxReplicaCount"].as_i64().unwrap_or(100),
            "metrics": metrics,
        },
    });
    if !behavior.is_null() {
        rendered["spec"]["behavior"] = behavior;
    }
    (hpa_name, rendered)
}
