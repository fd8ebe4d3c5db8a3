//! The runtime's port, served by the in-process client.

use std::sync::Arc;

use futures::{
    FutureExt as _,
    future::{BoxFuture, ready},
    stream::{self, BoxStream, StreamExt as _},
};
use serde_json::Value;

use crate::{
    api::{Client, DeleteOptions, EventKind, Resource, Status, Watch, resources},
    runtime::objects::{Change, Kind, Note, Objects, ObjectsError},
};

/// A client that speaks as the kubelet.
pub(super) struct ApiObjects {
    client: Client,
}

impl ApiObjects {
    pub(super) fn new(client: &Client) -> Self {
        Self { client: client.as_manager("kubelet") }
    }
}

fn resource(kind: Kind) -> Resource {
    match kind {
        Kind::Pod => resources::PODS,
        Kind::Node => resources::NODES,
        Kind::Service => resources::SERVICES,
        Kind::ConfigMap => resources::CONFIGMAPS,
        Kind::Secret => resources::SECRETS,
        Kind::EndpointSlice => resources::ENDPOINTSLICES,
    }
}

fn place(object: &Value) -> (&str, &str) {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}

/// Whether a pod is bound to a node that is not there and never ran: no kubelet has seen it.
fn is_nowhere(client: &Client, kind: Kind, pod: &Value) -> bool {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let node = text("/spec/nodeName");
    kind == Kind::Pod
        && !node.is_empty()
        && text("/status/podIP").is_empty()
        && client.get(&resources::NODES, "", node).is_err_and(|status| status.is_not_found())
}

fn error(status: &Status) -> ObjectsError {
    if status.is_not_found() { ObjectsError::NotFound } else { ObjectsError::Refused(status.to_string()) }
}

fn answer(result: Result<Arc<Value>, Status>) -> Result<Value, ObjectsError> {
    result.map(|object| Value::clone(&object)).map_err(|status| error(&status))
}

impl Objects for ApiObjects {
    fn watch(&self, kind: Kind) -> BoxStream<'static, Change> {
        let client = self.client.clone();
        let start: Option<Watch> = None;
        stream::unfold((client, start), move |(client, watch)| async move {
            if let Some(mut watch) = watch
                && let Some(event) = watch.next().await
            {
                let object = Value::clone(&event.object);
                let change = match event.kind {
                    EventKind::Added | EventKind::Modified if is_nowhere(&client, kind, &object) => {
                        Change::Deleted(object)
                    }
                    EventKind::Added | EventKind::Modified => Change::Applied(object),
                    EventKind::Deleted => Change::Deleted(object),
                };
                return Some((change, (client, Some(watch))));
            }
            let (objects, version) = client.list(&resource(kind), "");
            let watch = client.watch(&resource(kind), "", version);
            let somewhere = objects.iter().filter(|object| !is_nowhere(&client, kind, object));
            let listed = somewhere.map(|object| Value::clone(object)).collect();
            Some((Change::Listed(listed), (client, Some(watch))))
        })
        .boxed()
    }

    fn list<'a>(
        &'a self,
        kind: Kind,
        namespace: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Arc<Value>>, ObjectsError>> {
        ready(Ok(self.client.list(&resource(kind), namespace.unwrap_or_default()).0)).boxed()
    }

    fn get<'a>(&'a self, kind: Kind, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Value, ObjectsError>> {
        ready(answer(self.client.get(&resource(kind), namespace, name))).boxed()
    }

    fn patch<'a>(
        &'a self,
        kind: Kind,
        object: &'a Value,
        patch: Value,
        status: bool,
    ) -> BoxFuture<'a, Result<Value, ObjectsError>> {
        let (namespace, name) = place(object);
        let subresource = status.then_some("status");
        ready(answer(self.client.merge_patch(&resource(kind), namespace, name, subresource, &patch))).boxed()
    }

    fn remove<'a>(&'a self, kind: Kind, object: &'a Value) -> BoxFuture<'a, Result<(), ObjectsError>> {
        let (namespace, name) = place(object);
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            uid: object["metadata"]["uid"].as_str().map(ToOwned::to_owned),
            ..DeleteOptions::default()
        };
        let done = self.client.delete(&resource(kind), namespace, name, &options);
        ready(done.map(drop).map_err(|status| error(&status))).boxed()
    }

    fn note(&self, note: Note) -> BoxFuture<'_, ()> {
        let about = serde_json::json!({
            "apiVersion": note.about["apiVersion"],
            "kind": note.about["kind"],
            "metadata": note.about,
        });
        let kind = if note.warning { "Warning" } else { "Normal" };
        self.client.record_event(&about, kind, note.reason, &note.message, note.component);
        ready(()).boxed()
    }
}
