//! `OpenAPI` v3 documents: the recorded schemas, and those of CRDs, as kubectl reads them to validate and explain.

use std::sync::OnceLock;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    Answer, Server,
    respond::{json_bytes, plain},
};
use crate::api::registry::Definition;

/// Component schemas of kube-apiserver 1.33, all groups together.
const SCHEMAS: &str = include_str!("../../../data/schemas.json");

/// Schemas of the built-in groups, read when first asked for.
#[derive(Debug, Default)]
pub(super) struct Documents {
    recorded: OnceLock<Map<String, Value>>,
}

impl Documents {
    fn recorded(&self) -> &Map<String, Value> {
        self.recorded.get_or_init(|| {
            let mut all: Value = serde_json::from_str(SCHEMAS).expect("the recorded schemas are JSON");
            match all["schemas"].take() {
                Value::Object(schemas) => schemas,
                _ => Map::new(),
            }
        })
    }

    /// The schemas of a group's version, and all that they refer to.
    fn of(&self, group: &str, version: &str) -> Map<String, Value> {
        let recorded = self.recorded();
        let is_own = |schema: &Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
            kinds.into_iter().any(|kind| kind["group"] == group && kind["version"] == version)
        };
        let mut wanted: Vec<&str> =
            recorded.iter().filter(|(_, schema)| is_own(schema)).map(|(name, _)| name.as_str()).collect();
        let mut found = Map::new();
        while let Some(name) = wanted.pop() {
            if !found.contains_key(name)
                && let Some(schema) = recorded.get(name)
            {
                found.insert(name.to_owned(), schema.clone());
                references(schema, &mut wanted);
            }
        }
        found
    }
}

fn references<'a>(schema: &'a Value, names: &mut Vec<&'a str>) {
    match schema {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            names.extend(name.and_then(|name| name.strip_prefix("#/components/schemas/")));
            fields.values().for_each(|inner| references(inner, names));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, names)),
        _ => {}
    }
}

/// Upstream says nothing about a document that is not there.
fn nothing() -> Answer {
    let mut answer = plain(StatusCode::NOT_FOUND, "");
    answer.headers_mut().clear();
    answer
}

/// Answers `OpenAPI` paths; none for others.
pub(super) fn answer(server: &Server, path: &str) -> Option<Answer> {
    if path == "/openapi/v2" {
        // Clients of our time ask for v3 first; the old document would be a second source of the same truth.
        return Some(plain(StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    let rest = path.strip_prefix("/openapi/v3")?;
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
        // Upstream says that its index is text, and so it is.
        return Some(plain(StatusCode::OK, json!({ "paths": paths }).to_string()));
    }
    let (group, version) = match rest.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_owned()),
        ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
        _ => return Some(nothing()),
    };
    let definitions = server.api.registry.resources(&group, &version);
    if definitions.is_empty() {
        return Some(nothing());
    }
    let mut schemas = server.openapi.of(&group, &version);
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
    Some(json_bytes(StatusCode::OK, document.to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_holds_its_kinds_and_what_they_refer_to() {
        let schemas = Documents::default().of("apps", "v1");
        for name in [
            "io.k8s.api.apps.v1.Deployment",
            "io.k8s.api.core.v1.PodSpec",
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        ] {
            assert!(schemas.contains_key(name), "{name}");
        }
        assert!(!schemas.contains_key("io.k8s.api.batch.v1.Job"));
    }
}
