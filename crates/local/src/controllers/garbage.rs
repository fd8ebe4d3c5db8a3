//! Garbage collection: what has lost its owners goes; owners that wait for their dependents are let go.
//!
//! A graph of who owns whom is kept by watches of every resource, those of custom resources as well. As upstream, it only
//! tells whom to look at; what is done is decided by what the API says at that moment.
//! Upstream: `pkg/controller/garbagecollector`.

mod graph;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Context,
    object::{find, is_deleting, items, name, namespace, uid, unless_gone},
};
use crate::api::{
    Client, DeleteOptions, EventKind, Propagation, Resource, Status,
    resources::{CRDS, EVENTS},
};
use graph::{Graph, Node};

/// A failed look is taken again after this.
const RETRY: Duration = Duration::from_millis(100);

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What the watches tell.
enum Message {
    /// All objects of a resource, whatever was known of it before.
    Listed(Arc<Resource>, Vec<Arc<Value>>),
    Changed(EventKind, Arc<Resource>, Arc<Value>),
    /// The resource is served no more.
    Ended(Arc<Resource>),
    /// Look at this object again.
    Again(String),
}

pub(super) async fn run(context: Context) {
    collect(context.client.as_manager("kube-controller-manager")).await;
}

async fn collect(client: Client) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let mut watches = Watches { client: client.clone(), sender: sender.clone(), running: HashMap::new() };
    watches.start_missing();
    let mut graph = Graph::default();
    while let Some(first) = receiver.recv().await {
        let mut messages = vec![first];
        while let Ok(message) = receiver.try_recv() {
            messages.push(message);
        }
        let mut suspects = BTreeSet::new();
        for message in messages {
            match message {
                Message::Changed(EventKind::Deleted, _, object) => graph.remove(uid(&object), &mut suspects),
                Message::Changed(_, resource, object) => {
                    graph.put(&resource, &object, &mut suspects);
                    if *resource == CRDS {
                        watches.start_missing();
                    }
                }
                Message::Listed(resource, objects) => graph.replace(&resource, &objects, &mut suspects),
                Message::Ended(resource) => {
                    graph.replace(&resource, &[], &mut suspects);
                    watches.running.remove(&resource);
                    watches.start_missing();
                }
                Message::Again(uid) => {
                    suspects.insert(uid);
                }
            }
        }
        for suspect in suspects {
            if let Some(node) = graph.node(&suspect)
                && let Err(status) = look(&client, &graph, node)
            {
                tracing::debug!(%status, object = node.name, "garbage collection is tried again");
                let sender = sender.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(RETRY).await;
                    // The collector may have ended meanwhile.
                    let _ = sender.send(Message::Again(suspect));
                });
            }
        }
        tokio::task::yield_now().await;
    }
}

/// One watch for each resource that is stored.
struct Watches {
    client: Client,
    sender: mpsc::UnboundedSender<Message>,
    running: HashMap<Arc<Resource>, JoinSet<()>>,
}

impl Watches {
    fn start_missing(&mut self) {
        // Events are many and own nothing.
        for resource in self.client.resources().into_iter().filter(|resource| *resource != EVENTS) {
            let (client, sender) = (self.client.clone(), self.sender.clone());
            self.running.entry(Arc::new(resource)).or_insert_with_key(|resource| {
                let mut task = JoinSet::new();
                task.spawn(watch(client, Arc::clone(resource), sender));
                task
            });
        }
    }
}

async fn watch(client: Client, resource: Arc<Resource>, sender: mpsc::UnboundedSender<Message>) {
    loop {
        let (objects, version) = client.list(&resource, "");
        if sender.send(Message::Listed(Arc::clone(&resource), objects)).is_err() {
            return;
        }
        let mut watch = client.watch(&resource, "", version);
        while let Some(event) = watch.next().await {
            if sender.send(Message::Changed(event.kind, Arc::clone(&resource), event.object)).is_err() {
                return;
            }
        }
        if client.resource_of(&resource.api_version(), &resource.kind).is_none() {
            // The collector may have ended meanwhile.
            let _ = sender.send(Message::Ended(resource));
            return;
        }
        // The watch fell behind.
        tokio::time::sleep(RETRY).await;
    }
}

/// Does what an object's owners, or its own deletion, ask for. Upstream: `attemptToDeleteItem`, `attemptToOrphan`.
fn look(client: &Client, graph: &Graph, node: &Node) -> Result<(), Status> {
    let Some(object) = find_node(client, node)? else { return Ok(()) };
    if is_deleting(&object) {
        if has_finalizer(&object, ORPHAN) {
            for dependent in graph.dependents(&node.uid) {
                disown(client, dependent, &BTreeSet::from([node.uid.as_str()]))?;
            }
            return release(client, node, &object, ORPHAN);
        }
        if has_finalizer(&object, FOREGROUND) {
            let mut blocking =
                graph.dependents(&node.uid).filter(|d| d.owners.get(&node.uid) == Some(&true)).peekable();
            if blocking.peek().is_none() {
                return release(client, node, &object, FOREGROUND);
            }
            return blocking.try_for_each(|dependent| match find_node(client, dependent)? {
                Some(object) if !is_deleting(&object) => delete_unowned(client, graph, dependent, &object),
                _ => Ok(()),
            });
        }
        return Ok(());
    }
    delete_unowned(client, graph, node, &object)
}

/// Deletes an object when none of its owners keeps it.
fn delete_unowned(client: &Client, graph: &Graph, node: &Node, object: &Value) -> Result<(), Status> {
    let mut owners = Owners::default();
    for reference in items(object, "/metadata/ownerReferences") {
        owners.sort(client, object, reference)?;
    }
    if owners.solid > 0 {
        let lost: BTreeSet<&str> = owners.gone.union(&owners.waiting).copied().collect();
        return if lost.is_empty() { Ok(()) } else { disown(client, node, &lost) };
    }
    if owners.gone.is_empty() && owners.waiting.is_empty() {
        return Ok(());
    }
    unblock(client, graph, node, object)?;
    let propagation = if !owners.waiting.is_empty() && graph.dependents(&node.uid).next().is_some() {
        Propagation::Foreground
    } else if has_finalizer(object, ORPHAN) {
        Propagation::Orphan
    } else if has_finalizer(object, FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    let options =
        DeleteOptions { uid: Some(node.uid.clone()), propagation: Some(propagation), ..DeleteOptions::default() };
    settled(client.delete(&node.resource, &node.namespace, &node.name, &options))
}

fn find_node(client: &Client, node: &Node) -> Result<Option<Arc<Value>>, Status> {
    Ok(find(client, &node.resource, &node.namespace, &node.name)?.filter(|object| uid(object) == node.uid))
}

/// The owners that an object names, by how they stand.
#[derive(Default)]
struct Owners<'a> {
    /// There, or not to be found out.
    solid: usize,
    gone: BTreeSet<&'a str>,
    /// There, and waiting for their dependents to go.
    waiting: BTreeSet<&'a str>,
}

impl<'a> Owners<'a> {
    fn sort(&mut self, client: &Client, object: &Value, reference: &'a Value) -> Result<(), Status> {
        let word = |key: &str| reference[key].as_str().unwrap_or_default();
        let owner = match client.resource_of(word("apiVersion"), word("kind")) {
            // A namespace cannot be told for a cluster-scoped object, nor a kind that is not served.
            Some(resource) if !resource.namespaced || !namespace(object).is_empty() => {
                let space = if resource.namespaced { namespace(object) } else { "" };
                find(client, &resource, space, word("name"))?
            }
            _ => {
                self.solid += 1;
                return Ok(());
            }
        };
        match owner.filter(|owner| uid(owner) == word("uid")) {
            None => _ = self.gone.insert(word("uid")),
            Some(owner) if is_deleting(&owner) && has_finalizer(&owner, FOREGROUND) => {
                self.waiting.insert(word("uid"));
            }
            Some(_) => self.solid += 1,
        }
        Ok(())
    }
}

/// Objects that own each other and wait for each other would wait for ever: who is in such a circle holds nobody up.
fn unblock(client: &Client, graph: &Graph, node: &Node, object: &Value) -> Result<(), Status> {
    if !graph.dependents(&node.uid).any(|dependent| dependent.waits) {
        return Ok(());
    }
    let mut references: Vec<Value> = items(object, "/metadata/ownerReferences").cloned().collect();
    if references.iter().all(|reference| reference["blockOwnerDeletion"] != true) {
        return Ok(());
    }
    for reference in &mut references {
        reference["blockOwnerDeletion"] = json!(false);
    }
    let patch = json!({ "metadata": { "ownerReferences": references } });
    unless_gone(client.merge_patch(&node.resource, &node.namespace, &node.name, None, &patch))
}

/// Takes owners out of an object, which stays.
fn disown(client: &Client, node: &Node, lost: &BTreeSet<&str>) -> Result<(), Status> {
    let Some(object) = find(client, &node.resource, &node.namespace, &node.name)? else { return Ok(()) };
    let kept: Vec<&Value> = items(&object, "/metadata/ownerReferences")
        .filter(|reference| !lost.contains(reference["uid"].as_str().unwrap_or_default()))
        .collect();
    let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
    let version = &object["metadata"]["resourceVersion"];
    let patch = json!({ "metadata": { "ownerReferences": kept, "resourceVersion": version } });
    unless_gone(client.merge_patch(&node.resource, &node.namespace, &node.name, None, &patch))
}

/// Removes the finalizer that an owner waited with.
fn release(client: &Client, node: &Node, owner: &Value, finalizer: &str) -> Result<(), Status> {
    let left: Vec<&Value> = items(owner, "/metadata/finalizers").filter(|held| **held != finalizer).collect();
    let version = &owner["metadata"]["resourceVersion"];
    let patch = json!({ "metadata": { "finalizers": left, "resourceVersion": version } });
    unless_gone(client.merge_patch(&node.resource, namespace(owner), name(owner), None, &patch))
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    items(object, "/metadata/finalizers").any(|held| held == finalizer)
}

/// Another object of the name is not the one that was meant.
fn settled(result: Result<Arc<Value>, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.is_conflict() => Ok(()),
        other => unless_gone(other),
    }
}

#[cfg(test)]
mod tests;
