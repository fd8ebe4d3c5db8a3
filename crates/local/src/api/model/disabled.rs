//! Fields whose feature gates are closed by default in 1.33: who sets them is not told, and they are not kept.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/features/kube_features.go>

use serde_json::Value;

/// Fields of a kind, by paths; `*` is every item of a list.
const OF_KINDS: [(&str, &[&str]); 9] = [
    ("/persistentvolumeclaims", &["spec.volumeAttributesClassName", "spec.dataSourceRef.namespace"]),
    ("/persistentvolumes", &["spec.volumeAttributesClassName"]),
    ("/nodes", &["status.features"]),
    ("apps/statefulsets", &["spec.updateStrategy.rollingUpdate.maxUnavailable"]),
    ("apps/deployments", &["status.terminatingReplicas"]),
    ("autoscaling/horizontalpodautoscalers", &["spec.behavior.scaleUp.tolerance", "spec.behavior.scaleDown.tolerance"]),
    ("coordination.k8s.io/leases", &["spec.strategy", "spec.preferredHolder"]),
    ("discovery.k8s.io/endpointslices", &["endpoints.*.deprecatedTopology", "endpoints.*.hints.forNodes"]),
    ("storage.k8s.io/csidrivers", &["spec.nodeAllocatableUpdatePeriodSeconds"]),
];

/// Fields of pods, below their spec.
const OF_PODS: [&str; 9] = [
    "resources",
    "resourceClaims",
    "volumes.*.image",
    "volumes.*.projected.sources.*.clusterTrustBundle",
    "containers.*.resources.claims",
    "containers.*.lifecycle.stopSignal",
    "initContainers.*.resources.claims",
    "initContainers.*.lifecycle.stopSignal",
    "ephemeralContainers.*.lifecycle.stopSignal",
];

/// Where kinds have pods.
const PODS: [(&str, &str); 9] = [
    ("/pods", "spec"),
    ("/podtemplates", "template.spec"),
    ("/replicationcontrollers", "spec.template.spec"),
    ("apps/deployments", "spec.template.spec"),
    ("apps/replicasets", "spec.template.spec"),
    ("apps/statefulsets", "spec.template.spec"),
    ("apps/daemonsets", "spec.template.spec"),
    ("batch/jobs", "spec.template.spec"),
    ("batch/cronjobs", "spec.jobTemplate.spec.template.spec"),
];

/// Takes these fields out of an object.
pub(super) fn drop(table: &str, object: &mut Value) {
    for path in OF_KINDS.iter().filter(|(kind, _)| *kind == table).flat_map(|(_, paths)| *paths) {
        remove(object, path);
    }
    let Some((_, spec)) = PODS.iter().find(|(kind, _)| *kind == table) else { return };
    let spec = spec.split('.').try_fold(object, |at, part| at.get_mut(part));
    if let Some(spec) = spec {
        for path in OF_PODS {
            remove(spec, path);
        }
    }
}

fn remove(object: &mut Value, path: &str) {
    match (path.split_once('.'), object) {
        (Some(("*", rest)), Value::Array(items)) => items.iter_mut().for_each(|item| remove(item, rest)),
        (Some((part, rest)), Value::Object(members)) => {
            if let Some(inner) = members.get_mut(part) {
                remove(inner, rest);
            }
        }
        (None, Value::Object(members)) => _ = members.shift_remove(path),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn closed_gates_drop_their_fields() {
        let mut object = json!({ "spec": { "template": { "spec": {
            "resources": {}, "containers": [{ "name": "a", "lifecycle": { "stopSignal": "SIGTERM" } }] } } } });
        drop("apps/statefulsets", &mut object);
        assert_eq!(object["spec"]["template"]["spec"], json!({ "containers": [{ "name": "a", "lifecycle": {} }] }));
        let mut slice = json!({ "endpoints": [{ "deprecatedTopology": {}, "zone": "z" }] });
        drop("discovery.k8s.io/endpointslices", &mut slice);
        assert_eq!(slice, json!({ "endpoints": [{ "zone": "z" }] }));
    }
}
