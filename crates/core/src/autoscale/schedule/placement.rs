//! Placement: all filters, all scores, the choice, and the message when there is none.

use std::collections::BTreeMap;

use rand::Rng;

use super::{
    filters::{Code, FitOptions, Refusal, fits, node_affinity, taints, unschedulable},
    model::{Node, Pod, Resources},
    scores::{balanced_allocation, least_allocated, taint_scores},
    spread::topology_spread,
};
use crate::random::below;

/// A node with what is on it.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// The node.
    pub node: Node,
    /// Pods bound to it.
    pub pods: Vec<Pod>,
    used: Resources,
    non_zero: Resources,
}

impl NodeState {
    /// A node with pods.
    pub fn new(node: Node, pods: Vec<Pod>) -> Self {
        let mut state = Self { node, pods: Vec::new(), used: Resources::default(), non_zero: Resources::default() };
        for pod in pods {
            state.put(pod);
        }
        state
    }

    /// Puts a pod on the node.
    pub fn put(&mut self, pod: Pod) {
        self.used.add(&pod.requests(true));
        self.non_zero.add(&pod.non_zero_requests(true));
        self.pods.push(pod);
    }

    /// Takes a pod off the node.
    pub fn take(&mut self, index: usize) -> Pod {
        let pod = self.pods.remove(index);
        self.used.subtract(&pod.requests(true));
        self.non_zero.subtract(&pod.non_zero_requests(true));
        pod
    }

    /// Requests of the pods there.
    pub fn used(&self) -> &Resources {
        &self.used
    }

    /// The same with an assumption for containers that state no CPU or memory.
    pub fn non_zero(&self) -> &Resources {
        &self.non_zero
    }

    /// All filters that look at one node only.
    pub fn accepts(&self, pod: &Pod, options: &FitOptions) -> Result<(), Refusal> {
        unschedulable(pod, &self.node)?;
        taints(pod, &self.node)?;
        node_affinity(pod, &self.node)?;
        if pod.host_ports.iter().any(|port| self.pods.iter().any(|other| other.host_ports.contains(port))) {
            let reasons = vec!["node(s) didn't have free ports for the requested pod ports".to_owned()];
            return Err(Refusal { code: Code::Unschedulable, reasons, insufficient: Vec::new() });
        }
        fits(pod, &self.node, &self.used, self.pods.len() as i64, options)
    }
}

/// All nodes with what is on them.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// In order of insertion.
    pub nodes: Vec<NodeState>,
}

impl Cluster {
    /// Each node's answer to a pod.
    pub fn filter(&self, pod: &Pod) -> Vec<Result<(), Refusal>> {
        let options = FitOptions::default();
        let mut answers: Vec<_> = self.nodes.iter().map(|state| state.accepts(pod, &options)).collect();
        if pod.topology_spread.iter().any(|constraint| constraint.when_unsatisfiable == "DoNotSchedule") {
            let nodes: Vec<&Node> = self.nodes.iter().map(|state| &state.node).collect();
            let pods: BTreeMap<&str, Vec<&Pod>> =
                self.nodes.iter().map(|state| (state.node.name.as_str(), state.pods.iter().collect())).collect();
            for (answer, code) in answers.iter_mut().zip(topology_spread(pod, &nodes, &pods, true)) {
                if answer.is_ok() && code != Code::Success {
                    let missing = code == Code::UnschedulableAndUnresolvable;
                    let reason = "node(s) didn't match pod topology spread constraints";
                    let reason = if missing { format!("{reason} (missing required label)") } else { reason.to_owned() };
                    *answer = Err(Refusal { code, reasons: vec![reason], insufficient: Vec::new() });
                }
            }
        }
        answers
    }
}

/// No node can hold the pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unschedulable {
    /// Text of the event and the condition.
    pub message: String,
}

const RESOURCES: [(&str, i64); 2] = [("cpu", 1), ("memory", 1)];

/// The index of the node that is to hold the pod; ties at random.
pub fn place(pod: &Pod, cluster: &Cluster, random: &mut impl Rng) -> Result<usize, Unschedulable> {
    let answers = cluster.filter(pod);
    let candidates: Vec<usize> = (0..answers.len()).filter(|index| answers[*index].is_ok()).collect();
    if candidates.is_empty() {
        return Err(Unschedulable { message: refused(&answers) });
    }
    let nodes: Vec<&Node> = candidates.iter().map(|index| &cluster.nodes[*index].node).collect();
    let taints = taint_scores(pod, &nodes);
    let scores: Vec<i64> = candidates
        .iter()
        .zip(taints)
        .map(|(index, taints)| {
            let state = &cluster.nodes[*index];
            let least = least_allocated(pod, &state.node, &state.non_zero, &RESOURCES);
            let balanced = balanced_allocation(pod, &state.node, &state.used, &["cpu", "memory"]).unwrap_or(0);
            3 * taints + least + balanced
        })
        .collect();
    let best = scores.iter().copied().max().unwrap_or(0);
    let tied: Vec<usize> =
        candidates.iter().zip(&scores).filter(|(_, score)| **score == best).map(|(i, _)| *i).collect();
    Ok(if tied.len() == 1 { tied[0] } else { tied[below(random, tied.len() as u64) as usize] })
}

fn refused(answers: &[Result<(), Refusal>]) -> String {
    let refusals: Vec<&Refusal> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    let reasons: Vec<&[String]> = refusals.iter().map(|refusal| refusal.reasons.as_slice()).collect();
    let unhelpful = refusals.iter().filter(|refusal| refusal.code == Code::UnschedulableAndUnresolvable).count();
    let preemption: Vec<Vec<String>> = (0..refusals.len())
        .map(|index| {
            let text = if index < unhelpful {
                "Preemption is not helpful for scheduling"
            } else {
                "No preemption victims found for incoming pod"
            };
            vec![text.to_owned()]
        })
        .collect();
    let preemption: Vec<&[String]> = preemption.iter().map(Vec::as_slice).collect();
    let after = format!("preemption: {}", failed_scheduling_message(answers.len(), &preemption, "", ""));
    failed_scheduling_message(answers.len(), &reasons, "", &after)
}

/// The text of `FailedScheduling`: how many nodes refused for which reason.
pub fn failed_scheduling_message(
    nodes: usize,
    reasons_by_node: &[&[String]],
    pre_filter_message: &str,
    post_filter_message: &str,
) -> String {
    let mut message = format!("0/{nodes} nodes are available:");
    if pre_filter_message.is_empty() {
        let mut counts = BTreeMap::<&str, usize>::new();
        for reason in reasons_by_node.iter().flat_map(|reasons| reasons.iter()) {
            *counts.entry(reason).or_default() += 1;
        }
        let mut parts: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        parts.sort();
        if !parts.is_empty() {
            message = format!("{message} {}.", parts.join(", "));
        }
    } else {
        message = format!("{message} {pre_filter_message}.");
    }
    if post_filter_message.is_empty() { message } else { format!("{message} {post_filter_message}") }
}
