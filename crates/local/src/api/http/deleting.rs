//! Deletion of one object or of many, with its options.

use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    Answer, Server, Status, options, read,
    reading::{list_metadata, scope},
    respond::json as answer_json,
    route::Query,
};
use crate::api::{
    admission, convert,
    write::{self, DeleteOptions, Deleted, Propagation, Target},
};

async fn delete_options(query: &Query, request: Request<Incoming>) -> Result<DeleteOptions, Status> {
    let body = match read(request).await {
        Ok(body) => body,
        Err(status) if status.code == 400 => {
            return Err(Status::plain(format!("couldn't get version/kind; json parse error: {}", status.message)));
        }
        Err(status) => return Err(status),
    };
    let object = body.is_object() || body.is_null();
    if !object || !(body["dryRun"].is_null() || body["dryRun"].is_array()) {
        return Err(Status::plain("json: cannot unmarshal into Go struct DeleteOptions"));
    }
    let grace = &body["gracePeriodSeconds"];
    if !grace.is_null() && !grace.is_i64() {
        return Err(Status::plain(
            "json: cannot unmarshal into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
        ));
    }
    if body.is_null()
        && let Some(seconds) = query.get("gracePeriodSeconds").filter(|text| text.parse::<i64>().is_err())
    {
        return Err(Status::bad_request(format!("strconv.ParseInt: parsing {seconds:?}: invalid syntax")));
    }
    if let Some(kind) = body["kind"].as_str().filter(|kind| *kind != "DeleteOptions" && !kind.is_empty()) {
        let version = body["apiVersion"].as_str().unwrap_or_default();
        return Err(Status::plain(format!("no kind \"{kind}\" is registered for version \"{version}\" in scheme")));
    }
    delete_options_of(query, &body)
}

/// Options of a deletion out of its body and its query.
pub(super) fn delete_options_of(query: &Query, body: &Value) -> Result<DeleteOptions, Status> {
    let text = |key: &str| body[key].as_str().or_else(|| query.get(key)).map(ToOwned::to_owned);
    let asked = text("propagationPolicy");
    let orphan = !body["orphanDependents"].is_null() || query.get("orphanDependents").is_some();
    let dry_run = body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
    options::check_delete(query, dry_run, orphan, asked.as_deref())?;
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

/// Deletes one object.
pub(super) async fn one(
    server: &Server,
    target: &Target,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let options = delete_options(query, request).await?;
    let resource = &target.definition.resource;
    if target.definition.table == "/namespaces" && admission::IMMORTAL.contains(&target.name.as_str()) {
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

/// Deletes all that a query selects.
pub(super) async fn many(
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
