//! How many new nodes of one shape a set of pods needs: upstream's binpacking estimator.

use crate::autoscale::schedule::{FitOptions, Node, NodeState, Pod};

/// What an estimate came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimate {
    /// New nodes that hold a pod.
    pub nodes: u32,
    /// Indices of the pods that found a place.
    pub pods: Vec<usize>,
}

/// Packs pods on new nodes, the largest first; `limit` is the most nodes that may be added.
pub fn estimate(template: &Node, pods: &[&Pod], limit: u32) -> Estimate {
    let options = FitOptions::default();
    let mut order: Vec<usize> = (0..pods.len()).collect();
    let score = |pod: &Pod| {
        let request = pod.requests(true);
        let share = |asked: Option<i64>, has: Option<i64>| match has {
            Some(has) if has > 0 => asked.unwrap_or(0) as f64 / has as f64,
            _ => 0.0,
        };
        share(request.cpu_milli, template.allocatable.cpu_milli)
            + share(request.memory_bytes, template.allocatable.memory_bytes)
    };
    order.sort_by(|a, b| score(pods[*b]).total_cmp(&score(pods[*a])));
    let mut nodes: Vec<NodeState> = Vec::new();
    let mut placed = Vec::new();
    let mut next = 0;
    for index in order {
        let pod = pods[index];
        let count = nodes.len();
        let found = (0..count).map(|step| (next + step) % count).find(|at| nodes[*at].accepts(pod, &options).is_ok());
        if let Some(at) = found {
            nodes[at].put(pod.clone());
            next = (at + 1) % count;
        } else {
            // A node that stayed empty cannot take this pod, nor could another one.
            if count as u32 >= limit || nodes.last().is_some_and(|node| node.pods.is_empty()) {
                continue;
            }
            let mut node = NodeState::new(template.clone(), Vec::new());
            if node.accepts(pod, &options).is_err() {
                continue;
            }
            node.put(pod.clone());
            nodes.push(node);
        }
        placed.push(index);
    }
    placed.sort_unstable();
    Estimate { nodes: nodes.len() as u32, pods: placed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::schedule::Resources;

    fn node(cpu: i64) -> Node {
        let allocatable = Resources { cpu_milli: Some(cpu), pods: Some(110), ..Resources::default() };
        Node { allocatable, ..Node::default() }
    }

    fn pod(cpu: i64) -> Pod {
        Pod { containers: vec![Resources { cpu_milli: Some(cpu), ..Resources::default() }], ..Pod::default() }
    }

    #[test]
    fn pods_share_nodes_as_far_as_they_fit() {
        let pods: Vec<Pod> = (0..7).map(|_| pod(500)).collect();
        let pods: Vec<&Pod> = pods.iter().collect();
        assert_eq!(estimate(&node(2000), &pods, 10), Estimate { nodes: 2, pods: (0..7).collect() });
        assert_eq!(estimate(&node(2000), &pods, 1).pods.len(), 4);
    }

    #[test]
    fn a_pod_larger_than_a_node_needs_none() {
        assert_eq!(estimate(&node(2000), &[&pod(4000)], 10), Estimate::default());
    }
}
