//! What requests do: which verb goes where; create, update and patch.

use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::Value;

use super::{
    Answer, Server, Status, User,
    accept::{self, Shape},
    deleting, options, read_parsed,
    reading::{self, metadata_of},
    respond::{json as answer_json, status, warn},
    route::{Query, Route},
    subresources,
};
use crate::api::{
    convert,
    registry::Definition,
    write::{self, FieldValidation, PatchType, Target, WriteOptions, Written},
};

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
    let warnings = deprecation(&definition);
    let target = Target { definition, namespace: route.namespace.clone(), name: route.name.clone() };
    match on_target(server, user, &target, route, query, request).await {
        // Who is refused is told too.
        Err(failure) if !warnings.is_empty() => Ok(warn(status(&failure), &warnings)),
        answered => answered,
    }
}

async fn on_target(
    server: &Server,
    user: &User,
    target: &Target,
    route: &Route,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    if let Some(part) = ["/", "%"].into_iter().find(|part| route.name.contains(part)) {
        return Err(Status::bad_request(format!("invalid resource name {:?}: [may not contain '{part}']", route.name)));
    }
    if target.definition.resource.namespaced && route.namespace.is_empty() {
        if !route.name.is_empty() {
            return Err(Status::no_such_path());
        }
        if *request.method() == Method::POST && !["authorization.k8s.io"].contains(&route.group.as_str()) {
            return Err(Status::method_not_allowed());
        }
    }
    if !route.subresource.is_empty() {
        return subresources::handle(server, target, route, query, request).await;
    }
    let verb = super::review::verb(request.method(), route, query);
    if !target.definition.verbs.iter().any(|served| served == verb) {
        return Err(Status::method_not_allowed());
    }
    let patch = patch_type(&request)?;
    let mut options = options::of_write(&request, query, user, patch)?;
    if route.resource == "bindings" && route.group.is_empty() {
        options.subresource = Some("binding".to_owned());
        return subresources::bind_named(server, target, request, &options).await;
    }
    let asked = accept::header(&request);
    match (request.method().clone(), route.name.is_empty()) {
        (Method::GET, true) if query.flag("watch") || route.watch => reading::watch(server, target, query, &asked),
        (Method::GET, true) => reading::list(server, target, query, &asked),
        (Method::GET, false) if route.watch => reading::watch(server, target, query, &asked),
        (Method::GET, false) => reading::get(server, target, query, &asked),
        (Method::POST, true) => {
            let body = read_parsed(request).await?;
            options.duplicates = body.duplicates;
            let written = write::create(&server.api, target, body.value, &options)?;
            respond(server, target, &written, &asked)
        }
        (Method::PUT | Method::PATCH, false) => change(server, target, request, patch, &mut options, &asked).await,
        (Method::DELETE, false) => deleting::one(server, target, query, request).await,
        (Method::DELETE, true) => deleting::many(server, target, query, request).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// Replaces or patches an object or its subresource.
pub(super) async fn change(
    server: &Server,
    target: &Target,
    request: Request<Incoming>,
    patch: Option<PatchType>,
    options: &mut WriteOptions,
    asked: &str,
) -> Result<Answer, Status> {
    let body = read_parsed(request).await?;
    options.duplicates = body.duplicates;
    let written = match patch {
        None => write::update(&server.api, target, &body.value, options)?,
        Some(kind) => {
            check_patch(kind, &body.value, options)?;
            write::patch(&server.api, target, kind, &body.value, options)?
        }
    };
    respond(server, target, &written, asked)
}

/// Which patch a request is, by its media type; none when it is no patch.
pub(super) fn patch_type(request: &Request<Incoming>) -> Result<Option<PatchType>, Status> {
    if *request.method() != Method::PATCH {
        return Ok(None);
    }
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match media.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(Some(PatchType::Json)),
        "application/merge-patch+json" => Ok(Some(PatchType::Merge)),
        "application/strategic-merge-patch+json" => Ok(Some(PatchType::Strategic)),
        "application/apply-patch+yaml" => Ok(Some(PatchType::Apply)),
        _ => {
            let status = Status::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
            Err(status.with_details(crate::api::Details::default()))
        }
    }
}

fn check_patch(kind: PatchType, body: &Value, options: &WriteOptions) -> Result<(), Status> {
    if body.is_null() && kind != PatchType::Json {
        return Err(Status::bad_request("error decoding patch: unexpected end of JSON input"));
    }
    if kind == PatchType::Json && options.field_validation == FieldValidation::Strict {
        let known = ["op", "path", "from", "value"];
        for (index, operation) in body.as_array().into_iter().flatten().enumerate() {
            let mut members = operation.as_object().into_iter().flatten();
            if let Some((strange, _)) = members.find(|(key, _)| !known.contains(&key.as_str())) {
                let why = format!("strict decoding error: json patch unknown field \"[{index}].{strange}\"");
                return Err(Status::invalid_without_kind("patch", format!("Invalid value: \"\": {why}")));
            }
        }
    }
    Ok(())
}

/// A written object in the form that the client asked for.
fn respond(server: &Server, target: &Target, written: &Written, asked: &str) -> Result<Answer, Status> {
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
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
pub(super) fn deprecation(definition: &Definition) -> Vec<String> {
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
