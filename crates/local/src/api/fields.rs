//! Sets of fields, as `managedFields` records them (`FieldsV1`).
//!
//! A path is a list of `f:name`, `k:{"key":value}` (an item of a list-map) and `v:value` (an item of a set); a set holds
//! the paths of leaves and of list-map items. Upstream: `sigs.k8s.io/structured-merge-diff/v6/fieldpath`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::schemas::{member, resolve};

/// One field.
pub(crate) type Path = Vec<String>;

/// Fields, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSet(pub(crate) BTreeSet<Path>);

/// Members of `metadata` that the server owns.
const SYSTEM: [&str; 11] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "generateName",
];

impl FieldSet {
    /// All fields of an object but those that only the server sets.
    pub(crate) fn of(schema: &'static Value, object: &Value) -> Self {
        let mut set = Self::default();
        let mut path = Vec::new();
        for (key, value) in object.as_object().into_iter().flatten() {
            match key.as_str() {
                "apiVersion" | "kind" => {}
                "metadata" => {
                    let metadata = member(schema, "metadata");
                    for (key, value) in value.as_object().into_iter().flatten() {
                        if !SYSTEM.contains(&key.as_str()) {
                            path.extend(["f:metadata".to_owned(), format!("f:{key}")]);
                            set.add(member(metadata, key), value, &mut path);
                            path.clear();
                        }
                    }
                }
                _ => {
                    path.push(format!("f:{key}"));
                    set.add(member(schema, key), value, &mut path);
                    path.clear();
                }
            }
        }
        set
    }

    fn add(&mut self, schema: &'static Value, value: &Value, path: &mut Path) {
        let (listed, shape) = (schema, resolve(schema));
        match value {
            Value::Null => {}
            Value::Object(members) if !members.is_empty() && shape["x-kubernetes-map-type"] != "atomic" => {
                for (key, value) in members {
                    path.push(format!("f:{key}"));
                    self.add(member(shape, key), value, path);
                    path.pop();
                }
            }
            Value::Array(items) if listed["x-kubernetes-list-type"] == "map" => {
                for item in items {
                    path.push(format!("k:{}", keys_of(listed, item)));
                    self.0.insert(path.clone());
                    self.add(&listed["items"], item, path);
                    path.pop();
                }
            }
            Value::Array(items) if listed["x-kubernetes-list-type"] == "set" => {
                for item in items {
                    path.push(format!("v:{item}"));
                    self.0.insert(path.clone());
                    path.pop();
                }
            }
            _ => {
                self.0.insert(path.clone());
            }
        }
    }

    /// From the tree of `fieldsV1`.
    pub(crate) fn parse(tree: &Value) -> Self {
        fn walk(tree: &Value, path: &mut Path, set: &mut FieldSet) {
            let members = tree.as_object().filter(|members| !members.is_empty());
            let Some(members) = members else {
                set.0.insert(path.clone());
                return;
            };
            for (key, inner) in members {
                if key == "." {
                    set.0.insert(path.clone());
                } else {
                    path.push(key.clone());
                    walk(inner, path, set);
                    path.pop();
                }
            }
        }
        let mut set = Self::default();
        if tree.as_object().is_some_and(|members| !members.is_empty()) {
            walk(tree, &mut Vec::new(), &mut set);
        }
        set
    }

    /// The tree of `fieldsV1`.
    pub(crate) fn to_tree(&self) -> Value {
        let mut tree = Value::Object(Map::new());
        for path in &self.0 {
            let mut at = &mut tree;
            for element in path {
                at = at
                    .as_object_mut()
                    .expect("every node of the tree is an object")
                    .entry(element)
                    .or_insert_with(|| json!({}));
            }
        }
        // An item that is owned itself and has owned fields is marked with a dot.
        for path in &self.0 {
            let node = path.iter().try_fold(&mut tree, |at, element| at.get_mut(element));
            if let Some(node) = node.and_then(Value::as_object_mut).filter(|node| !node.is_empty()) {
                node.insert(".".into(), json!({}));
            }
        }
        tree
    }
}

/// The keys of a list-map's item, as JSON; a key that the item leaves out has its default.
fn keys_of(list: &'static Value, item: &Value) -> Value {
    let schema = resolve(&list["items"]);
    let keys = list["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut names: Vec<&str> = keys.collect();
    names.sort_unstable();
    let value = |name: &str| item.get(name).unwrap_or(&schema["properties"][name]["default"]).clone();
    names.into_iter().map(|name| (name.to_owned(), value(name))).filter(|(_, value)| !value.is_null()).collect()
}

/// The value at a path, if there is one.
pub(crate) fn get<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |at, element| match element.split_at(2) {
        ("f:", name) => at.get(name),
        (_, key) => at.as_array()?.iter().find(|item| is_item(item, element, key)),
    })
}

/// Takes the value at a path away.
pub(crate) fn remove(object: &mut Value, path: &[String]) {
    let Some((last, above)) = path.split_last() else { return };
    let parent = above.iter().try_fold(object, |at, element| match element.split_at(2) {
        ("f:", name) => at.get_mut(name),
        (_, key) => at.as_array_mut()?.iter_mut().find(|item| is_item(item, element, key)),
    });
    match (parent, last.split_at(2)) {
        (Some(Value::Object(members)), ("f:", name)) => {
            members.shift_remove(name);
        }
        (Some(Value::Array(items)), (_, key)) => items.retain(|item| !is_item(item, last, key)),
        _ => {}
    }
}

fn is_item(item: &Value, element: &str, key: &str) -> bool {
    let Ok(wanted) = serde_json::from_str::<Value>(key) else { return false };
    if element.starts_with("v:") {
        return *item == wanted;
    }
    let wanted = wanted.as_object().into_iter().flatten();
    wanted.into_iter().all(|(name, value)| item.get(name).is_none_or(|found| found == value))
}

/// A path as people read it: `.spec.containers[name="c"].image`.
pub(crate) fn display(path: &[String]) -> String {
    let mut text = String::new();
    for element in path {
        match element.split_at(2) {
            ("f:", name) => {
                text.push('.');
                text.push_str(name);
            }
            ("k:", keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let pairs: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                text.push('[');
                text.push_str(&pairs.join(","));
                text.push(']');
            }
            (_, value) => {
                text.push_str("[=");
                text.push_str(value);
                text.push(']');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{resource::resources::DEPLOYMENTS, schemas};

    #[test]
    fn a_set_is_the_tree_that_it_was_read_from() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "b"}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [
                {"name": "c", "image": "i", "args": ["x"], "ports": [{"containerPort": 80}]}]}}}});
        let set = FieldSet::of(schemas::of(&DEPLOYMENTS), &object);
        let container = json!({".": {}, "f:name": {}, "f:image": {}, "f:args": {},
            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}});
        let expected = json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:replicas": {}, "f:selector": {},
            "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": container}}}}});
        assert_eq!(set.to_tree(), expected);
        assert_eq!(FieldSet::parse(&expected), set);
    }

    #[test]
    fn paths_lead_to_values() {
        let path: Path = ["f:spec", "f:list", "k:{\"name\":\"b\"}", "f:v"].map(str::to_owned).into();
        let mut object = json!({"spec": {"list": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}});
        assert_eq!(get(&object, &path), Some(&json!(2)));
        assert_eq!(display(&path), ".spec.list[name=\"b\"].v");
        remove(&mut object, &path);
        remove(&mut object, &path[..3]);
        assert_eq!(object, json!({"spec": {"list": [{"name": "a", "v": 1}]}}));
    }
}
