//! Rows of the scheduler.

use std::collections::BTreeMap;

use democtl_core::autoscale::schedule::{
    Code, FitOptions, Node, NodeState, Pod, Refusal, balanced_allocation, failed_scheduling_message, fits,
    least_allocated, node_affinity, taint_scores, taints, topology_spread, unschedulable,
};
use serde_json::{Value, json};

use crate::{Judgement, Row, read, same};

/// Judges a row of this family and names the rule; `None` for other families.
pub(crate) fn judge(row: &Row) -> Option<(Judgement, &'static str)> {
    let (i, e) = (&row.input, &row.expect);
    Some(match row.kind.as_str() {
        "fit" => (fit(i, e), "nodes 4"),
        "unschedulable_filter" => (one(i, e, unschedulable), "nodes 5"),
        "taint_filter" => (one(i, e, taints), "nodes 7"),
        "node_affinity_filter" => (one(i, e, node_affinity), "nodes 8"),
        "topology_spread_filter" => (spread(i, e), "nodes 9"),
        "least_allocated" => (least(i, e), "nodes 10"),
        "balanced_allocation" => (balanced(i, e), "nodes 11"),
        "taint_score" => (taint_score(i, e), "nodes 12"),
        "failed_scheduling_message" => (message(i, e), "nodes 12b"),
        _ => return None,
    })
}

fn code(code: Code) -> &'static str {
    match code {
        Code::Success => "Success",
        Code::Unschedulable => "Unschedulable",
        Code::UnschedulableAndUnresolvable => "UnschedulableAndUnresolvable",
    }
}

fn answer(got: &Result<(), Refusal>, e: &Value) -> Judgement {
    let (mut reasons, insufficient, code_got) = match got {
        Ok(()) => (Vec::new(), Vec::new(), Code::Success),
        Err(refusal) => (refusal.reasons.clone(), refusal.insufficient.clone(), refusal.code),
    };
    same("fits", &e["fits"], &json!(got.is_ok()))?;
    if let Some(expected) = e.get("code").and_then(Value::as_str) {
        same("code", &expected, &code(code_got))?;
    }
    let Some(expected) = e.get("reasons") else { return Ok(()) };
    let mut expected: Vec<String> = read(expected)?;
    expected.sort();
    reasons.sort();
    same("reasons", &expected, &reasons)?;
    let Some(list) = e.get("insufficient").and_then(Value::as_array) else { return Ok(()) };
    let mut got: Vec<Value> = insufficient
        .iter()
        .map(|i| json!({ "resource": i.resource, "requested": i.requested, "used": i.used, "capacity": i.capacity }))
        .collect();
    let mut expected = list.clone();
    let key = |value: &Value| value["resource"].to_string();
    got.sort_by_key(key);
    expected.sort_by_key(key);
    same("insufficient", &expected, &got)
}

fn fit(i: &Value, e: &Value) -> Judgement {
    let pod: Pod = read(&i["pod"])?;
    let Some(node) = read::<Option<Node>>(&i["node"])? else { return same("fits", &e["fits"], &json!(false)) };
    let options = FitOptions {
        ignored_resources: read(&i["ignored_resources"])?,
        ignored_resource_groups: read(&i["ignored_resource_groups"])?,
        pod_level_resources: read(&i["pod_level_resources_enabled"])?,
        sidecars: read(&i["sidecars_enabled"])?,
    };
    let state = NodeState::new(node, read(&i["node_pods"])?);
    answer(&fits(&pod, &state.node, state.used(), state.pods.len() as i64, &options), e)
}

fn one(i: &Value, e: &Value, filter: fn(&Pod, &Node) -> Result<(), Refusal>) -> Judgement {
    answer(&filter(&read(&i["pod"])?, &read(&i["node"])?), e)
}

fn spread(i: &Value, e: &Value) -> Judgement {
    let pod: Pod = read(&i["pod"])?;
    let nodes: Vec<Node> = read(&i["nodes"])?;
    let pods: Vec<Pod> = read(&i["pods"])?;
    let mut by_node = BTreeMap::<&str, Vec<&Pod>>::new();
    for pod in &pods {
        by_node.entry(pod.node.as_deref().unwrap_or_default()).or_default().push(pod);
    }
    let references: Vec<&Node> = nodes.iter().collect();
    let got = topology_spread(&pod, &references, &by_node, read(&i["node_inclusion_policies_enabled"])?);
    let got: BTreeMap<_, _> = nodes.iter().map(|node| node.name.as_str()).zip(got.into_iter().map(code)).collect();
    same("codes", &e["codes"], &json!(got))
}

fn states(i: &Value) -> Result<Vec<NodeState>, String> {
    let nodes: Vec<Node> = read(&i["nodes"])?;
    let pods: Vec<Pod> = read(&i["pods"])?;
    let on = |node: &Node| pods.iter().filter(|pod| pod.node.as_ref() == Some(&node.name)).cloned().collect();
    Ok(nodes
        .into_iter()
        .map(|node| {
            let pods = on(&node);
            NodeState::new(node, pods)
        })
        .collect())
}

fn least(i: &Value, e: &Value) -> Judgement {
    let resources = i["resources"].as_array().cloned().unwrap_or_default();
    let resources: Vec<(&str, i64)> = resources
        .iter()
        .map(|resource| (resource["name"].as_str().unwrap_or_default(), resource["weight"].as_i64().unwrap_or(1)))
        .collect();
    let pod: Pod = read(&i["pod"])?;
    let got: BTreeMap<String, i64> = states(i)?
        .iter()
        .map(|state| (state.node.name.clone(), least_allocated(&pod, &state.node, state.non_zero(), &resources)))
        .collect();
    // Without resources upstream's strategy is an error; the score is 0 all the same.
    if e.get("scores").is_none() && resources.is_empty() {
        return same("scores", &true, &got.values().all(|score| *score == 0));
    }
    same("scores", &e["scores"], &json!(got))
}

fn balanced(i: &Value, e: &Value) -> Judgement {
    let resources: Vec<Value> = read(&i["resources"])?;
    let names: Vec<&str> = resources.iter().filter_map(|resource| resource["name"].as_str()).collect();
    let pod: Pod = read(&i["pod"])?;
    let mut got = BTreeMap::new();
    for state in states(i)? {
        match balanced_allocation(&pod, &state.node, state.used(), &names) {
            Some(score) => got.insert(state.node.name.clone(), score),
            None => return same("skipped", &e["skipped"], &json!(true)),
        };
    }
    same("scores", &e["scores"], &json!(got))
}

fn taint_score(i: &Value, e: &Value) -> Judgement {
    let nodes: Vec<Node> = read(&i["nodes"])?;
    let references: Vec<&Node> = nodes.iter().collect();
    let got = taint_scores(&read(&i["pod"])?, &references);
    let got: BTreeMap<_, _> = nodes.iter().map(|node| node.name.as_str()).zip(got).collect();
    same("scores", &e["scores"], &json!(got))
}

fn message(i: &Value, e: &Value) -> Judgement {
    let by_node: BTreeMap<String, Vec<String>> = read(&i["reasons_by_node"])?;
    let reasons: Vec<&[String]> = by_node.values().map(Vec::as_slice).collect();
    let text = |key: &str| i[key].as_str().unwrap_or_default();
    let nodes = i["nodes"].as_u64().unwrap_or(0) as usize;
    let got = failed_scheduling_message(nodes, &reasons, text("pre_filter_message"), text("post_filter_message"));
    same("message", &e["message"].as_str(), &Some(got.as_str()))
}
