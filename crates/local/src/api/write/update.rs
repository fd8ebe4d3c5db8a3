//! Update: read, change, write, with optimistic concurrency; the common end of PUT and PATCH.

use serde_json::{Map, Value, json};

use super::{Target, WriteOptions, Written, check_namespace, check_type, decode, refused};
use crate::api::{
    Api, admission, convert, managed,
    meta::{finalizers, is_deleting, metadata_mut, name, set_or_remove, uid},
    model,
    registry::Definition,
    status::Status,
    store::{CommitError, Entry, Expect},
};

/// A write is tried again this often when others write at the same time.
const TRIES: usize = 32;

/// Kinds that a PUT creates when they are not there.
const CREATED_BY_PUT: [&str; 9] = [
    "/services",
    "/events",
    "/endpoints",
    "coordination.k8s.io/leases",
    "rbac.authorization.k8s.io/roles",
    "rbac.authorization.k8s.io/rolebindings",
    "rbac.authorization.k8s.io/clusterroles",
    "rbac.authorization.k8s.io/clusterrolebindings",
    "/limitranges",
];

/// Replaces an object.
pub(crate) fn update(api: &Api, target: &Target, body: &Value, options: &WriteOptions) -> Result<Written, Status> {
    let definition = &target.definition;
    let mut body = body.clone();
    check_type(definition, &mut body)?;
    let warnings = decode(target, &mut body, options).map_err(|error| error.of_body(definition))?;
    match name(&body) {
        "" => {
            return Err(Status::bad_request(format!(
                "the name of the object () does not match the name on the URL ({})",
                target.name
            )));
        }
        given if given != target.name => {
            let text = format!("the name of the object ({given}) does not match the name on the URL ({})", target.name);
            return Err(Status::bad_request(text));
        }
        _ => {}
    }
    check_namespace(target, &mut body)?;
    let absent = api.store.get(&definition.table, &target.namespace, &target.name).is_none();
    if absent
        && options.subresource.is_none()
        && CREATED_BY_PUT.contains(&definition.table.as_str())
        && uid(&body).is_empty()
    {
        metadata_mut(&mut body).shift_remove("resourceVersion");
        return super::create(api, target, body, options);
    }
    let given = uid(&body).to_owned();
    if absent && !given.is_empty() {
        let why = format!("Precondition failed: UID in precondition: {given}, UID in object meta: ");
        return Err(Status::conflict(&definition.resource, &target.name, &why));
    }
    let mut written = mutate(api, target, options, |old| {
        if !given.is_empty() && given != uid(old) {
            let why = format!("Precondition failed: UID in precondition: {given}, UID in object meta: {}", uid(old));
            return Err(Status::conflict(&definition.resource, &target.name, &why));
        }
        Ok((body.clone(), Vec::new()))
    })?;
    written.warnings.splice(0..0, warnings);
    Ok(written)
}

/// Changes an object by a function of its present state (in the target's version). When it was written meanwhile, the
/// function is asked again: one that names the version it is based on is then refused.
pub(crate) fn mutate(
    api: &Api,
    target: &Target,
    options: &WriteOptions,
    change: impl Fn(&Value) -> Result<(Value, Vec<String>), Status>,
) -> Result<Written, Status> {
    let definition = &target.definition;
    for _ in 0..TRIES {
        let entry = api.read(target)?;
        let old = convert::to_served(definition, &entry.value);
        let (mut new, mut warnings) = change(&old)?;
        expect_version(target, &new, &entry)?;
        model::default(definition, &mut new);
        keep_system_fields(definition, &old, &mut new);
        managed::track(definition, Some(&old), &mut new, options);
        isolate(definition, &old, &mut new, options.subresource.as_deref());
        admission::update(api, target, &old, &mut new, options)?;
        model::updated(definition, &old, &mut new);
        model::normalise(definition, &mut new)?;
        model::validate_update(definition, &old, &new, options.subresource.as_deref())?;
        if options.subresource.is_none() {
            warnings.extend(model::warnings(definition, Some(&old), &new));
        }
        count_generation(definition, &old, &mut new);
        let ends = is_deleting(&new)
            && finalizers(&new).next().is_none()
            && new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
            && !namespace_held(definition, &new);
        if options.dry_run {
            return Ok(Written { object: new.into(), created: false, warnings });
        }
        if !ends && same(&old, &new) {
            return Ok(Written { object: entry.value.clone(), created: false, warnings });
        }
        if ends {
            // What watches see is the object as it stood; the answer is what it would have become.
            match api.store.remove(&definition.table, &target.key(), (*entry.value).clone(), entry.version) {
                Ok(_) => {
                    api.written(definition, None);
                    return Ok(Written { object: new.into(), created: false, warnings });
                }
                Err(CommitError::Unexpected) => continue,
                Err(error) => return Err(refused(error, target.modified())),
            }
        }
        let stored = convert::to_stored(definition, new);
        match api.store.put(&definition.table, target.key(), Expect::Version(entry.version), stored) {
            Ok(entry) => {
                api.written(definition, Some(&entry));
                return Ok(Written { object: entry.value.clone(), created: false, warnings });
            }
            Err(CommitError::Unexpected) => {}
            Err(error) => return Err(refused(error, target.modified())),
        }
    }
    Err(target.modified())
}

/// That the version which the new object names, if any, is the present one.
fn expect_version(target: &Target, new: &Value, entry: &Entry) -> Result<(), Status> {
    let given = new["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if given.is_empty() || given == "0" {
        if target.definition.table == "policy/poddisruptionbudgets" || target.definition.custom.is_some() {
            let message = "Invalid value: 0: must be specified for an update";
            let (resource, field) = (&target.definition.resource, "metadata.resourceVersion");
            let mut status = Status::invalid_field(resource, &target.name, "FieldValueInvalid", field, message);
            // Upstream names the resource here, not the kind.
            if let Some(details) = &mut status.details {
                details.kind = resource.plural.to_string();
            }
            return Err(status);
        }
        return Ok(());
    }
    let version: u64 =
        given.parse().map_err(|_| Status::plain(format!("strconv.ParseUint: parsing \"{given}\": invalid syntax")))?;
    if version == entry.version { Ok(()) } else { Err(target.modified()) }
}

/// What a change cannot touch; what it must not touch is left for validation to refuse.
fn keep_system_fields(definition: &Definition, old: &Value, new: &mut Value) {
    let old = &old["metadata"];
    let metadata = metadata_mut(new);
    for key in ["creationTimestamp", "generation", "resourceVersion"] {
        set_or_remove(metadata, key, old.get(key));
    }
    for key in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let absent = metadata.get(key).is_none_or(|value| value.is_null() || value == "");
        if absent || (key == "deletionTimestamp" && old.get(key).is_some()) {
            set_or_remove(metadata, key, old.get(key));
        }
    }
    metadata.shift_remove("selfLink");
    metadata.insert("name".into(), old["name"].clone());
    if definition.resource.namespaced {
        metadata.insert("namespace".into(), old["namespace"].clone());
    }
}

/// A write to the object leaves its status alone, a write to the status everything else.
fn isolate(definition: &Definition, old: &Value, new: &mut Value, subresource: Option<&str>) {
    let status = definition.subresource("status").is_some();
    match subresource {
        Some("status") => {
            let mut out = old.clone();
            let theirs = &new["metadata"];
            let kept = ["annotations", "managedFields", "ownerReferences", "finalizers", "labels"];
            let free: &[&str] = match definition.table.as_str() {
                _ if definition.custom.is_some() => &["managedFields"],
                "apps/deployments" => &kept[..4],
                _ => &kept,
            };
            for key in free {
                set_or_remove(metadata_mut(&mut out), key, theirs.get(*key));
            }
            if let Some(members) = out.as_object_mut() {
                set_or_remove(members, "status", new.get("status"));
            }
            *new = out;
        }
        Some("resize") => {
            let mut out = old.clone();
            set_or_remove(metadata_mut(&mut out), "managedFields", new["metadata"].get("managedFields"));
            for kind in ["containers", "initContainers"] {
                let wanted = new["spec"][kind].as_array().into_iter().flatten();
                let own = out["spec"].get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten();
                for (own, wanted) in own.zip(wanted) {
                    if let Some(own) = own.as_object_mut() {
                        set_or_remove(own, "resources", wanted.get("resources"));
                        set_or_remove(own, "resizePolicy", wanted.get("resizePolicy"));
                    }
                }
            }
            *new = out;
        }
        None if status => {
            if let Some(members) = new.as_object_mut() {
                set_or_remove(members, "status", old.get("status"));
            }
        }
        _ => {}
    }
    if definition.table == "/namespaces" && subresource != Some("finalize") {
        if !new["spec"].is_object() {
            new["spec"] = json!({});
        }
        if let Some(spec) = new["spec"].as_object_mut() {
            set_or_remove(spec, "finalizers", old["spec"].get("finalizers"));
        }
    }
}

/// Counts `metadata.generation` up when anything but metadata and status changed.
fn count_generation(definition: &Definition, old: &Value, new: &mut Value) {
    if !definition.has_generation() {
        return;
    }
    let rest = |v: &Value| {
        let mut members = v.as_object().cloned().unwrap_or_else(Map::new);
        for key in ["metadata", "apiVersion", "kind"] {
            members.shift_remove(key);
        }
        if definition.subresource("status").is_some() {
            members.shift_remove("status");
        }
        members
    };
    if rest(old) != rest(new) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        metadata_mut(new).insert("generation".into(), json!(generation));
    }
}

/// Whether two states are the same but for the times of `managedFields`.
fn same(old: &Value, new: &Value) -> bool {
    let bare = |v: &Value| {
        let mut v = v.clone();
        metadata_mut(&mut v).shift_remove("resourceVersion");
        for entry in v["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
            if let Some(members) = entry.as_object_mut() {
                members.shift_remove("time");
            }
        }
        v
    };
    bare(old) == bare(new)
}

fn namespace_held(definition: &Definition, object: &Value) -> bool {
    definition.table == "/namespaces" && object["spec"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}
