//! Reading and making Kubernetes objects in JSON.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::api::{Client, Resource, Status};

pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(super) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

pub(super) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

pub(super) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(super) fn int(object: &Value, pointer: &str) -> Option<i32> {
    object.pointer(pointer).and_then(Value::as_i64).and_then(|value| i32::try_from(value).ok())
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The controller that owns an object.
pub(super) fn controller(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences").find(|owner| owner["controller"] == true)
}

pub(super) fn is_owned_by(object: &Value, owner_uid: &str) -> bool {
    controller(object).is_some_and(|owner| owner["uid"] == owner_uid)
}

/// An owner reference of a controller.
pub(super) fn owner_reference(resource: &Resource, owner: &Value) -> Value {
    json!([{
        "apiVersion": resource.api_version(),
        "kind": resource.kind,
        "name": name(owner),
        "uid": uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

pub(super) fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Real seconds since an RFC 3339 time.
pub(super) fn seconds_since(time: &str) -> Option<f64> {
    let at = DateTime::parse_from_rfc3339(time).ok()?.with_timezone(&Utc);
    Some((Utc::now() - at).as_seconds_f64())
}

/// Whether a condition of the status is True.
pub(super) fn condition_is_true(object: &Value, kind: &str) -> bool {
    items(object, "/status/conditions").any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Sets a condition in a list; its transition time changes only with its status.
pub(super) fn set_condition(conditions: &mut Vec<Value>, kind: &str, status: &str, reason: &str, message: &str) {
    let new = json!({
        "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now(),
    });
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(old) => {
            let since = old["lastTransitionTime"].clone();
            let same = old["status"] == status;
            *old = new;
            if same && since.is_string() {
                old["lastTransitionTime"] = since;
            }
        }
        None => conditions.push(new),
    }
}

/// Writes a status when it differs from the stored one.
pub(super) fn write_status(client: &Client, resource: &Resource, object: &Value, status: &Value) -> Result<(), Status> {
    if object["status"] == *status {
        return Ok(());
    }
    let mut wanted = object.clone();
    wanted["status"] = status.clone();
    client.update_status(resource, namespace(object), name(object), &wanted).map(drop)
}

/// An object, or nothing when it is gone.
pub(super) fn find(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<Value>>, Status> {
    match client.get(resource, namespace, name) {
        Ok(object) => Ok(Some(object)),
        Err(status) if status.is_not_found() => Ok(None),
        Err(status) => Err(status),
    }
}

/// A change of an object that is gone meanwhile needs no more.
pub(super) fn unless_gone(result: Result<Arc<Value>, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}
