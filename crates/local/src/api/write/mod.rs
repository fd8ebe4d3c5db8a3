//! Writes: create, update, patch, delete, for HTTP and for the in-process client alike.
//!
//! Owns what the generic registry of the original owns: system fields of `metadata`, generation, the split between an
//! object and its status, optimistic concurrency, finalizers. Shapes of kinds are `object`'s, rules that read other
//! objects are `admission`'s.
//! <https://github.com/kubernetes/kubernetes/tree/v1.33.0/staging/src/k8s.io/apiserver/pkg/registry/generic/registry>

mod create;
mod delete;
mod patch;
mod update;

pub(crate) use create::{create, generated};
pub use delete::{DeleteOptions, Propagation};
pub(crate) use delete::{Deleted, delete};
pub(crate) use patch::{PatchType, changed, patch};
pub(crate) use update::{mutate, update};

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::{Api, model, registry::Definition, status::Status, store::CommitError};

/// What to do about unknown and duplicate fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    #[default]
    Ignore,
    Warn,
    Strict,
}

/// How fields come to be owned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Operation {
    #[default]
    Update,
    Apply,
}

impl Operation {
    /// As `managedFields` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Update => "Update",
            Self::Apply => "Apply",
        }
    }
}

/// What the client is told beside the answer, whether this is an object or a refusal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Tells something, once.
    pub(crate) fn add(&self, text: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&text) {
            all.push(text);
        }
    }

    /// Tells some.
    pub(crate) fn extend(&self, texts: Vec<String>) {
        for text in texts {
            self.add(text);
        }
    }

    /// What was told so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who writes, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteOptions {
    pub(crate) manager: String,
    pub(crate) operation: Operation,
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    pub(crate) subresource: Option<String>,
    /// Apply patches take over fields of others.
    pub(crate) force: bool,
    /// Paths of members that the body has twice.
    pub(crate) duplicates: Vec<String>,
    pub(crate) warnings: Warnings,
}

/// The object that a request is about.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) definition: Arc<Definition>,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Target {
    pub(crate) fn not_found(&self) -> Status {
        Status::not_found(&self.definition.resource, &self.name)
    }

    fn modified(&self) -> Status {
        Status::modified(&self.definition.resource, &self.name)
    }

    fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.name.clone())
    }
}

/// The object after a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Arc<Value>,
    pub(crate) created: bool,
}

impl Api {
    /// The present state of a target.
    pub(crate) fn read(&self, target: &Target) -> Result<Arc<super::store::Entry>, Status> {
        let found = self.store.get(&target.definition.table, &target.namespace, &target.name);
        found.ok_or_else(|| target.not_found())
    }
}

/// A commit's failure as the client sees it.
fn refused(error: CommitError, unexpected: Status) -> Status {
    match error {
        CommitError::Unexpected => unexpected,
        CommitError::TooDeep => Status::bad_request(error.to_string()),
        CommitError::Journal(error) => Status::storage(&error),
    }
}

/// Reads a body as its kind has it; `before` is what was already found strange about it.
fn decode(
    target: &Target,
    object: &mut Value,
    before: Vec<String>,
    options: &WriteOptions,
) -> Result<(), model::Undecodable> {
    // Who sends no managers at all wants them forgotten; the type would leave an empty list out.
    if object["metadata"]["managedFields"] == serde_json::json!([]) {
        object["metadata"]["managedFields"] = serde_json::json!([{}]);
    }
    let mut strange = before;
    strange.extend(model::decode(&target.definition, object)?);
    match options.field_validation {
        FieldValidation::Strict if !strange.is_empty() => return Err(model::Undecodable::Strict(strange)),
        FieldValidation::Warn => options.warnings.extend(strange),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    Ok(())
}

/// Members that a body has twice, in upstream's words.
fn duplicates(options: &WriteOptions) -> Vec<String> {
    options.duplicates.iter().map(|path| format!("duplicate field \"{path}\"")).collect()
}

/// Names each owner once.
fn dedup_owners(object: &mut Value, options: &WriteOptions) {
    let Some(owners) = object["metadata"].get_mut("ownerReferences").and_then(Value::as_array_mut) else { return };
    let mut known: Vec<Value> = Vec::new();
    let mut twice: Vec<String> = Vec::new();
    for owner in owners.drain(..) {
        if known.contains(&owner) {
            twice.push(owner["uid"].as_str().unwrap_or_default().to_owned());
        } else {
            known.push(owner);
        }
    }
    *owners = known;
    if !twice.is_empty() {
        let uids = twice.join(", ");
        options.warnings.add(format!(".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}"));
    }
}

/// Fills in or checks `apiVersion` and `kind`.
fn check_type(definition: &Definition, object: &mut Value) -> Result<(), Status> {
    let (resource, want) = (&definition.resource, definition.resource.api_version());
    let Some(members) = object.as_object_mut() else {
        let text = "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct";
        return Err(Status::bad_request(text));
    };
    if let Some(key) =
        ["apiVersion", "kind"].into_iter().find(|key| members.get(*key).is_some_and(|v| !v.is_string() && !v.is_null()))
    {
        let text = format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal into Go struct field .{key} of type string"
        );
        return Err(Status::bad_request(text));
    }
    let version = members.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = members.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let fits = (version.is_empty() || version == want) && (kind.is_empty() || kind == resource.kind);
    if definition.custom.is_some() && kind.is_empty() {
        let text = format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing",
            resource.kind
        );
        return Err(Status::bad_request(text));
    }
    if definition.custom.is_some() && version == want && kind != resource.kind {
        let named = crate::api::Resource { kind: kind.clone().into(), ..resource.clone() };
        let message = format!("Invalid value: \"{kind}\": must be {}", resource.kind);
        let name = members.get("metadata").and_then(|metadata| metadata["name"].as_str()).unwrap_or_default();
        return Err(Status::invalid_field(&named, name, "FieldValueInvalid", "kind", message));
    }
    if !fits {
        let (group, kind) = (
            version.rsplit_once('/').map_or("", |(g, _)| g),
            if kind.is_empty() { &resource.kind } else { kind.as_str() },
        );
        let version = version.rsplit('/').next().unwrap_or_default();
        let got = format!("{group}/{version}, Kind={kind}");
        let expected = format!("{}/{}, Kind={}", resource.group, resource.version, resource.kind);
        let text = format!(
            "{} in version \"{}\" cannot be handled as a {}: the API version in the data ({got}) does not match the expected API version ({expected})",
            resource.kind, resource.version, resource.kind
        );
        return Err(Status::bad_request(text.replace("(/", "(").replace("Kind=,", "Kind=")));
    }
    members.insert("apiVersion".into(), Value::String(want));
    members.insert("kind".into(), Value::String(resource.kind.to_string()));
    Ok(())
}

/// Fills in or checks `metadata.namespace`.
fn check_namespace(target: &Target, object: &mut Value) -> Result<(), Status> {
    let metadata = super::meta::metadata_mut(object);
    if !target.definition.resource.namespaced {
        metadata.shift_remove("namespace");
        return Ok(());
    }
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    if !given.is_empty() && given != target.namespace {
        let text = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(text));
    }
    metadata.insert("namespace".into(), Value::String(target.namespace.clone()));
    Ok(())
}
