//! Columns of custom resources: `additionalPrinterColumns`, whose cells a path finds.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#additional-printer-columns>

use serde_json::{Value, json};

use super::{Columns, text::age};
use crate::api::registry::Definition;

/// The columns that the definition gives, with the name first; the age where it gives none.
pub(super) fn columns(recorded: &Columns, definition: &Definition) -> Vec<Value> {
    let (name, age) = (recorded.described("Name"), recorded.described("Age"));
    let mut columns =
        vec![json!({ "name": "Name", "type": "string", "format": "name", "description": name, "priority": 0 })];
    let given = definition.custom.as_ref().and_then(|custom| custom.version["additionalPrinterColumns"].as_array());
    match given {
        Some(given) if !given.is_empty() => columns.extend(given.iter().map(|column| {
            let path = column["jsonPath"].as_str().unwrap_or_default();
            let own = column["description"].as_str().filter(|own| !own.is_empty());
            let plain = || format!("Custom resource definition column (in JSONPath format): {path}");
            json!({
                "name": column["name"],
                "type": column["type"],
                "format": column["format"].as_str().unwrap_or_default(),
                "description": own.map_or_else(plain, ToOwned::to_owned),
                "priority": column["priority"].as_i64().unwrap_or(0),
                "jsonPath": path,
            })
        })),
        _ => columns.push(json!({
            "name": "Age", "type": "date", "format": "", "description": age, "priority": 0,
            "jsonPath": ".metadata.creationTimestamp",
        })),
    }
    columns
}

/// The first value that a column's path finds, as its type has it; null when there is none of it.
pub(super) fn cell(column: &Value, path: &str, object: &Value) -> Value {
    let Some(found) = find(object, path).into_iter().next() else { return Value::Null };
    match column["type"].as_str().unwrap_or_default() {
        "string" => match found {
            Value::String(text) => json!(text),
            Value::Null => json!("<no value>"),
            other => json!(other.to_string()),
        },
        "integer" => match (found.as_i64(), found.as_f64()) {
            (Some(whole), _) => json!(whole),
            #[expect(clippy::cast_possible_truncation, reason = "as upstream cuts fractions")]
            (None, Some(number)) => json!(number as i64),
            _ => Value::Null,
        },
        "number" if found.is_number() => found.clone(),
        "boolean" if found.is_boolean() => found.clone(),
        "date" => match found.as_str() {
            Some("") => json!("<unknown>"),
            Some(text) if chrono::DateTime::parse_from_rfc3339(text).is_err() => json!("<invalid>"),
            Some(text) => json!(age(text)),
            None => Value::Null,
        },
        _ => Value::Null,
    }
}

/// The part of `JSONPath` that printer columns use: members, indices, all items, and a filter on one member.
fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut here = vec![object];
    let mut rest = path.trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(filter) = rest.strip_prefix("[?(@.") {
            let Some((condition, after)) = filter.split_once(")]") else { return Vec::new() };
            let (unequal, condition) = match condition.split_once("!=") {
                Some((key, wanted)) => (true, Some((key, wanted))),
                None => (false, condition.split_once("==")),
            };
            let Some((key, wanted)) = condition else { return Vec::new() };
            let wanted = wanted.trim().trim_matches(['"', '\'']);
            let fits = |item: &&Value| {
                let text = match item.get(key.trim()) {
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                    None => return false,
                };
                (text == wanted) != unequal
            };
            here = items(&here).filter(fits).collect();
            rest = after.trim_start_matches('.');
        } else if let Some(index) = rest.strip_prefix('[') {
            let Some((index, after)) = index.split_once(']') else { return Vec::new() };
            let name = index.trim_matches(['"', '\'']);
            here = match name.parse::<i64>() {
                _ if name == "*" => items(&here).collect(),
                Ok(index) => here.into_iter().filter_map(|list| nth(list, index)).collect(),
                Err(_) => here.into_iter().filter_map(|object| object.get(name)).collect(),
            };
            rest = after.trim_start_matches('.');
        } else {
            let escaped = |at: usize| at > 0 && rest.as_bytes()[at - 1] == b'\\';
            let end = rest.char_indices().find(|(at, c)| matches!(c, '.' | '[') && !escaped(*at));
            let end = end.map_or(rest.len(), |(at, _)| at);
            let name = rest[..end].replace('\\', "");
            here = here.into_iter().filter_map(|object| object.get(name.as_str())).collect();
            rest = rest[end..].trim_start_matches('.');
        }
    }
    here
}

fn items<'a>(lists: &[&'a Value]) -> impl Iterator<Item = &'a Value> + use<'a> {
    let all: Vec<&'a Value> = lists.iter().filter_map(|list| list.as_array()).flatten().collect();
    all.into_iter()
}

/// An item by its place, which counts from the end when it is negative.
fn nth(list: &Value, index: i64) -> Option<&Value> {
    let list = list.as_array()?;
    let at = if index < 0 { i64::try_from(list.len()).ok()? + index } else { index };
    list.get(usize::try_from(at).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printer_paths_are_followed() {
        let object = json!({
            "status": { "conditions": [{ "type": "Ready", "status": "True" }], "list": [7, 8] },
            "metadata": { "labels": { "a.test/b": "c" } },
        });
        let rows = [
            (r#".status.conditions[?(@.type=="Ready")].status"#, "string", json!("True")),
            (".status.list[0]", "integer", json!(7)),
            (".status.list[-1]", "number", json!(8)),
            (".status.list[*]", "string", json!("7")),
            (".status.list", "string", json!("[7,8]")),
            (".status.list[0]", "boolean", Value::Null),
            (r".metadata.labels.a\.test/b", "string", json!("c")),
            (".metadata.labels['a.test/b']", "string", json!("c")),
            (".spec.none", "string", Value::Null),
        ];
        for (path, kind, cell_of) in rows {
            assert_eq!(cell(&json!({ "type": kind }), path, &object), cell_of, "{path}");
        }
    }
}
