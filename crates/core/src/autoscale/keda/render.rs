//! The HPA that a `ScaledObject` renders to.

use serde_json::{Value, json};

use super::{
    checks::Bounds,
    parameters::flag,
    trigger::{Source, Trigger},
};

/// Pause annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an annotation of its own")]
pub struct Annotations {
    /// One of the annotations that pause is there, whatever its value.
    pub has_pause: bool,
    /// Nothing scales, the HPA is gone.
    pub paused: bool,
    /// Replicas while paused, where they are given; an error where they cannot be read.
    pub paused_replicas: Option<Result<i32, String>>,
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
        // Whatever is not a false value counts as true, an empty text too.
        let on = |name: &str| get(name).is_some_and(|text| flag(text) != Some(false));
        let paused_replicas = get("paused-replicas");
        Self {
            has_pause: paused_replicas.is_some() || get("paused").is_some(),
            paused: paused_replicas.is_some() || on("paused"),
            paused_replicas: paused_replicas
                .map(|text| text.parse().map_err(|_| format!("annotation paused-replicas is no integer: {text:?}"))),
            paused_in: on("paused-scale-in"),
            paused_out: on("paused-scale-out"),
            forced: on("force-activation"),
        }
    }
}

/// The name of an object's HPA.
pub fn hpa_name(object: &Value) -> String {
    let given = object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"].as_str();
    let given = given.filter(|name| !name.is_empty());
    given.map_or_else(|| format!("keda-hpa-{}", object["metadata"]["name"].as_str().unwrap_or_default()), Into::into)
}

/// Name and object of the HPA; owner references are the caller's. An object without metrics has none.
pub fn hpa(object: &Value, triggers: &[Trigger]) -> Result<(String, Value), String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
    if triggers.is_empty() {
        return Err(format!("no metric specs returned from scalers for ScaledObject {namespace}/{name}"));
    }
    let hpa_name = hpa_name(object);
    let mut metrics: Vec<Value> = triggers.iter().map(|trigger| trigger.metric_spec(name)).collect();
    metrics.sort_by_key(|metric| metric["type"].as_str().unwrap_or_default().to_owned());
    let spec = &object["spec"];
    let target = |key: &str, default: &str| {
        let given = spec["scaleTargetRef"][key].as_str().filter(|text| !text.is_empty());
        given.unwrap_or(default).to_owned()
    };
    let bounds = Bounds::read(spec);
    let mut rendered = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": hpa_name, "namespace": object["metadata"]["namespace"], "labels": labels(object, &hpa_name) },
        "spec": {
            "scaleTargetRef": {
                "apiVersion": target("apiVersion", "apps/v1"),
                "kind": target("kind", "Deployment"),
                "name": target("name", ""),
            },
            "minReplicas": bounds.hpa_min(),
            "maxReplicas": bounds.hpa_max(),
            "metrics": metrics,
        },
    });
    if let Some(annotations) = object["metadata"].get("annotations").filter(|annotations| annotations.is_object()) {
        rendered["metadata"]["annotations"] = annotations.clone();
    }
    let behavior = behavior(object);
    if !behavior.is_null() {
        rendered["spec"]["behavior"] = behavior;
    }
    Ok((hpa_name, rendered))
}

fn behavior(object: &Value) -> Value {
    let mut behavior = object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].clone();
    let annotations = Annotations::read(object);
    for (paused, direction) in [(annotations.paused_in, "scaleDown"), (annotations.paused_out, "scaleUp")] {
        if paused {
            if behavior.is_null() {
                behavior = json!({});
            }
            behavior[direction]["selectPolicy"] = json!("Disabled");
        }
    }
    behavior
}

/// The operator's labels, overridden by those of the `ScaledObject` that are not excluded.
fn labels(object: &Value, hpa_name: &str) -> Value {
    let metadata = &object["metadata"];
    let mut labels = json!({
        "app.kubernetes.io/name": label_value(hpa_name),
        "app.kubernetes.io/part-of": metadata["name"],
        "app.kubernetes.io/managed-by": "keda-operator",
        "app.kubernetes.io/version": "2.21.0",
    });
    let excluded = metadata["annotations"]["scaledobject.keda.sh/hpa-excluded-labels"].as_str().unwrap_or_default();
    // Upstream takes the blanks between commas for parts of the names.
    let excluded: Vec<&str> = excluded.split(',').collect();
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        if !excluded.contains(&key.as_str()) {
            labels[key] = value.clone();
        }
    }
    labels
}

/// A label's value holds at most 63 characters and ends with a letter or a digit.
fn label_value(name: &str) -> &str {
    match name.char_indices().nth(63) {
        Some((end, _)) => name[..end].trim_end_matches(|c: char| !c.is_ascii_alphanumeric()),
        None => name,
    }
}

/// The status' lists of external and resource metric names, in the order of the triggers.
pub fn metric_names(triggers: &[Trigger]) -> (Vec<String>, Vec<String>) {
    let external = triggers.iter().filter_map(Trigger::metric_name).collect();
    let resource = triggers.iter().filter_map(|trigger| match &trigger.source {
        Source::Resource { name, container: None, .. } => Some(name.clone()),
        _ => None,
    });
    (external, resource.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excluded_labels_are_named_without_blanks() {
        let annotations = json!({ "scaledobject.keda.sh/hpa-excluded-labels": "a, b" });
        let object =
            json!({ "metadata": { "name": "so", "annotations": annotations, "labels": { "a": "1", "b": "2" } } });
        let labels = labels(&object, "keda-hpa-so");
        assert_eq!((labels.get("a"), &labels["b"]), (None, &json!("2")));
    }
}
