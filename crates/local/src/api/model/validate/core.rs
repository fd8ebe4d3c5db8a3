//! `ConfigMap`, `Secret`, `ResourceQuota`, `LimitRange`, Endpoints, Event, Node.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{errors::Errors, names, pod};
use crate::api::{registry::Definition, typed};

/// The most bytes of one object's data.
const DATA: usize = 1 << 20;

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

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
        "kubernetes.io/ssh-auth" => need(&["ssh-privatekey"]),
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
        && let Err(error) = serde_json::from_slice::<Value>(&decoded(value))
    {
        errors.invalid(&format!("data[{key}]"), &json!("<secret contents redacted>"), &error.to_string());
    }
}

/// Hard limits.
pub(super) fn resource_quota(object: &Value, errors: &mut Errors) {
    for (name, amount) in object["spec"]["hard"].as_object().into_iter().flatten() {
        let field = format!("spec.hard[{name}]");
        errors.texts(&field, name, names::qualified(name));
        pod::quantity(amount, &field, errors);
        let counted = ["pods", "services", "secrets", "configmaps", "persistentvolumeclaims", "resourcequotas"];
        let whole = amount.as_str().is_some_and(|text| !text.ends_with(['m', 'u', 'n']));
        if (counted.contains(&name.as_str()) || name.starts_with("count/")) && !whole {
            errors.invalid(&field, amount, "must be an integer");
        }
    }
}

/// Minimum, default request, default and maximum stand in this order.
pub(super) fn limit_range(object: &Value, errors: &mut Errors) {
    let mut kinds: Vec<&Value> = Vec::new();
    for (index, limit) in object["spec"]["limits"].as_array().into_iter().flatten().enumerate() {
        let at = format!("spec.limits[{index}]");
        if kinds.contains(&&limit["type"]) {
            errors.duplicate(&format!("{at}.type"), &limit["type"]);
        }
        kinds.push(&limit["type"]);
        if limit["type"] == "Pod" {
            for key in ["default", "defaultRequest"] {
                if limit[key].as_object().is_some_and(|members| !members.is_empty()) {
                    errors.forbidden(&format!("{at}.{key}"), "may not be specified when `type` is 'Pod'");
                }
            }
        }
        let parts = ["max", "min", "default", "defaultRequest"];
        let mut names: Vec<&String> = parts
            .iter()
            .flat_map(|part| limit[*part].as_object().into_iter().flatten().map(|(name, _)| name))
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            let amount = |part: &str| limit[part].get(name).and_then(typed::amount);
            let (max, min) = (amount("max"), amount("min"));
            let (default, request) = (amount("default"), amount("defaultRequest"));
            let above =
                |one: Option<f64>, other: Option<f64>| matches!((one, other), (Some(one), Some(other)) if one > other);
            let mut wrong =
                |part: &str, why: &str| errors.invalid(&format!("{at}.{part}[{name}]"), &limit[part][name], why);
            if above(min, max) {
                wrong("min", "min value is greater than max value");
            }
            if above(min, request) {
                wrong("defaultRequest", "min value is greater than default request value");
            }
            if above(request, max) {
                wrong("defaultRequest", "default request value is greater than max value");
            }
            if above(request, default) {
                wrong("defaultRequest", "default request value is greater than default limit value");
            }
            if above(min, default) {
                wrong("default", "min value is greater than default value");
            }
            if above(default, max) {
                wrong("default", "default value is greater than max value");
            }
        }
    }
}

/// Addresses and ports.
pub(super) fn endpoints(object: &Value, errors: &mut Errors) {
    for (index, subset) in object["subsets"].as_array().into_iter().flatten().enumerate() {
        let at = format!("subsets[{index}]");
        let list = |key: &str| subset[key].as_array().map_or(&[][..], Vec::as_slice);
        if list("addresses").is_empty() && list("notReadyAddresses").is_empty() {
            errors.required(&at, "must specify `addresses` or `notReadyAddresses`");
        }
        for key in ["addresses", "notReadyAddresses"] {
            for (place, address) in list(key).iter().enumerate() {
                let ip = text(address, "ip");
                errors.texts(&format!("{at}.{key}[{place}].ip"), ip, names::endpoint_address(ip));
            }
        }
        for (place, port) in list("ports").iter().enumerate() {
            let at = format!("{at}.ports[{place}]");
            if list("ports").len() > 1 && text(port, "name").is_empty() {
                errors.required(&format!("{at}.name"), "");
            }
            pod::port_number(port["port"].as_i64().unwrap_or(0), &format!("{at}.port"), errors);
            errors.one_of(port, "protocol", &at, &["SCTP", "TCP", "UDP"]);
        }
    }
}

/// An event is where its object is; those of the new group must say all.
pub(super) fn event(definition: &Definition, old: Option<&Value>, object: &Value, errors: &mut Errors) {
    let new = definition.resource.group == "events.k8s.io";
    let regarding = if new { &object["regarding"] } else { &object["involvedObject"] };
    let namespace = text(&object["metadata"], "namespace");
    let of = text(regarding, "namespace");
    let at = if new { "regarding.namespace" } else { "involvedObject.namespace" };
    let fits = if of.is_empty() { matches!(namespace, "" | "default" | "kube-system") } else { of == namespace };
    let old_style = !new && object["eventTime"].is_null();
    if old_style || old.is_some() {
        if !fits {
            errors.invalid("involvedObject.namespace", &json!(of), "does not match event.namespace");
        }
        return;
    }
    if !fits {
        errors.invalid(at, &json!(of), "does not match event.namespace");
    }
    if object["eventTime"].is_null() {
        errors.required("eventTime", "");
    }
    let controller = if new { text(object, "reportingController") } else { text(object, "reportingComponent") };
    if controller.is_empty() {
        errors.required("reportingController", "");
    }
    errors.texts("reportingController", controller, names::qualified(controller));
    for key in ["reportingInstance", "action", "reason"] {
        let most = if key == "reason" || key == "action" || key == "reportingInstance" { 128 } else { 1024 };
        if text(object, key).is_empty() {
            errors.required(key, "");
        } else if text(object, key).len() > most {
            errors.invalid(key, &json!(""), &format!("can have at most {most} characters"));
        }
    }
    if !matches!(text(object, "type"), "Normal" | "Warning") {
        errors.invalid("type", &json!(text(object, "type")), "has invalid value: ");
    }
}

/// Taints.
pub(super) fn node(object: &Value, errors: &mut Errors) {
    let taints: Vec<&Value> = object["spec"]["taints"].as_array().into_iter().flatten().collect();
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
        let same = |other: &&&Value| other["key"] == taint["key"] && other["effect"] == taint["effect"];
        if taints[..index].iter().find(same).is_some() {
            errors.duplicate(&at, taint);
        }
    }
}
