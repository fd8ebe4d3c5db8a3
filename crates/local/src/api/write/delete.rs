//! Delete: preconditions, grace, finalizers, propagation.
//!
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Target, refused};
use crate::api::{
    Api, crds,
    meta::{finalizers, is_deleting, metadata_mut, set_finalizer, timestamp, uid},
    registry::Definition,
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
    /// What happens to dependents; none: background.
    pub propagation: Option<Propagation>,
    /// Check everything, change nothing.
    pub dry_run: bool,
}

/// Outcome of a delete.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// It is gone; its last state.
    Gone(Arc<Value>),
    /// It is marked, and goes when its grace or finalizers end.
    Marked(Arc<Value>),
}

/// Deletes an object, or marks it.
pub(crate) fn delete(api: &Api, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
    let definition = &target.definition;
    loop {
        let entry = api.read(target)?;
        let old = entry.value.clone();
        check_preconditions(target, &old, options)?;
        let mut new = (*old).clone();
        match options.propagation {
            Some(Propagation::Orphan) => {
                set_finalizer(&mut new, "foregroundDeletion", false);
                set_finalizer(&mut new, "orphan", true);
            }
            Some(Propagation::Foreground) => {
                set_finalizer(&mut new, "orphan", false);
                set_finalizer(&mut new, "foregroundDeletion", true);
            }
            Some(Propagation::Background) => {
                set_finalizer(&mut new, "orphan", false);
                set_finalizer(&mut new, "foregroundDeletion", false);
            }
            None => {}
        }
        if definition.table == "apiextensions.k8s.io/customresourcedefinitions" {
            set_finalizer(&mut new, crds::CLEANUP, true);
        }
        let grace = grace(definition, &old, options);
        let waits = grace > 0
            || finalizers(&new).next().is_some()
            || definition.table == "/namespaces" && namespace_waits(&old);
        if options.dry_run {
            return Ok(if waits { Deleted::Marked(old) } else { Deleted::Gone(old) });
        }
        if waits || definition.table == "/pods" {
            mark(definition, &mut new, grace);
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
    let conflict = |what: &str, want: &str, have: &str| {
        let why = format!("Precondition failed: {what} in precondition: {want}, {what} in object meta: {have}");
        Err(Status::conflict(&target.definition.resource, &target.name, &why))
    };
    if let Some(want) = options.uid.as_deref().filter(|want| *want != uid(old)) {
        return conflict("UID", want, uid(old));
    }
    let version = old["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    match options.resource_version.as_deref().filter(|want| *want != version) {
        Some(want) => {
            let resource = &target.definition.resource;
            let why = format!(
                "the ResourceVersion in the precondition ({want}) does not match the ResourceVersion in record ({version}). The object might have been modified"
            );
            let mut status = Status::conflict(resource, &target.name, &why);
            // Upstream names the kind here, not the resource.
            if let Some(details) = &mut status.details {
                details.kind = resource.kind.to_string();
            }
            Err(status)
        }
        None => Ok(()),
    }
}

/// Seconds that the object is given: only pods that run somewhere get any.
fn grace(definition: &Definition, old: &Value, options: &DeleteOptions) -> i64 {
    let unbound = old["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let finished = matches!(old["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if definition.table != "/pods" || unbound || finished {
        return 0;
    }
    let own = old["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    // Longer than a lifetime is for ever, and a time that can be written.
    let asked = options.grace_period_seconds.unwrap_or(own).clamp(0, i64::from(i32::MAX));
    match old["metadata"]["deletionGracePeriodSeconds"].as_i64() {
        Some(before) if is_deleting(old) => asked.min(before),
        _ => asked,
    }
}

fn mark(definition: &Definition, object: &mut Value, grace: i64) {
    let marked = is_deleting(object);
    let shorter = object["metadata"]["deletionGracePeriodSeconds"].as_i64().is_some_and(|before| grace < before);
    if !marked || shorter {
        let at = Utc::now() + TimeDelta::seconds(grace);
        let metadata = metadata_mut(object);
        metadata.insert("deletionTimestamp".into(), json!(timestamp(at)));
        if definition.table != "/namespaces" {
            metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
        }
        if !marked
            && definition.has_generation()
            && let Some(generation) = metadata.get("generation").and_then(Value::as_i64)
        {
            metadata.insert("generation".into(), json!(generation + 1));
        }
    }
    if definition.table == "/namespaces" {
        object["status"]["phase"] = json!("Terminating");
    }
}

fn namespace_waits(object: &Value) -> bool {
    object["spec"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}
