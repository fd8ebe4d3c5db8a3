//! Who owns whom, as far as the watches have told.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;

use super::{FOREGROUND, ORPHAN, has_finalizer};
use crate::{
    api::Resource,
    controllers::object::{is_deleting, items, name, namespace, uid},
};

/// An object.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) uid: String,
    pub(super) resource: Arc<Resource>,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Uids of the owners, and whether they may not go before this object.
    pub(super) owners: BTreeMap<String, bool>,
    /// It waits until its dependents are gone or orphaned.
    pub(super) waits: bool,
}

impl Node {
    fn new(resource: &Arc<Resource>, object: &Value) -> Self {
        let owners = items(object, "/metadata/ownerReferences").filter_map(|reference| {
            Some((reference["uid"].as_str()?.to_owned(), reference["blockOwnerDeletion"] == true))
        });
        let deleting = is_deleting(object);
        Self {
            uid: uid(object).to_owned(),
            resource: Arc::clone(resource),
            namespace: namespace(object).to_owned(),
            name: name(object).to_owned(),
            owners: owners.collect(),
            waits: deleting && (has_finalizer(object, FOREGROUND) || has_finalizer(object, ORPHAN)),
        }
    }
}

/// All objects by uid. Each change tells which objects must be looked at because of it.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, BTreeSet<String>>,
}

impl Graph {
    pub(super) fn node(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The objects that name an owner.
    pub(super) fn dependents(&self, owner: &str) -> impl Iterator<Item = &Node> {
        self.dependents.get(owner).into_iter().flatten().filter_map(|uid| self.nodes.get(uid))
    }

    pub(super) fn put(&mut self, resource: &Arc<Resource>, object: &Value, suspects: &mut BTreeSet<String>) {
        let node = Node::new(resource, object);
        let before = self.forget(&node.uid);
        for owner in node.owners.keys() {
            self.dependents.entry(owner.clone()).or_default().insert(node.uid.clone());
        }
        let changed = before.as_ref().is_none_or(|before| before.owners != node.owners);
        // An owner that the watches have not told of yet is asked for.
        let doubtful = |owner: &String| self.nodes.get(owner).is_none_or(|owner| owner.waits);
        if node.waits || changed && node.owners.keys().any(doubtful) {
            suspects.insert(node.uid.clone());
        }
        if let Some(before) = before.filter(|_| changed) {
            self.suspect_waiting(before.owners.keys(), suspects);
        }
        self.nodes.insert(node.uid.clone(), node);
    }

    pub(super) fn remove(&mut self, uid: &str, suspects: &mut BTreeSet<String>) {
        let Some(node) = self.forget(uid) else { return };
        self.suspect_waiting(node.owners.keys(), suspects);
        suspects.extend(self.dependents.get(uid).into_iter().flatten().cloned());
    }

    /// What a fresh list of a resource says.
    pub(super) fn replace(&mut self, resource: &Resource, objects: &[Arc<Value>], suspects: &mut BTreeSet<String>) {
        let there: BTreeSet<&str> = objects.iter().map(|object| uid(object)).collect();
        let lost: Vec<String> = self
            .nodes
            .values()
            .filter(|node| *node.resource == *resource && !there.contains(node.uid.as_str()))
            .map(|node| node.uid.clone())
            .collect();
        for uid in lost {
            self.remove(&uid, suspects);
        }
        let resource = Arc::new(resource.clone());
        for object in objects {
            self.put(&resource, object, suspects);
        }
    }

    fn suspect_waiting<'a>(&self, owners: impl Iterator<Item = &'a String>, suspects: &mut BTreeSet<String>) {
        suspects.extend(owners.filter(|owner| self.nodes.get(*owner).is_some_and(|owner| owner.waits)).cloned());
    }

    /// Takes an object out; its dependents still name it.
    fn forget(&mut self, uid: &str) -> Option<Node> {
        let node = self.nodes.remove(uid)?;
        for owner in node.owners.keys() {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
        Some(node)
    }
}
