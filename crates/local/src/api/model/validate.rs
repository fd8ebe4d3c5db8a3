//! Which objects are refused: the rules of metadata, and those of each kind in the modules below.
//!
//! Each broken rule is a cause with upstream's reason and field, in upstream's order.
//! <https://github.com/kubernetes/kubernetes/tree/v1.33.0/pkg/apis>

mod core;
mod crd;
mod errors;
mod immutable;
mod metadata;
pub(crate) mod names;
mod namespace;
mod pod;
mod policy;
mod selector;
mod service;
mod volumes;
mod workload;

use serde_json::Value;

use errors::Errors;
pub(super) use errors::cause;

use super::{schema, structural};
use crate::api::{
    at, convert,
    meta::name,
    registry::Definition,
    status::{Cause, Status},
};

/// Kinds, beside those of RBAC, whose new state upstream looks at twice when it changes.
const TWICE: [&str; 5] =
    ["/persistentvolumeclaims", "/replicationcontrollers", "apps/replicasets", "apps/daemonsets", "batch/jobs"];
/// Kinds, beside those of RBAC, whose new metadata upstream looks at again like at those of a new object.
const AGAIN: [&str; 8] = [
    "/configmaps",
    "/secrets",
    "/services",
    "/serviceaccounts",
    "/endpoints",
    "/persistentvolumes",
    "/persistentvolumeclaims",
    "apps/controllerrevisions",
];

/// Rules for a new object.
pub(crate) fn validate_create(definition: &Definition, object: &Value) -> Result<(), Status> {
    let mut errors = Errors::default();
    metadata::check(definition, object, &mut errors);
    if let Some(custom) = &definition.custom {
        structural::check(schema(custom), object, None, &mut errors.0);
    }
    scalable(definition, object, &mut errors);
    check_kind(definition, None, object, &mut errors);
    refuse(definition, object, errors.0)
}

/// Rules for a change, of the whole or of a subresource.
pub(crate) fn validate_update(
    definition: &Definition,
    old: &Value,
    new: &Value,
    subresource: Option<&str>,
) -> Result<(), Status> {
    let mut errors = Errors::default();
    metadata::check_change(old, new, &mut errors);
    let (table, rbac) = (definition.table.as_str(), definition.resource.group == "rbac.authorization.k8s.io");
    if subresource.is_none() && (rbac || TWICE.contains(&table)) {
        metadata::check_again(definition, new, &mut errors);
        if table == "batch/jobs" {
            workload::generated_selector(new, &mut errors);
        }
        check_kind(definition, Some(old), new, &mut errors);
    }
    // Events of the core group are looked at for all kinds alike only.
    if table != "/events" || !definition.resource.group.is_empty() {
        metadata::check_own_change(definition, old, new, &mut errors);
    }
    if let Some(custom) = &definition.custom {
        let mut causes = Vec::new();
        structural::check(schema(custom), new, Some(old), &mut causes);
        // What was wrong before and has not changed may stay.
        causes.retain(|cause| !unchanged(old, new, &cause.field));
        errors.0.extend(causes);
        scalable(definition, new, &mut errors);
    }
    if definition.table == "/namespaces" {
        namespace::check_change(new, subresource, &mut errors);
    }
    if subresource.is_none() {
        // These say what may not change before they look at the new state, others after.
        let first = ["/services", "/configmaps", "/secrets"].contains(&table);
        if rbac || AGAIN.contains(&table) {
            metadata::check_again(definition, new, &mut errors);
        }
        if first {
            immutable::check(definition, old, new, &mut errors);
        }
        check_kind(definition, Some(old), new, &mut errors);
        if !first {
            immutable::check(definition, old, new, &mut errors);
        }
    } else if subresource == Some("status") {
        policy::status(definition, old, new, &mut errors);
    }
    refuse(definition, new, errors.0)
}

/// What a Scale of a custom resource reads must be what it takes it for.
fn scalable(definition: &Definition, object: &Value, errors: &mut Errors) {
    let Some(scale) = definition.custom.as_ref().map(|custom| &custom.version["subresources"]["scale"]) else { return };
    for key in ["specReplicasPath", "statusReplicasPath"] {
        let Some(path) = scale[key].as_str() else { continue };
        let value = at(object, path);
        match value.as_i64() {
            Some(number) if number < 0 => errors.invalid(path, value, "should be a non-negative integer"),
            Some(number) if number > i64::from(i32::MAX) => {
                errors.invalid(path, value, "should be less than or equal to 2147483647");
            }
            None if !value.is_null() => {
                errors.invalid(
                    path,
                    &0.into(),
                    &format!("{path} accessor error: {value} is of another type, expected int64"),
                );
            }
            _ => {}
        }
    }
    if let Some(path) = scale["labelSelectorPath"].as_str() {
        let value = at(object, path);
        if !value.is_null() && !value.is_string() {
            errors.invalid(path, value, &format!("{path} accessor error: {value} is of another type, expected string"));
        }
    }
}

fn check_kind(definition: &Definition, old: Option<&Value>, object: &Value, errors: &mut Errors) {
    match definition.table.as_str() {
        "/pods" if old.is_none() => pod::spec(&object["spec"], "spec", pod::Of::Pod, errors),
        "/podtemplates" => pod::template(&object["template"], "template", pod::Of::Template, errors),
        "/services" => service::check(object, errors),
        "/configmaps" => core::config_map(object, errors),
        "/secrets" => core::secret(object, errors),
        "/persistentvolumeclaims" => volumes::claim(&object["spec"], "spec", errors),
        "/resourcequotas" => core::resource_quota(object, errors),
        "/limitranges" => core::limit_range(object, errors),
        "/endpoints" => core::endpoints(object, errors),
        "/events" => core::event(definition, old, object, errors),
        "/nodes" => core::node(object, errors),
        "/namespaces" if old.is_none() => namespace::check(object, errors),
        "apps/deployments" => workload::deployment(object, errors),
        "apps/replicasets" => workload::replica_set(object, errors),
        "apps/daemonsets" => workload::daemon_set(object, errors),
        "apps/statefulsets" => workload::stateful_set(object, errors),
        "apps/controllerrevisions" => workload::controller_revision(object, errors),
        "/replicationcontrollers" => workload::replication_controller(object, errors),
        "batch/jobs" => {
            if old.is_none() {
                workload::generated_selector(object, errors);
            }
            workload::job(&object["spec"], "spec", errors);
        }
        "batch/cronjobs" => workload::cron_job(object, old, errors),
        // Those of the old version are looked at as the new one has them.
        "autoscaling/horizontalpodautoscalers" => {
            policy::autoscaler(&convert::to_stored(definition, object.clone()), errors);
        }
        "policy/poddisruptionbudgets" => policy::disruption_budget(object, errors),
        "coordination.k8s.io/leases" => policy::lease(object, errors),
        "rbac.authorization.k8s.io/roles" => policy::role(object, true, errors),
        "rbac.authorization.k8s.io/clusterroles" => policy::role(object, false, errors),
        "rbac.authorization.k8s.io/rolebindings" => policy::role_binding(object, true, errors),
        "rbac.authorization.k8s.io/clusterrolebindings" => policy::role_binding(object, false, errors),
        "scheduling.k8s.io/priorityclasses" => policy::priority_class(object, errors),
        "storage.k8s.io/storageclasses" => volumes::storage_class(object, errors),
        "discovery.k8s.io/endpointslices" => policy::endpoint_slice(object, old, errors),
        "apiextensions.k8s.io/customresourcedefinitions" => {
            crd::check(object, old.is_none(), errors);
        }
        _ => {}
    }
}

fn refuse(definition: &Definition, object: &Value, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    let mut resource = definition.resource.clone();
    // Events of both groups are those of the core group.
    if definition.table == "/events" {
        resource.group = "".into();
    }
    Err(Status::invalid(&resource, name(object), causes))
}

/// Whether a field is the same in both states.
fn unchanged(old: &Value, new: &Value, field: &str) -> bool {
    let at = |object: &Value| {
        field.split('.').try_fold(object.clone(), |at, part| {
            let (name, index) = part.split_once('[').unwrap_or((part, ""));
            let member = at.get(name)?.clone();
            match index.trim_end_matches(']') {
                "" => Some(member),
                index => member.get(index.parse::<usize>().ok()?).cloned(),
            }
        })
    };
    matches!((at(old), at(new)), (Some(old), Some(new)) if old == new)
}
