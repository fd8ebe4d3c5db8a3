//! `ConfigMap`, `Secret`, Event, Node.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    errors::{Errors, list, text},
    names, resources,
};
use crate::api::registry::Definition;

/// The most bytes of one object's data.
const DATA: usize = 1 << 20;

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default()
}

/// Keys and size.
pub(super) fn config_map(object: &Value, errors: &mut Errors) {
    let mut total = 0;
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let field = format!("data[{key}]");
        errors.texts(&field, key, names::config_key(key));
        if object["binaryData"].get(key).is_some() {
            errors.invalid(&field, &json!(key), "duplicate of key present in binaryData");
        }
        total += value.as_str().unwrap_or_default().len();
    }
    for (key, value) in object["binaryData"].as_object().into_iter().flatten() {
        errors.texts(&format!("binaryData[{key}]"), key, names::config_key(key));
        total += decoded(value).len();
    }
    if total > DATA {
        errors.too_long("[]", DATA);
    }
}

/// Keys, size, and what the type demands.
pub(super) fn secret(object: &Value, errors: &mut Errors) {
    let data = &object["data"];
    let mut total = 0;
    for (key, value) in data.as_object().into_iter().flatten() {
        errors.texts(&format!("data[{key}]"), key, names::config_key(key));
        total += decoded(value).len();
    }
    if total > DATA {
        errors.too_long("data", DATA);
    }
    let mut need = |keys: &[&str]| {
        for key in keys.iter().filter(|key| data.get(**key).is_none()) {
            errors.required(&format!("data[{key}]"), "");
        }
    };
    let json_key = match text(object, "type") {
        "kubernetes.io/dockercfg" => Some(".dockercfg"),
        "kubernetes.io/dockerconfigjson" => Some(".dockerconfigjson"),
        _ => None,
    };
    if let Some(key) = json_key {
        need(&[key]);
    }
    match text(object, "type") {
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        "kubernetes.io/ssh-auth" if text(data, "ssh-privatekey").is_empty() => {
            errors.required("data[ssh-privatekey]", "");
        }
        "kubernetes.io/basic-auth" if data.get("username").is_none() && data.get("password").is_none() => {
            need(&["username", "password"]);
        }
        "kubernetes.io/service-account-token" => {
            let annotation = "kubernetes.io/service-account.name";
            if object["metadata"]["annotations"][annotation].as_str().unwrap_or_default().is_empty() {
                errors.required(&format!("metadata.annotations[{annotation}]"), "");
            }
        }
        _ => {}
    }
    if let Some(key) = json_key
        && let Some(value) = data.get(key)
        && let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&decoded(value))
    {
        errors.invalid(&format!("data[{key}]"), &json!("<secret contents redacted>"), &error.to_string());
    }
}

/// An event is where its object is; one with a time must say all. Upstream asks more of those that are written in the
/// new group, and names members as the old group does.
pub(super) fn event(definition: &Definition, old: Option<&Value>, object: &Value, errors: &mut Errors) {
    let new = definition.resource.group == "events.k8s.io";
    let regarding = if new { &object["regarding"] } else { &object["involvedObject"] };
    let namespace = text(&object["metadata"], "namespace");
    let of = text(regarding, "namespace");
    let timed = !object["eventTime"].is_null();
    let fits = match (timed, of.is_empty()) {
        (true, true) => matches!(namespace, "default" | "kube-system"),
        (true, false) => true,
        (false, true) => matches!(namespace, "" | "default"),
        (false, false) => of == namespace,
    };
    if !fits {
        errors.invalid("involvedObject.namespace", &json!(of), "does not match event.namespace");
    }
    if timed {
        reported(object, new, errors);
    }
    if !new {
        return;
    }
    if old.is_none() && !timed {
        errors.required("eventTime", "");
    }
    if old.is_none_or(|old| old["series"] != object["series"]) && object["series"].is_object() {
        let series = &object["series"];
        if series["count"].as_i64().unwrap_or(0) < 2 {
            errors.invalid("series.count", &series["count"], "should be at least 2");
        }
        if series["lastObservedTime"].is_null() {
            errors.required("series.lastObservedTime", "");
        }
    }
    if old.is_some() {
        return;
    }
    if !matches!(text(object, "type"), "Normal" | "Warning") {
        errors.invalid("type", &json!(text(object, "type")), "has invalid value: ");
    }
    let former = [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ];
    for (key, field) in former {
        let value = &object[key];
        if !value.is_null() && *value != 0 && *value != json!({}) {
            errors.invalid(field, value, "needs to be unset");
        }
    }
}

/// Who saw what.
fn reported(object: &Value, new: bool, errors: &mut Errors) {
    let (field, note) = if new { ("reportingController", "note") } else { ("reportingComponent", "message") };
    let controller = text(object, field);
    if controller.is_empty() {
        errors.required(field, "");
    }
    errors.texts(field, controller, names::qualified(controller));
    for key in ["reportingInstance", "action", "reason"] {
        if text(object, key).is_empty() {
            errors.required(key, "");
        } else if text(object, key).len() > 128 {
            errors.invalid(key, &json!(""), "can have at most 128 characters");
        }
    }
    if text(object, note).len() > 1024 {
        errors.invalid("message", &json!(""), "can have at most 1024 characters");
    }
}

/// Taints, addresses and what there is.
pub(super) fn node(object: &Value, new: bool, errors: &mut Errors) {
    let avoid = "scheduler.alpha.kubernetes.io/preferAvoidPods";
    let annotation = object["metadata"]["annotations"][avoid].as_str().unwrap_or_default();
    if !annotation.is_empty() && serde_json::from_str::<Value>(annotation).is_err() {
        errors.invalid("metadata.annotations.AvoidPods", &json!(avoid), "invalid AvoidPods");
    }
    let taints = list(&object["spec"], "taints");
    taints_of(taints, errors);
    if !new {
        // Upstream asks for them twice when a node changes.
        taints_of(taints, errors);
    }
    for key in ["capacity", "allocatable"] {
        // What there is can be allocated, unless the node says otherwise.
        let given = if object["status"][key].is_null() { "capacity" } else { key };
        for (name, amount) in object["status"][given].as_object().into_iter().flatten() {
            resources::amount(name, amount, &format!("status.{key}.{name}"), errors);
        }
    }
    let blocks = if new { list(&object["spec"], "podCIDRs") } else { &[] };
    for (index, block) in blocks.iter().enumerate() {
        if !names::is_block(block.as_str().unwrap_or_default()) {
            errors.invalid(&format!("spec.podCIDRs[{index}]"), block, "must be a valid CIDR value");
        }
    }
    let old = blocks.iter().filter(|block| block.as_str().is_some_and(|block| block.contains('.'))).count();
    if blocks.len() > 2 || (blocks.len() == 2 && old != 1) {
        let why = "may specify no more than one CIDR for each IP family";
        errors.invalid("spec.podCIDRs", &object["spec"]["podCIDRs"], why);
    }
}

fn taints_of(taints: &[Value], errors: &mut Errors) {
    for (index, taint) in taints.iter().enumerate() {
        let at = format!("metadata.taints[{index}]");
        let (key, value) = (text(taint, "key"), text(taint, "value"));
        errors.texts(&format!("{at}.key"), key, names::qualified(key));
        errors.texts(&format!("{at}.value"), value, names::label_value(value));
        if text(taint, "effect").is_empty() {
            errors.required(&format!("{at}.effect"), "");
        } else {
            errors.one_of(taint, "effect", &at, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
        let same = |other: &&Value| other["key"] == taint["key"] && other["effect"] == taint["effect"];
        if taints[..index].iter().find(same).is_some() {
            errors.duplicate(&at, taint);
        }
    }
}
