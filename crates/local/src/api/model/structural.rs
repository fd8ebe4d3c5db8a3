//! Structural schemas of custom resources: their defaults and their rules. Fields that a schema does not name are kept.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>

use serde_json::{Value, json};

use super::cause;
use crate::api::status::Cause;

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
                fields.values_mut().for_each(|inner| fill(&schema["additionalProperties"], inner));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| fill(&schema["items"], inner)),
        _ => {}
    }
}

/// Adds a cause for each rule that a value breaks.
pub(super) fn check(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if let Some(wanted) = wrong_type(schema, value) {
        let found = type_of(value);
        let message = format!("Invalid value: \"{found}\": {path} in body must be of type {wanted}: \"{found}\"");
        causes.push(cause("FieldValueTypeInvalid", path, message));
        return;
    }
    check_scalar(schema, path, value, causes);
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => {
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    causes.push(cause("FieldValueRequired", &inside(name), "Required value".to_owned()));
                }
            }
            for (name, inner) in fields {
                let own = schema["properties"].get(name);
                let any = schema.get("additionalProperties").filter(|any| any.is_object());
                if let Some(schema) = own.or(any) {
                    check(schema, &inside(name), inner, causes);
                }
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                check(&schema["items"], &format!("{path}[{index}]"), inner, causes);
            }
        }
        _ => {}
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type<'a>(schema: &'a Value, value: &Value) -> Option<&'a str> {
    let wanted = schema["type"].as_str()?;
    let found = type_of(value);
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = wanted == found || (wanted == "number" && found == "integer") || (wanted == "integer" && whole);
    (!fits).then_some(wanted)
}

fn check_scalar(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
        causes.push(cause("FieldValueNotSupported", path, message));
    }
    let mut broken = |rule: String| {
        causes.push(cause("FieldValueInvalid", path, format!("Invalid value: {value}: {path} in body should {rule}")));
    };
    if let Some(number) = value.as_f64() {
        if let Some(limit) = schema["minimum"].as_f64().filter(|limit| number < *limit) {
            broken(format!("be greater than or equal to {}", json_number(limit)));
        }
        if let Some(limit) = schema["maximum"].as_f64().filter(|limit| number > *limit) {
            broken(format!("be less than or equal to {}", json_number(limit)));
        }
    }
    if let Some(text) = value.as_str() {
        let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
        if let Some(limit) = schema["minLength"].as_u64().filter(|limit| length < *limit) {
            broken(format!("be at least {limit} chars long"));
        }
        let pattern = schema["pattern"].as_str();
        if let Some(pattern) = pattern.filter(|pattern| regex::Regex::new(pattern).is_ok_and(|re| !re.is_match(text))) {
            broken(format!("match '{pattern}'"));
        }
    }
}

/// A whole number without its fraction.
fn json_number(number: f64) -> String {
    let text = json!(number).to_string();
    text.strip_suffix(".0").map(ToOwned::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
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
                    "parts": { "type": "array", "items": { "type": "object", "properties": {
                        "name": { "type": "string", "pattern": "^[a-z]+$" } } } },
                },
            } },
        })
    }

    fn broken(object: &Value) -> Vec<String> {
        let mut causes = Vec::new();
        check(&schema(), "", object, &mut causes);
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn defaults_are_set_where_absent() {
        let mut object = json!({ "spec": { "size": 3 } });
        fill(&schema(), &mut object);
        assert_eq!(object, json!({ "spec": { "size": 3, "colour": "blue" } }));
        fill(&schema(), &mut object);
        assert_eq!(broken(&object), Vec::<String>::new());
    }

    #[test]
    fn each_broken_rule_is_said_as_upstream_does() {
        let rows = [
            (json!({}), "spec.size: Required value"),
            (
                json!({ "size": 11 }),
                "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10",
            ),
            (
                json!({ "size": "x" }),
                "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
            ),
            (
                json!({ "size": 1, "colour": "green" }),
                "spec.colour: Unsupported value: \"green\": supported values: \"blue\", \"red\"",
            ),
            (
                json!({ "size": 1, "parts": [{ "name": "B" }] }),
                "spec.parts[0].name: Invalid value: \"B\": spec.parts[0].name in body should match '^[a-z]+$'",
            ),
        ];
        for (spec, wanted) in rows {
            assert_eq!(broken(&json!({ "spec": spec })), [wanted]);
        }
    }
}
