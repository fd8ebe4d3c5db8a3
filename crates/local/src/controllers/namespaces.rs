//! Namespaces that end are emptied. Upstream: `pkg/controller/namespace`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Context,
    object::{find, is_deleting, items, name, set_condition, unless_gone, write_status},
    work::{self, Source},
};
use crate::api::{
    Client, DeleteOptions, Resource, Status,
    resources::{EVENTS, NAMESPACES},
};

/// How soon a namespace is looked at again whose objects take their time.
const RETRY: Duration = Duration::from_millis(50);

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    let reconciler = client.clone();
    work::run(client, vec![Source::itself(NAMESPACES)], move |(_, wanted)| reconcile(&reconciler, wanted)).await;
}

fn reconcile(client: &Client, wanted: &str) -> Result<Option<Duration>, Status> {
    let Some(space) = find(client, &NAMESPACES, "", wanted)?.filter(|space| is_deleting(space)) else {
        return Ok(None);
    };
    let mut left = Vec::new();
    // Events tell of the others' end: they go last.
    for resource in client.resources().iter().filter(|resource| resource.namespaced && **resource != EVENTS) {
        let objects = client.list(resource, wanted).0;
        for object in objects.iter().filter(|object| !is_deleting(object)) {
            unless_gone(client.delete(resource, wanted, name(object), &DeleteOptions::default()))?;
        }
        left.extend(client.list(resource, wanted).0.into_iter().map(|object| (resource.clone(), object)));
    }
    if !left.is_empty() {
        let mut status = space["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        status["conditions"] = json!(remaining(conditions, &left));
        write_status(client, &NAMESPACES, &space, &status)?;
        return Ok(Some(RETRY));
    }
    for event in client.list(&EVENTS, wanted).0 {
        unless_gone(client.delete(&EVENTS, wanted, name(&event), &DeleteOptions::default()))?;
    }
    let mut next = (*space).clone();
    next["spec"]["finalizers"] = json!([]);
    client.finalize_namespace(wanted, &next)?;
    Ok(None)
}

/// The conditions that say what a namespace still waits for.
fn remaining(mut conditions: Vec<Value>, left: &[(Resource, Arc<Value>)]) -> Vec<Value> {
    let list = |counts: BTreeMap<String, usize>, link: &str| -> String {
        let parts: Vec<String> =
            counts.iter().map(|(what, count)| format!("{what} {link} {count} resource instances")).collect();
        parts.join(", ")
    };
    let mut content = BTreeMap::new();
    let mut finalizers = BTreeMap::new();
    for (resource, object) in left {
        *content.entry(resource.qualified()).or_default() += 1;
        for finalizer in items(object, "/metadata/finalizers").filter_map(Value::as_str) {
            *finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }
    let message = format!("Some resources are remaining: {}", list(content, "has"));
    set_condition(&mut conditions, "NamespaceContentRemaining", "True", "SomeResourcesRemain", &message);
    let (status, reason, message) = if finalizers.is_empty() {
        ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
    } else {
        let what = list(finalizers, "in");
        ("True", "SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {what}"))
    };
    set_condition(&mut conditions, "NamespaceFinalizersRemaining", status, reason, &message);
    conditions
}
