//! Reads: one object, a list in pieces, a watch; in the form that the client asked for.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Answer, Server, Status,
    accept::{self, Shape},
    options,
    respond::{json as answer_json, json_bytes, warn},
    route::Query,
    verbs::deprecation,
    watching,
};
use crate::api::{
    FieldSelector, LabelSelector, convert, registry::Definition, selectors::builtin_fields, store::Entry, watch::Scope,
    write::Target,
};

/// An object's metadata alone.
pub(super) fn metadata_of(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

/// One object.
pub(super) fn get(server: &Server, target: &Target, query: &Query, asked: &str) -> Result<Answer, Status> {
    let form = accept::parse(asked)?;
    version_of(query)?;
    let entry = server.api.read(target)?;
    form.check(false)?;
    let served = || convert::to_served(&target.definition, &entry.value);
    let answer = match form.shape {
        Shape::Table { old } => {
            answer_json(StatusCode::OK, &server.columns.table(&target.definition, &[served()], "", old))
        }
        Shape::Metadata { .. } => answer_json(StatusCode::OK, &metadata_of(&served())),
        Shape::Whole => json_bytes(StatusCode::OK, served_bytes(&target.definition, &entry)),
    };
    Ok(warn(answer, &deprecation(&target.definition)))
}

/// The text of an object in the asked-for version; the stored text where that is the one.
pub(super) fn served_bytes(definition: &Definition, entry: &Arc<Entry>) -> bytes::Bytes {
    let served = convert::to_served(definition, &entry.value);
    if Arc::ptr_eq(&served, &entry.value) { entry.json.clone() } else { served.to_string().into() }
}

/// What a query selects.
pub(super) fn scope(target: &Target, query: &Query) -> Result<Scope, Status> {
    let definition = &target.definition;
    let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?;
    let supported = |field: &str| {
        matches!(field, "metadata.name" | "metadata.namespace")
            || builtin_fields(&definition.table).contains(&field)
            || custom_fields(definition).any(|known| known == field)
    };
    let fields = match &target.name {
        name if name.is_empty() => FieldSelector::parse(query.get("fieldSelector").unwrap_or_default(), &supported)?,
        name => FieldSelector::parse(&format!("metadata.name={name}"), &supported)?,
    };
    Ok(Scope { table: definition.table.clone(), namespace: target.namespace.clone(), labels, fields })
}

fn custom_fields(definition: &Definition) -> impl Iterator<Item = &str> {
    let custom = definition.custom.as_ref().and_then(|custom| custom.version["selectableFields"].as_array());
    custom.into_iter().flatten().filter_map(|field| field["jsonPath"].as_str()).map(|path| path.trim_start_matches('.'))
}

/// Where a limited list goes on: `VERSION:NAMESPACE/NAME`, the last object that was given.
fn continue_token(version: u64, entry: &Entry) -> String {
    use base64::Engine as _;
    let metadata = &entry.value["metadata"];
    let token = json!({
        "v": "meta.k8s.io/v1",
        "rv": version,
        "start": [metadata["namespace"].as_str().unwrap_or_default(), metadata["name"]],
    });
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_continue(token: &str) -> Result<(u64, (String, String)), Status> {
    use base64::Engine as _;
    let wrong = || Status::bad_request("continue key is not valid: the token cannot be read");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let part = |index: usize| value["start"][index].as_str().map(ToOwned::to_owned).ok_or_else(wrong);
    Ok((value["rv"].as_u64().ok_or_else(wrong)?, (part(0)?, part(1)?)))
}

/// A list, or a piece of one.
pub(super) fn list(server: &Server, target: &Target, query: &Query, asked: &str) -> Result<Answer, Status> {
    let form = accept::parse(asked)?;
    form.check(true)?;
    options::check_list(query, false)?;
    let scope = scope(target, query)?;
    let limit: usize = match query.get("limit") {
        None => 0,
        // Less than nothing is no limit.
        Some(text) if text.strip_prefix('-').is_some_and(|text| text.parse::<i64>().is_ok()) => 0,
        Some(text) => text.parse().map_err(|_| Status::bad_request(format!("limit: Invalid value: \"{text}\"")))?,
    };
    if let Some(seconds) = query.get("timeoutSeconds").filter(|text| text.parse::<i64>().is_err()) {
        return Err(Status::bad_request(format!("strconv.ParseInt: parsing {seconds:?}: invalid syntax")));
    }
    let wanted = version_of(query)
        .map_err(|error| Status::bad_request(format!("invalid resource version: {}", error.message)))?;
    let store = &server.api.store;
    let (entries, version) = match query.get("continue") {
        Some(token) => {
            let (version, after) = read_continue(token)?;
            let at = store.list_at(&scope.table, &scope.namespace, version).map_err(|_| {
                Status::expired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.")
            })?;
            let rest = at.into_iter().filter(|(key, _)| *key > after).map(|(_, entry)| entry);
            (rest.collect::<Vec<_>>(), version)
        }
        None => match (query.get("resourceVersionMatch"), wanted) {
            // With a limit and a version, upstream takes the version as exact.
            (matching, Some(version)) if matching == Some("Exact") || (matching.is_none() && limit > 0) => {
                let at = store.list_at(&scope.table, &scope.namespace, version);
                let at = at.map_err(|compacted| too_old(version, compacted.oldest))?;
                (at.into_iter().map(|(_, entry)| entry).collect(), version)
            }
            _ => store.list(&scope.table, &scope.namespace),
        },
    };
    let mut found: Vec<Arc<Entry>> = entries.into_iter().filter(|entry| scope.matches(&entry.value)).collect();
    let mut metadata = list_metadata(&target.definition, version);
    if limit > 0 && found.len() > limit {
        let plain = scope.labels.is_empty() && scope.fields.is_empty();
        if plain {
            metadata["remainingItemCount"] = json!(found.len() - limit);
        }
        metadata["continue"] = json!(continue_token(version, &found[limit - 1]));
        found.truncate(limit);
    }
    let definition = &target.definition;
    let served = || found.iter().map(|e| convert::to_served(definition, &e.value));
    let answer = match form.shape {
        Shape::Table { old } => {
            let objects: Vec<Arc<Value>> = served().collect();
            let include = query.get("includeObject").unwrap_or_default();
            let mut table = server.columns.table(definition, &objects, include, old);
            table["metadata"] = metadata;
            answer_json(StatusCode::OK, &table)
        }
        Shape::Metadata { .. } => {
            let items: Vec<Value> = served().map(|object| metadata_of(&object)).collect();
            let list = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items,
            });
            answer_json(StatusCode::OK, &list)
        }
        Shape::Whole => json_bytes(StatusCode::OK, list_text(definition, &found, &metadata)),
    };
    Ok(warn(answer, &deprecation(definition)))
}

/// A list's own metadata; those of custom resources always say that nothing is left.
pub(super) fn list_metadata(definition: &Definition, version: u64) -> Value {
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if definition.custom.is_some() {
        metadata["continue"] = json!("");
    }
    metadata
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

/// The version of a query; `0` and none mean any.
pub(super) fn version_of(query: &Query) -> Result<Option<u64>, Status> {
    match query.get("resourceVersion") {
        None | Some("0") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Status::plain(format!(
                "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
            ))
        }),
    }
}

pub(super) fn too_old(version: u64, oldest: u64) -> Status {
    Status::expired(format!("too old resource version: {version} ({oldest})"))
}

/// A stream of changes.
pub(super) fn watch(server: &Server, target: &Target, query: &Query, asked: &str) -> Result<Answer, Status> {
    let form = accept::parse(asked)?;
    options::check_list(query, true)?;
    watching::answer(server, target, query, scope(target, query)?, form.shape)
}
