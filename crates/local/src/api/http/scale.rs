//! The `scale` subresource: `autoscaling/v1 Scale`.

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{Answer, Server, Status, read, respond::json as answer_json};
use crate::api::{
    at, model,
    registry::Definition,
    write::{self, PatchType, Target, WriteOptions},
};

/// Where an object keeps its replicas and its selector.
fn paths(definition: &Definition) -> (String, String, Option<String>) {
    let custom = definition.custom.as_ref().map(|custom| &custom.version["subresources"]["scale"]);
    let path = |key: &str| custom.and_then(|scale| scale[key].as_str()).map(ToOwned::to_owned);
    (
        path("specReplicasPath").unwrap_or_else(|| ".spec.replicas".to_owned()),
        path("statusReplicasPath").unwrap_or_else(|| ".status.replicas".to_owned()),
        path("labelSelectorPath"),
    )
}

fn scale_of(definition: &Definition, object: &Value) -> Value {
    let (spec, status, selector) = paths(definition);
    let metadata = &object["metadata"];
    let selector = if let Some(path) = selector {
        at(object, &path).as_str().map(ToOwned::to_owned)
    } else {
        let own = &object["spec"]["selector"];
        // Replication controllers select by labels alone.
        let plain = definition.table == "/replicationcontrollers";
        let text = if plain { selector_text(&json!({ "matchLabels": own })) } else { selector_text(own) };
        Some(text).filter(|text| !text.is_empty())
    };
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": { "replicas": at(object, &status).as_i64().unwrap_or(0) },
    });
    match at(object, &spec).as_i64() {
        Some(replicas) if replicas != 0 => scale["spec"]["replicas"] = json!(replicas),
        _ => {}
    }
    if let Some(selector) = selector {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

/// A label selector as text: `a=b,c in (d,e)`.
fn selector_text(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.sort();
    parts.join(",")
}

/// Reads or changes a scale.
pub(super) async fn answer(
    server: &Server,
    target: &Target,
    patch: Option<PatchType>,
    options: &WriteOptions,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let definition = &target.definition;
    if *request.method() == Method::GET {
        let entry = server.api.read(target)?;
        return Ok(answer_json(StatusCode::OK, &scale_of(definition, &entry.value)));
    }
    // A Scale has no lists: all kinds of patches but JSON ones mean the same.
    let patch = patch.map(|kind| if kind == PatchType::Json { kind } else { PatchType::Merge });
    let mut body = read(request).await?;
    if patch.is_none() {
        super::typed_body(&mut body, &["autoscaling/v1"], "Scale")?;
        about(target, &body)?;
    }
    let written = write::mutate(&server.api, target, options, |old| {
        let wanted = match patch {
            Some(kind) => {
                let mut wanted = model::patch(definition, kind, &scale_of(definition, old), &body)?;
                super::typed_body(&mut wanted, &["autoscaling/v1"], "Scale").map_err(|error| {
                    Status::invalid_without_kind("patch", format!("Invalid value: {body}: {}", error.message))
                })?;
                about(target, &wanted)?;
                wanted
            }
            None => body.clone(),
        };
        let own = old["metadata"]["uid"].as_str().unwrap_or_default();
        if let Some(uid) = wanted["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty() && *uid != own) {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {own}");
            return Err(Status::conflict(&definition.resource, &target.name, &why));
        }
        let mut new = old.clone();
        *at_mut(&mut new, &paths(definition).0) = json!(replicas_of(target, &wanted)?);
        if let Some(version) = wanted["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty()) {
            new["metadata"]["resourceVersion"] = json!(version);
        }
        Ok((new, Vec::new()))
    })?;
    Ok(answer_json(StatusCode::OK, &scale_of(definition, &written.object)))
}

/// That a Scale is about the target.
fn about(target: &Target, scale: &Value) -> Result<(), Status> {
    let text = |key: &str| scale["metadata"][key].as_str().unwrap_or_default();
    let (name, url) = (text("name"), &target.name);
    if name.is_empty() {
        let text = format!("the name of the object ({url} based on URL) was undeterminable: name must be provided");
        return Err(Status::bad_request(text));
    }
    if name != url {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({url})"
        )));
    }
    if !matches!(text("namespace"), "") && text("namespace") != target.namespace {
        let text = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(text));
    }
    Ok(())
}

/// The replicas that a Scale asks for.
fn replicas_of(target: &Target, scale: &Value) -> Result<i64, Status> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas >= 0 {
        return Ok(replicas);
    }
    let resource = crate::api::Resource {
        group: "autoscaling".into(),
        version: "v1".into(),
        plural: "scales".into(),
        kind: "Scale".into(),
        namespaced: true,
    };
    let why = format!("Invalid value: {replicas}: must be greater than or equal to 0");
    Err(Status::invalid_field(&resource, &target.name, "FieldValueInvalid", "spec.replicas", why))
}

/// What a path such as `.spec.replicas` names; made where it is not there.
fn at_mut<'a>(object: &'a mut Value, path: &str) -> &'a mut Value {
    path.trim_start_matches('.').split('.').fold(object, |object, part| {
        if !object.is_object() {
            *object = json!({});
        }
        &mut object[part]
    })
}
