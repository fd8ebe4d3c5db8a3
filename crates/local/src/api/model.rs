//! The seam to the shapes of kinds: decoding, defaults, validation, patches, field ownership.
//!
//! Writers call these and nothing else; what a kind looks like is not known outside.

mod defaults;
mod structural;

use serde_json::Value;

use super::{
    meta::{finalizers, is_deleting, name},
    registry::Definition,
    status::{Cause, Status},
    strategic,
    write::{FieldValidation, PatchType},
};

/// Checks the types of an object's own members; answers warnings.
pub(crate) fn decode(
    definition: &Definition,
    object: &mut Value,
    mode: FieldValidation,
) -> Result<Vec<String>, Status> {
    let kind = &definition.resource.kind;
    let version = &definition.resource.version;
    for (path, value) in [("metadata", &object["metadata"]), ("spec", &object["spec"])] {
        if !value.is_null() && !value.is_object() && definition.custom.is_none() {
            let text = format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: json: cannot unmarshal into Go struct field {kind}.{path}"
            );
            return Err(Status::bad_request(text));
        }
    }
    if mode == FieldValidation::Ignore || definition.custom.is_some() {
        return Ok(Vec::new());
    }
    let unknown = strategic::unknown_fields(&definition.resource, object);
    let unknown: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    if mode == FieldValidation::Strict && !unknown.is_empty() {
        let unknown = unknown.join(", ");
        let text =
            format!("{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {unknown}");
        return Err(Status::bad_request(text));
    }
    Ok(unknown)
}

/// Fills in what upstream's defaulting functions do.
pub(crate) fn default(definition: &Definition, object: &mut Value) {
    defaults::fill(&definition.table, object);
    if let Some(custom) = &definition.custom {
        structural::fill(&custom.version["schema"]["openAPIV3Schema"], object);
    }
}

/// Rules for a new object.
pub(crate) fn validate_create(definition: &Definition, object: &Value) -> Result<(), Status> {
    let mut causes = Vec::new();
    check_name(definition, object, &mut causes);
    check_values(definition, object, &mut causes);
    refuse(definition, object, causes)
}

/// Rules for a change.
pub(crate) fn validate_update(definition: &Definition, old: &Value, new: &Value) -> Result<(), Status> {
    let mut causes = Vec::new();
    if is_deleting(old) {
        let before: Vec<&str> = finalizers(old).collect();
        let added: Vec<&str> = finalizers(new).filter(|f| !before.contains(f)).collect();
        if !added.is_empty() {
            let message = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            causes.push(cause("FieldValueForbidden", "metadata.finalizers", message));
        }
    }
    let fixed: &[&str] = match definition.table.as_str() {
        "apps/deployments" | "apps/replicasets" | "apps/daemonsets" => &["selector"],
        "batch/jobs" => &["selector", "template", "completionMode"],
        _ => &[],
    };
    for field in fixed {
        if old["spec"][*field] != new["spec"][*field] {
            let path = format!("spec.{field}");
            causes.push(cause(
                "FieldValueInvalid",
                &path,
                format!("Invalid value: {}: field is immutable", new["spec"][*field]),
            ));
        }
    }
    check_values(definition, new, &mut causes);
    refuse(definition, new, causes)
}

fn check_values(definition: &Definition, object: &Value, causes: &mut Vec<Cause>) {
    if let Some(custom) = &definition.custom {
        structural::check(&custom.version["schema"]["openAPIV3Schema"], "", object, causes);
    }
    if let Some(replicas) = object["spec"]["replicas"].as_i64().filter(|replicas| *replicas < 0)
        && definition.custom.is_none()
    {
        let message = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        causes.push(cause("FieldValueInvalid", "spec.replicas", message));
    }
}

fn refuse(definition: &Definition, object: &Value, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid(&definition.resource, name(object), causes)) }
}

fn cause(reason: &str, field: &str, message: String) -> Cause {
    Cause { reason: reason.into(), field: field.into(), message }
}

/// RFC 1123 names: subdomains, and labels for namespaces and Services.
fn check_name(definition: &Definition, object: &Value, causes: &mut Vec<Cause>) {
    let (name, table) = (name(object), definition.table.as_str());
    if table.starts_with("rbac.authorization.k8s.io/") {
        return;
    }
    let label = matches!(table, "/namespaces" | "/services");
    let longest = if label { 63 } else { 253 };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || (c == '.' && !label);
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = |part: &str| part.starts_with(edge) && part.ends_with(edge);
    if name.len() > longest {
        causes.push(cause(
            "FieldValueInvalid",
            "metadata.name",
            format!("Invalid value: \"{name}\": must be no more than {longest} characters"),
        ));
    } else if !name.chars().all(plain) || !name.split('.').all(fits) {
        let what = if label {
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        } else {
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        };
        causes.push(cause("FieldValueInvalid", "metadata.name", format!("Invalid value: \"{name}\": {what}")));
    }
}

/// Applies a JSON, merge or strategic merge patch.
pub(crate) fn patch(definition: &Definition, kind: PatchType, old: &Value, body: &Value) -> Result<Value, Status> {
    let mut new = old.clone();
    match kind {
        PatchType::Json => {
            new = super::operations::apply(old, body)?;
        }
        PatchType::Merge => {
            if !body.is_object() {
                return Err(Status::bad_request(
                    "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
                ));
            }
            json_patch::merge(&mut new, body);
        }
        PatchType::Strategic if definition.custom.is_some() => {
            let text = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            return Err(Status::new(415, "UnsupportedMediaType", text));
        }
        PatchType::Strategic => {
            if !body.is_object() {
                return Err(Status::bad_request("error decoding patch: a strategic merge patch is an object"));
            }
            strategic::merge(&definition.resource, &mut new, body)?;
        }
        PatchType::Apply => {}
    }
    Ok(new)
}
