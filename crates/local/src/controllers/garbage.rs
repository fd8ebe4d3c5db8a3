//! Garbage collection: what has lost its owners goes, of whatever kind both are; namespaces that end are emptied.
//!
//! Upstream: `pkg/controller/garbagecollector`, `pkg/controller/namespace`.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Context,
    object::{is_deleting, items, name, namespace, uid},
    work::{self, Source},
};
use crate::api::{
    Client, DeleteOptions, Resource, Status,
    resources::{
        APPLICATIONS, DAEMONSETS, DEPLOYMENTS, EVENTS, HPAS, JOBS, NAMESPACES, REPLICASETS, SCALEDOBJECTS, STATEFULSETS,
    },
};

/// Kinds that make others: they go first of a namespace.
const MAKERS: [Resource; 8] =
    [APPLICATIONS, SCALEDOBJECTS, HPAS, DEPLOYMENTS, DAEMONSETS, STATEFULSETS, JOBS, REPLICASETS];
/// A failed collection is tried again after this, and after twice as long each time.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(5);

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    let namespaces = client.clone();
    let ends = move |(_, wanted): &work::Key| end_namespace(&namespaces, wanted);
    tokio::join!(follow(&client), work::run(client.clone(), vec![Source::itself(NAMESPACES)], ends));
}

/// Collects at the start and after all that may have left something behind.
async fn follow(client: &Client) {
    let mut lives = client.lives();
    let mut retry = RETRY;
    loop {
        lives.borrow_and_update();
        if let Err(status) = collect(client) {
            tracing::debug!(%status, "garbage collection");
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MOST);
            continue;
        }
        retry = RETRY;
        if lives.changed().await.is_err() {
            return;
        }
    }
}

/// All objects but Events, which own nothing and are owned by nobody.
fn everything(client: &Client) -> Vec<(Resource, Vec<Arc<Value>>)> {
    let kept = client.kept().into_iter().filter(|resource| *resource != EVENTS);
    kept.map(|resource| (resource.clone(), client.list(&resource, "").0)).collect()
}

/// Deletes what names only owners that are gone; lets go of owners that wait for their dependents.
fn collect(client: &Client) -> Result<(), Status> {
    let mut all = everything(client);
    if all.iter().flat_map(|(_, objects)| objects).any(|owner| waits(owner, "orphan")) {
        for (resource, owners) in &all {
            for owner in owners.iter().filter(|owner| waits(owner, "orphan")) {
                orphan(client, uid(owner))?;
                release(client, resource, owner, "orphan")?;
            }
        }
        all = everything(client);
    }
    let objects = || all.iter().flat_map(|(_, objects)| objects);
    let alive: HashSet<&str> = objects().map(|owner| uid(owner)).collect();
    let foreground: BTreeSet<&str> =
        objects().filter(|owner| waits(owner, "foregroundDeletion")).map(|owner| uid(owner)).collect();
    let mut blocked = BTreeSet::new();
    for (resource, object) in all.iter().flat_map(|(resource, objects)| objects.iter().map(move |o| (resource, o))) {
        let references: Vec<&Value> = items(object, "/metadata/ownerReferences").collect();
        if references.is_empty() {
            continue;
        }
        let going: Vec<&str> = references.iter().filter_map(|reference| reference["uid"].as_str()).collect();
        let going: Vec<&str> = going.into_iter().filter(|owner| foreground.contains(owner)).collect();
        blocked.extend(going.iter().copied());
        let lost = || !references.iter().any(|reference| lives(client, &alive, namespace(object), reference));
        if !is_deleting(object) && (!going.is_empty() || lost()) {
            let options = DeleteOptions { uid: Some(uid(object).to_owned()), ..DeleteOptions::default() };
            ignore_missing(client.delete(resource, namespace(object), name(object), &options))?;
        }
    }
    for (resource, owners) in &all {
        for owner in owners.iter().filter(|owner| waits(owner, "foregroundDeletion")) {
            if !blocked.contains(uid(owner)) {
                release(client, resource, owner, "foregroundDeletion")?;
            }
        }
    }
    Ok(())
}

/// Whether an owner is there. One that was not listed may have come since; of a kind that is not served nothing is
/// known.
fn lives(client: &Client, alive: &HashSet<&str>, space: &str, reference: &Value) -> bool {
    let text = |key: &str| reference[key].as_str().unwrap_or_default();
    if alive.contains(text("uid")) {
        return true;
    }
    let Some(resource) = client.resource_of(text("apiVersion"), text("kind")) else { return true };
    match client.get(&resource, space, text("name")) {
        Ok(owner) => uid(&owner) == text("uid"),
        Err(status) => !status.is_not_found(),
    }
}

/// Takes an owner out of its dependents, which stay.
fn orphan(client: &Client, owner: &str) -> Result<(), Status> {
    for (resource, objects) in everything(client) {
        for object in objects {
            let references = || items(&object, "/metadata/ownerReferences");
            if references().any(|reference| reference["uid"] == owner) {
                let left: Vec<&Value> = references().filter(|reference| reference["uid"] != owner).collect();
                let left = if left.is_empty() { Value::Null } else { json!(left) };
                let patch = json!({ "metadata": { "ownerReferences": left } });
                ignore_missing(client.merge_patch(&resource, namespace(&object), name(&object), None, &patch))?;
            }
        }
    }
    Ok(())
}

/// Removes the finalizer that an owner waited with.
fn release(client: &Client, resource: &Resource, owner: &Value, finalizer: &str) -> Result<(), Status> {
    let left: Vec<&Value> = items(owner, "/metadata/finalizers").filter(|held| **held != finalizer).collect();
    let patch = json!({ "metadata": { "finalizers": left } });
    ignore_missing(client.merge_patch(resource, namespace(owner), name(owner), None, &patch))
}

fn waits(owner: &Value, finalizer: &str) -> bool {
    is_deleting(owner) && items(owner, "/metadata/finalizers").any(|held| held == finalizer)
}

fn ignore_missing(result: Result<Arc<Value>, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.is_not_found() || status.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

/// Empties a namespace that ends, then lets it go.
fn end_namespace(client: &Client, wanted: &str) -> Result<Option<Duration>, Status> {
    let Some(space) = super::object::find(client, &NAMESPACES, "", wanted)? else { return Ok(None) };
    if !is_deleting(&space) {
        return Ok(None);
    }
    let mut left = 0;
    let kept = client.kept().into_iter().filter(|resource| resource.namespaced && *resource != EVENTS);
    let (makers, others): (Vec<_>, Vec<_>) = kept.partition(|resource| MAKERS.contains(resource));
    for resource in makers.iter().chain(&others) {
        for object in client.list(resource, wanted).0 {
            left += 1;
            if !is_deleting(&object) {
                ignore_missing(client.delete(resource, wanted, name(&object), &DeleteOptions::default()))?;
            }
        }
    }
    if left > 0 {
        return Ok(Some(Duration::from_millis(50)));
    }
    for event in client.list(&EVENTS, wanted).0 {
        ignore_missing(client.delete(&EVENTS, wanted, name(&event), &DeleteOptions::default()))?;
    }
    let mut next = (*space).clone();
    next["spec"]["finalizers"] = json!([]);
    client.finalize_namespace(wanted, &next)?;
    Ok(None)
}
