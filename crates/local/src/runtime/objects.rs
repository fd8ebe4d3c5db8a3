//! What the runtime needs of the API: a narrow port, so that kubelet and proxy are tested without a server.
//!
//! Objects are JSON as the API serves them. The adapter to the in-process client is in `server`.

use std::sync::Arc;

use futures::{future::BoxFuture, stream::BoxStream};
use serde_json::Value;

/// The kinds of objects that the runtime reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// core/v1 Pod.
    Pod,
    /// core/v1 Node.
    Node,
    /// core/v1 Service.
    Service,
    /// core/v1 `ConfigMap`.
    ConfigMap,
    /// core/v1 Secret.
    Secret,
    /// discovery.k8s.io/v1 `EndpointSlice`.
    EndpointSlice,
}

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum Change {
    /// Everything there is (the start of a watch, or after a gap): what is not in it is gone.
    Listed(Vec<Value>),
    /// An object was added or changed.
    Applied(Value),
    /// An object was removed.
    Deleted(Value),
}

/// A call to the API failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectsError {
    /// The object is not there (any more).
    #[error("object not found")]
    NotFound,
    /// Anything else, in the words of the answer's `Status`.
    #[error("api: {0}")]
    Refused(String),
}

/// An Event about an object.
#[derive(Debug, Clone)]
pub struct Note {
    /// The object's reference: `kind`, `namespace`, `name`, `uid`, `apiVersion`, perhaps `fieldPath`.
    pub about: Value,
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// CamelCase reason.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// `kubelet`, `kube-proxy`.
    pub component: &'static str,
}

/// The API, as the runtime uses it.
pub trait Objects: Send + Sync + 'static {
    /// Lists, then watches all namespaces; resumes by itself and ends only with the server.
    fn watch(&self, kind: Kind) -> BoxStream<'static, Change>;
    /// All objects of a namespace (none: of all).
    fn list<'a>(
        &'a self,
        kind: Kind,
        namespace: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Arc<Value>>, ObjectsError>>;
    /// One object; `namespace` is empty for cluster-scoped kinds.
    fn get<'a>(&'a self, kind: Kind, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Value, ObjectsError>>;
    /// JSON merge patch, of the `status` subresource when asked.
    fn patch<'a>(
        &'a self,
        kind: Kind,
        object: &'a Value,
        patch: Value,
        status: bool,
    ) -> BoxFuture<'a, Result<Value, ObjectsError>>;
    /// Deletes the object with exactly this uid at once (grace period 0).
    fn remove<'a>(&'a self, kind: Kind, object: &'a Value) -> BoxFuture<'a, Result<(), ObjectsError>>;
    /// Records an Event (counted up when it repeats).
    fn note(&self, note: Note) -> BoxFuture<'_, ()>;
}

/// `metadata.<field>` as text.
pub(crate) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or("")
}
