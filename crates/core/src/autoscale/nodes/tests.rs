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
    let full = world(&[("a", &[3800]), ("b", &[3800])], 7, &[]);
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
