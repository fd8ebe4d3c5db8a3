//! `ReplicaSets`: as many pods as wanted. Upstream: `pkg/controller/replicaset`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Context,
    object::{
        condition_is_true, find, int, is_deleting, is_owned_by, name, namespace, owner_reference, text, uid,
        write_status,
    },
    work::{self, Key, Source},
};
use crate::api::{
    Client, DeleteOptions, Status,
    resources::{PODS, REPLICASETS},
};

const COMPONENT: &str = "replicaset-controller";
/// Pods made in one reconcile; upstream's burst.
const BURST: usize = 500;

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    let sources = vec![Source::itself(REPLICASETS), Source::owned(PODS, "ReplicaSet")];
    let reconciler = client.clone();
    work::run(client, sources, move |key| reconcile(&reconciler, key).map(|()| None)).await;
}

fn reconcile(client: &Client, (space, wanted): &Key) -> Result<(), Status> {
    let Some(set) = find(client, &REPLICASETS, space, wanted)? else { return Ok(()) };
    let mut pods: Vec<Arc<Value>> = client.list(&PODS, space).0;
    pods.retain(|pod| is_owned_by(pod, uid(&set)) && !is_finished(pod));
    let mut active: Vec<Arc<Value>> = pods.iter().filter(|pod| !is_deleting(pod)).cloned().collect();
    if !is_deleting(&set) {
        let replicas = int(&set, "/spec/replicas").unwrap_or(1).max(0) as usize;
        if active.len() < replicas {
            for _ in 0..(replicas - active.len()).min(BURST) {
                let pod = create_pod(client, &set)?;
                let message = format!("Created pod: {}", name(&pod));
                client.record_event(&set, "Normal", "SuccessfulCreate", &message, COMPONENT);
                active.push(pod);
            }
        } else if active.len() > replicas {
            active.sort_by_cached_key(|pod| rank(pod));
            for pod in active.drain(..active.len() - replicas) {
                client.delete(&PODS, space, name(&pod), &DeleteOptions::default())?;
                let message = format!("Deleted pod: {}", name(&pod));
                client.record_event(&set, "Normal", "SuccessfulDelete", &message, COMPONENT);
            }
        }
    }
    let ready = active.iter().filter(|pod| condition_is_true(pod, "Ready")).count();
    let mut status = json!({ "replicas": active.len(), "observedGeneration": set["metadata"]["generation"] });
    for (key, figure) in
        [("fullyLabeledReplicas", active.len()), ("readyReplicas", ready), ("availableReplicas", ready)]
    {
        if figure > 0 {
            status[key] = json!(figure);
        }
    }
    write_status(client, &REPLICASETS, &set, &status)
}

fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Pods that go first come first: not scheduled, pending, not ready, cheap to delete, young.
fn rank(pod: &Value) -> (bool, u8, bool, i64, std::cmp::Reverse<String>) {
    let phase = match text(pod, "/status/phase") {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = text(pod, "/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost").parse().unwrap_or(0);
    let created = text(pod, "/metadata/creationTimestamp").to_owned();
    (!text(pod, "/spec/nodeName").is_empty(), phase, condition_is_true(pod, "Ready"), cost, std::cmp::Reverse(created))
}

fn create_pod(client: &Client, set: &Value) -> Result<Arc<Value>, Status> {
    let template = &set["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["generateName"] = json!(format!("{}-", name(set)));
    metadata["namespace"] = json!(namespace(set));
    metadata["ownerReferences"] = owner_reference(&REPLICASETS, set);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] });
    client.create(&PODS, namespace(set), pod)
}
