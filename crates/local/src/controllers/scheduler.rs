//! The scheduler: binds pods to nodes. What fits where is `democtl_core::autoscale::schedule`.

use std::{collections::BTreeMap, sync::Arc};

use democtl_core::{
    autoscale::schedule::{Cluster, Node, NodeState, Nominated, Pod, place, preempt},
    draws::{self, Ties},
};
use serde_json::{Value, json};

use super::{
    Context,
    object::{is_deleting, items, name, namespace, seconds_since, set_condition, text},
    work::{self, Source},
};
use crate::api::{
    Client, DeleteOptions, Status,
    resources::{NODES, PODS},
};

const COMPONENT: &str = "default-scheduler";

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-scheduler");
    let sources = vec![Source::everything(PODS), Source::everything(NODES)];
    let scheduler = client.clone();
    let mut random = draws::ties(context.config.seed);
    work::run(client, sources, move |_| schedule(&scheduler, &mut random).map(|()| None)).await;
}

/// The nodes with the pods on them, as the scheduler and the autoscaler see them.
pub(super) fn cluster(nodes: &[Arc<Value>], pods: &[Arc<Value>], age: impl Fn(&str) -> Option<f64>) -> Cluster {
    let mut on = BTreeMap::<&str, Vec<Pod>>::new();
    for pod in pods.iter().filter(|pod| !is_finished(pod)) {
        let node = text(pod, "/spec/nodeName");
        if !node.is_empty() {
            on.entry(node).or_default().push(Pod::from_json(pod, &age));
        }
    }
    let state = |node: &Arc<Value>| NodeState::new(Node::from_json(node), on.remove(name(node)).unwrap_or_default());
    Cluster { nodes: nodes.iter().map(state).collect() }
}

fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Pods that wait for a node.
pub(super) fn is_waiting(pod: &Value) -> bool {
    text(pod, "/spec/nodeName").is_empty()
        && !is_deleting(pod)
        && !is_finished(pod)
        && matches!(text(pod, "/spec/schedulerName"), "" | "default-scheduler")
        && items(pod, "/spec/schedulingGates").next().is_none()
}

fn schedule(client: &Client, random: &mut Ties) -> Result<(), Status> {
    round(client, &client.list(&NODES, "").0, &client.list(&PODS, "").0, random)
}

/// One round over the pods that wait.
pub(super) fn round(
    client: &Client,
    nodes: &[Arc<Value>],
    pods: &[Arc<Value>],
    random: &mut Ties,
) -> Result<(), Status> {
    let mut waiting: Vec<&Arc<Value>> = pods.iter().filter(|pod| is_waiting(pod)).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    waiting.sort_by_key(|pod| {
        let priority = pod["spec"]["priority"].as_i64().unwrap_or(0);
        (std::cmp::Reverse(priority), text(pod, "/metadata/creationTimestamp").to_owned())
    });
    let mut cluster = cluster(nodes, pods, seconds_since);
    let waiting: Vec<_> = waiting.into_iter().map(|object| (object, Pod::from_json(object, seconds_since))).collect();
    let mut nominated = Nominated::new(waiting.iter().map(|(_, pod)| pod));
    for (object, pod) in waiting {
        nominated.before(&mut cluster, &pod);
        match place(&pod, &cluster, random) {
            Ok(at) => {
                let node = cluster.nodes[at].node.name.clone();
                match client.bind(namespace(object), name(object), &node) {
                    Ok(_) => {}
                    Err(status) if status.is_not_found() || status.is_conflict() => continue,
                    Err(status) => return Err(status),
                }
                cluster.nodes[at].put(pod);
                let message = format!("Successfully assigned {}/{} to {node}", namespace(object), name(object));
                client.record_event(object, "Normal", "Scheduled", &message, COMPONENT);
            }
            Err(unschedulable) => {
                refuse(client, object, &unschedulable.message)?;
                if let Some(node) = make_room(client, object, &pod, &cluster)? {
                    nominated.hold(&mut cluster, &pod, &node);
                }
            }
        }
    }
    Ok(())
}

/// Removes pods of lesser priority where that makes the pod fit; it is bound once they have ended. Yields the node where
/// room is being made for it.
fn make_room(client: &Client, object: &Value, pod: &Pod, cluster: &Cluster) -> Result<Option<String>, Status> {
    let nominated = text(object, "/status/nominatedNodeName");
    let ending = |pod: &Arc<Pod>| client.get(&PODS, &pod.namespace, &pod.name).is_ok_and(|pod| is_deleting(&pod));
    let waits = cluster.nodes.iter().any(|at| at.node.name == nominated && at.pods.iter().any(ending));
    if waits {
        return Ok(Some(nominated.to_owned()));
    }
    let never = text(object, "/spec/preemptionPolicy") == "Never";
    let found = if never { None } else { preempt(pod, cluster) };
    let nominate = |node: Option<&str>| -> Result<(), Status> {
        let patch = json!({ "status": { "nominatedNodeName": node } });
        client.merge_patch(&PODS, namespace(object), name(object), Some("status"), &patch).map(drop)
    };
    let Some((node, victims)) = found else {
        // What was nominated before came to nothing.
        return if nominated.is_empty() { Ok(None) } else { nominate(None).map(|()| None) };
    };
    let node = &cluster.nodes[node].node.name;
    nominate(Some(node))?;
    for victim in victims {
        let victim = client.get(&PODS, &victim.namespace, &victim.name)?;
        let message = format!("Preempted by pod {} on node {node}", text(object, "/metadata/uid"));
        client.record_event(&victim, "Normal", "Preempted", &message, COMPONENT);
        client.delete(&PODS, namespace(&victim), name(&victim), &DeleteOptions::default())?;
    }
    Ok(Some(node.clone()))
}

fn refuse(client: &Client, pod: &Value, message: &str) -> Result<(), Status> {
    let known = items(pod, "/status/conditions").find(|condition| condition["type"] == "PodScheduled");
    if known.is_some_and(|condition| condition["status"] == "False" && condition["message"] == message) {
        return Ok(());
    }
    let mut conditions: Vec<Value> = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    set_condition(&mut conditions, "PodScheduled", "False", "Unschedulable", message);
    let patch = json!({ "status": { "conditions": conditions } });
    match client.merge_patch(&PODS, namespace(pod), name(pod), Some("status"), &patch) {
        Err(status) if !status.is_not_found() => return Err(status),
        _ => {}
    }
    client.record_event(pod, "Warning", "FailedScheduling", message, COMPONENT);
    Ok(())
}
