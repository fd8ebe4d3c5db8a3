//! Garbage collection: what has lost its owners goes; namespaces that end are emptied.
//!
//! Upstream: `pkg/controller/garbagecollector`, `pkg/controller/namespace`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Context,
    object::{is_deleting, items, name, namespace, uid},
    work::{self, Source},
};
use crate::api::{
    Client, DeleteOptions, Resource, Status,
    resources::{
        APPLICATIONS, CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, ENDPOINTS, ENDPOINTSLICES, EVENTS, HPAS, JOBS, LEASES,
        NAMESPACES, NODES, PDBS, PODS, REPLICASETS, SCALEDOBJECTS, SECRETS, SERVICE_ACCOUNTS, SERVICES, STATEFULSETS,
    },
};

/// Kinds that can own others.
const OWNERS: [&Resource; 9] =
    [&DEPLOYMENTS, &REPLICASETS, &DAEMONSETS, &STATEFULSETS, &JOBS, &SERVICES, &SCALEDOBJECTS, &NODES, &PODS];
/// Kinds that are collected.
const DEPENDENTS: [&Resource; 7] = [&REPLICASETS, &PODS, &HPAS, &ENDPOINTS, &ENDPOINTSLICES, &JOBS, &CONFIGMAPS];
/// Kinds that go with their namespace.
const CONTENT: [&Resource; 17] = [
    &APPLICATIONS,
    &SCALEDOBJECTS,
    &HPAS,
    &DEPLOYMENTS,
    &DAEMONSETS,
    &STATEFULSETS,
    &JOBS,
    &REPLICASETS,
    &PODS,
    &SERVICES,
    &ENDPOINTS,
    &ENDPOINTSLICES,
    &PDBS,
    &LEASES,
    &CONFIGMAPS,
    &SECRETS,
    &SERVICE_ACCOUNTS,
];

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    let mut sources: Vec<Source> = OWNERS.iter().map(|resource| Source::everything((*resource).clone())).collect();
    sources.push(Source::itself(NAMESPACES));
    let collector = client.clone();
    work::run(client, sources, move |(_, wanted)| {
        if wanted.is_empty() { collect(&collector).map(|()| None) } else { end_namespace(&collector, wanted) }
    })
    .await;
}

/// Deletes what names only owners that are gone; lets go of owners that wait for their dependents.
fn collect(client: &Client) -> Result<(), Status> {
    for resource in OWNERS {
        for owner in client.list(resource, "").0.iter().filter(|owner| waits(owner, "orphan")) {
            orphan(client, uid(owner))?;
            release(client, resource, owner, "orphan")?;
        }
    }
    let owners: Vec<Arc<Value>> = OWNERS.iter().flat_map(|resource| client.list(resource, "").0).collect();
    let alive: BTreeSet<&str> = owners.iter().map(|owner| uid(owner)).collect();
    let applications = client.list(&APPLICATIONS, "").0;
    let foreground: BTreeSet<&str> =
        owners.iter().filter(|owner| waits(owner, "foregroundDeletion")).map(|owner| uid(owner)).collect();
    let mut blocked = BTreeSet::new();
    for resource in DEPENDENTS {
        for object in client.list(resource, "").0 {
            let mut references = items(&object, "/metadata/ownerReferences").peekable();
            if references.peek().is_none() {
                continue;
            }
            let owners: Vec<&str> = references.filter_map(|reference| reference["uid"].as_str()).collect();
            blocked.extend(owners.iter().filter(|owner| foreground.contains(*owner)).map(|owner| (*owner).to_owned()));
            let known = |owner: &&str| alive.contains(*owner) || applications.iter().any(|app| uid(app) == *owner);
            let orphan = !owners.iter().any(known);
            let going = owners.iter().any(|owner| foreground.contains(owner));
            if (orphan || going) && !is_deleting(&object) {
                ignore_missing(client.delete(resource, namespace(&object), name(&object), &DeleteOptions::default()))?;
            }
        }
    }
    for resource in OWNERS {
        for owner in client.list(resource, "").0.iter().filter(|owner| waits(owner, "foregroundDeletion")) {
            if !blocked.contains(uid(owner)) {
                release(client, resource, owner, "foregroundDeletion")?;
            }
        }
    }
    Ok(())
}

/// Takes an owner out of its dependents, which stay.
fn orphan(client: &Client, owner: &str) -> Result<(), Status> {
    for resource in DEPENDENTS {
        for object in client.list(resource, "").0 {
            let references = || items(&object, "/metadata/ownerReferences");
            if references().any(|reference| reference["uid"] == owner) {
                let left: Vec<&Value> = references().filter(|reference| reference["uid"] != owner).collect();
                let left = if left.is_empty() { Value::Null } else { json!(left) };
                let patch = json!({ "metadata": { "ownerReferences": left } });
                ignore_missing(client.merge_patch(resource, namespace(&object), name(&object), None, &patch))?;
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

/// Says on a namespace that ends what it waits for.
fn report_remaining(client: &Client, space: &Value, held: bool) -> Result<(), Status> {
    let rows = [
        ("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", "All resources successfully discovered"),
        ("NamespaceDeletionContentFailure", false, "ContentDeleted", "All content successfully deleted"),
        ("NamespaceContentRemaining", true, "SomeResourcesRemain", "Some resources are remaining"),
        ("NamespaceFinalizersRemaining", held, "SomeFinalizersRemain", "Some content has finalizers remaining"),
    ];
    let known = |kind: &str| items(space, "/status/conditions").find(|known| known["type"] == kind);
    let wanted = |holds: bool| if holds { "True" } else { "False" };
    if rows.iter().all(|(kind, holds, ..)| known(kind).is_some_and(|known| known["status"] == wanted(*holds))) {
        return Ok(());
    }
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let conditions: Vec<Value> = rows
        .iter()
        .map(|(kind, holds, reason, message)| {
            json!({ "type": kind, "status": wanted(*holds), "lastTransitionTime": now, "reason": reason, "message": message })
        })
        .collect();
    let patch = json!({ "status": { "conditions": conditions } });
    ignore_missing(client.merge_patch(&NAMESPACES, "", name(space), Some("status"), &patch))
}

/// Empties a namespace that ends, then lets it go.
fn end_namespace(client: &Client, wanted: &str) -> Result<Option<Duration>, Status> {
    let Some(space) = super::object::find(client, &NAMESPACES, "", wanted)? else { return Ok(None) };
    if !is_deleting(&space) {
        return Ok(None);
    }
    let (mut left, mut held) = (0, false);
    for resource in CONTENT {
        for object in client.list(resource, wanted).0 {
            left += 1;
            held |= items(&object, "/metadata/finalizers").next().is_some();
            if !is_deleting(&object) {
                ignore_missing(client.delete(resource, wanted, name(&object), &DeleteOptions::default()))?;
            }
        }
    }
    if left > 0 {
        if held {
            report_remaining(client, &space, held)?;
        }
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
