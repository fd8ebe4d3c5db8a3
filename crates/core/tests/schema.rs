//! The committed JSON Schemas are current: `DEMOCTL_REGENERATE=1 cargo test -p democtl-core --test schema` writes them.

use democtl_core::profile::schema;
use serde_json::Value;

fn text(schema: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(schema).expect("a schema is JSON"))
}

#[expect(clippy::disallowed_methods, reason = "a test that writes what it checks, when asked to")]
fn current(name: &str, schema: &Value) {
    let path = format!("{}/../../schema/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("DEMOCTL_REGENERATE").is_some() {
        std::fs::write(&path, text(schema)).expect("the schema directory is writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text(schema), "schema/{name}.schema.json is stale: run with DEMOCTL_REGENERATE=1");
}

#[test]
fn committed_schemas_are_current() {
    current("profile", &schema::profile());
    current("suite", &schema::suite());
}

#[test]
fn unknown_keys_are_closed_and_every_key_is_described() {
    fn walk(schema: &Value, path: &str) {
        if let Some(properties) = schema["properties"].as_object() {
            let open = path.ends_with("Prices");
            assert!(open || schema["additionalProperties"] == false, "{path} takes unknown keys");
            for (key, property) in properties {
                let told = property.get("description").is_some() || property.get("$ref").is_some();
                let told = told || property.get("const").is_some() || property["anyOf"][0].get("$ref").is_some();
                assert!(told, "{path}.{key} has no description");
            }
        }
        for (key, definition) in schema["$defs"].as_object().into_iter().flatten() {
            walk(definition, key);
        }
        for branch in schema["oneOf"].as_array().into_iter().flatten() {
            walk(branch, path);
        }
    }
    walk(&schema::profile(), "Profile");
    walk(&schema::suite(), "Suite");
}
