//! The demo's own workloads: Deployment, Service, PodDisruptionBudget, ScaledObject.
//!
//! The environment variables are the contract with the app crate; all upper case, times in milliseconds.

use std::time::Duration;

use serde_json::{Value, json};

use super::{APP_IMAGE, DEMO_NAMESPACE, object, scaled_object};
use crate::profile::{Pattern, Profile, Role, Web, Worker, Workload};

const PORT: u16 = 8080;

/// All objects of one workload.
pub(super) fn workload(workload: &Workload, profile: &Profile, version: &str) -> Vec<Value> {
    let mut objects = vec![deployment(workload, profile, version), disruption_budget(workload)];
    if workload.priority > 0 {
        objects.push(priority_class(workload));
    }
    if matches!(workload.role, Role::Web(_)) {
        objects.push(object::service(workload, "LoadBalancer", 80, PORT, "http"));
    }
    if let Some(scaling) = &workload.scaling {
        objects.push(scaled_object::render(workload, scaling));
    }
    objects
}

fn deployment(workload: &Workload, profile: &Profile, version: &str) -> Value {
    let pod_labels = object::labels(workload);
    let mut spec = json!({
        "selector": { "matchLabels": object::selector(workload) },
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": 0 } },
        "template": {
            "metadata": { "labels": pod_labels, "annotations": scrape(workload) },
            "spec": {
                "terminationGracePeriodSeconds": workload.grace.as_secs().max(1),
                "automountServiceAccountToken": false,
                "securityContext": object::hardened_pod(65532),
                "containers": [container(workload, profile, version)],
            },
        },
    });
    if workload.priority > 0 {
        spec["template"]["spec"]["priorityClassName"] = json!(priority_class_name(workload));
    }
    // A number here would fight the autoscaler: Argo CD's self-heal would put it back after every decision.
    if workload.scaling.is_none() {
        spec["replicas"] = json!(workload.replicas);
    }
    // Who empties the queue is there, and has its room, before who fills it.
    let wave = if matches!(workload.role, Role::Web(_)) { 2 } else { 1 };
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": object::metadata(&workload.name, workload, wave),
        "spec": spec,
    })
}

fn priority_class_name(workload: &Workload) -> String {
    format!("{DEMO_NAMESPACE}-{}", workload.name)
}

/// Cluster-wide, so its name carries the namespace; before the pods that refer to it.
fn priority_class(workload: &Workload) -> Value {
    let mut metadata = object::metadata(&priority_class_name(workload), workload, -1);
    if let Some(fields) = metadata.as_object_mut() {
        fields.shift_remove("namespace");
    }
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": metadata,
        "value": workload.priority,
        "globalDefault": false,
        "description": format!("Pods of {} take the room of lesser ones when nodes are full", workload.name),
    })
}

/// The annotations by which Prometheus finds a pod; none on foreign images.
fn scrape(workload: &Workload) -> Value {
    if workload.role == Role::Image {
        return json!({});
    }
    json!({
        "prometheus.io/scrape": "true",
        "prometheus.io/port": PORT.to_string(),
        "prometheus.io/path": "/metrics",
    })
}

fn container(workload: &Workload, profile: &Profile, version: &str) -> Value {
    let image = workload.image.clone().unwrap_or_else(|| format!("{APP_IMAGE}:{version}"));
    let mut container = json!({
        "name": workload.name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": object::resources(workload),
        "securityContext": object::hardened(),
    });
    let (settings, pod) = match &workload.role {
        Role::Web(web) => (web_settings(web), "web"),
        Role::Worker(worker) => (worker_settings(worker), "worker"),
        Role::Redis | Role::Prometheus(_) | Role::Image => return container,
    };
    container["command"] = json!(["democtl"]);
    container["args"] = json!(["app", pod]);
    container["ports"] = json!([{ "name": "http", "containerPort": PORT, "protocol": "TCP" }]);
    container["env"] = environment(workload, profile, settings);
    let get = |path: &str| ("httpGet", json!({ "path": path, "port": PORT }));
    container["readinessProbe"] = object::probe(&workload.probes.readiness, get("/api/health/ready"));
    container["livenessProbe"] = object::probe(&workload.probes.liveness, get("/api/health/live"));
    container
}

/// The pod's address first, since later values refer to it; then what all roles share; then the role's own.
fn environment(workload: &Workload, profile: &Profile, settings: Vec<(&str, String)>) -> Value {
    let redis = profile.workloads.iter().find(|other| other.role == Role::Redis).map_or("redis", |w| w.name.as_str());
    let prefix = redis.to_uppercase().replace('-', "_");
    let shared = [
        ("APP_REDIS_URL", format!("redis://$({prefix}_SERVICE_HOST):$({prefix}_SERVICE_PORT)")),
        ("APP_BASE_MEMORY_BYTES", workload.base_memory.0.to_string()),
        ("APP_GRACE_MS", millis(workload.grace)),
    ];
    let plain = shared.into_iter().chain(settings).map(|(name, value)| json!({ "name": name, "value": value }));
    let pod_ip = json!({ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } });
    std::iter::once(pod_ip).chain(plain).collect()
}

fn web_settings(web: &Web) -> Vec<(&'static str, String)> {
    let pattern = match web.pattern {
        Pattern::Direct => "direct",
        Pattern::Async => "async",
    };
    vec![
        ("APP_BIND", format!("$(POD_IP):{PORT}")),
        ("APP_QUEUE", web.writes.clone()),
        ("APP_PATTERN", pattern.to_owned()),
        ("APP_CONCURRENCY", web.concurrency.to_string()),
        ("APP_QUEUE_LIMIT", web.queue.to_string()),
        ("APP_READ_ONE_MS", millis(web.read_one)),
        ("APP_READ_ALL_MS", millis(web.read_all)),
        ("APP_WRITE_MS", millis(web.write)),
        ("APP_CACHE_TTL_MS", millis(web.cache_ttl)),
        ("APP_CPU_MS_PER_REQUEST", millis(web.cpu_per_request)),
        ("APP_REQUESTS_PER_CONNECTION", web.requests_per_connection.to_string()),
    ]
}

fn worker_settings(worker: &Worker) -> Vec<(&'static str, String)> {
    vec![
        ("APP_METRICS_BIND", format!("$(POD_IP):{PORT}")),
        ("APP_QUEUE", worker.reads.clone()),
        ("APP_BATCH", worker.batch.to_string()),
        ("APP_BATCH_MS", millis(worker.batch_time)),
        ("APP_CPU_MS_PER_MESSAGE", millis(worker.cpu_per_message)),
        ("APP_MAX_RETRIES", worker.max_retries.to_string()),
    ]
}

/// Milliseconds, with a fraction only where there is one (`0.2`).
fn millis(duration: Duration) -> String {
    (duration.as_micros() as f64 / 1000.0).to_string()
}

/// One pod at a time may be taken away by a drain.
fn disruption_budget(workload: &Workload) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": object::metadata(&workload.name, workload, 1),
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": object::selector(workload) } },
    })
}
