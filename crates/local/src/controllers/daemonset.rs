//! `DaemonSets`: one pod on each node that its pods tolerate. Upstream: `pkg/controller/daemon`.

use std::sync::Arc;

use democtl_core::autoscale::schedule::{Node, Pod, matches_affinity, taints};
use serde_json::{Value, json};

use super::{
    Context,
    object::{
        condition_is_true, find, is_deleting, is_owned_by, name, namespace, owner_reference, text, uid, write_status,
    },
    work::{self, Key, Source},
};
use crate::api::{
    Client, DeleteOptions, Status,
    resources::{DAEMONSETS, NODES, PODS},
};

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    let lister = client.clone();
    let all = move |_: &Value| lister.list(&DAEMONSETS, "").0.iter().map(|set| work::key(set)).collect();
    let sources = vec![
        Source::itself(DAEMONSETS),
        Source::owned(PODS, "DaemonSet"),
        Source { resource: NODES, keys: Box::new(all) },
    ];
    let reconciler = client.clone();
    work::run(client, sources, move |key| reconcile(&reconciler, key).map(|()| None)).await;
}

fn reconcile(client: &Client, (space, wanted): &Key) -> Result<(), Status> {
    let Some(set) = find(client, &DAEMONSETS, space, wanted)? else { return Ok(()) };
    if is_deleting(&set) {
        return Ok(());
    }
    let mut pods: Vec<Arc<Value>> = client.list(&PODS, space).0;
    pods.retain(|pod| is_owned_by(pod, uid(&set)) && !is_deleting(pod));
    let template = json!({ "metadata": set["spec"]["template"]["metadata"], "spec": pod_spec(&set, "") });
    let shape = Pod::from_json(&template, |_| None);
    let nodes = client.list(&NODES, "").0;
    let fitting: Vec<&str> = nodes
        .iter()
        .filter(|node| {
            let node = Node::from_json(node);
            taints(&shape, &node).is_ok() && matches_affinity(&shape_without_name(&shape), &node)
        })
        .map(|node| name(node))
        .collect();
    for node in &fitting {
        if !pods.iter().any(|pod| text(pod, "/spec/nodeName") == *node) {
            let mut metadata = set["spec"]["template"]["metadata"].clone();
            metadata["generateName"] = json!(format!("{}-", name(&set)));
            metadata["namespace"] = json!(namespace(&set));
            metadata["ownerReferences"] = owner_reference(&DAEMONSETS, &set);
            let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(&set, node) });
            pods.push(client.create(&PODS, space, pod)?);
        }
    }
    for pod in pods.iter().filter(|pod| !fitting.contains(&text(pod, "/spec/nodeName"))) {
        client.delete(&PODS, space, name(pod), &DeleteOptions::default())?;
    }
    let ready = pods.iter().filter(|pod| condition_is_true(pod, "Ready")).count();
    let status = json!({
        "currentNumberScheduled": pods.len(),
        "desiredNumberScheduled": fitting.len(),
        "numberMisscheduled": 0,
        "numberReady": ready,
        "numberAvailable": ready,
        "numberUnavailable": fitting.len().saturating_sub(ready),
        "updatedNumberScheduled": pods.len(),
        "observedGeneration": set["metadata"]["generation"],
    });
    write_status(client, &DAEMONSETS, &set, &status)
}

fn shape_without_name(pod: &Pod) -> Pod {
    Pod { node_affinity_required_terms: None, ..pod.clone() }
}

/// The template's spec on one node: the scheduler is told the node's name by affinity upstream, here it is bound at once.
pub(super) fn pod_spec(set: &Value, node: &str) -> Value {
    let mut spec = set["spec"]["template"]["spec"].clone();
    if !node.is_empty() {
        spec["nodeName"] = json!(node);
    }
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for (key, effect) in [
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ] {
        tolerations.push(json!({ "key": key, "operator": "Exists", "effect": effect }));
    }
    spec["tolerations"] = json!(tolerations);
    spec
}
