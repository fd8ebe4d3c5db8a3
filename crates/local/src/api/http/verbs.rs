//! What requests do: which verb goes where; create, update and patch.

use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;

use super::{
    Answer, Server, Status, User, deleting, options, read_parsed, reading,
    respond::{status, warn},
    route::{Query, Route},
    shaping::Shaper,
    subresources,
};
use crate::api::{
    registry::Definition,
    write::{self, PatchType, Target, Warnings, WriteOptions, Written},
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
    let definition = known.ok_or_else(|| unknown(server, &route.group))?;
    if definition.resource.namespaced && route.namespace.is_empty() {
        // Without a namespace there are only the objects of all.
        let all = route.name.is_empty() && request.method() == Method::GET;
        match definition.custom {
            _ if all || route.watch => {}
            Some(_) => return Err(Status::new(404, "", "404 page not found")),
            None if route.name.is_empty() => return Err(Status::method_not_allowed()),
            None => return Err(Status::no_such_path()),
        }
    }
    let target = Target { definition, namespace: route.namespace.clone(), name: route.name.clone() };
    let warnings = Warnings::default();
    warnings.extend(deprecation(&target.definition));
    let result = on_resource(server, user, route, query, request, &target, &warnings).await;
    let all = warnings.all();
    if all.is_empty() {
        return result;
    }
    // Refusals come with what was told before, too.
    Ok(warn(result.unwrap_or_else(|failure| status(&failure)), &all))
}

/// What is not served of a group. Groups of custom resources, and those that nobody serves, are no paths at all.
pub(super) fn unknown(server: &Server, group: &str) -> Status {
    let groups = server.api.registry.groups();
    let builtin = groups.iter().find(|known| known.name == group);
    let custom =
        |version: &String| server.api.registry.resources(group, version).iter().any(|found| found.custom.is_some());
    match builtin {
        Some(known) if !known.versions.iter().any(custom) => Status::no_such_path(),
        _ => Status::new(404, "", "404 page not found"),
    }
}

async fn on_resource(
    server: &Server,
    user: &User,
    route: &Route,
    query: &Query,
    request: Request<Incoming>,
    target: &Target,
    warnings: &Warnings,
) -> Result<Answer, Status> {
    if let Some(part) = ["/", "%"].into_iter().find(|part| route.name.contains(part)) {
        return Err(Status::bad_request(format!("invalid resource name {:?}: [may not contain '{part}']", route.name)));
    }
    if !route.subresource.is_empty() {
        return subresources::handle(server, target, route, query, request, warnings).await;
    }
    let verb = super::review::verb(request.method(), route, query);
    if !target.definition.verbs.iter().any(|served| served == verb) {
        let resource = &target.definition.resource;
        let custom = target.definition.custom.is_some();
        return Err(if custom { Status::not_supported(resource, verb) } else { Status::method_not_allowed() });
    }
    let patch = patch_type(&request)?;
    let mut options = options::of_write(&request, query, user, patch)?;
    options.warnings = warnings.clone();
    if route.resource == "bindings" && route.group.is_empty() {
        options.subresource = Some("binding".to_owned());
        return subresources::bind_named(server, target, request, &options).await;
    }
    match (request.method().clone(), route.name.is_empty()) {
        (Method::GET, true) if query.flag("watch") || route.watch => reading::watch(server, target, query, &request),
        (Method::GET, true) => reading::list(server, target, query, &request),
        (Method::GET, false) if route.watch => reading::watch(server, target, query, &request),
        (Method::GET, false) => reading::get(server, target, query, &request),
        (Method::POST, true) => {
            let shaper = Shaper::of(server, &target.definition, query, &request)?;
            let body = read_parsed(request).await?.or_object();
            options.duplicates = body.duplicates;
            let written = write::create(&server.api, target, body.value, &options)?;
            respond(&written, &shaper)
        }
        (Method::PUT | Method::PATCH, false) => change(server, target, query, request, patch, &mut options).await,
        (Method::DELETE, false) => deleting::one(server, target, query, request).await,
        (Method::DELETE, true) => deleting::many(server, target, query, request).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// Replaces or patches an object or its subresource.
pub(super) async fn change(
    server: &Server,
    target: &Target,
    query: &Query,
    request: Request<Incoming>,
    patch: Option<PatchType>,
    options: &mut WriteOptions,
) -> Result<Answer, Status> {
    let shaper = Shaper::of(server, &target.definition, query, &request)?;
    let mut body = read_parsed(request).await?;
    if patch.is_some() && !body.given {
        return Err(Status::bad_request("error decoding patch: unexpected end of JSON input"));
    }
    if matches!(patch, None | Some(PatchType::Strategic)) {
        body = body.or_object();
    }
    options.duplicates = body.duplicates;
    let written = match patch {
        None => write::update(&server.api, target, &body.value, options)?,
        Some(kind) => {
            if body.value.is_null() && kind != PatchType::Json {
                return Err(Status::bad_request("error decoding patch: Invalid JSON Patch"));
            }
            write::patch(&server.api, target, kind, &body.value, options)?
        }
    };
    respond(&written, &shaper)
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

/// A written object in the form that the client asked for.
fn respond(written: &Written, shaper: &Shaper) -> Result<Answer, Status> {
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    shaper.object(code, &written.object)
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
