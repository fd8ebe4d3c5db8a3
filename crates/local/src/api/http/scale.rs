//! The `scale` subresource: `autoscaling/v1 Scale`.

use std::sync::{Arc, LazyLock, OnceLock};

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::{Answer, Server, Status, read_parsed, respond::json as answer_json};
use crate::api::{
    LabelSelector, Resource, at, managed,
    meta::uid,
    model,
    registry::Definition,
    write::{self, Operation, PatchType, Target, WriteOptions},
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
    let text = |selector: &Value| LabelSelector::from_value(selector).to_string();
    let selector = match selector {
        Some(path) => at(object, &path).as_str().map(ToOwned::to_owned),
        None if definition.table == "/replicationcontrollers" => {
            Some(text(&json!({ "matchLabels": object["spec"]["selector"] })))
        }
        None => Some(text(&object["spec"]["selector"])),
    };
    let kept = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: Map<String, Value> = kept.into_iter().map(|key| (key.to_owned(), metadata[key].clone())).collect();
    let replicas = at(object, &spec).as_i64().filter(|replicas| *replicas != 0);
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": replicas.map_or_else(|| json!({}), |replicas| json!({ "replicas": replicas })),
        "status": { "replicas": at(object, &status).as_i64().unwrap_or(0) },
    });
    if let Some(selector) = selector.filter(|text| !text.is_empty()) {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

/// A Scale as a kind of its own: what is written to it is read by its type.
static SCALE: LazyLock<Arc<Definition>> = LazyLock::new(|| {
    Arc::new(Definition {
        resource: Resource {
            group: "autoscaling".into(),
            version: "v1".into(),
            plural: "scales".into(),
            kind: "Scale".into(),
            namespaced: true,
        },
        singular: String::new(),
        list_kind: String::new(),
        short_names: Vec::new(),
        categories: Vec::new(),
        verbs: Vec::new(),
        subresources: Vec::new(),
        table: "autoscaling/scales".into(),
        stored_as: "autoscaling/v1".into(),
        custom: None,
        empty: OnceLock::new(),
    })
});

/// Reads or changes a scale.
pub(super) async fn answer(
    server: &Server,
    target: &Target,
    patch: Option<PatchType>,
    options: &mut WriteOptions,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let definition = &target.definition;
    if *request.method() == Method::GET {
        let entry = server.api.read(target)?;
        let (replicas, ..) = paths(definition);
        if definition.custom.is_some() && at(&entry.value, &replicas).is_null() {
            let text = format!("the spec replicas field \"{replicas}\" does not exist");
            return Err(Status::internal(&text));
        }
        return Ok(answer_json(StatusCode::OK, &scale_of(definition, &entry.value)));
    }
    if let Some(kind) = patch {
        model::check_patch(definition, kind)?;
    }
    let body = read_parsed(request).await?;
    options.duplicates = body.duplicates;
    let (replicas, _, _) = paths(definition);
    let of_scale = Target { definition: SCALE.clone(), ..target.clone() };
    // The Scale's owners become those of the object below, and are not looked for again.
    let tracked = WriteOptions { operation: Operation::Apply, ..options.clone() };
    let written = write::mutate(&server.api, target, &tracked, |old| {
        let mut scale = scale_of(definition, old);
        managed::to_scale(old, &replicas, &mut scale);
        let wanted = write::changed(&of_scale, patch, &scale, &body.value, options)?;
        check(target, &wanted, old)?;
        if definition.custom.is_some() {
            check_custom(&replicas, patch, old, &body.value)?;
        }
        let mut new = old.clone();
        *at_mut(&mut new, &replicas) = json!(wanted["spec"]["replicas"].as_i64().unwrap_or(0));
        if let Some(version) = wanted["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty()) {
            new["metadata"]["resourceVersion"] = json!(version);
        }
        managed::to_parent(definition, &wanted, &replicas, &mut new);
        Ok(new)
    })?;
    Ok(answer_json(StatusCode::OK, &scale_of(definition, &written.object)))
}

/// What upstream does not do to Scales of custom resources.
fn check_custom(replicas: &str, patch: Option<PatchType>, old: &Value, body: &Value) -> Result<(), Status> {
    if patch == Some(PatchType::Apply) {
        let text = "failed to convert new object to proper version: request to convert CR to an invalid group/version: autoscaling/v1";
        return Err(Status::plain(text));
    }
    if patch.is_some_and(|kind| kind != PatchType::Json)
        && at(old, replicas).is_null()
        && body["spec"]["replicas"].is_null()
    {
        let text = format!("the spec replicas field \"{replicas}\" cannot be empty");
        return Err(Status::bad_request(text));
    }
    Ok(())
}

/// Refuses a Scale that asks for too little, or is one of another object.
fn check(target: &Target, scale: &Value, old: &Value) -> Result<(), Status> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    // Custom resources have rules of their own for them.
    if replicas < 0 && target.definition.custom.is_none() {
        let why = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        return Err(Status::invalid_field(&SCALE.resource, &target.name, "FieldValueInvalid", "spec.replicas", why));
    }
    let (given, known) = (uid(scale), uid(old));
    if !given.is_empty() && given != known {
        let why = format!("Precondition failed: UID in precondition: {given}, UID in object meta: {known}");
        return Err(Status::conflict(&target.definition.resource, &target.name, &why));
    }
    Ok(())
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
