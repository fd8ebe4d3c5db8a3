//! Which pods keep a node from being removed, and which would move.

use crate::autoscale::schedule::{Pod, Selector, matches};

/// What keeps pods where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainOptions {
    /// Pods of kube-system without a disruption budget.
    pub skip_system_pods: bool,
    /// Pods with host paths or disk-backed empty directories.
    pub skip_local_storage: bool,
}

impl Default for DrainOptions {
    /// AKS's defaults.
    fn default() -> Self {
        Self { skip_system_pods: true, skip_local_storage: false }
    }
}

/// A disruption budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// Namespace.
    pub namespace: String,
    /// Pods that it covers.
    pub selector: Option<Selector>,
    /// Disruptions that it allows now.
    pub allowed: i64,
}

/// A pod that keeps its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// Pod's name.
    pub pod: String,
    /// Upstream's reason.
    pub reason: &'static str,
}

/// What happens to a pod whose node is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movable {
    /// It is evicted and needs another node.
    Moves,
    /// It goes with its node.
    Stays,
}

const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// Judges one pod; the first rule that matches wins.
pub fn movable(pod: &Pod, budgets: &[Budget], options: DrainOptions) -> Result<Movable, Blocked> {
    let block = |reason| Err(Blocked { pod: pod.name.clone(), reason });
    let annotation = |name: &str| pod.annotations.get(name).map(String::as_str);
    let covering = || {
        budgets
            .iter()
            .filter(|budget| budget.namespace == pod.namespace && matches(budget.selector.as_ref(), &pod.labels))
    };
    if annotation("kubernetes.io/config.mirror").is_some() || is_long_terminating(pod) {
        return Ok(Movable::Stays);
    }
    if is_daemon_set_pod(pod) {
        return Ok(Movable::Stays);
    }
    if annotation(SAFE_TO_EVICT) == Some("true") {
        return Ok(Movable::Moves);
    }
    let phase = pod.phase.as_deref();
    let ends = matches!(pod.restart_policy.as_deref(), Some("Never" | "OnFailure"));
    if phase == Some("Failed") || (phase == Some("Succeeded") && ends) {
        return Ok(Movable::Stays);
    }
    if pod.owner.is_none() {
        return block("NotReplicated");
    }
    if options.skip_system_pods && pod.namespace == "kube-system" && covering().next().is_none() {
        if pod.age_seconds.is_some_and(|age| age > 3600.0) {
            return Ok(Movable::Moves);
        }
        return block("UnmovableKubeSystemPod");
    }
    if annotation(SAFE_TO_EVICT) == Some("false") {
        return block("NotSafeToEvictAnnotation");
    }
    if options.skip_local_storage && uses_local_storage(pod) {
        return block("LocalStorageRequested");
    }
    if covering().any(|budget| budget.allowed < 1) {
        return block("NotEnoughPdb");
    }
    Ok(Movable::Moves)
}

/// Whether a pod belongs to its node.
pub(super) fn is_daemon_set_pod(pod: &Pod) -> bool {
    pod.owner.as_ref().is_some_and(|owner| owner.kind == "DaemonSet")
        || pod.annotations.get("cluster-autoscaler.kubernetes.io/daemonset-pod").is_some_and(|text| text == "true")
}

/// Whether a pod should have been gone for a while.
pub(super) fn is_long_terminating(pod: &Pod) -> bool {
    let grace = pod.grace_period_seconds.unwrap_or(30) as f64;
    pod.deletion_age_seconds.is_some_and(|age| age > grace + 30.0)
}

fn uses_local_storage(pod: &Pod) -> bool {
    let safe = pod.annotations.get("cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes");
    let is_safe = |name: &str| safe.is_some_and(|list| list.split(',').any(|safe| safe == name));
    pod.volumes.iter().any(|volume| {
        let local = volume.kind == "host_path" || (volume.kind == "empty_dir" && volume.medium != "Memory");
        local && !(volume.kind == "empty_dir" && is_safe(&volume.name))
    })
}
