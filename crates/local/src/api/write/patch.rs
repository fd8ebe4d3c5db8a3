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
            let mut new = managed::apply(definition, Some(old), body, options)?;
            let warnings = super::decode(target, &mut new, options).map_err(|error| error.of_body(definition))?;
            check_identity(target, &mut new)?;
            Ok((new, warnings))
        });
    }
    mutate(api, target, options, |old| {
        let mut new = model::patch(definition, kind, old, body)?;
        super::check_type(definition, &mut new)
            .map_err(|error| Status::invalid_without_kind("patch", format!("Invalid value: {body}: {error}")))?;
        let warnings = super::decode(target, &mut new, options).map_err(|error| error.of_patch(body))?;
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
    if !body["metadata"]["uid"].as_str().unwrap_or_default().is_empty() {
        return Err(target.not_found());
    }
    let mut object = managed::apply(&target.definition, None, body, options)?;
    let metadata = metadata_mut(&mut object);
    metadata.insert("name".into(), json!(target.name));
    metadata.shift_remove("resourceVersion");
    create(api, target, object, options)
}
