//! What requests do: read, list, watch, create, update, patch, delete, and the subresources.

use std::sync::Arc;

use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    Answer, Server, Status, User, read,
    respond::{json as answer_json, json_bytes, stream as stream_answer, warn},
    route::{Query, Route},
    scale, watching,
};
use crate::api::{
    FieldSelector, LabelSelector, admission, convert,
    registry::Definition,
    selectors::builtin_fields,
    store::Entry,
    watch::Scope,
    write::{self, DeleteOptions, Deleted, FieldValidation, PatchType, Propagation, Target, WriteOptions, Written},
};
use crate::runtime::logs::LogOptions;

/// Namespaces that every cluster has.
/// <https://github.com/kubernetes/kubernetes/tree/v1.33.0/staging/src/k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle>
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Handles a request on a resource.
pub(super) async fn handle(
    server: &Server,
    user: &User,
    route: &Route,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let definition =
        server.api.registry.find(&route.group, &route.version, &route.resource).ok_or_else(Status::no_such_path)?;
    if !definition.resource.namespaced && !route.namespace.is_empty() {
        return Err(Status::no_such_path());
    }
    let target = Target { definition, namespace: route.namespace.clone(), name: route.name.clone() };
    if !route.subresource.is_empty() {
        return subresource(server, &target, route, query, request).await;
    }
    let verb = super::review::verb(request.method(), route, query);
    if !target.definition.verbs.iter().any(|served| served == verb) {
        return Err(Status::method_not_allowed());
    }
    let options = options(&request, query, user)?;
    match (request.method().clone(), route.name.is_empty()) {
        (Method::GET, _) if query.flag("watch") || route.watch => watch(server, &target, query, &request),
        (Method::GET, true) => list(server, &target, query, &request),
        (Method::GET, false) => get(server, &target, &request),
        (Method::POST, true) => {
            let asked = accept(&request);
            let object = read(request).await?;
            let written = write::create(&server.api, &target, object, &options)?;
            Ok(respond(server, &target, StatusCode::CREATED, &written, &asked))
        }
        (Method::PUT, false) => {
            let asked = accept(&request);
            let object = read(request).await?;
            let written = write::update(&server.api, &target, &object, &options)?;
            Ok(respond(server, &target, StatusCode::OK, &written, &asked))
        }
        (Method::PATCH, false) => {
            let kind = patch_type(&request)?;
            if kind == PatchType::Apply && query.get("fieldManager").is_none() {
                return Err(Status::bad_request(
                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
                ));
            }
            let asked = accept(&request);
            let body = read_patch(kind, request).await?;
            let written = write::patch(&server.api, &target, kind, &body, &options)?;
            let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
            Ok(respond(server, &target, code, &written, &asked))
        }
        (Method::DELETE, false) => delete_one(server, &target, query, request).await,
        (Method::DELETE, true) => delete_many(server, &target, query, request).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// What a client accepts: the whole header.
pub(super) fn accept(request: &Request<Incoming>) -> String {
    let values = request.headers().get_all(header::ACCEPT).iter();
    values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
}

/// Whether the client would rather have a Table, as kubectl does.
fn wants_table(accept: &str) -> bool {
    accept.split(',').next().is_some_and(|first| first.contains("as=Table"))
}

pub(super) fn options(request: &Request<Incoming>, query: &Query, user: &User) -> Result<WriteOptions, Status> {
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let default = agent.split('/').next().unwrap_or_default();
    let manager = query.get("fieldManager").unwrap_or(if default.is_empty() { &user.name } else { default });
    let mut dry_run = false;
    for value in query.all("dryRun") {
        if value != "All" {
            let text = format!("dryRun: Unsupported value: \"{value}\": supported values: \"All\"");
            return Err(Status::bad_request(text));
        }
        dry_run = true;
    }
    let field_validation = match query.get("fieldValidation") {
        None | Some("Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            let text = format!(
                "fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \"Strict\", \"Warn\""
            );
            return Err(Status::bad_request(text));
        }
    };
    let force = query.flag("force");
    Ok(WriteOptions { manager: manager.to_owned(), dry_run, field_validation, force, ..WriteOptions::default() })
}

pub(super) fn patch_type(request: &Request<Incoming>) -> Result<PatchType, Status> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(PatchType::Json),
        "application/merge-patch+json" => Ok(PatchType::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
        "application/apply-patch+yaml" => Ok(PatchType::Apply),
        _ => {
            let text = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml, application/apply-patch+cbor";
            Err(Status::new(415, "UnsupportedMediaType", text))
        }
    }
}

async fn read_patch(kind: PatchType, request: Request<Incoming>) -> Result<Value, Status> {
    let body = read(request).await?;
    if body.is_null() && kind != PatchType::Json {
        return Err(Status::bad_request("error decoding patch: unexpected end of JSON input"));
    }
    Ok(body)
}

/// A written object, or the Table row of it.
fn respond(server: &Server, target: &Target, code: StatusCode, written: &Written, accept: &str) -> Answer {
    let object = convert::to_served(&target.definition, &written.object);
    let answer = if wants_table(accept) {
        answer_json(code, &server.columns.table(&target.definition, &[object], "", accept))
    } else {
        answer_json(code, &object)
    };
    warn(answer, &written.warnings)
}

fn get(server: &Server, target: &Target, request: &Request<Incoming>) -> Result<Answer, Status> {
    let entry = server.api.read(target)?;
    let accept = accept(request);
    if wants_table(&accept) {
        let object = convert::to_served(&target.definition, &entry.value);
        return Ok(answer_json(StatusCode::OK, &server.columns.table(&target.definition, &[object], "", &accept)));
    }
    Ok(json_bytes(StatusCode::OK, served_bytes(&target.definition, &entry)))
}

/// The text of an object in the asked-for version; the stored text where that is the one.
pub(super) fn served_bytes(definition: &Definition, entry: &Arc<Entry>) -> bytes::Bytes {
    let served = convert::to_served(definition, &entry.value);
    if Arc::ptr_eq(&served, &entry.value) { entry.json.clone() } else { served.to_string().into() }
}

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

fn list(server: &Server, target: &Target, query: &Query, request: &Request<Incoming>) -> Result<Answer, Status> {
    let scope = scope(target, query)?;
    let limit: usize = match query.get("limit") {
        None => 0,
        Some(text) => text.parse().map_err(|_| Status::bad_request(format!("limit: Invalid value: \"{text}\"")))?,
    };
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
        None => match (query.get("resourceVersionMatch"), version_of(query)?) {
            (Some("Exact"), Some(version)) => {
                let at = store.list_at(&scope.table, &scope.namespace, version);
                let at = at.map_err(|compacted| too_old(version, compacted.oldest))?;
                (at.into_iter().map(|(_, entry)| entry).collect(), version)
            }
            _ => store.list(&scope.table, &scope.namespace),
        },
    };
    let mut found: Vec<Arc<Entry>> = entries.into_iter().filter(|entry| scope.matches(&entry.value)).collect();
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if limit > 0 && found.len() > limit {
        let plain = scope.labels.is_empty() && scope.fields.is_empty();
        if plain {
            metadata["remainingItemCount"] = json!(found.len() - limit);
        }
        metadata["continue"] = json!(continue_token(version, &found[limit - 1]));
        found.truncate(limit);
    }
    let accept = accept(request);
    let definition = &target.definition;
    if wants_table(&accept) {
        let objects: Vec<Arc<Value>> = found.iter().map(|e| convert::to_served(definition, &e.value)).collect();
        let mut table =
            server.columns.table(definition, &objects, query.get("includeObject").unwrap_or_default(), &accept);
        table["metadata"] = metadata;
        return Ok(answer_json(StatusCode::OK, &table));
    }
    Ok(json_bytes(StatusCode::OK, list_text(definition, &found, &metadata)))
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
            Status::bad_request(format!(
                "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
            ))
        }),
    }
}

pub(super) fn too_old(version: u64, oldest: u64) -> Status {
    Status::expired(format!("too old resource version: {version} ({oldest})"))
}

fn watch(server: &Server, target: &Target, query: &Query, request: &Request<Incoming>) -> Result<Answer, Status> {
    let as_table = wants_table(&accept(request)).then(|| server.columns.clone());
    watching::answer(server, target, query, scope(target, query)?, as_table)
}

async fn delete_options(query: &Query, request: Request<Incoming>) -> Result<DeleteOptions, Status> {
    let body = read(request).await?;
    let text = |key: &str| body[key].as_str().or_else(|| query.get(key)).map(ToOwned::to_owned);
    let propagation = match text("propagationPolicy").as_deref() {
        None => None,
        Some("Orphan") => Some(Propagation::Orphan),
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some(other) => {
            let text = format!(
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"{other}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
            );
            return Err(Status::new(422, "Invalid", text));
        }
    };
    let grace = body["gracePeriodSeconds"].as_i64();
    Ok(DeleteOptions {
        grace_period_seconds: grace.or_else(|| query.get("gracePeriodSeconds").and_then(|text| text.parse().ok())),
        uid: body["preconditions"]["uid"].as_str().map(ToOwned::to_owned),
        resource_version: body["preconditions"]["resourceVersion"].as_str().map(ToOwned::to_owned),
        propagation: propagation.or((body["orphanDependents"] == true).then_some(Propagation::Orphan)),
        dry_run: query.get("dryRun").is_some() || body["dryRun"].as_array().is_some_and(|list| !list.is_empty()),
    })
}

async fn delete_one(
    server: &Server,
    target: &Target,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let options = delete_options(query, request).await?;
    let resource = &target.definition.resource;
    if target.definition.table == "/namespaces" && IMMORTAL.contains(&target.name.as_str()) {
        return Err(Status::forbidden(resource, &target.name, "this namespace may not be deleted"));
    }
    match write::delete(&server.api, target, &options)? {
        Deleted::Marked(object) => Ok(answer_json(StatusCode::OK, &convert::to_served(&target.definition, &object))),
        // Upstream answers with the pod or service itself, and with a Status for all else.
        Deleted::Gone(object) if resource.group.is_empty() && matches!(&*resource.plural, "pods" | "services") => {
            Ok(answer_json(StatusCode::OK, &convert::to_served(&target.definition, &object)))
        }
        Deleted::Gone(object) => {
            let mut details = json!({ "name": target.name });
            if !resource.group.is_empty() {
                details["group"] = json!(resource.group);
            }
            details["kind"] = json!(resource.plural);
            details["uid"] = object["metadata"]["uid"].clone();
            let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
            Ok(answer_json(StatusCode::OK, &status))
        }
    }
}

async fn delete_many(
    server: &Server,
    target: &Target,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let scope = scope(target, query)?;
    let options = delete_options(query, request).await?;
    let (entries, version) = server.api.store.list(&scope.table, &scope.namespace);
    let mut items = Vec::new();
    for entry in entries.iter().filter(|entry| scope.matches(&entry.value)) {
        let metadata = &entry.value["metadata"];
        let one = Target {
            definition: Arc::clone(&target.definition),
            namespace: metadata["namespace"].as_str().unwrap_or_default().to_owned(),
            name: metadata["name"].as_str().unwrap_or_default().to_owned(),
        };
        match write::delete(&server.api, &one, &options) {
            Ok(Deleted::Gone(object) | Deleted::Marked(object)) => items.push(object),
            Err(status) if status.is_not_found() => {}
            Err(status) => return Err(status),
        }
    }
    let list = json!({
        "kind": target.definition.list_kind,
        "apiVersion": target.definition.resource.api_version(),
        "metadata": { "resourceVersion": version.to_string() },
        "items": items,
    });
    Ok(answer_json(StatusCode::OK, &list))
}

async fn subresource(
    server: &Server,
    target: &Target,
    route: &Route,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let name = route.subresource.as_str();
    if target.definition.subresource(name).is_none() {
        return Err(Status::no_such_path());
    }
    let user = User { name: String::new(), groups: Vec::new() };
    let mut options = options(&request, query, &user)?;
    options.subresource = Some(name.to_owned());
    match (name, request.method().clone()) {
        ("scale", _) => scale::answer(server, target, &options, request).await,
        ("log", Method::GET) => {
            let options = log_options(query)?;
            let pod = server.api.read(target)?;
            let stream = server.backend.log(&pod.value, query.get("container"), options)?;
            Ok(stream_answer("text/plain", stream))
        }
        ("portforward", _) => {
            let pod = Arc::clone(&server.api.read(target)?.value);
            server.backend.port_forward(pod, request).await
        }
        ("binding", Method::POST) => {
            let body = read(request).await?;
            let node = body["target"]["name"].as_str().unwrap_or_default();
            admission::bind(
                &server.api,
                target,
                node,
                body["metadata"].as_object().map(|_| &body["metadata"]),
                &options,
            )?;
            let status =
                json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
            Ok(answer_json(StatusCode::CREATED, &status))
        }
        ("eviction", Method::POST) => {
            let body = read(request).await?;
            server.api.evict(target, &body)?;
            let status =
                json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
            Ok(answer_json(StatusCode::CREATED, &status))
        }
        ("exec" | "attach" | "proxy", _) => {
            let text = format!("{name} is not served by the embedded cluster");
            Err(Status::new(501, "NotImplemented", text))
        }
        (_, Method::GET) => get(server, target, &request),
        (_, Method::PUT) => {
            let object = read(request).await?;
            let written = write::update(&server.api, target, &object, &options)?;
            Ok(respond(server, target, StatusCode::OK, &written, ""))
        }
        (_, Method::PATCH) => {
            let kind = patch_type(&request)?;
            let body = read_patch(kind, request).await?;
            let written = write::patch(&server.api, target, kind, &body, &options)?;
            Ok(respond(server, target, StatusCode::OK, &written, ""))
        }
        _ => Err(Status::method_not_allowed()),
    }
}

/// `PodLogOptions` as a query.
fn log_options(query: &Query) -> Result<LogOptions, Status> {
    let number = |key: &str| {
        let read = |text: &str| {
            text.parse::<u32>()
                .map_err(|_| Status::bad_request(format!("invalid {key} {text:?}: a number of at least 0 is wanted")))
        };
        query.get(key).map(read).transpose()
    };
    let since = match (number("sinceSeconds")?, query.get("sinceTime")) {
        (Some(seconds), _) => Some(chrono::Utc::now() - chrono::TimeDelta::seconds(seconds.into())),
        (None, Some(time)) => {
            let read = chrono::DateTime::parse_from_rfc3339(time);
            Some(read.map_err(|error| Status::bad_request(format!("invalid sinceTime {time:?}: {error}")))?.to_utc())
        }
        (None, None) => None,
    };
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: number("tailLines")?.map(|lines| lines as usize),
        since,
        limit_bytes: number("limitBytes")?.map(u64::from),
    })
}
