//! `OpenAPI` v3 documents: the recorded schemas, and those of CRDs, as kubectl reads them to validate and explain.

use std::{collections::BTreeMap, sync::OnceLock};

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Answer, Server, Status,
    respond::{json as answer_json, json_bytes, plain},
};
use crate::api::registry::Definition;

/// Recorded schemas of kube-apiserver 1.33, by path.
const SCHEMAS: &str = include_str!("../../../data/schemas.json");

/// Documents of the built-in groups, made when first asked for.
#[derive(Debug, Default)]
pub(super) struct Documents {
    recorded: OnceLock<BTreeMap<String, Value>>,
}

impl Documents {
    fn recorded(&self) -> &BTreeMap<String, Value> {
        self.recorded.get_or_init(|| {
            let all: Value = serde_json::from_str(SCHEMAS).expect("the recorded schemas are JSON");
            let documents = all.get("documents").unwrap_or(&all).as_object().cloned().unwrap_or_default();
            documents.into_iter().filter(|(_, document)| document.is_object()).collect()
        })
    }
}

/// Answers `OpenAPI` paths; none for others.
pub(super) fn answer(server: &Server, path: &str) -> Result<Option<Answer>, Status> {
    if path == "/openapi/v2" {
        // Clients of our time ask for v3 first; the old document would be a second source of the same truth.
        return Ok(Some(plain(StatusCode::NOT_FOUND, "404 page not found\n")));
    }
    let Some(rest) = path.strip_prefix("/openapi/v3") else { return Ok(None) };
    let rest = rest.trim_matches('/');
    if rest.is_empty() {
        let mut paths = serde_json::Map::new();
        for group in server.api.registry.groups() {
            for version in &group.versions {
                let key = if group.name.is_empty() {
                    format!("api/{version}")
                } else {
                    format!("apis/{}/{version}", group.name)
                };
                paths.insert(key.clone(), json!({ "serverRelativeURL": format!("/openapi/v3/{key}") }));
            }
        }
        return Ok(Some(answer_json(StatusCode::OK, &json!({ "paths": paths }))));
    }
    let (group, version) = match rest.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_owned()),
        ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
        _ => return Err(Status::no_such_path()),
    };
    let definitions = server.api.registry.resources(&group, &version);
    if definitions.is_empty() {
        return Err(Status::no_such_path());
    }
    let mut schemas = recorded_schemas(server, rest);
    for definition in &definitions {
        if let Some(custom) = &definition.custom {
            let (name, schema) = custom_schema(definition, &custom.version["schema"]["openAPIV3Schema"]);
            schemas.insert(name, schema);
        }
    }
    let paths: serde_json::Map<String, Value> =
        definitions.iter().flat_map(|definition| paths_of(definition, rest)).collect();
    let document = json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "v1.33.13" },
        "paths": paths,
        "components": { "schemas": schemas },
    });
    Ok(Some(json_bytes(StatusCode::OK, document.to_string())))
}

fn recorded_schemas(server: &Server, key: &str) -> serde_json::Map<String, Value> {
    let documents = server.openapi.recorded();
    let short = key.trim_start_matches("apis/").trim_start_matches("api/");
    let found = [key, short].iter().find_map(|key| documents.get(*key)).or_else(|| {
        documents.iter().find(|(name, _)| name.trim_matches('/').ends_with(key)).map(|(_, document)| document)
    });
    let Some(found) = found else { return serde_json::Map::new() };
    let inside = found.pointer("/components/schemas").unwrap_or(found);
    inside.as_object().cloned().unwrap_or_default()
}

/// The schema's name as upstream forms it: the group reversed, the version, the kind.
fn custom_schema(definition: &Definition, schema: &Value) -> (String, Value) {
    let resource = &definition.resource;
    let reversed: Vec<&str> = resource.group.rsplit('.').collect();
    let name = format!("{}.{}.{}", reversed.join("."), resource.version, resource.kind);
    let mut schema = if schema.is_object() { schema.clone() } else { json!({ "type": "object" }) };
    schema["x-kubernetes-group-version-kind"] =
        json!([{ "group": resource.group, "version": resource.version, "kind": resource.kind }]);
    for (key, text) in [("apiVersion", "APIVersion of the object"), ("kind", "Kind of the object")] {
        schema["properties"][key] = json!({ "type": "string", "description": text });
    }
    if schema["properties"]["metadata"].get("type").is_none() {
        schema["properties"]["metadata"] = json!({ "type": "object", "description": "Standard object's metadata." });
    }
    (name, schema)
}

/// Just enough of the paths for kubectl to find that field validation and dry runs are supported.
fn paths_of(definition: &Definition, key: &str) -> Vec<(String, Value)> {
    let resource = &definition.resource;
    let kind = json!({ "group": resource.group, "version": resource.version, "kind": resource.kind });
    let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"]
        .iter()
        .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } }))
        .collect();
    let operation = |action: &str| {
        json!({
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
            "parameters": parameters,
            "responses": { "200": { "description": "OK" } },
        })
    };
    let base = if resource.namespaced {
        format!("/{key}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("/{key}/{}", resource.plural)
    };
    vec![
        (base.clone(), json!({ "get": operation("list"), "post": operation("post") })),
        (
            format!("{base}/{{name}}"),
            json!({ "get": operation("get"), "put": operation("put"), "patch": operation("patch") }),
        ),
    ]
}
