//! Tables, as kubectl prints them: recorded columns, and rows of objects.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{Status, accept::meta_version, route::Query};
use crate::api::{convert, registry::Definition};

mod autoscaler;
mod cells;
mod custom;
mod pod;
mod text;

/// Recorded Table columns of kube-apiserver 1.33.
const COLUMNS: &str = include_str!("../../../data/columns.json");

/// What a row has beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    Metadata,
    Object,
    Nothing,
}

impl Include {
    /// What a query asks for.
    pub(super) fn of(query: &Query) -> Result<Self, Status> {
        match query.get("includeObject") {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("Object") => Ok(Self::Object),
            Some("None") => Ok(Self::Nothing),
            Some(other) => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// Columns by `GROUP/VERSION/RESOURCE`. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Columns(Arc<BTreeMap<String, Vec<Value>>>);

impl Columns {
    pub(crate) fn load() -> Self {
        let recorded: Value = serde_json::from_str(COLUMNS).expect("the recorded columns are JSON");
        let resources = recorded["resources"].as_object().cloned().unwrap_or_default();
        let read = |(key, columns): (String, Value)| (key, columns.as_array().cloned().unwrap_or_default());
        Self(Arc::new(resources.into_iter().map(read).collect()))
    }

    /// Stored objects as a `meta.k8s.io` Table, whose metadata is left to the caller; whether in its old version.
    pub(super) fn table(&self, definition: &Definition, objects: &[Arc<Value>], include: Include, old: bool) -> Value {
        let resource = &definition.resource;
        let columns = match self.0.get(&format!("{}/{}", resource.api_version(), resource.plural)) {
            Some(columns) => columns.clone(),
            None => custom::columns(self, definition),
        };
        let row = |object: &Arc<Value>| {
            let cells: Vec<Value> = columns.iter().map(|column| cells::cell(definition, column, object)).collect();
            let shown = match include {
                Include::Nothing => Value::Null,
                Include::Object => (*convert::to_served(definition, object)).clone(),
                Include::Metadata => json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": meta_version(old),
                    "metadata": object["metadata"],
                }),
            };
            let mut row = json!({ "cells": cells });
            if let Some(conditions) = pod::conditions(definition, object) {
                row["conditions"] = conditions;
            }
            row["object"] = shown;
            row
        };
        let rows: Vec<Value> = objects.iter().map(row).collect();
        // Resources without printed columns of their own have null for no rows.
        let plain = columns.get(1).is_some_and(|column| column["name"] == "Created At");
        let columns: Vec<Value> = columns
            .into_iter()
            .map(|mut column| {
                if let Some(members) = column.as_object_mut() {
                    members.shift_remove("jsonPath");
                }
                column
            })
            .collect();
        let rows = if rows.is_empty() && plain { Value::Null } else { json!(rows) };
        json!({
            "kind": "Table",
            "apiVersion": meta_version(old),
            "metadata": {},
            "columnDefinitions": columns,
            "rows": rows,
        })
    }

    /// What the column of a name says of itself, for resources that have no columns of their own.
    fn described(&self, name: &str) -> Value {
        let of_configmaps = self.0.get("v1/configmaps").into_iter().flatten();
        of_configmaps.into_iter().find(|column| column["name"] == name).map_or(json!(""), |c| c["description"].clone())
    }
}
