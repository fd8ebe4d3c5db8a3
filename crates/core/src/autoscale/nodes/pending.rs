//! Which pending pods count.
//!
//! Upstream: `core/utils/expendable.go`, `core/podlistprocessor/{filter_out_schedulable,currently_drained_nodes}.go`,
//! `core/static_autoscaler.go`.

use std::cmp::Reverse;

use super::{
    drain::{is_daemon_set_pod, is_mirror_pod, is_static_pod},
    equivalence::are_alike,
    simulation::{Simulation, has_hard_spread},
};
use crate::autoscale::{
    keda::go_duration,
    schedule::{NodeState, Pod},
};

const SCALE_UP_DELAY: &str = "cluster-autoscaler.kubernetes.io/pod-scale-up-delay";

/// Pods of so low a priority that no node is kept or added for them.
pub fn is_expendable(pod: &Pod, cutoff: i64) -> bool {
    pod.priority.is_some_and(|priority| priority < cutoff)
}

/// Whether a node has such a pod.
pub(super) fn has_expendable(state: &NodeState, cutoff: i64) -> bool {
    (cutoff > 0 || state.has_minor()) && state.pods.iter().any(|pod| is_expendable(pod, cutoff))
}

/// Whether a pod has waited long enough: the general delay, or a longer one of its own. Of an unknown age it has.
pub fn is_old_enough(pod: &Pod, delay_s: f64) -> bool {
    let own = pod.annotations.get(SCALE_UP_DELAY).and_then(|text| go_duration(text));
    let delay = own.filter(|own| *own >= delay_s).unwrap_or(delay_s);
    pod.age_seconds.is_none_or(|age| age > delay)
}

/// Pods that will be evicted from nodes that are being drained, as if they were pending already.
pub fn evicted_soon<'a>(nodes: impl Iterator<Item = &'a NodeState>) -> Vec<Pod> {
    nodes
        .flat_map(|state| state.pods.iter())
        .filter(|pod| pod.deletion_age_seconds.is_none() && is_recreated(pod))
        .map(|pod| Pod { node: None, ..Pod::clone(pod) })
        .collect()
}

/// Whether its controller would make it anew elsewhere.
pub(super) fn is_recreated(pod: &Pod) -> bool {
    !is_static_pod(pod) && !is_mirror_pod(pod) && !is_daemon_set_pod(pod)
}

/// Indices of the pods that fit on no node of the simulation; the others are put there, important ones first.
pub fn still_pending(
    simulation: &mut Simulation,
    pods: &[Pod],
    acceptable: impl Fn(usize, &NodeState) -> bool,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pods.len()).collect();
    order.sort_by_key(|index| Reverse(pods[*index].priority.unwrap_or(0)));
    // What fits nowhere fits nowhere for those that are like it either: room only becomes less.
    let mut refused: Vec<&Pod> = Vec::new();
    order.retain(|index| {
        let pod = &pods[*index];
        let alone = has_hard_spread(pod);
        if !alone && refused.iter().any(|other| are_alike(other, pod)) {
            return true;
        }
        let is_refused = simulation.place(pod, &acceptable).is_none();
        if is_refused && !alone {
            refused.push(pod);
        }
        is_refused
    });
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_of_its_own_counts_when_it_is_longer() {
        let pod = |age, delay: &str| Pod {
            age_seconds: Some(age),
            annotations: [(SCALE_UP_DELAY.to_owned(), delay.to_owned())].into(),
            ..Pod::default()
        };
        assert!(!is_old_enough(&pod(200.0, "5m"), 60.0) && is_old_enough(&pod(301.0, "5m"), 60.0));
        assert!(is_old_enough(&pod(61.0, "5s"), 60.0) && is_old_enough(&pod(61.0, "soon"), 60.0));
    }

    #[test]
    fn only_a_stated_priority_makes_a_pod_expendable() {
        let pod = |priority| Pod { priority, ..Pod::default() };
        assert!(is_expendable(&pod(Some(-11)), -10) && !is_expendable(&pod(Some(-10)), -10));
        assert!(!is_expendable(&pod(None), 10));
    }
}
