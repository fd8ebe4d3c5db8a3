//! Label selectors of objects.

use serde_json::{Value, json};

use super::{errors::Errors, metadata, names};

/// `matchLabels` and `matchExpressions`.
pub(super) fn label_selector(selector: &Value, path: &str, errors: &mut Errors) {
    metadata::labels(&selector["matchLabels"], &format!("{path}.matchLabels"), errors);
    for (index, expression) in selector["matchExpressions"].as_array().into_iter().flatten().enumerate() {
        let at = format!("{path}.matchExpressions[{index}]");
        let values: Vec<&Value> = expression["values"].as_array().into_iter().flatten().collect();
        match expression["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&format!("{at}.values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    errors.forbidden(&format!("{at}.values"), why);
                }
            }
            other => errors.invalid(&format!("{at}.operator"), &json!(other), "not a valid selector operator"),
        }
        let key = expression["key"].as_str().unwrap_or_default();
        errors.texts(&format!("{at}.key"), key, names::qualified(key));
        for (place, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            errors.texts(&format!("{at}.values[{place}]"), value, names::label_value(value));
        }
    }
}

/// Whether a selector can be understood at all.
pub(super) fn is_readable(selector: &Value) -> bool {
    let mut errors = Errors::default();
    label_selector(selector, "", &mut errors);
    errors.0.is_empty()
}

/// Whether a selector says nothing.
pub(super) fn is_empty(selector: &Value) -> bool {
    let none = |key: &str| match &selector[key] {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    none("matchLabels") && none("matchExpressions")
}
