//! Namespaces that end are emptied. Upstream: `pkg/controller/namespace`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

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
/// A namespace is left alone for this long after its deletion, for those who still write into it; profile time.
const GRACE: Duration = Duration::from_secs(5);

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    let reconciler = client.clone();
    let grace = context.clock.real(GRACE);
    let mut ending: HashMap<String, Instant> = HashMap::new();
    work::run(client, vec![Source::itself(NAMESPACES)], move |(_, wanted)| {
        let Some(space) = find(&reconciler, &NAMESPACES, "", wanted)?.filter(|space| is_deleting(space)) else {
            ending.remove(wanted);
            return Ok(None);
        };
        let since = ending.entry(wanted.to_owned()).or_insert_with(Instant::now).elapsed();
        match grace.saturating_sub(since) {
            Duration::ZERO => empty(&reconciler, wanted, &space),
            left => Ok(Some(left)),
        }
    })
    .await;
}

fn empty(client: &Client, wanted: &str, space: &Value) -> Result<Option<Duration>, Status> {
    let mut left = Vec::new();
    // Events tell of the others' end: they go last.
    for resource in client.resources().iter().filter(|resource| resource.namespaced && **resource != EVENTS) {
        let objects = client.list(resource, wanted).0;
        for object in objects.iter().filter(|object| !is_deleting(object)) {
            unless_gone(client.delete(resource, wanted, name(object), &DeleteOptions::background()))?;
        }
        left.extend(client.list(resource, wanted).0.into_iter().map(|object| (resource.clone(), object)));
    }
    if !left.is_empty() {
        // What has no finalizer goes by itself.
        if !left.iter().any(|(_, object)| items(object, "/metadata/finalizers").next().is_some()) {
            return Ok(Some(RETRY));
        }
        let mut status = space["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        status["conditions"] = json!(remaining(conditions, &left));
        write_status(client, &NAMESPACES, space, &status)?;
        return Ok(Some(RETRY));
    }
    for event in client.list(&EVENTS, wanted).0 {
        unless_gone(client.delete(&EVENTS, wanted, name(&event), &DeleteOptions::background()))?;
    }
    let mut next = space.clone();
    let kept: Vec<&Value> = items(space, "/spec/finalizers").filter(|held| **held != "kubernetes").collect();
    if kept.len() == items(space, "/spec/finalizers").count() {
        return Ok(None);
    }
    next["spec"]["finalizers"] = json!(kept);
    client.finalize_namespace(wanted, &next)?;
    Ok(None)
}

/// The conditions that say what a namespace still waits for.
fn remaining(mut conditions: Vec<Value>, left: &[(Resource, Arc<Value>)]) -> Vec<Value> {
    let list = |counts: BTreeMap<String, usize>, link: &str| -> String {
        let parts = counts.iter().map(|(what, count)| format!("{what} {link} {count} resource instances"));
        parts.collect::<Vec<String>>().join(", ")
    };
    let (mut content, mut finalizers) = (BTreeMap::new(), BTreeMap::new());
    for (resource, object) in left {
        *content.entry(resource.qualified()).or_default() += 1;
        for finalizer in items(object, "/metadata/finalizers").filter_map(Value::as_str) {
            *finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }
    let content = format!("Some resources are remaining: {}", list(content, "has"));
    let finalizers = format!("Some content in the namespace has finalizers remaining: {}", list(finalizers, "in"));
    for (kind, status, reason, message) in [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", &content),
        ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", &finalizers),
    ] {
        set_condition(&mut conditions, kind, status, reason, message);
    }
    conditions
}
