//! Patch: JSON, merge, strategic merge and apply, on top of `mutate`.

use serde_json::{Value, json};

use super::{Operation, Target, WriteOptions, Written, create, mutate};
use crate::api::{
    Api, managed,
    meta::{metadata_mut, name},
    model,
    status::Status,
};

/// The four kinds of patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// Patches an object; an apply to an object that is not there creates it.
pub(crate) fn patch(
    api: &Api,
    target: &Target,
    kind: PatchType,
    body: &Value,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let definition = &target.definition;
    if kind == PatchType::Apply {
        let options = &WriteOptions { operation: Operation::Apply, ..options.clone() };
        if options.subresource.is_none() && api.store.get(&definition.table, &target.namespace, &target.name).is_none()
        {
            return create_by_apply(api, target, body, options);
        }
        return mutate(api, target, options, |old| {
            managed::apply(definition, Some(old), body, options).map(|new| (new, Vec::new()))
        });
    }
    mutate(api, target, options, |old| {
        let mut new = model::patch(definition, kind, old, body)?;
        super::check_type(definition, &mut new)?;
        let warnings = model::decode(definition, &mut new, options.field_validation)?;
        check_identity(target, &mut new)?;
        Ok((new, warnings))
    })
}

fn check_identity(target: &Target, new: &mut Value) -> Result<(), Status> {
    if name(new) != target.name {
        let text =
            format!("the name of the object ({}) does not match the name on the URL ({})", name(new), target.name);
        return Err(Status::bad_request(text));
    }
    super::check_namespace(target, new)
}

fn create_by_apply(api: &Api, target: &Target, body: &Value, options: &WriteOptions) -> Result<Written, Status> {
    let resource = &target.definition.resource;
    if !body["metadata"]["uid"].as_str().unwrap_or_default().is_empty() {
        return Err(target.not_found());
    }
    if !body["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty() {
        return Err(Status::conflict(
            resource,
            &target.name,
            "the object does not exist, but a resourceVersion was given",
        ));
    }
    let mut object = managed::apply(&target.definition, None, body, options)?;
    metadata_mut(&mut object).insert("name".into(), json!(target.name));
    create(api, target, object, options)
}
