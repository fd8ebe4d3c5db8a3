//! Discovery and version.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    Answer, Server, Status, accept, metrics,
    respond::{json as answer_json, plain},
};
use crate::api::registry::Definition;

/// Answers discovery and version paths; none for others.
pub(super) fn answer(server: &Server, path: &str, request: &Request<Incoming>) -> Result<Option<Answer>, Status> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let accepted = accept::header(request);
    let v2 =
        |range: &str| range.contains("as=APIGroupDiscoveryList") && range.split(';').any(|part| part.trim() == "v=v2");
    let aggregated = accepted.split(',').any(v2);
    let only_others = !accepted.is_empty() && accepted.split(',').all(|range| range.contains("as=") && !v2(range));
    if only_others && matches!(parts.as_slice(), ["api" | "apis"]) {
        return Err(Status::new(406, "NotAcceptable", "only discovery in version v2 is served in one document"));
    }
    let value = match parts.as_slice() {
        ["version"] => version(),
        ["api" | "apis"] if aggregated => {
            let mut answer = answer_json(StatusCode::OK, &group_discovery(server, parts[0] == "api"));
            let kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
            answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
            return Ok(Some(answer));
        }
        ["api"] => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1" }],
        }),
        ["apis"] => {
            let groups: Vec<Value> = groups(server).iter().filter(|(name, _)| !name.is_empty()).map(group).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        ["apis", name] => match groups(server).iter().find(|(known, _)| known == name) {
            Some(found) => {
                let mut value = group(found);
                value["kind"] = json!("APIGroup");
                value["apiVersion"] = json!("v1");
                value
            }
            None => return Err(Status::new(404, "", "404 page not found")),
        },
        ["api", version] => resource_list(server, "", version)?,
        ["apis", name, version] => resource_list(server, name, version)?,
        [""] => {
            json!({ "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"] })
        }
        ["readyz" | "livez" | "healthz", "ping"] => return Ok(Some(plain(StatusCode::OK, "ok"))),
        _ => return Ok(None),
    };
    if !matches!(*request.method(), http::Method::GET | http::Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    Ok(Some(answer_json(StatusCode::OK, &value)))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.13", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
        "emulationMajor": "1", "emulationMinor": "33", "minCompatibilityMajor": "1", "minCompatibilityMinor": "32",
    })
}

/// Groups with their versions, the preferred one first.
fn groups(server: &Server) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> =
        server.api.registry.groups().into_iter().map(|group| (group.name, group.versions)).collect();
    all.extend(metrics::GROUPS.map(|group| (group.to_owned(), vec![metrics::VERSION.to_owned()])));
    all
}

fn group((name, versions): &(String, Vec<String>)) -> Value {
    let version = |version: &String| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    let all: Vec<Value> = versions.iter().map(version).collect();
    json!({ "name": name, "versions": all, "preferredVersion": all.first() })
}

fn resource_list(server: &Server, group: &str, version: &str) -> Result<Value, Status> {
    let mut list = Vec::new();
    for metrics::Served { name, kind, namespaced, verbs } in metrics::served(group, version) {
        list.push(json!({ "name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": verbs }));
    }
    for definition in server.api.registry.resources(group, version) {
        let resource = &definition.resource;
        let mut entry = json!({
            "name": resource.plural,
            "singularName": definition.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": definition.verbs,
        });
        for (key, values) in [("shortNames", &definition.short_names), ("categories", &definition.categories)] {
            if !values.is_empty() {
                entry[key] = json!(values);
            }
        }
        if definition.verbs.iter().any(|verb| verb == "list") && *resource.plural != *"componentstatuses" {
            entry["storageVersionHash"] = json!(storage_version_hash(&definition));
        }
        list.push(entry);
        for sub in &definition.subresources {
            let (group, version, kind) = &sub.response;
            let mut entry = json!({
                "name": format!("{}/{}", resource.plural, sub.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": sub.verbs,
            });
            if !version.is_empty() {
                let own = *group == resource.group && *version == resource.version;
                if !own {
                    entry["group"] = json!(group);
                    entry["version"] = json!(version);
                }
            }
            list.push(entry);
        }
    }
    if list.is_empty() {
        return Err(Status::new(404, "", "404 page not found"));
    }
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    if server.api.registry.resources(group, version).iter().all(|definition| definition.custom.is_none()) {
        list.sort_by(|one, other| one["name"].as_str().cmp(&other["name"].as_str()));
    }
    let mut answer =
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": list });
    // The core group alone leaves its own version out.
    if let Some(members) = answer.as_object_mut().filter(|_| group.is_empty()) {
        members.shift_remove("apiVersion");
    }
    Ok(answer)
}

/// `discovery.StorageVersionHash`: what changes when objects are stored in another version.
fn storage_version_hash(definition: &Definition) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let resource = &definition.resource;
    let version = match definition.table.as_str() {
        // Upstream's storage still has definitions in their old version.
        "apiextensions.k8s.io/customresourcedefinitions" => "v1beta1",
        _ => definition.stored_as.rsplit('/').next().unwrap_or_default(),
    };
    // Twin groups of one resource store it in the same.
    let group = definition.table.split('/').next().unwrap_or_default();
    let text = format!("{group}/{version}/{}", resource.kind);
    STANDARD.encode(&ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()[..8])
}

/// Aggregated discovery, v2.
fn group_discovery(server: &Server, core: bool) -> Value {
    let items: Vec<Value> = groups(server)
        .into_iter()
        .filter(|(name, _)| name.is_empty() == core)
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let stored = server.api.registry.resources(&name, version);
                    let served = metrics::served(&name, version).iter().map(|served| served.discovery(&name, version));
                    let resources: Vec<Value> = stored.iter().map(|d| resource_discovery(d)).chain(served).collect();
                    json!({ "version": version, "freshness": "Current", "resources": resources })
                })
                .collect();
            json!({ "metadata": { "name": name, "creationTimestamp": null }, "versions": versions })
        })
        .collect();
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items })
}

fn resource_discovery(definition: &Definition) -> Value {
    let resource = &definition.resource;
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": { "group": resource.group, "version": resource.version, "kind": resource.kind },
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": definition.singular,
        "verbs": definition.verbs,
    });
    for (key, values) in [("shortNames", &definition.short_names), ("categories", &definition.categories)] {
        if !values.is_empty() {
            entry[key] = json!(values);
        }
    }
    let subresources: Vec<Value> = definition
        .subresources
        .iter()
        .map(|sub| {
            let (group, version, kind) = &sub.response;
            let own = version.is_empty();
            let (group, version) =
                if own { (&*resource.group, &*resource.version) } else { (group.as_str(), version.as_str()) };
            json!({
                "subresource": sub.name,
                "responseKind": { "group": group, "version": version, "kind": kind },
                "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = json!(subresources);
    }
    entry
}
