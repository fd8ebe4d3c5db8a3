//! Rows of the cluster autoscaler: its rules, one by one.

use std::collections::{BTreeMap, BTreeSet};

use democtl_core::autoscale::{
    nodes::{
        AcceptableRange, Amounts, Budget, Controller, Controllers, DrainOptions, Expander, ExpansionOption, Left,
        Limiter, PlanResult, Ratios, Readiness, Reasons, ScaleUpOptions, Simulation, Size, apply_limits, cluster_limit,
        distribute, equivalence_groups, estimate, evicted_soon, exceeded, is_expendable, is_old_enough, is_ready,
        is_similar, left, min_limit, packing_order, ready_by_conditions, similar_groups, similar_groups_limit,
        still_pending, tells_triggered, tells_unschedulable, upcoming,
    },
    schedule::{Node, NodeState, Pod, Resources, Taint},
};
use serde_json::{Value, json};

use crate::{Judgement, Row, loops, read, removal, same, scale_down, scale_up, state};

/// Judges a row of this family and names the rule; `None` for other families.
pub(crate) fn judge(row: &Row) -> Option<(Judgement, &'static str)> {
    let (i, e) = (&row.input, &row.expect);
    Some(match row.kind.as_str() {
        "expendable" => (expendable(i, e), "nodes 15"),
        "young_pods" => (young(i, e), "nodes 15"),
        "drained_pods" => (drained(i, e), "nodes 15"),
        "filter_schedulable" => (schedulable(i, e), "nodes 15, 49"),
        "placement" => (placement(i, e), "nodes 49"),
        "equivalence_groups" => (equivalence(i, e), "nodes 17"),
        "resource_limits_left" | "resource_limits_check" | "resource_limits_apply" => {
            (resources(&row.kind, i, e), "nodes 19, 23")
        }
        "limit_cluster" | "limit_min" | "limit_sequence" | "limit_similar_groups" => {
            (limits(&row.kind, i, e), "nodes 21")
        }
        "expander_waste" | "expander_mostpods" | "expander_leastnodes" | "expander_priority" => {
            (expander(&row.kind, i, e), "nodes 22")
        }
        "balance_groups" => (balance(i, e), "nodes 24"),
        "similar_groups" => (similar(i, e), "nodes 24"),
        "node_similarity" => (similarity(i, e), "nodes 48"),
        "no_scale_up_message" => (message(i, e), "nodes 25, 50"),
        "scale_up_events" => (events(i, e), "nodes 25, 50"),
        "binpacking" => (binpacking(i, e), "nodes 27-29, 49"),
        "pod_order" => (order(i, e), "nodes 27"),
        "utilization" => (scale_down::used(i, e), "nodes 31"),
        "eligibility" => (scale_down::eligibility(i, e), "nodes 30"),
        "drainability" => (scale_down::drainability(i, e), "nodes 33"),
        "drainability_rule" => (scale_down::rule(i, e), "nodes 33"),
        "long_terminating" => (scale_down::long_terminating(i, e), "nodes 32"),
        "disruption_budget" => (scale_down::disruption(i, e), "nodes 38"),
        "scale_down_candidates" => (scale_down::candidates(i, e), "nodes 35"),
        "unneeded_update" => (scale_down::unneeded(i, e), "nodes 36"),
        "scale_down_delay_per_group" => (scale_down::delays(i, e), "nodes 37"),
        "nodes_to_delete" => (scale_down::to_delete(i, e), "nodes 38"),
        "scale_down_budget" => (scale_down::budget(i, e), "nodes 39"),
        "node_readiness" => (readiness(i, e), "nodes 41"),
        "acceptable_range" => (range(i, e), "nodes 42"),
        "removal_simulation" => (removal::simulation(i, e), "nodes 33, 34"),
        "planner" => (removal::planner(i, e), "nodes 34, 35"),
        "unneeded_limit" => (removal::limit(i, e), "nodes 35"),
        "unneeded_removable" => (removal::removable(i, e), "nodes 38"),
        "backoff" => (state::backoff(i, e), "nodes 47"),
        "cluster_state" => (state::registry(i), "nodes 41-47"),
        "incorrect_size" => (state::incorrect(i, e), "nodes 46"),
        "fix_target_size" => (state::fix(i, e), "nodes 13, 46"),
        "remove_unregistered" => (state::unregistered(i, e), "nodes 13"),
        "scale_up_plan" => (scale_up::plan(i, e), "nodes 17-25"),
        "scale_up_to_min" => (scale_up::to_min(i, e), "nodes 26"),
        "loop" => (loops::run(i), "nodes 13-46"),
        _ => return None,
    })
}

/// A list that may be left out.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Texts in order.
pub(crate) fn sorted(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.into_iter().collect();
    texts.sort();
    texts
}

/// Expected texts in order.
pub(crate) fn texts(value: &Value) -> Result<Vec<String>, String> {
    Ok(sorted(read::<Option<Vec<String>>>(value)?.unwrap_or_default()))
}

/// Pods of a list. One that states amounts itself has one container.
pub(crate) fn pods(value: &Value) -> Result<Vec<Pod>, String> {
    list(value)
        .iter()
        .map(|pod| {
            let mut read_pod: Pod = read(pod)?;
            if pod.get("containers").is_none() {
                read_pod.containers = vec![read::<Resources>(pod)?];
            }
            Ok(read_pod)
        })
        .collect()
}

/// Nodes of a list with the pods that are bound to them.
pub(crate) fn states(nodes: &Value, pods: &[Pod]) -> Result<Vec<NodeState>, String> {
    let on = |name: &str| pods.iter().filter(|pod| pod.node.as_deref() == Some(name)).cloned().collect();
    list(nodes)
        .iter()
        .map(|node| {
            let mut read_node: Node = read(node)?;
            if node.get("allocatable").is_none() {
                read_node.allocatable = read(node)?;
            }
            let pods = on(&read_node.name);
            Ok(NodeState::new(read_node, pods))
        })
        .collect()
}

fn names(pods: &[Pod], indices: impl IntoIterator<Item = usize>) -> Vec<String> {
    sorted(indices.into_iter().map(|index| pods[index].name.clone()))
}

/// Disruption budgets.
pub(crate) fn budgets(value: &Value) -> Result<Vec<Budget>, String> {
    list(value)
        .iter()
        .map(|budget| {
            Ok(Budget {
                namespace: budget["namespace"].as_str().unwrap_or_default().to_owned(),
                selector: read(&budget["selector"])?,
                allowed: budget["disruptions_allowed"].as_i64().unwrap_or(0),
            })
        })
        .collect()
}

/// Controllers by kind and `NAMESPACE/NAME`.
pub(crate) fn controllers(value: &Value) -> Option<Controllers> {
    let kinds = value.as_object()?;
    let all = kinds.iter().flat_map(|(kind, all)| list(all).iter().map(move |one| (kind, one)));
    Some(
        all.filter_map(|(kind, one)| {
            let (namespace, name) = one["key"].as_str()?.split_once('/')?;
            let controller = Controller {
                spec_replicas: one["spec_replicas"].as_i64(),
                status_replicas: one["status_replicas"].as_i64().unwrap_or(0),
            };
            Some(((kind.clone(), namespace.to_owned(), name.to_owned()), controller))
        })
        .collect(),
    )
}

/// Options of draining; what is not given is upstream's default.
pub(crate) fn drain_options(value: &Value) -> DrainOptions {
    let flag = |key: &str| value[key].as_bool().unwrap_or(true);
    DrainOptions {
        skip_system_pods: flag("skip_nodes_with_system_pods"),
        skip_local_storage: flag("skip_nodes_with_local_storage"),
        skip_custom_controller_pods: flag("skip_nodes_with_custom_controller_pods"),
        min_replica_count: value["min_replica_count"].as_i64().unwrap_or(0),
        system_pod_timeout_s: value["bsp_disruption_timeout_seconds"].as_f64().unwrap_or(3600.0),
    }
}

fn expendable(i: &Value, e: &Value) -> Judgement {
    same("expendable", &e["expendable"], &json!(is_expendable(&read(&i["pod"])?, read(&i["cutoff"])?)))
}

fn young(i: &Value, e: &Value) -> Judgement {
    let delay: f64 = read(&i["new_pod_scale_up_delay_seconds"])?;
    let mut considered = Vec::new();
    for row in list(&i["pods"]) {
        let mut pod: Pod = read(row)?;
        if let Some(own) = row["pod_scale_up_delay_annotation"].as_str() {
            pod.annotations.insert("cluster-autoscaler.kubernetes.io/pod-scale-up-delay".to_owned(), own.to_owned());
        }
        if is_old_enough(&pod, delay) {
            considered.push(pod.name);
        }
    }
    same("considered", &texts(&e["considered"])?, &sorted(considered))
}

fn drained(i: &Value, e: &Value) -> Judgement {
    let (pods, draining) = (pods(&i["pods"])?, texts(&i["drained_nodes"])?);
    let nodes: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.node.as_deref()).collect();
    let nodes: Vec<Value> = nodes.into_iter().map(|name| json!({ "name": name, "allocatable": {} })).collect();
    let states = states(&json!(nodes), &pods)?;
    let leaving = states.iter().filter(|state| draining.contains(&state.node.name));
    let pending: Vec<String> = list(&i["pending_pods"])
        .iter()
        .filter_map(|pod| pod.as_str().or_else(|| pod["name"].as_str()))
        .map(ToOwned::to_owned)
        .collect();
    let got = pending.into_iter().chain(evicted_soon(leaving).into_iter().map(|pod| pod.name));
    same("pending", &texts(&e["pending_pods"])?, &sorted(got))
}

fn schedulable(i: &Value, e: &Value) -> Judgement {
    let pending = pods(&i["pending_pods"])?;
    let mut simulation = Simulation::new(states(&i["nodes"], &pods(&i["pods"])?)?);
    let considered: bool = read(&i["nodes_considered"])?;
    let left = still_pending(&mut simulation, &pending, |_, _| considered);
    same("pending", &texts(&e["still_pending"])?, &names(&pending, left.iter().copied()))?;
    let placed = (0..pending.len()).filter(|index| !left.contains(index));
    same("placed", &texts(&e["placed"])?, &names(&pending, placed))
}

fn placement(i: &Value, e: &Value) -> Judgement {
    let mut simulation = Simulation::new(states(&i["nodes"], &pods(&i["pods"])?)?);
    let acceptable = texts(&i["acceptable_nodes"])?;
    let mut placed = Vec::new();
    for pod in pods(&i["new_pods"])? {
        let hint = i["hints"][&pod.name].as_str();
        let found = simulation.place_with_hint(&pod, hint, |_, state| acceptable.contains(&state.node.name));
        placed.extend(found.map(|index| json!([pod.name, simulation.nodes[index].node.name])));
    }
    same("placed", &e["placed"], &json!(placed))
}

fn equivalence(i: &Value, e: &Value) -> Judgement {
    let pods = pods(&i["pods"])?;
    let groups = equivalence_groups(&pods.iter().collect::<Vec<_>>());
    if let Some(count) = e.get("group_count") {
        same("groups", count, &json!(groups.len()))?;
    }
    let Some(expected) = e.get("groups") else { return Ok(()) };
    let mut expected = list(expected).iter().map(texts).collect::<Result<Vec<_>, _>>()?;
    let mut got: Vec<_> = groups.into_iter().map(|group| names(&pods, group)).collect();
    expected.sort();
    got.sort();
    same("groups", &expected, &got)
}

fn resources(kind: &str, i: &Value, e: &Value) -> Judgement {
    let known = |value: &Value| -> Left {
        value.as_object().into_iter().flatten().map(|(name, left)| (name.clone(), left.as_i64())).collect()
    };
    match kind {
        "resource_limits_left" => {
            let sum = |key: &str| -> i64 {
                let amount = |group: &Value| Some(group["target"].as_i64()? * group[key].as_i64()?);
                list(&i["groups"]).iter().filter_map(amount).sum()
            };
            let pair = |cpu: i64, memory: i64| Amounts::from([("cpu".to_owned(), cpu), ("memory".to_owned(), memory)]);
            let limit = |key: &str| i[key].as_i64().unwrap_or(0);
            let limits = pair(limit("max_cores_total"), limit("max_memory_total"));
            let got = left(&limits, &pair(sum("node_cores"), sum("node_memory")));
            same("left", &known(&e["left"]), &got)
        }
        "resource_limits_check" => {
            let delta: Amounts = read(&i["delta"])?;
            same("exceeded", &texts(&e["exceeded"])?, &exceeded(&known(&i["left"]), &delta))
        }
        _ => {
            let amount = |key: &str| i[key].as_i64().unwrap_or(0);
            let delta =
                Amounts::from([("cpu".to_owned(), amount("node_cores")), ("memory".to_owned(), amount("node_memory"))]);
            let got = apply_limits(&known(&i["left"]), &delta, amount("new_nodes"));
            same("nodes", &e["new_nodes"], &json!(got))
        }
    }
}

fn limits(kind: &str, i: &Value, e: &Value) -> Judgement {
    let int = |value: &Value| value.as_i64().unwrap_or(0);
    let size = |group: &Value| (int(&group["target"]) as u32, int(&group["max"]) as u32);
    let got = match kind {
        "limit_cluster" => cluster_limit(int(&i["max_nodes_total"]), int(&i["current_nodes"])),
        "limit_min" => min_limit(int(&i["base"]), int(&i["target"])),
        "limit_similar_groups" => {
            similar_groups_limit(list(&i["similar_groups"]).iter().chain([&i["group"]]).map(size))
        }
        _ => {
            let thresholds = list(&i["thresholds"]).iter();
            let thresholds: Vec<_> =
                thresholds.map(|t| (int(&t["max_nodes"]), int(&t["max_duration_seconds"]))).collect();
            let now: f64 = read(&i["elapsed_seconds_at_first"])?;
            let mut limiter = Limiter::new(&thresholds, 0.0);
            let mut answers = Vec::new();
            for operation in list(&i["operations"]) {
                if operation == "restart" {
                    limiter.restart(now);
                } else {
                    answers.push(if limiter.permission(now) { "allow" } else { "deny" });
                }
            }
            same("answers", &e["answers"], &json!(answers))?;
            return same("nodes", &e["nodes"], &json!(limiter.nodes()));
        }
    };
    same("limit", &e["limit"], &json!(got))
}

fn expander(kind: &str, i: &Value, e: &Value) -> Judgement {
    let expander = match kind {
        "expander_waste" => Expander::LeastWaste,
        "expander_mostpods" => Expander::MostPods,
        "expander_leastnodes" => Expander::LeastNodes,
        _ => {
            let priorities: BTreeMap<String, Vec<String>> = read(&i["priorities"])?;
            let numbered = priorities.into_iter().filter_map(|(number, texts)| Some((number.parse().ok()?, texts)));
            Expander::Priority(numbered.collect())
        }
    };
    let mut parts = Vec::new();
    for option in list(&i["options"]) {
        let name = option.as_str().or_else(|| option["group"].as_str()).or_else(|| option["name"].as_str());
        let template: Node = option.get("template").map_or(Ok(Node::default()), read)?;
        let pods = match &option["pods"] {
            Value::Number(count) => vec![Pod::default(); count.as_u64().unwrap_or(0) as usize],
            list => pods(list)?,
        };
        parts.push((name.unwrap_or_default(), option["nodes"].as_u64().unwrap_or(0) as u32, pods, template));
    }
    let options: Vec<_> = parts
        .iter()
        .map(|(group, nodes, pods, template)| ExpansionOption {
            group,
            nodes: *nodes,
            pods: pods.iter().collect(),
            template,
        })
        .collect();
    let got = sorted(expander.best(&options).into_iter().map(|index| options[index].group.to_owned()));
    if let Some(expected) = e.get("best") {
        same("best", &texts(expected)?, &got)?;
    }
    let refused = texts(&e["best_is_not"])?;
    match refused.iter().find(|name| got.contains(name)) {
        Some(name) => Err(format!("best: {name} is not one of them, got {got:?}")),
        None => Ok(()),
    }
}

fn balance(i: &Value, e: &Value) -> Judgement {
    let size = |group: &Value| Size {
        id: group["id"].as_str().unwrap_or_default().to_owned(),
        target: group["target"].as_u64().unwrap_or(0) as u32,
        max: group["max"].as_u64().unwrap_or(0) as u32,
    };
    let sizes: Vec<Size> = list(&i["groups"]).iter().map(size).collect();
    let got: BTreeMap<String, u32> = distribute(&sizes, read(&i["new_nodes"])?).into_iter().collect();
    if let Some(expected) = e.get("new_sizes") {
        same("sizes", expected, &json!(got))?;
    }
    if let Some(expected) = e.get("new_size_values") {
        let mut values: Vec<u32> = got.values().copied().collect();
        values.sort_unstable();
        same("values", expected, &json!(values))?;
    }
    match e.get("changed_groups") {
        Some(expected) => same("changed", &texts(expected)?, &got.into_keys().collect()),
        None => Ok(()),
    }
}

fn similar(i: &Value, e: &Value) -> Judgement {
    let all: BTreeMap<String, Vec<String>> = read(&i["schedulable_pod_groups"])?;
    let numbered: Vec<&String> = all.values().flatten().collect::<BTreeSet<_>>().into_iter().collect();
    let number = |pods: &Vec<String>| -> BTreeSet<usize> {
        pods.iter().filter_map(|pod| numbered.iter().position(|known| *known == pod)).collect()
    };
    let schedulable = all.iter().map(|(group, pods)| (group.clone(), number(pods))).collect();
    let same_shape = texts(&i["comparator_similar"])?;
    let same_shape: Vec<&str> = same_shape.iter().map(String::as_str).collect();
    let balance_similar = i["balance_similar_node_groups"] == true;
    let got = if (ScaleUpOptions { balance_similar, ..ScaleUpOptions::default() }).balances() {
        similar_groups(i["group"].as_str().unwrap_or_default(), &same_shape, &schedulable)
    } else {
        Vec::new()
    };
    same("similar", &texts(&e["similar"])?, &sorted(got.into_iter().map(ToOwned::to_owned)))
}

fn similarity(i: &Value, e: &Value) -> Judgement {
    let state = |index: usize| -> Result<NodeState, String> {
        Ok(NodeState::new(read(&i["nodes"][index])?, pods(&i["pods"][index])?))
    };
    let given = &i["difference_ratios"];
    let ratios = Ratios {
        allocatable: read(&given["allocatable"])?,
        free: read(&given["free"])?,
        capacity_memory: read(&given["capacity_memory"])?,
    };
    let ignored = texts(&i["extra_ignored_labels"])?;
    let got = is_similar(&state(0)?, &state(1)?, read(&i["azure_rules"])?, ratios, &ignored);
    same("similar", &e["similar"], &json!(got))
}

/// A result by its name.
fn result(i: &Value) -> PlanResult {
    match i["result"].as_str() {
        Some("successful") => PlanResult::Successful,
        Some("limited_by_max_nodes_total") => PlanResult::LimitedByMaxNodesTotal,
        Some("error") => PlanResult::Error(String::new()),
        _ => PlanResult::NoOptions,
    }
}

fn message(i: &Value, e: &Value) -> Judgement {
    let reasons = |value: &Value| -> BTreeMap<String, Vec<String>> {
        let pairs = value.as_object().into_iter().flatten();
        pairs.map(|(group, reason)| (group.clone(), vec![reason.as_str().unwrap_or_default().to_owned()])).collect()
    };
    let all = Reasons { refused: reasons(&i["rejected"]), skipped: reasons(&i["skipped"]) };
    let got = all.message(&result(i), |group| i["groups"][group]["exists"] == true);
    let (_, told) = got.split_once(": ").unwrap_or_default();
    let told: Vec<String> = told.split(", ").map(ToOwned::to_owned).collect();
    same("parts", &texts(&e["message_parts"])?, &sorted(told))
}

fn events(i: &Value, e: &Value) -> Judgement {
    let result = result(i);
    let resized = i["groups_resized"].as_u64().unwrap_or(0) as usize;
    let count = |told: bool, key: &str| if told { list(&i[key]).len() } else { 0 };
    let got = json!({
        "TriggeredScaleUp": count(tells_triggered(resized), "pods_triggered"),
        "NotTriggerScaleUp": count(tells_unschedulable(&result), "pods_unschedulable"),
    });
    same("events", e, &got)
}

fn binpacking(i: &Value, e: &Value) -> Judgement {
    let template = NodeState::new(read(&i["template"])?, Vec::new());
    let existing = Simulation::new(states(&i["existing_nodes"], &[])?);
    let mut groups = Vec::new();
    for group in list(&i["pod_groups"]) {
        groups.push((read::<Pod>(&group["pod"])?, group["count"].as_u64().unwrap_or(0) as usize));
    }
    let pods: Vec<Vec<&Pod>> = groups.iter().map(|(pod, count)| vec![pod; *count]).collect();
    let mut limiter = Limiter::new(&[(read(&i["max_new_nodes"])?, 0)], 0.0);
    let got = estimate(&template, &pods, &existing, &mut limiter, 0.0);
    same("nodes", &e["nodes"], &json!(got.nodes))?;
    same("pods", &e["pods_scheduled"], &json!(got.pods.len()))?;
    if let Some(count) = e.get("scheduled_pod_count") {
        same("count", count, &json!(got.pods.len()))?;
    }
    let Some(expected) = e.get("scheduled_pod_requests") else { return Ok(()) };
    let scheduled: BTreeSet<usize> = got.pods.iter().map(|(group, _)| *group).collect();
    let got: Vec<Resources> = scheduled.into_iter().map(|group| groups[group].0.requests(true)).collect();
    same("requests", &read::<Vec<Resources>>(expected)?, &got)
}

fn order(i: &Value, e: &Value) -> Judgement {
    let template = NodeState::new(read(&i["template"])?, Vec::new());
    let pods = pods(&i["pods"])?;
    let groups: Vec<Vec<&Pod>> = pods.iter().map(|pod| vec![pod]).collect();
    let got: Vec<&str> = packing_order(&template, &groups).into_iter().map(|index| pods[index].name.as_str()).collect();
    same("order", &e["order"], &json!(got))
}

fn readiness(i: &Value, e: &Value) -> Judgement {
    let conditions: BTreeMap<String, String> = read(&i["conditions"])?;
    let taints = list(&i["taint_keys"]).iter().filter_map(Value::as_str);
    let taints = taints.map(|key| Taint { key: key.to_owned(), ..Taint::default() }).collect();
    let pairs = conditions.iter().map(|(kind, status)| (kind.as_str(), status.as_str()));
    let node = Node { ready: ready_by_conditions(pairs), taints, ..Node::default() };
    same("ready", &e["ready"], &json!(is_ready(&node)))
}

/// Counts of nodes by class.
pub(crate) fn classes(value: &Value) -> Readiness {
    let int = |key: &str| value[key].as_i64().unwrap_or(0);
    Readiness {
        ready: int("ready"),
        unready: int("unready"),
        not_started: int("not_started"),
        deleted: int("deleted"),
        registered: int("registered"),
        unregistered: int("unregistered"),
        long_unregistered: int("long_unregistered"),
    }
}

fn range(i: &Value, e: &Value) -> Judgement {
    for (id, group) in i["groups"].as_object().into_iter().flatten() {
        let int = |key: &str| group[key].as_i64().unwrap_or(0);
        let readiness = classes(&group["readiness"]);
        let target = int("target");
        let (increase, leaving) = (int("scale_up_request_increase"), int("scale_down_requests"));
        let got = AcceptableRange::new(target, &readiness, increase, leaving);
        let expected = &e["groups"][id];
        let mut told = json!({ "max": got.max, "min": got.min, "target": got.target });
        if expected.get("upcoming").is_some() {
            told["upcoming"] = json!(upcoming(target, &readiness));
        }
        same(id, expected, &told)?;
    }
    Ok(())
}
