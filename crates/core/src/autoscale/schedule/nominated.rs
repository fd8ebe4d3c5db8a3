//! Room that is being made for a pod is held for it: until it is placed, pods of no greater priority cannot take it.
//!
//! Upstream: `RunFilterPluginsWithNominatedPods`, which filters a node with the pods that are nominated to it
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#user-exposed-information>).

use super::{Cluster, Pod};

/// The nominated pods of one round over waiting pods, which must be gone through by falling priority.
#[derive(Debug)]
pub struct Nominated {
    /// Those whose room is not held yet, the least important first.
    later: Vec<Pod>,
    /// Those whose room is held: node, namespace and name.
    held: Vec<(usize, String, String)>,
}

impl Nominated {
    /// Of pods that wait.
    pub fn new<'a>(waiting: impl IntoIterator<Item = &'a Pod>) -> Self {
        let mut later: Vec<Pod> = waiting.into_iter().filter(|pod| pod.nominated_node.is_some()).cloned().collect();
        later.sort_by_key(|pod| pod.priority.unwrap_or(0));
        Self { later, held: Vec::new() }
    }

    /// Before a pod is placed: others of its priority or a greater one hold their room, it does not hold its own.
    pub fn before(&mut self, cluster: &mut Cluster, pod: &Pod) {
        while let Some(next) = self.later.pop_if(|next| next.priority.unwrap_or(0) >= pod.priority.unwrap_or(0)) {
            let node = next.nominated_node.clone().unwrap_or_default();
            self.hold(cluster, &next, &node);
        }
        let same = |(_, namespace, name): &(usize, String, String)| *namespace == pod.namespace && *name == pod.name;
        if let Some(index) = self.held.iter().position(same) {
            let held = self.held.swap_remove(index);
            release(cluster, &held);
        }
    }

    /// Room is being made on a node for a pod that was not placed.
    pub fn hold(&mut self, cluster: &mut Cluster, pod: &Pod, node: &str) {
        let Some(index) = cluster.nodes.iter().position(|state| state.node.name == node) else { return };
        cluster.nodes[index].put(pod.clone());
        self.held.push((index, pod.namespace.clone(), pod.name.clone()));
    }

    /// The round is over: the nodes have only those pods that are on them.
    pub fn end(self, cluster: &mut Cluster) {
        for held in &self.held {
            release(cluster, held);
        }
    }
}

fn release(cluster: &mut Cluster, (node, namespace, name): &(usize, String, String)) {
    let state = &mut cluster.nodes[*node];
    if let Some(index) = state.pods.iter().rposition(|pod| pod.namespace == *namespace && pod.name == *name) {
        state.take(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::schedule::{Node, NodeState, Resources, preempt};

    fn pod(name: &str, cpu: i64, priority: i64) -> Pod {
        let requests = Resources { cpu_milli: Some(cpu), ..Resources::default() };
        Pod { name: name.into(), containers: vec![requests], priority: Some(priority), ..Pod::default() }
    }

    fn one_node(pods: Vec<Pod>) -> Cluster {
        let room = Resources { cpu_milli: Some(1000), pods: Some(10), ..Resources::default() };
        let node = Node { name: "one".into(), allocatable: room, ready: Some(true), ..Node::default() };
        Cluster { nodes: vec![NodeState::new(node, pods)] }
    }

    fn fits(cluster: &Cluster, pod: &Pod) -> bool {
        cluster.filter(pod)[0].is_ok()
    }

    #[test]
    fn lesser_and_equal_pods_cannot_take_the_room_and_greater_ones_can() {
        let first = Pod { nominated_node: Some("one".into()), ..pod("first", 800, 100) };
        let mut cluster = one_node(Vec::new());
        for (other, takes) in
            [(pod("greater", 800, 200), true), (pod("equal", 800, 100), false), (pod("lesser", 300, 0), false)]
        {
            let mut nominated = Nominated::new([&first, &other]);
            nominated.before(&mut cluster, &other);
            assert_eq!(fits(&cluster, &other), takes, "{}", other.name);
            nominated.end(&mut cluster);
        }
        let mut nominated = Nominated::new([&first]);
        nominated.before(&mut cluster, &first);
        assert!(fits(&cluster, &first), "its own room");
        assert_eq!(cluster.nodes[0].pods.len(), 0);
    }

    #[test]
    fn one_victim_makes_room_for_one_pod() {
        let (first, second) = (pod("first", 800, 100), pod("second", 800, 100));
        let mut cluster = one_node(vec![pod("victim", 800, 0)]);
        let mut nominated = Nominated::new([]);
        nominated.before(&mut cluster, &first);
        assert!(preempt(&first, &cluster).is_some());
        nominated.hold(&mut cluster, &first, "one");
        nominated.before(&mut cluster, &second);
        assert_eq!(preempt(&second, &cluster), None, "the victim goes for the first");
        nominated.end(&mut cluster);
        assert_eq!(cluster.nodes[0].pods.len(), 1);
    }
}
