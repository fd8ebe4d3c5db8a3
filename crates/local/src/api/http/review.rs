//! Who may do what: administrators everything, others what stored roles grant; and the review APIs that tell.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    Answer, Server, Status, User,
    respond::json as answer_json,
    route::{Query, Route},
};
use crate::api::{
    Cause, Resource,
    resource::resources::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES},
};

/// What is to be done to what.
struct Attributes<'a> {
    verb: &'a str,
    group: &'a str,
    resource: String,
    namespace: &'a str,
    name: &'a str,
    path: &'a str,
}

/// What RBAC and discovery call a request.
pub(super) fn verb(method: &Method, route: &Route, query: &Query) -> &'static str {
    match (method.as_str(), route.name.is_empty()) {
        ("GET", _) if query.flag("watch") || route.watch => "watch",
        ("GET", true) => "list",
        ("GET", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => "unknown",
    }
}

/// Refuses what a user may not do.
pub(super) fn allow(server: &Server, user: &User, method: &Method, route: &Route, query: &Query) -> Result<(), Status> {
    if user.is_admin() {
        return Ok(());
    }
    let resource = match route.subresource.as_str() {
        "" => route.resource.clone(),
        sub => format!("{}/{sub}", route.resource),
    };
    let verb = verb(method, route, query);
    let selected = query.get("fieldSelector").and_then(|text| text.strip_prefix("metadata.name="));
    let name = if route.name.is_empty() { selected.unwrap_or_default() } else { &route.name };
    let wanted = Attributes { verb, group: &route.group, resource, namespace: &route.namespace, name, path: "" };
    let groups = ["authorization.k8s.io", "authentication.k8s.io"];
    let reviews = groups.contains(&route.group.as_str()) && route.resource.starts_with("self");
    if reviews || granted(server, user, &wanted) {
        return Ok(());
    }
    let qualified =
        if route.group.is_empty() { route.resource.clone() } else { format!("{}.{}", route.resource, route.group) };
    let about = if route.name.is_empty() { qualified.clone() } else { format!("{qualified} \"{}\"", route.name) };
    let place = if route.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", route.namespace)
    };
    let text = format!(
        "{about} is forbidden: User \"{}\" cannot {verb} resource \"{}\" in API group \"{}\" {place}",
        user.name, wanted.resource, route.group
    );
    let details = crate::api::Details {
        group: route.group.clone(),
        kind: route.resource.clone(),
        name: route.name.clone(),
        ..crate::api::Details::default()
    };
    Err(Status::new(403, "Forbidden", text).with_details(details))
}

/// Refuses paths that are no resources.
pub(super) fn allow_path(server: &Server, user: &User, method: &Method, path: &str) -> Result<(), Status> {
    let verb = method.as_str().to_lowercase();
    let wanted = Attributes { verb: &verb, group: "", resource: String::new(), namespace: "", name: "", path };
    if user.is_admin() || granted(server, user, &wanted) {
        return Ok(());
    }
    let text = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"", user.name);
    Err(Status::new(403, "Forbidden", text).with_details(crate::api::Details::default()))
}

fn granted(server: &Server, user: &User, wanted: &Attributes<'_>) -> bool {
    let client = server.api.client();
    let cluster = client.list(&CLUSTER_ROLE_BINDINGS, "").0;
    let local = if wanted.namespace.is_empty() { Vec::new() } else { client.list(&ROLE_BINDINGS, wanted.namespace).0 };
    cluster.iter().chain(&local).filter(|binding| binds(binding, user)).any(|binding| {
        let role = &binding["roleRef"];
        let name = role["name"].as_str().unwrap_or_default();
        let role = match role["kind"].as_str() {
            Some("ClusterRole") => client.get(&CLUSTER_ROLES, "", name),
            _ => client.get(&ROLES, wanted.namespace, name),
        };
        role.is_ok_and(|role| role["rules"].as_array().into_iter().flatten().any(|rule| permits(rule, wanted)))
    })
}

fn binds(binding: &Value, user: &User) -> bool {
    binding["subjects"].as_array().into_iter().flatten().any(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str() {
            Some("User") => name == user.name,
            Some("Group") => user.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let namespace = subject["namespace"].as_str().unwrap_or_default();
                user.name == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    })
}

fn permits(rule: &Value, wanted: &Attributes<'_>) -> bool {
    let list = |key: &str| rule[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    let has = |key: &str, value: &str| list(key).any(|entry| entry == "*" || entry == value);
    if !has("verbs", wanted.verb) {
        return false;
    }
    if !wanted.path.is_empty() {
        return list("nonResourceURLs").any(|url| {
            url == wanted.path || url.strip_suffix('*').is_some_and(|prefix| wanted.path.starts_with(prefix))
        });
    }
    let names = list("resourceNames").next().is_none() || list("resourceNames").any(|name| name == wanted.name);
    // `*/scale` is that part of all resources.
    let part = wanted
        .resource
        .split_once('/')
        .is_some_and(|(_, part)| list("resources").any(|one| one == format!("*/{part}")));
    has("apiGroups", wanted.group) && (part || has("resources", &wanted.resource)) && names
}

/// Answers the review APIs.
pub(super) fn answer(server: &Server, user: &User, route: &Route, body: &Value) -> Result<Answer, Status> {
    if !body.is_object() {
        return Err(Status::bad_request("a review is an object"));
    }
    let mut review = body.clone();
    check(route, body)?;
    let other = User {
        name: body["spec"]["user"].as_str().unwrap_or_default().to_owned(),
        groups: body["spec"]["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(Into::into)
            .collect(),
    };
    review["status"] = match route.resource.as_str() {
        "selfsubjectaccessreviews" => access(server, user, body),
        "subjectaccessreviews" | "localsubjectaccessreviews" => access(server, &other, body),
        "selfsubjectrulesreviews" if body["spec"]["namespace"].as_str().unwrap_or_default().is_empty() => {
            return Err(Status::bad_request("no namespace on request"));
        }
        "selfsubjectrulesreviews" => {
            let all = json!([{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }]);
            let urls = json!([{ "verbs": ["*"], "nonResourceURLs": ["*"] }]);
            if user.is_admin() {
                json!({ "resourceRules": all, "nonResourceRules": urls, "incomplete": false })
            } else {
                json!({ "resourceRules": [], "nonResourceRules": [], "incomplete": false })
            }
        }
        "tokenreviews" => authenticated(server, body),
        "selfsubjectreviews" => json!({ "userInfo": { "username": user.name, "groups": user.groups } }),
        _ => return Err(Status::no_such_path()),
    };
    let group_version = format!("{}/{}", route.group, route.version);
    let kind = body["kind"].as_str().unwrap_or_default().to_owned();
    review["apiVersion"] = json!(group_version);
    if let Some(shape) = crate::api::typed::of_kind(&group_version, &kind) {
        crate::api::typed::canonical(shape, &mut review, &mut Vec::new())
            .map_err(|error| Status::bad_request(error.to_string()))?;
    }
    if route.resource == "selfsubjectreviews" {
        review["metadata"]["creationTimestamp"] = crate::api::meta::now();
    }
    Ok(answer_json(StatusCode::CREATED, &review))
}

/// Refuses a review that does not say what is to be looked at.
fn check(route: &Route, body: &Value) -> Result<(), Status> {
    let spec = &body["spec"];
    let mut causes = Vec::new();
    let mut invalid = |field: &str, value: &Value, why: &str| {
        let message = format!("Invalid value: {value}: {why}");
        causes.push(Cause { reason: "FieldValueInvalid".into(), field: field.into(), message });
    };
    let local = route.resource == "localsubjectaccessreviews";
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    match route.resource.as_str() {
        "tokenreviews" if spec["token"].as_str().unwrap_or_default().is_empty() => {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        "selfsubjectaccessreviews" | "subjectaccessreviews" | "localsubjectaccessreviews" => {
            match (resource.is_null(), path.is_null()) {
                (false, false) => {
                    let why = "cannot be specified in combination with resourceAttributes";
                    invalid("spec.nonResourceAttributes", path, why);
                }
                (true, true) => {
                    let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                    invalid("spec.resourceAttributes", path, why);
                }
                _ => {}
            }
            let given = |key: &str| match &spec[key] {
                Value::Array(list) => !list.is_empty(),
                value => !value.as_str().unwrap_or_default().is_empty(),
            };
            if route.resource != "selfsubjectaccessreviews" && !given("user") && !given("groups") {
                invalid("spec.user", &json!(""), "at least one of user or group must be specified");
            }
            let namespace = &resource["namespace"];
            if local && !resource.is_null() && namespace.as_str().unwrap_or_default() != route.namespace {
                invalid("spec.resourceAttributes.namespace", namespace, "must match metadata.namespace");
            }
            if local && !path.is_null() {
                invalid("spec.nonResourceAttributes", path, "disallowed on this kind of request");
            }
        }
        _ => {}
    }
    let review = Resource {
        group: route.group.clone().into(),
        version: route.version.clone().into(),
        plural: route.resource.clone().into(),
        kind: "".into(),
        namespaced: local,
    };
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid(&review, "", causes)) }
}

/// Whose token it is.
fn authenticated(server: &Server, body: &Value) -> Value {
    match body["spec"]["token"].as_str().and_then(|token| server.identity.user_of_token(token)) {
        Some(user) => json!({
            "authenticated": true,
            "user": { "username": user.name, "groups": user.groups },
            "audiences": ["https://kubernetes.default.svc"],
        }),
        None => json!({ "user": {}, "error": "invalid bearer token" }),
    }
}

fn access(server: &Server, user: &User, body: &Value) -> Value {
    if user.is_admin() {
        return json!({ "allowed": true });
    }
    let resource = &body["spec"]["resourceAttributes"];
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let path = text(&body["spec"]["nonResourceAttributes"], "path");
    let source = if path.is_empty() { resource } else { &body["spec"]["nonResourceAttributes"] };
    let mut name = text(resource, "resource");
    let sub = text(resource, "subresource");
    if !sub.is_empty() {
        name = format!("{name}/{sub}");
    }
    let (verb, group) = (text(source, "verb"), text(resource, "group"));
    let (namespace, object) = (text(resource, "namespace"), text(resource, "name"));
    let wanted =
        Attributes { verb: &verb, group: &group, resource: name, namespace: &namespace, name: &object, path: &path };
    json!({ "allowed": granted(server, user, &wanted) })
}
