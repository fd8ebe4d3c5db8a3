//! What upstream's strategies set when an object is made or changed, after its fields have their owners.
//!
//! <https://github.com/kubernetes/kubernetes/tree/v1.33.0/pkg/registry>

use serde_json::{Value, json};

use super::disabled;
use crate::api::{
    meta::{metadata_mut, now},
    registry::Definition,
};

/// Sets the server's part of a new object.
pub(crate) fn created(definition: &Definition, object: &mut Value) {
    disabled::drop(&definition.table, object);
    match definition.table.as_str() {
        "/pods" => {
            let class = quality_of_service(&object["spec"]);
            object["status"] = json!({ "phase": "Pending", "qosClass": class });
            if object["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
                object["status"]["conditions"] = json!([{
                    "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastTransitionTime": now(),
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }]);
            }
            affinity(object);
        }
        "/persistentvolumeclaims" => {
            object["status"] = json!({ "phase": "Pending" });
            // What only the old field has is forgotten unless it was always known.
            let source = &object["spec"]["dataSource"];
            let known = [("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")];
            let is = |(group, kind)| source["apiGroup"].as_str().unwrap_or_default() == group && source["kind"] == kind;
            if object["spec"]["dataSourceRef"].is_null() && !known.into_iter().any(is) {
                object["spec"]["dataSource"] = Value::Null;
            }
            data_sources(&mut object["spec"]);
        }
        "/persistentvolumes" => object["status"] = json!({ "phase": "Pending", "lastPhaseTransitionTime": now() }),
        "/serviceaccounts" => secret_names(object),
        "batch/jobs" => job_selector(object),
        "apps/daemonsets" => template_generation(object, 1),
        "apiextensions.k8s.io/customresourcedefinitions" => {
            object["status"]["storedVersions"] = json!([]);
            store_version(object);
        }
        _ => {}
    }
}

/// The version that a definition stores its objects as is one of those that it has stored.
fn store_version(crd: &mut Value) {
    let mut versions = crd["spec"]["versions"].as_array().into_iter().flatten();
    let Some(name) = versions.find(|version| version["storage"] == true).map(|version| version["name"].clone()) else {
        return;
    };
    if let Some(stored) = crd["status"]["storedVersions"].as_array_mut().filter(|stored| !stored.contains(&name)) {
        stored.push(name);
    }
}

/// Sets the server's part of a changed object.
pub(crate) fn updated(definition: &Definition, old: &Value, new: &mut Value) {
    disabled::drop(&definition.table, new);
    match definition.table.as_str() {
        "apiextensions.k8s.io/customresourcedefinitions" if old["spec"] != new["spec"] => store_version(new),
        "apps/daemonsets" => {
            let known = old["metadata"]["annotations"][TEMPLATE_GENERATION].as_str().and_then(|text| text.parse().ok());
            let changed = i64::from(old["spec"]["template"] != new["spec"]["template"]);
            template_generation(new, known.unwrap_or(1) + changed);
        }
        "/pods" if new["status"]["qosClass"].is_null() && new["status"].is_object() => {
            new["status"]["qosClass"] = old["status"]["qosClass"].clone();
        }
        "/persistentvolumeclaims" => data_sources(&mut new["spec"]),
        "/serviceaccounts" => secret_names(new),
        _ => {}
    }
}

/// An account names its secrets, and says no more of them.
fn secret_names(object: &mut Value) {
    for secret in object["secrets"].as_array_mut().into_iter().flatten() {
        *secret = json!({ "name": secret["name"] });
    }
}

/// The old and the new field for what a claim is made from say the same.
fn data_sources(spec: &mut Value) {
    let (old, new) = (spec["dataSource"].clone(), spec["dataSourceRef"].clone());
    if new.is_null() && !old.is_null() {
        spec["dataSourceRef"] = old;
    } else if old.is_null() && !new.is_null() && new["namespace"].is_null() {
        spec["dataSource"] = new;
    }
}

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(object: &mut Value, generation: i64) {
    let annotations = metadata_mut(object).entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(TEMPLATE_GENERATION.to_owned(), json!(generation.to_string()));
        annotations.sort_keys();
    }
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
pub(super) fn quality_of_service(spec: &Value) -> &'static str {
    let containers =
        ["containers", "initContainers"].into_iter().flat_map(|list| spec[list].as_array().into_iter().flatten());
    let (mut guaranteed, mut best_effort) = (true, true);
    for container in containers {
        for resource in ["cpu", "memory"] {
            let given = |kind: &str| container["resources"][kind][resource].as_str().filter(|amount| *amount != "0");
            let (request, limit) = (given("requests"), given("limits"));
            best_effort &= request.is_none() && limit.is_none();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (best_effort, guaranteed) {
        (true, _) => "BestEffort",
        (_, true) => "Guaranteed",
        _ => "Burstable",
    }
}

/// Terms select by those labels of the pod itself that they name by key.
fn affinity(object: &mut Value) {
    let labels = object["metadata"]["labels"].clone();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = object["spec"]["affinity"].get_mut(kind).and_then(Value::as_object_mut) else { continue };
        for (list, weighted) in [
            ("preferredDuringSchedulingIgnoredDuringExecution", true),
            ("requiredDuringSchedulingIgnoredDuringExecution", false),
        ] {
            for term in affinity.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                let term = if weighted { &mut term["podAffinityTerm"] } else { term };
                if term["labelSelector"].is_object() {
                    select_by_keys(term, &labels);
                }
            }
        }
    }
}

fn select_by_keys(term: &mut Value, labels: &Value) {
    let mut expressions = term["labelSelector"]["matchExpressions"].as_array().cloned().unwrap_or_default();
    for (keys, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in term[keys].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if let Some(value) = labels.get(key) {
                expressions.push(json!({ "key": key, "operator": operator, "values": [value] }));
            }
        }
    }
    term["labelSelector"]["matchExpressions"] = json!(expressions);
}

/// A job selects its pods by its own uid, unless it says otherwise.
fn job_selector(object: &mut Value) {
    if object["spec"]["manualSelector"] == true {
        return;
    }
    let (uid, name) = (object["metadata"]["uid"].clone(), object["metadata"]["name"].clone());
    let same = object["metadata"]["labels"] == object["spec"]["template"]["metadata"]["labels"];
    let labels = &mut object["spec"]["template"]["metadata"]["labels"];
    if !labels.is_object() {
        *labels = json!({});
    }
    for (key, value) in [("controller-uid", &uid), ("job-name", &name)] {
        for key in [key.to_owned(), format!("batch.kubernetes.io/{key}")] {
            if labels[key.as_str()].is_null() {
                labels[key] = value.clone();
            }
        }
    }
    if let Some(labels) = labels.as_object_mut() {
        labels.sort_keys();
    }
    // A job that took its labels from its template shares them with it.
    if same {
        object["metadata"]["labels"] = labels.clone();
    }
    object["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = uid;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let spec = |resources: Value| json!({ "containers": [{ "resources": resources }] });
        let both = json!({ "cpu": "1", "memory": "1Gi" });
        let rows = [
            (json!({}), "BestEffort"),
            (json!({ "requests": { "cpu": "1" } }), "Burstable"),
            (json!({ "requests": both, "limits": both }), "Guaranteed"),
            (json!({ "requests": { "cpu": "500m", "memory": "1Gi" }, "limits": both }), "Burstable"),
        ];
        for (resources, wanted) in rows {
            assert_eq!(quality_of_service(&spec(resources)), wanted);
        }
    }
}
