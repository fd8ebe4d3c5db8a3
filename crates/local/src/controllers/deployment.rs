//! Deployments: one `ReplicaSet` for each template, and the rollout from one to the next.
//!
//! Upstream: `pkg/controller/deployment`; the steps of a rollout are `democtl_core::autoscale::rollout`.

use std::{cmp::Reverse, sync::Arc};

use democtl_core::autoscale::rollout::{IntOrPercent, Set, Strategy, bounds, decide};
use serde_json::{Value, json};

use super::{
    Context,
    object::{
        controller, find, int, is_deleting, is_owned_by, name, owner_reference, set_condition, text, uid, write_status,
    },
    work::{self, Key, Source},
};
use crate::api::{
    Client, DeleteOptions, Status,
    resources::{DEPLOYMENTS, REPLICASETS},
};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";
const COMPONENT: &str = "deployment-controller";

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    let sources = vec![Source::itself(DEPLOYMENTS), Source::owned(REPLICASETS, "Deployment")];
    let reconciler = client.clone();
    work::run(client, sources, move |key| reconcile(&reconciler, key).map(|()| None)).await;
}

fn reconcile(client: &Client, (namespace, wanted): &Key) -> Result<(), Status> {
    let Some(deployment) = find(client, &DEPLOYMENTS, namespace, wanted)? else { return Ok(()) };
    if is_deleting(&deployment) {
        return Ok(());
    }
    let mut sets: Vec<Arc<Value>> = client.list(&REPLICASETS, namespace).0;
    sets.retain(|set| is_owned_by(set, uid(&deployment)));
    sets.sort_by_key(|set| revision(set));
    let template = &deployment["spec"]["template"];
    let at = sets.iter().position(|set| same_template(&set["spec"]["template"], template));
    let newest = sets.iter().map(|set| revision(set)).max().unwrap_or(0);
    let new = match at {
        Some(at) => sets.remove(at),
        None if deployment["spec"]["paused"] == true => return status(client, &deployment, None, &sets),
        None => create_set(client, &deployment, newest + 1)?,
    };
    let revision_of_new = if revision(&new) < newest { newest + 1 } else { revision(&new) };
    let new = set_revision(client, &deployment, new, revision_of_new)?;
    scale(client, &deployment, &new, &sets)?;
    clean_up(client, &deployment, &sets)?;
    // What was just written is read again: the status speaks of what is there.
    let new = client.get(&REPLICASETS, namespace, name(&new))?;
    let deployment = client.get(&DEPLOYMENTS, namespace, wanted)?;
    status(client, &deployment, Some(&new), &sets)
}

fn revision(set: &Value) -> i64 {
    set["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Equal but for the label that the controller itself adds.
fn same_template(of_set: &Value, of_deployment: &Value) -> bool {
    let mut stripped = of_set.clone();
    if let Some(labels) = stripped.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.shift_remove(HASH);
    }
    stripped == *of_deployment
}

/// A short name for a template, of the letters that upstream uses (no vowels: no words).
fn hash(template: &Value, collisions: i64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let text = format!("{template}{collisions}");
    let mut hash =
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    (0..10)
        .map(|_| {
            let letter = LETTERS[(hash % LETTERS.len() as u64) as usize];
            hash /= LETTERS.len() as u64;
            char::from(letter)
        })
        .collect()
}

fn create_set(client: &Client, deployment: &Value, revision: i64) -> Result<Arc<Value>, Status> {
    let collisions = deployment["status"]["collisionCount"].as_i64().unwrap_or(0);
    let hash = hash(&deployment["spec"]["template"], collisions);
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"][HASH] = json!(hash);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][HASH] = json!(hash);
    let namespace = super::object::namespace(deployment);
    let set_name = format!("{}-{hash}", name(deployment));
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": set_name,
            "namespace": namespace,
            "labels": template["metadata"]["labels"],
            "annotations": annotations(deployment, revision),
            "ownerReferences": owner_reference(&DEPLOYMENTS, deployment),
        },
        "spec": {
            "replicas": 0,
            "selector": selector,
            "template": template,
            "minReadySeconds": deployment["spec"]["minReadySeconds"].as_i64().unwrap_or(0),
        },
    });
    match client.create(&REPLICASETS, namespace, set) {
        Err(status) if status.code == 409 => {
            let existing = client.get(&REPLICASETS, namespace, &set_name)?;
            if is_owned_by(&existing, uid(deployment))
                && same_template(&existing["spec"]["template"], &deployment["spec"]["template"])
            {
                return Ok(existing);
            }
            let patch = json!({ "status": { "collisionCount": collisions + 1 } });
            client.merge_patch(&DEPLOYMENTS, namespace, name(deployment), Some("status"), &patch)?;
            Err(status)
        }
        created => created,
    }
}

/// What a set takes over from its Deployment, so that a rollback can give it back.
fn annotations(deployment: &Value, revision: i64) -> Value {
    let mut annotations = json!({});
    for (key, value) in deployment["metadata"]["annotations"].as_object().into_iter().flatten() {
        if key != REVISION && key != "kubectl.kubernetes.io/last-applied-configuration" {
            annotations[key] = value.clone();
        }
    }
    annotations[REVISION] = json!(revision.to_string());
    let wanted = int(deployment, "/spec/replicas").unwrap_or(1);
    let (surge, _) = rolling_bounds(deployment, wanted);
    annotations["deployment.kubernetes.io/desired-replicas"] = json!(wanted.to_string());
    annotations["deployment.kubernetes.io/max-replicas"] = json!((wanted + surge).to_string());
    annotations
}

fn set_revision(client: &Client, deployment: &Value, set: Arc<Value>, revision: i64) -> Result<Arc<Value>, Status> {
    let namespace = super::object::namespace(deployment);
    let text = revision.to_string();
    if deployment["metadata"]["annotations"][REVISION] != *text {
        let patch = json!({ "metadata": { "annotations": { REVISION: text } } });
        // As a part of the status: what only says where a rollout stands is no new generation.
        client.merge_patch(&DEPLOYMENTS, namespace, name(deployment), Some("status"), &patch)?;
    }
    let wanted = annotations(deployment, revision);
    let has = &set["metadata"]["annotations"];
    if wanted.as_object().into_iter().flatten().all(|(key, value)| has[key] == *value) {
        return Ok(set);
    }
    client.merge_patch(&REPLICASETS, namespace, name(&set), None, &json!({ "metadata": { "annotations": wanted } }))
}

fn int_or_percent(value: &Value) -> IntOrPercent {
    match value.as_str().and_then(|text| text.strip_suffix('%')?.parse().ok()) {
        Some(percent) => IntOrPercent::Percent(percent),
        None => value.as_i64().map_or(IntOrPercent::Percent(25), |number| IntOrPercent::Int(number as i32)),
    }
}

fn rolling_bounds(deployment: &Value, wanted: i32) -> (i32, i32) {
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        return (0, 0);
    }
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    bounds(wanted, int_or_percent(&rolling["maxSurge"]), int_or_percent(&rolling["maxUnavailable"]))
}

fn set_of(set: &Value) -> Set {
    let number = |pointer| int(set, pointer).unwrap_or(0);
    Set {
        replicas: number("/spec/replicas"),
        available: number("/status/availableReplicas"),
        existing: number("/status/replicas"),
    }
}

fn scale(client: &Client, deployment: &Value, new: &Value, old: &[Arc<Value>]) -> Result<(), Status> {
    let wanted = int(deployment, "/spec/replicas").unwrap_or(1);
    let (max_surge, max_unavailable) = rolling_bounds(deployment, wanted);
    let strategy = if text(deployment, "/spec/strategy/type") == "Recreate" {
        Strategy::Recreate
    } else {
        Strategy::RollingUpdate { max_surge, max_unavailable }
    };
    let sets: Vec<Set> = old.iter().map(|set| set_of(set)).collect();
    let paused = deployment["spec"]["paused"] == true;
    let (next, rest) = decide(wanted, strategy, paused, set_of(new), &sets);
    resize(client, deployment, new, next)?;
    for (set, replicas) in old.iter().zip(rest) {
        resize(client, deployment, set, replicas)?;
    }
    Ok(())
}

fn resize(client: &Client, deployment: &Value, set: &Value, replicas: i32) -> Result<(), Status> {
    let before = int(set, "/spec/replicas").unwrap_or(0);
    if before == replicas {
        return Ok(());
    }
    let patch = json!({ "spec": { "replicas": replicas } });
    client.merge_patch(&REPLICASETS, super::object::namespace(set), name(set), None, &patch)?;
    let way = if replicas > before { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {} from {before} to {replicas}", name(set));
    client.record_event(deployment, "Normal", "ScalingReplicaSet", &message, COMPONENT);
    Ok(())
}

/// Old sets without pods beyond the history limit.
fn clean_up(client: &Client, deployment: &Value, old: &[Arc<Value>]) -> Result<(), Status> {
    let limit = deployment["spec"]["revisionHistoryLimit"].as_u64().unwrap_or(10) as usize;
    let mut idle: Vec<_> = old
        .iter()
        .filter(|set| set_of(set) == Set::default() && !is_deleting(set) && controller(set).is_some())
        .collect();
    idle.sort_by_key(|set| Reverse(revision(set)));
    for set in idle.into_iter().skip(limit) {
        client.delete(&REPLICASETS, super::object::namespace(set), name(set), &DeleteOptions::default())?;
    }
    Ok(())
}

fn status(client: &Client, deployment: &Value, new: Option<&Arc<Value>>, old: &[Arc<Value>]) -> Result<(), Status> {
    let wanted = int(deployment, "/spec/replicas").unwrap_or(1);
    let all = || new.into_iter().chain(old);
    let sum = |pointer: &str| all().map(|set| int(set, pointer).unwrap_or(0)).sum::<i32>();
    let of_new = |pointer: &str| new.and_then(|set| int(set, pointer)).unwrap_or(0);
    let (replicas, available) = (sum("/status/replicas"), sum("/status/availableReplicas"));
    let updated = of_new("/status/replicas");
    let (_, max_unavailable) = rolling_bounds(deployment, wanted);
    let mut conditions: Vec<Value> = deployment["status"]["conditions"].as_array().cloned().unwrap_or_default();
    if available >= wanted - max_unavailable {
        let message = "Deployment has minimum availability.";
        set_condition(&mut conditions, "Available", "True", "MinimumReplicasAvailable", message);
    } else {
        let message = "Deployment does not have minimum availability.";
        set_condition(&mut conditions, "Available", "False", "MinimumReplicasUnavailable", message);
    }
    let set_name = new.map(|set| name(set)).unwrap_or_default();
    let complete = updated == wanted && replicas == wanted && available == wanted;
    let (reason, message) = if deployment["spec"]["paused"] == true {
        ("DeploymentPaused", "Deployment is paused".to_owned())
    } else if complete {
        ("NewReplicaSetAvailable", format!("ReplicaSet \"{set_name}\" has successfully progressed."))
    } else {
        ("ReplicaSetUpdated", format!("ReplicaSet \"{set_name}\" is progressing."))
    };
    set_condition(&mut conditions, "Progressing", "True", reason, &message);
    stamp_updates(&mut conditions, &deployment["status"]["conditions"]);
    let mut status = json!({ "observedGeneration": deployment["metadata"]["generation"], "conditions": conditions });
    let figures = [
        ("replicas", replicas),
        ("updatedReplicas", updated),
        ("readyReplicas", sum("/status/readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", (wanted - available).max(0)),
    ];
    for (key, figure) in figures {
        if figure != 0 {
            status[key] = json!(figure);
        }
    }
    if let Some(collisions) = deployment["status"].get("collisionCount") {
        status["collisionCount"] = collisions.clone();
    }
    write_status(client, &DEPLOYMENTS, deployment, &status)
}

/// `lastUpdateTime` changes with anything of a condition.
fn stamp_updates(conditions: &mut [Value], before: &Value) {
    for condition in conditions {
        let old = before.as_array().into_iter().flatten().find(|old| old["type"] == condition["type"]);
        let same =
            old.is_some_and(|old| ["status", "reason", "message"].iter().all(|key| old[*key] == condition[*key]));
        condition["lastUpdateTime"] = match old {
            Some(old) if same => old["lastUpdateTime"].clone(),
            _ => json!(super::object::now()),
        };
    }
}
