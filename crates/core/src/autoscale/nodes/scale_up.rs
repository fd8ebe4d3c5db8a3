//! Scaling up: which pending pods a new node would help, and which group gets how many.

use std::collections::BTreeMap;

use rand::Rng;

use super::{Action, Group, Options, World, estimate::estimate, expander::Option as Expansion};
use crate::autoscale::schedule::{FitOptions, NodeState, Pod};

/// The plan of one loop: at most one increase, or why nothing helps each pod.
pub(super) fn plan(options: &Options, world: &World, random: &mut impl Rng) -> Vec<Action> {
    let pending = still_pending(world);
    if pending.is_empty() {
        return Vec::new();
    }
    let mut expansions = Vec::new();
    let mut refusals = BTreeMap::<(String, String), BTreeMap<String, usize>>::new();
    for (index, group) in world.groups.iter().enumerate() {
        if let Some(reason) = skipped(group) {
            for pod in &pending {
                *refusals.entry(name(pod)).or_default().entry(reason.to_owned()).or_default() += 1;
            }
            continue;
        }
        let empty = NodeState::new(group.template.clone(), Vec::new());
        let mut schedulable = Vec::new();
        for pod in &pending {
            match empty.accepts(pod, &FitOptions::default()) {
                Ok(()) => schedulable.push(*pod),
                Err(refusal) => {
                    let reasons = refusals.entry(name(pod)).or_default();
                    for reason in refusal.reasons {
                        *reasons.entry(reason).or_default() += 1;
                    }
                }
            }
        }
        let estimate = estimate(&group.template, &schedulable, group.max - group.target);
        if estimate.nodes > 0 {
            let pods = estimate.pods.iter().map(|at| schedulable[*at]).collect();
            expansions.push(Expansion { group: index, nodes: estimate.nodes, pods, template: &group.template });
        }
    }
    let Some(chosen) = options.expander.choose(&expansions, random) else {
        return pending.iter().map(|pod| not_triggered(pod, &refusals)).collect();
    };
    let Expansion { group, nodes, pods, .. } = &expansions[chosen];
    let group = &world.groups[*group];
    vec![Action::Increase {
        group: group.id.clone(),
        from: group.target,
        to: group.target + nodes,
        max: group.max,
        pods: pods.iter().map(|pod| name(pod)).collect(),
    }]
}

fn name(pod: &Pod) -> (String, String) {
    (pod.namespace.clone(), pod.name.clone())
}

fn skipped(group: &Group) -> Option<&'static str> {
    if group.backed_off {
        return Some("in backoff after failed scale-up");
    }
    (group.target >= group.max).then_some("max node group size reached")
}

fn not_triggered(pod: &Pod, refusals: &BTreeMap<(String, String), BTreeMap<String, usize>>) -> Action {
    let pod = name(pod);
    let reasons = refusals.get(&pod).into_iter().flatten().map(|(reason, count)| format!("{count} {reason}"));
    let reasons: Vec<String> = reasons.collect();
    let message = format!("pod didn't trigger scale-up: {}", reasons.join(", "));
    Action::NotTriggered { pod, message }
}

/// Pending pods that fit neither on the nodes there are nor on those that are coming.
fn still_pending(world: &World) -> Vec<&Pod> {
    let mut nodes: Vec<NodeState> =
        world.cluster.nodes.iter().filter(|state| !world.deleting.contains(&state.node.name)).cloned().collect();
    for group in &world.groups {
        let here = world.group_of.values().filter(|id| **id == group.id).count() as u32;
        let coming = group.target.saturating_sub(here);
        nodes.extend((0..coming).map(|_| NodeState::new(group.template.clone(), Vec::new())));
    }
    let mut pending: Vec<&Pod> =
        world.pending.iter().filter(|pod| pod.owner.as_ref().is_none_or(|owner| owner.kind != "DaemonSet")).collect();
    pending.sort_by_key(|pod| std::cmp::Reverse(pod.priority.unwrap_or(0)));
    let options = FitOptions::default();
    let mut next = 0;
    pending.retain(|pod| {
        let count = nodes.len();
        let found = (0..count).map(|step| (next + step) % count).find(|at| nodes[*at].accepts(pod, &options).is_ok());
        if let Some(at) = found {
            nodes[at].put((*pod).clone());
            next = (at + 1) % count;
        }
        found.is_none()
    });
    pending
}
