//! The recorded `OpenAPI` schemas of built-in kinds.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Map, Value};

use super::resource::Resource;

/// Recorded `OpenAPI` schemas of kube-apiserver 1.33.
static SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/schemas.json")).expect("the recorded schemas are JSON")
});

/// Names of schemas by group, version, kind.
static BY_KIND: LazyLock<HashMap<(String, String, String), &'static Value>> = LazyLock::new(|| {
    let mut out = HashMap::new();
    for schema in SCHEMAS["schemas"].as_object().into_iter().flat_map(Map::values) {
        for gvk in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let part = |key: &str| gvk[key].as_str().unwrap_or_default().to_owned();
            out.insert((part("group"), part("version"), part("kind")), schema);
        }
    }
    out
});

/// The schema of a built-in kind; null for others.
pub(crate) fn of(resource: &Resource) -> &'static Value {
    let key = (resource.group.to_string(), resource.version.to_string(), resource.kind.to_string());
    BY_KIND.get(&key).copied().unwrap_or(&Value::Null)
}

/// Follows `$ref`, also inside a single `allOf`.
pub(crate) fn resolve(schema: &'static Value) -> &'static Value {
    let one = schema["allOf"].get(0).unwrap_or(schema);
    match one["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        Some(name) => &SCHEMAS["schemas"][name],
        None => one,
    }
}

/// The schema of a member, also of a map.
pub(crate) fn member(schema: &'static Value, key: &str) -> &'static Value {
    let schema = resolve(schema);
    match schema["properties"].get(key) {
        Some(found) => found,
        None => &schema["additionalProperties"],
    }
}
