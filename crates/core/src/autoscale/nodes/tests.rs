//! Whole loops.

use super::*;
use crate::autoscale::schedule::{NodeState, Owner, Resources};

fn resources(cpu: i64) -> Resources {
    Resources { cpu_milli: Some(cpu), memory_bytes: Some(cpu << 20), pods: Some(110), ..Resources::default() }
}

fn node(name: &str) -> Node {
    Node { name: name.into(), allocatable: resources(4000), ready: Some(true), ..Node::default() }
}

fn pod(name: &str, cpu: i64) -> Pod {
    let request = Resources { pods: None, ..resources(cpu) };
    let owner = Owner { kind: "ReplicaSet".into(), name: "web".into(), uid: "u".into(), ..Owner::default() };
    Pod { name: name.into(), namespace: "demo".into(), containers: vec![request], owner: Some(owner), ..Pod::default() }
}

fn world(nodes: &[(&str, &[i64])], target: u32, pending: &[i64]) -> World {
    let state = |(name, pods): &(&str, &[i64])| {
        let pods = pods.iter().enumerate().map(|(i, cpu)| pod(&format!("{name}-{i}"), *cpu)).collect();
        NodeState::new(node(name), pods)
    };
    World {
        groups: vec![Group {
            id: "pool".into(),
            min: 2,
            max: 7,
            target,
            template: node("template"),
            backed_off: false,
        }],
        cluster: Cluster { nodes: nodes.iter().map(state).collect() },
        group_of: nodes.iter().map(|(name, _)| ((*name).to_owned(), "pool".to_owned())).collect(),
        pending: pending.iter().enumerate().map(|(i, cpu)| pod(&format!("p{i}"), *cpu)).collect(),
        ..World::default()
    }
}

#[test]
fn pods_that_do_not_fit_add_nodes() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let world = world(&[("a", &[3800]), ("b", &[3800])], 2, &[500, 500, 500]);
    let actions = autoscaler.run_once(&world, 0.0);
    let Action::Increase { from, to, max, pods, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!((*from, *to, *max, pods.len()), (2, 3, 7, 3));
}

#[test]
fn a_node_that_is_coming_is_counted() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let world = world(&[("a", &[3800]), ("b", &[3800])], 3, &[500, 500, 500]);
    assert_eq!(autoscaler.run_once(&world, 0.0), []);
}

#[test]
fn a_full_group_or_a_pod_too_large_is_told_to_the_pod() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let mut full = world(&[("a", &[3800]), ("b", &[3800])], 2, &[]);
    full.groups[0].max = 2;
    let full = World { pending: vec![pod("p", 5000)], ..full };
    let actions = autoscaler.run_once(&full, 0.0);
    let Action::NotTriggered { message, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(message, "pod didn't trigger scale-up: 1 max node group size reached");
}

#[test]
fn a_node_goes_after_its_time_and_not_before() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let world = world(&[("a", &[2500]), ("b", &[2500]), ("c", &[500])], 3, &[]);
    assert_eq!(autoscaler.run_once(&world, 0.0), []);
    assert_eq!(autoscaler.run_once(&world, 600.0), [], "strictly longer than the unneeded time");
    let actions = autoscaler.run_once(&world, 601.0);
    let Action::Remove { node, pods, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!((node.as_str(), pods.len()), ("c", 1));
}

#[test]
fn a_scale_up_puts_scale_down_off() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let busy = world(&[("a", &[3800]), ("b", &[3800])], 2, &[500]);
    assert_eq!(autoscaler.run_once(&busy, 0.0).len(), 1);
    let idle = world(&[("a", &[2500]), ("b", &[2500]), ("c", &[])], 3, &[]);
    // Unneeded from 0.1 on: the delay after the scale-up ends at 600, the unneeded time after 600.1.
    assert_eq!(autoscaler.run_once(&idle, 0.1), []);
    assert_eq!(autoscaler.run_once(&idle, 600.05), []);
    assert_eq!(autoscaler.run_once(&idle, 600.2).len(), 1);
}

#[test]
fn a_node_whose_pods_found_no_place_is_looked_at_again() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let full = world(&[("a", &[3800]), ("b", &[3800]), ("c", &[500])], 3, &[]);
    assert_eq!(autoscaler.run_once(&full, 0.0), []);
    let idle = world(&[("a", &[2500]), ("b", &[2500]), ("c", &[500])], 3, &[]);
    // Loops with nothing to do until the five minutes are over, then ten minutes unneeded.
    for at in [10.0, 290.0, 310.0, 900.0] {
        assert_eq!(autoscaler.run_once(&idle, at), [], "at {at}");
    }
    assert_eq!(autoscaler.run_once(&idle, 911.0).len(), 1);
}

#[test]
fn system_pods_and_minimum_keep_nodes() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let mut keeps = world(&[("a", &[2500]), ("b", &[2500]), ("c", &[500])], 3, &[]);
    let mut system = pod("coredns", 100);
    system.namespace = "kube-system".into();
    keeps.cluster.nodes[2].put(system);
    autoscaler.run_once(&keeps, 0.0);
    assert_eq!(autoscaler.run_once(&keeps, 10_000.0), []);
    let small = world(&[("a", &[100]), ("b", &[100])], 2, &[]);
    autoscaler.run_once(&small, 20_000.0);
    assert_eq!(autoscaler.run_once(&small, 30_000.0), []);
}

/// Increases of a loop as group, old and new target.
fn increases(actions: &[Action]) -> Vec<(&str, u32, u32)> {
    let increase = |action| match action {
        &Action::Increase { ref group, from, to, .. } => Some((group.as_str(), from, to)),
        _ => None,
    };
    actions.iter().filter_map(increase).collect()
}

#[test]
fn a_scale_up_that_the_cloud_refuses_counts_as_never_asked_and_its_back_off_doubles() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let busy = world(&[("a", &[3800]), ("b", &[3800])], 2, &[500]);
    for (at, pause) in [(0.0, 300.0), (300.1, 600.0), (900.2, 1200.0)] {
        assert_eq!(increases(&autoscaler.run_once(&busy, at)), [("pool", 2, 3)], "at {at} s");
        let failure = Failure { code: "stockout".into(), message: "none left".into() };
        autoscaler.scale_up_failed("pool", failure, at);
        assert_eq!(autoscaler.state().request("pool"), None, "nothing is on its way");
        assert_eq!(increases(&autoscaler.run_once(&busy, at + pause)), [], "left alone for {pause} s");
    }
    let idle = world(&[("a", &[2500]), ("b", &[2500]), ("c", &[])], 3, &[]);
    let mut fresh = Autoscaler::new(Options { scale_down_unneeded_s: 10.0, ..Options::default() }, 1);
    fresh.run_once(&busy, 0.0);
    fresh.scale_up_failed("pool", Failure::default(), 0.0);
    assert_eq!(fresh.run_once(&idle, 1.0), []);
    assert_eq!(fresh.run_once(&idle, 12.0).len(), 1, "no node was added");
}

#[test]
fn machines_that_do_not_come_are_given_back_and_the_group_is_left_alone() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let busy = world(&[("a", &[3800]), ("b", &[3800])], 2, &[500]);
    assert_eq!(increases(&autoscaler.run_once(&busy, 0.0)), [("pool", 2, 3)]);
    let mut waiting = world(&[("a", &[3800]), ("b", &[3800])], 3, &[500]);
    waiting.instances = [("pool".to_owned(), ["a", "b", "lost"].map(ToOwned::to_owned).to_vec())].into();
    assert_eq!(autoscaler.run_once(&waiting, 10.0), [], "it is on its way");
    let actions = autoscaler.run_once(&waiting, 911.0);
    let message = "Scale-up timed out for node group pool after 15m11s".to_owned();
    assert_eq!(actions[0], Action::ScaleUpFailed { group: "pool".into(), message });
    assert_eq!(actions[1], Action::DeleteInstance { group: "pool".into(), instance: "lost".into() });
    let Action::NotTriggered { message, .. } = &actions[2] else { panic!("{actions:?}") };
    assert_eq!(message, "pod didn't trigger scale-up: 1 in backoff after failed scale-up");
    let after = world(&[("a", &[3800]), ("b", &[3800])], 2, &[500]);
    assert_eq!(increases(&autoscaler.run_once(&after, 1211.0)), []);
    assert_eq!(
        increases(&autoscaler.run_once(&after, 1212.0)),
        [("pool", 2, 3)],
        "five minutes later it is tried again"
    );
}

#[test]
fn a_cluster_with_all_its_nodes_says_so() {
    let scale_up = ScaleUpOptions { max_nodes_total: 2, ..ScaleUpOptions::default() };
    let mut autoscaler = Autoscaler::new(Options { scale_up, ..Options::default() }, 1);
    let actions = autoscaler.run_once(&world(&[("a", &[3800]), ("b", &[3800])], 2, &[500]), 0.0);
    let Action::NotTriggered { message, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(message, "pod didn't trigger scale-up: max total nodes in cluster reached");
}

#[test]
fn cores_that_are_left_bound_the_plan() {
    let scale_up = ScaleUpOptions { max_cores_total: 17, ..ScaleUpOptions::default() };
    let mut autoscaler = Autoscaler::new(Options { scale_up, ..Options::default() }, 1);
    let actions = autoscaler.run_once(&world(&[("a", &[3800]), ("b", &[3800])], 2, &[3000, 3000, 3000]), 0.0);
    assert_eq!(increases(&actions), [("pool", 2, 4)], "two nodes of four cores beside eight cores");
}

#[test]
fn groups_of_one_shape_share_new_nodes() {
    let scale_up = ScaleUpOptions { balance_similar: true, ..ScaleUpOptions::default() };
    let mut autoscaler = Autoscaler::new(Options { scale_up, ..Options::default() }, 1);
    let mut world = world(&[("a", &[3800]), ("b", &[3800])], 2, &[3000, 3000]);
    world.groups.push(Group { id: "other".into(), min: 0, target: 0, ..world.groups[0].clone() });
    world.groups[0].max = 3;
    let mut found = increases(&autoscaler.run_once(&world, 0.0)).len();
    assert_eq!(found, 1, "the empty group is the least one and gets both");
    world.groups[1].target = 2;
    world.groups[1].min = 2;
    for name in ["c", "d"] {
        world.cluster.nodes.push(NodeState::new(node(name), vec![pod(name, 3800)]));
        world.group_of.insert(name.into(), "other".into());
    }
    let mut autoscaler = Autoscaler::new(autoscaler.options.clone(), 1);
    found = increases(&autoscaler.run_once(&world, 0.0)).len();
    assert_eq!(found, 2, "one each");
}

#[test]
fn pods_of_a_node_that_is_drained_need_room() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let mut leaving = world(&[("a", &[3800]), ("b", &[3800]), ("c", &[500])], 3, &[]);
    leaving.deleting = vec!["c".into()];
    assert_eq!(increases(&autoscaler.run_once(&leaving, 0.0)), [("pool", 3, 4)]);
}

#[test]
fn a_group_below_its_minimum_is_filled_when_that_is_asked_for() {
    let small = world(&[("a", &[3800])], 1, &[]);
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    assert_eq!(increases(&autoscaler.run_once(&small, 0.0)), []);
    let mut autoscaler = Autoscaler::new(Options { enforce_min_size: true, ..Options::default() }, 1);
    assert_eq!(increases(&autoscaler.run_once(&small, 0.0)), [("pool", 1, 2)]);
}

#[test]
fn an_unready_node_waits_longer_than_a_ready_one() {
    let mut autoscaler = Autoscaler::new(Options::default(), 1);
    let mut sick = world(&[("a", &[2500]), ("b", &[2500]), ("c", &[])], 3, &[]);
    sick.cluster.nodes[2].node_mut().ready = Some(false);
    assert_eq!(autoscaler.run_once(&sick, 0.0), []);
    assert_eq!(autoscaler.run_once(&sick, 1200.0), []);
    assert!(matches!(autoscaler.run_once(&sick, 1201.0).as_slice(), [Action::Remove { node, .. }] if node == "c"));
}
