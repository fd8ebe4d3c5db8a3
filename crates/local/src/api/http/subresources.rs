//! Subresources: status, scale, logs, forwarded ports, bindings, evictions, tokens.

use std::sync::Arc;

use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    Answer, Server, Status, User, deleting, options, read, reading,
    respond::{json as answer_json, json_bytes, stream as stream_answer},
    route::{Query, Route},
    scale,
    verbs::{change, patch_type},
};
use crate::api::{
    admission,
    write::{Target, Warnings, WriteOptions},
};
use crate::runtime::logs::LogOptions;

/// Handles a request on a subresource.
pub(super) async fn handle(
    server: &Server,
    target: &Target,
    route: &Route,
    query: &Query,
    request: Request<Incoming>,
    warnings: &Warnings,
) -> Result<Answer, Status> {
    let name = route.subresource.as_str();
    let custom = target.definition.custom.is_some();
    if target.definition.subresource(name).is_none() {
        return Err(if custom { target.not_found() } else { Status::no_such_path() });
    }
    let verb = request.method().as_str().to_lowercase();
    let verb = match verb.as_str() {
        "put" => "update",
        "post" => "create",
        verb => verb,
    };
    let known = target.definition.subresource(name).is_some_and(|own| own.verbs.iter().any(|known| known == verb));
    if !known && !matches!(name, "log" | "portforward" | "exec" | "attach" | "proxy") {
        let resource = &target.definition.resource;
        return Err(if custom { Status::not_supported(resource, verb) } else { Status::method_not_allowed() });
    }
    let user = User { name: String::new(), groups: Vec::new() };
    let patch = patch_type(&request)?;
    let mut options = options::of_write(&request, query, &user, patch)?;
    options.subresource = Some(name.to_owned());
    options.warnings = warnings.clone();
    match (name, request.method().clone()) {
        ("scale", _) => scale::answer(server, target, patch, &mut options, request).await,
        ("log", Method::GET) => {
            let options = log_options(target, query)?;
            let pod = server.api.read(target)?;
            named_container(target, &pod.value, query)?;
            if pod.value["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
                return Ok(no_content());
            }
            let stream = server.backend.log(&pod.value, query.get("container"), options)?;
            Ok(stream_answer("text/plain", stream))
        }
        ("exec" | "attach", _) => {
            let pod = Arc::clone(&server.api.read(target)?.value);
            named_container(target, &pod, query)?;
            hosted(target, &pod)?;
            Err(Status::new(501, "NotImplemented", format!("{name} is not served by the embedded cluster")))
        }
        ("portforward", _) => {
            let pod = Arc::clone(&server.api.read(target)?.value);
            server.backend.port_forward(pod, request).await
        }
        ("binding", Method::POST) => {
            let body = review_body(request, target, &["v1"], "Binding").await?;
            let node = node_of(&body)?;
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
            let body = review_body(request, target, &["policy/v1", "policy/v1beta1"], "Eviction").await?;
            let mut given = deleting::of_body(body["deleteOptions"].clone())?.options;
            given.dry_run |= options.dry_run;
            server.api.evict(target, &given)?;
            Ok(answer_json(StatusCode::CREATED, &success(201)))
        }
        ("token", Method::POST) => token_request(server, target, &read(request).await?),
        ("proxy", _) => {
            let text = format!("{name} is not served by the embedded cluster");
            Err(Status::new(501, "NotImplemented", text))
        }
        (_, Method::GET) => reading::get(server, target, query, &request),
        (_, Method::PUT | Method::PATCH) => change(server, target, query, request, patch, &mut options).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// The body of a subresource that is a kind of its own: its kind and members, and that it is about the target.
async fn review_body(
    request: Request<Incoming>,
    target: &Target,
    versions: &[&str],
    kind: &str,
) -> Result<Value, Status> {
    let mut body = read(request).await?;
    super::typed_body(&mut body, versions, kind)?;
    let text = |key: &str| body["metadata"][key].as_str().unwrap_or_default();
    if !matches!(text("namespace"), "") && text("namespace") != target.namespace {
        let text = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(text));
    }
    if text("name") != target.name {
        return Err(Status::bad_request(format!("name in URL does not match name in {kind} object")));
    }
    Ok(body)
}

/// The node that a Binding names.
fn node_of(binding: &Value) -> Result<&str, Status> {
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        let text = format!("target.kind: Unsupported value: \"{kind}\": supported values: \"Node\", \"<empty>\"");
        return Err(Status::plain(text));
    }
    let name = binding["target"]["name"].as_str().filter(|name| !name.is_empty());
    name.ok_or_else(|| Status::plain("target.name: Required value"))
}

/// That a request's container is one of the pod's, or that the pod has but one.
fn named_container(target: &Target, pod: &Value, query: &Query) -> Result<(), Status> {
    let of = |kind: &str| pod["spec"][kind].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
    let all: Vec<&str> = ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(of).collect();
    let usual = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    match query.get("container") {
        Some(name) if !all.contains(&name) => {
            Err(Status::bad_request(format!("container {name} is not valid for pod {}", target.name)))
        }
        None if of("containers").count() > 1 && usual.is_none() => {
            let text = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                target.name,
                all.join(" ")
            );
            Err(Status::bad_request(text))
        }
        _ => Ok(()),
    }
}

fn hosted(target: &Target, pod: &Value) -> Result<(), Status> {
    if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", target.name)));
    }
    Ok(())
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

/// Binds the pod that a Binding names.
pub(super) async fn bind_named(
    server: &Server,
    target: &Target,
    request: Request<Incoming>,
    options: &WriteOptions,
) -> Result<Answer, Status> {
    let body = read(request).await?;
    let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    let definition = server.api.definition(&crate::api::resources::PODS)?;
    let pod = Target { definition, namespace: target.namespace.clone(), name };
    let node = node_of(&body)?;
    admission::bind(&server.api, &pod, node, Some(&body["metadata"]), options)?;
    Ok(answer_json(StatusCode::CREATED, &success(201)))
}

/// A `Status` that says that all went well.
fn success(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code })
}

/// `PodLogOptions` as a query.
fn log_options(target: &Target, query: &Query) -> Result<LogOptions, Status> {
    let number = |key: &str| {
        let read = |text: &str| {
            let number = text.parse::<i64>();
            number.map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
        };
        query.get(key).map(read).transpose()
    };
    let mut causes = Vec::new();
    let mut cause = |kind: &str, field: &str, message: String| {
        let reason = format!("FieldValue{kind}");
        causes.push(crate::api::Cause { reason, message: format!("{kind}{message}"), field: field.into() });
    };
    for (key, least, why) in [
        ("tailLines", 0, "greater than or equal to 0"),
        ("limitBytes", 1, "greater than 0"),
        ("sinceSeconds", 1, "greater than 0"),
    ] {
        if let Some(number) = number(key)?.filter(|number| *number < least) {
            cause("Invalid", key, format!(" value: {number}: must be {why}"));
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        cause("Forbidden", "[]", ": at most one of `sinceTime` or `sinceSeconds` may be specified".into());
    }
    if query.get("stream").is_some() {
        cause("Forbidden", "stream", ": may not be specified".into());
    }
    if !causes.is_empty() {
        let options = crate::api::Resource { kind: "PodLogOptions".into(), ..crate::api::resources::PODS };
        return Err(Status::invalid(&options, &target.name, causes));
    }
    let seconds = |key: &str| number(key).map(|number| number.and_then(|number| u32::try_from(number).ok()));
    let since = match (seconds("sinceSeconds")?, query.get("sinceTime")) {
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
        tail_lines: number("tailLines")?.and_then(|lines| usize::try_from(lines).ok()),
        since,
        limit_bytes: number("limitBytes")?.and_then(|bytes| u64::try_from(bytes).ok()),
    })
}
