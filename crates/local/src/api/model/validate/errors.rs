//! Causes in the words of `k8s.io/apimachinery/pkg/util/validation/field`.

use serde_json::Value;

use crate::api::status::Cause;
pub(super) use crate::api::{list, text};

/// One cause.
pub(in super::super) fn cause(reason: &str, field: &str, message: String) -> Cause {
    Cause { reason: reason.into(), field: field.into(), message }
}

/// The causes found so far.
#[derive(Debug, Default)]
pub(super) struct Errors(pub(super) Vec<Cause>);

impl Errors {
    /// Something that must be there is not.
    pub(super) fn required(&mut self, field: &str, why: &str) {
        let text = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        self.0.push(cause("FieldValueRequired", field, text));
    }

    /// A value breaks a rule.
    pub(super) fn invalid(&mut self, field: &str, value: &Value, why: &str) {
        self.0.push(cause("FieldValueInvalid", field, format!("Invalid value: {value}: {why}")));
    }

    /// A text breaks rules.
    pub(super) fn texts(&mut self, field: &str, value: &str, whys: Vec<String>) {
        for why in whys {
            self.invalid(field, &Value::String(value.to_owned()), &why);
        }
    }

    /// Something that must not be there is.
    pub(super) fn forbidden(&mut self, field: &str, why: &str) {
        self.0.push(cause("FieldValueForbidden", field, format!("Forbidden: {why}")));
    }

    /// A value is there twice.
    pub(super) fn duplicate(&mut self, field: &str, value: &Value) {
        self.0.push(cause("FieldValueDuplicate", field, format!("Duplicate value: {value}")));
    }

    /// A value is longer than so many bytes.
    pub(super) fn too_long(&mut self, field: &str, most: usize) {
        self.0.push(cause("FieldValueTooLong", field, format!("Too long: may not be more than {most} bytes")));
    }

    /// A list has more than so many items.
    pub(super) fn too_many(&mut self, field: &str, count: usize, most: usize) {
        if count > most {
            let text = format!("Too many: {count}: must have at most {most} items");
            self.0.push(cause("FieldValueTooMany", field, text));
        }
    }

    /// A name that nothing has.
    pub(super) fn not_found(&mut self, field: &str, name: &str) {
        self.0.push(cause("FieldValueNotFound", field, format!("Not found: \"{name}\"")));
    }

    /// A value is none of those that are known.
    pub(super) fn unsupported(&mut self, field: &str, value: &Value, known: &[&str]) {
        let known: Vec<String> = known.iter().map(|known| format!("\"{known}\"")).collect();
        let text = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
        self.0.push(cause("FieldValueNotSupported", field, text));
    }

    /// A number is negative; absent is fine.
    pub(super) fn not_negative(&mut self, object: &Value, key: &str, path: &str) {
        if let Some(number) = object[key].as_i64().filter(|number| *number < 0) {
            self.invalid(&format!("{path}.{key}"), &number.into(), "must be greater than or equal to 0");
        }
    }

    /// Permissions of a file, where they are given.
    pub(super) fn file_mode(&mut self, object: &Value, key: &str, path: &str) {
        if object[key].as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
            let why = "must be a number between 0 and 0777 (octal), both inclusive";
            self.invalid(&format!("{path}.{key}"), &object[key], why);
        }
    }

    /// Texts that must be there, in this order.
    pub(super) fn all_of(&mut self, object: &Value, keys: &[&str], path: &str) {
        for key in keys.iter().filter(|key| is_absent(&object[**key])) {
            self.required(&format!("{path}.{key}"), "");
        }
    }

    /// A text is one of those known, where it is given.
    pub(super) fn one_of(&mut self, object: &Value, key: &str, path: &str, known: &[&str]) {
        if let Some(text) = object[key].as_str().filter(|text| !known.contains(text)) {
            let field = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            self.unsupported(&field, &text.into(), known);
        }
    }
}

/// Whether a member says nothing: Go's zero of a text or a list.
pub(super) fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
