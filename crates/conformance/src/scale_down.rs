//! Rows of the cluster autoscaler: utilisation, drain rules, timers and budgets of scale-down.

use std::collections::BTreeMap;

use democtl_core::autoscale::{
    nodes::{
        Budget, Delays, DrainContext, EligibilityOptions, EventKind, GroupNodes, Outcome, Parallelism, RULES, Unneeded,
        can_remove, crop, drain, eligible, is_long_terminating, nodes_to_delete, shrinkable, utilization,
    },
    schedule::{NodeState, Pod, Selector},
};
use serde_json::{Value, json};

use crate::{
    Judgement,
    nodes::{budgets, controllers, drain_options, list, pods, sorted, states, texts},
    read, same,
};

pub(crate) fn used(i: &Value, e: &Value) -> Judgement {
    let state = NodeState::new(read(&i["node"])?, pods(&i["pods"])?);
    let options = EligibilityOptions {
        ignore_daemon_sets: read(&i["ignore_daemonsets_utilization"])?,
        ignore_mirror_pods: read(&i["ignore_mirror_pods_utilization"])?,
        ..EligibilityOptions::default()
    };
    let got = utilization(&state, options);
    same("error", &e["error"], &json!(got.is_none()))?;
    let (Some(got), Some(expected)) = (got, e["utilization"].as_f64()) else { return Ok(()) };
    let tolerance = e["utilization_relative_tolerance"].as_f64().unwrap_or(1e-9);
    if (got - expected).abs() <= tolerance * expected.abs() {
        return Ok(());
    }
    same("utilization", &expected, &got)
}

pub(crate) fn eligibility(i: &Value, e: &Value) -> Judgement {
    const NOW: f64 = 1_000_000.0;
    let mut states = states(&i["nodes"], &pods(&i["pods"])?)?;
    for (state, row) in states.iter_mut().zip(list(&i["nodes"])) {
        for (taint, row) in state.node_mut().taints.iter_mut().zip(list(&row["taints"])) {
            if taint.key == "ToBeDeletedByClusterAutoscaler" {
                taint.value = (NOW - row["age_seconds"].as_f64().unwrap_or(0.0)).to_string();
            }
        }
    }
    let given = &i["options"];
    let options = EligibilityOptions {
        utilization_threshold: read(&given["scale_down_utilization_threshold"])?,
        ignore_daemon_sets: read(&given["ignore_daemonsets_utilization"])?,
        ignore_mirror_pods: read(&given["ignore_mirror_pods_utilization"])?,
        unready_enabled: read(&given["scale_down_unready_enabled"])?,
    };
    let in_group = !i["group"].is_null();
    let (mut able, mut unremovable) = (Vec::new(), Vec::new());
    for state in &states {
        match eligible(state, in_group, options, NOW) {
            Ok(_) => able.push(state.node.name.clone()),
            Err(reason) => unremovable.push(json!({ "node": state.node.name, "reason": reason })),
        }
    }
    same("eligible", &e["eligible"], &json!(able))?;
    same("unremovable", &e["unremovable"], &json!(unremovable))
}

pub(crate) fn drainability(i: &Value, e: &Value) -> Judgement {
    let (pods, budgets, controllers) = (pods(&i["pods"])?, budgets(&i["pdbs"])?, controllers(&i["controllers"]));
    let options = drain_options(&i["options"]);
    let context = DrainContext { budgets: &budgets, controllers: controllers.as_ref(), options };
    match drain(&pods, &context) {
        Err(blocked) => {
            let got = json!({ "pod_index": blocked.pod, "reason": blocked.reason });
            same("blocked by", &e["blocked_by"], &got)
        }
        Ok(drained) => {
            same("blocked by", &e["blocked_by"], &Value::Null)?;
            same("moved", &e["move_pod_indexes"], &json!(drained.moved))?;
            same("daemon set", &e["daemonset_pod_indexes"], &json!(drained.daemon_set))
        }
    }
}

pub(crate) fn rule(i: &Value, e: &Value) -> Judgement {
    let (budgets, controllers) = (budgets(&i["pdbs"])?, controllers(&i["controllers"]));
    let context = DrainContext { budgets: &budgets, controllers: controllers.as_ref(), options: drain_options(i) };
    let name = i["rule"].as_str().unwrap_or_default();
    let Some((_, rule)) = RULES.iter().find(|(known, _)| *known == name) else {
        return Err(format!("no rule {name:?}"));
    };
    let got = rule(&read(&i["pod"])?, &context);
    let (outcome, reason) = match got {
        Outcome::Undefined => ("Undefined", None),
        Outcome::DrainOk => ("DrainOk", None),
        Outcome::Skip => ("SkipDrain", None),
        Outcome::Block(reason) => ("BlockDrain", Some(reason)),
    };
    if let Some(expected) = e.get("outcome") {
        same("outcome", expected, &json!(outcome))?;
    }
    e.get("blocking_reason").map_or(Ok(()), |expected| same("reason", expected, &json!(reason)))
}

pub(crate) fn long_terminating(i: &Value, e: &Value) -> Judgement {
    same("long terminating", &e["long_terminating"], &json!(is_long_terminating(&read(&i["pod"])?)))
}

pub(crate) fn disruption(i: &Value, e: &Value) -> Judgement {
    let labels = |value: &Value| -> BTreeMap<String, String> {
        let labels = list(value).iter().filter_map(Value::as_str);
        labels.map(|label| (label.to_owned(), "true".to_owned())).collect()
    };
    let pods: Vec<Pod> =
        list(&i["pods"]).iter().map(|pod| Pod { labels: labels(&pod["labels"]), ..Pod::default() }).collect();
    let budgets: Vec<Budget> = list(&i["budgets"])
        .iter()
        .map(|budget| Budget {
            namespace: String::new(),
            selector: Some(Selector { match_labels: labels(&json!([budget["selects_label"]])), ..Selector::default() }),
            allowed: budget["disruptions_allowed"].as_i64().unwrap_or(0),
        })
        .collect();
    let (can, parallel) = can_remove(&pods.iter().collect::<Vec<_>>(), &budgets);
    same("removal", e, &json!({ "can_remove": can, "in_parallel": parallel }))
}

pub(crate) fn candidates(i: &Value, e: &Value) -> Judgement {
    let groups = list(&i["groups"]).iter().map(|group| {
        let int = |key: &str| group[key].as_i64().unwrap_or(0);
        (group["id"].as_str().unwrap_or_default(), int("target"), int("min"))
    });
    let open = shrinkable(groups);
    let candidates = list(&i["nodes"]).iter().filter(|node| node["group"].as_str().is_some_and(|g| open.contains(&g)));
    let got: Vec<&Value> = candidates.map(|node| &node["name"]).collect();
    same("candidates", &e["candidates"], &json!(got))
}

pub(crate) fn unneeded(i: &Value, e: &Value) -> Judgement {
    let mut unneeded = Unneeded::default();
    for (key, now) in [("at_0_seconds", 0.0), ("at_60_seconds", 60.0)] {
        let found = list(&i[key]).iter().map(|node| {
            (node["name"].as_str().unwrap_or_default().to_owned(), node["version"].as_str().unwrap_or_default())
        });
        unneeded.update(found, now);
    }
    let since: BTreeMap<&str, i64> = unneeded.iter().map(|(node, since, _)| (node, since as i64)).collect();
    let versions: BTreeMap<&str, &str> = unneeded.iter().map(|(node, _, version)| (node, *version)).collect();
    same("since", &read(&e["since_seconds"])?, &json!(since))?;
    same("versions", &e["versions"], &json!(versions))
}

pub(crate) fn delays(i: &Value, e: &Value) -> Judgement {
    let seconds = |key: &str| i[key].as_f64().unwrap_or(0.0);
    let (add, delete) = (seconds("delay_after_add_seconds"), seconds("delay_after_delete_seconds"));
    let mut delays = Delays::new(add, delete, seconds("delay_after_failure_seconds"), true);
    for (kind, name) in [(EventKind::Add, "add"), (EventKind::Delete, "delete"), (EventKind::Failure, "failure")] {
        for (group, age) in i["last_event_age_seconds"][name].as_object().into_iter().flatten() {
            if let Some(age) = age.as_f64() {
                delays.record(kind, Some(group), -age);
            }
        }
    }
    let free = |row: &&Value| !delays.is_delayed(row["group"].as_str().unwrap_or_default(), 0.0);
    let got: Vec<&Value> = list(&i["candidates"]).iter().filter(free).map(|row| &row["node"]).collect();
    same("candidates", &e["candidates"], &json!(got))
}

pub(crate) fn to_delete(i: &Value, e: &Value) -> Judgement {
    let groups = list(&i["groups"]).iter().map(|group| GroupNodes {
        group: group["id"].as_str().unwrap_or_default().to_owned(),
        target: group["target"].as_u64().unwrap_or(0) as usize,
        zero_or_max: group["zero_or_max"] == true,
        nodes: list(&group["removable_nodes"])
            .iter()
            .map(|node| {
                let pods = node["pods_to_move"].as_u64().unwrap_or(0) as usize;
                (node["name"].as_str().unwrap_or_default().to_owned(), pods, true)
            })
            .collect(),
    });
    let (empty, drain) = nodes_to_delete(groups.collect());
    let flat = |groups: Vec<GroupNodes<String>>| sorted(groups.into_iter().flat_map(|group| group.nodes));
    same("empty", &texts(&e["empty"])?, &flat(empty))?;
    same("drain", &texts(&e["drain"])?, &flat(drain))
}

pub(crate) fn budget(i: &Value, e: &Value) -> Judgement {
    let groups = |key: &str| -> Result<Vec<GroupNodes<String>>, String> {
        list(&i[key])
            .iter()
            .map(|group| {
                Ok(GroupNodes {
                    group: read(&group["group"])?,
                    target: read(&group["target"])?,
                    zero_or_max: group["zero_or_max"] == true,
                    nodes: read(&group["nodes"])?,
                })
            })
            .collect()
    };
    let limits = Parallelism {
        max_deletions: read(&i["max_scale_down_parallelism"])?,
        max_drains: read(&i["max_drain_parallelism"])?,
        empty_in_progress: read(&i["empty_deletions_in_progress"])?,
        drains_in_progress: read(&i["drain_deletions_in_progress"])?,
    };
    let (empty, drain) = crop(groups("empty")?, groups("drain")?, limits);
    let told = |groups: Vec<GroupNodes<String>>| {
        let told = groups.into_iter().map(|group| json!({ "group": group.group, "nodes": group.nodes }));
        Value::Array(told.collect())
    };
    same("empty", &e["empty"], &told(empty))?;
    same("drain", &e["drain"], &told(drain))
}
