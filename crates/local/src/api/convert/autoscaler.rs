//! Autoscalers of `autoscaling/v1`, whose only field for metrics is the CPU's; the rest is JSON in annotations.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/apis/autoscaling/v1/conversion.go>

use serde_json::{Map, Value, json};

use crate::api::meta::set_or_remove;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// Sources of a metric, and what a v1 one consists of, in upstream's order. `Value` stands for `targetValue` or
/// `currentValue`, and so on; what is marked by `!` is there even when it is not given.
const SOURCES: [(&str, &[&str]); 5] = [
    ("object", &["target", "metricName", "Value!", "selector", "averageValue"]),
    ("pods", &["metricName", "AverageValue!", "selector"]),
    ("resource", &["name", "AverageUtilization", "AverageValue"]),
    ("containerResource", &["name", "AverageUtilization", "AverageValue", "container"]),
    ("external", &["metricName", "metricSelector", "Value", "AverageValue"]),
];

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

pub(super) fn to_v1(object: &mut Value) {
    let mut kept = Map::new();
    let mut keep = |key: &str, value: &Value| kept.insert(key.to_owned(), json!(value.to_string()));
    let metrics = take(object, "spec", "metrics");
    let (cpu, others): (Vec<Value>, Vec<Value>) =
        metrics.as_ref().and_then(Value::as_array).into_iter().flatten().cloned().partition(is_cpu_utilization);
    if let Some(cpu) = cpu.first() {
        object["spec"]["targetCPUUtilizationPercentage"] = cpu["resource"]["target"]["averageUtilization"].clone();
    }
    if !others.is_empty() {
        keep(METRICS, &others.iter().map(|metric| metric_to_v1(metric, "target")).collect());
    }
    if let Some(behavior) = take(object, "spec", "behavior") {
        keep(BEHAVIOR, &behavior_to_v1(&behavior));
    }
    let filled = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    if let Some(conditions) = take(object, "status", "conditions").filter(filled) {
        keep(CONDITIONS, &conditions);
    }
    if let Some(current) = take(object, "status", "currentMetrics").filter(filled) {
        let current = current.as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(cpu) = current.iter().find(|metric| is_cpu_status(metric)) {
            object["status"]["currentCPUUtilizationPercentage"] =
                cpu["resource"]["current"]["averageUtilization"].clone();
        }
        keep(CURRENT_METRICS, &current.iter().map(|metric| metric_to_v1(metric, "current")).collect());
    }
    if let Some(annotations) = object["metadata"].get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| ![METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR].contains(&key.as_str()));
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

pub(super) fn to_v2(object: &mut Value) {
    let cpu = take(object, "spec", "targetCPUUtilizationPercentage").map(|percent| {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    });
    take(object, "status", "currentCPUUtilizationPercentage");
    let mut parsed = |key: &str| -> Option<Value> {
        let text = object["metadata"].get_mut("annotations")?.as_object_mut()?.shift_remove(key)?;
        serde_json::from_str(text.as_str()?).ok()
    };
    let (others, behavior) = (parsed(METRICS), parsed(BEHAVIOR));
    let (conditions, current) = (parsed(CONDITIONS), parsed(CURRENT_METRICS));
    let others = others.iter().filter_map(Value::as_array).flatten().map(|metric| metric_to_v2(metric, "target"));
    let metrics: Vec<Value> = others.chain(cpu).collect();
    let current = current.as_ref().and_then(Value::as_array);
    if object["metadata"]["annotations"].as_object().is_some_and(Map::is_empty) {
        take(object, "metadata", "annotations");
    }
    for (part, field, value) in [
        ("spec", "metrics", (!metrics.is_empty()).then_some(Value::Array(metrics))),
        ("spec", "behavior", behavior.as_ref().map(behavior_to_v2)),
        ("status", "conditions", conditions),
        ("status", "currentMetrics", current.map(|all| all.iter().map(|one| metric_to_v2(one, "current")).collect())),
    ] {
        if value.is_some()
            && let Some(members) = object.get_mut(part).and_then(Value::as_object_mut)
        {
            set_or_remove(members, field, value.as_ref());
        }
    }
}

/// One metric of v2 as v1 has it; `prefix` is `target` in a spec and `current` in a status.
fn metric_to_v1(metric: &Value, prefix: &str) -> Value {
    let mut out = Map::from_iter([("type".to_owned(), metric["type"].clone())]);
    for (source, fields) in SOURCES {
        let from = &metric[source];
        if from.is_null() {
            continue;
        }
        let values = &from[prefix];
        let mut to = Map::new();
        for field in fields {
            let (field, demanded) = field.strip_suffix('!').map_or((*field, false), |field| (field, true));
            let (key, value) = match field {
                "target" => ("target".to_owned(), reference(&from["describedObject"])),
                "metricName" => ("metricName".to_owned(), from["metric"]["name"].clone()),
                "selector" | "metricSelector" => (field.to_owned(), from["metric"]["selector"].clone()),
                "averageValue" => (field.to_owned(), values[field].clone()),
                "Value" => (format!("{prefix}{field}"), values["value"].clone()),
                "AverageValue" => (format!("{prefix}{field}"), values["averageValue"].clone()),
                "AverageUtilization" => (format!("{prefix}{field}"), values["averageUtilization"].clone()),
                _ => (field.to_owned(), from[field].clone()),
            };
            // Quantities of a status that are no pointers upstream are written even when they are not given.
            let zero = demanded || (prefix == "current" && is_status_quantity(source, field));
            match value {
                Value::Null if zero => _ = to.insert(key, json!("0")),
                Value::Null => {}
                value => _ = to.insert(key, value),
            }
        }
        out.insert(source.to_owned(), Value::Object(to));
    }
    Value::Object(out)
}

fn is_status_quantity(source: &str, field: &str) -> bool {
    matches!((source, field), ("resource" | "containerResource", "AverageValue") | ("external", "Value"))
}

/// A `CrossVersionObjectReference` in upstream's order.
fn reference(object: &Value) -> Value {
    let fields = ["kind", "name", "apiVersion"].into_iter().filter(|field| !object[field].is_null());
    fields.map(|field| (field.to_owned(), object[field].clone())).collect()
}

/// One metric of v1 as v2 has it.
fn metric_to_v2(metric: &Value, prefix: &str) -> Value {
    let mut out = Map::from_iter([("type".to_owned(), metric["type"].clone())]);
    for (source, fields) in SOURCES {
        let from = &metric[source];
        if from.is_null() {
            continue;
        }
        let mut to = Map::new();
        let mut named = Map::new();
        let mut values = Map::new();
        for field in fields {
            let field = field.trim_end_matches('!');
            let (into, key, value) = match field {
                "target" => (&mut to, "describedObject", &from[field]),
                "metricName" => (&mut named, "name", &from[field]),
                "selector" | "metricSelector" => (&mut named, "selector", &from[field]),
                "averageValue" => (&mut values, "averageValue", &from[field]),
                "Value" => (&mut values, "value", &from[format!("{prefix}{field}")]),
                "AverageValue" => (&mut values, "averageValue", &from[format!("{prefix}{field}")]),
                "AverageUtilization" => (&mut values, "averageUtilization", &from[format!("{prefix}{field}")]),
                _ => (&mut to, field, &from[field]),
            };
            if !value.is_null() {
                into.insert(key.to_owned(), value.clone());
            }
        }
        if !named.is_empty() {
            to.insert("metric".to_owned(), Value::Object(named));
        }
        if prefix == "target" {
            let average = values.contains_key("averageValue");
            let kind = match values.contains_key("averageUtilization") {
                true => "Utilization",
                false if average => "AverageValue",
                false => "Value",
            };
            if average {
                // A v1 object metric says its value even when it means the average.
                values.shift_remove("value");
            }
            values.insert("type".to_owned(), json!(kind));
        }
        to.insert(prefix.to_owned(), Value::Object(values));
        out.insert(source.to_owned(), Value::Object(to));
    }
    Value::Object(out)
}

/// Upstream writes its internal type, whose fields have no names for JSON but their own.
fn behavior_to_v1(behavior: &Value) -> Value {
    let policies = |rules: &Value| -> Value {
        let one = |policy: &Value| json!({ "Type": policy["type"], "Value": policy["value"], "PeriodSeconds": policy["periodSeconds"] });
        rules["policies"].as_array().map_or(Value::Null, |policies| policies.iter().map(one).collect())
    };
    let rules = |rules: &Value| match rules {
        Value::Null => Value::Null,
        rules => json!({
            "StabilizationWindowSeconds": rules["stabilizationWindowSeconds"],
            "SelectPolicy": rules["selectPolicy"],
            "Policies": policies(rules),
            "Tolerance": rules["tolerance"],
        }),
    };
    json!({ "ScaleUp": rules(&behavior["scaleUp"]), "ScaleDown": rules(&behavior["scaleDown"]) })
}

/// Names in small letters again, without what is null.
fn behavior_to_v2(behavior: &Value) -> Value {
    let small = |key: &str| -> String {
        let mut letters = key.chars();
        letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
    };
    match behavior {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            members.map(|(key, value)| (small(key), behavior_to_v2(value))).collect()
        }
        Value::Array(items) => items.iter().map(behavior_to_v2).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_nothing_is_lost() {
        let metrics = json!([
            { "type": "Resource", "resource": { "name": "memory", "target": { "type": "AverageValue", "averageValue": "1Gi" } } },
            { "type": "ContainerResource", "containerResource": {
                "name": "cpu", "container": "main", "target": { "type": "Utilization", "averageUtilization": 60 } } },
            { "type": "Pods", "pods": {
                "metric": { "name": "waiting" }, "target": { "type": "AverageValue", "averageValue": "3" } } },
            { "type": "Object", "object": {
                "describedObject": { "kind": "Service", "name": "web", "apiVersion": "v1" },
                "metric": { "name": "hits", "selector": { "matchLabels": { "a": "b" } } },
                "target": { "type": "AverageValue", "averageValue": "5" } } },
            { "type": "External", "external": { "metric": { "name": "queue" }, "target": { "type": "Value", "value": "9" } } },
        ]);
        let behavior = json!({ "scaleUp": {
            "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
            "policies": [{ "type": "Pods", "value": 4, "periodSeconds": 15 }] } });
        let v2 = json!({ "metadata": { "name": "web" }, "spec": { "metrics": metrics, "behavior": behavior }, "status": {} });
        let mut object = v2.clone();
        to_v1(&mut object);
        let annotations = &object["metadata"]["annotations"];
        let rules = "{\"ScaleUp\":{\"StabilizationWindowSeconds\":0,\"SelectPolicy\":\"Max\",\"Policies\":[{\"Type\":\"Pods\",\"Value\":4,\"PeriodSeconds\":15}],\"Tolerance\":null},\"ScaleDown\":null}";
        assert_eq!(annotations[BEHAVIOR], rules);
        let v1: Value = serde_json::from_str(annotations[METRICS].as_str().expect("text")).expect("JSON");
        let object_metric = json!({
            "target": { "kind": "Service", "name": "web", "apiVersion": "v1" }, "metricName": "hits", "targetValue": "0",
            "selector": { "matchLabels": { "a": "b" } }, "averageValue": "5" });
        assert_eq!(v1[3]["object"], object_metric);
        assert_eq!(v1[4]["external"], json!({ "metricName": "queue", "targetValue": "9" }));
        to_v2(&mut object);
        assert_eq!(object, v2);
    }
}
