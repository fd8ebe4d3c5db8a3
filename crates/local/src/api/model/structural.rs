//! Structural schemas of custom resources: what they keep of an object, their defaults, their rules.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>

mod format;
mod lists;
mod pattern;
mod rules;
mod values;

use serde_json::{Map, Value};

pub(crate) use rules::{compiles, rules_of};
pub(crate) use values::check as check_value;

use super::super::typed;
use crate::api::status::Cause;

/// Members that every object has.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

fn preserves(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

fn is_embedded(schema: &Value) -> bool {
    schema["x-kubernetes-embedded-resource"] == true
}

/// Takes away what the schema does not name, and nulls where it wants none.
pub(super) fn prune(schema: &Value, object: &mut Value, unknown: &mut Vec<String>) {
    prune_at(schema, object, "", true, unknown);
}

/// The same for a default, which is no whole object.
pub(super) fn prune_default(schema: &Value, value: &mut Value, unknown: &mut Vec<String>) {
    prune_at(schema, value, "", is_embedded(schema), unknown);
}

fn prune_at(schema: &Value, value: &mut Value, path: &str, root: bool, unknown: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let inside = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let mut strange: Vec<String> = Vec::new();
            for (key, inner) in &mut *members {
                if root && OF_EVERY_OBJECT.contains(&key.as_str()) {
                    if key == "metadata" && !path.is_empty() {
                        embedded_metadata(inner, &inside(key), unknown);
                    }
                    continue;
                }
                let own = schema["properties"].get(key);
                let any = schema.get("additionalProperties").filter(|any| any.is_object() || **any == true);
                match own.or(any) {
                    Some(schema) => prune_at(schema, inner, &inside(key), is_embedded(schema), unknown),
                    None if preserves(schema) => {}
                    None => strange.push(key.clone()),
                }
            }
            for key in strange {
                unknown.push(inside(&key));
                members.shift_remove(&key);
            }
            drop_nulls(schema, members);
        }
        Value::Array(items) => {
            let schema = &schema["items"];
            for (index, inner) in items.iter_mut().enumerate() {
                prune_at(schema, inner, &format!("{path}[{index}]"), is_embedded(schema), unknown);
            }
        }
        _ => {}
    }
}

/// A null where the schema wants a value counts as absent.
fn drop_nulls(schema: &Value, members: &mut Map<String, Value>) {
    members.retain(|key, value| {
        let own = schema["properties"].get(key).or_else(|| schema.get("additionalProperties"));
        !value.is_null() || own.is_none_or(|own| own["nullable"] == true || !own.is_object())
    });
}

fn embedded_metadata(metadata: &mut Value, path: &str, unknown: &mut Vec<String>) {
    let Some(shape) = typed::object_meta() else { return };
    let mut found = typed::Unknown::new();
    let mut rewritten = metadata.clone();
    if typed::canonical(shape, &mut rewritten, &mut found).is_ok() {
        *metadata = rewritten;
        if let Some(members) = metadata.as_object_mut() {
            members.retain(|key, value| key != "creationTimestamp" || !value.is_null());
        }
        unknown.extend(found.into_iter().map(|key| format!("{path}.{key}")));
    }
}

/// Sets what is absent and has a default.
pub(super) fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if !fields.contains_key(name)
                    && let Some(default) = property.get("default")
                {
                    fields.insert(name.clone(), default.clone());
                }
                if let Some(inner) = fields.get_mut(name) {
                    fill(property, inner);
                }
            }
            if schema["additionalProperties"].is_object() {
                let named = schema["properties"].as_object();
                let others = fields.iter_mut().filter(|(name, _)| named.is_none_or(|named| !named.contains_key(*name)));
                others.for_each(|(_, inner)| fill(&schema["additionalProperties"], inner));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| fill(&schema["items"], inner)),
        _ => {}
    }
}

/// Adds a cause for each rule that an object breaks.
pub(super) fn check(schema: &Value, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    values::check_object(schema, object, causes);
    embedded(schema, "", object, causes);
    lists::check(schema, "", object, causes);
    rules::check(schema, object, old, causes);
}

/// Embedded objects must say what they are.
fn embedded(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(members) => {
            if is_embedded(schema) {
                for key in ["apiVersion", "kind"] {
                    if members.get(key).and_then(Value::as_str).is_none_or(str::is_empty) {
                        let message = "Required value: must not be empty".to_owned();
                        causes.push(super::validate::cause("FieldValueRequired", &format!("{path}.{key}"), message));
                    }
                }
            }
            for (key, inner) in members {
                let own = schema["properties"].get(key).or_else(|| schema.get("additionalProperties"));
                if let Some(own) = own {
                    let inside = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    embedded(own, &inside, inner, causes);
                }
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                embedded(&schema["items"], &format!("{path}[{index}]"), inner, causes);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": { "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": { "type": "integer", "minimum": 1, "maximum": 10 },
                    "colour": { "type": "string", "default": "blue", "enum": ["blue", "red"] },
                    "parts": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": { "type": "object", "properties": { "name": { "type": "string", "pattern": "^[a-z]+$" } } } },
                    "when": { "type": "string", "format": "date-time" },
                    "either": { "x-kubernetes-int-or-string": true },
                    "long": { "type": "string", "maxLength": 3 },
                    "one": { "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] },
                },
                "x-kubernetes-validations": [{ "rule": "self.size != 7", "message": "seven is no size" },
                    { "rule": "self.size >= oldSelf.size", "messageExpression": "'not below ' + string(oldSelf.size)" }],
            } },
        })
    }

    fn broken(object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut causes = Vec::new();
        check(&schema(), object, old, &mut causes);
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn defaults_are_set_where_absent() {
        let mut object = json!({ "spec": { "size": 3 } });
        fill(&schema(), &mut object);
        assert_eq!(object, json!({ "spec": { "size": 3, "colour": "blue" } }));
        fill(&schema(), &mut object);
        assert_eq!(broken(&object, None), Vec::<String>::new());
    }

    #[test]
    fn what_no_schema_names_goes() {
        let mut object = json!({ "kind": "K", "metadata": {}, "alien": 1,
            "spec": { "size": 1, "nope": 1, "colour": null, "parts": [{ "name": "a", "x": 1 }], "one": { "any": 1 } } });
        let mut unknown = Vec::new();
        prune(&schema(), &mut object, &mut unknown);
        assert_eq!(unknown, ["spec.parts[0].x", "spec.nope", "alien"]);
        let spec = json!({ "size": 1, "parts": [{ "name": "a" }], "one": { "any": 1 } });
        assert_eq!(object, json!({ "kind": "K", "metadata": {}, "spec": spec }));
    }

    #[test]
    fn each_broken_rule_is_said_as_upstream_does() {
        let rows = [
            (
                json!({ "size": 11 }),
                "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10",
            ),
            (
                json!({ "size": 1, "colour": "green" }),
                "spec.colour: Unsupported value: \"green\": supported values: \"blue\", \"red\"",
            ),
            (
                json!({ "size": 1, "parts": [{ "name": "B" }] }),
                "spec.parts[0].name: Invalid value: \"B\": spec.parts[0].name in body should match '^[a-z]+$'",
            ),
            (
                json!({ "size": 1, "parts": [{ "name": "a" }, { "name": "a" }] }),
                "spec.parts[1]: Duplicate value: {\"name\":\"a\"}",
            ),
            (json!({ "size": 1, "long": "four" }), "spec.long: Too long: may not be more than 3 bytes"),
            (json!({ "size": 7 }), "spec: Invalid value: \"object\": seven is no size"),
        ];
        for (spec, wanted) in rows {
            // What blocks the rules of the language is followed by a note about these.
            assert_eq!(broken(&json!({ "spec": spec }), None)[0], wanted);
        }
        let old = json!({ "spec": { "size": 5 } });
        let shrunk = broken(&json!({ "spec": { "size": 4 } }), Some(&old));
        assert_eq!(shrunk, ["spec: Invalid value: \"object\": not below 5"]);
    }

    #[test]
    fn types_formats_and_alternatives() {
        let rows = [
            (json!({ "size": "x" }), "spec.size"),
            (json!({ "size": 1, "when": "noon" }), "spec.when"),
            (json!({ "size": 1, "either": true }), "spec.either"),
            // Upstream names the place in the message only.
            (json!({ "size": 1, "one": { "a": 1, "b": 2 } }), "<nil>"),
        ];
        for (spec, field) in rows {
            let mut causes = Vec::new();
            check(&schema(), &json!({ "spec": spec }), None, &mut causes);
            assert_eq!(causes[0].field, field, "{causes:?}");
        }
        let fine = json!({ "size": 1, "when": "2020-01-01T00:00:00Z", "either": "80%", "one": { "b": 1 } });
        assert_eq!(broken(&json!({ "spec": fine }), None), Vec::<String>::new());
    }
}
