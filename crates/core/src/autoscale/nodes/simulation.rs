//! A copy of the cluster in which pods are put on nodes to see what would happen.
//!
//! Upstream: `simulator/scheduling/hinting_simulator.go`, `simulator/clustersnapshot`.

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use crate::autoscale::schedule::{Code, FitOptions, Node, NodeState, Pod, Refusal, topology_spread};

/// Nodes in order of insertion, and where the next search begins.
#[derive(Debug, Clone, Default)]
pub struct Simulation {
    /// The nodes with what is on them.
    pub nodes: Vec<NodeState>,
    pointer: usize,
}

impl Simulation {
    /// A simulation that begins at the first node.
    pub fn new(nodes: Vec<NodeState>) -> Self {
        Self { nodes, pointer: 0 }
    }

    /// Index of a node by its name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|state| state.node.name == name)
    }

    /// Whether all filters of the scheduler let the pod on the node.
    pub fn fits(&self, pod: &Pod, index: usize) -> Result<(), Refusal> {
        self.nodes[index].accepts(pod, &FitOptions::default())?;
        match self.spread(pod) {
            Some(codes) if codes[index] != Code::Success => Err(refused_by_spread(codes[index])),
            _ => Ok(()),
        }
    }

    /// Each node's answer to the pod's hard topology spread constraints; none where it has none.
    fn spread(&self, pod: &Pod) -> Option<Vec<Code>> {
        if !has_hard_spread(pod) {
            return None;
        }
        let nodes: Vec<&Node> = self.nodes.iter().map(|state| &*state.node).collect();
        let pods: BTreeMap<&str, Vec<&Pod>> = self
            .nodes
            .iter()
            .map(|state| (state.node.name.as_str(), state.pods.iter().map(AsRef::as_ref).collect()))
            .collect();
        Some(topology_spread(pod, &nodes, &pods, true))
    }

    /// Puts the pod on the first node from the pointer on that is acceptable and lets it in; the pointer then stands
    /// behind it.
    pub fn place<P>(&mut self, pod: &P, acceptable: impl Fn(usize, &NodeState) -> bool) -> Option<usize>
    where
        P: Borrow<Pod> + Clone + Into<Arc<Pod>>,
    {
        let seen: &Pod = pod.borrow();
        let (count, options, spread) = (self.nodes.len(), FitOptions::default(), self.spread(seen));
        let request = seen.requests(options.pod_level_resources);
        let index = (0..count).map(|step| (self.pointer + step) % count).find(|index| {
            acceptable(*index, &self.nodes[*index])
                && self.nodes[*index].accepts_request(seen, &request, &options).is_ok()
                && spread.as_ref().is_none_or(|codes| codes[*index] == Code::Success)
        })?;
        self.pointer = (index + 1) % count;
        self.nodes[index].put(pod.clone());
        Some(index)
    }

    /// The same, but the remembered node is tried first and does not move the pointer.
    pub fn place_with_hint(
        &mut self,
        pod: &Pod,
        hint: Option<&str>,
        acceptable: impl Fn(usize, &NodeState) -> bool,
    ) -> Option<usize> {
        let hinted = hint.and_then(|name| self.index_of(name));
        if let Some(index) = hinted.filter(|index| acceptable(*index, &self.nodes[*index]))
            && self.fits(pod, index).is_ok()
        {
            self.nodes[index].put(pod.clone());
            return Some(index);
        }
        self.place(pod, acceptable)
    }

    /// Puts all pods or none; the nodes that they went to. The pointer moves in either case.
    pub fn place_all<P>(&mut self, pods: &[P], acceptable: impl Fn(usize, &NodeState) -> bool) -> Option<Vec<usize>>
    where
        P: Borrow<Pod> + Clone + Into<Arc<Pod>>,
    {
        let mut placed = Vec::new();
        for pod in pods {
            if let Some(index) = self.place(pod, &acceptable) {
                placed.push(index);
                continue;
            }
            for index in placed.into_iter().rev() {
                let last = self.nodes[index].pods.len() - 1;
                self.nodes[index].take(last);
            }
            return None;
        }
        Some(placed)
    }

    /// Takes a node out; the pointer stays at the node that it stood at.
    pub fn remove(&mut self, index: usize) -> NodeState {
        if index < self.pointer {
            self.pointer -= 1;
        }
        let removed = self.nodes.remove(index);
        self.pointer %= self.nodes.len().max(1);
        removed
    }
}

/// Whether a refusal comes from topology spread.
pub(super) fn is_spread(refusal: &Refusal) -> bool {
    refusal.reasons.iter().any(|reason| reason.starts_with(SPREAD))
}

const SPREAD: &str = "node(s) didn't match pod topology spread constraints";

fn refused_by_spread(code: Code) -> Refusal {
    let missing = if code == Code::UnschedulableAndUnresolvable { " (missing required label)" } else { "" };
    Refusal { code, reasons: vec![format!("{SPREAD}{missing}")], insufficient: Vec::new() }
}

pub(super) fn has_hard_spread(pod: &Pod) -> bool {
    pod.topology_spread.iter().any(|constraint| constraint.when_unsatisfiable == "DoNotSchedule")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::schedule::Resources;

    fn pod(cpu: i64) -> Pod {
        Pod { containers: vec![Resources { cpu_milli: Some(cpu), ..Resources::default() }], ..Pod::default() }
    }

    fn simulation() -> Simulation {
        let node = |name: &str| {
            let allocatable = Resources { cpu_milli: Some(1000), pods: Some(9), ..Resources::default() };
            NodeState::new(Node { name: name.into(), allocatable, ..Node::default() }, Vec::new())
        };
        Simulation::new(vec![node("a"), node("b"), node("c")])
    }

    #[test]
    fn a_search_goes_on_behind_the_last_node_and_a_hint_does_not_move_it() {
        let mut simulation = simulation();
        let mut place = |hint| simulation.place_with_hint(&pod(100), hint, |_, _| true);
        assert_eq!([place(None), place(Some("a")), place(Some("gone"))], [Some(0), Some(0), Some(1)]);
    }

    #[test]
    fn all_pods_are_put_or_none() {
        let mut simulation = simulation();
        assert_eq!(simulation.place_all(&[pod(600), pod(600), pod(600), pod(600)], |_, _| true), None);
        assert!(simulation.nodes.iter().all(|state| state.pods.is_empty()));
        assert_eq!(simulation.place_all(&[pod(600), pod(600)], |index, _| index != 1), Some(vec![0, 2]));
    }
}
