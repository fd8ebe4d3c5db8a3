//! Strategic merge patch: lists merge by the keys that the schemas name.
//!
//! <https://github.com/kubernetes/apimachinery/blob/v0.33.0/pkg/util/strategicpatch/patch.go>

use serde_json::{Map, Value};

use super::{
    operations::forget_nulls,
    resource::Resource,
    schemas::{self, member},
    status::Status,
};

type Members = Map<String, Value>;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// Merges a patch into an object of a built-in kind.
pub(crate) fn merge(resource: &Resource, object: &mut Value, patch: &Value) -> Result<(), Status> {
    match (object.as_object_mut(), patch.as_object()) {
        (Some(members), Some(patch)) => merge_members(schemas::of(resource), members, patch.clone()),
        _ => Err(Status::bad_request("invalid JSON document")),
    }
}

fn unknown_directive(directive: &Value) -> Status {
    Status::plain(format!("unknown patch type {directive}"))
}

fn wrong_type(wanted: &str, value: &Value) -> Status {
    Status::plain(format!("expected a {wanted}, but received {value}"))
}

fn merge_members(schema: &'static Value, members: &mut Members, mut patch: Members) -> Result<(), Status> {
    if let Some(directive) = patch.shift_remove(DIRECTIVE) {
        match directive.as_str() {
            Some("replace") => *members = patch,
            Some("delete") => members.clear(),
            _ => return Err(unknown_directive(&directive)),
        }
        return Ok(());
    }
    retain_keys(members, &mut patch)?;
    let ordered: Vec<String> = patch.keys().filter_map(|key| key.strip_prefix(ORDER)).map(str::to_owned).collect();
    for key in ordered {
        let order = patch.shift_remove(&format!("{ORDER}{key}")).unwrap_or_default();
        let list = patch.shift_remove(&key);
        let own = member(schema, &key);
        if own.is_null() {
            return Err(Status::plain(format!("unable to find api field in struct for the json field \"{key}\"")));
        }
        merge_ordered(own, members, &key, list.as_ref(), &order)?;
    }
    for (key, value) in patch {
        if let Some(key) = key.strip_prefix(DELETE_FROM) {
            if let (Some(list), Some(gone)) = (members.get_mut(key).and_then(Value::as_array_mut), value.as_array()) {
                list.retain(|item| !gone.contains(item));
            }
            continue;
        }
        merge_member(member(schema, &key), members, key, value)?;
    }
    Ok(())
}

/// `$retainKeys` names what may stay; a patch that sets other members is none.
fn retain_keys(members: &mut Members, patch: &mut Members) -> Result<(), Status> {
    let Some(kept) = patch.shift_remove(RETAIN_KEYS) else { return Ok(()) };
    let wrong = || Status::bad_request("invalid patch format of retainKeys");
    let kept = kept.as_array().ok_or_else(wrong)?;
    let named = |key: &String| kept.iter().any(|kept| kept == key);
    let directive = |key: &String| key.starts_with(DELETE_FROM) || key.starts_with(ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !named(key)) {
        return Err(wrong());
    }
    members.retain(|key, _| named(key));
    Ok(())
}

fn merge_member(schema: &'static Value, members: &mut Members, key: String, value: Value) -> Result<(), Status> {
    let strategy = |name: &str| {
        schema["x-kubernetes-patch-strategy"].as_str().is_some_and(|all| all.split(',').any(|one| one == name))
    };
    match (members.get_mut(&key), value) {
        (_, Value::Null) => {
            members.shift_remove(&key);
            Ok(())
        }
        (Some(Value::Object(present)), Value::Object(patch)) if !strategy("replace") => {
            merge_members(schema, present, patch)
        }
        (Some(Value::Array(present)), Value::Array(patch)) if strategy("merge") => merge_list(schema, present, patch),
        (Some(Value::Object(_)), value @ Value::Object(_)) | (Some(Value::Array(_)), value @ Value::Array(_)) => {
            members.insert(key, value);
            Ok(())
        }
        (_, mut value) => {
            forget_nulls(&mut value);
            match without_directives(value) {
                Some(value) => _ = members.insert(key, value),
                None => _ = members.shift_remove(&key),
            }
            Ok(())
        }
    }
}

/// What of a patch is kept where there is nothing to merge it with.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(members) if members.contains_key(DIRECTIVE) => None,
        Value::Object(members) => {
            let kept = members.into_iter().filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        plain => Some(plain),
    }
}

fn merge_key(schema: &'static Value) -> Option<&'static str> {
    schema["x-kubernetes-patch-merge-key"].as_str()
}

/// Merges a list whose order the patch says as well.
fn merge_ordered(
    schema: &'static Value,
    members: &mut Members,
    key: &str,
    patch: Option<&Value>,
    order: &Value,
) -> Result<(), Status> {
    let list = |value: &Value| value.as_array().cloned().ok_or_else(|| wrong_type("[]interface {}", value));
    let order = list(order)?;
    let before = members.get(key).map(list).transpose()?;
    let patch = patch.map(list).transpose()?;
    check_order(schema, patch.as_deref().unwrap_or_default(), &order)?;
    let merged = match (&before, patch) {
        (None, None) => return Ok(()),
        (Some(before), None) => before.clone(),
        (None, Some(patch)) => patch.into_iter().filter_map(without_directives).collect(),
        (Some(_), Some(patch)) => {
            merge_member(schema, members, key.to_owned(), Value::Array(patch))?;
            members.get(key).map(list).transpose()?.unwrap_or_default()
        }
    };
    if merged.is_empty() && before.as_ref().is_none_or(Vec::is_empty) {
        return Err(Status::plain("no elements in any of the given slices"));
    }
    let sorted = sort(merged, &before.unwrap_or_default(), &order, merge_key(schema))?;
    members.insert(key.to_owned(), Value::Array(sorted));
    Ok(())
}

/// Items of the patch stand in the order that it names, and are among those.
fn check_order(schema: &'static Value, patch: &[Value], order: &[Value]) -> Result<(), Status> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut named = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let mut equal = false;
        for other in named.by_ref() {
            equal = match merge_key(schema) {
                Some(key) => identity(item, key)? == identity(other, key)?,
                None => item == other,
            };
            if equal {
                break;
            }
        }
        if !equal {
            let (patch, order) = (Value::from(patch), Value::from(order));
            return Err(Status::plain(format!(
                "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
            )));
        }
    }
    Ok(())
}

fn identity<'a>(item: &'a Value, key: &str) -> Result<&'a Value, Status> {
    let members = item.as_object().ok_or_else(|| wrong_type("map[string]interface {}", item))?;
    members.get(key).ok_or_else(|| Status::plain(format!("map: {item} does not contain declared merge key: {key}")))
}

fn merge_list(schema: &'static Value, present: &mut Vec<Value>, patch: Vec<Value>) -> Result<(), Status> {
    let mut all = present.iter().chain(&patch);
    let Some(first) = all.next() else { return Ok(()) };
    if all.any(|item| std::mem::discriminant(item) != std::mem::discriminant(first)) {
        return Err(Status::plain("list element types are not identical"));
    }
    if first.is_array() {
        let text = "lists of lists are not supported";
        return Err(Status::new(422, "Invalid", text).with_details(super::Details::default()));
    }
    let (order, before);
    match merge_key(schema).filter(|_| first.is_object()) {
        None if first.is_object() => return Err(Status::plain("cannot merge lists without merge key")),
        None => {
            (before, order) = (present.clone(), patch.clone());
            for item in patch {
                if !present.contains(&item) {
                    present.push(item);
                }
            }
        }
        Some(key) => {
            order = follow_directives(present, patch, key)?;
            before = present.clone();
            for item in &order {
                let id = identity(item, key)?;
                match (present.iter_mut().find(|other| other.get(key) == Some(id)), item) {
                    (Some(Value::Object(known)), Value::Object(item)) => {
                        merge_members(&schema["items"], known, item.clone())?;
                    }
                    _ => present.push(item.clone()),
                }
            }
        }
    }
    *present = sort(std::mem::take(present), &before, &order, merge_key(schema))?;
    Ok(())
}

/// Takes away or replaces what the patch's directives say; answers the items that are none.
fn follow_directives(present: &mut Vec<Value>, patch: Vec<Value>, key: &str) -> Result<Vec<Value>, Status> {
    let mut replaced = false;
    let mut rest = Vec::new();
    for item in patch {
        match item.get(DIRECTIVE) {
            None => rest.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let id = identity(&item, key)?;
                    present.retain(|other| other.get(key) != Some(id));
                }
                Some("replace") => replaced = true,
                Some("merge") => return Err(Status::plain("merging lists cannot yet be specified in the patch")),
                _ => return Err(unknown_directive(directive)),
            },
        }
    }
    if replaced {
        *present = std::mem::take(&mut rest);
    }
    Ok(rest)
}

/// Puts items that the order names into that order; the others go before the first of these that was behind them.
fn sort(items: Vec<Value>, before: &[Value], order: &[Value], key: Option<&str>) -> Result<Vec<Value>, Status> {
    let id = |item: &Value| match key {
        Some(key) if item.is_object() => identity(item, key).cloned(),
        _ => Ok(item.clone()),
    };
    let ids = |items: &[Value]| items.iter().map(id).collect::<Result<Vec<Value>, Status>>();
    let (was, wanted) = (ids(before)?, ids(order)?);
    let place = |all: &[Value], of: &Value| all.iter().position(|one| one == of);
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for item in items {
        let id = id(&item)?;
        match place(&wanted, &id) {
            Some(at) => named.push((at, id, item)),
            None => others.push((id, item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    let mut named = named.into_iter().peekable();
    let mut sorted = Vec::new();
    for (other, item) in others {
        let behind =
            |next: &Value| matches!((place(&was, &other), place(&was, next)), (Some(one), Some(two)) if one < two);
        while let Some((_, _, next)) = named.next_if(|(_, next, _)| !behind(next)) {
            sorted.push(next);
        }
        sorted.push(item);
    }
    sorted.extend(named.map(|(.., item)| item));
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::resource::resources::DEPLOYMENTS;

    #[test]
    fn patched_items_come_in_the_patchs_order() {
        let named = |names: &str| names.chars().map(|c| json!({ "name": c.to_string() })).collect::<Vec<_>>();
        for (before, order, wanted) in [("a", "b", "ba"), ("ab", "b", "ab"), ("abc", "ca", "bca"), ("abc", "", "abc")] {
            let mut items = named(before);
            items.extend(named(order).into_iter().filter(|item| !named(before).contains(item)));
            let sorted = sort(items, &named(before), &named(order), Some("name")).expect("all have names");
            assert_eq!(sorted, named(wanted), "{before} {order}");
        }
    }

    #[test]
    fn directives_do_as_upstreams() {
        let spec = |spec: Value| json!({ "spec": { "template": { "spec": spec } } });
        let live = json!({ "spec": { "strategy": { "type": "RollingUpdate" }, "template": { "spec": { "containers": [
            { "name": "a", "image": "a:1", "args": ["x"] }, { "name": "b" }] } } } });
        let rows = [
            // An item that is deleted and added in one patch is new, and comes first.
            (
                spec(json!({ "containers": [{ "name": "b", "$patch": "delete" }, { "name": "b", "image": "b:2" }] })),
                Ok(spec(
                    json!({ "containers": [{ "name": "b", "image": "b:2" }, { "name": "a", "image": "a:1", "args": ["x"] }] }),
                )),
            ),
            (spec(json!({ "containers": [{ "name": "a", "$patch": "merge", "image": "a:2" }] })), Err(500)),
            (spec(json!({ "containers": [{ "image": "a:2" }] })), Err(500)),
            (spec(json!({ "$setElementOrder/containers": "x" })), Err(500)),
            (
                spec(json!({ "$setElementOrder/containers": [{ "name": "b" }], "containers": [{ "name": "a" }] })),
                Err(500),
            ),
            (json!({ "spec": { "strategy": { "$retainKeys": ["type"], "rollingUpdate": {} } } }), Err(400)),
            (json!({ "spec": { "strategy": { "$patch": "merge" } } }), Err(500)),
            (json!({ "spec": { "$setElementOrder/strange": [] } }), Err(500)),
        ];
        for (patch, wanted) in rows {
            let mut object = live.clone();
            let result = merge(&DEPLOYMENTS, &mut object, &patch).map(|()| object["spec"]["template"].clone());
            let wanted = wanted.map(|spec: Value| spec["spec"]["template"].clone());
            assert_eq!(result.map_err(|status| status.code), wanted, "{patch}");
        }
    }
}
