//! Conversion between the versions of one resource: as stored, and as served.
//!
//! Custom resources convert by their `apiVersion` alone (strategy None); HPA v1 and the two Event groups by fields.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{meta::set_or_remove, registry::Definition};

/// Field names of core and `events.k8s.io` Events that mean the same.
const EVENT_FIELDS: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// The object in the definition's version; the same copy when that is how it is stored.
pub(crate) fn to_served(definition: &Definition, stored: &Arc<Value>) -> Arc<Value> {
    let want = definition.resource.api_version();
    if stored["apiVersion"] == want.as_str() {
        return stored.clone();
    }
    let mut object = (**stored).clone();
    match (definition.table.as_str(), want.as_str()) {
        ("/events", "events.k8s.io/v1") => rename(&mut object, &EVENT_FIELDS.map(|(core, new)| (core, new))),
        ("autoscaling/horizontalpodautoscalers", "autoscaling/v1") => hpa_to_v1(&mut object),
        _ => {}
    }
    object["apiVersion"] = json!(want);
    Arc::new(object)
}

/// The object in the version that is stored.
pub(crate) fn to_stored(definition: &Definition, mut served: Value) -> Value {
    if served["apiVersion"] == definition.stored_as.as_str() {
        return served;
    }
    match (definition.table.as_str(), served["apiVersion"].as_str()) {
        ("/events", Some("events.k8s.io/v1")) => rename(&mut served, &EVENT_FIELDS.map(|(core, new)| (new, core))),
        ("autoscaling/horizontalpodautoscalers", Some("autoscaling/v1")) => hpa_to_v2(&mut served),
        _ => {}
    }
    served["apiVersion"] = json!(definition.stored_as);
    served
}

fn rename(object: &mut Value, fields: &[(&str, &str)]) {
    let Some(members) = object.as_object_mut() else { return };
    for (from, to) in fields {
        if let Some(value) = members.shift_remove(*from) {
            members.insert((*to).into(), value);
        }
    }
}

/// The CPU utilisation metric, which is the only one that v1 has fields for.
fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["type"] == "Utilization"
}

fn is_cpu_status(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["current"].get("averageUtilization").is_some()
}

fn take(object: &mut Value, part: &str, field: &str) -> Option<Value> {
    object.get_mut(part)?.as_object_mut()?.shift_remove(field)
}

fn hpa_to_v1(object: &mut Value) {
    let mut kept = Map::new();
    let metrics = take(object, "spec", "metrics");
    let (cpu, others): (Vec<Value>, Vec<Value>) =
        metrics.as_ref().and_then(Value::as_array).into_iter().flatten().cloned().partition(is_cpu_utilization);
    if let Some(cpu) = cpu.first() {
        object["spec"]["targetCPUUtilizationPercentage"] = cpu["resource"]["target"]["averageUtilization"].clone();
    }
    if !others.is_empty() {
        kept.insert("autoscaling.alpha.kubernetes.io/metrics".into(), json!(Value::Array(others).to_string()));
    }
    if let Some(behavior) = take(object, "spec", "behavior") {
        kept.insert("autoscaling.alpha.kubernetes.io/behavior".into(), json!(behavior.to_string()));
    }
    if let Some(conditions) = take(object, "status", "conditions") {
        kept.insert("autoscaling.alpha.kubernetes.io/conditions".into(), json!(conditions.to_string()));
    }
    if let Some(current) = take(object, "status", "currentMetrics") {
        let cpu = current.as_array().into_iter().flatten().find(|m| is_cpu_status(m));
        if let Some(cpu) = cpu {
            object["status"]["currentCPUUtilizationPercentage"] =
                cpu["resource"]["current"]["averageUtilization"].clone();
        }
        kept.insert("autoscaling.alpha.kubernetes.io/current-metrics".into(), json!(current.to_string()));
    }
    if !kept.is_empty() {
        let annotations = &mut object["metadata"]["annotations"];
        if !annotations.is_object() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.extend(kept);
        }
    }
}

fn hpa_to_v2(object: &mut Value) {
    let mut metrics = Vec::new();
    if let Some(percent) = take(object, "spec", "targetCPUUtilizationPercentage") {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    take(object, "status", "currentCPUUtilizationPercentage");
    let mut parsed = |name: &str| -> Option<Value> {
        let key = format!("autoscaling.alpha.kubernetes.io/{name}");
        let text = object["metadata"].get_mut("annotations")?.as_object_mut()?.shift_remove(&key)?;
        serde_json::from_str(text.as_str()?).ok()
    };
    let (others, behavior) = (parsed("metrics"), parsed("behavior"));
    let (conditions, current) = (parsed("conditions"), parsed("current-metrics"));
    metrics.extend(others.as_ref().and_then(Value::as_array).into_iter().flatten().cloned());
    if object["metadata"]["annotations"].as_object().is_some_and(Map::is_empty) {
        take(object, "metadata", "annotations");
    }
    for (part, field, value) in [
        ("spec", "metrics", (!metrics.is_empty()).then_some(Value::Array(metrics))),
        ("spec", "behavior", behavior),
        ("status", "conditions", conditions),
        ("status", "currentMetrics", current),
    ] {
        if value.is_some()
            && let Some(members) = object.get_mut(part).and_then(Value::as_object_mut)
        {
            set_or_remove(members, field, value.as_ref());
        }
    }
}
