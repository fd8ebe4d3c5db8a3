//! How many new nodes of one shape a set of pods needs: upstream's binpacking estimator.
//!
//! Upstream: `estimator/{binpacking_estimator,decreasing_pod_orderer}.go`.

use std::collections::BTreeSet;

use super::{
    limits::Limiter,
    simulation::{Simulation, has_hard_spread, is_spread},
};
use crate::autoscale::schedule::{NodeState, Pod};

const HOSTNAME: &str = "kubernetes.io/hostname";

/// What an estimate came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimate {
    /// New nodes that hold a pod. As upstream does, a node that is there already counts too when a pod that is spread
    /// over hosts goes to it.
    pub nodes: u32,
    /// Group and index in it of each pod that found a place.
    pub pods: Vec<(usize, usize)>,
}

/// The order in which groups are packed: those whose first pod needs most of a node come first.
pub fn order(template: &NodeState, groups: &[Vec<&Pod>]) -> Vec<usize> {
    let allocatable = &template.node.allocatable;
    let score = |group: &Vec<&Pod>| {
        let request = group.first().map(|pod| pod.requests(true)).unwrap_or_default();
        let share = |asked: Option<i64>, has: Option<i64>| match has {
            Some(has) if has > 0 => asked.unwrap_or(0) as f64 / has as f64,
            _ => 0.0,
        };
        share(request.cpu_milli, allocatable.cpu_milli) + share(request.memory_bytes, allocatable.memory_bytes)
    };
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by(|a, b| score(&groups[*b]).total_cmp(&score(&groups[*a])));
    order
}

/// Packs groups of like pods on new nodes beside those of `existing`.
pub fn estimate(
    template: &NodeState,
    groups: &[Vec<&Pod>],
    existing: &Simulation,
    limiter: &mut Limiter,
    now_s: f64,
) -> Estimate {
    // Only pods that are spread look at the other nodes.
    let spread = groups.iter().flatten().any(|pod| has_hard_spread(pod));
    let simulation = if spread { existing.clone() } else { Simulation::default() };
    let mut packing = Packing {
        template,
        first: simulation.nodes.len(),
        simulation,
        holds: Vec::new(),
        existing: BTreeSet::new(),
        closed: false,
    };
    let mut placed = Vec::new();
    for group in order(template, groups) {
        let pods = packing.pack(&groups[group], limiter, now_s);
        placed.extend(pods.into_iter().map(|pod| (group, pod)));
    }
    placed.sort_unstable();
    let new = packing.holds.iter().filter(|pods| **pods > 0).count();
    Estimate { nodes: (new + packing.existing.len()) as u32, pods: placed }
}

struct Packing<'a> {
    template: &'a NodeState,
    simulation: Simulation,
    /// Index of the first new node.
    first: usize,
    /// Pods on each new node, not counting those of the template.
    holds: Vec<usize>,
    /// Nodes that are there already and took a pod.
    existing: BTreeSet<usize>,
    /// No new node is permitted any more.
    closed: bool,
}

impl Packing<'_> {
    /// Indices of the pods of one group that found a place.
    fn pack(&mut self, pods: &[&Pod], limiter: &mut Limiter, now_s: f64) -> Vec<usize> {
        let mut placed = Vec::new();
        let first = self.first;
        for (at, pod) in pods.iter().enumerate() {
            let Some(node) = self.simulation.place(*pod, |index, _| index >= first) else { break };
            self.holds[node - first] += 1;
            placed.push(at);
        }
        for (at, pod) in pods.iter().enumerate().skip(placed.len()) {
            if self.closed || !self.place_on_new(pod, limiter, now_s) {
                break;
            }
            placed.push(at);
        }
        placed
    }

    fn place_on_new(&mut self, pod: &Pod, limiter: &mut Limiter, now_s: f64) -> bool {
        let newest = self.holds.len().checked_sub(1).map(|at| self.first + at);
        if let Some(newest) = newest {
            match self.simulation.fits(pod, newest) {
                Ok(()) => return self.put(pod, newest),
                Err(refusal) if is_spread(&refusal) && is_spread_over_hosts(pod) => {
                    if let Some(node) = self.simulation.place(pod, |index, _| index != newest) {
                        match node.checked_sub(self.first) {
                            Some(at) => self.holds[at] += 1,
                            None => drop(self.existing.insert(node)),
                        }
                        return true;
                    }
                }
                Err(_) => {}
            }
            if self.holds[newest - self.first] == 0 {
                return false;
            }
        }
        if !limiter.permission(now_s) {
            self.closed = true;
            return false;
        }
        let node = self.add_node();
        self.simulation.fits(pod, node).is_ok() && self.put(pod, node)
    }

    fn put(&mut self, pod: &Pod, node: usize) -> bool {
        self.simulation.nodes[node].put(pod.clone());
        self.holds[node - self.first] += 1;
        true
    }

    fn add_node(&mut self) -> usize {
        self.simulation.nodes.push(instance(self.template, self.holds.len()));
        self.holds.push(0);
        self.simulation.nodes.len() - 1
    }
}

/// The template as one node with a name of its own.
pub(super) fn instance(template: &NodeState, number: usize) -> NodeState {
    let mut instance = template.clone();
    let node = instance.node_mut();
    node.name = format!("template-{}-{number}", template.node.name);
    node.labels.insert(HOSTNAME.to_owned(), node.name.clone());
    instance
}

fn is_spread_over_hosts(pod: &Pod) -> bool {
    pod.topology_spread.iter().any(|constraint| constraint.topology_key == HOSTNAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::schedule::{Node, Resources, Selector, TopologySpread};

    fn node(cpu: i64) -> NodeState {
        let allocatable = Resources { cpu_milli: Some(cpu), pods: Some(110), ..Resources::default() };
        NodeState::new(Node { name: "n".into(), allocatable, ..Node::default() }, Vec::new())
    }

    fn pod(cpu: i64) -> Pod {
        Pod { containers: vec![Resources { cpu_milli: Some(cpu), ..Resources::default() }], ..Pod::default() }
    }

    fn packed(cpu: i64, groups: &[(usize, Pod)], limit: i64) -> (u32, usize) {
        let groups: Vec<Vec<&Pod>> = groups.iter().map(|(count, pod)| vec![pod; *count]).collect();
        let mut limiter = Limiter::new(&[(limit, 0)], 0.0);
        let estimate = estimate(&node(cpu), &groups, &Simulation::default(), &mut limiter, 0.0);
        (estimate.nodes, estimate.pods.len())
    }

    #[test]
    fn pods_share_nodes_as_far_as_they_fit() {
        assert_eq!(packed(2000, &[(7, pod(500))], 10), (2, 7));
        assert_eq!(packed(2000, &[(7, pod(500))], 1), (1, 4));
    }

    #[test]
    fn the_largest_come_first_and_the_small_ones_fill_the_gaps() {
        assert_eq!(packed(1000, &[(10, pod(50)), (10, pod(500))], 5), (5, 10));
        assert_eq!(packed(1000, &[(4, pod(400)), (1, pod(600))], 0), (3, 5));
    }

    #[test]
    fn a_pod_larger_than_a_node_needs_none() {
        assert_eq!(packed(2000, &[(1, pod(4000))], 10), (0, 0));
    }

    #[test]
    fn host_ports_and_spread_ask_for_nodes_of_their_own() {
        let port = Pod { host_ports: vec![80], ..pod(10) };
        assert_eq!(packed(2000, &[(3, port)], 0), (3, 3));
        let labels = std::collections::BTreeMap::from([("app".to_owned(), "a".to_owned())]);
        let spread = TopologySpread {
            max_skew: 1,
            topology_key: HOSTNAME.into(),
            when_unsatisfiable: "DoNotSchedule".into(),
            selector: Some(Selector { match_labels: labels.clone(), ..Selector::default() }),
            min_domains: Some(2),
            ..TopologySpread::default()
        };
        let pod = Pod { labels, topology_spread: vec![spread], ..pod(10) };
        assert_eq!(packed(2000, &[(4, pod)], 0), (2, 4));
    }
}
