//! What cannot be changed once an object is there.

use serde_json::{Value, json};

use super::errors::Errors;
use crate::api::{meta::set_or_remove, registry::Definition};

const IMMUTABLE: &str = "field is immutable";

/// Compares two states of an object.
pub(super) fn check(definition: &Definition, old: &Value, new: &Value, errors: &mut Errors) {
    match definition.table.as_str() {
        "/pods" => pod(&old["spec"], &new["spec"], errors),
        "/configmaps" | "/secrets" => data(definition, old, new, errors),
        "/services" => service(&old["spec"], &new["spec"], errors),
        "/persistentvolumeclaims" => claim(&old["spec"], new, errors),
        "/nodes" => node(&old["spec"], new, errors),
        "/resourcequotas" => {
            let mut scopes = [list(&old["spec"], "scopes"), list(&new["spec"], "scopes")].map(<[Value]>::to_vec);
            for scopes in &mut scopes {
                scopes.sort_by_key(Value::to_string);
            }
            if scopes[0] != scopes[1] {
                errors.invalid("spec.scopes", &new["spec"]["scopes"], IMMUTABLE);
            }
        }
        "apps/deployments" | "apps/replicasets" | "apps/daemonsets" => same(old, new, "spec", &["selector"], errors),
        "apps/statefulsets" => stateful_set(&old["spec"], &new["spec"], errors),
        "apps/controllerrevisions" => same(old, new, "", &["data"], errors),
        "batch/jobs" => job(old, new, errors),
        "scheduling.k8s.io/priorityclasses" => {
            if old["value"] != new["value"] {
                errors.forbidden("value", "may not be changed in an update.");
            }
            same(old, new, "", &["preemptionPolicy"], errors);
        }
        "storage.k8s.io/storageclasses" => storage_class(old, new, errors),
        "rbac.authorization.k8s.io/rolebindings" | "rbac.authorization.k8s.io/clusterrolebindings"
            if old["roleRef"] != new["roleRef"] =>
        {
            errors.invalid("roleRef", &new["roleRef"], "cannot change roleRef");
        }
        "discovery.k8s.io/endpointslices" => same(old, new, "", &["addressType"], errors),
        "/events" => event(definition, old, new, errors),
        "apiextensions.k8s.io/customresourcedefinitions" => {
            same(old, new, "spec", &["group"], errors);
            let (before, after) = (&old["spec"]["names"], &new["spec"]["names"]);
            if before["plural"] != after["plural"] {
                errors.invalid("spec.names.plural", &after["plural"], IMMUTABLE);
            }
            let conditions = old["status"]["conditions"].as_array().into_iter().flatten();
            if conditions.into_iter().any(|known| known["type"] == "Established" && known["status"] == "True") {
                same(old, new, "spec", &["scope"], errors);
                if before["kind"] != after["kind"] {
                    errors.invalid("spec.names.kind", &after["kind"], IMMUTABLE);
                }
            }
        }
        _ => {}
    }
}

fn same(old: &Value, new: &Value, part: &str, keys: &[&str], errors: &mut Errors) {
    let of = |object: &Value, key: &str| if part.is_empty() { object[key].clone() } else { object[part][key].clone() };
    for key in keys.iter().filter(|key| of(old, key) != of(new, key)) {
        let field = if part.is_empty() { (*key).to_owned() } else { format!("{part}.{key}") };
        errors.invalid(&field, &of(new, key), IMMUTABLE);
    }
}

fn data(definition: &Definition, old: &Value, new: &Value, errors: &mut Errors) {
    if old["immutable"] == true {
        if new["immutable"] != true {
            errors.forbidden("immutable", "field is immutable when `immutable` is set");
        }
        for key in ["data", "binaryData"] {
            if old[key] != new[key] {
                errors.forbidden(key, "field is immutable when `immutable` is set");
            }
        }
    }
    if definition.table == "/secrets" {
        same(old, new, "", &["type"], errors);
    }
}

fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key].as_array().map_or(&[], Vec::as_slice)
}

/// Of a pod's spec only images, deadlines and further tolerations may change.
fn pod(old: &Value, new: &Value, errors: &mut Errors) {
    for kind in ["containers", "initContainers"] {
        if list(old, kind).len() != list(new, kind).len() {
            errors.forbidden(&format!("spec.{kind}"), "pod updates may not add or remove containers");
            return;
        }
    }
    for (index, container) in list(new, "containers").iter().enumerate() {
        if container["image"].as_str().unwrap_or_default().is_empty() {
            errors.required(&format!("spec.containers[{index}].image"), "");
        }
    }
    let (was, is) = (&old["activeDeadlineSeconds"], &new["activeDeadlineSeconds"]);
    match (was.as_i64(), is.as_i64()) {
        (Some(was), Some(now)) if was < now => {
            errors.invalid("spec.activeDeadlineSeconds", is, "must be less than or equal to previous value");
            return;
        }
        (Some(_), None) => {
            let why = "must not update from a positive integer to nil value";
            errors.invalid("spec.activeDeadlineSeconds", is, why);
        }
        _ => {}
    }
    let kept = list(old, "tolerations").iter().all(|one| {
        let bare = |toleration: &Value| {
            let mut toleration = toleration.clone();
            if let Some(members) = toleration.as_object_mut() {
                members.shift_remove("tolerationSeconds");
            }
            toleration
        };
        list(new, "tolerations").iter().any(|other| bare(other) == bare(one))
    });
    if !kept {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden("spec.tolerations", why);
    }
    for (index, gate) in list(new, "schedulingGates").iter().enumerate() {
        if !list(old, "schedulingGates").contains(gate) {
            let name = gate["name"].as_str().unwrap_or_default();
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(&format!("spec.schedulingGates[{index}].name"), &why);
        }
    }
    let mut wanted = new.clone();
    for kind in ["containers", "initContainers"] {
        for (index, container) in wanted[kind].as_array_mut().into_iter().flatten().enumerate() {
            container["image"] = old[kind][index]["image"].clone();
        }
    }
    if let (Some(wanted), Some(old)) = (wanted.as_object_mut(), old.as_object()) {
        for key in ["activeDeadlineSeconds", "schedulingGates", "tolerations", "initContainers"] {
            match old.get(key) {
                Some(value) if key != "initContainers" => {
                    wanted.insert(key.to_owned(), value.clone());
                }
                None => {
                    wanted.shift_remove(key);
                }
                Some(_) => {}
            }
        }
    }
    if !list(old, "schedulingGates").is_empty() {
        gated(old, &mut wanted, errors);
    }
    if wanted != *old {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        errors.forbidden("spec", why);
    }
}

/// A pod that waits at a gate may have its choice of nodes narrowed.
fn gated(old: &Value, wanted: &mut Value, errors: &mut Errors) {
    let (was, is) = (&old["nodeSelector"], &wanted["nodeSelector"]);
    let kept = was.as_object().into_iter().flatten().all(|(key, value)| is[key] == *value);
    if !kept {
        errors.invalid(
            "spec.nodeSelector",
            is,
            "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        );
    }
    let affinity = old["affinity"]["nodeAffinity"].clone();
    if let Some(members) = wanted.as_object_mut() {
        set_or_remove(members, "nodeSelector", old.get("nodeSelector"));
        if affinity.is_null() {
            let alone = members
                .get("affinity")
                .is_some_and(|own| own["podAffinity"].is_null() && own["podAntiAffinity"].is_null());
            if alone && !old["affinity"].is_object() {
                members.shift_remove("affinity");
            } else if let Some(own) = members.get_mut("affinity").and_then(Value::as_object_mut) {
                own.shift_remove("nodeAffinity");
            }
        }
    }
}

fn service(old: &Value, new: &Value, errors: &mut Errors) {
    let outside = |spec: &Value| spec["type"] == "ExternalName";
    if outside(old) || outside(new) {
        return;
    }
    let (was, is) = (&old["clusterIPs"], &new["clusterIPs"]);
    if was.is_array() && was[0] != is[0] && was[0] != "" {
        errors.invalid("spec.clusterIPs[0]", is, "may not change once set");
    }
}

/// Of a claim's spec only the size may change, and only grow.
fn claim(old: &Value, new: &Value, errors: &mut Errors) {
    let (bound, new) = (new["status"]["phase"] == "Bound", &new["spec"]);
    let mut wanted = new.clone();
    if let Some(members) = wanted.as_object_mut() {
        let mut keep = |key: &str| set_or_remove(members, key, old.get(key));
        if old["volumeName"].as_str().unwrap_or_default().is_empty() {
            keep("volumeName");
        }
        if bound {
            keep("volumeAttributesClassName");
        }
    }
    if bound && wanted["resources"]["requests"].is_object() {
        wanted["resources"]["requests"]["storage"] = old["resources"]["requests"]["storage"].clone();
    }
    if wanted != *old {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.forbidden("spec", why);
    }
    let size = |spec: &Value| crate::api::typed::amount(&spec["resources"]["requests"]["storage"]);
    if size(new) < size(old) {
        let field = "spec.resources.requests.storage";
        errors.forbidden(field, "field can not be less than previous value");
    }
}

fn stateful_set(old: &Value, new: &Value, errors: &mut Errors) {
    const FREE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |spec: &Value| {
        let mut members = spec.as_object().cloned().unwrap_or_default();
        members.retain(|key, _| !FREE.contains(&key.as_str()));
        members
    };
    if fixed(old) != fixed(new) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.forbidden("spec", why);
    }
}

fn job(old: &Value, new: &Value, errors: &mut Errors) {
    let (was, is) = (&old["spec"], &new["spec"]);
    // An indexed job may have its completions changed together with its parallelism.
    let elastic = is["completionMode"] == "Indexed" && is["completions"] == is["parallelism"];
    let mut fixed =
        vec!["completions", "selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"];
    if elastic {
        fixed.remove(0);
    }
    // Scheduling of a job that never ran may be decided late.
    let bare = |spec: &Value| {
        let mut template = spec["template"].clone();
        for key in ["nodeSelector", "tolerations", "affinity", "schedulingGates"] {
            template["spec"][key] = json!(null);
        }
        for key in ["labels", "annotations"] {
            template["metadata"][key] = json!(null);
        }
        template
    };
    if was["suspend"] == true && old["status"]["startTime"].is_null() && bare(was) == bare(is) {
        fixed.retain(|key| *key != "template");
    }
    same(old, new, "spec", &fixed, errors);
}

fn storage_class(old: &Value, new: &Value, errors: &mut Errors) {
    for key in ["parameters", "provisioner"] {
        if old[key] != new[key] {
            errors.forbidden(key, &format!("updates to {key} are forbidden."));
        }
    }
    if old["reclaimPolicy"] != new["reclaimPolicy"] {
        errors.forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.");
    }
    same(old, new, "", &["volumeBindingMode"], errors);
}

/// A node's addresses and its machine stay, once they are known.
fn node(old: &Value, new: &Value, errors: &mut Errors) {
    let spec = &new["spec"];
    if !list(old, "podCIDRs").is_empty() && old["podCIDRs"] != spec["podCIDRs"] {
        errors.forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid");
    }
    if old["providerID"].as_str().is_some_and(|known| !known.is_empty() && spec["providerID"] != known) {
        errors.forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid");
    }
    if old["externalID"] != spec["externalID"] {
        errors.forbidden("spec.externalID", "may not be updated");
    }
    // Upstream looks at the taints once more.
    super::core::node(new, errors);
}

/// Events of the new group only have their series counted up.
fn event(definition: &Definition, old: &Value, new: &Value, errors: &mut Errors) {
    if definition.resource.group != "events.k8s.io" {
        return;
    }
    // Upstream names the fields as the core group has them, and looks at the reason twice.
    let fields = [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("reason", "reason"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    for (key, named) in fields.into_iter().filter(|(key, _)| old[key] != new[key]) {
        errors.invalid(named, &new[key], IMMUTABLE);
    }
}
