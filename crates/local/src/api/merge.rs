//! The merge of server-side apply: an applied configuration over the live object, by the lists' and maps' own rules.
//!
//! Upstream: `sigs.k8s.io/structured-merge-diff/v4/typed`.

use serde_json::Value;

use super::{
    fields::element,
    schemas::{self, Merge, member, resolve},
};

/// A configuration over an object.
pub(crate) fn merge(schema: &Value, live: &Value, config: &Value) -> Value {
    let merge_type = schemas::merge_of(schema, config);
    match (merge_type, live, config) {
        (Merge::Members, Value::Object(before), Value::Object(after)) => {
            let mut out = before.clone();
            for (key, value) in after {
                let own = member(schema, key);
                let merged = match out.get(key) {
                    Some(live) => merge(own, live, value),
                    None => value.clone(),
                };
                out.insert(key.clone(), merged);
            }
            Value::Object(out)
        }
        (Merge::Keyed | Merge::Set, Value::Array(before), Value::Array(after)) => {
            Value::Array(items(schema, merge_type, before, after))
        }
        // An absent part says nothing about the parts of what is there.
        (Merge::Leaf, Value::Object(before), Value::Null)
            if !before.is_empty() && schemas::merge_of(schema, live) == Merge::Members =>
        {
            live.clone()
        }
        (Merge::Leaf, Value::Array(before), Value::Null)
            if !before.is_empty() && schemas::merge_of(schema, live) != Merge::Leaf =>
        {
            live.clone()
        }
        _ => config.clone(),
    }
}

/// Items of both lists: those of the configuration in its order, the others where they were.
fn items(schema: &Value, merge_type: Merge, before: &[Value], after: &[Value]) -> Vec<Value> {
    let elements = |list: &[Value]| list.iter().map(|item| element(schema, merge_type, item)).collect::<Vec<_>>();
    let (left, right) = (elements(before), elements(after));
    let at = |all: &[String], wanted: &String| all.iter().position(|known| known == wanted);
    let mut shared = right.iter().filter(|element| left.contains(element));
    let mut next = shared.next();
    let take = |index: usize| match at(&left, &right[index]) {
        Some(live) => merge(&schema["items"], &before[live], &after[index]),
        None => after[index].clone(),
    };
    let (mut l, mut r, mut out) = (0, 0, Vec::with_capacity(before.len().max(after.len())));
    let mut merged = vec![false; right.len()];
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() {
            if left[l] == right[r] {
                merged[r] = true;
                out.push(take(r));
                (l, r) = (l + 1, r + 1);
                next = shared.next();
                continue;
            }
            if right.contains(&left[l]) && next.is_some_and(|next| *next != left[l]) {
                l += 1;
                continue;
            }
        }
        if l < left.len() {
            match at(&right, &left[l]) {
                None => {
                    out.push(before[l].clone());
                    l += 1;
                    continue;
                }
                Some(index) if merged[index] => l += 1,
                Some(_) => {}
            }
        }
        if r < right.len() {
            merged[r] = true;
            out.push(take(r));
            if next == Some(&right[r]) {
                next = shared.next();
            }
            r += 1;
        }
    }
    out
}

/// Whether a configuration fits its schema: its members are known, its values of their types, its items told apart.
pub(crate) fn check(schema: &Value, config: &Value) -> Result<(), String> {
    let Some(members) = config.as_object() else { return Ok(()) };
    for (key, value) in members.iter().filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata")) {
        check_member(schema, "", key, value)?;
    }
    check_value(schemas::object_meta(), ".metadata", config.get("metadata").unwrap_or(&Value::Null))
}

fn check_member(schema: &Value, path: &str, key: &str, value: &Value) -> Result<(), String> {
    let shape = resolve(schema);
    let path = format!("{path}.{key}");
    let open = shape["x-kubernetes-preserve-unknown-fields"] == true || shape["additionalProperties"].is_object();
    match shape["properties"].get(key) {
        Some(own) => check_value(own, &path, value),
        None if open || !shape["properties"].is_object() => check_value(&shape["additionalProperties"], &path, value),
        None => Err(format!("{path}: field not declared in schema")),
    }
}

fn check_value(schema: &Value, path: &str, value: &Value) -> Result<(), String> {
    let shape = resolve(schema);
    let wrong = |wanted: &str| Err(format!("{path}: expected {wanted}, got {}", described(value)));
    let int_or_string = shape["x-kubernetes-int-or-string"] == true || shape["format"] == "int-or-string";
    match (shape["type"].as_str(), value) {
        (_, Value::Null) => Ok(()),
        (_, _) if int_or_string => Ok(()),
        (Some("string"), value) if !value.is_string() => wrong("string"),
        (Some("boolean"), value) if !value.is_boolean() => wrong("boolean"),
        (Some("integer" | "number"), value) if !value.is_number() => wrong("numeric (int or float)"),
        (Some("object"), value) if !value.is_object() => wrong("map"),
        (Some("array"), value) if !value.is_array() => wrong("list"),
        (_, Value::Object(members)) => {
            members.iter().try_for_each(|(key, value)| check_member(schema, path, key, value))
        }
        (_, Value::Array(list)) => check_items(schema, path, list, value),
        _ => Ok(()),
    }
}

fn check_items(schema: &Value, path: &str, list: &[Value], value: &Value) -> Result<(), String> {
    let merge_type = schemas::merge_of(schema, value);
    let mut seen: Vec<String> = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let mut inside = format!("{path}[{index}]");
        if merge_type != Merge::Leaf {
            if merge_type == Merge::Keyed {
                keyed(schema, path, index, item)?;
            }
            let own = element(schema, merge_type, item);
            let shown = super::fields::display(std::slice::from_ref(&own));
            if seen.contains(&own) {
                return Err(format!("{path}: duplicate entries for key {shown}"));
            }
            inside = format!("{path}{shown}");
            seen.push(own);
        }
        check_value(&schema["items"], &inside, item)?;
    }
    Ok(())
}

fn keyed(list: &Value, path: &str, index: usize, item: &Value) -> Result<(), String> {
    let Some(members) = item.as_object() else {
        return Err(format!("{path}: element {index}: associative list with keys may not have non-map elements"));
    };
    let properties = &resolve(&list["items"])["properties"];
    let mut keys = list["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match keys.find(|key| !members.contains_key(*key) && properties[*key].get("default").is_none()) {
        None => Ok(()),
        Some(key) => Err(format!(
            "{path}: element {index}: associative list with keys has an element that omits key field \"{key}\" (and doesn't have default value)"
        )),
    }
}

fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "numeric",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list() -> Value {
        json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
            "type": "object", "properties": { "name": { "type": "string" }, "v": { "type": "integer" } } } })
    }

    #[test]
    fn items_keep_the_appliers_order_and_others_their_places() {
        let named = |names: &str| names.chars().map(|c| json!({ "name": c.to_string() })).collect::<Vec<_>>();
        for (live, config, wanted) in [("ac", "b", "acb"), ("abc", "cb", "acb"), ("", "ba", "ba"), ("abc", "ca", "bca")]
        {
            let merged = merge(&list(), &json!(named(live)), &json!(named(config)));
            assert_eq!(merged, json!(named(wanted)), "{live} {config}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let schema = json!({ "type": "object", "properties": { "items": list() } });
        let rows = [
            (json!({ "items": [{ "name": "a" }] }), None),
            (
                json!({ "items": [{ "name": "a" }, { "name": "a" }] }),
                Some(".items: duplicate entries for key [name=\"a\"]"),
            ),
            (
                json!({ "items": [{ "name": "a", "v": "x" }] }),
                Some(".items[name=\"a\"].v: expected numeric (int or float), got string"),
            ),
            (json!({ "other": 1 }), Some(".other: field not declared in schema")),
        ];
        for (config, wanted) in rows {
            assert_eq!(check(&schema, &config).err().as_deref(), wanted);
        }
    }
}
