//! Schemas of definitions: that they keep to what `OpenAPI` v3 and a structural schema allow, and that defaults fit.
//!
//! <https://github.com/kubernetes/apiextensions-apiserver/blob/v0.33.0/pkg/apiserver/schema/validation.go>

use serde_json::{Value, json};

use super::{super::super::structural, super::errors::Errors, list, text};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// Parts of `OpenAPI` that have no place in a structural schema.
const UNSUPPORTED: [&str; 6] = ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
const JUNCTORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// A schema, which is at the root of its objects.
pub(super) fn check(schema: &Value, path: &str, errors: &mut Errors) {
    if schema["nullable"] == true {
        errors.forbidden(&format!("{path}.nullable"), "nullable cannot be true at the root");
    }
    let mut open_api = Errors::default();
    open(schema, path, Place { root: true, no_defaults: None }, &mut open_api);
    errors.0.extend(open_api.0);
    // What cannot be read as a structural schema is not looked at as one.
    if !readable(schema) {
        return;
    }
    let mut structure = Errors::default();
    invariants(schema, path, Level::Root, &mut structure);
    alternatives_complete(schema, schema, path, path, &mut structure);
    if structure.0.is_empty() {
        defaults(schema, path, errors);
    }
    structure.0.sort_by_cached_key(|cause| format!("{}: {}", cause.field, cause.message));
    errors.0.extend(structure.0);
}

fn readable(schema: &Value) -> bool {
    let unsupported = UNSUPPORTED.iter().any(|key| !schema[*key].is_null()) || schema["items"].is_array();
    let named = schema["properties"].as_object().into_iter().flat_map(|members| members.values());
    let inner = ["items", "additionalProperties", "not"].into_iter().map(|key| &schema[key]);
    let besides = JUNCTORS.into_iter().flat_map(|key| list(schema, key));
    !unsupported && named.chain(inner).chain(besides).filter(|inner| inner.is_object()).all(readable)
}

/// Where a schema stands.
#[derive(Clone, Copy)]
struct Place {
    root: bool,
    /// Why there may be no defaults.
    no_defaults: Option<&'static str>,
}

/// The rules of `OpenAPI` v3 as upstream takes it, and of lists and maps.
fn open(schema: &Value, path: &str, place: Place, errors: &mut Errors) {
    let at = |key: &str| format!("{path}.{key}");
    if let Some(why) = place.no_defaults.filter(|_| schema.get("default").is_some()) {
        errors.forbidden(&at("default"), &format!("must not be set {why}"));
    }
    for key in UNSUPPORTED.into_iter().filter(|key| !schema[*key].is_null()) {
        errors.forbidden(&at(key), &format!("{key} is not supported"));
    }
    let kind = text(schema, "type");
    if kind == "null" {
        errors.forbidden(&at("type"), "type cannot be set to null, use nullable as an alternative");
    } else if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.unsupported(&at("type"), &json!(kind), &TYPES);
    }
    if schema["items"].is_array() {
        errors.forbidden(&at("items"), "items must be a schema object and not an array");
    }
    if schema["uniqueItems"] == true {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(&at("uniqueItems"), why);
    }
    let named = schema["properties"].as_object().filter(|members| !members.is_empty());
    if named.is_some() && !matches!(schema["additionalProperties"], Value::Null | Value::Bool(true)) {
        errors.forbidden(&at("additionalProperties"), "additionalProperties and properties are mutual exclusive");
    }
    let inner = Place { root: false, ..place };
    if schema["additionalProperties"].is_object() {
        open(&schema["additionalProperties"], &at("additionalProperties"), inner, errors);
    }
    for (name, property) in named.into_iter().flatten() {
        let no_defaults = match name.as_str() {
            "metadata" if place.root => Some("in top-level metadata"),
            "kind" if place.root => Some("in top-level kind"),
            "apiVersion" if place.root => Some("in top-level apiVersion"),
            _ => place.no_defaults,
        };
        open(property, &at(&format!("properties[{name}]")), Place { no_defaults, ..inner }, errors);
    }
    if schema["not"].is_object() {
        open(&schema["not"], &at("not"), inner, errors);
    }
    for key in ["allOf", "oneOf", "anyOf"] {
        for (index, one) in list(schema, key).iter().enumerate() {
            open(one, &at(&format!("{key}[{index}]")), inner, errors);
        }
    }
    if schema["items"].is_object() {
        open(&schema["items"], &at("items"), inner, errors);
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        errors.invalid(&at("x-kubernetes-preserve-unknown-fields"), &json!(false), "must be true or undefined");
    }
    collections(schema, path, errors);
    super::rules(schema, path, errors);
}

/// `x-kubernetes-map-type`, `x-kubernetes-list-type` and what these ask for.
fn collections(schema: &Value, path: &str, errors: &mut Errors) {
    let at = |key: &str| format!("{path}.{key}");
    let kind = text(schema, "type");
    let wrong_type = |wanted: &str, key: &str, errors: &mut Errors| {
        let why = format!("must be {wanted} if {key} is specified");
        if kind.is_empty() {
            errors.required(&at("type"), &why);
        } else {
            errors.invalid(&at("type"), &json!(kind), &why);
        }
    };
    if let Some(map) = schema["x-kubernetes-map-type"].as_str() {
        if kind != "object" {
            wrong_type("object", "x-kubernetes-map-type", errors);
        }
        if !matches!(map, "atomic" | "granular") {
            errors.unsupported(&at("x-kubernetes-map-type"), &json!(map), &["atomic", "granular"]);
        }
    }
    let items = &schema["items"];
    let listed = schema["x-kubernetes-list-type"].as_str();
    if listed.is_some() && kind != "array" {
        wrong_type("array", "x-kubernetes-list-type", errors);
    } else if listed == Some("set") {
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        match text(items, "type") {
            "array" if !matches!(items["x-kubernetes-list-type"].as_str(), None | Some("atomic")) => {
                errors.invalid(&at("items.x-kubernetes-list-type"), &items["x-kubernetes-list-type"], why);
            }
            "object" if items["x-kubernetes-map-type"] != "atomic" => {
                errors.invalid(&at("items.x-kubernetes-map-type"), &json!("null"), why);
            }
            _ => {}
        }
    }
    if let Some(other) = listed.filter(|listed| !matches!(*listed, "atomic" | "set" | "map")) {
        errors.unsupported(&at("x-kubernetes-list-type"), &json!(other), &["atomic", "set", "map"]);
    }
    let keys = list(schema, "x-kubernetes-list-map-keys");
    let why = "must be map if x-kubernetes-list-map-keys is non-empty";
    match listed {
        Some("map") => map_keys(schema, path, errors),
        _ if keys.is_empty() => {}
        None => errors.required(&at("x-kubernetes-list-type"), why),
        Some(other) => errors.invalid(&at("x-kubernetes-list-type"), &json!(other), why),
    }
}

fn map_keys(schema: &Value, path: &str, errors: &mut Errors) {
    let (at, keys, items) =
        (format!("{path}.x-kubernetes-list-map-keys"), list(schema, "x-kubernetes-list-map-keys"), &schema["items"]);
    if keys.is_empty() {
        errors.required(&at, "must not be empty if x-kubernetes-list-type is map");
    }
    if items.is_null() {
        errors.required(&format!("{path}.items"), "must have a schema if x-kubernetes-list-type is map");
        return;
    }
    if text(items, "type") != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.invalid(&format!("{path}.items.type"), &json!(text(items, "type")), why);
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        match items["properties"].get(name).map(|property| text(property, "type")) {
            Some("array" | "object") => {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.invalid(&format!("{path}.items.properties[{name}].type"), &items["type"], why);
            }
            Some(_) => {}
            None => errors.invalid(&at, &json!(keys), "entries must all be names of item properties"),
        }
        if keys[..index].contains(key) {
            errors.invalid(&at, &json!(keys), "must not contain duplicate entries");
        }
    }
    for key in keys.iter().filter_map(Value::as_str) {
        let Some(property) = items["properties"].get(key) else { continue };
        let required = list(items, "required").iter().any(|required| required == key);
        if !required && property.get("default").is_none() {
            let why =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.required(&format!("{path}.items.properties[{key}].default"), why);
        }
        if property["nullable"] == true {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&format!("{path}.items.properties[{key}].nullable"), why);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What makes a schema structural.
fn invariants(schema: &Value, path: &str, level: Level, errors: &mut Errors) {
    let at = |key: &str| format!("{path}.{key}");
    let is = |key: &str| schema[key] == true;
    let kind = text(schema, "type");
    let (either, preserves, embedded) = (
        is("x-kubernetes-int-or-string"),
        is("x-kubernetes-preserve-unknown-fields"),
        is("x-kubernetes-embedded-resource"),
    );
    if kind == "array" && !schema["items"].is_object() && !schema["items"].is_array() {
        errors.required(&at("items"), "must be specified");
    }
    if schema["items"].is_object() {
        invariants(&schema["items"], &at("items"), Level::Item, errors);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        // What every object has is looked at below.
        let metadata = name == "metadata" && level == Level::Root;
        if !metadata {
            invariants(property, &at(&format!("properties[{name}]")), Level::Field, errors);
        }
    }
    let open = &schema["additionalProperties"];
    if level == Level::Root && !open.is_null() {
        errors.forbidden(&at("additionalProperties"), "must not be used at the root");
    }
    if open.is_object() {
        invariants(open, &at("additionalProperties"), Level::Field, errors);
    }
    for (flag, key) in
        [(preserves, "x-kubernetes-preserve-unknown-fields"), (embedded, "x-kubernetes-embedded-resource")]
    {
        if either && flag {
            errors.invalid(&at(key), &json!(true), "must be false if x-kubernetes-int-or-string is true");
        }
    }
    alternatives(schema, path, errors);
    if embedded && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        if kind.is_empty() {
            errors.required(&at("type"), why);
        } else {
            errors.invalid(&at("type"), &json!(kind), why);
        }
    } else if kind.is_empty() && !either && !preserves {
        let place = match level {
            Level::Root => "at the root",
            Level::Item => "for specified array items",
            Level::Field => "for specified object fields",
        };
        errors.required(&at("type"), &format!("must not be empty {place}"));
    }
    if embedded && !open.is_null() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.forbidden(&at("additionalProperties"), why);
    }
    if level == Level::Root && !matches!(kind, "" | "object") {
        errors.invalid(&at("type"), &json!(kind), "must be object at the root");
    }
    if level == Level::Root || embedded {
        of_every_object(schema, path, level, errors);
    }
    let empty = schema["properties"].as_object().is_none_or(serde_json::Map::is_empty);
    if embedded && !preserves && empty {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.required(&at("properties"), why);
    }
}

/// What a schema says of the members that every object has.
fn of_every_object(schema: &Value, path: &str, level: Level, errors: &mut Errors) {
    for (key, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        if let Some(property) = schema["properties"].get(key).filter(|property| text(property, "type") != wanted) {
            let field = format!("{path}.properties[{key}].type");
            errors.invalid(&field, &json!(text(property, "type")), &format!("must be {wanted}"));
        }
    }
    let Some(metadata) = schema["properties"].get("metadata").filter(|_| level == Level::Root) else { return };
    let mut members =
        metadata.as_object().into_iter().flatten().filter(|(key, _)| !matches!(key.as_str(), "type" | "default"));
    let named = |value: &Value| {
        let mut names = value.as_object().into_iter().flatten();
        names.all(|(name, _)| matches!(name.as_str(), "name" | "generateName"))
    };
    if !members.all(|(key, value)| key == "properties" && named(value)) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.forbidden(&format!("{path}.properties[metadata]"), why);
    }
}

/// The schemas that a value fits besides, which may say nothing of types.
fn alternatives(schema: &Value, path: &str, errors: &mut Errors) {
    let int_or_string = |of: &Value| of["anyOf"] == json!([{ "type": "integer" }, { "type": "string" }]);
    if !int_or_string(schema) {
        for (index, one) in list(schema, "anyOf").iter().enumerate() {
            nested(one, &format!("{path}.anyOf[{index}]"), false, errors);
        }
    }
    for (index, one) in list(schema, "allOf").iter().enumerate() {
        nested(one, &format!("{path}.allOf[{index}]"), index == 0 && int_or_string(one), errors);
    }
    for (index, one) in list(schema, "oneOf").iter().enumerate() {
        nested(one, &format!("{path}.oneOf[{index}]"), false, errors);
    }
    if schema["not"].is_object() {
        nested(&schema["not"], &format!("{path}.not"), false, errors);
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && let Err(error) = regex::Regex::new(pattern)
    {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        errors.invalid(&format!("{path}.pattern"), &json!(pattern), &why);
    }
}

fn nested(schema: &Value, path: &str, either: bool, errors: &mut Errors) {
    const EMPTY: [&str; 4] = ["type", "title", "description", "x-kubernetes-list-map-keys"];
    const UNDEFINED: [&str; 4] = ["additionalProperties", "default", "x-kubernetes-list-type", "x-kubernetes-map-type"];
    const FALSE: [&str; 4] = [
        "nullable",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ];
    if !either {
        alternatives(schema, path, errors);
    }
    let at = |key: &str| format!("{path}.{key}");
    for (keys, what) in [(EMPTY, "empty"), (UNDEFINED, "undefined"), (FALSE, "false")] {
        for key in keys {
            let value = &schema[key];
            let nothing =
                value.is_null() || *value == "" || *value == json!([]) || (what == "false" && *value == false);
            if !nothing {
                errors.forbidden(&at(key), &format!("must be {what} to be structural"));
            }
        }
    }
    if schema["items"].is_object() {
        nested(&schema["items"], &at("items"), false, errors);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        nested(property, &at(&format!("properties[{name}]")), false, errors);
    }
    if schema["properties"].get("metadata").is_some() {
        errors.forbidden(&at("properties[metadata]"), "must not be specified in a nested context");
    }
}

/// What alternatives name must be named by the schema itself.
fn alternatives_complete(of: &Value, schema: &Value, path: &str, from: &str, errors: &mut Errors) {
    if of["not"].is_object() {
        complete(&of["not"], Some(schema), path, &format!("{from}.not"), errors);
    }
    for key in JUNCTORS {
        for (index, one) in list(of, key).iter().enumerate() {
            complete(one, Some(schema), path, &format!("{from}.{key}[{index}]"), errors);
        }
    }
}

fn complete(of: &Value, schema: Option<&Value>, path: &str, from: &str, errors: &mut Errors) {
    let Some(schema) = schema else {
        errors.required(path, &format!("because it is defined in {from}"));
        return;
    };
    alternatives_complete(of, schema, path, from, errors);
    for key in ["items", "additionalProperties"] {
        if of[key].is_object() {
            let own = schema.get(key).filter(|own| own.is_object());
            complete(&of[key], own, &format!("{path}.{key}"), &format!("{from}.{key}"), errors);
        }
    }
    for (name, property) in of["properties"].as_object().into_iter().flatten() {
        let inside = format!("properties[{name}]");
        let own = schema["properties"].get(name);
        complete(property, own, &format!("{path}.{inside}"), &format!("{from}.{inside}"), errors);
    }
}

/// That defaults are values of their own schemas.
fn defaults(schema: &Value, path: &str, errors: &mut Errors) {
    if let Some(default) = schema.get("default") {
        let (mut unknown, mut kept) = (Vec::new(), default.clone());
        structural::prune_default(schema, &mut kept, &mut unknown);
        if unknown.is_empty() {
            let mut causes = Vec::new();
            structural::check_value(schema, "", default, &mut causes);
            errors.0.extend(causes.into_iter().map(|mut cause| {
                let inner = if cause.field.is_empty() { String::new() } else { format!(".{}", cause.field) };
                cause.field = format!("{path}.default{inner}");
                cause
            }));
        } else {
            errors.invalid(&format!("{path}.default"), default, "must not have unknown fields");
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        defaults(property, &format!("{path}.properties[{name}]"), errors);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            defaults(&schema[key], &format!("{path}.{key}"), errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_structural_schema_is_told_where() {
        let text = || json!({ "type": "string" });
        let rows = [
            (json!({ "a": {} }), "properties[a].type"),
            (json!({ "a": { "type": "array", "items": [text()] } }), "properties[a].items"),
            (json!({ "a": { "$ref": "#/x" } }), "properties[a].$ref"),
            (json!({ "a": { "type": "string", "not": { "default": "x" } } }), "properties[a].not.default"),
            (
                json!({ "a": { "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "number" }] } }),
                "properties[a].anyOf[0].type",
            ),
            (json!({ "a": { "type": "object", "x-kubernetes-embedded-resource": true } }), "properties[a].properties"),
            (json!({ "metadata": { "type": "object", "properties": { "labels": text() } } }), "properties[metadata]"),
            (json!({ "a": { "type": "string", "x-kubernetes-map-type": "atomic" } }), "properties[a].type"),
            (json!({ "a": { "type": "object", "anyOf": [{ "properties": { "x": {} } }] } }), ""),
            (json!({ "a": { "type": "object", "default": { "x": 1 } } }), "properties[a].default"),
        ];
        for (properties, field) in rows {
            let mut errors = Errors::default();
            check(&json!({ "type": "object", "properties": properties }), "s", &mut errors);
            let fields: Vec<&str> = errors.0.iter().map(|cause| cause.field.trim_start_matches("s.")).collect();
            assert_eq!(fields, if field.is_empty() { Vec::new() } else { vec![field] }, "{properties}");
        }
        let mut errors = Errors::default();
        check(&json!({ "type": "object", "anyOf": [{ "properties": { "x": {} } }] }), "s", &mut errors);
        assert_eq!(errors.0.len(), 1, "what an alternative names is named by the schema");
    }
}
