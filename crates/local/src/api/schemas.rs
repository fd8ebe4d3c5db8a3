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
pub(crate) fn resolve(schema: &Value) -> &Value {
    let one = schema["allOf"].get(0).filter(|one| one.get("$ref").is_some()).unwrap_or(schema);
    match one["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        Some(name) => &SCHEMAS["schemas"][name],
        None => one,
    }
}

/// The schema of a member, also of a map.
pub(crate) fn member<'a>(schema: &'a Value, key: &str) -> &'a Value {
    let schema = resolve(schema);
    match schema["properties"].get(key) {
        Some(found) => found,
        None => &schema["additionalProperties"],
    }
}

/// The schema of `metadata`.
pub(crate) fn object_meta() -> &'static Value {
    &SCHEMAS["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]
}

/// How a value is owned and merged: as a whole, or by its parts.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// A scalar, or a list or object that is one value.
    Leaf,
    /// An object by its members.
    Members,
    /// A list by the keys of its items.
    Keyed,
    /// A list of plain values by these.
    Set,
}

/// How a value of a schema is merged.
pub(crate) fn merge_of(listed: &Value, value: &Value) -> Merge {
    let shape = resolve(listed);
    let of = |name: &str| listed[name].as_str().or_else(|| shape[name].as_str());
    // A built-in type that says nothing of its members is one value.
    let opaque = !std::ptr::eq(listed, shape)
        && shape["type"] == "object"
        && shape.get("properties").is_none()
        && shape.get("additionalProperties").is_none();
    match value {
        Value::Object(_) if opaque => Merge::Leaf,
        Value::Object(_) if of("x-kubernetes-map-type") != Some("atomic") => Merge::Members,
        Value::Array(_) if of("x-kubernetes-list-type") == Some("map") => Merge::Keyed,
        Value::Array(_) if of("x-kubernetes-list-type") == Some("set") => Merge::Set,
        _ => Merge::Leaf,
    }
}

/// Whether a schema names its members, so that others are none.
pub(crate) fn is_struct(schema: &Value) -> bool {
    resolve(schema)["properties"].is_object()
}
