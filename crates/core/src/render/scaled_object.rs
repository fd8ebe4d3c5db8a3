//! A workload's scaling as a KEDA `ScaledObject` (<https://keda.sh/docs/2.21/reference/scaledobject-spec/>).

use serde_json::{Map, Value, json};

use super::object;
use crate::profile::{Behavior, PolicyKind, Scaling, ScalingRules, Select, Trigger, Workload};

/// The `ScaledObject` of a workload; wave 2, after its Deployment.
pub(super) fn render(workload: &Workload, scaling: &Scaling) -> Value {
    let mut spec = json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name },
        "minReplicaCount": scaling.min,
        "maxReplicaCount": scaling.max,
    });
    // KEDA polls and cools down only on the way from and to zero, and warns when they are set for anything else.
    if scaling.min == 0 {
        spec["pollingInterval"] = json!(scaling.polling.as_secs());
        spec["cooldownPeriod"] = json!(scaling.cooldown.as_secs());
    }
    if let Some(behavior) = behavior(&scaling.behavior) {
        spec["advanced"] = json!({ "horizontalPodAutoscalerConfig": { "behavior": behavior } });
    }
    spec["triggers"] = scaling.triggers.iter().map(trigger).collect();
    json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": object::metadata(&workload.name, workload, 2),
        "spec": spec,
    })
}

fn behavior(behavior: &Behavior) -> Option<Value> {
    let mut directions = Map::new();
    for (name, side) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
        if let Some(side) = side {
            directions.insert(name.to_owned(), rules(side));
        }
    }
    (!directions.is_empty()).then_some(Value::Object(directions))
}

fn rules(rules: &ScalingRules) -> Value {
    let mut value = json!({});
    if let Some(window) = rules.window {
        value["stabilizationWindowSeconds"] = json!(window);
    }
    if let Some(select) = rules.select {
        value["selectPolicy"] = json!(match select {
            Select::Max => "Max",
            Select::Min => "Min",
            Select::Disabled => "Disabled",
        });
    }
    if !rules.policies.is_empty() {
        let policy = |policy: &crate::profile::Policy| {
            let kind = match policy.kind {
                PolicyKind::Pods => "Pods",
                PolicyKind::Percent => "Percent",
            };
            json!({ "type": kind, "value": policy.value, "periodSeconds": policy.period_seconds })
        };
        value["policies"] = rules.policies.iter().map(policy).collect();
    }
    value
}

/// KEDA's metadata are texts, numbers included.
fn trigger(trigger: &Trigger) -> Value {
    let utilization = |kind: &str, value: u32| json!({ "type": kind, "metricType": "Utilization", "metadata": { "value": value.to_string() } });
    match trigger {
        Trigger::Cpu { utilization: value } => utilization("cpu", *value),
        Trigger::Memory { utilization: value } => utilization("memory", *value),
        Trigger::Prometheus { name, server, query, threshold, activation } => {
            let mut value = json!({ "type": "prometheus", "metricType": "AverageValue" });
            if let Some(name) = name {
                value["name"] = json!(name);
            }
            value["metadata"] = json!({ "serverAddress": server, "query": query, "threshold": threshold.to_string() });
            if *activation > 0.0 {
                value["metadata"]["activationThreshold"] = json!(activation.to_string());
            }
            value
        }
        Trigger::Redis { address, list, length, activation } => {
            let mut metadata = json!({ "address": address, "listName": list, "listLength": length.to_string() });
            if *activation > 0 {
                metadata["activationListLength"] = json!(activation.to_string());
            }
            json!({ "type": "redis", "metricType": "AverageValue", "metadata": metadata })
        }
        Trigger::Cron { timezone, start, end, desired } => json!({
            "type": "cron",
            "metadata": { "timezone": timezone, "start": start, "end": end, "desiredReplicas": desired.to_string() },
        }),
    }
}
