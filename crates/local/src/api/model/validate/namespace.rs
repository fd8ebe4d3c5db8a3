//! Namespaces: what holds them, and what they may say of themselves.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/apis/core/validation/validation.go>

use serde_json::{Value, json};

use super::{errors::Errors, names};
use crate::api::meta::is_deleting;

/// A new namespace.
pub(super) fn check(object: &Value, errors: &mut Errors) {
    held_by(object, |_| "spec.finalizers".to_owned(), errors);
    levels(object, errors);
}

/// Levels of pod security.
fn levels(object: &Value, errors: &mut Errors) {
    for mode in ["enforce", "audit", "warn"] {
        let label = format!("pod-security.kubernetes.io/{mode}");
        let level = &object["metadata"]["labels"][label.as_str()];
        if level.as_str().is_some_and(|level| !["privileged", "baseline", "restricted"].contains(&level)) {
            let at = format!("metadata.labels[{label}]");
            errors.invalid(&at, level, "must be one of privileged, baseline, restricted");
        }
    }
}

/// A change of a namespace's status, or of what holds it.
pub(super) fn check_change(object: &Value, subresource: Option<&str>, errors: &mut Errors) {
    match subresource {
        None => levels(object, errors),
        Some("finalize") => held_by(object, |index| format!("spec.finalizers[{index}]"), errors),
        Some("status") => {
            let (wanted, why) = if is_deleting(object) {
                ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
            } else {
                ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
            };
            if object["status"]["phase"] != wanted {
                errors.invalid("status.Phase", &object["status"]["phase"], why);
            }
        }
        _ => {}
    }
}

fn held_by(object: &Value, field: impl Fn(usize) -> String, errors: &mut Errors) {
    let all = object["spec"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for (index, one) in all.enumerate() {
        errors.texts(&field(index), one, names::qualified(one));
        if !one.contains('/') && !matches!(one, "kubernetes" | "orphan" | "foregroundDeletion") {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.invalid(&field(index), &json!(one), why);
        }
    }
}
