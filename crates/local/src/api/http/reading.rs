//! Reads: one object, a list in pieces, a watch; in the form that the client asked for.

use std::sync::Arc;

use http::Request;
use serde_json::{Value, json};

use super::{Answer, Server, Status, options::ListOptions, route::Query, shaping::Shaper, watching};
use crate::api::{
    status::{Cause, Details},
    store::{Entry, Key},
    write::Target,
};

/// One object.
pub(super) fn get<T>(server: &Server, target: &Target, query: &Query, request: &Request<T>) -> Result<Answer, Status> {
    let shaper = Shaper::of(server, &target.definition, query, request)?;
    not_future(server, version_of(query)?)?;
    shaper.entry(&server.api.read(target)?)
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
    let wrong = || Status::bad_request("invalid continue token: continue key is not valid: the token cannot be read");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let part = |index: usize| value["start"][index].as_str().map(ToOwned::to_owned).ok_or_else(wrong);
    Ok((value["rv"].as_u64().ok_or_else(wrong)?, (part(0)?, part(1)?)))
}

/// A list, or a piece of one.
pub(super) fn list<T>(server: &Server, target: &Target, query: &Query, request: &Request<T>) -> Result<Answer, Status> {
    let options = ListOptions::read(query, false)?;
    let shaper = Shaper::of(server, &target.definition, query, request)?;
    let (found, metadata) = select(server, target, query, options, &shaper)?;
    shaper.list(&found, metadata)
}

/// What a list's options select, and the list's metadata.
pub(super) fn select(
    server: &Server,
    target: &Target,
    query: &Query,
    options: ListOptions,
    shaper: &Shaper,
) -> Result<(Vec<Arc<Entry>>, Value), Status> {
    let limit = options.limit;
    let scope = options.scope(target)?;
    let store = &server.api.store;
    let values = |entries: Vec<(Key, Arc<Entry>)>| entries.into_iter().map(|(_, entry)| entry).collect();
    let (entries, version): (Vec<Arc<Entry>>, u64) = if let Some(token) = query.get("continue") {
        let (version, after) = read_continue(token)?;
        let at = store.list_at(&scope.table, &scope.namespace, version).map_err(|_| {
            Status::expired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.")
        })?;
        (values(at.into_iter().filter(|(key, _)| *key > after).collect()), version)
    } else {
        let matching = query.get("resourceVersionMatch");
        let asked = version_of(query)
            .map_err(|status| Status::bad_request(format!("invalid resource version: {}", status.message)))?;
        match asked {
            // With a limit and a version, upstream takes the version as exact.
            Some(version) if matching == Some("Exact") || (matching.is_none() && limit > 0) => {
                if version > store.version() {
                    return Err(Status::plain("etcdserver: mvcc: required revision is a future revision"));
                }
                let at = store.list_at(&scope.table, &scope.namespace, version);
                (values(at.map_err(|compacted| too_old(version, compacted.oldest))?), version)
            }
            asked => {
                not_future(server, asked)?;
                store.list(&scope.table, &scope.namespace)
            }
        }
    };
    let mut found: Vec<Arc<Entry>> = entries.into_iter().filter(|entry| scope.matches(&entry.value)).collect();
    let mut metadata = shaper.list_metadata(version);
    if limit > 0 && found.len() > limit {
        let plain = scope.labels.is_empty() && scope.fields.is_empty();
        if plain {
            metadata["remainingItemCount"] = json!(found.len() - limit);
        }
        metadata["continue"] = json!(continue_token(version, &found[limit - 1]));
        found.truncate(limit);
    }
    Ok((found, metadata))
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

/// Refuses a version that is yet to come: whoever asks for it took it from elsewhere.
fn not_future(server: &Server, version: Option<u64>) -> Result<(), Status> {
    let current = server.api.store.version();
    let Some(version) = version.filter(|version| *version > current) else { return Ok(()) };
    let text = format!("Timeout: Too large resource version: {version}, current: {current}");
    let cause = Cause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        field: String::new(),
    };
    let details = Details { causes: vec![cause], retry_after_seconds: Some(1), ..Details::default() };
    Err(Status::new(504, "Timeout", text).with_details(details))
}

pub(super) fn too_old(version: u64, oldest: u64) -> Status {
    Status::expired(format!("too old resource version: {version} ({oldest})"))
}

/// A stream of changes.
pub(super) fn watch<T>(
    server: &Server,
    target: &Target,
    query: &Query,
    request: &Request<T>,
) -> Result<Answer, Status> {
    let options = ListOptions::read(query, true)?;
    let shaper = Shaper::of(server, &target.definition, query, request)?;
    let seconds = options.seconds;
    let scope = options.scope(target)?;
    watching::answer(server, target, query, scope, seconds, shaper.for_stream()?)
}
