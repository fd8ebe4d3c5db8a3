//! The committed JSON Schemas are current: `DEMOCTL_REGENERATE=1 cargo test -p democtl-core --test schema` writes them.

use std::fmt::Write as _;

use democtl_core::profile::schema;
use serde_json::Value;

fn text(schema: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(schema).expect("a schema is JSON"))
}

#[expect(clippy::disallowed_methods, reason = "a test that writes what it checks, when asked to")]
fn current(file: &str, wanted: &str) {
    let path = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("DEMOCTL_REGENERATE").is_some() {
        std::fs::write(&path, wanted).expect("the repository is writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == wanted, "{file} is stale: run with DEMOCTL_REGENERATE=1");
}

#[test]
fn committed_schemas_are_current() {
    current("schema/profile.schema.json", &text(&schema::profile()));
    current("schema/suite.schema.json", &text(&schema::suite()));
}

const INTRODUCTION: &str = "\
# Profiles and suites: every key
Made from the schemas in `schema/`; an editor that reads `#:schema` completes and checks the same keys. Durations are
texts such as `\"30s\"`, CPU `\"500m\"`, memory `\"1Gi\"`. `--set workload.web.scaling.max=6` overrides any key;
`extends = \"m3demo2\"` starts from another profile (tables are merged, lists replaced). Unknown keys are errors.
";

/// One table of keys for a schema's own properties, then one for each of its definitions.
fn reference(title: &str, schema: &Value) -> String {
    let mut out = format!("\n## {title}\n");
    section(&mut out, schema);
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "\n### {name}");
        section(&mut out, definition);
    }
    out
}

fn section(out: &mut String, schema: &Value) {
    let sentence = |schema: &Value| schema["description"].as_str().unwrap_or_default().replace('\n', " ");
    if schema["description"].is_string() {
        let _ = writeln!(out, "{}", sentence(schema));
    }
    for value in schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(out, "- `{value}`");
    }
    let variants = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()).into_iter().flatten();
    for variant in variants {
        let name = variant["const"].as_str().or_else(|| variant["properties"]["type"]["const"].as_str());
        if let Some(name) = name {
            let _ = writeln!(out, "- `{name}`: {}", sentence(variant));
        }
        for (key, property) in variant["properties"].as_object().into_iter().flatten().filter(|(key, _)| *key != "type")
        {
            let _ = writeln!(out, "  - `{key}` ({}): {}", kind(property), sentence(property));
        }
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    *out += "\n| key | type | meaning |\n|---|---|---|\n";
    for (key, property) in properties {
        let _ = writeln!(out, "| `{key}` | {} | {} |", kind(property), sentence(property).replace('|', "\\|"));
    }
}

/// `text`, `Pool`, `list of Trigger`, `table of Workload`.
fn kind(property: &Value) -> String {
    if let Some(reference) = property["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(some) = property["anyOf"].as_array().and_then(|any| any.iter().find(|one| one["type"] != "null")) {
        return kind(some);
    }
    let types = property["type"].as_array().map_or_else(|| vec![property["type"].clone()], Clone::clone);
    match types.iter().find(|kind| *kind != "null").and_then(Value::as_str) {
        Some("string") if property["format"].is_string() => property["format"].as_str().unwrap_or_default().to_owned(),
        Some("string") => "text".to_owned(),
        Some("array") => format!("list of {}", kind(&property["items"])),
        Some("object") => format!("table of {}", kind(&property["additionalProperties"])),
        Some(other) => other.to_owned(),
        None => "any".to_owned(),
    }
}

#[test]
fn committed_reference_is_current() {
    let profile = reference("Profile", &schema::profile());
    let suite = reference("Suite", &schema::suite());
    current("docs/profile.md", &format!("{INTRODUCTION}{profile}{suite}"));
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
