//! Whether the pods of nodes find places elsewhere: one node after the other, each success persisting.
//!
//! Upstream: `simulator/cluster.go`, `core/scaledown/planner/planner.go`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    drain::{Controller, DrainContext, drain},
    eligibility::TO_BE_DELETED,
    pending::is_recreated,
    simulation::Simulation,
};
use crate::autoscale::schedule::{Pod, Taint};

/// A node whose pods all find another place.
#[derive(Debug, Clone, PartialEq)]
pub struct Removable {
    /// Node.
    pub node: String,
    /// Pods that move.
    pub moved: Vec<Arc<Pod>>,
    /// Pods that go with it.
    pub daemon_set: Vec<Arc<Pod>>,
}

/// Why a node must stay.
#[derive(Debug, Clone, PartialEq)]
pub enum Unremovable {
    /// It is not there.
    NoNodeInfo,
    /// A pod of it must not move.
    BlockedByPod {
        /// The pod.
        pod: Box<Pod>,
        /// Upstream's reason.
        reason: &'static str,
    },
    /// A pod of it fits nowhere.
    NoPlaceToMovePods,
}

impl Unremovable {
    /// Upstream's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoNodeInfo => "NoNodeInfo",
            Self::BlockedByPod { .. } => "BlockedByPod",
            Self::NoPlaceToMovePods => "NoPlaceToMovePods",
        }
    }
}

/// Simulates the removal of one node. A success takes the node out and leaves its pods where they went, when `persist`
/// is on; otherwise the simulation is as it was. Nodes that `destination` refuses take no pods.
pub fn simulate(
    simulation: &mut Simulation,
    name: &str,
    context: &DrainContext<'_>,
    persist: bool,
    destination: impl Fn(&str) -> bool,
) -> Result<Removable, Unremovable> {
    let index = simulation.index_of(name).ok_or(Unremovable::NoNodeInfo)?;
    let drained = drain(&simulation.nodes[index].pods, context).map_err(|blocked| Unremovable::BlockedByPod {
        pod: Box::new(Pod::clone(&simulation.nodes[index].pods[blocked.pod])),
        reason: blocked.reason,
    })?;
    let before = (!persist).then(|| simulation.clone());
    let pods = |indices: &[usize]| -> Vec<Arc<Pod>> {
        indices.iter().map(|at| simulation.nodes[index].pods[*at].clone()).collect()
    };
    let (moved, daemon_set) = (pods(&drained.moved), pods(&drained.daemon_set));
    // The node stays as a ghost while its pods look for places: it is a topology domain still.
    let node = simulation.nodes[index].clone();
    for at in drained.moved.iter().rev() {
        simulation.nodes[index].take(*at);
    }
    let taint = Taint { key: TO_BE_DELETED.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    simulation.nodes[index].node_mut().taints.push(taint);
    let placed = simulation
        .place_all(&moved, |other, state| other != index && destination(&state.node.name))
        .ok_or(Unremovable::NoPlaceToMovePods);
    match (placed, before) {
        (Ok(_), None) => {
            simulation.remove(index);
        }
        (Ok(_), Some(before)) => *simulation = before,
        (Err(unremovable), _) => {
            simulation.nodes[index] = node;
            return Err(unremovable);
        }
    }
    Ok(Removable { node: name.to_owned(), moved, daemon_set })
}

/// Puts pods that were evicted lately and are not back yet, until one fits nowhere. `replicas` tells of their owners.
pub fn put_back(
    simulation: &mut Simulation,
    evicted: &[Pod],
    replicas: impl Fn(&Pod) -> Option<Controller>,
    destination: impl Fn(&str) -> bool,
) {
    let mut back = BTreeMap::<(String, String, String), i64>::new();
    for pod in evicted.iter().filter(|pod| is_recreated(pod)) {
        let owner = pod.owner.as_ref().map(|owner| (owner.kind.clone(), pod.namespace.clone(), owner.name.clone()));
        let known = owner.as_ref().and_then(|_| replicas(pod));
        if let (Some(owner), Some(controller)) = (owner, known) {
            let already = back.entry(owner).or_default();
            if controller.spec_replicas.unwrap_or(1) - controller.status_replicas <= *already {
                continue;
            }
            *already += 1;
        }
        let pod = Pod { node: None, ..pod.clone() };
        if simulation.place(&pod, |_, state| destination(&state.node.name)).is_none() {
            return;
        }
    }
}

/// How many removable nodes are looked for when `unneeded` were found before.
pub fn unneeded_limit(unneeded: usize, max_parallelism: usize, unneeded_time_s: f64, loop_interval_s: f64) -> usize {
    let (time, interval) = (unneeded_time_s.max(loop_interval_s), loop_interval_s);
    let loops = if interval > 0.0 { (time / interval) as usize } else { usize::MAX / max_parallelism.max(1) / 2 };
    (unneeded + 2 * max_parallelism).min(max_parallelism * loops + max_parallelism)
}

/// What a pass of the planner found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Planned {
    /// Nodes whose pods all find places at the same time.
    pub removable: Vec<Removable>,
    /// The others that were looked at.
    pub unremovable: Vec<(String, Unremovable)>,
}

/// Looks at candidates in order until `limit` nodes are found; nodes that `is_free` tells of are not counted.
pub fn plan(
    simulation: &mut Simulation,
    candidates: &[String],
    context: &DrainContext<'_>,
    limit: usize,
    is_free: impl Fn(&str) -> bool,
    destination: impl Fn(&str) -> bool,
) -> Planned {
    let (mut planned, mut counted) = (Planned::default(), 0);
    for candidate in candidates {
        if counted >= limit {
            break;
        }
        match simulate(simulation, candidate, context, true, &destination) {
            Ok(removable) => {
                counted += usize::from(!is_free(candidate));
                planned.removable.push(removable);
            }
            Err(why) => planned.unremovable.push((candidate.clone(), why)),
        }
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::{
        nodes::DrainOptions,
        schedule::{Node, NodeState, Owner, Resources},
    };

    fn pod(name: &str, cpu: i64, owned: bool) -> Pod {
        let owner = Owner { kind: "ReplicaSet".into(), name: "rs".into(), ..Owner::default() };
        let request = Resources { cpu_milli: Some(cpu), ..Resources::default() };
        Pod { name: name.into(), containers: vec![request], owner: owned.then_some(owner), ..Pod::default() }
    }

    fn node(name: &str, pods: Vec<Pod>) -> NodeState {
        let allocatable = Resources { cpu_milli: Some(1000), pods: Some(9), ..Resources::default() };
        NodeState::new(Node { name: name.into(), allocatable, ..Node::default() }, pods)
    }

    const CONTEXT: DrainContext<'static> = DrainContext {
        budgets: &[],
        controllers: None,
        options: DrainOptions {
            skip_system_pods: true,
            skip_local_storage: true,
            skip_custom_controller_pods: true,
            min_replica_count: 0,
            system_pod_timeout_s: 3600.0,
        },
    };

    #[test]
    fn each_success_takes_room_from_the_next() {
        let nodes = vec![
            node("a", vec![pod("p", 600, true)]),
            node("b", vec![pod("q", 600, true)]),
            node("c", vec![pod("r", 300, false)]),
        ];
        let mut simulation = Simulation::new(nodes);
        let candidates = ["a", "b", "c", "d"].map(ToOwned::to_owned);
        let planned = plan(&mut simulation, &candidates, &CONTEXT, 10, |_| false, |_| true);
        assert_eq!(planned.removable.iter().map(|found| found.node.as_str()).collect::<Vec<_>>(), ["a"]);
        let reasons: Vec<_> = planned.unremovable.iter().map(|(_, why)| why.reason()).collect();
        assert_eq!(reasons, ["NoPlaceToMovePods", "BlockedByPod", "NoNodeInfo"]);
        assert_eq!(simulation.nodes[0].pods.len(), 1, "a node that stays has its pods again");
    }

    #[test]
    fn pods_that_were_evicted_take_room_until_their_owner_has_enough() {
        let mut simulation = Simulation::new(vec![node("a", vec![])]);
        let evicted = [pod("p", 400, true), pod("q", 400, true)];
        let controller = Controller { spec_replicas: Some(3), status_replicas: 2 };
        put_back(&mut simulation, &evicted, |_| Some(controller), |_| true);
        assert_eq!(simulation.nodes[0].pods.len(), 1);
    }

    #[test]
    fn the_limit_follows_parallelism_and_what_was_found_before() {
        assert_eq!(unneeded_limit(5, 10, 60.0, 10.0), 25);
        assert_eq!(unneeded_limit(500, 10, 60.0, 10.0), 70);
        assert_eq!(unneeded_limit(500, 10, 1.0, 10.0), 20);
    }
}
