//! The in-process client of controllers, scheduler and kubelet: synchronous, and cheap to read with.
//!
//! It goes through the same defaulting, admission and validation as HTTP. Reads share the stored objects.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{
    Api, LabelSelector, Resource, Status, Watch, admission, convert,
    meta::{name, namespace, now, uid},
    resource::resources::{EVENTS, NAMESPACES, PODS},
    watch::{Feed, Scope},
    write::{self, DeleteOptions, Deleted, PatchType, Target, WriteOptions},
};

/// Names of recorded events by what they say, so that repeats are counted.
type Recorded = HashMap<(String, String, String, String), (String, String)>;
/// Beyond this many remembered events the memory starts anew.
const REMEMBERED: usize = 8192;

/// A way into the API from the same process.
#[derive(Debug, Clone)]
pub struct Client {
    api: Arc<Api>,
    manager: Arc<str>,
    recorded: Arc<Mutex<Recorded>>,
}

impl Client {
    pub(crate) fn new(api: Arc<Api>) -> Self {
        Self { api, manager: "democtl".into(), recorded: Arc::default() }
    }

    /// The same client under another field manager.
    #[must_use]
    pub fn as_manager(&self, name: &str) -> Self {
        Self { manager: name.into(), ..self.clone() }
    }

    /// One object. 404 when it is not there.
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, name)?;
        Ok(convert::to_served(&target.definition, &self.api.read(&target)?.value))
    }

    /// Objects of a namespace (empty: of all) and the version to watch from.
    pub fn list(&self, resource: &Resource, namespace: &str) -> (Vec<Arc<Value>>, u64) {
        self.list_selected(resource, namespace, &LabelSelector::default())
    }

    /// The same, only those that a label selector fits.
    pub fn list_selected(
        &self,
        resource: &Resource,
        namespace: &str,
        labels: &LabelSelector,
    ) -> (Vec<Arc<Value>>, u64) {
        let Ok(definition) = self.api.definition(resource) else { return (Vec::new(), self.api.store.version()) };
        let (entries, version) = self.api.store.list(&definition.table, namespace);
        let fitting = entries.iter().filter(|e| labels.matches(&e.value));
        (fitting.map(|e| convert::to_served(&definition, &e.value)).collect(), version)
    }

    /// Changes after a version. A version that is too old gives a watch that ends at once: list again.
    pub fn watch(&self, resource: &Resource, namespace: &str, from: u64) -> Watch {
        let feed = self.api.definition(resource).ok().and_then(|definition| {
            let scope = Scope { table: definition.table.clone(), namespace: namespace.to_owned(), ..Scope::default() };
            Feed::open(self.api.store.clone(), scope, from).ok()
        });
        Watch::new(feed)
    }

    /// Creates an object; its name is in its metadata (or drawn from `generateName`).
    pub fn create(&self, resource: &Resource, namespace: &str, object: Value) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, "")?;
        write::create(&self.api, &target, object, &self.options(None)).map(|w| w.object)
    }

    /// Replaces an object; 409 when it names a version that is not the present one.
    pub fn update(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, name)?;
        write::update(&self.api, &target, object, &self.options(None)).map(|w| w.object)
    }

    /// Replaces an object's status.
    pub fn update_status(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, name)?;
        write::update(&self.api, &target, object, &self.options(Some("status"))).map(|w| w.object)
    }

    /// Merges a patch (RFC 7396) into an object or its subresource.
    pub fn merge_patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        patch: &Value,
    ) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, name)?;
        write::patch(&self.api, &target, PatchType::Merge, patch, &self.options(subresource)).map(|w| w.object)
    }

    /// Server-side apply: makes the object have these fields, and takes them over from others.
    pub fn apply(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, name)?;
        let options = WriteOptions { force: true, ..self.options(None) };
        write::patch(&self.api, &target, PatchType::Apply, object, &options).map(|w| w.object)
    }

    /// Deletes an object, or marks it when grace or finalizers hold it; answers its state after that.
    pub fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Arc<Value>, Status> {
        let target = self.target(resource, namespace, name)?;
        match write::delete(&self.api, &target, options)? {
            Deleted::Gone(object) | Deleted::Marked(object) => Ok(object),
        }
    }

    /// Replaces a namespace's finalizers; one that ends and has none left goes.
    pub fn finalize_namespace(&self, name: &str, object: &Value) -> Result<Arc<Value>, Status> {
        let target = self.target(&NAMESPACES, "", name)?;
        write::update(&self.api, &target, object, &self.options(Some("finalize"))).map(|w| w.object)
    }

    /// The resource of a kind, where the cluster serves it.
    pub fn resource_of(&self, api_version: &str, kind: &str) -> Option<Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Some(self.api.registry.find_kind(group, version, kind)?.resource.clone())
    }

    /// Every resource whose objects are stored, each in one version only.
    pub fn resources(&self) -> Vec<Resource> {
        self.api.registry.stored()
    }

    /// Binds a pod to a node, once.
    pub fn bind(&self, namespace: &str, pod: &str, node: &str) -> Result<Arc<Value>, Status> {
        let target = self.target(&PODS, namespace, pod)?;
        admission::bind(&self.api, &target, node, None, &self.options(Some("binding")))
    }

    /// Records an Event about an object; the same reason and message again are counted in the first one.
    pub fn record_event(&self, regarding: &Value, kind: &str, reason: &str, message: &str, component: &str) {
        let key = (uid(regarding).to_owned(), reason.to_owned(), message.to_owned(), component.to_owned());
        let known = self.recorded.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((space, event)) = known
            && let Ok(old) = self.get(&EVENTS, &space, &event)
        {
            let count = old["count"].as_i64().unwrap_or(1) + 1;
            let patch = json!({"count": count, "lastTimestamp": now()});
            if self.merge_patch(&EVENTS, &space, &event, None, &patch).is_ok() {
                return;
            }
        }
        let space = if namespace(regarding).is_empty() { "default" } else { namespace(regarding) };
        let suffix = Utc::now().timestamp_nanos_opt().unwrap_or_default();
        let event = format!("{}.{suffix:x}", name(regarding));
        let object = json!({
            "metadata": {"name": event, "namespace": space},
            "involvedObject": {
                "kind": regarding["kind"],
                "namespace": namespace(regarding),
                "name": name(regarding),
                "uid": uid(regarding),
                "apiVersion": regarding["apiVersion"],
                "resourceVersion": regarding["metadata"]["resourceVersion"],
            },
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
            "type": kind,
            "eventTime": null,
            "reportingComponent": component,
            "reportingInstance": "",
        });
        match self.create(&EVENTS, space, object) {
            Ok(_) => {
                let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
                if recorded.len() >= REMEMBERED {
                    recorded.clear();
                }
                recorded.insert(key, (space.to_owned(), event));
            }
            Err(error) => tracing::warn!(%error, reason, "event not recorded"),
        }
    }

    /// The present time as `metav1.MicroTime`, as leases and conditions of the API have it.
    pub fn micro_time() -> String {
        Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    fn target(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Target, Status> {
        let definition = self.api.definition(resource)?;
        let namespace = if definition.resource.namespaced { namespace.to_owned() } else { String::new() };
        Ok(Target { definition, namespace, name: name.to_owned() })
    }

    fn options(&self, subresource: Option<&str>) -> WriteOptions {
        WriteOptions {
            manager: self.manager.to_string(),
            subresource: subresource.map(str::to_owned),
            ..WriteOptions::default()
        }
    }
}
