//! Sets of fields, as `managedFields` records them (`FieldsV1`), and what two states of an object differ in.
//!
//! A path is a list of `f:name`, `k:{"key":value}` (an item of a list-map) and `v:value` (an item of a set).
//! Upstream: `sigs.k8s.io/structured-merge-diff/v4`, `fieldpath` and `typed`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::schemas::{self, Merge, member, resolve};

/// One field.
pub(crate) type Path = Vec<String>;

/// Fields, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSet(pub(crate) BTreeSet<Path>);

/// Members of `metadata` that nobody owns.
const SYSTEM: [&str; 8] = [
    "f:name",
    "f:namespace",
    "f:creationTimestamp",
    "f:selfLink",
    "f:uid",
    "f:generation",
    "f:managedFields",
    "f:resourceVersion",
];

/// Whether nobody owns a field, as it is the server's.
fn is_system(path: &[String]) -> bool {
    match path {
        [first] => matches!(first.as_str(), "f:apiVersion" | "f:kind" | "f:metadata"),
        [first, second, ..] => first == "f:metadata" && SYSTEM.contains(&second.as_str()),
        [] => true,
    }
}

/// How two states of an object differ.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) added: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) removed: FieldSet,
}

impl Comparison {
    /// From one state to another, without the server's own fields.
    pub(crate) fn of(schema: &Value, old: &Value, new: &Value) -> Self {
        let mut out = Self::default();
        out.walk(schema, Some(old), Some(new), &mut Path::new());
        for set in [&mut out.added, &mut out.modified, &mut out.removed] {
            set.0.retain(|path| !is_system(path));
        }
        out
    }

    fn walk(&mut self, schema: &Value, old: Option<&Value>, new: Option<&Value>, path: &mut Path) {
        if old == new {
            return;
        }
        let merge = new.or(old).filter(|value| !value.is_null()).or(old);
        let merge = merge.map_or(Merge::Leaf, |value| schemas::merge_of(schema, value));
        let other = old.filter(|value| !value.is_null()).map_or(merge, |value| schemas::merge_of(schema, value));
        let empty = |value: Option<&Value>| match value {
            None | Some(Value::Null) => true,
            Some(Value::Object(members)) => members.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        };
        if merge == Merge::Leaf || merge != other || (empty(old) && empty(new)) {
            match (old, new) {
                (None, _) => self.added.0.insert(path.clone()),
                (_, None) => self.removed.0.insert(path.clone()),
                _ => self.modified.0.insert(path.clone()),
            };
            return;
        }
        match merge {
            Merge::Members => self.members(schema, old, new, path),
            _ => self.items(schema, merge, old, new, path),
        }
        match (old, new) {
            (None, _) => {
                self.added.0.insert(path.clone());
            }
            (_, None) => {
                self.removed.0.insert(path.clone());
            }
            _ => {}
        }
    }

    fn members(&mut self, schema: &Value, old: Option<&Value>, new: Option<&Value>, path: &mut Path) {
        for key in keys(new) {
            path.push(format!("f:{key}"));
            let before = old.and_then(|old| old.get(&key));
            self.walk(schema_of(schema, path, &key), before, new.and_then(|new| new.get(&key)), path);
            path.pop();
        }
        for key in keys(old).filter(|key| new.is_none_or(|new| new.get(key).is_none())) {
            path.push(format!("f:{key}"));
            self.walk(schema_of(schema, path, &key), old.and_then(|old| old.get(&key)), None, path);
            path.pop();
        }
    }

    fn items(&mut self, schema: &Value, merge: Merge, old: Option<&Value>, new: Option<&Value>, path: &mut Path) {
        let (before, after) = (elements(schema, merge, old), elements(schema, merge, new));
        let items = &schema["items"];
        let find = |all: &[(String, &Value)], element: &str| all.iter().position(|(known, _)| known == element);
        for (element, item) in &after {
            let was = find(&before, element).map(|at| before[at].1);
            path.push(element.clone());
            self.walk(items, was, Some(item), path);
            path.pop();
        }
        for (element, item) in before.iter().filter(|(element, _)| find(&after, element).is_none()) {
            path.push(element.clone());
            self.walk(items, Some(item), None, path);
            path.pop();
        }
    }
}

fn keys(value: Option<&Value>) -> impl Iterator<Item = String> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned()
}

/// The schema of a member; `metadata` has one also where the schema of a custom resource leaves it out.
fn schema_of<'a>(schema: &'a Value, path: &[String], key: &str) -> &'a Value {
    let found = member(schema, key);
    if path.len() == 1 && key == "metadata" && !schemas::is_struct(found) { schemas::object_meta() } else { found }
}

/// The items of a list by their path elements.
fn elements<'a>(schema: &Value, merge: Merge, list: Option<&'a Value>) -> Vec<(String, &'a Value)> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.map(|item| (element(schema, merge, item), item)).collect()
}

/// The path element of a list's item.
pub(crate) fn element(schema: &Value, merge: Merge, item: &Value) -> String {
    match merge {
        Merge::Keyed => format!("k:{}", keys_of(schema, item)),
        _ => format!("v:{item}"),
    }
}

impl FieldSet {
    /// The fields that a configuration sets, without the server's own.
    pub(crate) fn of(schema: &Value, object: &Value) -> Self {
        let mut set = Self::default();
        set.add(schema, object, &mut Path::new());
        set.0.retain(|path| !is_system(path));
        set
    }

    fn add(&mut self, schema: &Value, value: &Value, path: &mut Path) {
        match (schemas::merge_of(schema, value), value) {
            (Merge::Members, Value::Object(members)) => {
                let shape = resolve(schema);
                for (key, value) in members {
                    path.push(format!("f:{key}"));
                    self.add(schema_of(shape, path, key), value, path);
                    let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                    let named = shape["properties"].get(key).is_some() || path.len() == 1 && key == "metadata";
                    if empty || !named {
                        self.0.insert(path.clone());
                    }
                    path.pop();
                }
            }
            (merge @ (Merge::Keyed | Merge::Set), Value::Array(items)) => {
                for item in items {
                    path.push(element(schema, merge, item));
                    self.add(&schema["items"], item, path);
                    self.0.insert(path.clone());
                    path.pop();
                }
            }
            _ => {
                self.0.insert(path.clone());
            }
        }
    }

    /// The same with the named members that hold a field of the set, which a set leaves out.
    pub(crate) fn with_holders(&self, schema: &Value) -> Self {
        let mut all = self.clone();
        for path in &self.0 {
            let mut at = schema;
            for (depth, element) in path.iter().enumerate() {
                let Some(name) = element.strip_prefix("f:") else {
                    at = &at["items"];
                    continue;
                };
                if schemas::is_struct(at) && depth + 1 < path.len() && !is_system(&path[..=depth]) {
                    all.0.insert(path[..=depth].to_vec());
                }
                at = schema_of(at, &path[..=depth], name);
            }
        }
        all
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
                } else if key.get(..2).is_some_and(|kind| matches!(kind, "f:" | "k:" | "v:" | "i:")) {
                    // Others are no paths: whoever wrote them owns nothing by them.
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
        // A field that is owned itself and has owned fields is marked with a dot.
        for path in &self.0 {
            let node = path.iter().try_fold(&mut tree, |at, element| at.get_mut(element));
            if let Some(node) = node.and_then(Value::as_object_mut).filter(|node| !node.is_empty()) {
                node.shift_insert(0, ".".into(), json!({}));
            }
        }
        tree
    }
}

/// The keys of a list-map's item, as JSON; a key that the item leaves out has its default.
fn keys_of(list: &Value, item: &Value) -> Value {
    let schema = resolve(&list["items"]);
    let keys = list["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut names: Vec<&str> = keys.collect();
    names.sort_unstable();
    let value = |name: &str| item.get(name).unwrap_or(&schema["properties"][name]["default"]).clone();
    names.into_iter().map(|name| (name.to_owned(), value(name))).filter(|(_, value)| !value.is_null()).collect()
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
    fn what_is_new_is_owned_with_what_holds_it() {
        let schema = schemas::of(&DEPLOYMENTS);
        let old = json!({"spec": {"replicas": 1, "strategy": {}}});
        let new = json!({"metadata": {"labels": {"a": "b"}, "uid": "u"}, "spec": {"replicas": 2, "strategy": {"type": "Recreate"}}});
        let comparison = Comparison::of(schema, &old, &new);
        let added = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:strategy": {"f:type": {}}}});
        assert_eq!(comparison.added.to_tree(), added);
        assert_eq!(comparison.modified.to_tree(), json!({"f:spec": {"f:replicas": {}}}));
        assert_eq!(comparison.removed, FieldSet::default());
    }

    #[test]
    fn paths_lead_to_values() {
        let path: Path = ["f:spec", "f:list", "k:{\"name\":\"b\"}", "f:v"].map(str::to_owned).into();
        let mut object = json!({"spec": {"list": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}});
        assert_eq!(display(&path), ".spec.list[name=\"b\"].v");
        remove(&mut object, &path);
        remove(&mut object, &path[..3]);
        assert_eq!(object, json!({"spec": {"list": [{"name": "a", "v": 1}]}}));
    }
}
