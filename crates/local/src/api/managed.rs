//! Who set which fields: `managedFields`, and server-side apply with its conflicts.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    fields::{self, FieldSet, Path},
    meta::{metadata_mut, now, set_or_remove},
    registry::Definition,
    schemas,
    status::{Cause, Status},
    strategic,
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
            time: now(),
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
    all.sort_by_key(|entry| (entry.operation.clone(), entry.time.to_string(), entry.manager.clone()));
    let list: Option<Value> = (!all.is_empty()).then(|| all.iter().map(Entry::write).collect());
    set_or_remove(metadata_mut(object), "managedFields", list.as_ref());
}

/// The fields that a request of this kind may own: `status` belongs to its subresource, and nothing else does.
fn owned(definition: &Definition, object: &Value, options: &WriteOptions) -> FieldSet {
    let mut set = FieldSet::of(schemas::of(&definition.resource), object);
    if definition.subresource("status").is_some() {
        let of_status = options.subresource.as_deref() == Some("status");
        set.0.retain(|path| (path.first().is_some_and(|first| first == "f:status")) == of_status);
    }
    set
}

/// Records what a create or update has set. Apply has recorded its own.
pub(crate) fn track(definition: &Definition, old: Option<&Value>, new: &mut Value, options: &WriteOptions) {
    if options.operation == Operation::Apply {
        return;
    }
    let reset = new["metadata"]["managedFields"] == json!([]);
    let mut all = old.filter(|_| !reset).map(entries).unwrap_or_default();
    let after = owned(definition, new, options);
    let before = old.map(|old| owned(definition, old, options)).unwrap_or_default();
    let same = |path: &Path| old.is_some_and(|old| fields::get(old, path) == fields::get(new, path));
    let is_item = |path: &Path| path.last().is_some_and(|last| last.starts_with("k:"));
    let changed: BTreeSet<Path> = after
        .0
        .iter()
        .filter(|path| if is_item(path) { !before.0.contains(*path) } else { !same(path) })
        .cloned()
        .collect();
    let gone: BTreeSet<Path> = before.0.difference(&after.0).cloned().collect();
    let touched = !changed.is_empty() || !gone.is_empty();
    if touched && !reset {
        let mut mine = Entry::new(definition, options);
        if let Some(at) = all.iter().position(|entry| entry.is_of(&mine)) {
            mine.fields = all.remove(at).fields;
        }
        for entry in &mut all {
            entry.fields.0.retain(|path| !changed.contains(path) && !gone.contains(path));
        }
        mine.fields.0.retain(|path| !gone.contains(path));
        mine.fields.0.extend(changed);
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
    let mut mine = Entry::new(definition, options);
    mine.fields = owned(definition, body, options);
    let Some(old) = old else {
        let mut new = body.clone();
        store(&mut new, vec![mine]);
        return Ok(new);
    };
    let mut others = entries(old);
    let before = others.iter().position(|entry| entry.is_of(&mine)).map(|at| others.remove(at));
    let differs = |path: &Path| {
        let item = path.last().is_some_and(|last| last.starts_with("k:"));
        !item && fields::get(old, path).is_some_and(|live| Some(live) != fields::get(body, path))
    };
    let mut conflicts = Vec::new();
    for entry in &mut others {
        let lost: Vec<Path> =
            entry.fields.0.intersection(&mine.fields.0).filter(|path| differs(path)).cloned().collect();
        for path in &lost {
            entry.fields.0.remove(path);
        }
        conflicts.extend(lost.into_iter().map(|path| (entry.clone(), path)));
    }
    if !conflicts.is_empty() && !options.force {
        return Err(conflict(&conflicts));
    }
    let mut new = old.clone();
    if definition.custom.is_some() {
        json_patch::merge(&mut new, body);
    } else {
        strategic::merge(&definition.resource, &mut new, body)?;
    }
    let mut given_up: Vec<&Path> = before.iter().flat_map(|entry| entry.fields.0.difference(&mine.fields.0)).collect();
    // Fields go before what holds them.
    given_up.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in given_up {
        let under = |set: &FieldSet| set.0.iter().any(|other| other.starts_with(path));
        if !under(&mine.fields) && !others.iter().any(|entry| under(&entry.fields)) {
            fields::remove(&mut new, path);
        }
    }
    if let Some(before) = before.filter(|before| before.fields == mine.fields) {
        mine.time = before.time;
    }
    others.push(mine);
    store(&mut new, others);
    Ok(new)
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
