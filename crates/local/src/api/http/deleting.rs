//! Deletion of one object or of many, with its options.

use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    Answer, Server, Status,
    options::{self, ListOptions},
    read,
    reading::select,
    respond::{json as answer_json, warn},
    route::Query,
    shaping::Shaper,
};
use crate::api::{
    admission, typed,
    write::{self, DeleteOptions, Deleted, Propagation, Target},
};

/// Options of a deletion: of the body, or of the query when there is none.
async fn delete_options(query: &Query, request: Request<Incoming>) -> Result<Given, Status> {
    let body = match read(request).await {
        Ok(Value::Null) => return of_query(query),
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
    of_body(body)
}

/// Options of a deletion, and what was said of dependents in the old way.
pub(super) struct Given {
    pub(super) options: DeleteOptions,
    orphan: Option<bool>,
}

fn of_query(query: &Query) -> Result<Given, Status> {
    let flag = |name: &str| query.all(name).next().map(|_| query.flag(name));
    given(
        flag("orphanDependents"),
        query.get("propagationPolicy"),
        &query.all("dryRun").collect::<Vec<_>>(),
        DeleteOptions {
            grace_period_seconds: options::whole(query, "gracePeriodSeconds")?,
            ..DeleteOptions::default()
        },
    )
}

/// Options of a deletion out of an object that has them.
pub(super) fn of_body(mut body: Value) -> Result<Given, Status> {
    if let Some(shape) = typed::of_kind("v1", "DeleteOptions").filter(|_| !body.is_null()) {
        let mut unknown = typed::Unknown::default();
        typed::canonical(shape, &mut body, &mut unknown).map_err(|mismatch| Status::plain(mismatch.to_string()))?;
    }
    let precondition = |key: &str| body["preconditions"][key].as_str().map(ToOwned::to_owned);
    given(
        body["orphanDependents"].as_bool(),
        body["propagationPolicy"].as_str(),
        &body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>(),
        DeleteOptions {
            grace_period_seconds: body["gracePeriodSeconds"].as_i64(),
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
            ..DeleteOptions::default()
        },
    )
}

fn given(orphan: Option<bool>, policy: Option<&str>, dry_run: &[&str], rest: DeleteOptions) -> Result<Given, Status> {
    options::check_delete(orphan.is_some(), policy, dry_run)?;
    let propagation = match (policy, orphan) {
        (Some("Orphan"), _) | (_, Some(true)) => Some(Propagation::Orphan),
        (Some("Background"), _) | (_, Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), _) => Some(Propagation::Foreground),
        _ => None,
    };
    Ok(Given { options: DeleteOptions { propagation, dry_run: !dry_run.is_empty(), ..rest }, orphan })
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

/// What is said of Jobs whose pods stay because nobody asked for anything else.
const PODS_STAY: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

fn warnings(target: &Target, options: &DeleteOptions) -> Vec<String> {
    let stay = target.definition.table == "batch/jobs" && options.propagation.is_none();
    stay.then(|| PODS_STAY.to_owned()).into_iter().collect()
}

/// Deletes one object.
pub(super) async fn one(
    server: &Server,
    target: &Target,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let shaper = Shaper::of(server, &target.definition, query, &request)?;
    let Given { options, orphan } = delete_options(query, request).await?;
    let resource = &target.definition.resource;
    if target.definition.table == "/namespaces" && admission::IMMORTAL.contains(&target.name.as_str()) {
        return Err(Status::forbidden(resource, &target.name, "this namespace may not be deleted"));
    }
    let answer = match write::delete(&server.api, target, &options)? {
        Deleted::Marked(object) => {
            let code = if orphan == Some(false) { StatusCode::ACCEPTED } else { StatusCode::OK };
            shaper.object(code, &object)?
        }
        // Upstream answers with the object itself for these, and with a Status for all else.
        Deleted::Gone(object) if resource.group.is_empty() && ANSWERED.contains(&&*resource.plural) => {
            shaper.object(StatusCode::OK, &object)?
        }
        Deleted::Gone(object) => {
            let mut details = json!({ "name": target.name });
            if !resource.group.is_empty() {
                details["group"] = json!(resource.group);
            }
            details["kind"] = json!(resource.plural);
            details["uid"] = object["metadata"]["uid"].clone();
            let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
            answer_json(StatusCode::OK, &status)
        }
    };
    Ok(warn(answer, &warnings(target, &options)))
}

/// Deletes all that a query selects.
pub(super) async fn many(
    server: &Server,
    target: &Target,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let shaper = Shaper::of(server, &target.definition, query, &request)?;
    let (found, metadata) = select(server, target, query, ListOptions::read(query, false)?, &shaper)?;
    let Given { options, .. } = delete_options(query, request).await?;
    for entry in &found {
        let metadata = &entry.value["metadata"];
        let one = Target {
            definition: Arc::clone(&target.definition),
            namespace: metadata["namespace"].as_str().unwrap_or_default().to_owned(),
            name: metadata["name"].as_str().unwrap_or_default().to_owned(),
        };
        match write::delete(&server.api, &one, &options) {
            Err(status) if !status.is_not_found() => return Err(status),
            _ => {}
        }
    }
    Ok(warn(shaper.list(&found, metadata)?, &warnings(target, &options)))
}
