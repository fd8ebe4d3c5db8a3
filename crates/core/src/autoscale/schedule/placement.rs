//! Placement: all filters, all scores, the choice, and the message when there is none.

use std::{collections::BTreeMap, sync::Arc};

use rand::Rng;

use super::{
    filters::{Code, FitOptions, Refusal, fits_request, node_affinity, taints, unschedulable},
    model::{Node, Pod, Resources},
    scores::{balanced, least, taint_scores},
    spread::topology_spread,
};
use crate::random::below;

/// A node with what is on it.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// The node; a copy of the cluster shares it until one of them changes it.
    pub node: Arc<Node>,
    /// Pods bound to it, shared likewise.
    pub pods: Arc<Vec<Arc<Pod>>>,
    used: Resources,
    non_zero: Resources,
    /// Pods that have a deletion timestamp, and pods of a priority below 0.
    ending: usize,
    minor: usize,
}

impl NodeState {
    /// A node with pods.
    pub fn new(node: Node, pods: Vec<Pod>) -> Self {
        Self::sharing(node.into(), pods.into_iter().map(Arc::new))
    }

    /// A node with pods that others have too.
    pub fn sharing(node: Arc<Node>, pods: impl IntoIterator<Item = Arc<Pod>>) -> Self {
        let (used, non_zero) = (Resources::default(), Resources::default());
        let mut state = Self { node, pods: Arc::default(), used, non_zero, ending: 0, minor: 0 };
        for pod in pods {
            state.put(pod);
        }
        state
    }

    /// Puts a pod on the node.
    pub fn put(&mut self, pod: impl Into<Arc<Pod>>) {
        let pod = pod.into();
        self.used.add(&pod.requests(true));
        self.non_zero.add(&pod.non_zero_requests(true));
        self.ending += usize::from(is_ending(&pod));
        self.minor += usize::from(is_minor(&pod));
        Arc::make_mut(&mut self.pods).push(pod);
    }

    /// Takes a pod off the node.
    pub fn take(&mut self, index: usize) -> Arc<Pod> {
        let pod = Arc::make_mut(&mut self.pods).remove(index);
        self.used.subtract(&pod.requests(true));
        self.non_zero.subtract(&pod.non_zero_requests(true));
        self.ending -= usize::from(is_ending(&pod));
        self.minor -= usize::from(is_minor(&pod));
        pod
    }

    /// The node, to be changed for this state only.
    pub fn node_mut(&mut self) -> &mut Node {
        Arc::make_mut(&mut self.node)
    }

    /// So old is a pod on it.
    pub(crate) fn set_age(&mut self, pod: &str, age_s: f64) {
        if let Some(pod) = Arc::make_mut(&mut self.pods).iter_mut().find(|other| other.name == pod) {
            Arc::make_mut(pod).age_seconds = Some(age_s);
        }
    }

    /// A pod on it has a deletion timestamp from now on.
    pub(crate) fn end(&mut self, index: usize) {
        let pod = Arc::make_mut(&mut Arc::make_mut(&mut self.pods)[index]);
        self.ending += usize::from(!is_ending(pod));
        pod.deletion_age_seconds = Some(0.0);
    }

    /// Requests of the pods there.
    pub fn used(&self) -> &Resources {
        &self.used
    }

    /// The same with an assumption for containers that state no CPU or memory.
    pub fn non_zero(&self) -> &Resources {
        &self.non_zero
    }

    /// Whether a pod on it has a deletion timestamp.
    pub(crate) fn has_ending(&self) -> bool {
        self.ending > 0
    }

    /// Whether a pod on it has a priority below 0.
    pub(crate) fn has_minor(&self) -> bool {
        self.minor > 0
    }

    /// All filters that look at one node only.
    pub fn accepts(&self, pod: &Pod, options: &FitOptions) -> Result<(), Refusal> {
        self.accepts_request(pod, &pod.requests(options.pod_level_resources), options)
    }

    /// The same where what the pod requests is known.
    pub(crate) fn accepts_request(&self, pod: &Pod, request: &Resources, options: &FitOptions) -> Result<(), Refusal> {
        unschedulable(pod, &self.node)?;
        taints(pod, &self.node)?;
        node_affinity(pod, &self.node)?;
        if pod.host_ports.iter().any(|port| self.pods.iter().any(|other| other.host_ports.contains(port))) {
            let reasons = vec!["node(s) didn't have free ports for the requested pod ports".to_owned()];
            return Err(Refusal { code: Code::Unschedulable, reasons, insufficient: Vec::new() });
        }
        fits_request(pod, request, &self.node, &self.used, self.pods.len() as i64, options)
    }

    /// Room and evenness with the pod: the scores that look at one node only.
    fn score(&self, demand: &Demand) -> i64 {
        let least = least(&demand.non_zero, &demand.plain, &self.node, &self.non_zero, &RESOURCES);
        least + balanced(&demand.plain, &self.node, &self.used, &["cpu", "memory"]).unwrap_or(0)
    }
}

fn is_ending(pod: &Pod) -> bool {
    pod.deletion_age_seconds.is_some()
}

fn is_minor(pod: &Pod) -> bool {
    pod.priority.is_some_and(|priority| priority < 0)
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
        let request = pod.requests(options.pod_level_resources);
        let mut answers: Vec<_> =
            self.nodes.iter().map(|state| state.accepts_request(pod, &request, &options)).collect();
        if has_hard_spread(pod) {
            let nodes: Vec<&Node> = self.nodes.iter().map(|state| &*state.node).collect();
            let pods: BTreeMap<&str, Vec<&Pod>> = self
                .nodes
                .iter()
                .map(|state| (state.node.name.as_str(), state.pods.iter().map(AsRef::as_ref).collect()))
                .collect();
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

/// What a pod requests, worked out once for all nodes.
#[derive(Debug, Clone)]
struct Demand {
    plain: Resources,
    non_zero: Resources,
}

impl Demand {
    fn of(pod: &Pod) -> Self {
        Self { plain: pod.requests(true), non_zero: pod.non_zero_requests(true) }
    }
}

fn has_hard_spread(pod: &Pod) -> bool {
    pod.topology_spread.iter().any(|constraint| constraint.when_unsatisfiable == "DoNotSchedule")
}

/// The choice of [`place`] for pods of one shape, one after the other: a node is judged anew only when something on it
/// has changed, so that each pod costs a look at one node rather than at all.
#[derive(Debug)]
pub(crate) struct Shape {
    pod: Arc<Pod>,
    demand: Demand,
    scores: Vec<Option<i64>>,
    /// Nodes by score, in their order.
    best: BTreeMap<i64, Vec<usize>>,
}

impl Shape {
    /// None: a node's answer depends on the other nodes, by a hard spread or a soft taint.
    pub(crate) fn new(pod: &Pod, cluster: &Cluster) -> Option<Self> {
        let soft = |state: &NodeState| state.node.taints.iter().any(|taint| taint.effect == "PreferNoSchedule");
        if has_hard_spread(pod) || cluster.nodes.iter().any(soft) {
            return None;
        }
        let (demand, pod) = (Demand::of(pod), Arc::new(pod.clone()));
        let mut shape = Self { pod, demand, scores: Vec::new(), best: BTreeMap::new() };
        for node in 0..cluster.nodes.len() {
            shape.judge(cluster, node);
        }
        Some(shape)
    }

    /// Judges a node anew, or one that has come to the end of the list.
    pub(crate) fn judge(&mut self, cluster: &Cluster, node: usize) {
        let state = &cluster.nodes[node];
        let accepted = state.accepts_request(&self.pod, &self.demand.plain, &FitOptions::default()).is_ok();
        let score = accepted.then(|| state.score(&self.demand));
        if node == self.scores.len() {
            self.scores.push(None);
        }
        let before = std::mem::replace(&mut self.scores[node], score);
        if before == score {
            return;
        }
        if let Some(list) = before.and_then(|before| self.best.get_mut(&before))
            && let Ok(at) = list.binary_search(&node)
        {
            list.remove(at);
        }
        if let Some(score) = score {
            let list = self.best.entry(score).or_default();
            if let Err(at) = list.binary_search(&node) {
                list.insert(at, node);
            }
        }
    }

    /// The node that [`place`] would choose; none where it would refuse.
    pub(crate) fn choose(&mut self, random: &mut impl Rng) -> Option<usize> {
        while self.best.last_entry().is_some_and(|entry| entry.get().is_empty()) {
            self.best.pop_last();
        }
        let (_, tied) = self.best.last_key_value()?;
        Some(if tied.len() == 1 { tied[0] } else { tied[below(random, tied.len() as u64) as usize] })
    }
}

/// The index of the node that is to hold the pod; ties at random.
pub fn place(pod: &Pod, cluster: &Cluster, random: &mut impl Rng) -> Result<usize, Unschedulable> {
    let answers = cluster.filter(pod);
    let candidates: Vec<usize> = (0..answers.len()).filter(|index| answers[*index].is_ok()).collect();
    if candidates.is_empty() {
        return Err(Unschedulable { message: refused(&answers) });
    }
    let nodes: Vec<&Node> = candidates.iter().map(|index| &*cluster.nodes[*index].node).collect();
    let taints = taint_scores(pod, &nodes);
    let demand = Demand::of(pod);
    let scores: Vec<i64> = candidates
        .iter()
        .zip(taints)
        .map(|(index, taints)| 3 * taints + cluster.nodes[*index].score(&demand))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{autoscale::schedule::Taint, random::Random};

    fn node(number: usize, cpu: i64, effect: &str) -> NodeState {
        let allocatable =
            Resources { cpu_milli: Some(cpu), memory_bytes: Some(8 << 30), pods: Some(20), ..Resources::default() };
        let taint = Taint { key: "k".into(), value: String::new(), effect: effect.into() };
        let taints = if effect.is_empty() { Vec::new() } else { vec![taint] };
        let name = format!("node-{number}");
        NodeState::new(Node { name, allocatable, taints, ready: Some(true), ..Node::default() }, Vec::new())
    }

    fn pod(number: usize, cpu: i64) -> Pod {
        let requests = Resources { cpu_milli: Some(cpu), memory_bytes: Some(64 << 20), ..Resources::default() };
        Pod { name: format!("pod-{number}"), containers: vec![requests], ..Pod::default() }
    }

    #[test]
    fn a_shape_chooses_as_the_scheduler_does_pod_after_pod() {
        let effects = ["", "", "NoSchedule", "", ""];
        let nodes = (0..15).map(|number| node(number, 500 + 100 * (number as i64 % 4), effects[number % 5]));
        let mut cluster = Cluster { nodes: nodes.collect() };
        let (mut one, mut other) = (Random::new(7, "test", 0), Random::new(7, "test", 0));
        let mut shapes = [70, 110].map(|cpu| Shape::new(&pod(0, cpu), &cluster).expect("nodes are judged alone"));
        for number in 0..120 {
            let (which, cpu) = if number % 3 == 0 { (0, 70) } else { (1, 110) };
            let chosen = shapes[which].choose(&mut one);
            assert_eq!(chosen, place(&pod(number, cpu), &cluster, &mut other).ok(), "pod {number}");
            // Now and then a pod leaves, and a node comes.
            let touched = match (chosen, number % 7) {
                (Some(node), _) => {
                    cluster.nodes[node].put(pod(number, cpu));
                    node
                }
                (None, 0) => {
                    cluster.nodes.push(node(cluster.nodes.len(), 400, ""));
                    cluster.nodes.len() - 1
                }
                (None, _) => {
                    let full = number % 2;
                    cluster.nodes[full].take(0);
                    full
                }
            };
            for shape in &mut shapes {
                shape.judge(&cluster, touched);
            }
        }
    }

    #[test]
    fn soft_taints_are_judged_by_comparison() {
        let cluster = Cluster { nodes: vec![node(0, 1000, "PreferNoSchedule"), node(1, 1000, "")] };
        assert!(Shape::new(&pod(0, 100), &cluster).is_none());
    }
}
