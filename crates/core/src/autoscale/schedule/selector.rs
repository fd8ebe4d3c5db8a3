//! Label selectors.

use std::collections::BTreeMap;

use super::model::{Expression, Selector};

/// Whether labels satisfy a selector; none matches nothing, an empty one everything.
pub fn matches(selector: Option<&Selector>, labels: &BTreeMap<String, String>) -> bool {
    selector.is_some_and(|selector| {
        selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && selector.match_expressions.iter().all(|expression| holds(expression, labels.get(&expression.key)))
    })
}

/// Whether a requirement holds for a value that may be absent; a malformed one never does.
pub(super) fn holds(expression: &Expression, value: Option<&String>) -> bool {
    let values = &expression.values;
    match expression.operator.as_str() {
        "In" => !values.is_empty() && value.is_some_and(|value| values.contains(value)),
        "NotIn" => !values.is_empty() && value.is_none_or(|value| !values.contains(value)),
        "Exists" => values.is_empty() && value.is_some(),
        "DoesNotExist" => values.is_empty() && value.is_none(),
        "Gt" | "Lt" => {
            let [limit] = values.as_slice() else { return false };
            let (Ok(limit), Some(Ok(value))) = (limit.parse::<i64>(), value.map(|value| value.parse::<i64>())) else {
                return false;
            };
            if expression.operator == "Gt" { value > limit } else { value < limit }
        }
        _ => false,
    }
}

/// Whether a requirement is one that the API would accept; a term with another one never matches.
pub(super) fn well_formed(expression: &Expression) -> bool {
    let count = expression.values.len();
    let values_fit = match expression.operator.as_str() {
        "In" | "NotIn" => count > 0,
        "Exists" | "DoesNotExist" => count == 0,
        "Gt" | "Lt" => count == 1 && expression.values[0].parse::<i64>().is_ok(),
        _ => false,
    };
    values_fit && expression.values.iter().all(|value| is_label_value(value)) && is_label_key(&expression.key)
}

fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_name(value)
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => {
            let part = |part: &str| {
                !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                    && !part.starts_with('-')
                    && !part.ends_with('-')
            };
            prefix.len() <= 253 && prefix.split('.').all(part) && is_name(name)
        }
    }
}

fn is_name(name: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}
