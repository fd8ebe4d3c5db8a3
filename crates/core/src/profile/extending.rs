//! Texts of profiles that extend another one.

use toml_edit::{Item, Table, Value};

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
