//! The loop: state, scale-up, scale-down.
//!
//! Upstream: `core/static_autoscaler.go`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Action, Group, Options, World,
    backoff::Failure,
    cluster_state::{ClusterState, FailedScaleUp, GroupSize, RegisteredNode, ScaleUpRequest, long_unregistered},
    delays::{Delays, EventKind},
    drain::{Evicted, is_daemon_set_pod, is_mirror_pod},
    eligibility::TO_BE_DELETED,
    estimate::instance,
    pending::{evicted_soon, has_expendable, is_expendable, is_old_enough, still_pending},
    readiness::is_ready,
    scale_down::Found,
    scale_up::{GroupView, Increase, Plan, PlanResult, Situation, limited_by_max_nodes_total, plan, scale_up_to_min},
    simulation::Simulation,
    unneeded::Unneeded,
};
use crate::{
    autoscale::schedule::{NodeState, Pod},
    random::Random,
};

/// Pods younger than this are waited for, seconds: more of them may be on their way.
const PODS_SETTLE_S: f64 = 2.0;

/// The autoscaler's memory between loops.
#[derive(Debug)]
pub struct Autoscaler {
    pub(super) options: Options,
    random: Random,
    state: ClusterState,
    pub(super) delays: Delays,
    pub(super) unneeded: Unneeded<Found>,
    pub(super) unremovable_until: BTreeMap<String, f64>,
    /// Nodes that are drained.
    pub(super) drains: Evicted,
    /// Pods that were evicted, and when.
    pub(super) evicted: Vec<(f64, Pod)>,
    last_loop_s: Option<f64>,
    interval_s: Option<f64>,
    /// What was known of groups before the last loop asked for more of their nodes.
    before: BTreeMap<String, Before>,
    /// When nodes were added last before that, to any group.
    added_before_s: Option<f64>,
}

/// A group's pending scale-up, and when nodes were added to it last.
#[derive(Debug)]
struct Before {
    request: Option<ScaleUpRequest>,
    added_s: Option<f64>,
}

/// What a loop works on after the state is known.
struct Scene {
    simulation: Simulation,
    pending: Vec<Pod>,
    not_started: Vec<String>,
    upcoming: i64,
}

impl Autoscaler {
    /// An autoscaler that has done nothing for a long time.
    pub fn new(options: Options, seed: u64) -> Self {
        Self {
            random: Random::new(seed, "expander", 0),
            state: ClusterState::new(options.state),
            delays: options.delays(),
            options,
            unneeded: Unneeded::default(),
            unremovable_until: BTreeMap::new(),
            drains: Evicted::default(),
            evicted: Vec::new(),
            last_loop_s: None,
            interval_s: None,
            before: BTreeMap::new(),
            added_before_s: None,
        }
    }

    /// Nodes that were found unneeded, and since when.
    pub fn unneeded(&self) -> BTreeMap<String, f64> {
        self.unneeded.iter().map(|(node, since, _)| (node.to_owned(), since)).collect()
    }

    /// What is known of the groups.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Other settings from now on.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Something that scale-down waits after happened, to one group or to an unknown one.
    pub fn record(&mut self, kind: EventKind, group: Option<&str>, at_s: f64) {
        self.delays.record(kind, group, at_s);
    }

    /// The cloud refused what the last loop asked of a group: that counts as never asked, and the group is left alone for
    /// a while, longer each time.
    ///
    /// Upstream: `core/scaleup/orchestrator/executor.go`, where only an increase that the cloud took is registered.
    pub fn scale_up_failed(&mut self, group: &str, failure: Failure, now: f64) -> FailedScaleUp {
        if let Some(Before { request, added_s }) = self.before.remove(group) {
            self.state.set_request(group, request);
            self.delays.take_back(EventKind::Add, Some(group), added_s);
            if self.before.is_empty() {
                self.delays.take_back(EventKind::Add, None, self.added_before_s);
            }
        }
        self.state.fail(group, failure, now)
    }

    /// The least interval of loops that was seen.
    pub(super) fn loop_interval_s(&self) -> f64 {
        self.interval_s.unwrap_or(self.options.scan_interval_s)
    }

    /// Takes note of what there is, without deciding anything.
    pub fn update_state(&mut self, world: &World, now: f64) -> Vec<FailedScaleUp> {
        let nodes: Vec<RegisteredNode> = world
            .cluster
            .nodes
            .iter()
            .map(|NodeState { node, .. }| RegisteredNode {
                name: node.name.clone(),
                instance: node.name.clone(),
                group: world.group_of.get(&node.name).cloned(),
                ready: is_ready(node),
                created_s: node.age_seconds.map(|age| now - age),
                in_cloud: true,
            })
            .collect();
        let groups: Vec<GroupSize> = world.groups.iter().map(|group| self.size(world, group)).collect();
        self.state.update_nodes(&groups, &nodes, now)
    }

    fn size(&self, world: &World, group: &Group) -> GroupSize {
        let own = || world.group_of.iter().filter(|(_, of)| **of == group.id).map(|(node, _)| node.clone()).collect();
        GroupSize {
            id: group.id.clone(),
            min: group.min.into(),
            target: group.target.into(),
            instances: world.instances.get(&group.id).cloned().unwrap_or_else(own),
            max_node_provision_s: self.options.max_node_provision_s,
        }
    }

    /// The time of a loop has come. Alone it stands for a loop that is known to find nothing.
    pub fn tick(&mut self, now: f64) {
        if let Some(last) = self.last_loop_s.replace(now).filter(|last| now > *last) {
            self.interval_s = Some(self.interval_s.map_or(now - last, |least| least.min(now - last)));
        }
    }

    /// One loop.
    pub fn run_once(&mut self, world: &World, now: f64) -> Vec<Action> {
        self.tick(now);
        self.before.clear();
        let mut actions = self.settle(world, now);
        if !self.state.is_cluster_healthy() {
            self.unneeded.clear();
            return actions;
        }
        let fixes = self.fix_targets(world, now);
        if !fixes.is_empty() {
            actions.extend(fixes);
            return actions;
        }
        self.unremovable_until.retain(|_, until| *until > now);
        if self.is_quiet(world, now) {
            self.unneeded.clear();
            return actions;
        }
        let scene = self.scene(world);
        let (ups, may_scale_down) = self.scale_up(world, &scene, now);
        actions.extend(ups);
        if may_scale_down && self.options.scale_down_enabled {
            actions.extend(self.scale_down(world, scene.simulation, &scene.not_started, now));
        }
        actions
    }

    /// Whether there is nothing to simulate: no pod waits, no node leaves or comes, and none is a candidate.
    fn is_quiet(&self, world: &World, now: f64) -> bool {
        let nodes = &world.cluster.nodes;
        !self.options.enforce_min_size
            && world.pending.is_empty()
            && world.deleting.is_empty()
            && self.state.upcoming().is_empty()
            && !nodes.iter().any(|state| has_expendable(state, self.options.expendable_cutoff))
            && self.candidates(world, nodes, &[], now).is_empty()
    }

    /// Failed scale-ups, and machines that did not become nodes.
    fn settle(&mut self, world: &World, now: f64) -> Vec<Action> {
        let failed = self.update_state(world, now).into_iter();
        let mut actions: Vec<Action> = failed
            .map(|failed| Action::ScaleUpFailed { group: failed.group, message: failed.failure.message })
            .collect();
        for group in &world.groups {
            let size = self.size(world, group);
            for instance in long_unregistered(&size, self.state.unregistered(), self.options.cleanup, now) {
                actions.push(Action::DeleteInstance { group: group.id.clone(), instance });
            }
        }
        actions
    }

    fn fix_targets(&self, world: &World, now: f64) -> Vec<Action> {
        let fix = |group: &Group| {
            let size = self.state.incorrect_sizes().get(&group.id)?;
            let change = size.fix(self.options.max_node_provision_s, now);
            let to = (i64::from(group.target) + change).max(0) as u32;
            (change != 0).then(|| Action::FixTarget { group: group.id.clone(), to })
        };
        world.groups.iter().filter_map(fix).collect()
    }

    /// The simulation: nodes with the pods that count, those on their way, and pending pods that find room already.
    fn scene(&self, world: &World) -> Scene {
        let coming = self.state.upcoming();
        let not_started: Vec<String> = coming.values().flat_map(|(_, names)| names.clone()).collect();
        let cutoff = self.options.expendable_cutoff;
        let started = world.cluster.nodes.iter().filter(|state| !not_started.contains(&state.node.name));
        let kept = |state: &NodeState| {
            if !has_expendable(state, cutoff) {
                return state.clone();
            }
            let pods = state.pods.iter().filter(|pod| !is_expendable(pod, cutoff)).cloned();
            NodeState::sharing(state.node.clone(), pods)
        };
        let mut simulation = Simulation::new(started.map(kept).collect());
        let mut pending: Vec<Pod> = Vec::new();
        for pod in &world.pending {
            match pod.nominated_node.as_deref().and_then(|node| simulation.index_of(node)) {
                Some(node) => simulation.nodes[node].put(pod.clone()),
                None => pending.push(pod.clone()),
            }
        }
        for group in &world.groups {
            let count = coming.get(&group.id).map_or(0, |(count, _)| *count);
            let template = template(world, group);
            simulation.nodes.extend((0..count).map(|number| instance(&template, number as usize)));
        }
        pending.retain(|pod| !is_expendable(pod, cutoff));
        let leaving = world.cluster.nodes.iter().filter(|state| world.deleting.contains(&state.node.name));
        pending.extend(evicted_soon(leaving));
        let stays = |_: usize, state: &NodeState| !world.deleting.contains(&state.node.name);
        let left = still_pending(&mut simulation, &pending, stays);
        let helped = left.into_iter().map(|index| pending[index].clone());
        let pending = helped
            .filter(|pod| !is_daemon_set_pod(pod) && is_old_enough(pod, self.options.new_pod_scale_up_delay_s))
            .collect();
        let upcoming = coming.values().map(|(count, _)| count).sum();
        Scene { simulation, pending, not_started, upcoming }
    }

    /// What is added, and whether scale-down may follow.
    fn scale_up(&mut self, world: &World, scene: &Scene, now: f64) -> (Vec<Action>, bool) {
        let views = world.groups.iter().map(|group| GroupView {
            group,
            template: template(world, group),
            healthy: self.state.is_group_healthy(&group.id),
            backed_off: group.backed_off || self.state.backoff.status(&group.id, now).is_some(),
        });
        let nodes = &world.cluster.nodes;
        let ungrouped = nodes.iter().filter(|state| !world.group_of.contains_key(&state.node.name));
        let situation = Situation {
            groups: views.collect(),
            simulation: &scene.simulation,
            nodes: nodes.len() as i64 + scene.upcoming,
            ungrouped: ungrouped.map(|state| &*state.node).collect(),
            now_s: now,
        };
        let ready = nodes.iter().filter(|state| is_ready(&state.node)).count() as i64;
        let total = self.options.scale_up.max_nodes_total;
        if scene.pending.is_empty() {
            return self.enforce_min_size(&situation, now);
        }
        if total > 0 && ready >= total {
            let plan = limited_by_max_nodes_total(scene.pending.len());
            return (self.carry_out(world, &plan, &scene.pending, now), true);
        }
        let oldest = scene.pending.iter().map(|pod| pod.age_seconds.unwrap_or(f64::INFINITY)).fold(0.0, f64::max);
        if oldest < PODS_SETTLE_S {
            return (Vec::new(), false);
        }
        let (expander, random) = (&self.options.expander, &mut self.random);
        let plan =
            plan(&self.options.scale_up, &situation, &scene.pending, &mut |options| expander.choose(options, random));
        let successful = plan.result == PlanResult::Successful;
        (self.carry_out(world, &plan, &scene.pending, now), !successful)
    }

    fn enforce_min_size(&mut self, situation: &Situation<'_>, now: f64) -> (Vec<Action>, bool) {
        if !self.options.enforce_min_size {
            return (Vec::new(), true);
        }
        let increases = scale_up_to_min(&self.options.scale_up, situation);
        let none = increases.is_empty();
        (increases.into_iter().map(|increase| self.increase(increase, Vec::new(), now)).collect(), none)
    }

    fn increase(&mut self, increase: Increase, pods: Vec<(String, String)>, now: f64) -> Action {
        let Increase { group, from, to, max } = increase;
        if self.before.is_empty() {
            self.added_before_s = self.delays.last(EventKind::Add, None);
        }
        let added_s = self.delays.last(EventKind::Add, Some(&group));
        self.before.insert(group.clone(), Before { request: self.state.request(&group), added_s });
        let delta = i64::from(to) - i64::from(from);
        self.state.register_scale_up(&group, delta, self.options.max_node_provision_s, now);
        self.delays.record(EventKind::Add, Some(&group), now);
        Action::Increase { group, from, to, max, pods }
    }

    fn carry_out(&mut self, world: &World, plan: &Plan, pending: &[Pod], now: f64) -> Vec<Action> {
        let name = |index: &usize| (pending[*index].namespace.clone(), pending[*index].name.clone());
        let mut actions = Vec::new();
        for (index, increase) in plan.increases.iter().enumerate() {
            let told = if index == 0 { plan.told_triggered() } else { &[] };
            let pods = told.iter().map(name).collect();
            actions.push(self.increase(increase.clone(), pods, now));
        }
        let exists = |id: &str| world.groups.iter().any(|group| group.id == id);
        actions.extend(plan.told_unschedulable().iter().map(|(index, reasons)| Action::NotTriggered {
            pod: name(index),
            message: reasons.message(&plan.result, exists),
        }));
        actions
    }
}

/// An empty node of a group: a ready one of it without its pods but for those that every node has, or the cloud's.
fn template(world: &World, group: &Group) -> NodeState {
    let own = world.cluster.nodes.iter().find(|state| {
        is_ready(&state.node)
            && world.group_of.get(&state.node.name) == Some(&group.id)
            && !world.deleting.contains(&state.node.name)
    });
    let mut template = match own {
        Some(state) => {
            let stays = |pod: &&Arc<Pod>| is_daemon_set_pod(pod) || is_mirror_pod(pod);
            NodeState::sharing(state.node.clone(), state.pods.iter().filter(stays).cloned())
        }
        None => NodeState::new(group.template.clone(), Vec::new()),
    };
    let node = template.node_mut();
    node.name.clone_from(&group.id);
    node.ready = Some(true);
    node.unschedulable = false;
    node.taints.retain(|taint| taint.key != TO_BE_DELETED && taint.key != "DeletionCandidateOfClusterAutoscaler");
    template
}
