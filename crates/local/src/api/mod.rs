//! The API server: objects, their rules, watches, and the in-process client of controllers and kubelet.
//!
//! `store` and `journal` keep objects, `write` changes them, `admission` applies the rules that read other objects,
//! `model` the shapes of kinds; `client` is the way in for the cluster's own components, `http` for everybody else.
//! It decides nothing about workloads: that is `controllers`.

mod admission;
pub mod client;
mod convert;
mod crds;
mod fields;
pub mod http;
mod journal;
mod managed;
mod merge;
mod meta;
mod model;
mod operations;
mod protobuf;
mod registry;
pub mod resource;
mod schemas;
mod selectors;
mod status;
mod store;
mod strategic;
pub mod tls;
pub(crate) mod typed;
mod watch;
mod write;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::Value;

pub use client::Client;
pub use resource::{Resource, resources};
pub use selectors::{FieldSelector, LabelSelector};
pub use status::{Cause, Details, Status};
pub use watch::{EventKind, Watch, WatchEvent};
pub use write::{DeleteOptions, Propagation};

use journal::Journal;
use registry::{Definition, Registry};
use store::{Entry, Store};

/// What the API needs to know about its cluster.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Second octet of the cluster's `127.x.0.0/16`; Services get addresses of its upper half.
    pub block: u8,
    /// PEM of the cluster's CA, for `kube-root-ca.crt` of each namespace.
    pub ca_pem: String,
}

/// One cluster's API: storage and rules, without a listener.
#[derive(Debug)]
pub struct Api {
    store: Arc<Store>,
    registry: Registry,
    settings: Settings,
    addresses: Mutex<admission::Addresses>,
}

impl Api {
    /// An API that forgets everything with the process.
    pub fn in_memory(settings: Settings) -> Result<Arc<Self>, Status> {
        Self::start(Store::in_memory(), settings)
    }

    /// An API that goes on where its journal ends, and writes to it.
    pub fn open(journal: &Path, settings: Settings) -> Result<Arc<Self>, OpenError> {
        let replayed = Journal::open(journal)
            .map_err(|source| OpenError::Journal { path: journal.display().to_string(), source })?;
        let store = Store::with_journal(replayed.journal, replayed.version, replayed.objects);
        Ok(Self::start(store, settings)?)
    }

    fn start(store: Store, settings: Settings) -> Result<Arc<Self>, Status> {
        let store = Arc::new(store);
        let api = Arc::new(Self { store, registry: Registry::new(), settings, addresses: Mutex::default() });
        api.reload_custom();
        crds::install(&api)?;
        admission::bootstrap(&api)?;
        Ok(api)
    }

    /// The in-process client.
    pub fn client(self: &Arc<Self>) -> Client {
        Client::new(self.clone())
    }

    fn reload_custom(&self) {
        let (crds, _) = self.store.list("apiextensions.k8s.io/customresourcedefinitions", "");
        self.registry.set_custom(crds.iter().map(|e| &*e.value));
    }

    /// After each write: what other parts of the server must know at once.
    fn written(&self, definition: &Definition, entry: Option<&Arc<Entry>>) {
        match definition.table.as_str() {
            "apiextensions.k8s.io/customresourcedefinitions" => crds::changed(self, entry),
            "/namespaces" => {
                if let Some(entry) = entry {
                    admission::namespace_written(self, entry);
                }
            }
            _ if entry.is_none() && definition.custom.as_ref().is_some_and(|custom| custom.terminating) => {
                crds::instance_gone(self, definition);
            }
            _ => {}
        }
    }

    /// Evicts a pod, unless a disruption budget forbids it.
    pub(crate) fn evict(&self, target: &write::Target, options: &DeleteOptions) -> Result<(), Status> {
        const BUDGETS: &str = "policy/poddisruptionbudgets";
        let pod = self.read(target)?;
        // A pod that never ran, ended, or is on its way disrupts nothing.
        let idle = matches!(pod.value["status"]["phase"].as_str(), Some("Pending" | "Succeeded" | "Failed"));
        while !idle && !meta::is_deleting(&pod.value) {
            let (mut budgets, _) = self.store.list(BUDGETS, &target.namespace);
            budgets.retain(|budget| LabelSelector::from_value(&budget.value["spec"]["selector"]).matches(&pod.value));
            let budget = match budgets.as_slice() {
                [] => break,
                [budget] => budget,
                _ => {
                    let text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                    return Err(Status::plain(text));
                }
            };
            let allowed = budget.value["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
            if allowed < 1 {
                let text = "Cannot evict pod as it would violate the pod's disruption budget.";
                return Err(Status::new(429, "TooManyRequests", text).with_cause(
                    "DisruptionBudget",
                    "",
                    format!("The disruption budget {} does not allow it now", budget.value["metadata"]["name"]),
                ));
            }
            if options.dry_run {
                break;
            }
            // Taken before the pod goes: others who evict at this moment see it, and the controller counts anew.
            let mut less = (*budget.value).clone();
            less["status"]["disruptionsAllowed"] = serde_json::json!(allowed - 1);
            let key = (target.namespace.clone(), meta::name(&less).to_owned());
            match self.store.put(BUDGETS, key, store::Expect::Version(budget.version), less) {
                Ok(_) => break,
                Err(store::CommitError::Unexpected) => {}
                Err(store::CommitError::Journal(error)) => return Err(Status::storage(&error)),
                Err(error) => return Err(Status::plain(error.to_string())),
            }
        }
        write::delete(self, target, options).map(drop)
    }

    fn definition(&self, resource: &Resource) -> Result<Arc<Definition>, Status> {
        let found = self.registry.find(&resource.group, &resource.version, &resource.plural);
        found.ok_or_else(Status::no_such_path)
    }
}

/// Why an API could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal cannot be read or written.
    #[error("journal {path}")]
    Journal {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An object that every cluster has could not be written.
    #[error("bootstrap object refused")]
    Bootstrap(#[from] Status),
}

/// A member by a dotted path; null where nothing is there.
fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.trim_start_matches('.').split('.').fold(object, |at, part| &at[part])
}

/// A text member; without it the empty text.
fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// A list member; without it the empty list.
fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key].as_array().map_or(&[], Vec::as_slice)
}
