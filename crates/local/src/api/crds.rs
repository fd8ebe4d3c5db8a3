//! `CustomResourceDefinitions`: names and conditions that the API sets, and those that every cluster here has.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Api,
    meta::{is_deleting, now, set_finalizer},
    registry::Definition,
    resource::resources::CRDS,
    status::Status,
    store::{Entry, Expect},
    write::{DeleteOptions, Target, WriteOptions, create, delete, mutate},
};

/// Definitions that are there from the start.
const INSTALLED: [&str; 2] =
    [include_str!("../../data/crds/scaledobjects.json"), include_str!("../../data/crds/applications.json")];

/// Creates the definitions that are there from the start, unless a journal brought them.
pub(crate) fn install(api: &Api) -> Result<(), Status> {
    let definition = api.definition(&CRDS)?;
    for text in INSTALLED {
        let crd: Value = serde_json::from_str(text).map_err(|e| Status::plain(format!("installed definition: {e}")))?;
        let name = super::meta::name(&crd).to_owned();
        if api.store.get(&definition.table, "", &name).is_none() {
            let target = Target { definition: definition.clone(), namespace: String::new(), name };
            create(api, &target, crd, &WriteOptions { manager: "democtl".into(), ..WriteOptions::default() })?;
        }
    }
    Ok(())
}

/// Defaults of a definition's names.
pub(crate) fn default(crd: &mut Value) {
    let names = &mut crd["spec"]["names"];
    let kind = names["kind"].as_str().unwrap_or_default().to_owned();
    if names["singular"].as_str().unwrap_or_default().is_empty() {
        names["singular"] = json!(kind.to_lowercase());
    }
    if names["listKind"].as_str().unwrap_or_default().is_empty() && !kind.is_empty() {
        names["listKind"] = json!(format!("{kind}List"));
    }
    if crd["spec"].get("conversion").is_none() {
        crd["spec"]["conversion"] = json!({"strategy": "None"});
    }
}

/// The table of definitions.
const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// A definition that ends waits with this for its objects to be gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Deletes the objects of a definition that ends, and lets it go when there are none.
fn clean_up(api: &Api, crd: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let group = text(&crd["spec"]["group"]);
    let plural = text(&crd["spec"]["names"]["plural"]);
    let versions = crd["spec"]["versions"].as_array().into_iter().flatten();
    let definition =
        versions.into_iter().find_map(|version| api.registry.find(&group, &text(&version["name"]), &plural));
    let name = super::meta::name(crd).to_owned();
    if let Some(definition) = definition {
        for entry in api.store.list(&definition.table, "").0.iter().filter(|entry| !is_deleting(&entry.value)) {
            let (namespace, name) = (super::meta::namespace(&entry.value), super::meta::name(&entry.value));
            let target =
                Target { definition: definition.clone(), namespace: namespace.to_owned(), name: name.to_owned() };
            if let Err(error) = delete(api, &target, &DeleteOptions::default()) {
                tracing::debug!(%error, "object of a definition that ends");
            }
        }
        if !api.store.list(&definition.table, "").0.is_empty() {
            return;
        }
    }
    let Ok(definition) = api.definition(&CRDS) else { return };
    let target = Target { definition, namespace: String::new(), name };
    let options = WriteOptions { manager: "kube-apiserver".into(), ..WriteOptions::default() };
    let freed = mutate(api, &target, &options, |old| {
        let mut new = old.clone();
        set_finalizer(&mut new, CLEANUP, false);
        Ok(new)
    });
    if let Err(error) = freed {
        tracing::debug!(%error, "definition that ends");
    }
}

/// After an object of a definition that ends is gone: the definition may follow.
pub(crate) fn instance_gone(api: &Api, definition: &Definition) {
    let name = definition.custom.as_ref().map(|custom| custom.name.clone()).unwrap_or_default();
    if let Some(entry) = api.store.get(DEFINITIONS, "", &name).filter(|entry| is_deleting(&entry.value)) {
        clean_up(api, &entry.value);
    }
}

/// After a definition was written or removed: its names are accepted, its resource is served.
pub(crate) fn changed(api: &Api, entry: Option<&Arc<Entry>>) {
    match entry {
        Some(entry) if !is_deleting(&entry.value) => accept_names(api, entry),
        Some(_) => {}
        // A name that is free again is for whoever waits for it.
        None => {
            let refused = |entry: &&Arc<Entry>| holds(&entry.value, "NamesAccepted") == Some(false);
            let (all, _) = api.store.list(DEFINITIONS, "");
            all.iter().filter(refused).for_each(|entry| accept_names(api, entry));
        }
    }
    api.reload_custom();
    let Some(entry) = entry.filter(|entry| is_deleting(&entry.value)) else { return };
    let begun = |condition: &Value| condition["reason"] == "InstanceDeletionInProgress";
    if !entry.value["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(begun)) {
        let mut crd = (*entry.value).clone();
        set_terminating(&mut crd, "InstanceDeletionInProgress", "CustomResource deletion is in progress");
        let key = (String::new(), super::meta::name(&crd).to_owned());
        if let Err(error) = api.store.put(DEFINITIONS, key, Expect::Version(entry.version), crd) {
            tracing::debug!(%error, "definition written meanwhile");
        }
    }
    if super::meta::finalizers(&entry.value).any(|held| held == CLEANUP) {
        clean_up(api, &entry.value);
    }
}

/// Says of a definition that is being deleted that its objects will be.
pub(crate) fn mark_pending(crd: &mut Value) {
    let why = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set_terminating(crd, "InstanceDeletionPending", why);
}

fn set_terminating(crd: &mut Value, reason: &str, message: &str) {
    let conditions = crd["status"]["conditions"].as_array().into_iter().flatten();
    let mut conditions: Vec<Value> = conditions.filter(|known| known["type"] != "Terminating").cloned().collect();
    conditions.push(condition("Terminating", reason, message));
    crd["status"]["conditions"] = json!(conditions);
}

/// Gives a definition those of its names that no other one of its group has, and has it served when it has all.
fn accept_names(api: &Api, entry: &Arc<Entry>) {
    let mut crd = (*entry.value).clone();
    let (names, conflict) = accepted(api, &crd);
    let mut conditions = crd["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let mut set = |new: Value| match conditions.iter_mut().find(|known| known["type"] == new["type"]) {
        Some(known) if known["status"] == new["status"] && known["reason"] == new["reason"] => {}
        Some(known) => *known = new,
        None => conditions.push(new),
    };
    let established = holds(&crd, "Established") == Some(true);
    match conflict {
        None => {
            set(condition("NamesAccepted", "NoConflicts", "no conflicts found"));
            if !established {
                set(condition("Established", "InitialNamesAccepted", "the initial names have been accepted"));
            }
        }
        Some((reason, message)) => {
            set(refused(condition("NamesAccepted", &reason, &message)));
            if !established {
                set(refused(condition("Established", "NotAccepted", "not all names are accepted")));
            }
        }
    }
    crd["status"]["conditions"] = json!(conditions);
    crd["status"]["acceptedNames"] = names;
    if crd["status"] == entry.value["status"] {
        return;
    }
    if !established {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        api.store.open_table(&format!("{}/{}", text(&crd["spec"]["group"]), text(&crd["spec"]["names"]["plural"])));
    }
    let key = (String::new(), super::meta::name(&entry.value).to_owned());
    if let Err(error) = api.store.put(DEFINITIONS, key, Expect::Version(entry.version), crd) {
        // Whoever wrote meanwhile comes through here as well.
        tracing::debug!(%error, "definition written meanwhile");
    }
}

/// The names that a definition gets, and the last of the reasons why it does not get all.
fn accepted(api: &Api, crd: &Value) -> (Value, Option<(String, String)>) {
    let (wanted, mut names) = (&crd["spec"]["names"], crd["status"]["acceptedNames"].clone());
    if !names.is_object() {
        names = json!({ "plural": "", "kind": "" });
    }
    let (all, _) = api.store.list(DEFINITIONS, "");
    let own = super::meta::name(crd);
    let others = || all.iter().map(|entry| &*entry.value).filter(|other| super::meta::name(other) != own);
    let used = |name: &Value, keys: &[&str]| {
        let others = others().filter(|other| other["spec"]["group"] == crd["spec"]["group"]);
        others.map(|other| &other["status"]["acceptedNames"]).any(|taken| {
            keys.iter().any(|key| match &taken[*key] {
                Value::Array(several) => several.contains(name),
                one => one == name,
            })
        })
    };
    let mut conflict = None;
    for (key, reason) in [
        ("plural", "PluralConflict"),
        ("singular", "SingularConflict"),
        ("shortNames", "ShortNamesConflict"),
        ("kind", "KindConflict"),
        ("listKind", "ListKindConflict"),
    ] {
        let keys: &[&str] = if key.to_lowercase().ends_with("kind") {
            &["kind", "listKind"]
        } else {
            &["plural", "singular", "shortNames"]
        };
        let name = &wanted[key];
        let taken: Vec<String> = match name {
            Value::Array(several) => several.iter().filter(|name| used(name, keys)).map(in_use).collect(),
            one => Some(one).filter(|one| **one != names[key] && used(one, keys)).map(in_use).into_iter().collect(),
        };
        match taken.as_slice() {
            [] if name.is_null() => {
                names.as_object_mut().map(|names| names.shift_remove(key));
            }
            [] => names[key] = name.clone(),
            [one] => conflict = Some((reason.to_owned(), one.clone())),
            several => conflict = Some((reason.to_owned(), format!("[{}]", several.join(", ")))),
        }
    }
    match wanted.get("categories") {
        Some(categories) => names["categories"] = categories.clone(),
        None => {
            names.as_object_mut().map(|names| names.shift_remove("categories"));
        }
    }
    (names, conflict)
}

fn in_use(name: &Value) -> String {
    format!("{name} is already in use")
}

/// What a definition's condition says; none when it has none of the kind.
fn holds(crd: &Value, kind: &str) -> Option<bool> {
    let conditions = crd["status"]["conditions"].as_array()?;
    conditions.iter().find(|known| known["type"] == kind).map(|known| known["status"] == "True")
}

fn refused(mut condition: Value) -> Value {
    condition["status"] = json!("False");
    condition
}

fn condition(kind: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": "True", "lastTransitionTime": now(), "reason": reason, "message": message})
}
