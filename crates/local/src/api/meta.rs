//! `metadata` of objects in JSON: what the API sets and reads there.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

/// A time as `metav1.Time` prints it.
pub(crate) fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The present as `metav1.Time`.
pub(crate) fn now() -> Value {
    json!(timestamp(Utc::now()))
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(crate) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

pub(crate) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some_and(|t| !t.is_null())
}

pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// `metadata`, made when it is not there or not an object.
pub(crate) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    match metadata {
        Value::Object(members) => members,
        _ => unreachable!("metadata was made an object above"),
    }
}

/// Sets a member or, for null, removes it.
pub(crate) fn set_or_remove(members: &mut Map<String, Value>, key: &str, value: Option<&Value>) {
    match value.filter(|v| !v.is_null()) {
        Some(value) => {
            members.insert(key.into(), value.clone());
        }
        None => {
            members.shift_remove(key);
        }
    }
}

/// Adds or removes a finalizer.
pub(crate) fn set_finalizer(object: &mut Value, finalizer: &str, present: bool) {
    let mut all: Vec<String> = finalizers(object).filter(|f| *f != finalizer).map(str::to_owned).collect();
    if present {
        all.push(finalizer.to_owned());
    }
    let all = (!all.is_empty()).then(|| json!(all));
    set_or_remove(metadata_mut(object), "finalizers", all.as_ref());
}
