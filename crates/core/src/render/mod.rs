//! A profile as Kubernetes objects: values in a stable order, not files.
//!
//! Owns what goes into the cluster and the order in which it goes (Argo CD sync waves). Every name that two objects
//! share comes from the profile or from one constant here.

mod app;
pub mod azure;
mod data;
mod gitops;
pub mod k6;
mod nodes;
mod object;
mod platform;
mod scaled_object;

pub use gitops::{GitSource, applications};
pub use nodes::{NodePool, POOL_LABEL, autoscaler_options, is_scale_set, node_pools};
pub use platform::{daemon_overhead, daemon_sets, platform, platform_pods};
use serde_json::Value;

use crate::profile::{Profile, Role};

/// Namespace of the demo app, Redis and Prometheus.
pub const DEMO_NAMESPACE: &str = "reliability-demo";
/// Namespace of Argo CD.
pub const ARGOCD_NAMESPACE: &str = "argocd";
/// Namespace of KEDA.
pub const KEDA_NAMESPACE: &str = "keda";
/// Namespace of dashboards.
pub const MONITORING_NAMESPACE: &str = "monitoring";
/// Image of the demo app, without its tag.
pub const APP_IMAGE: &str = "ghcr.io/democtl/reliability-demo";
/// Image of the queue and store.
pub const REDIS_IMAGE: &str = "redis:7-alpine";
/// Image of the metrics server.
pub const PROMETHEUS_IMAGE: &str = "prom/prometheus:v3";
/// Label that names the workload of a pod.
pub const WORKLOAD_LABEL: &str = "app.kubernetes.io/name";

/// What one Argo CD Application syncs.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name of the Application, and of the directory that holds its manifests.
    pub name: &'static str,
    /// Manifests in the order of their sync waves.
    pub manifests: Vec<Value>,
}

/// The namespaces, which exist before anything is synced.
pub fn namespaces() -> Vec<Value> {
    [DEMO_NAMESPACE, ARGOCD_NAMESPACE, KEDA_NAMESPACE, MONITORING_NAMESPACE].map(object::namespace).into()
}

/// What Argo CD syncs: `data` (Redis, Prometheus) and `app` (the demo's own workloads and their scaling). `version` is
/// the tag of the app's image.
pub fn parts(profile: &Profile, version: &str) -> Vec<Part> {
    let (mut data, mut app) = (vec![], vec![]);
    for workload in &profile.workloads {
        match &workload.role {
            Role::Redis => data.extend(data::redis(workload)),
            Role::Prometheus(settings) => data.extend(data::prometheus(workload, settings)),
            Role::Web(_) | Role::Worker(_) | Role::Image => app.extend(app::workload(workload, profile, version)),
        }
    }
    let mut parts = vec![Part { name: "data", manifests: data }, Part { name: "app", manifests: app }];
    for part in &mut parts {
        part.manifests.sort_by_key(object::wave);
    }
    parts.retain(|part| !part.manifests.is_empty());
    parts
}

/// Namespaces and all parts: everything of the demo, in the order in which it can be applied.
pub fn manifests(profile: &Profile, version: &str) -> Vec<Value> {
    namespaces().into_iter().chain(parts(profile, version).into_iter().flat_map(|part| part.manifests)).collect()
}
