//! Scaling up: which pending pods new nodes would help, and which groups get how many.
//!
//! Upstream: `core/scaleup/orchestrator/orchestrator.go`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Group,
    balance::{Ratios, Size, distribute, is_similar, similar_groups},
    equivalence::equivalence_groups,
    estimate::{estimate, instance},
    expander::Option as Expansion,
    limits::{Amounts, Left, Limit, Limiter, apply, cluster_limit, exceeded, left, node_amounts, similar_groups_limit},
    messages::{MAX_NODES_REACHED, NOT_TRIGGERED, Reasons, TRIGGERED, tells_triggered, tells_unschedulable},
    simulation::{Simulation, has_hard_spread},
};
use crate::autoscale::schedule::{FitOptions, Node, NodeState, Pod, Refusal};

/// Settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleUpOptions {
    /// Most nodes of the cluster; 0 is none.
    pub max_nodes_total: i64,
    /// Most cores of the cluster; 0 is none.
    pub max_cores_total: i64,
    /// Most memory of the cluster, bytes; 0 is none.
    pub max_memory_total_bytes: i64,
    /// New nodes are shared among groups of the same shape.
    pub balance_similar: bool,
    /// All pending pods are helped or none.
    pub all_or_nothing: bool,
    /// Groups have all of their nodes or none.
    pub zero_or_max: bool,
    /// Nodes and seconds that an estimate may take at most; none lifts every limit on estimates.
    pub estimate: Option<(Limit, Limit)>,
}

impl ScaleUpOptions {
    /// Whether new nodes are shared among similar groups.
    pub fn balances(&self) -> bool {
        self.balance_similar && !self.zero_or_max
    }
}

impl Default for ScaleUpOptions {
    fn default() -> Self {
        Self {
            max_nodes_total: 0,
            max_cores_total: 0,
            max_memory_total_bytes: 0,
            balance_similar: false,
            all_or_nothing: false,
            zero_or_max: false,
            estimate: Some((1000, 10)),
        }
    }
}

/// A group as the plan sees it.
#[derive(Debug, Clone)]
pub struct GroupView<'a> {
    /// The group.
    pub group: &'a Group,
    /// An empty node of it.
    pub template: NodeState,
    /// Not too many of its nodes are missing.
    pub healthy: bool,
    /// A scale-up of it failed lately.
    pub backed_off: bool,
}

/// What the plan looks at.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// Groups in order.
    pub groups: Vec<GroupView<'a>>,
    /// The nodes with what is on them, upcoming ones too.
    pub simulation: &'a Simulation,
    /// Nodes that there are or are coming.
    pub nodes: i64,
    /// Nodes of no group.
    pub ungrouped: Vec<&'a Node>,
    /// Now, seconds.
    pub now_s: f64,
}

/// A change of a group's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Increase {
    /// Group.
    pub group: String,
    /// Nodes asked for before.
    pub from: u32,
    /// Nodes asked for now.
    pub to: u32,
    /// Most nodes.
    pub max: u32,
}

/// How a plan ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PlanResult {
    /// Groups grow.
    Successful,
    /// Nothing helps.
    #[default]
    NoOptions,
    /// The cluster has all the nodes that it may have.
    LimitedByMaxNodesTotal,
    /// It failed.
    Error(String),
}

/// A plan; pods are given by their indices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// How it ended.
    pub result: PlanResult,
    /// Changes of targets, the chosen group first.
    pub increases: Vec<Increase>,
    /// Pods that the new nodes are for.
    pub triggered: Vec<usize>,
    /// Pods that the chosen group cannot take and another could.
    pub awaiting: Vec<usize>,
    /// Pods that no group helps, and why.
    pub unschedulable: Vec<(usize, Reasons)>,
}

impl Plan {
    /// Indices of the pods that are told that nodes come for them.
    pub fn told_triggered(&self) -> &[usize] {
        if tells_triggered(self.increases.len()) { &self.triggered } else { &[] }
    }

    /// The pods that are told that no nodes come, with why.
    pub fn told_unschedulable(&self) -> &[(usize, Reasons)] {
        if tells_unschedulable(&self.result) { &self.unschedulable } else { &[] }
    }

    /// Reasons of the events that pods get.
    pub fn reasons_told(&self) -> Vec<&'static str> {
        let told = [(TRIGGERED, self.told_triggered().len()), (NOT_TRIGGERED, self.told_unschedulable().len())];
        told.into_iter().filter(|(_, pods)| *pods > 0).map(|(reason, _)| reason).collect()
    }
}

/// Chooses one of several options.
pub type Choose<'c> = &'c mut dyn FnMut(&[Expansion<'_>]) -> Option<usize>;

/// Plans at most one scale-up for the pending pods.
pub fn plan(options: &ScaleUpOptions, situation: &Situation<'_>, pending: &[Pod], choose: Choose<'_>) -> Plan {
    let pods: Vec<&Pod> = pending.iter().collect();
    let mut planner = Planner::new(options, situation, pods);
    planner.sort_groups();
    let expansions = planner.expansions();
    match choose(&expansions).map(|index| &expansions[index]) {
        Some(chosen) => planner.execute(chosen),
        None => planner.nothing(),
    }
}

struct Planner<'a> {
    options: &'a ScaleUpOptions,
    situation: &'a Situation<'a>,
    pods: Vec<&'a Pod>,
    alike: Vec<Vec<usize>>,
    left: Left,
    /// Groups that may grow.
    candidates: Vec<&'a GroupView<'a>>,
    skipped: BTreeMap<String, Vec<String>>,
    /// Pod groups that a group can take.
    schedulable: BTreeMap<String, BTreeSet<usize>>,
    /// Why groups refuse a pod group.
    refused: BTreeMap<usize, BTreeMap<String, Vec<String>>>,
    /// No pod counts as schedulable: the reason.
    nothing_helps: Option<&'static str>,
}

impl<'a> Planner<'a> {
    fn new(options: &'a ScaleUpOptions, situation: &'a Situation<'a>, pods: Vec<&'a Pod>) -> Self {
        Self {
            options,
            situation,
            alike: equivalence_groups(&pods),
            pods,
            left: resources_left(options, situation),
            candidates: Vec::new(),
            skipped: BTreeMap::new(),
            schedulable: BTreeMap::new(),
            refused: BTreeMap::new(),
            nothing_helps: None,
        }
    }

    /// Which groups may grow, and which pods each of them can take.
    fn sort_groups(&mut self) {
        for view in &self.situation.groups {
            if let Some(reason) = self.skip(view) {
                self.skipped.insert(view.group.id.clone(), vec![reason]);
                continue;
            }
            self.candidates.push(view);
            let able = self.schedulable.entry(view.group.id.clone()).or_default();
            for (index, alike) in self.alike.iter().enumerate() {
                match fits_template(self.situation.simulation, &view.template, self.pods[alike[0]]) {
                    Ok(()) => {
                        able.insert(index);
                    }
                    Err(refusal) => {
                        let refused = self.refused.entry(index).or_default();
                        refused.insert(view.group.id.clone(), refusal.reasons);
                    }
                }
            }
        }
    }

    fn skip(&self, view: &GroupView<'_>) -> Option<String> {
        let group = view.group;
        if !view.healthy {
            return Some("not ready for scale-up".to_owned());
        }
        if view.backed_off {
            return Some("in backoff after failed scale-up".to_owned());
        }
        if group.target >= group.max {
            return Some("max node group size reached".to_owned());
        }
        let count = if self.options.zero_or_max { i64::from(group.max - group.target) } else { 1 };
        let total = self.options.max_nodes_total;
        if self.options.zero_or_max && total > 0 && self.situation.nodes + count > total {
            return Some("atomic scale-up exceeds cluster node count limit".to_owned());
        }
        let delta: Amounts =
            node_amounts(&view.template.node).into_iter().map(|(name, amount)| (name, amount * count)).collect();
        let over = exceeded(&self.left, &delta);
        (!over.is_empty()).then(|| format!("max cluster {} limit reached", over.join(", ")))
    }

    fn similar(&self, view: &GroupView<'_>) -> Vec<&'a GroupView<'a>> {
        if !self.options.balances() {
            return Vec::new();
        }
        let ratios = Ratios::default();
        let same: Vec<&str> = self
            .candidates
            .iter()
            .filter(|other| other.group.id != view.group.id)
            .filter(|other| is_similar(&view.template, &other.template, true, ratios, &[]))
            .map(|other| other.group.id.as_str())
            .collect();
        let similar = similar_groups(&view.group.id, &same, &self.schedulable);
        self.candidates.iter().filter(|other| similar.contains(&other.group.id.as_str())).copied().collect()
    }

    fn expansions(&mut self) -> Vec<Expansion<'a>> {
        let mut expansions = Vec::new();
        for view in self.candidates.clone() {
            let able: Vec<usize> = self.schedulable[&view.group.id].iter().copied().collect();
            let groups: Vec<Vec<&Pod>> =
                able.iter().map(|group| self.alike[*group].iter().map(|pod| self.pods[*pod]).collect()).collect();
            let mut limiter = self.limiter(view);
            let estimate =
                estimate(&view.template, &groups, self.situation.simulation, &mut limiter, self.situation.now_s);
            let pods: Vec<&Pod> =
                estimate.pods.iter().map(|(group, pod)| self.pods[self.alike[able[*group]][*pod]]).collect();
            let mut nodes = estimate.nodes;
            if pods.is_empty() || nodes == 0 {
                continue;
            }
            if self.options.zero_or_max {
                if self.options.all_or_nothing && nodes > view.group.max {
                    continue;
                }
                nodes = view.group.max;
            }
            if self.options.all_or_nothing && pods.len() < self.pods.len() {
                continue;
            }
            expansions.push(Expansion { group: &view.group.id, nodes, pods, template: &view.template.node });
        }
        if expansions.is_empty() && self.options.all_or_nothing {
            self.nothing_helps = Some(ALL_OR_NOTHING);
        }
        expansions
    }

    fn limiter(&self, view: &GroupView<'_>) -> Limiter {
        let Some(fixed) = self.options.estimate else { return Limiter::new(&[], self.situation.now_s) };
        let similar = self.similar(view);
        let sizes = similar.iter().map(|other| other.group).chain([view.group]);
        let room = similar_groups_limit(sizes.map(|group| (group.target, group.max)));
        let cluster = cluster_limit(self.options.max_nodes_total, self.situation.nodes);
        Limiter::new(&[fixed, (room, 0), (cluster, 0)], self.situation.now_s)
    }

    fn execute(mut self, chosen: &Expansion<'_>) -> Plan {
        let Some(view) = self.candidates.iter().copied().find(|view| view.group.id == chosen.group) else {
            return self.nothing();
        };
        let mut nodes = i64::from(chosen.nodes);
        let total = self.options.max_nodes_total;
        if total > 0 {
            nodes = nodes.min(total - self.situation.nodes);
            if nodes < 1 {
                let error = "max node total count already reached".to_owned();
                return Plan { result: PlanResult::Error(error), ..Plan::default() };
            }
        }
        nodes = apply(&self.left, &node_amounts(&view.template.node), nodes);
        let groups: Vec<&Group> = [view].into_iter().chain(self.similar(view)).map(|view| view.group).collect();
        let sizes: Vec<Size> =
            groups.iter().map(|group| Size { id: group.id.clone(), target: group.target, max: group.max }).collect();
        let increases = distribute(&sizes, nodes.max(0) as u32).into_iter().filter_map(|(id, to)| {
            let group = groups.iter().find(|group| group.id == id)?;
            Some(Increase { group: id, from: group.target, to, max: group.max })
        });
        let increases: Vec<Increase> = increases.collect();
        let added: u32 = increases.iter().map(|increase| increase.to - increase.from).sum();
        if added < chosen.nodes && self.options.all_or_nothing {
            self.nothing_helps = Some(ALL_OR_NOTHING);
        }
        if increases.is_empty() || self.nothing_helps.is_some() {
            return self.nothing();
        }
        let is_chosen = |pod: &usize| chosen.pods.iter().any(|other| std::ptr::eq(*other, self.pods[*pod]));
        let refused_here = |group: &usize| self.refused.get(group).is_some_and(|by| by.contains_key(chosen.group));
        let helped = |group: &usize| self.schedulable.values().any(|able| able.contains(group));
        let awaiting = (0..self.alike.len()).filter(|group| helped(group) && refused_here(group));
        Plan {
            result: PlanResult::Successful,
            increases,
            triggered: (0..self.pods.len()).filter(is_chosen).collect(),
            awaiting: awaiting.flat_map(|group| self.alike[group].clone()).collect(),
            unschedulable: self.unschedulable(),
        }
    }

    fn nothing(self) -> Plan {
        Plan { result: PlanResult::NoOptions, unschedulable: self.unschedulable(), ..Plan::default() }
    }

    /// Pods that no candidate could take, with the reasons of all groups.
    fn unschedulable(&self) -> Vec<(usize, Reasons)> {
        let helped = |group: usize| self.schedulable.values().any(|able| able.contains(&group));
        let alone = (0..self.alike.len()).filter(|group| self.nothing_helps.is_some() || !helped(*group));
        let reasons = |group: usize| {
            let refused = self.refused.get(&group).cloned().unwrap_or_default();
            let mut reasons = Reasons { refused, skipped: self.skipped.clone() };
            if let Some(reason) = self.nothing_helps {
                let groups = self.candidates.iter().map(|view| (view.group.id.clone(), vec![reason.to_owned()]));
                reasons.refused.extend(groups);
            }
            reasons
        };
        alone.flat_map(|group| self.alike[group].iter().map(move |pod| (*pod, reasons(group)))).collect()
    }
}

const ALL_OR_NOTHING: &str = "all-or-nothing scale-up: not all pods would get scheduled";

/// The plan when the cluster has all the nodes that it may have.
pub(super) fn limited_by_max_nodes_total(pending: usize) -> Plan {
    let reasons = || {
        let refused = [(String::new(), vec![MAX_NODES_REACHED.to_owned()])].into();
        Reasons { refused, ..Reasons::default() }
    };
    let unschedulable = (0..pending).map(|pod| (pod, reasons())).collect();
    Plan { result: PlanResult::LimitedByMaxNodesTotal, unschedulable, ..Plan::default() }
}

fn fits_template(simulation: &Simulation, template: &NodeState, pod: &Pod) -> Result<(), Refusal> {
    if !has_hard_spread(pod) {
        return template.accepts(pod, &FitOptions::default());
    }
    let mut with = simulation.clone();
    with.nodes.push(instance(template, 0));
    with.fits(pod, with.nodes.len() - 1)
}

fn resources_left(options: &ScaleUpOptions, situation: &Situation<'_>) -> Left {
    let limits: Amounts =
        [("cpu".to_owned(), options.max_cores_total), ("memory".to_owned(), options.max_memory_total_bytes)].into();
    let mut total = Amounts::new();
    let mut add = |node: &Node, count: i64| {
        for (name, amount) in node_amounts(node) {
            *total.entry(name).or_default() += amount * count;
        }
    };
    situation.groups.iter().for_each(|view| add(&view.template.node, i64::from(view.group.target)));
    situation.ungrouped.iter().for_each(|node| add(node, 1));
    left(&limits, &total)
}

/// New targets of groups that are below their minimum, as far as the limits let them.
pub fn scale_up_to_min(options: &ScaleUpOptions, situation: &Situation<'_>) -> Vec<Increase> {
    let left = resources_left(options, situation);
    let mut increases = Vec::new();
    for view in &situation.groups {
        let group = view.group;
        if group.target >= group.min || !view.healthy || view.backed_off {
            continue;
        }
        let delta = node_amounts(&view.template.node);
        if !exceeded(&left, &delta).is_empty() {
            continue;
        }
        let mut nodes = i64::from(group.min - group.target);
        if options.max_nodes_total > 0 {
            nodes = nodes.min(options.max_nodes_total - i64::from(group.target));
        }
        nodes = apply(&left, &delta, nodes);
        if nodes > 0 {
            let to = group.target + nodes as u32;
            increases.push(Increase { group: group.id.clone(), from: group.target, to, max: group.max });
        }
    }
    increases
}
