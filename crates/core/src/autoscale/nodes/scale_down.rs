//! Scaling down: nodes that are little used and whose pods fit elsewhere, long enough.
//!
//! Upstream: `core/scaledown/planner`, `processors/scaledowncandidates`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Action, Autoscaler, World,
    budget::{Cropped, GroupNodes, Parallelism, crop},
    delays::EventKind,
    drain::{Budget, DrainContext, can_remove},
    eligibility::{eligible, is_disabled},
    limits::node_amounts,
    readiness::is_ready,
    removal::{Removable, Unremovable, plan, put_back, unneeded_limit},
    simulation::Simulation,
    unneeded::{Candidate, RemovalLimits},
};
use crate::autoscale::schedule::{NodeState, Pod};

/// A node that was found removable.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    group: String,
    removable: Removable,
    utilization: f64,
    ready: bool,
}

/// Groups that may lose a node: each is a name, a target and a minimum.
pub fn shrinkable<'a>(groups: impl IntoIterator<Item = (&'a str, i64, i64)>) -> Vec<&'a str> {
    groups.into_iter().filter(|(_, target, min)| target > min).map(|(id, ..)| id).collect()
}

/// Nodes that can go now, by group: those without pods to move, and those to drain with the awkward ones last. A group
/// that has all of its nodes or none stays unless all of them can go.
pub fn nodes_to_delete<T>(groups: Vec<GroupNodes<(T, usize, bool)>>) -> Cropped<T> {
    let (mut empty, mut drain) = (Vec::new(), Vec::new());
    for GroupNodes { group, target, zero_or_max, nodes } in groups {
        if zero_or_max && nodes.len() != target {
            continue;
        }
        let mut lists: [Vec<T>; 3] = [Vec::new(), Vec::new(), Vec::new()];
        for (node, pods, at_once) in nodes {
            lists[if pods == 0 {
                0
            } else if at_once {
                1
            } else {
                2
            }]
            .push(node);
        }
        let [without, mut with, awkward] = lists;
        with.extend(awkward);
        let list = |nodes| GroupNodes { group: group.clone(), target, zero_or_max, nodes };
        empty.extend((!without.is_empty()).then(|| list(without)));
        drain.extend((!with.is_empty()).then(|| list(with)));
    }
    (empty, drain)
}

impl Autoscaler {
    /// Nodes to be removed now; the timers run on whether any is or not.
    pub(super) fn scale_down(
        &mut self,
        world: &World,
        mut simulation: Simulation,
        not_started: &[String],
        now: f64,
    ) -> Vec<Action> {
        self.evicted.retain(|(at, _)| at + self.options.max_graceful_termination_s > now);
        let eligible = self.candidates(world, &simulation.nodes, not_started, now);
        let candidates: Vec<String> = eligible.iter().map(|(node, _)| node.clone()).collect();
        let utilizations: BTreeMap<String, f64> = eligible.into_iter().collect();
        let found = self.find(world, &mut simulation, &candidates, now);
        let ready = world.cluster.nodes.iter().filter(|state| is_ready(&state.node));
        let ready: BTreeSet<&str> = ready.map(|state| state.node.name.as_str()).collect();
        let found = found.into_iter().filter_map(|removable| {
            let node = removable.node.clone();
            let group = world.group_of.get(&node)?.clone();
            let utilization = utilizations.get(&node).copied().unwrap_or(0.0);
            let ready = ready.contains(node.as_str());
            Some((node, Found { group, removable, utilization, ready }))
        });
        let found: Vec<_> = found.collect();
        self.unneeded.update(found, now);
        if self.delays.is_cooling_down(now) {
            return Vec::new();
        }
        self.choose(world, now)
    }

    /// Nodes that may be looked at, with their shares.
    pub(super) fn candidates(
        &self,
        world: &World,
        nodes: &[NodeState],
        not_started: &[String],
        now: f64,
    ) -> Vec<(String, f64)> {
        let sizes = world.groups.iter().map(|group| (group.id.as_str(), i64::from(group.target), i64::from(group.min)));
        let open: Vec<&str> =
            shrinkable(sizes).into_iter().filter(|group| !self.delays.is_delayed(group, now)).collect();
        let judge = |state: &NodeState| {
            let name = &state.node.name;
            let group = world.group_of.get(name)?;
            let barred = !open.contains(&group.as_str())
                || not_started.contains(name)
                || world.deleting.contains(name)
                || self.unremovable_until.contains_key(name);
            if barred {
                return None;
            }
            let share = eligible(state, true, self.options.eligibility(), world.unix_s).ok()?;
            Some((name.clone(), share))
        };
        nodes.iter().filter_map(judge).collect()
    }

    fn find(&mut self, world: &World, simulation: &mut Simulation, candidates: &[String], now: f64) -> Vec<Removable> {
        let context = DrainContext {
            budgets: &world.budgets,
            controllers: world.controllers.as_ref(),
            options: self.options.drain,
        };
        let stay = world.cluster.nodes.iter().filter(|state| !world.deleting.contains(&state.node.name));
        let stay: BTreeSet<&str> = stay.map(|state| state.node.name.as_str()).collect();
        let real = |name: &str| stay.contains(name);
        let replicas = |pod: &Pod| {
            let owner = pod.owner.as_ref()?;
            let key = (owner.kind.clone(), pod.namespace.clone(), owner.name.clone());
            world.controllers.as_ref()?.get(&key).copied()
        };
        if world.controllers.is_some() {
            let evicted: Vec<Pod> = self.evicted.iter().map(|(_, pod)| pod.clone()).collect();
            put_back(simulation, &evicted, replicas, real);
        }
        let limit = unneeded_limit(
            self.unneeded.len(),
            self.options.max_parallelism,
            self.options.scale_down_unneeded_s,
            self.loop_interval_s(),
        );
        let free = |_: &str| self.options.scale_up.zero_or_max;
        let planned = plan(simulation, candidates, &context, limit, free, real);
        for (node, why) in planned.unremovable {
            if why != Unremovable::NoNodeInfo {
                self.unremovable_until.insert(node, now + self.options.unremovable_recheck_s);
            }
        }
        planned.removable
    }

    /// Those that were unneeded long enough: empty ones first, within the budgets and above the groups' minimum.
    fn choose(&mut self, world: &World, now: f64) -> Vec<Action> {
        let accepted = self.accepted(world, now);
        let mut groups = BTreeMap::<&str, Vec<(String, usize, bool)>>::new();
        for (node, found) in &accepted {
            let moved: Vec<&Pod> = found.removable.moved.iter().map(AsRef::as_ref).collect();
            let (_, at_once) = can_remove(&moved, &world.budgets);
            groups.entry(found.group.as_str()).or_default().push((node.clone(), moved.len(), at_once));
        }
        let target =
            |id: &str| world.groups.iter().find(|group| group.id == id).map_or(0, |group| group.target as usize);
        let zero_or_max = self.options.scale_up.zero_or_max;
        let groups = groups.into_iter().map(|(group, nodes)| GroupNodes {
            group: group.to_owned(),
            target: target(group),
            zero_or_max,
            nodes,
        });
        let drains = self.drains.still(&world.deleting);
        let (empty, drain) = nodes_to_delete(groups.collect());
        let limits = Parallelism {
            max_deletions: self.options.max_parallelism,
            max_drains: self.options.max_drains,
            empty_in_progress: world.deleting.len() - drains,
            drains_in_progress: drains,
        };
        let (empty, drain) = crop(empty, drain, limits);
        let mut actions = Vec::new();
        for node in empty.into_iter().chain(drain).flat_map(|group| group.nodes) {
            let Some((_, found)) = accepted.iter().find(|(name, _)| *name == node) else { continue };
            self.delays.record(EventKind::Delete, Some(&found.group), now);
            let pods = &found.removable.moved;
            if !pods.is_empty() {
                self.drains.note(&node);
                self.evicted.extend(pods.iter().map(|pod| (now, Pod::clone(pod))));
            }
            let pods = pods.iter().map(|pod| (pod.namespace.clone(), pod.name.clone())).collect();
            actions.push(Action::Remove { node, pods, utilization: found.utilization });
        }
        actions
    }

    /// Unneeded nodes that time, sizes and limits let go: empty ones are asked first.
    fn accepted<'w>(&'w self, world: &'w World, now: f64) -> Vec<(String, Found)> {
        let in_progress = |group: &str| {
            let deleting = world.deleting.iter().filter(|node| world.group_of.get(*node).is_some_and(|of| of == group));
            deleting.count() as i64
        };
        let size = |group: &super::Group| {
            let size = i64::from(group.target) - in_progress(&group.id);
            (group.id.clone(), (size, i64::from(group.min)))
        };
        let mut limits = RemovalLimits {
            sizes: world.groups.iter().map(size).collect(),
            unneeded_s: self.options.scale_down_unneeded_s,
            unready_s: self.options.scale_down_unready_s,
            ..RemovalLimits::default()
        };
        let found = |state: &'w NodeState| {
            let (since, found) = self.unneeded.get(&state.node.name)?;
            Some((state, since, found))
        };
        let mut unneeded: Vec<_> = world.cluster.nodes.iter().filter_map(found).collect();
        unneeded.sort_by_key(|(.., found)| !found.removable.moved.is_empty());
        let mut accepted = Vec::new();
        for (state, since_s, found) in unneeded {
            let candidate = Candidate {
                group: &found.group,
                disabled: is_disabled(state),
                ready: found.ready,
                since_s,
                amounts: node_amounts(&state.node),
            };
            if limits.accept(&candidate, now).is_ok() {
                accepted.push((state.node.name.clone(), found.clone()));
            }
        }
        accepted
    }
}

/// Whether budgets let all pods go, and all at once.
pub fn disruptions(pods: &[Pod], budgets: &[Budget]) -> (bool, bool) {
    can_remove(&pods.iter().collect::<Vec<_>>(), budgets)
}
