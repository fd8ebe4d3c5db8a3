//! The loop of a controller: watches trigger keys, keys are reconciled once for all the changes that came meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};

use crate::api::{Client, EventKind, Resource, Status};

/// Namespace and name.
pub(super) type Key = (String, String);

/// Which keys a change of an object touches.
pub(super) type Keys = Box<dyn Fn(&Value) -> Vec<Key> + Send + Sync>;

/// A resource that is watched.
pub(super) struct Source {
    pub(super) resource: Resource,
    pub(super) keys: Keys,
}

impl Source {
    /// Each object is its own key.
    pub(super) fn itself(resource: Resource) -> Self {
        Self { resource, keys: Box::new(|object| vec![key(object)]) }
    }

    /// The key of an object is its controller of the given kind.
    pub(super) fn owned(resource: Resource, kind: &'static str) -> Self {
        let keys = move |object: &Value| {
            let owner = super::object::controller(object).filter(|owner| owner["kind"] == kind);
            let namespace = super::object::namespace(object).to_owned();
            owner.map(|owner| (namespace, owner["name"].as_str().unwrap_or_default().to_owned())).into_iter().collect()
        };
        Self { resource, keys: Box::new(keys) }
    }

    /// Every change touches the one key there is.
    pub(super) fn everything(resource: Resource) -> Self {
        Self { resource, keys: Box::new(|_| vec![(String::new(), String::new())]) }
    }
}

/// Namespace and name of an object.
pub(super) fn key(object: &Value) -> Key {
    (super::object::namespace(object).to_owned(), super::object::name(object).to_owned())
}

/// A failed reconcile is tried again after this.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// Reconciles for ever: `reconcile` may ask to be called again for its key after a while.
pub(super) async fn run(
    client: Client,
    sources: Vec<Source>,
    mut reconcile: impl FnMut(&Key) -> Result<Option<Duration>, Status>,
) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Key>();
    let mut watches = JoinSet::new();
    for source in sources {
        watches.spawn(watch(client.clone(), source, sender.clone()));
    }
    let mut failures = BTreeMap::<Key, u32>::new();
    let mut alarms = BTreeMap::<Key, Instant>::new();
    while let Some(first) = receiver.recv().await {
        let mut keys = BTreeSet::from([first]);
        // Writes that led here are often followed by more: give them a moment to be handled together.
        tokio::task::yield_now().await;
        while let Ok(key) = receiver.try_recv() {
            keys.insert(key);
        }
        for key in keys {
            let again = match reconcile(&key) {
                Ok(again) => {
                    failures.remove(&key);
                    again
                }
                Err(status) => {
                    let failed = failures.entry(key.clone()).or_default();
                    *failed += 1;
                    if !status.is_conflict() && *failed > 3 {
                        tracing::warn!(%status, ?key, "reconcile");
                    }
                    Some(RETRY.saturating_mul(1 << (*failed).min(8)).min(RETRY_MOST))
                }
            };
            let now = Instant::now();
            if alarms.get(&key).is_some_and(|at| *at <= now) {
                alarms.remove(&key);
            }
            // One that rings before is enough: it asks again.
            if let Some(after) = again
                && alarms.get(&key).is_none_or(|at| *at > now + after)
            {
                alarms.insert(key.clone(), now + after);
                let sender = sender.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    // The controller may have ended meanwhile.
                    let _ = sender.send(key);
                });
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn watch(client: Client, source: Source, sender: mpsc::UnboundedSender<Key>) {
    changes(client, &source.resource, |_, object| {
        for key in (source.keys)(object) {
            if sender.send(key).is_err() {
                return;
            }
        }
    })
    .await;
}

/// Tells of every object there is and of every change, for ever.
pub(super) async fn changes(client: Client, resource: &Resource, mut tell: impl FnMut(EventKind, &Arc<Value>) + Send) {
    loop {
        let (objects, version) = client.list(resource, "");
        for object in &objects {
            tell(EventKind::Added, object);
        }
        let mut watch = client.watch(resource, "", version);
        while let Some(event) = watch.next().await {
            tell(event.kind, &event.object);
        }
        // The watch fell behind, or the resource is not there yet.
        tokio::time::sleep(RETRY).await;
    }
}
