//! What cannot be changed once an object is there.

use serde_json::{Value, json};

use super::{
    super::prepare::quality_of_service,
    errors::{Errors, list, text},
    pod,
};
use crate::api::{meta::set_or_remove, registry::Definition};

const IMMUTABLE: &str = "field is immutable";

/// Compares two states of an object.
pub(super) fn check(definition: &Definition, old: &Value, new: &Value, errors: &mut Errors) {
    match definition.table.as_str() {
        "/pods" => of_pod(&old["spec"], &new["spec"], errors),
        "/configmaps" | "/secrets" => data(definition, old, new, errors),
        "/services" => service(&old["spec"], &new["spec"], errors),
        "/nodes" => node(&old["spec"], &new["spec"], errors),
        "/resourcequotas" => {
            let scopes = |quota: &Value| {
                let mut scopes = list(&quota["spec"], "scopes").iter().filter_map(Value::as_str).collect::<Vec<_>>();
                scopes.sort_unstable();
                scopes.join(" ")
            };
            if scopes(old) != scopes(new) {
                errors.invalid("spec.scopes", &new["spec"]["scopes"], IMMUTABLE);
            }
        }
        "/persistentvolumeclaims" => claim(old, new, errors),
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
            let established = |known: &Value| known["type"] == "Established" && known["status"] == "True";
            if list(&old["status"], "conditions").iter().any(established) {
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

/// Of a pod's spec only images, deadlines, further tolerations and fewer gates may change.
fn of_pod(old: &Value, new: &Value, errors: &mut Errors) {
    for kind in ["containers", "initContainers"] {
        if list(old, kind).len() != list(new, kind).len() {
            errors.forbidden(&format!("spec.{kind}"), "pod updates may not add or remove containers");
            return;
        }
        for (index, container) in list(new, kind).iter().enumerate() {
            let (image, at) = (text(container, "image"), format!("spec.{kind}[{index}].image"));
            if image.is_empty() {
                errors.required(&at, "");
            } else if image.trim() != image {
                errors.invalid(&at, &json!(image), "must not have leading or trailing whitespace");
            }
        }
    }
    let (was, is) = (&old["activeDeadlineSeconds"], &new["activeDeadlineSeconds"]);
    match (was.as_i64(), is.as_i64()) {
        (_, Some(now)) if !(0..=i64::from(i32::MAX)).contains(&now) => {
            errors.invalid("spec.activeDeadlineSeconds", is, "must be between 0 and 2147483647, inclusive");
            return;
        }
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
    tolerations(old, new, errors);
    let gates = |spec: &Value| list(spec, "schedulingGates").iter().map(|gate| text(gate, "name").to_owned()).collect();
    let (was, is): (Vec<String>, Vec<String>) = (gates(old), gates(new));
    for (index, gate) in is.iter().enumerate().filter(|(_, gate)| !was.contains(gate)) {
        let why = format!("only deletion is allowed, but found new scheduling gate '{gate}'");
        errors.forbidden(&format!("spec.schedulingGates[{index}].name"), &why);
    }
    let mut wanted = new.clone();
    for kind in ["containers", "initContainers"] {
        let containers = wanted.get_mut(kind).and_then(Value::as_array_mut);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            container["image"] = old[kind][index]["image"].clone();
        }
    }
    if let Some(members) = wanted.as_object_mut() {
        for key in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
            set_or_remove(members, key, old.get(key));
        }
        let grace = "terminationGracePeriodSeconds";
        if old[grace].as_i64().is_some_and(|seconds| seconds < 0) && new[grace] == 1 {
            set_or_remove(members, grace, old.get(grace));
        }
    }
    if !was.is_empty() {
        narrowed(old, &mut wanted, errors);
    }
    if wanted != *old {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        errors.forbidden("spec", why);
    }
}

/// Tolerations may be added, and how long they hold may change.
fn tolerations(old: &Value, new: &Value, errors: &mut Errors) {
    let bare = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(members) = toleration.as_object_mut() {
            members.shift_remove("tolerationSeconds");
        }
        toleration
    };
    let now: Vec<Value> = list(new, "tolerations").iter().map(bare).collect();
    if list(old, "tolerations").iter().all(|one| now.contains(&bare(one))) {
        pod::tolerations(list(new, "tolerations"), "spec.tolerations", errors);
    } else {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden("spec.tolerations", why);
    }
}

/// Where a pod that waits at a gate may run can become less, not more.
fn narrowed(old: &Value, new: &mut Value, errors: &mut Errors) {
    let (was, is) = (&old["nodeSelector"], &new["nodeSelector"]);
    let kept = was.as_object().into_iter().flatten().all(|(key, value)| is.get(key) == Some(value));
    if !kept {
        errors.invalid(
            "spec.nodeSelector",
            is,
            "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        );
    }
    let terms = |spec: &Value| {
        let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        list(required, "nodeSelectorTerms").to_vec()
    };
    let (before, after) = (terms(old), terms(new));
    let at = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    if !before.is_empty() && before.len() != after.len() {
        errors.invalid(at, &json!(after), "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
    }
    for (index, (was, is)) in before.iter().zip(&after).enumerate() {
        let grown = ["matchExpressions", "matchFields"].iter().all(|kind| {
            let (was, is) = (list(was, kind), list(is, kind));
            was.iter().enumerate().all(|(index, one)| is.get(index) == Some(one))
        });
        let empty = list(was, "matchExpressions").is_empty() && list(was, "matchFields").is_empty();
        if !grown || (empty && is != was) {
            errors.invalid(&format!("{at}[{index}]"), is, "only additions are allowed (no mutations or deletions)");
        }
    }
    let Some(members) = new.as_object_mut() else { return };
    set_or_remove(members, "nodeSelector", old.get("nodeSelector"));
    let others = |spec: &Value| {
        let mut others = spec["affinity"].as_object().cloned().unwrap_or_default();
        others.shift_remove("nodeAffinity");
        others
    };
    if others(old) == others(&Value::Object(members.clone())) {
        set_or_remove(members, "affinity", old.get("affinity"));
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
    let balanced = |spec: &Value| spec["type"] == "LoadBalancer";
    if balanced(old) && balanced(new) && old["loadBalancerClass"] != new["loadBalancerClass"] {
        errors.invalid("spec.loadBalancerClass", &new["loadBalancerClass"], "may not change once set");
    }
}

/// Of a claim's spec the volume and the class may be set once; the size of a bound claim may grow.
fn claim(old: &Value, new: &Value, errors: &mut Errors) {
    let bound = new["status"]["phase"] == "Bound";
    let (old, new) = (&old["spec"], &new["spec"]);
    let mut wanted = new.clone();
    if let Some(members) = wanted.as_object_mut() {
        for key in ["volumeName", "storageClassName"].into_iter().filter(|key| super::errors::is_absent(&old[*key])) {
            set_or_remove(members, key, old.get(key));
        }
        if bound {
            set_or_remove(members, "volumeAttributesClassName", old.get("volumeAttributesClassName"));
        }
    }
    if bound {
        wanted["resources"]["requests"]["storage"] = old["resources"]["requests"]["storage"].clone();
    }
    if wanted != *old {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.forbidden("spec", why);
    }
    let size = |spec: &Value| crate::api::typed::amount(&spec["resources"]["requests"]["storage"]);
    if bound && size(new) < size(old) {
        let field = "spec.resources.requests.storage";
        errors.forbidden(field, "field can not be less than previous value");
    }
    if new["volumeMode"] != old["volumeMode"] {
        errors.invalid("volumeMode", &new["volumeMode"], IMMUTABLE);
    }
}

/// What was given to a node stays with it.
fn node(old: &Value, new: &Value, errors: &mut Errors) {
    let (was, is) = (list(old, "podCIDRs"), list(new, "podCIDRs"));
    let changed = if was.len() == is.len() { was.iter().zip(is).filter(|(was, is)| was != is).count() } else { 1 };
    for _ in 0..if was.is_empty() { 0 } else { changed } {
        errors.forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid");
    }
    if old["providerID"].is_string() && old["providerID"] != new["providerID"] {
        errors.forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid");
    }
    if old["externalID"] != new["externalID"] {
        errors.forbidden("spec.externalID", "may not be updated");
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
    let indexed = is["completionMode"] == "Indexed";
    let elastic = indexed && (is["completions"].is_null() || is["completions"] == is["parallelism"]);
    if !elastic {
        same(old, new, "spec", &["completions"], errors);
    }
    same(old, new, "spec", &["selector"], errors);
    let mut fixed =
        vec!["template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"];
    if was["suspend"] == true && old["status"]["startTime"].is_null() {
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
        fixed.retain(|key| *key != "template");
        if bare(was) != bare(is) {
            errors.invalid("spec.template", &is["template"], IMMUTABLE);
        }
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

/// Events of the new group only have their series counted up.
fn event(definition: &Definition, old: &Value, new: &Value, errors: &mut Errors) {
    if definition.resource.group != "events.k8s.io" {
        return;
    }
    // Upstream names members as the old group does, and one twice.
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
    for (key, field) in fields.into_iter().filter(|(key, _)| old[*key] != new[*key]) {
        errors.invalid(field, &new[key], IMMUTABLE);
    }
}

/// Containers that look into a pod are added, and stay as they are.
pub(super) fn ephemeral(old: &Value, new: &Value, errors: &mut Errors) {
    let at = "spec.ephemeralContainers";
    for was in list(old, "ephemeralContainers") {
        let name = text(was, "name");
        match list(new, "ephemeralContainers").iter().find(|is| text(is, "name") == name) {
            None => errors.forbidden(at, &format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(is) if is != was => {
                errors.forbidden(at, &format!("existing ephemeral containers {name:?} may not be changed\n"));
            }
            Some(_) => {}
        }
    }
}

/// CPU and memory of containers may change, but not to another class of service.
pub(super) fn resized(old: &Value, new: &Value, errors: &mut Errors) {
    let class = &old["status"]["qosClass"];
    if *class != quality_of_service(&new["spec"]) {
        errors.invalid("spec", class, "Pod QOS Class may not change as a result of resizing");
    }
    let (before, after) = (list(&old["spec"], "containers"), list(&new["spec"], "containers"));
    for (index, (was, is)) in before.iter().zip(after).enumerate() {
        let at = format!("spec.containers[{index}].resources");
        for kind in ["requests", "limits"] {
            let names = was["resources"][kind].as_object().into_iter().flat_map(serde_json::Map::keys);
            if names.into_iter().any(|name| is["resources"][kind].get(name).is_none()) {
                errors.forbidden(&format!("{at}.{kind}"), &format!("resource {kind} cannot be removed"));
            }
        }
        memory_limit(was, is, &at, errors);
    }
    let bare = |spec: &Value| {
        let mut spec = spec.clone();
        for container in spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
            for kind in ["requests", "limits"] {
                let amounts = container.get_mut("resources").and_then(|resources| resources.get_mut(kind));
                if let Some(amounts) = amounts.and_then(Value::as_object_mut) {
                    amounts.retain(|name, _| !matches!(name.as_str(), "cpu" | "memory"));
                }
            }
            if let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) {
                resources.retain(|_, amounts| amounts.as_object().is_none_or(|amounts| !amounts.is_empty()));
            }
        }
        spec
    };
    if bare(&old["spec"]) != bare(&new["spec"]) {
        errors.forbidden("spec", "only cpu and memory resources are mutable");
    }
}

/// Less memory is given only to a container that starts anew.
fn memory_limit(was: &Value, is: &Value, at: &str, errors: &mut Errors) {
    let restarts = |policy: &Value| policy["resourceName"] == "memory" && policy["restartPolicy"] == "RestartContainer";
    if list(is, "resizePolicy").iter().any(restarts) {
        return;
    }
    let limit = |container: &Value| crate::api::typed::amount(&container["resources"]["limits"]["memory"]);
    let field = format!("{at}.limits[memory]");
    let what = match (limit(was), limit(is)) {
        (Some(was), Some(is)) if is < was => "decreased",
        (None, Some(_)) => "added",
        _ => return,
    };
    errors.forbidden(&field, &format!("memory limits cannot be {what} unless resizePolicy is RestartContainer"));
}
