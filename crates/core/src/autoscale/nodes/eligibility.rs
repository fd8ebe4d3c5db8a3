//! Which nodes may be looked at for scale-down: used little, not marked, in a group.
//!
//! Upstream: `core/scaledown/eligibility/eligibility.go`, `simulator/utilization/info.go`.

use super::{
    drain::{is_daemon_set_pod, is_long_terminating, is_mirror_pod},
    readiness::is_ready,
};
use crate::autoscale::schedule::{NodeState, Resources, Taint};

/// The taint of a node that is being deleted; its value is the time in Unix seconds.
pub const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
const DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
/// A taint older than this was left behind.
const MARKED_FOR_S: f64 = 300.0;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EligibilityOptions {
    /// At most this share of requests makes a node a candidate.
    pub utilization_threshold: f64,
    /// Pods of daemon sets do not count.
    pub ignore_daemon_sets: bool,
    /// Mirror pods do not count.
    pub ignore_mirror_pods: bool,
    /// Nodes that are not ready are candidates.
    pub unready_enabled: bool,
}

impl Default for EligibilityOptions {
    fn default() -> Self {
        Self { utilization_threshold: 0.5, ignore_daemon_sets: false, ignore_mirror_pods: false, unready_enabled: true }
    }
}

/// The greater share of CPU or memory that pods request; none when the node does not state what it has.
pub fn utilization(state: &NodeState, options: EligibilityOptions) -> Option<f64> {
    // What is on the node, less what does not count: most nodes have no such pod.
    let (mut used, mut excluded) = (state.used().clone(), Resources::default());
    let some_do_not = options.ignore_daemon_sets || options.ignore_mirror_pods || state.has_ending();
    for pod in state.pods.iter().filter(|_| some_do_not) {
        let ignored = (options.ignore_daemon_sets && is_daemon_set_pod(pod))
            || (options.ignore_mirror_pods && is_mirror_pod(pod));
        let leaves = is_long_terminating(pod);
        if leaves || ignored {
            used.subtract(&pod.requests(true));
        }
        if ignored && !leaves {
            excluded.add(&pod.requests(true));
        }
    }
    let share = |name: &str| {
        let has = state.node.allocatable.get(name).filter(|has| *has > 0)?;
        let room = has - excluded.get(name).unwrap_or(0);
        Some(used.get(name).unwrap_or(0) as f64 / room as f64)
    };
    Some(share("cpu")?.max(share("memory")?))
}

/// The share of a candidate, or upstream's reason why it is none. `unix_s` is now by the clock of the taints.
pub fn eligible(
    state: &NodeState,
    in_group: bool,
    options: EligibilityOptions,
    unix_s: f64,
) -> Result<f64, &'static str> {
    if is_marked(&state.node.taints, unix_s) {
        return Err("CurrentlyBeingDeleted");
    }
    if is_disabled(state) {
        return Err("ScaleDownDisabledAnnotation");
    }
    if !in_group {
        return Err("NotAutoscaled");
    }
    let Some(utilization) = utilization(state, options) else { return Err("UnexpectedError") };
    if !is_ready(&state.node) && !options.unready_enabled {
        return Err("ScaleDownUnreadyDisabled");
    }
    if utilization > options.utilization_threshold {
        return Err("NotUnderutilized");
    }
    Ok(utilization)
}

/// Whether people forbade the node's removal.
pub(super) fn is_disabled(state: &NodeState) -> bool {
    state.node.annotations.get(DISABLED).is_some_and(|text| text == "true")
}

fn is_marked(taints: &[Taint], unix_s: f64) -> bool {
    let marked = taints.iter().find(|taint| taint.key == TO_BE_DELETED);
    marked.and_then(|taint| taint.value.parse::<f64>().ok()).is_some_and(|at| unix_s - at < MARKED_FOR_S)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::schedule::{Node, Owner, Pod};

    fn state(cpu: i64) -> NodeState {
        let amounts = |cpu| Resources { cpu_milli: Some(cpu), memory_bytes: Some(1000), ..Resources::default() };
        let request = Resources { memory_bytes: Some(0), ..amounts(cpu) };
        let owner = Owner { kind: "DaemonSet".into(), ..Owner::default() };
        let pod = Pod { containers: vec![request], owner: Some(owner), ..Pod::default() };
        let node = Node { allocatable: amounts(1000), ready: Some(true), ..Node::default() };
        NodeState::new(node, vec![pod])
    }

    #[test]
    fn a_node_at_the_threshold_is_a_candidate() {
        let judge = |cpu| eligible(&state(cpu), true, EligibilityOptions::default(), 0.0);
        assert_eq!((judge(500), judge(501)), (Ok(0.5), Err("NotUnderutilized")));
        assert_eq!(eligible(&state(0), false, EligibilityOptions::default(), 0.0), Err("NotAutoscaled"));
    }

    #[test]
    fn what_is_ignored_makes_the_node_smaller() {
        let options = EligibilityOptions { ignore_daemon_sets: true, ..EligibilityOptions::default() };
        let mut state = state(600);
        let request = Resources { cpu_milli: Some(100), ..Resources::default() };
        state.put(Pod { containers: vec![request], ..Pod::default() });
        assert_eq!(utilization(&state, options), Some(0.25));
    }

    #[test]
    fn an_old_mark_does_not_count() {
        let mut state = state(0);
        let taint = |at: &str| Taint { key: TO_BE_DELETED.into(), value: at.into(), effect: "NoSchedule".into() };
        state.node_mut().taints = vec![taint("1000")];
        let judge = |now| eligible(&state, true, EligibilityOptions::default(), now);
        assert_eq!((judge(1299.0), judge(1300.0)), (Err("CurrentlyBeingDeleted"), Ok(0.0)));
    }
}
