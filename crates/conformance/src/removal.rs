//! Rows of the cluster autoscaler: which nodes can go.

use std::collections::BTreeMap;

use democtl_core::autoscale::{
    nodes::{
        Candidate, DrainContext, RemovalLimits, Simulation, Unremovable, plan_removals, put_back, simulate,
        unneeded_limit,
    },
    schedule::{Node, NodeState, Pod, Resources},
};
use serde_json::{Value, json};

use crate::{
    Judgement,
    nodes::{budgets, controllers, drain_options, list, pods, sorted, states, texts},
    read, same,
};

pub(crate) fn simulation(i: &Value, e: &Value) -> Judgement {
    let mut simulation = Simulation::new(states(&i["nodes"], &pods(&i["pods"])?)?);
    let (budgets, controllers) = (budgets(&i["pdbs"])?, controllers(&i["controllers"]));
    let options = drain_options(&i["options"]);
    let context = DrainContext { budgets: &budgets, controllers: controllers.as_ref(), options };
    let persist = i["persist_moves"] == true;
    let destinations = i.get("destinations").map(texts).transpose()?;
    let (mut removable, mut unremovable) = (Vec::new(), Vec::new());
    for candidate in list(&i["candidates"]).iter().filter_map(Value::as_str) {
        let destination =
            |name: &str| destinations.as_ref().is_none_or(|names| names.iter().any(|known| known == name));
        match simulate(&mut simulation, candidate, &context, persist, destination) {
            Ok(found) => {
                let pods: Vec<&str> = found.moved.iter().map(|pod| pod.name.as_str()).collect();
                removable.push(json!({ "node": candidate, "pods": pods }));
            }
            Err(why) => {
                let mut told = json!({ "node": candidate, "reason": why.reason() });
                if let Unremovable::BlockedByPod { pod, reason } = &why {
                    told["blocking_pod"] = json!(pod.name);
                    told["blocking_reason"] = json!(reason);
                }
                unremovable.push(told);
            }
        }
    }
    compare("removable", &e["removable"], &removable)?;
    compare("unremovable", &e["unremovable"], &unremovable)
}

/// Node by node; what the row does not state is not compared.
fn compare(what: &str, expected: &Value, got: &[Value]) -> Judgement {
    same(what, &list(expected).len(), &got.len())?;
    for expected in list(expected) {
        let Some(got) = got.iter().find(|got| got["node"] == expected["node"]) else {
            return Err(format!("{what}: expected {expected}, got {got:?}"));
        };
        for (key, value) in expected.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            let (mut value, mut got) = (value.clone(), got[key].clone());
            if let (Some(value), Some(got)) = (value.as_array_mut(), got.as_array_mut()) {
                value.sort_by_key(ToString::to_string);
                got.sort_by_key(ToString::to_string);
            }
            same(key, &value, &got)?;
        }
    }
    Ok(())
}

pub(crate) fn planner(i: &Value, e: &Value) -> Judgement {
    let states = states(&i["nodes"], &pods(&i["pods"])?)?;
    let mut simulation = Simulation::new(states);
    let controllers = controllers(&json!({ "ReplicaSet": i["replica_sets"] })).unwrap_or_default();
    let options = &i["options"];
    let context = DrainContext { budgets: &[], controllers: Some(&controllers), options: drain_options(options) };
    let replicas = |pod: &Pod| {
        let owner = pod.owner.as_ref()?;
        controllers.get(&(owner.kind.clone(), pod.namespace.clone(), owner.name.clone())).copied()
    };
    put_back(&mut simulation, &pods(&i["recently_evicted_pods"])?, replicas, |_| true);
    let eligible: Vec<String> = read(&i["eligible"])?;
    let parallelism = read(&options["max_scale_down_parallelism"])?;
    let limit = unneeded_limit(0, parallelism, read(&options["unneeded_time_seconds"])?, 10.0);
    let planned = plan_removals(&mut simulation, &eligible, &context, limit, |_| false, |_| true);
    let unneeded: Vec<String> = planned.removable.into_iter().map(|found| found.node).collect();
    let failed: Vec<String> = planned.unremovable.into_iter().map(|(node, _)| node).collect();
    same("unneeded", &texts(&e["unneeded"])?, &sorted(unneeded))?;
    // Nodes that were not eligible are the row's own input: they are not compared.
    let expected = texts(&e["unremovable"])?.into_iter().filter(|node| eligible.contains(node));
    same("unremovable", &sorted(expected), &sorted(failed))
}

pub(crate) fn limit(i: &Value, e: &Value) -> Judgement {
    let amounts =
        Resources { cpu_milli: Some(1000), memory_bytes: Some(1000), pods: Some(100), ..Resources::default() };
    let count: usize = read(&i["nodes"])?;
    let candidates: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
    let node = |name: &String| Node { name: name.clone(), allocatable: amounts.clone(), ..Node::default() };
    let mut simulation =
        Simulation::new(candidates.iter().map(|name| NodeState::new(node(name), Vec::new())).collect());
    let context = DrainContext { budgets: &[], controllers: None, options: drain_options(&Value::Null) };
    let whole = i["zero_or_max_group"] == true;
    let limit = unneeded_limit(
        read(&i["previously_unneeded"])?,
        read(&i["max_scale_down_parallelism"])?,
        read(&i["unneeded_time_seconds"])?,
        read(&i["loop_interval_seconds"])?,
    );
    let planned = plan_removals(&mut simulation, &candidates, &context, limit, |_| whole, |_| true);
    same("unneeded", &e["unneeded"], &json!(planned.removable.len()))
}

pub(crate) fn removable(i: &Value, e: &Value) -> Judgement {
    let int = |key: &str| i[key].as_i64().unwrap_or(0);
    let mut limits = RemovalLimits {
        sizes: [("g".to_owned(), (int("group_target") - int("deletions_in_progress"), int("group_min")))].into(),
        unneeded_s: i["unneeded_time_seconds"].as_f64().unwrap_or(0.0),
        ..RemovalLimits::default()
    };
    let candidate = Candidate { group: "g", disabled: false, ready: true, since_s: -1.0, amounts: BTreeMap::new() };
    let mut accepted = |count: i64| (0..count).filter(|_| limits.accept(&candidate, 0.0).is_ok()).count();
    same("empty", &e["empty_removable"], &json!(accepted(int("empty_nodes"))))?;
    same("drain", &e["drain_removable"], &json!(accepted(int("drain_nodes"))))
}
