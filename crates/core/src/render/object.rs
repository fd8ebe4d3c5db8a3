//! The pieces that all objects share: metadata, sync waves, resources, probes, hardening.

use serde_json::{Value, json};

use super::{DEMO_NAMESPACE, WORKLOAD_LABEL};
use crate::profile::{Probe, Resources, Workload};

const WAVE: &str = "argocd.argoproj.io/sync-wave";

/// A namespace; wave -2.
pub(super) fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": name, "labels": { "app.kubernetes.io/part-of": DEMO_NAMESPACE }, "annotations": { WAVE: "-2" } },
    })
}

/// Labels of a workload's objects.
pub(super) fn labels(workload: &Workload) -> Value {
    json!({
        WORKLOAD_LABEL: workload.name,
        "app.kubernetes.io/component": workload.role.name(),
        "app.kubernetes.io/part-of": DEMO_NAMESPACE,
        "app.kubernetes.io/managed-by": "democtl",
    })
}

/// Metadata of an object that belongs to a workload, in the demo's namespace.
pub(super) fn metadata(name: &str, workload: &Workload, wave: i32) -> Value {
    json!({
        "name": name,
        "namespace": DEMO_NAMESPACE,
        "labels": labels(workload),
        "annotations": { WAVE: wave.to_string() },
    })
}

/// The sync wave of an object; 0 when it does not say.
pub(super) fn wave(object: &Value) -> i32 {
    object["metadata"]["annotations"][WAVE].as_str().and_then(|wave| wave.parse().ok()).unwrap_or(0)
}

/// The selector of a workload's pods.
pub(super) fn selector(workload: &Workload) -> Value {
    json!({ WORKLOAD_LABEL: workload.name })
}

/// A Service of a workload.
pub(super) fn service(workload: &Workload, kind: &str, port: u16, target: u16, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(&workload.name, workload, 0),
        "spec": {
            "type": kind,
            "selector": selector(workload),
            "ports": [{ "name": name, "port": port, "targetPort": target, "protocol": "TCP" }],
        },
    })
}

/// Requests and limits.
pub(super) fn resources(workload: &Workload) -> Value {
    let side = |side: &Resources| json!({ "cpu": side.cpu.to_string(), "memory": side.memory.to_string() });
    json!({ "requests": side(&workload.requests), "limits": side(&workload.limits) })
}

/// A probe around its handler, such as `httpGet`.
pub(super) fn probe(probe: &Probe, handler: (&str, Value)) -> Value {
    let mut value = json!({
        "initialDelaySeconds": probe.initial_delay.as_secs(),
        "periodSeconds": probe.period.as_secs(),
        "timeoutSeconds": probe.timeout.as_secs(),
        "failureThreshold": probe.failure_threshold,
    });
    value[handler.0] = handler.1;
    value
}

/// The restricted pod security standard, for the container.
pub(super) fn hardened() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
    })
}

/// The restricted pod security standard, for the pod.
pub(super) fn hardened_pod(user: u32) -> Value {
    json!({ "runAsNonRoot": true, "runAsUser": user, "seccompProfile": { "type": "RuntimeDefault" } })
}
