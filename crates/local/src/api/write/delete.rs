//! Delete: preconditions, grace, finalizers, propagation.
//!
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Target, refused};
use crate::api::{
    Api, crds,
    meta::{finalizers, is_deleting, metadata_mut, set_finalizer, timestamp, uid},
    registry::Definition,
    resource::Resource,
    status::Status,
    store::{CommitError, Expect},
};

/// What happens to dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without their owner.
    Orphan,
    /// They go after the owner.
    Background,
    /// They go before the owner.
    Foreground,
}

/// `metav1.DeleteOptions`.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Seconds that a pod is given to end; none: what it says itself.
    pub grace_period_seconds: Option<i64>,
    /// Only if the object has this uid.
    pub uid: Option<String>,
    /// Only if the object is at this version.
    pub resource_version: Option<String>,
    /// What happens to dependents; none: what the kind has as its own policy.
    pub propagation: Option<Propagation>,
    /// Check everything, change nothing.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Dependents go after their owner, whatever its kind has as its own policy.
    pub fn background() -> Self {
        Self { propagation: Some(Propagation::Background), ..Self::default() }
    }
}

/// Outcome of a delete.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// It is gone; its last state.
    Gone(Arc<Value>),
    /// It is marked, and goes when its grace or finalizers end.
    Marked(Arc<Value>),
}

/// How an object's deletion begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    /// It goes at once, unless something holds it.
    AtOnce,
    /// It is given so many seconds, which are marked on it already.
    Within(i64),
    /// It is being deleted, and as soon as was asked for.
    Before,
}

const NAMESPACES: &str = "/namespaces";
const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// Deletes an object, or marks it.
pub(crate) fn delete(api: &Api, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
    let definition = &target.definition;
    loop {
        let entry = api.read(target)?;
        let old = entry.value.clone();
        check_preconditions(target, &old, options)?;
        let mut new = (*old).clone();
        let begun = begin(definition, &mut new, options);
        if begun == Begun::Before {
            return Ok(Deleted::Marked(old));
        }
        keep_for_dependents(definition, &mut new, options);
        let own = matches!(definition.table.as_str(), NAMESPACES | DEFINITIONS) && !is_deleting(&old);
        if own {
            mark_own(definition, &mut new);
        }
        let waits = matches!(begun, Begun::Within(1..))
            || finalizers(&new).next().is_some()
            || definition.table == NAMESPACES && namespace_waits(&old);
        if waits && begun == Begun::AtOnce && !own {
            // Namespaces are held by their own finalizers too, which leave no trace here.
            if definition.table == NAMESPACES {
                return Ok(Deleted::Marked(old));
            }
            mark(&mut new);
        }
        if options.dry_run {
            return Ok(if waits { Deleted::Marked(Arc::new(new)) } else { Deleted::Gone(Arc::new(new)) });
        }
        let last = new.clone();
        let result = if waits {
            if new == *old {
                return Ok(Deleted::Marked(old));
            }
            api.store.put(&definition.table, target.key(), Expect::Version(entry.version), new).map(|e| (e, true))
        } else {
            api.store.remove(&definition.table, &target.key(), new, entry.version).map(|e| (e, false))
        };
        match result {
            Ok((entry, true)) => {
                api.written(definition, Some(&entry));
                return Ok(Deleted::Marked(entry.value.clone()));
            }
            Ok((_, false)) => {
                api.written(definition, None);
                return Ok(Deleted::Gone(Arc::new(last)));
            }
            Err(CommitError::Unexpected) => {}
            Err(error) => return Err(refused(error, target.not_found())),
        }
    }
}

fn check_preconditions(target: &Target, old: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let resource = &target.definition.resource;
    let refuse = |what: &str, want: &str, have: &str, happened: &str| {
        // These two have storage of their own, which says it in another way.
        if matches!(target.definition.table.as_str(), NAMESPACES | DEFINITIONS) {
            let why = format!("Precondition failed: {what} in precondition: {want}, {what} in object meta: {have}");
            return Err(Status::conflict(resource, &target.name, &why));
        }
        let why = format!(
            "the {what} in the precondition ({want}) does not match the {what} in record ({have}). The object might have been {happened}"
        );
        // Upstream names the kind here, not the resource.
        let kind = Resource { plural: resource.kind.clone(), ..resource.clone() };
        Err(Status::conflict(&kind, &target.name, &why))
    };
    if let Some(want) = options.uid.as_deref().filter(|want| *want != uid(old)) {
        return refuse("UID", want, uid(old), "deleted and then recreated");
    }
    let version = old["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    match options.resource_version.as_deref().filter(|want| *want != version) {
        Some(want) => refuse("ResourceVersion", want, version, "modified"),
        None => Ok(()),
    }
}

/// Marks an object that is given time: only pods are, and only those that run somewhere get any.
fn begin(definition: &Definition, object: &mut Value, options: &DeleteOptions) -> Begun {
    if definition.table != "/pods" {
        return Begun::AtOnce;
    }
    // Longer than a lifetime is for ever, and a time that can be written.
    let seconds = |asked: i64| if asked < 0 { 1 } else { asked.min(i64::from(i32::MAX)) };
    let asked = options.grace_period_seconds.map(seconds);
    if is_deleting(object) {
        let before = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        return match asked {
            _ if before == 0 => Begun::AtOnce,
            Some(sooner) if sooner < before => Begun::Within(shorten(object, before, sooner)),
            _ => Begun::Before,
        };
    }
    let unbound = object["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let finished = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let grace = if unbound || finished { 0 } else { asked.unwrap_or(seconds(own)) };
    count_up(object);
    let metadata = metadata_mut(object);
    metadata.insert("deletionTimestamp".into(), json!(timestamp(Utc::now() + TimeDelta::seconds(grace))));
    metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
    Begun::Within(grace)
}

/// Moves the end of an object's time, which is no more than the present.
fn shorten(object: &mut Value, before: i64, asked: i64) -> i64 {
    let now = Utc::now();
    let end = object["metadata"]["deletionTimestamp"].as_str();
    let end = end.and_then(|end| DateTime::parse_from_rfc3339(end).ok()).map_or(now, |end| end.with_timezone(&Utc));
    let wanted = end + TimeDelta::seconds(asked - before);
    let grace = if wanted < now { asked.min(1) } else { asked };
    let metadata = metadata_mut(object);
    metadata.insert("deletionTimestamp".into(), json!(timestamp(wanted.max(now))));
    metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
    grace
}

/// Has an object kept until its dependents are seen to, as asked for or as its kind has it.
fn keep_for_dependents(definition: &Definition, object: &mut Value, options: &DeleteOptions) {
    const FINALIZERS: [&str; 2] = ["orphan", "foregroundDeletion"];
    let wanted = match (definition.table.as_str(), options.propagation) {
        // Events own nothing.
        ("/events", _) => return,
        (_, Some(Propagation::Orphan)) => Some(FINALIZERS[0]),
        (_, Some(Propagation::Foreground)) => Some(FINALIZERS[1]),
        (_, Some(Propagation::Background)) => None,
        _ if finalizers(object).any(|held| FINALIZERS.contains(&held)) => return,
        _ => orphans_by_default(definition).then_some(FINALIZERS[0]),
    };
    for finalizer in FINALIZERS {
        let present = finalizers(object).any(|held| held == finalizer);
        if present != (wanted == Some(finalizer)) {
            set_finalizer(object, finalizer, !present);
        }
    }
}

/// Whether a kind's dependents stay unless something else is asked for, as in its first version.
fn orphans_by_default(definition: &Definition) -> bool {
    matches!(definition.table.as_str(), "batch/jobs" | "/replicationcontrollers")
}

fn count_up(object: &mut Value) {
    if let Some(generation) = object["metadata"]["generation"].as_i64().filter(|generation| *generation > 0) {
        metadata_mut(object).insert("generation".into(), json!(generation.saturating_add(1)));
    }
}

/// Marks an object that finalizers hold.
fn mark(object: &mut Value) {
    if !is_deleting(object) {
        count_up(object);
    }
    let now = Utc::now();
    let end = object["metadata"]["deletionTimestamp"].as_str();
    let end = end.and_then(|end| DateTime::parse_from_rfc3339(end).ok()).filter(|end| *end <= now);
    let metadata = metadata_mut(object);
    if end.is_none() {
        metadata.insert("deletionTimestamp".into(), json!(timestamp(now)));
    }
    metadata.insert("deletionGracePeriodSeconds".into(), json!(0));
}

/// Marks a namespace or a definition, which say in their status that they end.
fn mark_own(definition: &Definition, object: &mut Value) {
    metadata_mut(object).insert("deletionTimestamp".into(), json!(timestamp(Utc::now())));
    if definition.table == NAMESPACES {
        object["status"]["phase"] = json!("Terminating");
    } else {
        set_finalizer(object, crds::CLEANUP, true);
        crds::mark_pending(object);
    }
}

fn namespace_waits(object: &Value) -> bool {
    object["spec"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}
