//! The figures that docs/semantics.md gives, and what must hold whatever the figures are.

use democtl_core::autoscale::{
    hpa::{Direction, ScaleEvent, clamp_legacy, default_rules, scale_up_limit},
    nodes::{
        DrainContext, DrainOptions, GroupNodes, Limiter, Parallelism, Simulation, Size, crop, distribute, estimate,
        plan_removals,
    },
    schedule::{Node, NodeState, Owner, Pod, Resources},
};
use proptest::prelude::*;

#[test]
fn from_two_replicas_three_syncs_pass_twenty() {
    let rules = default_rules(Direction::Up, None);
    let (mut replicas, mut events, mut steps) = (2, Vec::new(), Vec::new());
    for sync in 0..3 {
        let now = f64::from(sync) * 15.0;
        let limit = scale_up_limit(replicas, &events, &[], &rules, now);
        events.push(ScaleEvent { replica_change: limit - replicas, at_s: now, outdated: false });
        replicas = limit;
        steps.push(replicas);
    }
    assert_eq!(steps, [6, 12, 24]);
    assert_eq!(clamp_legacy(2, 100, (1, 100), (2.0, 4.0)).replicas, 4, "without a behaviour twice as many, or four");
}

fn pod(cpu: i64) -> Pod {
    let owner = Owner { kind: "ReplicaSet".into(), uid: "u".into(), ..Owner::default() };
    let request = Resources { cpu_milli: Some(cpu), ..Resources::default() };
    Pod { containers: vec![request], owner: Some(owner), ..Pod::default() }
}

fn node(name: &str, cpu: i64, pods: &[i64]) -> NodeState {
    let allocatable = Resources { cpu_milli: Some(cpu), pods: Some(30), ..Resources::default() };
    let node = Node { name: name.into(), allocatable, ready: Some(true), ..Node::default() };
    NodeState::new(node, pods.iter().map(|cpu| pod(*cpu)).collect())
}

proptest! {
    /// Nodes are shared out without one being lost or a group growing beyond its limit.
    #[test]
    fn new_nodes_are_all_shared_out(sizes in prop::collection::vec((0_u32..9, 0_u32..9), 0..6), nodes in 0_u32..40) {
        let size = |(id, (target, max)): (usize, &(u32, u32))| Size { id: id.to_string(), target: *target, max: *max };
        let sizes: Vec<Size> = sizes.iter().enumerate().map(size).collect();
        let room: u32 = sizes.iter().map(|size| size.max.saturating_sub(size.target)).sum();
        let mut added = 0;
        for (id, to) in distribute(&sizes, nodes) {
            let size = sizes.iter().find(|size| size.id == id).expect("a group of ours");
            prop_assert!(to > size.target && to <= size.max);
            added += to - size.target;
        }
        prop_assert_eq!(added, nodes.min(room));
    }

    /// An estimate keeps to its limit and places each pod once; without a limit every pod that fits a node is placed.
    #[test]
    fn estimates_keep_to_their_limit(pods in prop::collection::vec(1_i64..2500, 0..40), limit in 0_i64..12) {
        let pods: Vec<Pod> = pods.iter().map(|cpu| pod(*cpu)).collect();
        let groups: Vec<Vec<&Pod>> = pods.iter().map(|pod| vec![pod]).collect();
        let mut limiter = Limiter::new(&[(limit, 0)], 0.0);
        let got = estimate(&node("t", 2000, &[]), &groups, &Simulation::default(), &mut limiter, 0.0);
        prop_assert!(limit == 0 || i64::from(got.nodes) <= limit);
        let mut once = got.pods.clone();
        once.dedup();
        prop_assert_eq!(once.len(), got.pods.len());
        if limit == 0 {
            let fitting = pods.iter().filter(|pod| pod.requests(true).cpu_milli <= Some(2000)).count();
            prop_assert_eq!(got.pods.len(), fitting);
        }
    }

    /// Whatever nodes are taken away at once, the pods of all of them fit on those that stay.
    #[test]
    fn removals_leave_room_for_every_pod(nodes in prop::collection::vec(prop::collection::vec(1_i64..650, 0..4), 1..8)) {
        let states: Vec<NodeState> =
            nodes.iter().enumerate().map(|(number, pods)| node(&format!("n{number}"), 2000, pods)).collect();
        let candidates: Vec<String> = states.iter().map(|state| state.node.name.clone()).collect();
        let before: usize = states.iter().map(|state| state.pods.len()).sum();
        let mut simulation = Simulation::new(states);
        let context = DrainContext { budgets: &[], controllers: None, options: DrainOptions::default() };
        let planned = plan_removals(&mut simulation, &candidates, &context, 100, |_| false, |_| true);
        prop_assert_eq!(simulation.nodes.len() + planned.removable.len(), candidates.len());
        prop_assert_eq!(simulation.nodes.iter().map(|state| state.pods.len()).sum::<usize>(), before);
        for state in &simulation.nodes {
            prop_assert!(state.used().cpu_milli.unwrap_or(0) <= 2000);
        }
    }

    /// Deletions and drains never pass what is allowed, but for one group that goes as a whole.
    #[test]
    fn budgets_are_kept(empty in prop::collection::vec(0_usize..6, 0..5), drain in prop::collection::vec(0_usize..6, 0..5),
                        busy in 0_usize..12, draining in 0_usize..7) {
        let groups = |counts: &[usize]| -> Vec<GroupNodes<usize>> {
            let group = |(id, count): (usize, &usize)| GroupNodes {
                group: id.to_string(),
                target: 9,
                zero_or_max: false,
                nodes: (0..*count).collect(),
            };
            counts.iter().enumerate().map(group).collect()
        };
        let limits = Parallelism {
            max_deletions: 10,
            max_drains: 5,
            empty_in_progress: busy,
            drains_in_progress: draining,
        };
        let (deleted, drained) = crop(groups(&empty), groups(&drain), limits);
        let count = |groups: &[GroupNodes<usize>]| groups.iter().map(|group| group.nodes.len()).sum::<usize>();
        prop_assert!(count(&deleted) + count(&drained) <= 10_usize.saturating_sub(busy + draining));
        prop_assert!(count(&drained) <= 5_usize.saturating_sub(draining));
    }
}
