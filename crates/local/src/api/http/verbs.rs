//! What requests do: read, list, watch, create, update, patch, delete, and the subresources.

use std::sync::Arc;

use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    Answer, Server, Status, User,
    accept::{self, Shape},
    options, read, read_parsed,
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
    let known = server.api.registry.find(&route.group, &route.version, &route.resource);
    let known = known.filter(|found| found.resource.namespaced || route.namespace.is_empty());
    let definition = known.ok_or_else(|| {
        // Groups of custom resources, and those that nobody serves, are no paths at all.
        let groups = server.api.registry.groups();
        let builtin = groups.iter().find(|group| group.name == route.group);
        let custom = |version: &String| {
            server.api.registry.resources(&route.group, version).iter().any(|found| found.custom.is_some())
        };
        match builtin {
            Some(group) if !group.versions.iter().any(custom) => Status::no_such_path(),
            _ => Status::new(404, "", "404 page not found"),
        }
    })?;
    let target = Target { definition, namespace: route.namespace.clone(), name: route.name.clone() };
    if let Some(part) = ["/", "%"].into_iter().find(|part| route.name.contains(part)) {
        return Err(Status::bad_request(format!("invalid resource name {:?}: [may not contain '{part}']", route.name)));
    }
    if !route.subresource.is_empty() {
        return subresource(server, &target, route, query, request).await;
    }
    let verb = super::review::verb(request.method(), route, query);
    if !target.definition.verbs.iter().any(|served| served == verb) {
        return Err(Status::method_not_allowed());
    }
    let patch = if *request.method() == Method::PATCH { Some(patch_type(&request)?) } else { None };
    allowed(&target, request.method(), patch)?;
    let mut options = options::of_write(&request, query, user, patch)?;
    if route.resource == "bindings" && route.group.is_empty() {
        options.subresource = Some("binding".to_owned());
        return bind_named(server, &target, request, &options).await;
    }
    match (request.method().clone(), route.name.is_empty()) {
        (Method::GET, true) if query.flag("watch") || route.watch => watch(server, &target, query, &request),
        (Method::GET, true) => list(server, &target, query, &request),
        (Method::GET, false) if route.watch => watch(server, &target, query, &request),
        (Method::GET, false) => get(server, &target, query, &request),
        (Method::POST, true) => {
            let asked = accept(&request);
            let body = read_parsed(request).await?;
            options.duplicates = body.duplicates;
            let written = write::create(&server.api, &target, body.value, &options)?;
            respond(server, &target, StatusCode::CREATED, &written, &asked)
        }
        (Method::PUT, false) => {
            let asked = accept(&request);
            let body = read_parsed(request).await?;
            options.duplicates = body.duplicates;
            let written = write::update(&server.api, &target, &body.value, &options)?;
            let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
            respond(server, &target, code, &written, &asked)
        }
        (Method::PATCH, false) => {
            let kind = patch_type(&request)?;
            let asked = accept(&request);
            let body = read_patch(kind, request, &mut options).await?;
            let written = write::patch(&server.api, &target, kind, &body, &options)?;
            let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
            respond(server, &target, code, &written, &asked)
        }
        (Method::DELETE, false) => delete_one(server, &target, query, request).await,
        (Method::DELETE, true) => delete_many(server, &target, query, request).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// Binds the pod that a Binding names.
async fn bind_named(
    server: &Server,
    target: &Target,
    request: Request<Incoming>,
    options: &WriteOptions,
) -> Result<Answer, Status> {
    let body = read(request).await?;
    let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let definition = server.api.definition(&crate::api::resources::PODS)?;
    let pod = Target { definition, namespace: target.namespace.clone(), name };
    let node = body["target"]["name"].as_str().unwrap_or_default();
    admission::bind(&server.api, &pod, node, Some(&body["metadata"]), options)?;
    Ok(answer_json(StatusCode::CREATED, &success(201)))
}

/// A `Status` that says that all went well.
fn success(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code })
}

/// Refuses what the resource does not take.
fn allowed(target: &Target, method: &Method, patch: Option<PatchType>) -> Result<(), Status> {
    let verb = match (method.as_str(), target.name.is_empty()) {
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        ("POST", true) => "create",
        ("PUT", false) => "update",
        ("PATCH", false) => "patch",
        ("GET", true) => "list",
        ("GET", false) => "get",
        _ => return Err(Status::method_not_allowed()),
    };
    if patch == Some(PatchType::Strategic) && target.definition.custom.is_some() {
        let text = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
        return Err(Status::new(415, "UnsupportedMediaType", text));
    }
    let known = target.definition.verbs.iter().any(|known| known == verb);
    if known { Ok(()) } else { Err(Status::method_not_allowed()) }
}

fn unknown_patch() -> Status {
    Status::new(415, "UnsupportedMediaType", "415: Unsupported Media Type").with_details(crate::api::Details::default())
}

/// What a client accepts: the whole header.
pub(super) fn accept(request: &Request<Incoming>) -> String {
    let values = request.headers().get_all(header::ACCEPT).iter();
    values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
}

pub(super) fn patch_type(request: &Request<Incoming>) -> Result<PatchType, Status> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(PatchType::Json),
        "application/merge-patch+json" => Ok(PatchType::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
        "application/apply-patch+yaml" => Ok(PatchType::Apply),
        _ => Err(unknown_patch()),
    }
}

async fn read_patch(kind: PatchType, request: Request<Incoming>, options: &mut WriteOptions) -> Result<Value, Status> {
    let body = read_parsed(request).await?;
    if body.value.is_null() && kind != PatchType::Json {
        return Err(Status::bad_request("error decoding patch: unexpected end of JSON input"));
    }
    if kind == PatchType::Json && options.field_validation == FieldValidation::Strict {
        let known = ["op", "path", "from", "value"];
        for (index, operation) in body.value.as_array().into_iter().flatten().enumerate() {
            let mut members = operation.as_object().into_iter().flatten();
            if let Some((strange, _)) = members.find(|(key, _)| !known.contains(&key.as_str())) {
                let why = format!("strict decoding error: json patch unknown field \"[{index}].{strange}\"");
                return Err(Status::invalid_without_kind("patch", format!("Invalid value: \"\": {why}")));
            }
        }
    }
    options.duplicates = body.duplicates;
    Ok(body.value)
}

/// An object's metadata alone.
pub(super) fn metadata_of(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

/// A written object in the form that the client asked for.
fn respond(
    server: &Server,
    target: &Target,
    code: StatusCode,
    written: &Written,
    asked: &str,
) -> Result<Answer, Status> {
    let object = convert::to_served(&target.definition, &written.object);
    let form = accept::parse(asked)?;
    form.check(false)?;
    let answer = match form.shape {
        Shape::Table { old } => answer_json(code, &server.columns.table(&target.definition, &[object], "", old)),
        Shape::Metadata { .. } => answer_json(code, &metadata_of(&object)),
        Shape::Whole => answer_json(code, &object),
    };
    Ok(warn(warn(answer, &written.warnings), &deprecation(&target.definition)))
}

/// What a client of an old version is told.
fn deprecation(definition: &Definition) -> Vec<String> {
    match definition.table.as_str() {
        "/componentstatuses" => vec!["v1 ComponentStatus is deprecated in v1.19+".to_owned()],
        "/endpoints" => {
            vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()]
        }
        _ => {
            let Some(custom) = definition.custom.as_ref().filter(|custom| custom.version["deprecated"] == true) else {
                return Vec::new();
            };
            let resource = &definition.resource;
            let plain = format!("{}/{} {} is deprecated", resource.group, resource.version, resource.kind);
            vec![custom.version["deprecationWarning"].as_str().map_or(plain, ToOwned::to_owned)]
        }
    }
}

fn get(server: &Server, target: &Target, query: &Query, request: &Request<Incoming>) -> Result<Answer, Status> {
    let form = accept::parse(&accept(request))?;
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
    let form = accept::parse(&accept(request))?;
    form.check(true)?;
    options::check_list(query, false)?;
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
fn list_metadata(definition: &Definition, version: u64) -> Value {
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

fn watch(server: &Server, target: &Target, query: &Query, request: &Request<Incoming>) -> Result<Answer, Status> {
    let form = accept::parse(&accept(request))?;
    options::check_list(query, true)?;
    watching::answer(server, target, query, scope(target, query)?, form.shape)
}

async fn delete_options(query: &Query, request: Request<Incoming>) -> Result<DeleteOptions, Status> {
    let body = match read(request).await {
        Ok(body) => body,
        Err(status) if status.code == 400 => {
            return Err(Status::plain(format!("couldn't get version/kind; json parse error: {}", status.message)));
        }
        Err(status) => return Err(status),
    };
    if let Some(kind) = body["kind"].as_str().filter(|kind| *kind != "DeleteOptions" && !kind.is_empty()) {
        let version = body["apiVersion"].as_str().unwrap_or_default();
        return Err(Status::plain(format!("no kind \"{kind}\" is registered for version \"{version}\" in scheme")));
    }
    delete_options_of(query, &body)
}

fn delete_options_of(query: &Query, body: &Value) -> Result<DeleteOptions, Status> {
    let text = |key: &str| body[key].as_str().or_else(|| query.get(key)).map(ToOwned::to_owned);
    let asked = text("propagationPolicy");
    options::check_delete(query, !body["orphanDependents"].is_null(), asked.as_deref())?;
    let propagation = match asked.as_deref() {
        Some("Orphan") => Some(Propagation::Orphan),
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        _ => None,
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

/// Kinds whose deletion upstream answers with the object; for others it is a Status.
const ANSWERED: [&str; 7] = [
    "pods",
    "services",
    "serviceaccounts",
    "persistentvolumes",
    "persistentvolumeclaims",
    "resourcequotas",
    "podtemplates",
];

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
        // Upstream answers with the object itself for these, and with a Status for all else.
        Deleted::Gone(object) if resource.group.is_empty() && ANSWERED.contains(&&*resource.plural) => {
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
            Ok(_) => items.push(entry.value.clone()),
            Err(status) if status.is_not_found() => {}
            Err(status) => return Err(status),
        }
    }
    let bare = |object: Arc<Value>| {
        let served = convert::to_served(&target.definition, &object);
        let mut object = Arc::unwrap_or_clone(served);
        if let Some(members) = object.as_object_mut().filter(|_| target.definition.custom.is_none()) {
            members.shift_remove("kind");
            members.shift_remove("apiVersion");
        }
        object
    };
    let items: Vec<Value> = items.into_iter().map(bare).collect();
    let list = json!({
        "kind": target.definition.list_kind,
        "apiVersion": target.definition.resource.api_version(),
        "metadata": list_metadata(&target.definition, version),
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
    let verb = request.method().as_str().to_lowercase();
    let verb = match verb.as_str() {
        "put" => "update",
        "post" => "create",
        verb => verb,
    };
    let known = target.definition.subresource(name).is_some_and(|own| own.verbs.iter().any(|known| known == verb));
    if !known && !matches!(name, "log" | "portforward" | "exec" | "attach" | "proxy") {
        return Err(Status::method_not_allowed());
    }
    let user = User { name: String::new(), groups: Vec::new() };
    let patch = if *request.method() == Method::PATCH { Some(patch_type(&request)?) } else { None };
    let mut options = options::of_write(&request, query, &user, patch)?;
    options.subresource = Some(name.to_owned());
    match (name, request.method().clone()) {
        ("scale", _) => scale::answer(server, target, &options, request).await,
        ("log", Method::GET) => {
            let options = log_options(query)?;
            let pod = server.api.read(target)?;
            let containers = pod.value["spec"]["containers"].as_array().into_iter().flatten();
            let named = query.get("container");
            let known = named.is_none_or(|name| containers.into_iter().any(|one| one["name"] == name));
            if known && pod.value["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
                return Ok(no_content());
            }
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
            Ok(answer_json(StatusCode::CREATED, &success(201)))
        }
        ("eviction", Method::POST) => {
            let body = read(request).await?;
            let given = body["metadata"]["name"].as_str().unwrap_or_default();
            if !given.is_empty() && given != target.name {
                return Err(Status::bad_request("name in URL does not match name in Eviction object"));
            }
            server.api.evict(target, &delete_options_of(query, &body["deleteOptions"])?)?;
            Ok(answer_json(StatusCode::CREATED, &success(201)))
        }
        ("token", Method::POST) => token_request(server, target, &read(request).await?),
        ("exec" | "attach" | "proxy", _) => {
            let text = format!("{name} is not served by the embedded cluster");
            Err(Status::new(501, "NotImplemented", text))
        }
        (_, Method::GET) => get(server, target, query, &request),
        (_, Method::PUT) => {
            let body = read_parsed(request).await?;
            options.duplicates = body.duplicates;
            let written = write::update(&server.api, target, &body.value, &options)?;
            respond(server, target, StatusCode::OK, &written, "")
        }
        (_, Method::PATCH) => {
            let kind = patch_type(&request)?;
            let body = read_patch(kind, request, &mut options).await?;
            let written = write::patch(&server.api, target, kind, &body, &options)?;
            respond(server, target, StatusCode::OK, &written, "")
        }
        _ => Err(Status::method_not_allowed()),
    }
}

fn no_content() -> Answer {
    let mut answer = json_bytes(StatusCode::NO_CONTENT, Vec::new());
    answer.headers_mut().remove(header::CONTENT_TYPE);
    answer
}

/// A token for an account. It is one that this cluster does not take: pods here need none.
fn token_request(server: &Server, target: &Target, body: &Value) -> Result<Answer, Status> {
    let account = server.api.read(target)?;
    let seconds = body["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    if seconds < 600 {
        let message = format!("Invalid value: {seconds}: may not specify a duration less than 10 minutes");
        let cause =
            crate::api::Cause { reason: "FieldValueInvalid".into(), message, field: "spec.expirationSeconds".into() };
        let review = crate::api::Resource {
            group: "authentication.k8s.io".into(),
            version: "v1".into(),
            plural: "tokenrequests".into(),
            kind: "TokenRequest".into(),
            namespaced: true,
        };
        return Err(Status::invalid(&review, "", vec![cause]));
    }
    // Upstream's longest is 2^32 seconds.
    let expires = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds.min(1 << 32));
    let audiences = body["spec"]["audiences"].as_array().filter(|given| !given.is_empty());
    let answer = json!({
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": target.name,
            "namespace": target.namespace,
            "uid": account.value["metadata"]["uid"],
            "creationTimestamp": crate::api::meta::now(),
        },
        "spec": {
            "audiences": audiences.map_or_else(|| json!(["https://kubernetes.default.svc"]), |given| json!(given)),
            "expirationSeconds": seconds,
            "boundObjectRef": body["spec"].get("boundObjectRef"),
        },
        "status": {
            "token": uuid::Uuid::new_v4().to_string(),
            "expirationTimestamp": crate::api::meta::timestamp(expires),
        },
    });
    Ok(answer_json(StatusCode::CREATED, &answer))
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
