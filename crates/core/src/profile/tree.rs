//! A TOML document as a tree in which every key and value knows the source and the bytes it came from.
//!
//! Owns parsing, deep merging (`extends`) and overrides (`--set`); knows nothing of what the keys mean.

use std::ops::Range;

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

/// A place in one of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// Index of the source.
    pub(super) source: usize,
    /// First byte.
    pub(super) start: usize,
    /// Byte after the last.
    pub(super) end: usize,
}

impl At {
    pub(super) fn new(source: usize, range: Range<usize>) -> Self {
        Self { source, start: range.start, end: range.end }
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

/// A TOML value; tables keep the order in which they were written.
#[derive(Debug, Clone)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// A date, or an integer beyond 64 bits: no profile has a use for it.
    Other(&'static str),
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

/// One key of a table.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: At,
    pub(super) node: Node,
}

impl Value {
    /// The type in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Bool(_) => "a boolean",
            Self::Other(kind) => kind,
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A document that could not be parsed: what and where.
pub(super) struct Syntax {
    pub(super) message: String,
    pub(super) range: Range<usize>,
}

/// Parses a document; all its syntax errors at once.
pub(super) fn parse(source: usize, text: &str) -> Result<Node, Vec<Syntax>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let at = At::new(source, 0..0);
        return Ok(Node { at, value: table_of(source, table.into_inner()) });
    }
    let syntax = |error: &toml::de::Error| Syntax {
        message: error.message().to_owned(),
        range: error.span().unwrap_or(text.len()..text.len()),
    };
    Err(errors.iter().map(syntax).collect())
}

fn table_of(source: usize, table: DeTable<'_>) -> Value {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_at: At::new(source, key.span()),
            key: key.into_inner().into_owned(),
            node: node_of(source, value.span(), value.into_inner()),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_at.start);
    Value::Table(entries)
}

fn node_of(source: usize, range: Range<usize>, value: DeValue<'_>) -> Node {
    let value = match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other("a huge integer"), Value::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Other("a huge number"), Value::Float),
        DeValue::Boolean(flag) => Value::Bool(flag),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| {
                    let range = item.span();
                    node_of(source, range, item.into_inner())
                })
                .collect(),
        ),
        DeValue::Table(table) => table_of(source, table),
    };
    Node { at: At::new(source, range), value }
}

impl Node {
    /// The entries of a table; empty for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of that key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// Puts `over` on top: tables are merged key by key, anything else is replaced.
    pub(super) fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(base), Value::Table(entries)) => {
                self.at = over.at;
                for entry in entries {
                    if let Some(old) = base.iter_mut().find(|old| old.key == entry.key) {
                        old.key_at = entry.key_at;
                        old.node.merge(entry.node);
                    } else {
                        base.push(entry);
                    }
                }
            }
            (_, value) => *self = Self { at: over.at, value },
        }
    }

    /// Where `path` (keys and indices) leads: key and value. A missing end gives the deepest that exists.
    pub(super) fn locate(&self, path: &str) -> Located {
        let mut found = Located { key: None, value: self.at, whole: true };
        let mut node = self;
        for segment in path.split('.').filter(|segment| !segment.is_empty()) {
            let next = match &node.value {
                Value::Table(entries) => {
                    entries.iter().find(|entry| entry.key == segment).map(|entry| (Some(entry.key_at), &entry.node))
                }
                Value::Array(items) => {
                    segment.parse::<usize>().ok().and_then(|index| items.get(index)).map(|item| (None, item))
                }
                _ => None,
            };
            let Some((key, child)) = next else {
                found.whole = false;
                break;
            };
            found.key = key.or(found.key);
            found.value = child.at;
            node = child;
        }
        found
    }

    /// As JSON, for serde.
    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            Value::String(text) => Json::from(text.as_str()),
            Value::Integer(number) => Json::from(*number),
            Value::Float(number) => Json::from(*number),
            Value::Bool(flag) => Json::from(*flag),
            Value::Other(_) => Json::Null,
            Value::Array(items) => items.iter().map(Self::to_json).collect(),
            Value::Table(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect())
            }
        }
    }
}

/// The result of [`Node::locate`].
pub(super) struct Located {
    /// The last key on the way.
    pub(super) key: Option<At>,
    /// The last value on the way.
    pub(super) value: At,
    /// Whether the whole path exists.
    pub(super) whole: bool,
}

/// Why a `--set` could not be applied: the place in `path=value`, and what is wrong.
pub(super) struct BadPath {
    pub(super) at: At,
    pub(super) message: String,
    pub(super) known: Vec<String>,
    pub(super) wanted: String,
}

/// Applies `path=value`, which is source number `source`; tables on the way are made, entries of `closed` tables and
/// list items are not.
pub(super) fn set(root: &mut Node, source: usize, path: &str, value: &str, closed: &[&str]) -> Result<(), BadPath> {
    let mut node = root;
    let mut start = 0;
    let segments: Vec<&str> = path.split('.').collect();
    for (index, segment) in segments.iter().enumerate() {
        let at = At::new(source, start..start + segment.len());
        start += segment.len() + 1;
        let bad = |message: String, known: Vec<String>| BadPath { at, message, known, wanted: (*segment).to_owned() };
        if segment.is_empty() {
            return Err(bad("an empty key in the path".into(), vec![]));
        }
        let inside_closed = index == 1 && closed.contains(&segments[0]);
        node = match &mut node.value {
            Value::Table(entries) => {
                let position = entries.iter().position(|entry| entry.key == *segment);
                if position.is_none() && inside_closed {
                    let known = entries.iter().map(|entry| entry.key.clone()).collect();
                    return Err(bad(format!("there is no {} `{segment}`", segments[0]), known));
                }
                let position = position.unwrap_or_else(|| {
                    let empty = Node { at, value: Value::Table(vec![]) };
                    entries.push(Entry { key: (*segment).to_owned(), key_at: at, node: empty });
                    entries.len() - 1
                });
                entries[position].key_at = at;
                &mut entries[position].node
            }
            Value::Array(items) => {
                let count = items.len();
                let item = segment.parse::<usize>().ok().and_then(|index| items.get_mut(index));
                item.ok_or_else(|| bad(format!("`{segment}` is not an index of this list of {count}"), vec![]))?
            }
            other => return Err(bad(format!("`{segment}` is below {}", other.kind()), vec![])),
        };
    }
    let at = At::new(source, path.len() + 1..path.len() + 1 + value.len());
    let parsed = DeValue::parse(value).map(|parsed| node_of(source, 0..0, parsed.into_inner()).value);
    let value = parsed.unwrap_or_else(|_| Value::String(value.to_owned()));
    *node = Node { at, value };
    node.place_all(at);
    Ok(())
}

impl Node {
    /// Gives every node below the same place (values of `--set` are blamed as a whole).
    fn place_all(&mut self, at: At) {
        self.at = at;
        match &mut self.value {
            Value::Array(items) => items.iter_mut().for_each(|item| item.place_all(at)),
            Value::Table(entries) => entries.iter_mut().for_each(|entry| {
                entry.key_at = at;
                entry.node.place_all(at);
            }),
            _ => {}
        }
    }
}
