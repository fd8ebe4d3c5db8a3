//! Scaling down: nodes that are little used and whose pods fit elsewhere, long enough.

use std::collections::BTreeMap;

use super::{
    Action, Autoscaler, World,
    drain::{Movable, is_long_terminating, movable},
};
use crate::autoscale::schedule::{FitOptions, NodeState, Pod};

const DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";

/// A node whose pods all find another place.
struct Removable {
    node: String,
    group: String,
    pods: Vec<(String, String)>,
    utilization: f64,
}

impl Autoscaler {
    /// Nodes to be removed now; the timers run on whether any is or not.
    pub(super) fn scale_down(&mut self, world: &World, now: f64) -> Vec<Action> {
        self.unremovable_until.retain(|_, until| *until > now);
        let removable = self.find_removable(world, now);
        let names: Vec<&String> = removable.iter().map(|found| &found.node).collect();
        self.unneeded_since.retain(|node, _| names.contains(&node));
        for found in &removable {
            self.unneeded_since.entry(found.node.clone()).or_insert(now);
        }
        if self.last_scale_up_s + self.options.scale_down_delay_after_add_s > now {
            return Vec::new();
        }
        self.choose(world, removable, now)
    }

    /// Simulates the removal of each candidate in turn; a success persists for the next ones.
    fn find_removable(&mut self, world: &World, now: f64) -> Vec<Removable> {
        let mut nodes: Vec<NodeState> = world.cluster.nodes.clone();
        let mut found = Vec::new();
        let mut pointer = 0;
        for state in &world.cluster.nodes {
            let name = &state.node.name;
            let Some(group) = world.group_of.get(name) else { continue };
            let at_minimum = world.groups.iter().any(|known| known.id == *group && known.target <= known.min);
            let disabled = state.node.annotations.get(DISABLED).is_some_and(|text| text == "true");
            if at_minimum || disabled || world.deleting.contains(name) || self.unremovable_until.contains_key(name) {
                continue;
            }
            let Some(utilization) = utilization(state) else { continue };
            if utilization > self.options.utilization_threshold {
                continue;
            }
            match self.simulate(world, &mut nodes, name, &mut pointer) {
                Some(pods) => {
                    found.push(Removable { node: name.clone(), group: group.clone(), pods, utilization });
                }
                None => {
                    self.unremovable_until.insert(name.clone(), now + self.options.unremovable_recheck_s);
                }
            }
        }
        found
    }

    /// Moves the pods of a node to others, or leaves everything as it was.
    fn simulate(
        &self,
        world: &World,
        nodes: &mut Vec<NodeState>,
        name: &str,
        pointer: &mut usize,
    ) -> Option<Vec<(String, String)>> {
        let at = nodes.iter().position(|state| state.node.name == name)?;
        let mut moving: Vec<Pod> = Vec::new();
        for pod in &nodes[at].pods {
            match movable(pod, &world.budgets, self.options.drain) {
                Ok(Movable::Moves) => moving.push(pod.clone()),
                Ok(Movable::Stays) => {}
                Err(_) => return None,
            }
        }
        let mut trial = nodes.clone();
        let options = FitOptions::default();
        for pod in &moving {
            let count = trial.len();
            let place = (0..count).map(|step| (*pointer + step) % count).find(|index| {
                *index != at
                    && !world.deleting.contains(&trial[*index].node.name)
                    && trial[*index].accepts(pod, &options).is_ok()
            })?;
            trial[place].put(pod.clone());
            *pointer = (place + 1) % count;
        }
        trial.remove(at);
        *nodes = trial;
        Some(moving.into_iter().map(|pod| (pod.namespace, pod.name)).collect())
    }

    /// Those that were unneeded long enough: empty ones first, within the budgets and above the groups' minimum.
    fn choose(&self, world: &World, removable: Vec<Removable>, now: f64) -> Vec<Action> {
        let mut sizes: BTreeMap<&str, (u32, u32)> =
            world.groups.iter().map(|group| (group.id.as_str(), (group.target, group.min))).collect();
        let mut slots = self.options.max_parallelism.saturating_sub(world.deleting.len());
        let mut drains = self.options.max_drains.saturating_sub(world.deleting.len());
        let (empty, full): (Vec<_>, Vec<_>) = removable.into_iter().partition(|found| found.pods.is_empty());
        let mut actions = Vec::new();
        for found in empty.into_iter().chain(full) {
            let since = self.unneeded_since.get(&found.node).copied().unwrap_or(now);
            let long_enough = since + self.options.scale_down_unneeded_s < now;
            let Some((target, min)) = sizes.get_mut(found.group.as_str()) else { continue };
            let needs_drain = !found.pods.is_empty();
            if !long_enough || *target <= *min || slots == 0 || (needs_drain && drains == 0) {
                continue;
            }
            *target -= 1;
            slots -= 1;
            drains -= usize::from(needs_drain);
            actions.push(Action::Remove { node: found.node, pods: found.pods, utilization: found.utilization });
        }
        actions
    }
}

/// The greater share of CPU or memory that pods request; none when the node does not state what it has.
fn utilization(state: &NodeState) -> Option<f64> {
    let mut used = state.used().clone();
    for pod in state.pods.iter().filter(|pod| is_long_terminating(pod)) {
        used.subtract(&pod.requests(true));
    }
    let share = |used: Option<i64>, has: Option<i64>| {
        has.filter(|has| *has > 0).map(|has| used.unwrap_or(0) as f64 / has as f64)
    };
    let allocatable = &state.node.allocatable;
    let cpu = share(used.cpu_milli, allocatable.cpu_milli)?;
    Some(cpu.max(share(used.memory_bytes, allocatable.memory_bytes)?))
}
