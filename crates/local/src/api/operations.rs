//! JSON patches (RFC 6902) and merge patches (RFC 7386) as upstream's library has them, which is laxer than the RFCs: what
//! is not there is null, a member may be replaced that is not there, places in lists may be counted from the end; and
//! copies have a limit, since a few of them that copy each other's results would fill any memory.
//! <https://github.com/evanphx/json-patch/blob/v4.12.0/patch.go>

use serde_json::{Map, Value};

use super::Status;

/// Operations of a patch; upstream's.
const MOST: usize = 10_000;
/// Bytes of JSON that all copies of a patch may make together; upstream's.
const MOST_COPIED: usize = 3 << 20;
/// Members of an operation.
const KNOWN: [&str; 4] = ["op", "path", "from", "value"];

/// Members of a patch's operations that mean nothing; fails where those that do are of wrong types.
pub(super) fn unknown_members(body: &Value) -> Result<Vec<String>, Status> {
    let mut unknown = Vec::new();
    for (index, operation) in operations(body)?.iter().enumerate() {
        for (key, value) in *operation {
            if !KNOWN.contains(&key.as_str()) {
                unknown.push(format!("json patch unknown field \"[{index}].{key}\""));
            } else if key != "value" && !matches!(value, Value::String(_) | Value::Null) {
                let text = format!("error decoding patch: json: {key} of operation {index} is no string: {value}");
                return Err(Status::bad_request(text));
            }
        }
    }
    Ok(unknown)
}

fn operations(body: &Value) -> Result<Vec<&Map<String, Value>>, Status> {
    let wrong = |value: &Value| {
        Status::bad_request(format!("error decoding patch: json: cannot unmarshal {value} into a list of operations"))
    };
    match body {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(|item| item.as_object().ok_or_else(|| wrong(item))).collect(),
        other => Err(wrong(other)),
    }
}

/// Applies a JSON patch to an object.
pub(super) fn apply(old: &Value, body: &Value) -> Result<Value, Status> {
    let operations = operations(body)?;
    if operations.len() > MOST {
        let text = format!("The allowed maximum operations in a JSON patch is {MOST}, got {}", operations.len());
        return Err(Status::new(413, "RequestEntityTooLarge", text));
    }
    let (mut new, mut copied) = (old.clone(), 0);
    for (index, operation) in operations.into_iter().enumerate() {
        operate(&mut new, operation, &mut copied).map_err(|why| {
            let text =
                format!("the server rejected our request due to an error in our request: operation {index}: {why}");
            Status::new(422, "Invalid", text).with_details(super::Details::default())
        })?;
    }
    Ok(new)
}

fn operate(object: &mut Value, operation: &Map<String, Value>, copied: &mut usize) -> Result<(), String> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str).ok_or_else(|| format!("{key} is missing"));
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match operation.get("op").and_then(Value::as_str).unwrap_or("unknown") {
        "add" => place(object, text("path")?)?.add(value()),
        "remove" => place(object, text("path")?)?.remove(),
        "replace" if text("path")?.is_empty() => {
            let value = value();
            if value.is_object() || value.is_array() {
                *object = value;
            }
            Ok(())
        }
        "replace" => place(object, text("path")?)?.replace(value()),
        "move" => {
            let mut from = place(object, text("from")?)?;
            let value = from.get()?;
            from.remove()?;
            place(object, text("path")?)?.add(value)
        }
        "copy" => {
            let value = place(object, text("from")?)?.get()?;
            *copied += value.to_string().len();
            if *copied > MOST_COPIED {
                return Err(format!(
                    "Unable to copy, the accumulated size increase of copy is {copied}, exceeding the limit {MOST_COPIED}"
                ));
            }
            place(object, text("path")?)?.add(value)
        }
        "test" => {
            let path = text("path")?;
            let found = if path.is_empty() { object.clone() } else { place(object, path)?.get()? };
            if found == value() { Ok(()) } else { Err(format!("testing value {path} failed")) }
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

/// Where a path leads: into an object or a list that is there.
enum Place<'a> {
    Member(&'a mut Map<String, Value>, String),
    Item(&'a mut Vec<Value>, String),
}

fn place<'a>(object: &'a mut Value, path: &str) -> Result<Place<'a>, String> {
    let missing = || format!("doc is missing path: \"{path}\"");
    let decoded = |part: &str| part.replace("~1", "/").replace("~0", "~");
    // What stands before the first slash means nothing.
    let (_, path) = path.split_once('/').ok_or_else(missing)?;
    let (above, last) = path.rsplit_once('/').map_or((None, path), |(above, last)| (Some(above), last));
    let mut at = object;
    for part in above.into_iter().flat_map(|above| above.split('/')) {
        at = match at {
            Value::Object(members) => members.get_mut(&decoded(part)),
            Value::Array(items) => index(part, items.len()).ok().and_then(|index| items.get_mut(index)),
            _ => None,
        }
        .ok_or_else(missing)?;
    }
    match at {
        Value::Object(members) => Ok(Place::Member(members, decoded(last))),
        Value::Array(items) => Ok(Place::Item(items, decoded(last))),
        _ => Err(missing()),
    }
}

/// A place in a list of so many; negative ones count from its end.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let number: i64 = key.parse().map_err(|_| format!("value was not a proper array index: '{key}'"))?;
    let counted = if number < 0 {
        usize::try_from(number.unsigned_abs()).ok().and_then(|back| length.checked_sub(back))
    } else {
        usize::try_from(number).ok()
    };
    counted.ok_or_else(|| format!("Unable to access invalid index: {number}"))
}

impl Place<'_> {
    fn item(items: &[Value], key: &str) -> Result<usize, String> {
        let at = index(key, items.len())?;
        if at < items.len() { Ok(at) } else { Err(format!("Unable to access invalid index: {at}")) }
    }

    /// What stands there; null where an object has no such member.
    fn get(&self) -> Result<Value, String> {
        match self {
            Self::Member(members, key) => Ok(members.get(key).cloned().unwrap_or(Value::Null)),
            Self::Item(items, key) => Self::item(items, key).map(|at| items[at].clone()),
        }
    }

    fn add(self, value: Value) -> Result<(), String> {
        match self {
            Self::Member(members, key) => _ = members.insert(key, value),
            Self::Item(items, key) if key == "-" => items.push(value),
            Self::Item(items, key) => {
                let at = index(&key, items.len() + 1)?;
                if at > items.len() {
                    return Err(format!("Unable to access invalid index: {at}"));
                }
                items.insert(at, value);
            }
        }
        Ok(())
    }

    fn replace(self, value: Value) -> Result<(), String> {
        match self {
            Self::Member(members, key) => _ = members.insert(key, value),
            Self::Item(items, key) => {
                let at = Self::item(items, &key)?;
                items[at] = value;
            }
        }
        Ok(())
    }

    fn remove(&mut self) -> Result<(), String> {
        match self {
            Self::Member(members, key) => members
                .shift_remove(key.as_str())
                .map(drop)
                .ok_or_else(|| format!("Unable to remove nonexistent key: {key}")),
            Self::Item(items, key) => Self::item(items, key).map(|at| _ = items.remove(at)),
        }
    }
}

/// Applies a merge patch: members of the patch take the place of those of the object, null takes them away.
pub(super) fn merge(object: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match (object.get_mut(key), value) {
            (_, Value::Null) => _ = object.shift_remove(key),
            (Some(Value::Object(members)), Value::Object(patch)) => merge(members, patch),
            (Some(Value::Object(_)), value) => _ = object.insert(key.clone(), value.clone()),
            (_, value) => {
                let mut value = value.clone();
                forget_nulls(&mut value);
                object.insert(key.clone(), value);
            }
        }
    }
}

/// Takes out members that are null, also those of a list's items.
pub(super) fn forget_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(forget_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_do_as_upstreams() {
        let object = json!({ "a": "1", "list": ["x", "y"], "null": null });
        let rows = [
            (json!({ "op": "test", "path": "/gone", "value": null }), Ok(json!({}))),
            (json!({ "op": "replace", "path": "/b~1c", "value": 1 }), Ok(json!({ "b/c": 1 }))),
            (json!({ "op": "copy", "from": "/gone", "path": "/b" }), Ok(json!({ "b": null }))),
            (json!({ "op": "add", "path": "/b" }), Ok(json!({ "b": null }))),
            (json!({ "op": "add", "path": "strange/b", "value": 1 }), Ok(json!({ "b": 1 }))),
            (json!({ "op": "add", "path": "/list/-1", "value": "z" }), Ok(json!({ "list": ["x", "y", "z"] }))),
            (json!({ "op": "replace", "path": "/list/-1", "value": "z" }), Ok(json!({ "list": ["x", "z"] }))),
            (json!({ "op": "move", "from": "/list/0", "path": "/list/-" }), Ok(json!({ "list": ["y", "x"] }))),
            (json!({ "op": "replace", "path": "", "value": "text" }), Ok(json!({}))),
            (json!({ "op": "test", "path": "/gone/b", "value": null }), Err(422)),
            (json!({ "op": "remove", "path": "/gone" }), Err(422)),
            (json!({ "op": "move", "from": "/gone", "path": "/b" }), Err(422)),
            (json!({ "op": "remove", "path": "/list/2" }), Err(422)),
            (json!({ "op": "add", "path": "", "value": {} }), Err(422)),
            (json!({ "op": "add", "value": 1 }), Err(422)),
            (json!({ "op": "jump", "path": "/b" }), Err(422)),
            (json!("add"), Err(400)),
        ];
        for (operation, wanted) in rows {
            let wanted = wanted.map(|changes: Value| {
                let mut all = object.clone();
                let members = all.as_object_mut().expect("an object");
                members.extend(changes.as_object().cloned().expect("changes"));
                all
            });
            assert_eq!(apply(&object, &json!([operation])).map_err(|status| status.code), wanted, "{operation}");
        }
    }

    #[test]
    fn strange_members_and_wrong_types_are_told() {
        let strange = json!([{ "op": "add", "path": "/a", "value": 1 }, { "op": "remove", "path": "/b", "colour": 1 }]);
        assert_eq!(unknown_members(&strange).expect("types fit"), ["json patch unknown field \"[1].colour\""]);
        assert_eq!(unknown_members(&json!([{ "op": 5 }])).map_err(|status| status.code), Err(400));
    }

    #[test]
    fn merging_forgets_nulls_where_nothing_was() {
        let mut object = json!({ "a": { "b": 1, "c": 2 }, "list": [1] });
        let patch = json!({ "a": { "b": null, "d": { "e": null } }, "list": [{ "f": null }], "gone": null });
        merge(object.as_object_mut().expect("an object"), patch.as_object().expect("a patch"));
        assert_eq!(object, json!({ "a": { "c": 2, "d": {} }, "list": [{}] }));
    }

    #[test]
    fn patches_are_bounded() {
        let copies: Vec<Value> =
            (0..40).map(|n| json!({ "op": "copy", "from": "/text", "path": format!("/text/{n}") })).collect();
        let error = apply(&json!({ "text": {} }), &json!(copies)).expect_err("2^40 bytes");
        assert!(error.code == 422 && error.message.contains("exceeding the limit 3145728"), "{}", error.message);
        let many = vec![json!({ "op": "add", "path": "/a", "value": 1 }); MOST + 1];
        assert_eq!(apply(&json!({}), &json!(many)).map_err(|status| status.code), Err(413));
    }
}
