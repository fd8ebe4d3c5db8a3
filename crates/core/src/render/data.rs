//! Redis and Prometheus: one Deployment and one Service each, Prometheus with its configuration and rights.

use serde_json::{Value, json};

use super::{APP_IMAGE, DEMO_NAMESPACE, PROMETHEUS_IMAGE, REDIS_IMAGE, object};
use crate::{
    profile::{Prometheus, Workload},
    units::format_duration,
};

const REDIS_PORT: u16 = 6379;
const PROMETHEUS_PORT: u16 = 9090;

/// Redis: queue and store, in memory. Its pod must not be evicted, or the queue is gone.
pub(super) fn redis(workload: &Workload) -> Vec<Value> {
    let image = workload.image.as_deref().unwrap_or(REDIS_IMAGE);
    let mut container = json!({
        "name": workload.name,
        "image": image,
        "ports": [{ "name": "redis", "containerPort": REDIS_PORT, "protocol": "TCP" }],
        "resources": object::resources(workload),
        "securityContext": object::hardened(),
        "readinessProbe": object::probe(&workload.probes.readiness, ("tcpSocket", json!({ "port": REDIS_PORT }))),
    });
    if image.starts_with(APP_IMAGE) {
        container["command"] = json!(["democtl"]);
        container["args"] = json!(["app", "redis"]);
    } else {
        container["args"] = json!(["--save", "", "--appendonly", "no"]);
    }
    let annotations = json!({ "cluster-autoscaler.kubernetes.io/safe-to-evict": "false" });
    let deployment = single(
        workload,
        &annotations,
        json!({
            "automountServiceAccountToken": false,
            "securityContext": object::hardened_pod(999),
            "containers": [container],
        }),
    );
    vec![object::service(workload, "ClusterIP", REDIS_PORT, REDIS_PORT, "redis"), deployment]
}

/// A Deployment of exactly one pod, replaced and never doubled.
fn single(workload: &Workload, annotations: &Value, spec: Value) -> Value {
    let mut deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": object::metadata(&workload.name, workload, 0),
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": object::selector(workload) },
            "strategy": { "type": "Recreate" },
            "template": { "metadata": { "labels": object::labels(workload), "annotations": annotations } },
        },
    });
    deployment["spec"]["template"]["spec"] = spec;
    deployment
}

/// Prometheus, which finds the demo's pods by their annotations.
pub(super) fn prometheus(workload: &Workload, settings: &Prometheus) -> Vec<Value> {
    let name = &workload.name;
    let get = |path: &str| ("httpGet", json!({ "path": path, "port": PROMETHEUS_PORT }));
    let container = json!({
        "name": name,
        "image": workload.image.as_deref().unwrap_or(PROMETHEUS_IMAGE),
        "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus", "--storage.tsdb.retention.time=6h"],
        "ports": [{ "name": "http", "containerPort": PROMETHEUS_PORT, "protocol": "TCP" }],
        "resources": object::resources(workload),
        "securityContext": object::hardened(),
        "readinessProbe": object::probe(&workload.probes.readiness, get("/-/ready")),
        "livenessProbe": object::probe(&workload.probes.liveness, get("/-/healthy")),
        "volumeMounts": [
            { "name": "config", "mountPath": "/etc/prometheus", "readOnly": true },
            { "name": "data", "mountPath": "/prometheus" },
        ],
    });
    let deployment = single(
        workload,
        &json!({}),
        json!({
            "serviceAccountName": name,
            "securityContext": object::hardened_pod(65534),
            "containers": [container],
            "volumes": [{ "name": "config", "configMap": { "name": name } }, { "name": "data", "emptyDir": {} }],
        }),
    );
    let mut objects = rights(workload);
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": object::metadata(name, workload, -1),
        "data": { "prometheus.yml": config(settings) },
    }));
    objects.push(object::service(workload, "ClusterIP", PROMETHEUS_PORT, PROMETHEUS_PORT, "http"));
    objects.push(deployment);
    objects
}

/// Reading pods of its own namespace, nothing else.
fn rights(workload: &Workload) -> Vec<Value> {
    let name = &workload.name;
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": object::metadata(name, workload, -1) }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": object::metadata(name, workload, -1),
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"] }],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": object::metadata(name, workload, -1),
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": DEMO_NAMESPACE }],
        }),
    ]
}

fn config(settings: &Prometheus) -> String {
    let interval = format_duration(settings.scrape_interval);
    format!(
        "\
global:
  scrape_interval: {interval}
  evaluation_interval: {interval}
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs:
      - role: pod
        namespaces:
          names: [{DEMO_NAMESPACE}]
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
        action: keep
        regex: \"true\"
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
        action: replace
        target_label: __metrics_path__
        regex: (.+)
      - source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
        action: replace
        target_label: __address__
        regex: ([^:]+)(?::\\d+)?;(\\d+)
        replacement: $1:$2
      - source_labels: [__meta_kubernetes_namespace]
        target_label: namespace
      - source_labels: [__meta_kubernetes_pod_name]
        target_label: pod
      - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name]
        target_label: app
"
    )
}
