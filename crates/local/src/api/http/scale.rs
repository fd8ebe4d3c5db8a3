//! The `scale` subresource: `autoscaling/v1 Scale`.

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{Answer, Server, Status, read, respond::json as answer_json};
use crate::api::{
    LabelSelector, at, model,
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
    let selector = match selector {
        Some(path) => at(object, &path).as_str().map(ToOwned::to_owned),
        None => {
            Some(LabelSelector::from_value(&object["spec"]["selector"]).to_string()).filter(|text| !text.is_empty())
        }
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
    let body = read(request).await?;
    let written = write::mutate(&server.api, target, options, |old| {
        let wanted = match patch {
            Some(kind) => model::patch(definition, kind, &scale_of(definition, old), &body)?,
            None => body.clone(),
        };
        let mut new = old.clone();
        *at_mut(&mut new, &paths(definition).0) = json!(replicas_of(target, &wanted)?);
        if let Some(version) = wanted["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty()) {
            new["metadata"]["resourceVersion"] = json!(version);
        }
        Ok((new, Vec::new()))
    })?;
    Ok(answer_json(StatusCode::OK, &scale_of(definition, &written.object)))
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
