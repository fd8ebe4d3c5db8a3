//! Texts of profiles: those that extend another one, and one that has all that it extends in it.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

use super::tree::{self, Node};

/// Puts a value at a path of keys; tables on the way that are not there are made.
pub(crate) fn put(mut table: &mut Table, path: &[&str], value: Value) {
    let Some((last, way)) = path.split_last() else { return };
    for key in way {
        let next = table.entry(key).or_insert_with(|| {
            let mut made = Table::new();
            made.set_implicit(true);
            Item::Table(made)
        });
        let Some(inner) = next.as_table_mut() else { return };
        table = inner;
    }
    table.insert(last, Item::Value(value));
}

/// A list of tables has one on each line.
pub(crate) fn spread(what: Value) -> Value {
    let Value::Array(mut items) = what else { return what };
    if items.len() > 1 && items.iter().all(Value::is_inline_table) {
        for item in items.iter_mut() {
            item.decor_mut().set_prefix("\n    ");
        }
        items.set_trailing("\n");
        items.set_trailing_comma(true);
    }
    Value::Array(Array::clone(&items))
}

/// A merged tree as a text that reads as the same profile, wherever it lies.
pub(super) fn merged(tree: &Node, name: &str) -> String {
    let mut document = DocumentMut::from(table(tree));
    document.remove("extends");
    put(document.as_table_mut(), &["meta", "name"], Value::from(name));
    document.to_string()
}

fn table(node: &Node) -> Table {
    let mut table = Table::new();
    for entry in node.entries() {
        let item = match &entry.node.value {
            tree::Value::Table(_) => Item::Table(self::table(&entry.node)),
            _ => Item::Value(spread(value(&entry.node))),
        };
        table.insert(&entry.key, item);
    }
    // An empty table says something, one that holds only tables does not.
    table.set_implicit(!table.is_empty() && table.iter().all(|(_, item)| item.is_table()));
    table
}

fn value(node: &Node) -> Value {
    match &node.value {
        tree::Value::String(text) => text.into(),
        tree::Value::Integer(number) => (*number).into(),
        tree::Value::Float(number) => (*number).into(),
        tree::Value::Bool(flag) => (*flag).into(),
        // No sound profile has one.
        tree::Value::Other(kind) => (*kind).into(),
        tree::Value::Array(items) => items.iter().map(value).collect::<Array>().into(),
        tree::Value::Table(entries) => {
            let pairs = entries.iter().map(|entry| (entry.key.as_str(), value(&entry.node)));
            pairs.collect::<InlineTable>().into()
        }
    }
}
