//! Lists that are sets or maps hold each item once.

use serde_json::{Map, Value};

use super::super::validate::cause;
use crate::api::status::Cause;

/// Adds a cause for each item that is there twice.
pub(super) fn check(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(members) => {
            for (key, inner) in members {
                let own = schema["properties"].get(key).or_else(|| schema.get("additionalProperties"));
                if let Some(own) = own {
                    let inside = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    check(own, &inside, inner, causes);
                }
            }
        }
        Value::Array(items) => {
            let kind = schema["x-kubernetes-list-type"].as_str().unwrap_or_default();
            let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let key = |item: &Value| match kind {
                "set" => Some(item.clone()),
                "map" => {
                    let part = |key: &&str| Some(((*key).to_owned(), item.get(*key)?.clone()));
                    Some(Value::Object(keys.iter().filter_map(part).collect::<Map<_, _>>()))
                }
                _ => None,
            };
            let all: Vec<Option<Value>> = items.iter().map(key).collect();
            for (index, own) in all.iter().enumerate() {
                if let Some(own) = own
                    && all[..index].iter().flatten().any(|before| before == own)
                {
                    let message = format!("Duplicate value: {own}");
                    causes.push(cause("FieldValueDuplicate", &format!("{path}[{index}]"), message));
                }
            }
            for (index, inner) in items.iter().enumerate() {
                check(&schema["items"], &format!("{path}[{index}]"), inner, causes);
            }
        }
        _ => {}
    }
}
