//! Rows of the cluster autoscaler: whole loops.

use std::collections::BTreeMap;

use democtl_core::autoscale::{
    nodes::{
        Action, Autoscaler, Cleanup, DrainOptions, EventKind, Group, Options, ScaleUpOptions, StateOptions, World,
    },
    schedule::{Cluster, Node, NodeState, Pod},
};
use serde_json::{Value, json};

use crate::{
    Judgement,
    nodes::{list, pods, states},
    read, same,
    scale_up::group,
};

const KINDS: [(EventKind, &str); 3] =
    [(EventKind::Add, "add"), (EventKind::Delete, "delete"), (EventKind::Failure, "failure")];

fn options(given: &Value) -> Options {
    let seconds = |key: &str, default: f64| given[key].as_f64().unwrap_or(default);
    let int = |key: &str, default: i64| given[key].as_i64().unwrap_or(default);
    Options {
        scale_down_enabled: given["scale_down_enabled"] != false,
        scale_down_delay_after_add_s: seconds("delay_after_add_seconds", 600.0),
        scale_down_delay_after_delete_s: seconds("delay_after_delete_seconds", 0.0),
        scale_down_delay_after_failure_s: seconds("delay_after_failure_seconds", 180.0),
        scale_down_delay_by_group: given["delay_type_local"] == true,
        scale_down_unneeded_s: seconds("unneeded_time_seconds", 600.0),
        scale_down_unready_s: seconds("unready_time_seconds", 1200.0),
        utilization_threshold: seconds("scale_down_utilization_threshold", 0.5),
        max_parallelism: int("max_scale_down_parallelism", 10) as usize,
        max_drains: int("max_drain_parallelism", 1) as usize,
        drain: DrainOptions::default(),
        scale_up: ScaleUpOptions {
            max_nodes_total: int("max_nodes_total", 0),
            max_cores_total: int("max_cores_total", 0),
            max_memory_total_bytes: int("max_memory_total_bytes", 0),
            ..ScaleUpOptions::default()
        },
        enforce_min_size: given["enforce_min_size"] == true,
        max_node_provision_s: seconds("max_node_provision_seconds", 900.0),
        cleanup: if given["force_delete_unregistered_nodes"] == true { Cleanup::Force } else { Cleanup::AboveMinimum },
        expendable_cutoff: int("expendable_cutoff", -10),
        state: StateOptions {
            ok_total_unready: int("ok_total_unready_count", 3) as usize,
            max_unready_percent: seconds("max_total_unready_percentage", 45.0),
            ..StateOptions::default()
        },
        ..Options::default()
    }
}

fn merged(base: &Value, over: &Value) -> Value {
    let mut merged = base.clone();
    for (key, value) in over.as_object().into_iter().flatten() {
        merged[key] = value.clone();
    }
    merged
}

fn world(row: &Value) -> Result<World, String> {
    let all = pods(&row["pods"])?;
    let (pending, bound): (Vec<Pod>, Vec<Pod>) = all.into_iter().partition(|pod| pod.node.is_none());
    let nodes = states(&row["nodes"], &bound)?;
    let group_of = list(&row["nodes"])
        .iter()
        .filter_map(|node| Some((node["name"].as_str()?.to_owned(), node["group"].as_str()?.to_owned())))
        .collect::<BTreeMap<_, _>>();
    let mut groups: Vec<Group> = list(&row["groups"]).iter().map(group).collect::<Result<_, _>>()?;
    for group in groups.iter_mut().filter(|group| group.template == Node::default()) {
        let own = nodes.iter().find(|NodeState { node, .. }| group_of.get(&node.name) == Some(&group.id));
        group.template = own.map(|state| Node::clone(&state.node)).unwrap_or_default();
    }
    let instances = list(&row["groups"]).iter().map(|group| Ok((read(&group["id"])?, read(&group["instances"])?)));
    Ok(World {
        groups,
        cluster: Cluster { nodes },
        group_of,
        instances: instances.collect::<Result<_, String>>()?,
        pending,
        ..World::default()
    })
}

pub(crate) fn run(i: &Value) -> Judgement {
    let mut autoscaler = Autoscaler::new(options(&i["options"]), 1);
    for (kind, name) in KINDS {
        if let Some(at) = i["last_event_seconds"][name].as_f64() {
            autoscaler.record(kind, None, at);
        }
    }
    for (number, row) in list(&i["loops"]).iter().enumerate() {
        let now: f64 = read(&row["at_seconds"])?;
        // Upstream ages the events of groups by the real clock, which a test does not move.
        let clock = row["wall_clock_seconds"].as_f64().unwrap_or(now);
        for (kind, name) in KINDS {
            for (group, at) in i["group_events_seconds"][name].as_object().into_iter().flatten() {
                let age = clock - at.as_f64().unwrap_or(0.0);
                autoscaler.record(kind, Some(group), now - age);
            }
        }
        autoscaler.set_options(options(&merged(&i["options"], &row["options"])));
        let world = world(row)?;
        if row["update_only"] == true {
            autoscaler.update_state(&world, now);
            continue;
        }
        let actions = autoscaler.run_once(&world, now);
        let (mut added, mut deleted) = (BTreeMap::<String, i64>::new(), BTreeMap::<String, Vec<String>>::new());
        for action in actions {
            match action {
                Action::Increase { group, from, to, .. } => {
                    *added.entry(group).or_default() += i64::from(to) - i64::from(from);
                }
                Action::FixTarget { group, to } => {
                    let from = world.groups.iter().find(|known| known.id == group).map_or(0, |known| known.target);
                    *added.entry(group).or_default() += i64::from(to) - i64::from(from);
                }
                Action::Remove { node, .. } => {
                    let group = world.group_of.get(&node).cloned().unwrap_or_default();
                    deleted.entry(group).or_default().push(node);
                }
                Action::DeleteInstance { group, instance } => deleted.entry(group).or_default().push(instance),
                Action::NotTriggered { .. } | Action::ScaleUpFailed { .. } => {}
            }
        }
        let got = json!({ "deleted": deleted, "scale_up": added });
        same(&format!("loop {number}"), &row["expect"], &got)?;
    }
    Ok(())
}
