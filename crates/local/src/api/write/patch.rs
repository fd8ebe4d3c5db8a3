//! Patch: JSON, merge, strategic merge and apply, on top of `mutate`.
//!
//! <https://github.com/kubernetes/apiserver/blob/v0.33.0/pkg/endpoints/handlers/patch.go>

use serde_json::{Map, Value};

use super::{FieldValidation, Operation, Target, WriteOptions, Written, create, decode, duplicates, mutate};
use crate::api::{
    Api, managed,
    meta::{metadata_mut, name, uid},
    model, operations,
    registry::Definition,
    resource::Resource,
    status::{Cause, Status},
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
    if kind != PatchType::Apply {
        return mutate(api, target, options, |old| patched(target, kind, old, body, options));
    }
    let options = &WriteOptions { operation: Operation::Apply, ..options.clone() };
    if options.subresource.is_none() && api.store.get(&definition.table, &target.namespace, &target.name).is_none() {
        return create_by_apply(api, target, body, options);
    }
    mutate(api, target, options, |old| applied(target, old, body, options))
}

/// What a PUT or PATCH makes of an object that is a view on another, owners included.
pub(crate) fn changed(
    target: &Target,
    kind: Option<PatchType>,
    old: &Value,
    body: &Value,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let mut new = match kind {
        Some(PatchType::Apply) => {
            let options = WriteOptions { operation: Operation::Apply, ..options.clone() };
            return applied(target, old, body, &options);
        }
        Some(kind) => patched(target, kind, old, body, options)?,
        None => super::update::replacement(target, body, options)?,
    };
    managed::track(&target.definition, Some(old), &mut new, options);
    Ok(new)
}

fn applied(target: &Target, old: &Value, body: &Value, options: &WriteOptions) -> Result<Value, Status> {
    let definition = &target.definition;
    let mut new = managed::apply(definition, Some(old), body, options)?;
    check_identity(target, &mut new)?;
    decode(target, &mut new, duplicates(options), options).map_err(|error| error.of_body(definition))?;
    Ok(new)
}

fn patched(
    target: &Target,
    kind: PatchType,
    old: &Value,
    body: &Value,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let definition = &target.definition;
    let (mut new, strange) = merged(definition, kind, old, body, options)?;
    if definition.custom.is_some() && is_empty(&new["apiVersion"]) {
        return Err(Status::internal("Object 'apiVersion' is missing in 'object has no apiVersion field'"));
    }
    if definition.custom.is_some() {
        check_custom_type(definition, &new)?;
    }
    super::check_type(definition, &mut new).map_err(|error| match error.code {
        422 => error,
        _ => Status::invalid_without_kind("patch", format!("Invalid value: {body}: {error}")),
    })?;
    decode(target, &mut new, strange, options).map_err(|error| error.of_patch(body))?;
    check_identity(target, &mut new)?;
    Ok(new)
}

/// That a custom resource still says what it is.
fn check_custom_type(definition: &Definition, object: &Value) -> Result<(), Status> {
    let resource = &definition.resource;
    let wanted = [("kind", resource.kind.to_string()), ("apiVersion", resource.api_version())];
    let wrong = wanted.iter().filter(|(key, wanted)| object[*key] != wanted.as_str());
    let causes: Vec<Cause> = wrong
        .map(|(key, wanted)| Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {}: must be {wanted}", object[*key]),
            field: (*key).to_owned(),
        })
        .collect();
    if causes.is_empty() {
        return Ok(());
    }
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let named = Resource { kind: kind.into(), ..resource.clone() };
    Err(Status::invalid(&named, name(object), causes))
}

/// An object with a patch applied that is no apply, and what is strange about the patch.
fn merged(
    definition: &Definition,
    kind: PatchType,
    old: &Value,
    body: &Value,
    options: &WriteOptions,
) -> Result<(Value, Vec<String>), Status> {
    let lax = options.field_validation == FieldValidation::Ignore;
    let mut strange = duplicates(options);
    if kind == PatchType::Json && !lax {
        strange = strange.into_iter().map(|text| format!("json patch {text}")).collect();
        strange.extend(operations::unknown_members(body)?);
    }
    let mut new = model::patch(definition, kind, old, body)?;
    // What says no version is read as one that has no names, unless it was merged by its type.
    if kind != PatchType::Strategic && definition.custom.is_none() && is_empty(&new["apiVersion"]) {
        metadata_mut(&mut new).shift_remove("name");
        strange.extend(new.as_object().into_iter().flat_map(Map::keys).map(|key| format!("unknown field \"{key}\"")));
    }
    Ok((new, strange))
}

fn is_empty(text: &Value) -> bool {
    text.as_str().unwrap_or_default().is_empty()
}

/// That the object is still the one that the path names.
pub(super) fn check_identity(target: &Target, new: &mut Value) -> Result<(), Status> {
    super::check_namespace(target, new)?;
    let wanted = &target.name;
    match name(new) {
        "" => {
            let text =
                format!("the name of the object ({wanted} based on URL) was undeterminable: name must be provided");
            Err(Status::bad_request(text))
        }
        given if given != wanted => Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({wanted})"
        ))),
        _ => Ok(()),
    }
}

fn create_by_apply(api: &Api, target: &Target, body: &Value, options: &WriteOptions) -> Result<Written, Status> {
    let mut object = managed::apply(&target.definition, None, body, options)?;
    let given = uid(&object);
    if !given.is_empty() {
        let why = format!("uid mismatch: the provided object specified uid {given}, and no existing object was found");
        return Err(Status::conflict(&target.definition.resource, &target.name, &why));
    }
    check_identity(target, &mut object)?;
    metadata_mut(&mut object).shift_remove("resourceVersion");
    create(api, target, object, options)
}
