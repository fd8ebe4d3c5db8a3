//! Preemption: which pods of lesser priority must go, and where, so that a pod fits.
//!
//! Upstream: `pkg/scheduler/framework/preemption` (<https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>).
//! `PodDisruptionBudgets` and start times, by which upstream breaks further ties, are not looked at.

use std::{cmp::Reverse, sync::Arc};

use super::{
    filters::{Code, FitOptions},
    model::Pod,
    placement::{Cluster, NodeState},
};

/// Index of the node and the pods on it that must go; none where no set of lesser pods would do.
pub fn preempt<'a>(pod: &Pod, cluster: &'a Cluster) -> Option<(usize, Vec<&'a Pod>)> {
    let answers = cluster.filter(pod);
    let resolvable =
        |node: &usize| answers[*node].as_ref().is_err_and(|refusal| refusal.code != Code::UnschedulableAndUnresolvable);
    (0..cluster.nodes.len())
        .filter(resolvable)
        .filter_map(|node| Some((node, victims(pod, &cluster.nodes[node])?)))
        .min_by_key(|(_, victims)| {
            let priorities = || victims.iter().map(|victim| priority(victim));
            (priorities().max(), priorities().sum::<i64>(), victims.len())
        })
}

/// All lesser pods leave; then as many as fit come back, the most important ones first.
fn victims<'a>(pod: &Pod, state: &'a NodeState) -> Option<Vec<&'a Pod>> {
    if state.pods.iter().all(|other| priority(other) >= priority(pod)) {
        return None;
    }
    let (lesser, stay): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
        state.pods.iter().partition(|other| priority(other) < priority(pod));
    let mut lesser: Vec<&Pod> = lesser.into_iter().map(AsRef::as_ref).collect();
    let options = FitOptions::default();
    let mut left = NodeState::sharing(state.node.clone(), stay.into_iter().cloned());
    if left.accepts(pod, &options).is_err() {
        return None;
    }
    lesser.sort_by_key(|other| Reverse(priority(other)));
    lesser.retain(|other| {
        left.put((*other).clone());
        let must_go = left.accepts(pod, &options).is_err();
        if must_go {
            left.take(left.pods.len() - 1);
        }
        must_go
    });
    Some(lesser)
}

fn priority(pod: &Pod) -> i64 {
    pod.priority.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::schedule::{Node, Resources};

    fn pod(name: &str, cpu: i64, priority: i64) -> Pod {
        let requests = Resources { cpu_milli: Some(cpu), ..Resources::default() };
        Pod { name: name.into(), containers: vec![requests], priority: Some(priority), ..Pod::default() }
    }

    fn node(name: &str, pods: Vec<Pod>) -> NodeState {
        let room = Resources { cpu_milli: Some(1000), pods: Some(10), ..Resources::default() };
        NodeState::new(Node { name: name.into(), allocatable: room, ready: Some(true), ..Node::default() }, pods)
    }

    fn names(cluster: &Cluster, cpu: i64) -> Option<(usize, Vec<&str>)> {
        let (node, victims) = preempt(&pod("new", cpu, 100), cluster)?;
        Some((node, victims.iter().map(|victim| victim.name.as_str()).collect()))
    }

    #[test]
    fn only_as_many_lesser_pods_go_as_must() {
        let pods = vec![pod("a", 400, 0), pod("b", 300, 50), pod("c", 300, 0)];
        let cluster = Cluster { nodes: vec![node("one", pods)] };
        assert_eq!(names(&cluster, 300), Some((0, vec!["c"])));
        assert_eq!(names(&cluster, 700), Some((0, vec!["a", "c"])));
    }

    #[test]
    fn the_least_important_victims_are_chosen_and_equals_stay() {
        let one = node("one", vec![pod("a", 1000, 50)]);
        let two = node("two", vec![pod("b", 1000, 10)]);
        let equal = node("three", vec![pod("c", 1000, 100)]);
        assert_eq!(names(&Cluster { nodes: vec![one, two, equal.clone()] }, 500), Some((1, vec!["b"])));
        assert_eq!(names(&Cluster { nodes: vec![equal] }, 500), None);
    }
}
