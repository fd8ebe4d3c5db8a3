//! The data: keys with values and deadlines.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;

/// What all connections share.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) db: RefCell<Db>,
    /// Told whenever a list may have grown.
    pub(super) grown: Notify,
}

/// One value.
#[derive(Debug)]
pub(super) enum Value {
    String(Bytes),
    List(VecDeque<Bytes>),
    Hash(BTreeMap<Bytes, Bytes>),
    Set(BTreeSet<Bytes>),
}

#[derive(Debug)]
struct Entry {
    value: Value,
    expires: Option<Instant>,
}

/// The key holds a value of another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrongType;

/// When a key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    NoKey,
    Never,
    At(Instant),
}

/// One database.
#[derive(Debug, Default)]
pub(super) struct Db {
    entries: BTreeMap<Bytes, Entry>,
    /// Counts changes, for `WATCH`.
    pub(super) version: u64,
}

macro_rules! typed {
    ($(#[$doc:meta])* $read:ident, $write:ident, $variant:ident, $inner:ty) => {
        $(#[$doc])*
        pub(super) fn $read(&mut self, key: &[u8]) -> Result<Option<&$inner>, WrongType> {
            match self.get(key) {
                None => Ok(None),
                Some(Value::$variant(inner)) => Ok(Some(inner)),
                Some(_) => Err(WrongType),
            }
        }

        /// The same for writing, made empty when the key does not exist.
        pub(super) fn $write(&mut self, key: &Bytes) -> Result<&mut $inner, WrongType> {
            self.expire(key);
            self.version += 1;
            let made = || Entry { value: Value::$variant(<$inner>::default()), expires: None };
            match &mut self.entries.entry(key.clone()).or_insert_with(made).value {
                Value::$variant(inner) => Ok(inner),
                _ => Err(WrongType),
            }
        }
    };
}

impl Db {
    typed!(
        /// The list at a key.
        list, list_mut, List, VecDeque<Bytes>
    );
    typed!(
        /// The hash at a key.
        hash, hash_mut, Hash, BTreeMap<Bytes, Bytes>
    );
    typed!(
        /// The set at a key.
        set, set_mut, Set, BTreeSet<Bytes>
    );

    fn expire(&mut self, key: &[u8]) {
        if self.entries.get(key).is_some_and(|entry| entry.expires.is_some_and(|at| at <= Instant::now())) {
            self.entries.remove(key);
            self.version += 1;
        }
    }

    /// The value at a key.
    pub(super) fn get(&mut self, key: &[u8]) -> Option<&Value> {
        self.expire(key);
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The string at a key.
    pub(super) fn string(&mut self, key: &[u8]) -> Result<Option<Bytes>, WrongType> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(bytes)) => Ok(Some(bytes.clone())),
            Some(_) => Err(WrongType),
        }
    }

    /// Sets a string, with a deadline or without.
    pub(super) fn set_string(&mut self, key: Bytes, value: Bytes, expires: Option<Instant>) {
        self.version += 1;
        self.entries.insert(key, Entry { value: Value::String(value), expires });
    }

    /// Changes a string and keeps its deadline.
    pub(super) fn replace_string(&mut self, key: Bytes, value: Bytes) {
        let expires = match self.expiry(&key) {
            Expiry::At(at) => Some(at),
            Expiry::NoKey | Expiry::Never => None,
        };
        self.set_string(key, value, expires);
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        self.expire(key);
        let removed = self.entries.remove(key).is_some();
        self.version += u64::from(removed);
        removed
    }

    /// Removes a key whose list, hash or set has become empty, as Redis does.
    pub(super) fn remove_if_empty(&mut self, key: &[u8]) {
        let empty = self.entries.get(key).is_some_and(|entry| match &entry.value {
            Value::String(_) => false,
            Value::List(list) => list.is_empty(),
            Value::Hash(hash) => hash.is_empty(),
            Value::Set(set) => set.is_empty(),
        });
        if empty {
            self.entries.remove(key);
        }
    }

    /// When a key goes.
    pub(super) fn expiry(&mut self, key: &[u8]) -> Expiry {
        self.expire(key);
        match self.entries.get(key) {
            None => Expiry::NoKey,
            Some(entry) => entry.expires.map_or(Expiry::Never, Expiry::At),
        }
    }

    /// Sets or clears a deadline; whether there was such a key.
    pub(super) fn set_deadline(&mut self, key: &[u8], expires: Option<Instant>) -> bool {
        self.expire(key);
        self.version += 1;
        self.entries.get_mut(key).map(|entry| entry.expires = expires).is_some()
    }

    /// All live keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let now = Instant::now();
        self.entries.iter().filter(move |(_, entry)| entry.expires.is_none_or(|at| at > now)).map(|(key, _)| key)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.version += 1;
        self.entries.clear();
    }
}
