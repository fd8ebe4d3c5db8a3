//! The value rules of JSON Schema that structural schemas have.
//!
//! Wording and codes: `k8s.io/kube-openapi/pkg/validation`, `k8s.io/apiextensions-apiserver/pkg/apiserver/validation`.

use serde_json::{Value, json};

use super::{super::validate::cause, OF_EVERY_OBJECT, format, pattern};
use crate::api::status::Cause;

/// Checks a whole object; what every object has is not the schema's business.
pub(super) fn check_object(schema: &Value, object: &Value, causes: &mut Vec<Cause>) {
    let mut bare = object.clone();
    if let Some(members) = bare.as_object_mut() {
        members.retain(|key, _| !OF_EVERY_OBJECT.contains(&key.as_str()) || schema["properties"].get(key).is_some());
    }
    check(schema, "", &bare, causes);
}

/// Adds a cause for each rule that a value breaks.
pub(crate) fn check(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    if value.is_null() && (schema["nullable"] == true || schema.is_null()) {
        return;
    }
    if let Some(wanted) = wrong_type(schema, value) {
        let found = type_of(value);
        let message = format!("Invalid value: \"{found}\": {path} in body must be of type {wanted}: \"{found}\"");
        causes.push(cause("FieldValueTypeInvalid", path, message));
        check_enum(schema, path, value, causes);
        return;
    }
    check_enum(schema, path, value, causes);
    check_number(schema, path, value, causes);
    check_text(schema, path, value, causes);
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => {
            check_count(schema, path, fields.len(), ["minProperties", "maxProperties", "properties"], value, causes);
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
            check_count(schema, path, items.len(), ["minItems", "maxItems", "items"], value, causes);
            let twice = |(index, item): (usize, &Value)| items[..index].contains(item);
            if schema["uniqueItems"] == true && items.iter().enumerate().any(twice) {
                let message = format!("Invalid value: {value}: {path} in body shouldn't contain duplicates");
                causes.push(cause("FieldValueInvalid", path, message));
            }
            for (index, inner) in items.iter().enumerate() {
                check(&schema["items"], &format!("{path}[{index}]"), inner, causes);
            }
        }
        _ => {}
    }
    check_alternatives(schema, path, value, causes);
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
    let found = type_of(value);
    if schema["x-kubernetes-int-or-string"] == true {
        return (!matches!(found, "integer" | "string")).then_some("integer,string");
    }
    let wanted = schema["type"].as_str()?;
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = wanted == found || (wanted == "number" && found == "integer") || (wanted == "integer" && whole);
    (!fits).then_some(wanted)
}

fn check_enum(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
        causes.push(cause("FieldValueNotSupported", path, message));
    }
}

fn check_number(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    let Some(number) = value.as_f64() else { return };
    let mut broken = |rule: String| {
        causes.push(cause("FieldValueInvalid", path, format!("Invalid value: {value}: {path} in body should {rule}")));
    };
    let strict = |key: &str| schema[key] == true;
    if let Some(limit) = schema["minimum"].as_f64() {
        let equal = if strict("exclusiveMinimum") { "" } else { " or equal to" };
        if number < limit || (equal.is_empty() && number <= limit) {
            broken(format!("be greater than{equal} {}", json_number(limit)));
        }
    }
    if let Some(limit) = schema["maximum"].as_f64() {
        let equal = if strict("exclusiveMaximum") { "" } else { " or equal to" };
        if number > limit || (equal.is_empty() && number >= limit) {
            broken(format!("be less than{equal} {}", json_number(limit)));
        }
    }
    if let Some(factor) = schema["multipleOf"].as_f64().filter(|factor| *factor > 0.0) {
        let times = number / factor;
        if (times - times.round()).abs() > 1e-9 * times.abs().max(1.0) {
            broken(format!("be a multiple of {}", json_number(factor)));
        }
    }
}

fn check_text(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    let Some(text) = value.as_str() else { return };
    let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    let mut broken = |rule: String| {
        causes.push(cause("FieldValueInvalid", path, format!("Invalid value: {value}: {path} in body should {rule}")));
    };
    if let Some(limit) = schema["minLength"].as_u64().filter(|limit| length < *limit) {
        broken(format!("be at least {limit} chars long"));
    }
    let wanted = schema["pattern"].as_str();
    if let Some(pattern) = wanted.filter(|wanted| pattern::compiled(wanted).is_ok_and(|re| !re.is_match(text))) {
        broken(format!("match '{pattern}'"));
    }
    if let Some(limit) = schema["maxLength"].as_u64().filter(|limit| length > *limit) {
        causes.push(cause("FieldValueTooLong", path, format!("Too long: may not be more than {limit} bytes")));
    }
    if let Some(format) = schema["format"].as_str().filter(|format| !format::fits(format, text)) {
        let message = format!("Invalid value: {value}: {path} in body must be of type {format}: {value}");
        causes.push(cause("FieldValueTypeInvalid", path, message));
    }
}

/// How many members or items: the keys of the least and the greatest number, and what is counted.
fn check_count(
    schema: &Value,
    path: &str,
    count: usize,
    [least, most, what]: [&str; 3],
    value: &Value,
    causes: &mut Vec<Cause>,
) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if let Some(limit) = schema[least].as_u64().filter(|limit| count < *limit) {
        let message = format!("Invalid value: {value}: {path} in body should have at least {limit} {what}");
        causes.push(cause("FieldValueInvalid", path, message));
    }
    if let Some(limit) = schema[most].as_u64().filter(|limit| count > *limit) {
        let message = format!("Too many: {count}: must have at most {limit} items");
        causes.push(cause("FieldValueTooMany", path, message));
    }
}

/// `allOf`, `anyOf`, `oneOf`, `not`.
fn check_alternatives(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    let holds = |schema: &Value| {
        let mut inner = Vec::new();
        check(schema, path, value, &mut inner);
        inner
    };
    let all = |key: &str| schema[key].as_array().map(|list| list.iter().map(holds).collect::<Vec<_>>());
    // Upstream knows no place for these.
    let broken = |rule: &str| cause("FieldValueInvalid", "<nil>", format!("Invalid value: \"\": {rule}"));
    if let Some(found) = all("allOf")
        && found.iter().any(|inner| !inner.is_empty())
    {
        causes.extend(found.into_iter().flatten());
        causes.push(broken(&format!("\"{path}\" must validate all the schemas (allOf)")));
    }
    if let Some(mut found) = all("anyOf")
        && !found.iter().any(Vec::is_empty)
    {
        causes.push(broken(&format!("\"{path}\" must validate at least one schema (anyOf)")));
        causes.extend(found.drain(..).min_by_key(Vec::len).unwrap_or_default());
    }
    if let Some(mut found) = all("oneOf") {
        let valid = found.iter().filter(|inner| inner.is_empty()).count();
        if valid != 1 {
            let why =
                if valid == 0 { "Found none valid".to_owned() } else { format!("Found {valid} valid alternatives") };
            causes.push(broken(&format!("\"{path}\" must validate one and only one schema (oneOf). {why}")));
        }
        if valid == 0 {
            causes.extend(found.drain(..).min_by_key(Vec::len).unwrap_or_default());
        }
    }
    if schema["not"].is_object() && holds(&schema["not"]).is_empty() {
        causes.push(broken(&format!("\"{path}\" must not validate the schema (not)")));
    }
}

/// A whole number without its fraction.
fn json_number(number: f64) -> String {
    let text = json!(number).to_string();
    text.strip_suffix(".0").map(ToOwned::to_owned).unwrap_or(text)
}
