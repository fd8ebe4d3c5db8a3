//! `metadata` of all kinds.
//!
//! <https://github.com/kubernetes/apimachinery/blob/v0.33.0/pkg/api/validation/objectmeta.go>

use serde_json::{Value, json};

use super::{errors::Errors, names};
use crate::api::{
    meta::{finalizers, is_deleting},
    registry::Definition,
};

/// Longest annotations of one object, keys and values together.
const ANNOTATIONS: usize = 256 << 10;

/// A new object.
pub(super) fn check(definition: &Definition, object: &Value, errors: &mut Errors) {
    let metadata = &object["metadata"];
    let text = |key: &str| metadata[key].as_str().unwrap_or_default();
    errors.not_negative(metadata, "generation", "metadata");
    let (name, base) = (text("name"), text("generateName"));
    if !base.is_empty() {
        // What is generated ends well, whatever the prefix ends with.
        let trimmed = base.strip_suffix('-').map_or_else(|| base.to_owned(), |base| format!("{base}a"));
        errors.texts("metadata.generateName", base, name_rule(definition, &trimmed));
    }
    if name.is_empty() {
        errors.required("metadata.name", "name or generateName is required");
    } else {
        errors.texts("metadata.name", name, name_rule(definition, name));
    }
    common(metadata, "metadata", errors);
    own_finalizers(definition, metadata, errors);
}

/// Labels, annotations and owners.
fn common(metadata: &Value, path: &str, errors: &mut Errors) {
    labels(&metadata["labels"], &format!("{path}.labels"), errors);
    let mut total = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        errors.texts(&format!("{path}.annotations"), key, names::qualified(&key.to_lowercase()));
        total += key.len() + value.as_str().unwrap_or_default().len();
    }
    if total > ANNOTATIONS {
        errors.too_long(&format!("{path}.annotations"), ANNOTATIONS);
    }
    owners(&metadata["ownerReferences"], &format!("{path}.ownerReferences"), errors);
}

/// Labels and annotations of a template.
pub(super) fn of_template(metadata: &Value, path: &str, errors: &mut Errors) {
    labels(&metadata["labels"], &format!("{path}.labels"), errors);
    for key in metadata["annotations"].as_object().into_iter().flat_map(serde_json::Map::keys) {
        errors.texts(&format!("{path}.annotations"), key, names::qualified(&key.to_lowercase()));
    }
}

/// Keys and values of labels.
pub(super) fn labels(labels: &Value, path: &str, errors: &mut Errors) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        errors.texts(path, key, names::qualified(key));
        let value = value.as_str().unwrap_or_default();
        errors.texts(path, value, names::label_value(value));
    }
}

fn owners(owners: &Value, path: &str, errors: &mut Errors) {
    let all: Vec<&Value> = owners.as_array().into_iter().flatten().collect();
    for owner in &all {
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        let version = match text("apiVersion").split('/').collect::<Vec<&str>>().as_slice() {
            [version] | [_, version] => *version,
            _ => "",
        };
        for (key, value, why) in [
            ("apiVersion", version, "version must not be empty"),
            ("kind", text("kind"), "kind must not be empty"),
            ("name", text("name"), "name must not be empty"),
            ("uid", text("uid"), "uid must not be empty"),
        ] {
            if value.is_empty() {
                errors.invalid(&format!("{path}.{key}"), &json!(""), why);
            }
        }
        if text("apiVersion") == "v1" && text("kind") == "Event" {
            errors.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner");
        }
    }
    if all.iter().filter(|owner| owner["controller"] == true).count() > 1 {
        errors.invalid(path, owners, "Only one reference can have Controller set to true");
    }
}

fn own_finalizers(definition: &Definition, metadata: &Value, errors: &mut Errors) {
    let all: Vec<&str> = metadata["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for one in &all {
        errors.texts("metadata.finalizers", one, names::qualified(one));
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.invalid("metadata.finalizers", &metadata["finalizers"], why);
    }
    // Kinds of the project itself want more than those of others.
    for (index, one) in all.iter().enumerate().filter(|_| definition.custom.is_none()) {
        let known = ["kubernetes", "orphan", "foregroundDeletion"];
        if !one.contains('/') && !known.contains(one) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.invalid(&format!("metadata.finalizers[{index}]"), &json!(one), why);
        }
    }
}

/// A changed object as upstream looks at those of all kinds.
pub(super) fn check_change(old: &Value, new: &Value, errors: &mut Errors) {
    common(&new["metadata"], "metadata", errors);
    changed(old, new, errors);
}

/// A changed object as most kinds look at it once more.
pub(super) fn check_own_change(definition: &Definition, old: &Value, new: &Value, errors: &mut Errors) {
    changed(old, new, errors);
    own_finalizers(definition, &new["metadata"], errors);
}

/// A changed object as some kinds look at it like at a new one.
pub(super) fn check_again(definition: &Definition, new: &Value, errors: &mut Errors) {
    common(&new["metadata"], "metadata", errors);
    own_finalizers(definition, &new["metadata"], errors);
}

fn changed(old: &Value, new: &Value, errors: &mut Errors) {
    if is_deleting(old) {
        let before: Vec<&str> = finalizers(old).collect();
        let added: Vec<&str> = finalizers(new).filter(|one| !before.contains(one)).collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            errors.forbidden("metadata.finalizers", &why);
        }
    }
    for key in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (was, is) = (&old["metadata"][key], &new["metadata"][key]);
        if was != is {
            errors.invalid(&format!("metadata.{key}"), is, "field is immutable");
        }
    }
    common(&new["metadata"], "metadata", errors);
}

/// What is wrong with a name for this kind.
fn name_rule(definition: &Definition, name: &str) -> Vec<String> {
    let table = definition.table.as_str();
    match table {
        // Their names are made of others' names.
        "/events" | "policy/poddisruptionbudgets" => Vec::new(),
        "/namespaces" | "apps/statefulsets" if name.contains('.') => vec!["must not contain dots".to_owned()],
        "/namespaces" | "apps/statefulsets" => names::label(name),
        "/services" if name.contains('.') => {
            vec![names::label_1035(name).pop().unwrap_or_default()]
        }
        "/services" => names::label_1035(name),
        "batch/cronjobs" if name.len() > 52 => {
            let mut wrong = names::subdomain(name);
            wrong.push("must be no more than 52 characters".to_owned());
            wrong
        }
        _ if table.starts_with("rbac.authorization.k8s.io/") => names::path_segment(name),
        _ => names::subdomain(name),
    }
}
