//! Tables, as kubectl prints them: recorded columns, and cells out of objects.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::api::{at, registry::Definition};

/// Recorded Table columns of kube-apiserver 1.33.
const COLUMNS: &str = include_str!("../../../data/columns.json");

/// Columns by `GROUP/VERSION/RESOURCE`. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Columns(Arc<BTreeMap<String, Vec<Value>>>);

impl Columns {
    pub(crate) fn load() -> Self {
        let recorded: Value = serde_json::from_str(COLUMNS).expect("the recorded columns are JSON");
        let resources = recorded["resources"].as_object().cloned().unwrap_or_default();
        let read = |(key, columns): (String, Value)| (key, columns.as_array().cloned().unwrap_or_default());
        Self(Arc::new(resources.into_iter().map(read).collect()))
    }

    /// Objects as a `meta.k8s.io/v1 Table`. `include` is `Metadata` (default), `Object` or `None`.
    pub(crate) fn table(&self, definition: &Definition, objects: &[Arc<Value>], include: &str, _accept: &str) -> Value {
        let resource = &definition.resource;
        let group = if resource.group.is_empty() { String::new() } else { format!("{}/", resource.group) };
        let key = format!("{group}{}/{}", resource.version, resource.plural);
        let columns = match self.0.get(&key) {
            Some(columns) => columns.clone(),
            None => custom_columns(definition),
        };
        let rows: Vec<Value> = objects
            .iter()
            .map(|object| {
                let cells: Vec<Value> = columns.iter().map(|column| cell(definition, column, object)).collect();
                let shown = match include {
                    "None" => Value::Null,
                    "Object" => (**object).clone(),
                    _ => json!({
                        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
                    }),
                };
                json!({ "cells": cells, "object": shown })
            })
            .collect();
        let columns: Vec<Value> = columns
            .into_iter()
            .map(|mut column| {
                if let Some(members) = column.as_object_mut() {
                    members.shift_remove("jsonPath");
                    members.entry("description").or_insert_with(|| json!(""));
                }
                column
            })
            .collect();
        let version = match objects {
            [one] => one["metadata"]["resourceVersion"].clone(),
            _ => Value::Null,
        };
        let mut table = json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows });
        if version.is_string() {
            table["metadata"]["resourceVersion"] = version;
        }
        table
    }
}

/// `additionalPrinterColumns`, with the name first; the age where none are given.
fn custom_columns(definition: &Definition) -> Vec<Value> {
    let name = json!({ "name": "Name", "type": "string", "format": "name", "priority": 0 });
    let age = json!({ "name": "Age", "type": "date", "format": "", "priority": 0, "jsonPath": ".metadata.creationTimestamp" });
    let given = definition.custom.as_ref().and_then(|custom| custom.version["additionalPrinterColumns"].as_array());
    let mut columns = vec![name];
    match given {
        Some(given) if !given.is_empty() => columns.extend(given.iter().map(|column| {
            json!({
                "name": column["name"],
                "type": column["type"],
                "format": column["format"].as_str().unwrap_or_default(),
                "priority": column["priority"].as_i64().unwrap_or(0),
                "jsonPath": column["jsonPath"],
            })
        })),
        _ => columns.push(age),
    }
    columns
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// Time since, as upstream shortens it.
fn age(time: &str) -> String {
    let Ok(at) = DateTime::parse_from_rfc3339(time) else { return "<unknown>".to_owned() };
    human_duration((Utc::now() - at.with_timezone(&Utc)).num_seconds())
}

/// `duration.HumanDuration` of apimachinery.
fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        s if s < 0 => "0s".to_owned(),
        s if s < 120 => format!("{s}s"),
        s if s < 600 && s % 60 != 0 => format!("{minutes}m{}s", s % 60),
        s if s < 10_800 => format!("{minutes}m"),
        s if s < 28_800 && minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        s if s < 172_800 => format!("{hours}h"),
        s if s < 691_200 && hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        s if s < 63_072_000 => format!("{days}d"),
        _ => format!("{}y", days / 365),
    }
}

fn cell(definition: &Definition, column: &Value, object: &Value) -> Value {
    if let Some(path) = column["jsonPath"].as_str() {
        return custom_cell(column, json_path(object, path));
    }
    let name = column["name"].as_str().unwrap_or_default();
    match name {
        "Name" => return object["metadata"]["name"].clone(),
        "Age" => return json!(age(&text(object, "/metadata/creationTimestamp"))),
        "Created At" => return object["metadata"]["creationTimestamp"].clone(),
        _ => {}
    }
    match definition.table.as_str() {
        "/pods" => pod_cell(name, object),
        "/nodes" => node_cell(name, object),
        "/services" => service_cell(name, object),
        "/events" => event_cell(name, object),
        "apps/deployments" | "apps/replicasets" | "apps/daemonsets" | "apps/statefulsets" => {
            workload_cell(name, object)
        }
        "autoscaling/horizontalpodautoscalers" => hpa_cell(name, object),
        _ => other_cell(&definition.table, name, object),
    }
}

fn custom_cell(column: &Value, found: Option<&Value>) -> Value {
    match (column["type"].as_str(), found) {
        (_, None | Some(Value::Null)) => json!(""),
        (Some("date"), Some(value)) => json!(age(value.as_str().unwrap_or_default())),
        (Some("string"), Some(value)) if !value.is_string() => json!(value.to_string()),
        (_, Some(value)) => value.clone(),
    }
}

/// The part of `JSONPath` that printer columns use: members, indices, and a filter on one member.
fn json_path<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut here = object;
    let mut rest = path.trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(filter) = rest.strip_prefix("[?(@.") {
            let (condition, after) = filter.split_once(")]")?;
            let (key, wanted) = condition.split_once("==")?;
            let wanted = wanted.trim().trim_matches(['"', '\'']);
            here = here.as_array()?.iter().find(|item| item[key.trim()] == wanted)?;
            rest = after.trim_start_matches('.');
        } else if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']')?;
            here = match index.trim_matches(['"', '\'']).parse::<usize>() {
                Ok(index) => here.get(index)?,
                Err(_) => here.get(index.trim_matches(['"', '\'']))?,
            };
            rest = after.trim_start_matches('.');
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            here = here.get(rest[..end].replace('\\', ""))?;
            rest = rest[end..].trim_start_matches('.');
        }
    }
    Some(here)
}

fn pod_cell(column: &str, pod: &Value) -> Value {
    let statuses = || list(pod, "/status/containerStatuses");
    match column {
        "Ready" => {
            let ready = statuses().filter(|status| status["ready"] == true).count();
            json!(format!("{ready}/{}", list(pod, "/spec/containers").count()))
        }
        "Status" => json!(pod_status(pod)),
        "Restarts" => {
            let restarts: i64 = statuses().map(|status| number(status, "/restartCount")).sum();
            let last = statuses().filter_map(|s| s.pointer("/lastState/terminated/finishedAt")?.as_str()).max();
            match last {
                Some(time) if restarts > 0 => json!(format!("{restarts} ({} ago)", age(time))),
                _ => json!(restarts.to_string()),
            }
        }
        "IP" => json!(or_none(text(pod, "/status/podIP"))),
        "Node" => json!(or_none(text(pod, "/spec/nodeName"))),
        "Nominated Node" => json!(or_none(text(pod, "/status/nominatedNodeName"))),
        "Readiness Gates" => json!("<none>"),
        _ => Value::Null,
    }
}

fn pod_status(pod: &Value) -> String {
    let statuses = || list(pod, "/status/containerStatuses");
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".to_owned();
    }
    let reason = text(pod, "/status/reason");
    if !reason.is_empty() {
        return reason;
    }
    for status in statuses() {
        for pointer in ["/state/waiting/reason", "/state/terminated/reason"] {
            let reason = text(status, pointer);
            if !reason.is_empty() {
                return reason;
            }
        }
    }
    or_none(text(pod, "/status/phase"))
}

fn node_cell(column: &str, node: &Value) -> Value {
    match column {
        "Status" => {
            let ready = list(node, "/status/conditions").find(|condition| condition["type"] == "Ready");
            let mut status = match ready.map(|condition| condition["status"] == "True") {
                Some(true) => "Ready".to_owned(),
                Some(false) => "NotReady".to_owned(),
                None => "Unknown".to_owned(),
            };
            if node["spec"]["unschedulable"] == true {
                status.push_str(",SchedulingDisabled");
            }
            json!(status)
        }
        "Roles" => {
            let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
            let roles: Vec<&str> = labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).collect();
            json!(or_none(roles.join(",")))
        }
        "Version" => json!(text(node, "/status/nodeInfo/kubeletVersion")),
        "Internal-IP" | "External-IP" => {
            let kind = column.replace("-IP", "IP");
            let found = list(node, "/status/addresses").find(|address| address["type"] == *kind);
            json!(or_none(found.map(|address| text(address, "/address")).unwrap_or_default()))
        }
        "OS-Image" => json!(text(node, "/status/nodeInfo/osImage")),
        "Kernel-Version" => json!(text(node, "/status/nodeInfo/kernelVersion")),
        "Container-Runtime" => json!(text(node, "/status/nodeInfo/containerRuntimeVersion")),
        _ => Value::Null,
    }
}

fn service_cell(column: &str, service: &Value) -> Value {
    match column {
        "Type" => service["spec"]["type"].clone(),
        "Cluster-IP" => json!(or_none(text(service, "/spec/clusterIP"))),
        "External-IP" => {
            let ingress: Vec<String> = list(service, "/status/loadBalancer/ingress")
                .map(|ingress| text(ingress, "/ip") + &text(ingress, "/hostname"))
                .collect();
            let pending = service["spec"]["type"] == "LoadBalancer";
            match (ingress.is_empty(), pending) {
                (false, _) => json!(ingress.join(",")),
                (true, true) => json!("<pending>"),
                (true, false) => json!("<none>"),
            }
        }
        "Port(s)" => {
            let ports: Vec<String> = list(service, "/spec/ports")
                .map(|port| {
                    let node = number(port, "/nodePort");
                    let node = if node > 0 { format!(":{node}") } else { String::new() };
                    format!("{}{node}/{}", number(port, "/port"), port["protocol"].as_str().unwrap_or("TCP"))
                })
                .collect();
            json!(or_none(ports.join(",")))
        }
        "Selector" => json!(or_none(pairs(&service["spec"]["selector"]))),
        _ => Value::Null,
    }
}

fn pairs(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect::<Vec<_>>().join(",")
}

fn event_cell(column: &str, event: &Value) -> Value {
    let last = text(event, "/lastTimestamp");
    let first = text(event, "/firstTimestamp");
    match column {
        "Last Seen" => json!(age(if last.is_empty() { &first } else { &last })),
        "First Seen" => json!(age(&first)),
        "Type" => event["type"].clone(),
        "Reason" => event["reason"].clone(),
        "Object" => {
            let kind = text(event, "/involvedObject/kind").to_lowercase();
            json!(format!("{kind}/{}", text(event, "/involvedObject/name")))
        }
        "Subobject" => json!(text(event, "/involvedObject/fieldPath")),
        "Source" => json!(text(event, "/source/component")),
        "Message" => json!(text(event, "/message").trim()),
        "Count" => json!(number(event, "/count").max(1)),
        _ => Value::Null,
    }
}

fn workload_cell(column: &str, object: &Value) -> Value {
    let kind = text(object, "/kind");
    match (kind.as_str(), column) {
        ("DaemonSet", "Desired") => json!(number(object, "/status/desiredNumberScheduled")),
        ("DaemonSet", "Current") => json!(number(object, "/status/currentNumberScheduled")),
        ("DaemonSet", "Ready") => json!(number(object, "/status/numberReady")),
        ("DaemonSet", "Up-to-date") => json!(number(object, "/status/updatedNumberScheduled")),
        ("DaemonSet", "Available") => json!(number(object, "/status/numberAvailable")),
        (_, "Node Selector") => json!(or_none(pairs(&object["spec"]["template"]["spec"]["nodeSelector"]))),
        ("ReplicaSet", "Ready") => json!(number(object, "/status/readyReplicas")),
        (_, "Ready") => {
            json!(format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas")))
        }
        (_, "Desired") => json!(number(object, "/spec/replicas")),
        (_, "Current") => json!(number(object, "/status/replicas")),
        (_, "Up-to-date") => json!(number(object, "/status/updatedReplicas")),
        (_, "Available") => json!(number(object, "/status/availableReplicas")),
        (_, "Containers" | "Images") => {
            let key = if column == "Containers" { "/name" } else { "/image" };
            let all: Vec<String> = list(object, "/spec/template/spec/containers").map(|c| text(c, key)).collect();
            json!(all.join(","))
        }
        (_, "Selector") => json!(or_none(pairs(&object["spec"]["selector"]["matchLabels"]))),
        _ => Value::Null,
    }
}

fn hpa_cell(column: &str, hpa: &Value) -> Value {
    match column {
        "Reference" => {
            json!(format!("{}/{}", text(hpa, "/spec/scaleTargetRef/kind"), text(hpa, "/spec/scaleTargetRef/name")))
        }
        "Targets" => json!(hpa_targets(hpa)),
        "MinPods" => hpa.pointer("/spec/minReplicas").cloned().unwrap_or_else(|| json!("<unset>")),
        "MaxPods" => json!(number(hpa, "/spec/maxReplicas")),
        "Replicas" => json!(number(hpa, "/status/currentReplicas")),
        _ => Value::Null,
    }
}

/// `current/target` of each metric, as upstream prints them.
fn hpa_targets(hpa: &Value) -> String {
    let specs: Vec<&Value> = list(hpa, "/spec/metrics").collect();
    let current: Vec<&Value> = list(hpa, "/status/currentMetrics").collect();
    let shown = specs.iter().take(2).enumerate().map(|(index, spec)| {
        let kind = text(spec, "/type");
        let key = kind.get(..1).map(str::to_lowercase).unwrap_or_default() + kind.get(1..).unwrap_or_default();
        let (target, now) = (&spec[&key]["target"], current.get(index).map(|metric| &metric[&key]["current"]));
        let name = text(&spec[&key], "/name");
        let prefix = if name.is_empty() { String::new() } else { format!("{name}: ") };
        let figure = |field: &str, suffix: &str| {
            let of = |value: &Value| match &value[field] {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            let wanted = of(target)?;
            let now = now.and_then(of).map_or_else(|| "<unknown>".to_owned(), |now| format!("{now}{suffix}"));
            Some((now, format!("{wanted}{suffix}")))
        };
        let (now, wanted) = figure("averageUtilization", "%")
            .or_else(|| figure("averageValue", "").map(|(now, wanted)| (now, format!("{wanted} (avg)"))))
            .or_else(|| figure("value", ""))
            .unwrap_or_else(|| ("<unknown>".to_owned(), "<auto>".to_owned()));
        format!("{prefix}{now}/{wanted}")
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if specs.len() > 2 {
        let _ = write!(text, " + {} more...", specs.len() - 2);
    }
    if text.is_empty() { "<none>".to_owned() } else { text }
}

fn other_cell(table: &str, column: &str, object: &Value) -> Value {
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    match (table, column) {
        ("/namespaces", "Status") => object["status"]["phase"].clone(),
        ("/configmaps", "Data") => json!(count("/data") + count("/binaryData")),
        ("/secrets", "Data") => json!(count("/data")),
        ("/secrets", "Type") => object["type"].clone(),
        ("/serviceaccounts", "Secrets") => json!(list(object, "/secrets").count()),
        ("/endpoints", "Endpoints") => json!(endpoints(object)),
        ("policy/poddisruptionbudgets", "Min Available") => or_not_applicable(at(object, "spec.minAvailable")),
        ("policy/poddisruptionbudgets", "Max Unavailable") => or_not_applicable(at(object, "spec.maxUnavailable")),
        ("policy/poddisruptionbudgets", "Allowed Disruptions") => json!(number(object, "/status/disruptionsAllowed")),
        ("batch/jobs", "Status") => {
            let holds =
                |kind: &&str| list(object, "/status/conditions").any(|c| c["type"] == **kind && c["status"] == "True");
            let known = ["Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"];
            json!(known.iter().find(|kind| holds(kind)).unwrap_or(&"Running"))
        }
        ("batch/jobs", "Completions") => {
            json!(format!("{}/{}", number(object, "/status/succeeded"), number(object, "/spec/completions").max(1)))
        }
        ("batch/jobs", "Duration") => json!(age(&text(object, "/status/startTime"))),
        ("scheduling.k8s.io/priorityclasses", "Value") => object["value"].clone(),
        ("coordination.k8s.io/leases", "Holder") => object["spec"]["holderIdentity"].clone(),
        ("discovery.k8s.io/endpointslices", "AddressType") => object["addressType"].clone(),
        ("discovery.k8s.io/endpointslices", "Ports") => {
            let ports: Vec<String> = list(object, "/ports").map(|port| number(port, "/port").to_string()).collect();
            json!(or_none(ports.join(",")))
        }
        ("discovery.k8s.io/endpointslices", "Endpoints") => {
            let all: Vec<String> = list(object, "/endpoints").map(|endpoint| text(endpoint, "/addresses/0")).collect();
            json!(or_none(all.join(",")))
        }
        _ => json!("<none>"),
    }
}

fn or_not_applicable(value: &Value) -> Value {
    if value.is_null() { json!("N/A") } else { json!(value.as_str().map_or_else(|| value.to_string(), Into::into)) }
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(object, "/subsets") {
        for address in list(subset, "/addresses") {
            for port in list(subset, "/ports") {
                all.push(format!("{}:{}", text(address, "/ip"), number(port, "/port")));
            }
        }
    }
    let more = all.len().saturating_sub(3);
    all.truncate(3);
    let shown = or_none(all.join(","));
    if more > 0 { format!("{shown} + {more} more...") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shortened_as_upstream_does() {
        let cases =
            [(5, "5s"), (119, "119s"), (120, "2m"), (130, "2m10s"), (700, "11m"), (7300, "121m"), (11_000, "3h3m")];
        for (seconds, text) in cases {
            assert_eq!(human_duration(seconds), text);
        }
        assert_eq!(human_duration(200_000), "2d7h");
    }

    #[test]
    fn printer_paths_are_followed() {
        let object = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }], "list": [7] } });
        let filter = r#".status.conditions[?(@.type=="Ready")].status"#;
        assert_eq!(json_path(&object, filter), Some(&json!("True")));
        assert_eq!(json_path(&object, ".status.list[0]"), Some(&json!(7)));
        assert_eq!(json_path(&object, ".spec.none"), None);
    }
}
