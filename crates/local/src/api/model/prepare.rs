//! What upstream's strategies set when an object is made or changed, after its fields have their owners.
//!
//! <https://github.com/kubernetes/kubernetes/tree/v1.33.0/pkg/registry>

use serde_json::{Value, json};

use crate::api::{
    meta::{metadata_mut, now, set_or_remove},
    registry::Definition,
};

/// Sets the server's part of a new object.
pub(crate) fn created(definition: &Definition, object: &mut Value) {
    match definition.table.as_str() {
        "/pods" => {
            let class = quality_of_service(&object["spec"]);
            object["status"] = json!({ "phase": "Pending", "qosClass": class });
        }
        "/persistentvolumeclaims" => {
            object["status"] = json!({ "phase": "Pending" });
            data_sources(&mut object["spec"]);
        }
        "/persistentvolumes" => {
            object["status"] = json!({ "phase": "Pending", "lastPhaseTransitionTime": now() });
        }
        "batch/jobs" => job_selector(object),
        "apps/daemonsets" => template_generation(object, 1),
        "apiextensions.k8s.io/customresourcedefinitions" => {
            let versions = object["spec"]["versions"].as_array().into_iter().flatten();
            let stored: Vec<Value> =
                versions.filter(|version| version["storage"] == true).map(|version| version["name"].clone()).collect();
            object["status"]["storedVersions"] = json!(stored);
        }
        _ => {}
    }
}

/// Sets the server's part of a changed object.
pub(crate) fn updated(definition: &Definition, old: &Value, new: &mut Value) {
    if definition.table == "/services" {
        service_type(&old["spec"], &mut new["spec"]);
    }
    if definition.table == "apps/daemonsets" {
        let known = old["metadata"]["annotations"][TEMPLATE_GENERATION].as_str().and_then(|text| text.parse().ok());
        let changed = i64::from(old["spec"]["template"] != new["spec"]["template"]);
        template_generation(new, known.unwrap_or(1) + changed);
    }
}

/// Both members that name where a claim's data comes from say the same; the older one knows claims and snapshots only.
fn data_sources(spec: &mut Value) {
    let old = &spec["dataSource"];
    let (group, kind) = (old["apiGroup"].as_str().unwrap_or_default(), old["kind"].as_str().unwrap_or_default());
    let known = [("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")];
    let taken = old.is_object() && known.contains(&(group, kind));
    if let Some(members) = spec.as_object_mut() {
        if !taken {
            members.shift_remove("dataSource");
        }
        let (old, new) = (members.get("dataSource").cloned(), members.get("dataSourceRef").cloned());
        match (old, new) {
            (Some(old), None) => set_or_remove(members, "dataSourceRef", Some(&old)),
            (None, Some(new)) if new["namespace"].is_null() => set_or_remove(members, "dataSource", Some(&new)),
            _ => {}
        }
    }
}

/// What goes with a Service's type goes with it.
fn service_type(old: &Value, new: &mut Value) {
    let outside = |spec: &Value| matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"));
    let balanced = |spec: &Value| spec["type"] == "LoadBalancer";
    let (mut gone, mut ports) = (Vec::new(), false);
    if outside(old) && !outside(new) {
        ports = old["ports"] == new["ports"];
        gone.push("externalTrafficPolicy");
    }
    if balanced(old) && !balanced(new) {
        gone.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"]);
    }
    let Some(members) = new.as_object_mut() else { return };
    gone.retain(|key| members.get(*key) == old.get(*key));
    for key in gone {
        members.shift_remove(key);
    }
    for port in members.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().filter(|_| ports) {
        if let Some(port) = port.as_object_mut() {
            port.shift_remove("nodePort");
        }
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
    if object["spec"]["selector"].is_null() {
        object["spec"]["selector"] = json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } });
    }
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
