//! Watches: a cursor into a table's history, so that a slow reader costs nothing and is told when it fell behind.

use std::{collections::VecDeque, sync::Arc};

use serde_json::Value;
use tokio::sync::watch;

use super::{
    selectors::{FieldSelector, LabelSelector},
    store::{Change, ChangeKind, Compacted, Entry, Store},
};

/// Changes taken from the history at once.
const BATCH: usize = 256;

/// How an object changed, as a watch sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It is there, or fits the selector, since this event.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or fits the selector no more.
    Deleted,
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventKind,
    /// The object after it; its last state for a deletion.
    pub object: Arc<Value>,
}

/// What a watch looks at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) table: String,
    /// Empty for all.
    pub(crate) namespace: String,
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Scope {
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    /// The event that a change is, seen through the selectors.
    fn see(&self, change: &Change) -> Option<(EventKind, Arc<Entry>)> {
        if !self.namespace.is_empty() && change.key.0 != self.namespace {
            return None;
        }
        let entry = change.entry.clone();
        let before = change.previous.as_ref().is_some_and(|p| self.matches(&p.value));
        let after = change.kind != ChangeKind::Deleted && self.matches(&entry.value);
        match (before, after) {
            (false, true) => Some((EventKind::Added, entry)),
            (true, true) => Some((EventKind::Modified, entry)),
            // What leaves the selection is told as it was in it.
            (true, false) if change.kind != ChangeKind::Deleted => {
                let previous = change.previous.as_ref().map_or(&entry, |previous| previous);
                Some((EventKind::Deleted, Arc::new(previous.at_version(entry.version))))
            }
            (true, false) => Some((EventKind::Deleted, entry)),
            (false, false) => None,
        }
    }
}

/// A watch on entries, for those who serialise.
#[derive(Debug)]
pub(crate) struct Feed {
    store: Arc<Store>,
    scope: Scope,
    cursor: u64,
    wake: watch::Receiver<u64>,
}

impl Feed {
    /// Starts after a version.
    pub(crate) fn open(store: Arc<Store>, scope: Scope, from: u64) -> Result<Self, Compacted> {
        let wake = store.subscribe(&scope.table);
        store.changes(&scope.table, from, 0)?;
        Ok(Self { store, scope, cursor: from, wake })
    }

    /// The next events, at least one; an error when the history no longer reaches back to the cursor.
    pub(crate) async fn next(&mut self) -> Result<Vec<(EventKind, Arc<Entry>)>, Compacted> {
        loop {
            self.wake.borrow_and_update();
            let changes = self.store.changes(&self.scope.table, self.cursor, BATCH)?;
            if let Some(last) = changes.last() {
                self.cursor = last.entry.version;
                let events: Vec<_> = changes.iter().filter_map(|c| self.scope.see(c)).collect();
                if !events.is_empty() {
                    return Ok(events);
                }
                continue;
            }
            if self.wake.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// A watch of the in-process client.
#[derive(Debug)]
pub struct Watch {
    feed: Option<Feed>,
    ready: VecDeque<WatchEvent>,
}

impl Watch {
    pub(crate) fn new(feed: Option<Feed>) -> Self {
        Self { feed, ready: VecDeque::new() }
    }

    /// The next event; none when the watch fell too far behind and the objects must be listed again.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        if let Some(event) = self.ready.pop_front() {
            return Some(event);
        }
        let Ok(events) = self.feed.as_mut()?.next().await else {
            self.feed = None;
            return None;
        };
        self.ready.extend(events.into_iter().map(|(kind, e)| WatchEvent { kind, object: e.value.clone() }));
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;
    use crate::api::store::Expect;

    #[tokio::test]
    async fn what_leaves_a_selection_is_told_as_it_was() {
        let store = Arc::new(Store::in_memory());
        let key = || ("demo".to_owned(), "a".to_owned());
        let labelled = |x: &str| json!({ "kind": "Thing", "apiVersion": "v1", "metadata": { "labels": { "x": x } } });
        let first = store.put("things", key(), Expect::Absent, labelled("1")).unwrap();
        let labels = LabelSelector::parse("x=1").unwrap();
        let scope = Scope { table: "things".into(), labels, ..Scope::default() };
        let mut feed = Feed::open(Arc::clone(&store), scope, first.version).unwrap();
        let second = store.put("things", key(), Expect::Version(first.version), labelled("2")).unwrap();
        let events = feed.next().await.unwrap();
        let (kind, entry) = &events[0];
        assert_eq!((*kind, &entry.value["metadata"]["labels"]["x"]), (EventKind::Deleted, &json!("1")));
        assert_eq!(entry.value["metadata"]["resourceVersion"], json!(second.version.to_string()));
    }
}
