//! Objects in memory: one sorted table per resource, one version counter, and the history that watches read.
//!
//! Owns optimistic concurrency and the order of changes. It knows nothing of kinds, defaults or HTTP. Every change is
//! in the journal before it is in memory, so that a failed write changes nothing.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::journal::Journal;

/// Changes kept for each table; watches that fall behind are closed and must list again.
const HISTORY: usize = 32_768;
/// The same in bytes of objects, of which one may have megabytes; so many changes are kept in any case.
const HISTORY_BYTES: usize = 64 << 20;
const HISTORY_LEAST: usize = 16;
/// Levels of nesting in an object. What is read again at the next start (and by clients that are written in Rust) may
/// have 128, some of which go to what is around the object.
const DEEPEST: usize = 112;

/// Namespace (empty for cluster-scoped objects) and name.
pub(crate) type Key = (String, String);

/// One version of one object, with its JSON text, which all readers share.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) value: Arc<Value>,
    pub(crate) version: u64,
    pub(crate) json: Bytes,
    /// Length of the leading `{"kind":..,"apiVersion":..,`, which items of built-in lists leave out.
    head: usize,
}

impl Entry {
    fn new(value: Value, version: u64) -> Self {
        let value = canonical(value, version);
        let head = {
            let mut lead = Map::new();
            for key in ["kind", "apiVersion"] {
                lead.insert(key.into(), value.get(key).cloned().unwrap_or(Value::Null));
            }
            Value::Object(lead).to_string().len()
        };
        let json = Bytes::from(value.to_string());
        Self { value: Arc::new(value), version, json, head }
    }

    /// The same object under another version.
    pub(crate) fn at_version(&self, version: u64) -> Self {
        Self::new((*self.value).clone(), version)
    }

    /// The members after `kind` and `apiVersion`, without the opening brace: `"metadata":{..}..}`.
    pub(crate) fn untyped_tail(&self) -> &[u8] {
        &self.json[self.head.min(self.json.len())..]
    }
}

/// How an object changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One change, in the order of versions.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) key: Key,
    /// The object after the change; for a deletion its last state under the deletion's version.
    pub(crate) entry: Arc<Entry>,
    /// The object before the change.
    pub(crate) previous: Option<Arc<Entry>>,
}

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Absent,
    Version(u64),
}

/// Why a write was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error("the object is not at the expected version")]
    Unexpected,
    #[error("the object is nested deeper than {DEEPEST} levels")]
    TooDeep,
    #[error("journal")]
    Journal(#[from] io::Error),
}

/// The asked-for version is older than the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// Oldest version that can still be asked for.
    pub(crate) oldest: u64,
}

#[derive(Debug)]
struct Table {
    objects: BTreeMap<Key, Arc<Entry>>,
    history: VecDeque<Arc<Change>>,
    history_bytes: usize,
    /// Changes up to this version are forgotten.
    compacted: u64,
    wake: watch::Sender<u64>,
}

impl Table {
    fn new(compacted: u64) -> Self {
        let wake = watch::Sender::new(compacted);
        Self { objects: BTreeMap::new(), history: VecDeque::new(), history_bytes: 0, compacted, wake }
    }

    fn record(&mut self, change: Change) {
        let version = change.entry.version;
        self.history_bytes += change.entry.json.len();
        self.history.push_back(Arc::new(change));
        let over = |table: &Self| {
            let kept = table.history.len();
            kept > HISTORY || (table.history_bytes > HISTORY_BYTES && kept > HISTORY_LEAST)
        };
        while over(self)
            && let Some(old) = self.history.pop_front()
        {
            self.history_bytes -= old.entry.json.len();
            self.compacted = old.entry.version;
        }
        self.wake.send_replace(version);
    }
}

#[derive(Debug)]
struct State {
    version: u64,
    tables: HashMap<String, Table>,
    journal: Option<Journal>,
}

/// All objects of a cluster.
#[derive(Debug)]
pub(crate) struct Store {
    state: RwLock<State>,
}

impl Store {
    /// An empty store that forgets everything with the process.
    pub(crate) fn in_memory() -> Self {
        Self { state: RwLock::new(State { version: 1, tables: HashMap::new(), journal: None }) }
    }

    /// A store that goes on where its journal ends.
    pub(crate) fn with_journal(journal: Journal, version: u64, objects: Vec<(String, Key, Value)>) -> Self {
        let mut tables: HashMap<String, Table> = HashMap::new();
        for (table, key, value) in objects {
            let own = value["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(version);
            let table = tables.entry(table).or_insert_with(|| Table::new(version));
            table.objects.insert(key, Arc::new(Entry::new(value, own)));
        }
        Self { state: RwLock::new(State { version: version.max(1), tables, journal: Some(journal) }) }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest version.
    pub(crate) fn version(&self) -> u64 {
        self.read().version
    }

    pub(crate) fn get(&self, table: &str, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.read().tables.get(table)?.objects.get(&key).cloned()
    }

    /// Objects of a namespace (empty: of all) in the order of their names, and the version they were read at.
    pub(crate) fn list(&self, table: &str, namespace: &str) -> (Vec<Arc<Entry>>, u64) {
        let state = self.read();
        let found = state.tables.get(table).map(|t| range(t, namespace).map(|(_, e)| e.clone()).collect());
        (found.unwrap_or_default(), state.version)
    }

    /// The same as it was at an earlier version, with keys.
    pub(crate) fn list_at(
        &self,
        table: &str,
        namespace: &str,
        version: u64,
    ) -> Result<Vec<(Key, Arc<Entry>)>, Compacted> {
        let state = self.read();
        let Some(table) = state.tables.get(table) else { return Ok(Vec::new()) };
        if version < table.compacted {
            return Err(Compacted { oldest: table.compacted });
        }
        let mut objects: BTreeMap<&Key, &Arc<Entry>> = range(table, namespace).collect();
        for change in table.history.iter().rev().take_while(|c| c.entry.version > version) {
            if !namespace.is_empty() && change.key.0 != namespace {
                continue;
            }
            match &change.previous {
                Some(previous) => objects.insert(&change.key, previous),
                None => objects.remove(&change.key),
            };
        }
        Ok(objects.into_iter().map(|(k, e)| (k.clone(), e.clone())).collect())
    }

    /// Writes one object; `metadata.resourceVersion` is set here.
    pub(crate) fn put(&self, table: &str, key: Key, expect: Expect, value: Value) -> Result<Arc<Entry>, CommitError> {
        let mut state = self.write();
        let version = state.version + 1;
        let previous = state.tables.get(table).and_then(|t| t.objects.get(&key)).cloned();
        check(previous.as_ref(), expect)?;
        if deeper_than(DEEPEST, &value) {
            return Err(CommitError::TooDeep);
        }
        let entry = Arc::new(Entry::new(value, version));
        if let Some(journal) = &mut state.journal {
            journal.put(version, table, &key, &entry.json)?;
        }
        state.version = version;
        let table = state.table(table);
        table.objects.insert(key.clone(), entry.clone());
        let kind = if previous.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        table.record(Change { kind, key, entry: entry.clone(), previous });
        state.compact_journal();
        Ok(entry)
    }

    /// Removes one object; answers its last state under the deletion's version.
    pub(crate) fn remove(&self, table: &str, key: &Key, last: Value, at: u64) -> Result<Arc<Entry>, CommitError> {
        let mut state = self.write();
        let version = state.version + 1;
        let previous = state.tables.get(table).and_then(|t| t.objects.get(key)).cloned();
        check(previous.as_ref(), Expect::Version(at))?;
        if let Some(journal) = &mut state.journal {
            journal.remove(version, table, key)?;
        }
        state.version = version;
        let entry = Arc::new(Entry::new(last, version));
        let table = state.table(table);
        table.objects.remove(key);
        table.record(Change { kind: ChangeKind::Deleted, key: key.clone(), entry: entry.clone(), previous });
        state.compact_journal();
        Ok(entry)
    }

    /// Starts a table of a resource that is new, so that versions from before it count as too old.
    pub(crate) fn open_table(&self, table: &str) {
        let mut state = self.write();
        state.table(table);
    }

    /// A signal that fires at each change of a table.
    pub(crate) fn subscribe(&self, table: &str) -> watch::Receiver<u64> {
        self.write().table_from_start(table).wake.subscribe()
    }

    /// Up to `most` changes after a version.
    pub(crate) fn changes(&self, table: &str, after: u64, most: usize) -> Result<Vec<Arc<Change>>, Compacted> {
        let state = self.read();
        let Some(table) = state.tables.get(table) else { return Ok(Vec::new()) };
        if after < table.compacted {
            return Err(Compacted { oldest: table.compacted });
        }
        let start = table.history.partition_point(|c| c.entry.version <= after);
        Ok(table.history.range(start..).take(most).cloned().collect())
    }
}

impl State {
    fn table(&mut self, name: &str) -> &mut Table {
        let version = self.version;
        self.entry(name, version.saturating_sub(1))
    }

    /// A table of a resource that has been served from the start.
    fn table_from_start(&mut self, name: &str) -> &mut Table {
        self.entry(name, 0)
    }

    fn entry(&mut self, name: &str, compacted: u64) -> &mut Table {
        self.tables.entry(name.to_owned()).or_insert_with(|| Table::new(compacted))
    }

    fn compact_journal(&mut self) {
        let Some(journal) = self.journal.as_mut().filter(|j| j.wants_compaction()) else { return };
        let objects = self
            .tables
            .iter()
            .flat_map(|(table, t)| t.objects.iter().map(move |(key, entry)| (table.as_str(), key, entry)));
        if let Err(error) = journal.compact(self.version, objects.map(|(t, k, e)| (t, k, &e.json, e.version))) {
            tracing::warn!(%error, "journal not compacted, it goes on growing");
        }
    }
}

fn check(previous: Option<&Arc<Entry>>, expect: Expect) -> Result<(), CommitError> {
    let fits = match expect {
        Expect::Absent => previous.is_none(),
        Expect::Version(version) => previous.is_some_and(|p| p.version == version),
    };
    if fits { Ok(()) } else { Err(CommitError::Unexpected) }
}

fn deeper_than(levels: usize, value: &Value) -> bool {
    let below = |value: &Value| levels == 0 || deeper_than(levels - 1, value);
    match value {
        Value::Array(items) => items.iter().any(below),
        Value::Object(members) => members.values().any(below),
        _ => false,
    }
}

fn range<'a>(table: &'a Table, namespace: &str) -> impl Iterator<Item = (&'a Key, &'a Arc<Entry>)> {
    let start = (namespace.to_owned(), String::new());
    let namespace = namespace.to_owned();
    table.objects.range(start..).take_while(move |(key, _)| namespace.is_empty() || key.0 == namespace)
}

/// `kind`, `apiVersion`, `metadata` first, and the version set.
fn canonical(value: Value, version: u64) -> Value {
    let Value::Object(mut members) = value else { return value };
    let mut out = Map::with_capacity(members.len());
    for key in ["kind", "apiVersion", "metadata"] {
        if let Some(value) = members.shift_remove(key) {
            out.insert(key.into(), value);
        }
    }
    if let Some(Value::Object(metadata)) = out.get_mut("metadata") {
        metadata.insert("resourceVersion".into(), Value::String(version.to_string()));
    }
    out.extend(members);
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!("deep"), |inner, _| json!({ "a": inner }))
    }

    fn key(name: &str) -> Key {
        ("demo".to_owned(), name.to_owned())
    }

    #[test]
    fn what_is_taken_can_be_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let open = || {
            let replayed = Journal::open(&path).unwrap();
            Store::with_journal(replayed.journal, replayed.version, replayed.objects)
        };
        let store = open();
        store.put("things", key("deep"), Expect::Absent, nested(DEEPEST)).unwrap();
        let refused = store.put("things", key("deeper"), Expect::Absent, nested(DEEPEST + 1));
        assert!(matches!(refused, Err(CommitError::TooDeep)));
        drop(store);
        let (objects, _) = open().list("things", "");
        assert_eq!(objects.len(), 1);
    }

    #[test]
    fn history_is_bounded_in_bytes() {
        let store = Store::in_memory();
        let text = "x".repeat(1 << 20);
        let object = |n: usize| json!({ "kind": "Thing", "apiVersion": "v1", "metadata": {}, "n": n, "text": text });
        let mut entry = store.put("things", key("big"), Expect::Absent, object(0)).unwrap();
        let first = entry.version;
        for n in 1..100 {
            entry = store.put("things", key("big"), Expect::Version(entry.version), object(n)).unwrap();
        }
        assert!(store.changes("things", first, 1).is_err(), "the first changes are forgotten");
        let kept = store.changes("things", entry.version - 60, usize::MAX).unwrap();
        assert_eq!(kept.len(), 60, "63 of these fit");
    }
}
