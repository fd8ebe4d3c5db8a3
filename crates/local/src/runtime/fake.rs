//! An API in memory for the runtime's tests: objects, watches, merge patches, recorded Events.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::objects::{Change, Kind, Note, Objects, ObjectsError, meta};

type Key = (Kind, String, String);

#[derive(Default)]
struct Store {
    objects: BTreeMap<(String, String, String), Value>,
    notes: Vec<Note>,
}

/// See the module.
pub(crate) struct Fake {
    store: Mutex<Store>,
    changes: broadcast::Sender<(Kind, Change)>,
}

fn key((kind, namespace, name): Key) -> (String, String, String) {
    (format!("{kind:?}"), namespace, name)
}

fn key_of(kind: Kind, object: &Value) -> (String, String, String) {
    key((kind, meta(object, "namespace").to_owned(), meta(object, "name").to_owned()))
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { store: Mutex::default(), changes: broadcast::channel(4096).0 })
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("no test panics while it holds the lock")
    }

    pub(crate) fn apply(&self, kind: Kind, object: Value) {
        self.store().objects.insert(key_of(kind, &object), object.clone());
        let _ = self.changes.send((kind, Change::Applied(object)));
    }

    pub(crate) fn delete_at_once(&self, kind: Kind, object: &Value) {
        if let Some(object) = self.store().objects.remove(&key_of(kind, object)) {
            let _ = self.changes.send((kind, Change::Deleted(object)));
        }
    }

    pub(crate) fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        self.store().objects.get(&key((kind, namespace.to_owned(), name.to_owned()))).cloned()
    }

    pub(crate) fn reasons(&self) -> Vec<(&'static str, String)> {
        self.store().notes.iter().map(|note| (note.reason, note.message.clone())).collect()
    }

    /// Waits until `wanted` of the object (null once it is gone) holds.
    pub(crate) async fn until(&self, kind: Kind, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let object = self.find(kind, "default", name).unwrap_or_default();
            if wanted(&object) {
                return object;
            }
            assert!(Instant::now() < deadline, "{name} never became as wanted: {object:#}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Objects for Fake {
    fn watch(&self, kind: Kind) -> BoxStream<'static, Change> {
        let receiver = self.changes.subscribe();
        let prefix = format!("{kind:?}");
        let objects = self.store().objects.iter().filter(|(key, _)| key.0 == prefix).map(|(_, o)| o.clone()).collect();
        let later = stream::unfold(receiver, move |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok((of, change)) if of == kind => return Some((change, receiver)),
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        });
        stream::once(async move { Change::Listed(objects) }).chain(later).boxed()
    }

    fn list<'a>(
        &'a self,
        kind: Kind,
        namespace: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Arc<Value>>, ObjectsError>> {
        let store = self.store();
        let of_kind = store.objects.iter().filter(|(key, _)| key.0 == format!("{kind:?}"));
        let listed = of_kind
            .filter(|(key, _)| namespace.is_none_or(|ns| key.1 == ns))
            .map(|(_, o)| Arc::new(o.clone()))
            .collect();
        async move { Ok(listed) }.boxed()
    }

    fn get<'a>(&'a self, kind: Kind, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Value, ObjectsError>> {
        async move { self.find(kind, namespace, name).ok_or(ObjectsError::NotFound) }.boxed()
    }

    fn patch<'a>(
        &'a self,
        kind: Kind,
        object: &'a Value,
        patch: Value,
        _status: bool,
    ) -> BoxFuture<'a, Result<Value, ObjectsError>> {
        async move {
            let mut now = self
                .find(kind, meta(object, "namespace"), meta(object, "name"))
                .filter(|now| meta(now, "uid") == meta(object, "uid"))
                .ok_or(ObjectsError::NotFound)?;
            json_patch::merge(&mut now, &patch);
            self.apply(kind, now.clone());
            Ok(now)
        }
        .boxed()
    }

    fn remove<'a>(&'a self, kind: Kind, object: &'a Value) -> BoxFuture<'a, Result<(), ObjectsError>> {
        async move {
            self.delete_at_once(kind, object);
            Ok(())
        }
        .boxed()
    }

    fn note(&self, note: Note) -> BoxFuture<'_, ()> {
        self.store().notes.push(note);
        async {}.boxed()
    }
}

/// A pod of one container.
pub(crate) fn pod(name: &str, container: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}")},
        "spec": {"nodeName": "node-1", "restartPolicy": "Always", "containers": [container]},
        "status": {"phase": "Pending"},
    })
}
