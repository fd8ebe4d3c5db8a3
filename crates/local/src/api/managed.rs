//! Who set which fields: `managedFields`, and server-side apply with its conflicts.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>; upstream's rules are those of
//! `sigs.k8s.io/structured-merge-diff/v4/merge` and `k8s.io/apimachinery/pkg/util/managedfields/internal`.

mod scaled;

use serde_json::{Value, json};

pub(crate) use scaled::{to_parent, to_scale};

use super::{
    fields::{self, Comparison, FieldSet, Path},
    merge,
    meta::{metadata_mut, name, namespace, now, set_or_remove},
    registry::Definition,
    schemas,
    status::{Cause, Status},
    write::{Operation, WriteOptions},
};

/// One manager's fields.
#[derive(Debug, Clone)]
struct Entry {
    manager: String,
    operation: String,
    subresource: String,
    api_version: String,
    time: Value,
    fields: FieldSet,
}

impl Entry {
    fn read(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Self {
            manager: text("manager"),
            operation: text("operation"),
            subresource: text("subresource"),
            api_version: text("apiVersion"),
            time: value["time"].clone(),
            fields: FieldSet::parse(&value["fieldsV1"]),
        }
    }

    fn new(definition: &Definition, options: &WriteOptions) -> Self {
        Self {
            manager: options.manager.clone(),
            operation: options.operation.name().to_owned(),
            subresource: options.subresource.clone().unwrap_or_default(),
            api_version: definition.resource.api_version(),
            time: Value::Null,
            fields: FieldSet::default(),
        }
    }

    fn is_of(&self, other: &Self) -> bool {
        (&self.manager, &self.operation, &self.subresource) == (&other.manager, &other.operation, &other.subresource)
    }

    fn write(&self) -> Value {
        let mut value = json!({
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_tree(),
        });
        if self.time.is_null()
            && let Some(members) = value.as_object_mut()
        {
            members.shift_remove("time");
        }
        if !self.subresource.is_empty() {
            value["subresource"] = json!(self.subresource);
        }
        value
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    object["metadata"]["managedFields"].as_array().into_iter().flatten().map(Entry::read).collect()
}

fn store(object: &mut Value, mut all: Vec<Entry>) {
    all.retain(|entry| !entry.fields.0.is_empty());
    all.sort_by(|a, b| (&a.operation, a.time.as_str(), &a.manager).cmp(&(&b.operation, b.time.as_str(), &b.manager)));
    let list: Option<Value> = (!all.is_empty()).then(|| all.iter().map(Entry::write).collect());
    set_or_remove(metadata_mut(object), "managedFields", list.as_ref());
}

fn schema_of(definition: &Definition) -> &Value {
    match &definition.custom {
        Some(custom) => &custom.version["schema"]["openAPIV3Schema"],
        None => schemas::of(&definition.resource),
    }
}

/// Takes out what a request of this kind cannot set: `status` by the object, `spec` by the status.
fn keep_settable(definition: &Definition, set: &mut FieldSet, options: &WriteOptions) {
    if definition.subresource("status").is_none() {
        return;
    }
    let others = if options.subresource.as_deref() == Some("status") { "f:spec" } else { "f:status" };
    set.0.retain(|path| path.first().is_none_or(|first| first != others));
}

/// Whether a request asks to forget all managers.
fn is_reset(managed: &Value) -> bool {
    matches!(managed.as_array().map(Vec::as_slice), Some([]))
        || matches!(managed.as_array().map(Vec::as_slice), Some([one]) if one.as_object().is_some_and(serde_json::Map::is_empty))
}

/// Records what a create or update has set. Apply has recorded its own.
pub(crate) fn track(definition: &Definition, old: Option<&Value>, new: &mut Value, options: &WriteOptions) {
    if options.operation == Operation::Apply {
        return;
    }
    let given = &new["metadata"]["managedFields"];
    let mut all = match old {
        _ if is_reset(given) => Vec::new(),
        Some(old) if options.subresource.is_some() => entries(old),
        Some(old) => Some(entries(new)).filter(|all| !all.is_empty()).unwrap_or_else(|| entries(old)),
        None => entries(new),
    };
    // An object that nobody tracks, since someone asked so, is left alone.
    if old.is_some() && all.is_empty() {
        metadata_mut(new).shift_remove("managedFields");
        return;
    }
    let before = old.unwrap_or_else(|| super::model::empty(definition));
    let mut comparison = Comparison::of(schema_of(definition), before, new);
    for set in [&mut comparison.added, &mut comparison.modified, &mut comparison.removed] {
        keep_settable(definition, set, options);
    }
    let Comparison { added, modified, removed } = comparison;
    let mut taken = added.0;
    taken.extend(modified.0);
    for entry in &mut all {
        entry.fields.0.retain(|path| !taken.contains(path) && !removed.0.contains(path));
    }
    if !taken.is_empty() {
        let mut mine = Entry::new(definition, options);
        if let Some(at) = all.iter().position(|entry| entry.is_of(&mine)) {
            mine.fields = all.remove(at).fields;
        }
        mine.time = now();
        mine.fields.0.extend(taken);
        all.push(mine);
    }
    store(new, all);
}

/// Makes an object have the fields of an applied configuration: takes them over, gives up those that it no longer has.
pub(crate) fn apply(
    definition: &Definition,
    old: Option<&Value>,
    body: &Value,
    options: &WriteOptions,
) -> Result<Value, Status> {
    check_applied(definition, body)?;
    let schema = schema_of(definition);
    let mut mine = Entry::new(definition, options);
    mine.fields = FieldSet::of(schema, body);
    keep_settable(definition, &mut mine.fields, options);
    let live = old.unwrap_or_else(|| super::model::empty(definition));
    let mut others = entries(live);
    if others.is_empty() && old.is_some() {
        others.push(before_first_apply(definition, live, options));
    }
    let before = others.iter().position(|entry| entry.is_of(&mine)).map(|at| others.remove(at));
    let mut new = merge::merge(schema, live, body);
    if let Some(before) = &before {
        prune(schema, &mut new, &before.fields, &mine.fields, &others);
    }
    let mut comparison = Comparison::of(schema, live, &new);
    for set in [&mut comparison.added, &mut comparison.modified, &mut comparison.removed] {
        keep_settable(definition, set, options);
    }
    let Comparison { added, modified, removed } = comparison;
    let changed = !(added.0.is_empty() && modified.0.is_empty() && removed.0.is_empty());
    let mut conflicts = Vec::new();
    for entry in &mut others {
        let lost: Vec<Path> = entry
            .fields
            .0
            .iter()
            .filter(|path| added.0.contains(*path) || modified.0.contains(*path))
            .cloned()
            .collect();
        entry.fields.0.retain(|path| !lost.contains(path) && !removed.0.contains(path));
        conflicts.extend(lost.into_iter().map(|path| (entry.clone(), path)));
    }
    let kubectl = options.manager == KUBECTL;
    if !options.force {
        let known = if kubectl { from_last_applied(definition, live) } else { FieldSet::default() };
        conflicts.retain(|(_, path)| !known.0.contains(path));
        if !conflicts.is_empty() {
            return Err(conflict(&conflicts));
        }
    }
    mine.time = match before {
        _ if changed => now(),
        Some(before) => before.time,
        None => Value::Null,
    };
    others.push(mine);
    store(&mut new, others);
    if kubectl && !last_applied(&new).is_empty() {
        let mut applied = body.clone();
        if let Some(annotations) = applied["metadata"].get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.shift_remove(LAST_APPLIED);
        }
        applied.sort_all_objects();
        new["metadata"]["annotations"][LAST_APPLIED] = json!(format!("{applied}\n"));
    }
    Ok(new)
}

/// Who owns all of an object that nobody tracked until somebody applied.
fn before_first_apply(definition: &Definition, live: &Value, options: &WriteOptions) -> Entry {
    let mut entry = Entry::new(definition, &WriteOptions { operation: Operation::Update, ..options.clone() });
    entry.manager = "before-first-apply".into();
    entry.time = now();
    entry.fields = Comparison::of(schema_of(definition), super::model::empty(definition), live).added;
    keep_settable(definition, &mut entry.fields, options);
    entry
}

/// Who applied on the client's side before goes on on the server's.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn last_applied(object: &Value) -> &str {
    object["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default()
}

/// The fields that an apply on the client's side has set, and that are still as it set them.
fn from_last_applied(definition: &Definition, live: &Value) -> FieldSet {
    let Ok(applied) = serde_json::from_str::<Value>(last_applied(live)) else { return FieldSet::default() };
    if applied["apiVersion"] != definition.resource.api_version().as_str() {
        return FieldSet::default();
    }
    let schema = schema_of(definition);
    let Comparison { added, modified, removed } = Comparison::of(schema, &applied, live);
    let mut known = FieldSet::of(schema, &applied);
    known.0.retain(|path| ![&added, &modified, &removed].iter().any(|changed| changed.0.contains(path)));
    known
}

/// Refuses a configuration that is none of this kind.
fn check_applied(definition: &Definition, body: &Value) -> Result<(), Status> {
    let resource = &definition.resource;
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version != resource.api_version() || kind != resource.kind {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        return Err(Status::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")));
    }
    if !body["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    merge::check(schema_of(definition), body).map_err(|why| {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        Status::plain(format!(
            "failed to create typed patch object ({}/{}; {group}/{version}, Kind={kind}): {why}",
            namespace(body),
            name(body),
        ))
    })
}

/// Takes out what the manager applied the last time and not now, unless others have it.
fn prune(schema: &Value, new: &mut Value, before: &FieldSet, mine: &FieldSet, others: &[Entry]) {
    let before = before.with_holders(schema);
    let kept = mine.with_holders(schema);
    let mut given_up: Vec<&Path> = before.0.difference(&kept.0).collect();
    // Fields go before what holds them.
    given_up.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in given_up {
        let under = |set: &FieldSet| set.0.iter().any(|other| other.starts_with(path));
        if !under(mine) && !others.iter().any(|entry| under(&entry.fields)) {
            fields::remove(new, path);
        }
    }
}

fn conflict(conflicts: &[(Entry, Path)]) -> Status {
    let with = |entry: &Entry| {
        let sub = if entry.subresource.is_empty() {
            String::new()
        } else {
            format!(" with subresource {:?}", entry.subresource)
        };
        let version = match entry.operation.as_str() {
            "Update" => format!(" using {}", entry.api_version),
            _ => String::new(),
        };
        format!("{:?}{sub}{version}", entry.manager)
    };
    let causes = conflicts.iter().map(|(entry, path)| Cause {
        reason: "FieldManagerConflict".into(),
        field: fields::display(path),
        message: format!("conflict with {}", with(entry)),
    });
    let text = match conflicts {
        [(entry, path)] => format!("1 conflict: conflict with {}: {}", with(entry), fields::display(path)),
        many => {
            let mut text = format!("{} conflicts:", many.len());
            let mut last = String::new();
            for (entry, path) in many {
                let name = with(entry);
                if name != last {
                    text = format!("{text} conflicts with {name}:");
                    last = name;
                }
                text = format!("{text}\n- {}", fields::display(path));
            }
            text
        }
    };
    Status::apply_conflict(format!("Apply failed with {text}"), causes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::registry::Registry;

    fn applied(live: &Value, manager: &str) -> Result<Value, u16> {
        let definition = Registry::new().find("", "v1", "configmaps").expect("it is served");
        let body =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" }, "data": { "a": "2" } });
        let options = WriteOptions { manager: manager.into(), operation: Operation::Apply, ..WriteOptions::default() };
        apply(&definition, Some(live), &body, &options).map_err(|status| status.code)
    }

    #[test]
    fn what_nobody_tracked_is_owned_from_before_the_first_apply() {
        let live =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" }, "data": { "a": "1" } });
        assert_eq!(applied(&live, "ann"), Err(409));
    }

    #[test]
    fn kubectl_goes_on_where_it_applied_on_the_clients_side() {
        let last =
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":\"1\"}}";
        let live = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "1" },
            "metadata": { "name": "c", "annotations": { LAST_APPLIED: last } } });
        assert_eq!(applied(&live, "ann"), Err(409), "others may not");
        let new = applied(&live, KUBECTL).expect("the fields are as it applied them");
        let wanted =
            "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"}}\n";
        assert_eq!((&new["data"]["a"], last_applied(&new)), (&json!("2"), wanted));
    }
}
