//! Which pods keep a node from being removed, and which would move.
//!
//! Upstream: `simulator/drainability/rules`, `utils/drain`, `utils/pod`.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use crate::autoscale::schedule::{Pod, Selector, matches};

/// What keeps pods where they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DrainOptions {
    /// Pods of kube-system without a disruption budget.
    pub skip_system_pods: bool,
    /// Pods with host paths or disk-backed empty directories.
    pub skip_local_storage: bool,
    /// Pods of controllers that upstream does not know.
    pub skip_custom_controller_pods: bool,
    /// Pods of a controller with fewer replicas than this.
    pub min_replica_count: i64,
    /// A pod of kube-system that is older than this, seconds, no longer keeps its node.
    pub system_pod_timeout_s: f64,
}

impl Default for DrainOptions {
    /// Upstream's defaults.
    fn default() -> Self {
        Self {
            skip_system_pods: true,
            skip_local_storage: true,
            skip_custom_controller_pods: true,
            min_replica_count: 0,
            system_pod_timeout_s: 3600.0,
        }
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

impl Budget {
    /// Whether the pod is one of those that it covers.
    pub fn covers(&self, pod: &Pod) -> bool {
        self.namespace == pod.namespace && matches(self.selector.as_ref(), &pod.labels)
    }
}

/// A controller that owns pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Controller {
    /// Replicas that its specification states.
    pub spec_replicas: Option<i64>,
    /// Replicas that it has.
    pub status_replicas: i64,
}

/// Controllers by kind, namespace and name.
pub type Controllers = BTreeMap<(String, String, String), Controller>;

/// What rules look at besides the pod.
#[derive(Debug, Clone, Copy)]
pub struct DrainContext<'a> {
    /// Disruption budgets.
    pub budgets: &'a [Budget],
    /// Controllers, where these can be looked up.
    pub controllers: Option<&'a Controllers>,
    /// Settings.
    pub options: DrainOptions,
}

/// What a rule says of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: the next rule decides, and after the last one the pod moves.
    Undefined,
    /// The node may go.
    DrainOk,
    /// The node may go and the pod is not moved.
    Skip,
    /// The pod keeps its node, with upstream's reason.
    Block(&'static str),
}

/// A rule.
pub type Rule = fn(&Pod, &DrainContext<'_>) -> Outcome;

/// All rules by upstream's names, in upstream's order.
pub const RULES: [(&str, Rule); 11] = [
    ("mirror", mirror),
    ("longterminating", long_terminating),
    ("replicacount", replica_count),
    ("daemonset", daemon_set),
    ("safetoevict", safe_to_evict),
    ("terminal", terminal),
    ("replicated", replicated),
    ("system", system),
    ("notsafetoevict", not_safe_to_evict),
    ("localstorage", local_storage),
    ("pdb", pdb),
];

/// What the first rule that decides says.
pub fn drainability(pod: &Pod, context: &DrainContext<'_>) -> Outcome {
    let outcomes = RULES.iter().map(|(_, rule)| rule(pod, context));
    outcomes.into_iter().find(|outcome| *outcome != Outcome::Undefined).unwrap_or(Outcome::Undefined)
}

/// A pod that keeps its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// Index of the pod.
    pub pod: usize,
    /// Upstream's reason.
    pub reason: &'static str,
}

/// Indices of a node's pods by what becomes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// They need another node.
    pub moved: Vec<usize>,
    /// They go with their node.
    pub daemon_set: Vec<usize>,
}

/// What becomes of the pods of a node.
pub fn drain<P: Borrow<Pod>>(pods: &[P], context: &DrainContext<'_>) -> Result<Drained, Blocked> {
    let mut drained = Drained::default();
    for (index, pod) in pods.iter().map(Borrow::borrow).enumerate() {
        match drainability(pod, context) {
            Outcome::Block(reason) => return Err(Blocked { pod: index, reason }),
            Outcome::Skip => {}
            Outcome::Undefined | Outcome::DrainOk if is_daemon_set_pod(pod) => drained.daemon_set.push(index),
            Outcome::Undefined | Outcome::DrainOk => drained.moved.push(index),
        }
    }
    Ok(drained)
}

const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
const SAFE_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
const DAEMON_SET_POD: &str = "cluster-autoscaler.kubernetes.io/daemonset-pod";
/// A pod that is still there so long after its grace period does not come back.
const EXTRA_TERMINATING_S: f64 = 30.0;
const DEFAULT_GRACE_S: i64 = 30;

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.annotations.get(name).map(String::as_str)
}

/// Whether a pod belongs to its node.
pub fn is_daemon_set_pod(pod: &Pod) -> bool {
    pod.owner.as_ref().is_some_and(|owner| owner.kind == "DaemonSet") || annotation(pod, DAEMON_SET_POD) == Some("true")
}

/// Whether the API only mirrors what a kubelet runs.
pub fn is_mirror_pod(pod: &Pod) -> bool {
    annotation(pod, "kubernetes.io/config.mirror").is_some()
}

/// Whether a kubelet runs it by itself.
pub fn is_static_pod(pod: &Pod) -> bool {
    annotation(pod, "kubernetes.io/config.source").is_some_and(|source| source != "api")
}

/// Whether a pod should have been gone for a while.
pub fn is_long_terminating(pod: &Pod) -> bool {
    let grace = pod.grace_period_seconds.unwrap_or(DEFAULT_GRACE_S) as f64;
    pod.deletion_age_seconds.is_some_and(|age| age > grace + EXTRA_TERMINATING_S)
}

fn when(condition: bool, outcome: Outcome) -> Outcome {
    if condition { outcome } else { Outcome::Undefined }
}

fn mirror(pod: &Pod, _: &DrainContext<'_>) -> Outcome {
    when(is_mirror_pod(pod), Outcome::Skip)
}

fn long_terminating(pod: &Pod, _: &DrainContext<'_>) -> Outcome {
    when(is_long_terminating(pod), Outcome::Skip)
}

fn replica_count(pod: &Pod, context: &DrainContext<'_>) -> Outcome {
    let (Some(controllers), Some(owner)) = (context.controllers, &pod.owner) else { return Outcome::Undefined };
    let apps = owner.api_version.starts_with("apps/");
    let looked_up = match owner.kind.as_str() {
        "ReplicationController" | "ReplicaSet" | "Job" => true,
        "DaemonSet" | "StatefulSet" => apps,
        _ => false,
    };
    if !looked_up || !context.options.skip_custom_controller_pods {
        return Outcome::Undefined;
    }
    let key = (owner.kind.clone(), pod.namespace.clone(), owner.name.clone());
    let Some(controller) = controllers.get(&key) else { return Outcome::Block("ControllerNotFound") };
    let counted = matches!(owner.kind.as_str(), "ReplicationController" | "ReplicaSet");
    let few = controller.spec_replicas.is_some_and(|replicas| replicas < context.options.min_replica_count);
    when(counted && few, Outcome::Block("MinReplicasReached"))
}

fn daemon_set(pod: &Pod, _: &DrainContext<'_>) -> Outcome {
    when(is_daemon_set_pod(pod), Outcome::DrainOk)
}

fn safe_to_evict(pod: &Pod, _: &DrainContext<'_>) -> Outcome {
    when(annotation(pod, SAFE_TO_EVICT) == Some("true"), Outcome::DrainOk)
}

fn terminal(pod: &Pod, _: &DrainContext<'_>) -> Outcome {
    let ends = matches!(pod.restart_policy.as_deref(), Some("Never" | "OnFailure"));
    let ended = match pod.phase.as_deref() {
        Some("Failed") => true,
        Some("Succeeded") => ends,
        _ => false,
    };
    when(ended, Outcome::DrainOk)
}

fn replicated(pod: &Pod, context: &DrainContext<'_>) -> Outcome {
    let known = ["ReplicationController", "Job", "ReplicaSet", "StatefulSet"];
    let unknown = match &pod.owner {
        None => true,
        Some(owner) => context.options.skip_custom_controller_pods && !known.contains(&owner.kind.as_str()),
    };
    when(unknown, Outcome::Block("NotReplicated"))
}

fn system(pod: &Pod, context: &DrainContext<'_>) -> Outcome {
    let covered = context.budgets.iter().any(|budget| budget.covers(pod));
    if !context.options.skip_system_pods || pod.namespace != "kube-system" || covered {
        return Outcome::Undefined;
    }
    if pod.age_seconds.is_some_and(|age| age > context.options.system_pod_timeout_s) {
        return Outcome::DrainOk;
    }
    Outcome::Block("UnmovableKubeSystemPod")
}

fn not_safe_to_evict(pod: &Pod, _: &DrainContext<'_>) -> Outcome {
    when(annotation(pod, SAFE_TO_EVICT) == Some("false"), Outcome::Block("NotSafeToEvictAnnotation"))
}

fn local_storage(pod: &Pod, context: &DrainContext<'_>) -> Outcome {
    let safe: Vec<&str> = annotation(pod, SAFE_VOLUMES).map(|list| list.split(',').collect()).unwrap_or_default();
    let local = pod.volumes.iter().any(|volume| match volume.kind.as_str() {
        "host_path" => !safe.contains(&volume.name.as_str()),
        "empty_dir" => volume.medium != "Memory" && !safe.contains(&volume.name.as_str()),
        _ => false,
    });
    when(context.options.skip_local_storage && local, Outcome::Block("LocalStorageRequested"))
}

fn pdb(pod: &Pod, context: &DrainContext<'_>) -> Outcome {
    let used_up = context.budgets.iter().any(|budget| budget.covers(pod) && budget.allowed < 1);
    when(used_up, Outcome::Block("NotEnoughPdb"))
}

/// Whether disruption budgets let all the pods go, and whether all of them at once.
pub fn can_remove(pods: &[&Pod], budgets: &[Budget]) -> (bool, bool) {
    let counts = budgets.iter().map(|budget| (budget.allowed, pods.iter().filter(|pod| budget.covers(pod)).count()));
    counts.filter(|(_, count)| *count > 0).fold((true, true), |(can, parallel), (allowed, count)| {
        let blocked = allowed < 1;
        (can && !blocked, parallel && !blocked && count as i64 <= allowed)
    })
}

/// Budgets from which what is given away is taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Evicted(BTreeSet<String>);

impl Evicted {
    /// Nodes that are drained by our own hand.
    pub(super) fn note(&mut self, node: &str) {
        self.0.insert(node.to_owned());
    }

    /// How many of these are being deleted still; the others are forgotten.
    pub(super) fn still(&mut self, deleting: &[String]) -> usize {
        self.0.retain(|node| deleting.contains(node));
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::schedule::{Owner, Volume};

    fn owned(kind: &str) -> Pod {
        let owner = Owner { kind: kind.into(), api_version: "apps/v1".into(), name: "o".into(), ..Owner::default() };
        Pod { name: "p".into(), namespace: "ns".into(), owner: Some(owner), ..Pod::default() }
    }

    fn judged(pod: &Pod, budgets: &[Budget], controllers: Option<&Controllers>) -> Outcome {
        let options = DrainOptions { min_replica_count: 2, ..DrainOptions::default() };
        drainability(pod, &DrainContext { budgets, controllers, options })
    }

    #[test]
    fn the_first_rule_that_decides_wins() {
        let mut pod = Pod { namespace: "kube-system".into(), ..owned("ReplicaSet") };
        assert_eq!(judged(&pod, &[], None), Outcome::Block("UnmovableKubeSystemPod"));
        pod.age_seconds = Some(3601.0);
        assert_eq!(judged(&pod, &[], None), Outcome::DrainOk);
        pod.annotations.insert("kubernetes.io/config.mirror".into(), String::new());
        assert_eq!(judged(&pod, &[], None), Outcome::Skip);
        assert_eq!(judged(&Pod::default(), &[], None), Outcome::Block("NotReplicated"));
        assert_eq!(judged(&owned("Custom"), &[], None), Outcome::Block("NotReplicated"));
        assert_eq!(judged(&owned("DaemonSet"), &[], None), Outcome::DrainOk);
    }

    #[test]
    fn a_controller_must_be_there_and_large_enough() {
        let mut controllers = Controllers::new();
        assert_eq!(judged(&owned("ReplicaSet"), &[], Some(&controllers)), Outcome::Block("ControllerNotFound"));
        let key = ("ReplicaSet".into(), "ns".into(), "o".into());
        controllers.insert(key, Controller { spec_replicas: Some(1), status_replicas: 1 });
        assert_eq!(judged(&owned("ReplicaSet"), &[], Some(&controllers)), Outcome::Block("MinReplicasReached"));
    }

    #[test]
    fn volumes_on_the_nodes_disk_and_budgets_hold_pods() {
        let volume = |medium: &str| Volume { name: "v".into(), kind: "empty_dir".into(), medium: medium.into() };
        let with = |medium| Pod { volumes: vec![volume(medium)], ..owned("ReplicaSet") };
        assert_eq!(judged(&with("Memory"), &[], None), Outcome::Undefined);
        let mut pod = with("");
        assert_eq!(judged(&pod, &[], None), Outcome::Block("LocalStorageRequested"));
        pod.annotations.insert(SAFE_VOLUMES.into(), "w,v".into());
        let budget = |allowed| [Budget { namespace: "ns".into(), selector: Some(Selector::default()), allowed }];
        assert_eq!(judged(&pod, &budget(0), None), Outcome::Block("NotEnoughPdb"));
        assert_eq!(judged(&pod, &budget(1), None), Outcome::Undefined);
        assert_eq!(can_remove(&[&pod, &pod], &budget(1)), (true, false));
    }
}
