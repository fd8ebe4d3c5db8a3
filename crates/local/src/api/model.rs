//! The seam to the shapes of kinds: decoding, defaults, validation, patches, field ownership.
//!
//! Writers call these and nothing else; what a kind looks like is not known outside.

mod defaults;
mod prepare;
mod structural;
mod validate;
mod warn;

use serde_json::{Value, json};

pub(crate) use prepare::{created, updated};
pub(crate) use validate::{validate_create, validate_update};
pub(crate) use warn::warnings;

use super::{
    registry::{Custom, Definition},
    status::Status,
    strategic, typed,
    write::{FieldValidation, PatchType},
};

/// Why a body is no object of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// A member is of a wrong type.
    Type(String),
    /// Unknown or duplicate fields, where these are refused.
    Strict(Vec<String>),
}

impl Undecodable {
    /// What is wrong, in upstream's words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Type(text) => text.clone(),
            Self::Strict(fields) => format!("strict decoding error: {}", fields.join(", ")),
        }
    }

    /// As the answer to a body that was sent.
    pub(crate) fn of_body(&self, definition: &Definition) -> Status {
        let (kind, version) = (&definition.resource.kind, &definition.resource.version);
        let text = self.text();
        let about = match self {
            Self::Strict(_) if definition.custom.is_some() => text,
            _ => format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {text}"),
        };
        Status::bad_request(about)
    }

    /// As the answer to a patch that led to it.
    pub(crate) fn of_patch(&self, body: &Value) -> Status {
        let message = format!("Invalid value: {body}: {}", self.text());
        Status::invalid_without_kind("patch", message)
    }
}

fn schema(custom: &Custom) -> &Value {
    &custom.version["schema"]["openAPIV3Schema"]
}

/// Reads an object as its type has it; answers warnings about what its type does not have.
pub(crate) fn decode(
    definition: &Definition,
    object: &mut Value,
    mode: FieldValidation,
    duplicates: &[String],
) -> Result<Vec<String>, Undecodable> {
    let mut unknown = typed::Unknown::new();
    rewrite(definition, object, &mut unknown)?;
    if mode == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    let duplicates = duplicates.iter().map(|path| format!("duplicate field \"{path}\""));
    let all: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).chain(duplicates).collect();
    if mode == FieldValidation::Strict && !all.is_empty() { Err(Undecodable::Strict(all)) } else { Ok(all) }
}

/// Rewrites an object as it is stored: without what its type does not have.
pub(crate) fn normalise(definition: &Definition, object: &mut Value) -> Result<(), Status> {
    let rewritten = rewrite(definition, object, &mut typed::Unknown::new());
    rewritten.map_err(|error| Status::plain(error.text()))
}

fn rewrite(definition: &Definition, object: &mut Value, unknown: &mut typed::Unknown) -> Result<(), Undecodable> {
    let mismatch = |error: typed::Mismatch| Undecodable::Type(error.to_string());
    if let Some(custom) = &definition.custom {
        let mut of_metadata = typed::Unknown::new();
        if let (Some(shape), Some(metadata)) =
            (typed::object_meta(), object.get_mut("metadata").filter(|metadata| !metadata.is_null()))
        {
            typed::canonical(shape, metadata, &mut of_metadata).map_err(mismatch)?;
            let zero = metadata["creationTimestamp"].is_null();
            if let Some(members) = metadata.as_object_mut().filter(|_| zero) {
                members.shift_remove("creationTimestamp");
            }
        }
        unknown.extend(of_metadata.into_iter().map(|path| format!("metadata.{path}")));
        structural::prune(schema(custom), object, unknown);
        return Ok(());
    }
    match typed::of(&definition.resource) {
        Some(shape) => typed::canonical(shape, object, unknown).map_err(mismatch),
        None => Ok(()),
    }
}

/// An object of this kind that says nothing.
pub(crate) fn empty(definition: &Definition) -> &Value {
    definition.empty.get_or_init(|| {
        let mut object = json!({ "kind": definition.resource.kind, "apiVersion": definition.resource.api_version() });
        let _ = rewrite(definition, &mut object, &mut typed::Unknown::new());
        object
    })
}

/// Fills in what upstream's defaulting functions do.
pub(crate) fn default(definition: &Definition, object: &mut Value) {
    match &definition.custom {
        Some(custom) => structural::fill(schema(custom), object),
        None => defaults::fill(definition, object),
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
