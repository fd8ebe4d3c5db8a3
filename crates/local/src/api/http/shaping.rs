//! Objects and lists in the shape that a client asked for.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::{
    Answer, Server, Status,
    accept::{self, By, Form, Shape, meta_version},
    respond::{json as answer_json, json_bytes},
    route::Query,
    table::{Columns, Include},
};
use crate::api::{convert, registry::Definition, store::Entry};

/// One resource's objects as answers to one request.
#[derive(Debug, Clone)]
pub(super) struct Shaper {
    definition: Arc<Definition>,
    columns: Columns,
    form: Form,
    include: Result<Include, Status>,
}

/// An object's metadata alone.
fn metadata_of(object: &Value, old: bool) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": meta_version(old), "metadata": object["metadata"] })
}

/// The text of an object in the asked-for version; the stored text where that is the one.
fn served_bytes(definition: &Definition, entry: &Arc<Entry>) -> Bytes {
    let served = convert::to_served(definition, &entry.value);
    if Arc::ptr_eq(&served, &entry.value) { entry.json.clone() } else { served.to_string().into() }
}

impl Shaper {
    /// For what a request accepts; refused when none of that is served.
    pub(super) fn of<T>(
        server: &Server,
        definition: &Arc<Definition>,
        query: &Query,
        request: &Request<T>,
    ) -> Result<Self, Status> {
        let by = if definition.custom.is_some() { By::Custom } else { By::Builtin };
        let form = accept::parse(&accept::header(request), by)?;
        let include = if matches!(form.shape, Shape::Table { .. }) { Include::of(query) } else { Ok(Include::Nothing) };
        Ok(Self { definition: Arc::clone(definition), columns: server.columns.clone(), form, include })
    }

    /// The same for events, which are not streamed in every form.
    pub(super) fn for_stream(self) -> Result<Self, Status> {
        self.include.clone()?;
        self.form.check_stream()?;
        Ok(self)
    }

    /// A stored object that is not kept with its text.
    pub(super) fn object(&self, code: StatusCode, object: &Arc<Value>) -> Result<Answer, Status> {
        self.form.check(false)?;
        match self.form.shape {
            Shape::Whole => Ok(answer_json(code, &convert::to_served(&self.definition, object))),
            _ => Ok(answer_json(code, &self.shaped(object)?)),
        }
    }

    /// A stored object.
    pub(super) fn entry(&self, entry: &Arc<Entry>) -> Result<Answer, Status> {
        self.form.check(false)?;
        Ok(json_bytes(StatusCode::OK, self.text(entry)?))
    }

    /// The text of a stored object.
    pub(super) fn text(&self, entry: &Arc<Entry>) -> Result<Bytes, Status> {
        match self.form.shape {
            Shape::Whole => Ok(served_bytes(&self.definition, entry)),
            _ => Ok(self.shaped(&entry.value)?.to_string().into()),
        }
    }

    /// The text of a stored object in a stream, where a Table has its columns in the first event only.
    pub(super) fn event(&self, entry: &Arc<Entry>, first: bool) -> Bytes {
        if first || !matches!(self.form.shape, Shape::Table { .. }) {
            return self.text(entry).unwrap_or_default();
        }
        let mut table = self.shaped(&entry.value).unwrap_or_default();
        table["columnDefinitions"] = Value::Null;
        table.to_string().into()
    }

    /// A list, its items from the stored ones.
    pub(super) fn list(&self, found: &[Arc<Entry>], metadata: Value) -> Result<Answer, Status> {
        self.form.check(true)?;
        let list = match self.form.shape {
            Shape::Whole => return Ok(json_bytes(StatusCode::OK, list_text(&self.definition, found, &metadata))),
            Shape::Table { old } => {
                let objects: Vec<Arc<Value>> = found.iter().map(|entry| Arc::clone(&entry.value)).collect();
                let mut table = self.columns.table(&self.definition, &objects, self.include.clone()?, old);
                table["metadata"] = metadata;
                table
            }
            Shape::Metadata { old, .. } => {
                let items: Vec<Value> = found.iter().map(|entry| metadata_of(&entry.value, old)).collect();
                let items = if items.is_empty() { Value::Null } else { json!(items) };
                let (kind, version) = ("PartialObjectMetadataList", meta_version(old));
                json!({ "kind": kind, "apiVersion": version, "metadata": metadata, "items": items })
            }
        };
        Ok(answer_json(StatusCode::OK, &list))
    }

    /// A list's own metadata; those of custom resources always say that nothing is left.
    pub(super) fn list_metadata(&self, version: u64) -> Value {
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if self.definition.custom.is_some() && self.form.shape == Shape::Whole {
            metadata["continue"] = json!("");
        }
        metadata
    }

    /// One object that is not shown as a whole.
    fn shaped(&self, object: &Arc<Value>) -> Result<Value, Status> {
        Ok(match self.form.shape {
            Shape::Whole => (*convert::to_served(&self.definition, object)).clone(),
            Shape::Metadata { old, .. } => metadata_of(object, old),
            Shape::Table { old } => {
                let include = self.include.clone()?;
                let mut table = self.columns.table(&self.definition, std::slice::from_ref(object), include, old);
                // What was only tried has none.
                if let Some(version) = object["metadata"].get("resourceVersion") {
                    table["metadata"]["resourceVersion"] = version.clone();
                }
                table
            }
        })
    }
}

/// A list's text out of the stored texts of its items.
fn list_text(definition: &Definition, found: &[Arc<Entry>], metadata: &Value) -> Vec<u8> {
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        definition.list_kind,
        definition.resource.api_version(),
    );
    let mut text = head.into_bytes();
    for (index, entry) in found.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        let served = convert::to_served(definition, &entry.value);
        if definition.custom.is_some() {
            text.extend_from_slice(&served_bytes(definition, entry));
        } else if Arc::ptr_eq(&served, &entry.value) {
            text.push(b'{');
            text.extend_from_slice(entry.untyped_tail());
        } else {
            let mut object = (*served).clone();
            if let Some(members) = object.as_object_mut() {
                members.shift_remove("kind");
                members.shift_remove("apiVersion");
            }
            text.extend_from_slice(object.to_string().as_bytes());
        }
    }
    text.extend_from_slice(b"]}");
    text
}
