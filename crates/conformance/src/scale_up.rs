//! Rows of the cluster autoscaler: plans of scale-ups.

use std::collections::BTreeMap;

use democtl_core::autoscale::{
    nodes::{
        ClusterState, ExpansionOption, Group, GroupSize, GroupView, PlanResult, RegisteredNode, ScaleUpOptions,
        Simulation, Situation, StateOptions, is_ready, plan_scale_up, scale_up_to_min,
    },
    schedule::{Node, NodeState},
};
use serde_json::{Value, json};

use crate::{
    Judgement,
    nodes::{list, pods, sorted, states, texts},
    read, same,
};

fn options(value: &Value) -> ScaleUpOptions {
    let int = |key: &str| value[key].as_i64().unwrap_or(0);
    let flag = |key: &str| value[key] == true;
    ScaleUpOptions {
        max_nodes_total: int("max_nodes_total"),
        max_cores_total: int("max_cores_total"),
        max_memory_total_bytes: int("max_memory_total_bytes"),
        balance_similar: flag("balance_similar_node_groups"),
        all_or_nothing: flag("all_or_nothing"),
        zero_or_max: flag("zero_or_max_node_scaling"),
        estimate: ScaleUpOptions::default().estimate.filter(|_| value["estimate_limits"] != false),
    }
}

pub(crate) fn group(value: &Value) -> Result<Group, String> {
    Ok(Group {
        id: read(&value["id"])?,
        min: read(&value["min"])?,
        max: read(&value["max"])?,
        target: read(&value["target"])?,
        template: value.get("template").map_or(Ok(Node::default()), read)?,
        backed_off: false,
    })
}

/// The first ready node of a group without its pods, or the group's own template.
fn template(group: &Group, states: &[NodeState], group_of: &BTreeMap<String, String>) -> NodeState {
    let own = states.iter().find(|s| is_ready(&s.node) && group_of.get(&s.node.name) == Some(&group.id));
    NodeState::new(own.map_or_else(|| group.template.clone(), |state| Node::clone(&state.node)), Vec::new())
}

fn groups_of(nodes: &Value) -> BTreeMap<String, String> {
    let pair = |node: &Value| Some((node["name"].as_str()?.to_owned(), node["group"].as_str()?.to_owned()));
    list(nodes).iter().filter_map(pair).collect()
}

pub(crate) fn plan(i: &Value, e: &Value) -> Judgement {
    let (states, group_of) = (states(&i["nodes"], &pods(&i["pods"])?)?, groups_of(&i["nodes"]));
    let groups: Vec<Group> = list(&i["groups"]).iter().map(group).collect::<Result<_, _>>()?;
    let given = &i["options"];
    let mut state = ClusterState::new(StateOptions {
        ok_total_unready: given["ok_total_unready_count"].as_u64().unwrap_or(0) as usize,
        max_unready_percent: given["max_total_unready_percentage"].as_f64().unwrap_or(0.0),
        ..StateOptions::default()
    });
    let sizes: Vec<GroupSize> = groups
        .iter()
        .map(|group| GroupSize {
            id: group.id.clone(),
            min: group.min.into(),
            target: group.target.into(),
            instances: group_of.iter().filter(|(_, of)| **of == group.id).map(|(node, _)| node.clone()).collect(),
            max_node_provision_s: 900.0,
        })
        .collect();
    let registered: Vec<RegisteredNode> = states
        .iter()
        .map(|s| RegisteredNode {
            name: s.node.name.clone(),
            instance: s.node.name.clone(),
            group: group_of.get(&s.node.name).cloned(),
            ready: is_ready(&s.node),
            created_s: None,
            in_cloud: true,
        })
        .collect();
    state.update_nodes(&sizes, &registered, 0.0);
    let coming: i64 = state.upcoming().values().map(|(count, _)| count).sum();
    let views = groups.iter().map(|group| GroupView {
        group,
        template: template(group, &states, &group_of),
        healthy: state.is_group_healthy(&group.id),
        backed_off: false,
    });
    let simulation = Simulation::new(states.clone());
    let situation = Situation {
        groups: views.collect(),
        simulation: &simulation,
        nodes: states.len() as i64 + coming,
        ungrouped: states.iter().filter(|s| !group_of.contains_key(&s.node.name)).map(|s| &*s.node).collect(),
        now_s: 0.0,
    };
    let pending = pods(&i["pending_pods"])?;
    let choice = &i["expander_choice"];
    let mut choose = |options: &[ExpansionOption<'_>]| {
        let wanted = |option: &ExpansionOption<'_>| {
            choice["group"] == option.group
                && choice["nodes"].as_u64().is_none_or(|nodes| nodes == u64::from(option.nodes))
        };
        if choice.is_null() { (!options.is_empty()).then_some(0) } else { options.iter().position(wanted) }
    };
    let got = plan_scale_up(&options(given), &situation, &pending, &mut choose);
    let names = |indices: &[usize]| sorted(indices.iter().map(|index| pending[*index].name.clone()));
    let alone: Vec<usize> = got.unschedulable.iter().map(|(index, _)| *index).collect();
    same("scale up", &e["scale_up"], &json!(got.result == PlanResult::Successful))?;
    let stated = [("pods_triggered", &got.triggered), ("pods_awaiting", &got.awaiting), ("pods_unschedulable", &alone)];
    for (key, indices) in stated {
        if let Some(expected) = e.get(key) {
            same(key, &texts(expected)?, &names(indices))?;
        }
    }
    if let Some(added) = e.get("added_nodes") {
        let got: u32 = got.increases.iter().map(|increase| increase.to - increase.from).sum();
        same("added", added, &json!(got))?;
    }
    if let Some(group) = e.get("group") {
        same("group", group, &json!(got.increases.first().map(|increase| &increase.group)))?;
    }
    if let Some(sizes) = e.get("target_sizes") {
        let to = |id: &String| got.increases.iter().find(|increase| increase.group == *id).map(|i| i.to);
        let stated = groups.iter().filter(|group| sizes.get(&group.id).is_some());
        let after: BTreeMap<&String, u32> = stated.map(|g| (&g.id, to(&g.id).unwrap_or(g.target))).collect();
        same("sizes", sizes, &json!(after))?;
    }
    if let Some(expected) = e.get("event").and_then(Value::as_str) {
        // The row tells the first event; pods that no group helps may get one besides.
        same("event", &Some(&expected), &got.reasons_told().first())?;
    }
    let Some(part) = e.get("event_message_contains").and_then(Value::as_str) else { return Ok(()) };
    let told = got.told_unschedulable().iter().map(|(_, reasons)| reasons.message(&got.result, |_| true));
    let told: Vec<String> = told.collect();
    if told.iter().any(|told| told.contains(part)) {
        Ok(())
    } else {
        Err(format!("message: expected {part:?} in {told:?}"))
    }
}

pub(crate) fn to_min(i: &Value, e: &Value) -> Judgement {
    let groups: Vec<Group> = list(&i["groups"]).iter().map(group).collect::<Result<_, _>>()?;
    let mut views = Vec::new();
    for (group, row) in groups.iter().zip(list(&i["groups"])) {
        let node = Node { allocatable: read(&row["node"])?, ..Node::default() };
        views.push(GroupView { group, template: NodeState::new(node, Vec::new()), healthy: true, backed_off: false });
    }
    let simulation = Simulation::default();
    let nodes = groups.iter().map(|group| i64::from(group.target)).sum();
    let situation = Situation { groups: views, simulation: &simulation, nodes, ungrouped: Vec::new(), now_s: 0.0 };
    let got = scale_up_to_min(&options(&i["options"]), &situation);
    let got: BTreeMap<String, u32> = got.into_iter().map(|increase| (increase.group, increase.to)).collect();
    same("sizes", &e["new_sizes"], &json!(got))
}
