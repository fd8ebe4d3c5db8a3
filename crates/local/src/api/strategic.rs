//! Strategic merge patch: lists merge by the keys that the schemas name.
//!
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>

use serde_json::{Map, Value};

use super::{
    resource::Resource,
    schemas::{self, member},
    status::Status,
};

/// Merges a patch into an object of a built-in kind.
pub(crate) fn merge(resource: &Resource, object: &mut Value, patch: &Value) -> Result<(), Status> {
    merge_value(schemas::of(resource), object, patch)
}

fn merge_value(schema: &'static Value, object: &mut Value, patch: &Value) -> Result<(), Status> {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let mut new = patch.clone();
            new.shift_remove("$patch");
            *object = Value::Object(new);
            return Ok(());
        }
        Some("delete") => {
            *object = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(Status::plain(format!("Unknown patch type: {other}"))),
    }
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(members) = object.as_object_mut() else { return Ok(()) };
    if let Some(keep) = patch.get("$retainKeys").and_then(Value::as_array) {
        members.retain(|key, _| keep.iter().any(|k| k == key));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(list) = members.get_mut(list).and_then(Value::as_array_mut) {
                list.retain(|v| !gone.contains(v));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        let order = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
        merge_member(member(schema, key), members, key, value, order)?;
    }
    for (key, order) in patch {
        if let Some(list) = key.strip_prefix("$setElementOrder/").filter(|l| !patch.contains_key(*l)) {
            let merge_key = member(schema, list)["x-kubernetes-patch-merge-key"].as_str();
            if let (Some(items), Some(order)) = (members.get_mut(list).and_then(Value::as_array_mut), order.as_array())
            {
                let before = items.clone();
                sort(items, &before, order, merge_key);
            }
        }
    }
    Ok(())
}

fn merge_member(
    schema: &'static Value,
    members: &mut Map<String, Value>,
    key: &str,
    value: &Value,
    order: Option<&Vec<Value>>,
) -> Result<(), Status> {
    match value {
        Value::Null => {
            members.shift_remove(key);
        }
        Value::Object(_) => {
            let slot = members.entry(key).or_insert(Value::Null);
            merge_value(schema, slot, value)?;
        }
        Value::Array(items) => {
            let merges = schema["x-kubernetes-patch-strategy"].as_str().is_some_and(|s| s.contains("merge"));
            let slot = members.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            let Some(present) = slot.as_array_mut().filter(|_| merges) else {
                *slot = value.clone();
                return Ok(());
            };
            let merge_key = schema["x-kubernetes-patch-merge-key"].as_str();
            let before = present.clone();
            match merge_key {
                Some(merge_key) => merge_list(&schema["items"], present, items, merge_key)?,
                None => items.iter().for_each(|item| {
                    if !present.contains(item) {
                        present.push(item.clone());
                    }
                }),
            }
            sort(present, &before, order.map_or(items.as_slice(), Vec::as_slice), merge_key);
        }
        plain => {
            members.insert(key.into(), plain.clone());
        }
    }
    Ok(())
}

fn merge_list(schema: &'static Value, present: &mut Vec<Value>, patch: &[Value], key: &str) -> Result<(), Status> {
    if patch.iter().any(|item| item["$patch"] == "replace") {
        present.clear();
    }
    for item in patch {
        if item["$patch"] == "replace" && item.get(key).is_none() {
            continue;
        }
        if !item.is_object() {
            return Err(Status::plain("list element types are not identical"));
        }
        let Some(id) = item.get(key) else {
            return Err(Status::plain(format!("map: {item} does not contain declared merge key: {key}")));
        };
        let at = present.iter().position(|p| p.get(key) == Some(id));
        match (item["$patch"].as_str(), at) {
            (Some("delete"), Some(at)) => {
                present.remove(at);
            }
            (Some("delete"), None) => {}
            (_, Some(at)) => merge_value(schema, &mut present[at], item)?,
            (_, None) => {
                let mut new = Value::Null;
                merge_value(schema, &mut new, item)?;
                present.push(new);
            }
        }
    }
    Ok(())
}

/// Puts items that the order names into that order; the others go before the first of these that was behind them.
fn sort(items: &mut Vec<Value>, before: &[Value], order: &[Value], key: Option<&str>) {
    let id = |v: &Value| key.map_or_else(|| v.clone(), |k| v[k].clone());
    let wanted: Vec<Value> = order.iter().map(id).collect();
    let place = |item: &Value| before.iter().position(|was| id(was) == id(item));
    let (mut named, others): (Vec<Value>, Vec<Value>) = items.drain(..).partition(|item| wanted.contains(&id(item)));
    named.sort_by_key(|item| wanted.iter().position(|w| *w == id(item)));
    let mut named = named.into_iter().peekable();
    for other in others {
        while let Some(next) =
            named.next_if(|next| !matches!((place(&other), place(next)), (Some(one), Some(two)) if one < two))
        {
            items.push(next);
        }
        items.push(other);
    }
    items.extend(named);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patched_items_come_in_the_patchs_order() {
        let named = |names: &str| names.chars().map(|c| json!({ "name": c.to_string() })).collect::<Vec<_>>();
        for (before, order, wanted) in [("a", "b", "ba"), ("ab", "b", "ab"), ("abc", "ca", "bca"), ("abc", "", "abc")] {
            let mut items = named(before);
            items.extend(named(order).into_iter().filter(|item| !named(before).contains(item)));
            sort(&mut items, &named(before), &named(order), Some("name"));
            assert_eq!(items, named(wanted), "{before} {order}");
        }
    }
}
