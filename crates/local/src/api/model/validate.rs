//! Which objects are refused: the rules of metadata, and those of each kind in the modules below.
//!
//! Each broken rule is a cause with upstream's reason and field, in upstream's order.
//! <https://github.com/kubernetes/kubernetes/tree/v1.33.0/pkg/apis>

mod core;
mod crd;
mod endpoints;
mod errors;
mod immutable;
mod job;
mod metadata;
pub(crate) mod names;
mod namespace;
mod pod;
mod policy;
mod resources;
mod selector;
mod service;
mod status;
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
const AGAIN: [&str; 11] = [
    "/configmaps",
    "/secrets",
    "/services",
    "/serviceaccounts",
    "/endpoints",
    "/persistentvolumes",
    "/persistentvolumeclaims",
    "/pods",
    "/nodes",
    "apps/controllerrevisions",
    "storage.k8s.io/storageclasses",
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
            job::named(new, &mut errors);
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
    match subresource {
        None => {
            if rbac || AGAIN.contains(&table) {
                metadata::check_again(definition, new, &mut errors);
            }
            // These say what may not change before they look at the new state, others after.
            let first = ["/services", "/configmaps", "/secrets"].contains(&table);
            if first {
                immutable::check(definition, old, new, &mut errors);
            }
            if table != "scheduling.k8s.io/priorityclasses" {
                check_kind(definition, Some(old), new, &mut errors);
            }
            if !first {
                immutable::check(definition, old, new, &mut errors);
            }
        }
        Some("status") => status::check(definition, old, new, &mut errors),
        Some("ephemeralcontainers") => {
            pod::changed(new, &mut errors);
            immutable::ephemeral(&old["spec"], &new["spec"], &mut errors);
        }
        Some("resize") => {
            pod::changed(new, &mut errors);
            immutable::resized(old, new, &mut errors);
        }
        _ => {}
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
        "/pods" if old.is_none() => pod::created(object, errors),
        "/pods" => pod::changed(object, errors),
        "/podtemplates" => pod::template(&object["template"], "template", errors),
        "/services" => service::check(old, object, errors),
        "/configmaps" => core::config_map(object, errors),
        "/secrets" => core::secret(object, errors),
        "/persistentvolumeclaims" => volumes::claim(&object["spec"], "spec", errors),
        "/persistentvolumes" => volumes::volume(object, errors),
        "/resourcequotas" => resources::quota(object, errors),
        "/limitranges" => resources::limit_range(object, errors),
        "/endpoints" => endpoints::endpoints(object, errors),
        "/events" => core::event(definition, old, object, errors),
        "/nodes" => core::node(object, old.is_none(), errors),
        "/namespaces" if old.is_none() => namespace::check(object, errors),
        "apps/deployments" => workload::deployment(object, errors),
        "apps/replicasets" => workload::replica_set(object, errors),
        "apps/daemonsets" => workload::daemon_set(object, errors),
        "apps/statefulsets" => workload::stateful_set(object, errors),
        "apps/controllerrevisions" => workload::controller_revision(object, errors),
        "/replicationcontrollers" => workload::replication_controller(object, errors),
        "batch/jobs" => job::job(object, old.is_none(), errors),
        "batch/cronjobs" => job::cron_job(object, old, errors),
        // Those of the old version are looked at as the new one has them.
        "autoscaling/horizontalpodautoscalers" => {
            policy::autoscaler(&convert::to_stored(definition, object.clone()), errors);
        }
        "policy/poddisruptionbudgets" => policy::disruption_budget(object, errors),
        "coordination.k8s.io/leases" => policy::lease(object, errors),
        "rbac.authorization.k8s.io/roles" => policy::role(object, true, errors),
        "rbac.authorization.k8s.io/clusterroles" => policy::cluster_role(object, errors),
        "rbac.authorization.k8s.io/rolebindings" => policy::role_binding(object, true, errors),
        "rbac.authorization.k8s.io/clusterrolebindings" => policy::role_binding(object, false, errors),
        "scheduling.k8s.io/priorityclasses" => policy::priority_class(object, errors),
        "storage.k8s.io/storageclasses" => volumes::storage_class(object, errors),
        "discovery.k8s.io/endpointslices" => endpoints::slice(object, errors),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(errors: Errors) -> String {
        let fields: Vec<String> = errors.0.into_iter().map(|cause| cause.field).collect();
        fields.join(" ")
    }

    #[test]
    fn pods_are_refused_by_their_parts() {
        let container = |more: Value| {
            let mut container = json!({ "name": "c", "image": "i" });
            for (key, value) in more.as_object().into_iter().flatten() {
                container[key.as_str()] = value.clone();
            }
            json!({ "restartPolicy": "Always", "dnsPolicy": "Default", "containers": [container] })
        };
        let rows = [
            (container(json!({})), ""),
            (container(json!({ "image": " i" })), "spec.containers[0].image"),
            (container(json!({ "envFrom": [{}] })), "spec.containers[0].envFrom"),
            (
                container(json!({ "volumeMounts": [{ "name": "v", "mountPath": "/v" }] })),
                "spec.containers[0].volumeMounts[0].name",
            ),
            (
                container(
                    json!({ "resources": { "limits": { "cpu": "1" }, "requests": { "cpu": "2", "gold": "1" } } }),
                ),
                "spec.containers[0].resources.requests spec.containers[0].resources.requests[gold] spec.containers[0].resources.requests[gold]",
            ),
            (
                container(json!({ "securityContext": { "seccompProfile": { "type": "Localhost" } } })),
                "spec.containers[0].securityContext.seccompProfile.localhostProfile",
            ),
        ];
        for (spec, wanted) in rows {
            let mut errors = Errors::default();
            pod::created(&json!({ "spec": spec }), &mut errors);
            assert_eq!(fields(errors), wanted, "{spec}");
        }
    }

    #[test]
    fn services_quotas_and_slices() {
        type Rule = fn(&Value, &mut Errors);
        let service: Rule = |object, errors| service::check(None, object, errors);
        let rows: [(Rule, Value, &str); 6] = [
            (service, json!({ "spec": { "type": "ClusterIP", "ports": [{ "port": 80, "targetPort": 80 }] } }), ""),
            (
                service,
                json!({ "spec": { "type": "NodePort", "ports": [{ "port": 80, "nodePort": 80 }] } }),
                "spec.ports[0].nodePort",
            ),
            (resources::quota, json!({ "spec": { "hard": { "pods": "1", "cpu": "2" } } }), ""),
            (
                resources::quota,
                json!({ "spec": { "scopes": ["BestEffort", "X"], "hard": { "cpu": "-1" } } }),
                "spec.hard[cpu] spec.scopes spec.scopes",
            ),
            // A cluster's pods have addresses above the host's own.
            (endpoints::slice, json!({ "addressType": "IPv4", "endpoints": [{ "addresses": ["127.3.0.9"] }] }), ""),
            (
                endpoints::slice,
                json!({ "addressType": "IPv4", "endpoints": [{ "addresses": ["127.0.0.1", "fd00::1"] }] }),
                "endpoints[0].addresses[0] endpoints[0].addresses",
            ),
        ];
        for (rule, object, wanted) in rows {
            let mut errors = Errors::default();
            rule(&object, &mut errors);
            assert_eq!(fields(errors), wanted, "{object}");
        }
    }

    #[test]
    fn a_resize_keeps_the_class_and_what_is_no_resource() {
        let pod = |cpu: &str, image: &str| {
            let amounts = json!({ "cpu": cpu, "memory": "1Gi" });
            let resources = json!({ "requests": amounts, "limits": { "cpu": "2", "memory": "1Gi" } });
            let spec = json!({ "containers": [{ "name": "c", "image": image, "resources": resources }] });
            json!({ "spec": spec, "status": { "qosClass": "Burstable" } })
        };
        for (new, wanted) in [(pod("1500m", "i"), ""), (pod("2", "i"), "spec"), (pod("1", "j"), "spec")] {
            let mut errors = Errors::default();
            immutable::resized(&pod("1", "i"), &new, &mut errors);
            assert_eq!(fields(errors), wanted, "{new}");
        }
    }
}
