//! Defaults of built-in kinds, as upstream's `zz_generated.defaults.go` fill them.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/apis/core/v1/defaults.go>

mod pod;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::api::{crds, registry::Definition};

/// Fills in an object.
pub(crate) fn fill(definition: &Definition, object: &mut Value) {
    match definition.table.as_str() {
        "/pods" => pod::pod(object),
        "/podtemplates" => pod::spec(&mut object["template"]["spec"]),
        "/services" => {
            service(&mut object["spec"]);
            if object["spec"]["type"] == "LoadBalancer"
                && let Some(balancer) = object.get_mut("status").and_then(|status| part(status, "loadBalancer"))
            {
                for ingress in list(balancer, "ingress").filter(|ingress| !ingress["ip"].is_null()) {
                    set_absent(ingress, "ipMode", json!("VIP"));
                }
            }
        }
        "/secrets" => secret(object),
        "/namespaces" => namespace(object),
        "/persistentvolumeclaims" => claim(object),
        "/persistentvolumes" => {
            set(&mut object["spec"], "persistentVolumeReclaimPolicy", json!("Retain"));
            set(&mut object["spec"], "volumeMode", json!("Filesystem"));
            set(&mut object["status"], "phase", json!("Pending"));
            if let Some(spec) = part(object, "spec") {
                pod::sources(spec);
            }
        }
        "/nodes" => {
            if let Some(status) = part(object, "status")
                && status["capacity"].as_object().is_some_and(|amounts| !amounts.is_empty())
            {
                let capacity = status["capacity"].clone();
                set_absent(status, "allocatable", capacity);
            }
            if let Some(spec) = part(object, "spec") {
                plural(spec, "podCIDR", "podCIDRs", None);
            }
        }
        "/limitranges" => limit_range(object),
        "/endpoints" => {
            for subset in list(object, "subsets") {
                list(subset, "ports").for_each(|port| set(port, "protocol", json!("TCP")));
            }
        }
        "/replicationcontrollers" => replication_controller(object),
        "apps/deployments" => deployment(&mut object["spec"]),
        "apps/replicasets" => {
            set(&mut object["spec"], "replicas", json!(1));
            template(&mut object["spec"]);
        }
        "apps/daemonsets" => daemon_set(&mut object["spec"]),
        "apps/statefulsets" => stateful_set(&mut object["spec"]),
        "batch/jobs" => job(object),
        "batch/cronjobs" => cron_job(&mut object["spec"]),
        "autoscaling/horizontalpodautoscalers" => {
            set(&mut object["spec"], "minReplicas", json!(1));
            if definition.resource.version == "v2" {
                autoscaler(&mut object["spec"]);
            } else {
                autoscaler_v1(object);
            }
        }
        "discovery.k8s.io/endpointslices" => {
            for port in list(object, "ports") {
                set_absent(port, "name", json!(""));
                set(port, "protocol", json!("TCP"));
            }
        }
        "scheduling.k8s.io/priorityclasses" => set(object, "preemptionPolicy", json!("PreemptLowerPriority")),
        "storage.k8s.io/storageclasses" => {
            set(object, "reclaimPolicy", json!("Delete"));
            set(object, "volumeBindingMode", json!("Immediate"));
        }
        "rbac.authorization.k8s.io/rolebindings" | "rbac.authorization.k8s.io/clusterrolebindings" => {
            set(&mut object["roleRef"], "apiGroup", json!("rbac.authorization.k8s.io"));
            for subject in list(object, "subjects") {
                if subject["kind"] == "User" || subject["kind"] == "Group" {
                    set(subject, "apiGroup", json!("rbac.authorization.k8s.io"));
                }
            }
        }
        "apiextensions.k8s.io/customresourcedefinitions" => crds::default(object),
        _ => {}
    }
}

/// Sets a member that is absent, null or the zero of a plain type.
fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut()
        && members.get(key).is_none_or(|known| known.is_null() || known == "")
    {
        members.insert(key.into(), value);
    }
}

/// Sets a member that is absent or null: one that upstream has as a pointer.
fn set_absent(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut()
        && members.get(key).is_none_or(Value::is_null)
    {
        members.insert(key.into(), value);
    }
}

/// The items of a list, where there is one.
fn list<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// A member that is an object.
fn part<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    object.get_mut(key).filter(|part| part.is_object())
}

/// Keeps a value and the list that begins with it, or with an object of it, in step.
fn plural(object: &mut Value, one: &str, many: &str, member: Option<&str>) {
    let single = object[one].clone();
    let first = member.map_or(&object[many][0], |member| &object[many][0][member]).clone();
    let given = single.as_str().is_some_and(|text| !text.is_empty());
    if given && first != single {
        object[many] = member.map_or_else(|| json!([single]), |member| json!([{ member: single }]));
    } else if !given && !first.is_null() {
        object[one] = first;
    }
}

fn template(spec: &mut Value) {
    if let Some(template) = part(spec, "template") {
        pod::spec(&mut template["spec"]);
    }
}

/// `stringData` is written into `data` and forgotten.
fn secret(object: &mut Value) {
    let Some(members) = object.as_object_mut() else { return };
    if let Some(Value::Object(plain)) = members.shift_remove("stringData") {
        let mut data = members.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
        for (key, text) in plain {
            data.insert(key, json!(STANDARD.encode(text.as_str().unwrap_or_default())));
        }
        data.sort_keys();
        members.insert("data".into(), Value::Object(data));
    }
    set(object, "type", json!("Opaque"));
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    if !name.is_string() {
        return;
    }
    let labels = &mut object["metadata"]["labels"];
    if !labels.is_object() {
        *labels = json!({});
    }
    labels["kubernetes.io/metadata.name"] = name;
    set(&mut object["status"], "phase", json!("Active"));
}

fn claim(object: &mut Value) {
    if let Some(spec) = part(object, "spec") {
        set(spec, "volumeMode", json!("Filesystem"));
    }
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    set(&mut object["status"], "phase", json!("Pending"));
}

fn limit_range(object: &mut Value) {
    let Some(spec) = part(object, "spec") else { return };
    for limit in list(spec, "limits").filter(|limit| limit["type"] == "Container") {
        let known = |limit: &Value, key: &str| limit[key].as_object().cloned().unwrap_or_default();
        let over = |base: Map<String, Value>, top: Map<String, Value>| {
            let mut all = base;
            all.extend(top);
            all.sort_keys();
            all
        };
        let default = over(known(limit, "max"), known(limit, "default"));
        let request = over(known(limit, "min"), over(default.clone(), known(limit, "defaultRequest")));
        for (key, value) in [("default", default), ("defaultRequest", request)] {
            if !value.is_empty() {
                limit[key] = Value::Object(value);
            }
        }
    }
}

fn replication_controller(object: &mut Value) {
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    set_absent(&mut object["spec"], "replicas", json!(1));
    if labels.is_object() {
        set(&mut object["spec"], "selector", labels.clone());
        set(&mut object["metadata"], "labels", labels);
    }
    template(&mut object["spec"]);
}

fn deployment(spec: &mut Value) {
    for (key, value) in [("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)] {
        set(spec, key, json!(value));
    }
    set(spec, "strategy", json!({}));
    set(&mut spec["strategy"], "type", json!("RollingUpdate"));
    if spec["strategy"]["type"] == "RollingUpdate" {
        set(&mut spec["strategy"], "rollingUpdate", json!({}));
        for bound in ["maxUnavailable", "maxSurge"] {
            set_absent(&mut spec["strategy"]["rollingUpdate"], bound, json!("25%"));
        }
    }
    template(spec);
}

fn daemon_set(spec: &mut Value) {
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "updateStrategy", json!({}));
    let strategy = &mut spec["updateStrategy"];
    set(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", json!({}));
        for (bound, value) in [("maxUnavailable", 1), ("maxSurge", 0)] {
            set_absent(&mut strategy["rollingUpdate"], bound, json!(value));
        }
    }
    template(spec);
}

fn stateful_set(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    set(spec, "updateStrategy", json!({}));
    let strategy = &mut spec["updateStrategy"];
    if strategy["type"].as_str().unwrap_or_default().is_empty() {
        strategy["type"] = json!("RollingUpdate");
        set(strategy, "rollingUpdate", json!({}));
    }
    if strategy["type"] == "RollingUpdate"
        && let Some(rolling) = part(strategy, "rollingUpdate")
    {
        set(rolling, "partition", json!(0));
    }
    set(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    for when in ["whenDeleted", "whenScaled"] {
        set(&mut spec["persistentVolumeClaimRetentionPolicy"], when, json!("Retain"));
    }
    for one in list(spec, "volumeClaimTemplates") {
        one["kind"] = json!("PersistentVolumeClaim");
        one["apiVersion"] = json!("v1");
        claim(one);
    }
    template(spec);
}

fn service(spec: &mut Value) {
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    match spec["sessionAffinity"].as_str() {
        Some("ClientIP") if spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].is_null() => {
            spec["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": 10800 } });
        }
        Some("None") => {
            if let Some(members) = spec.as_object_mut() {
                members.shift_remove("sessionAffinityConfig");
            }
        }
        _ => {}
    }
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    let cluster_ip = kind == "ClusterIP" && spec["externalIPs"].as_array().is_some_and(|ips| !ips.is_empty());
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || cluster_ip {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        set_absent(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    for port in list(spec, "ports") {
        set(port, "protocol", json!("TCP"));
        if port["targetPort"] == 0 || port["targetPort"] == "" || port["targetPort"].is_null() {
            port["targetPort"] = port["port"].clone();
        }
    }
}

fn job(object: &mut Value) {
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    if labels.is_object() {
        set(&mut object["metadata"], "labels", labels);
    }
    job_spec(&mut object["spec"]);
}

fn job_spec(spec: &mut Value) {
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        set(spec, "completions", json!(1));
    }
    let policy = spec["podFailurePolicy"].is_object();
    let limit = if spec["backoffLimitPerIndex"].is_null() { 6 } else { i64::from(i32::MAX) };
    for (key, value) in [
        ("parallelism", json!(1)),
        ("backoffLimit", json!(limit)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("manualSelector", json!(false)),
        ("podReplacementPolicy", json!(if policy { "Failed" } else { "TerminatingOrFailed" })),
    ] {
        set_absent(spec, key, value);
    }
    if let Some(policy) = part(spec, "podFailurePolicy") {
        for rule in list(policy, "rules") {
            list(rule, "onPodConditions").for_each(|pattern| set(pattern, "status", json!("True")));
        }
    }
    template(spec);
}

fn cron_job(spec: &mut Value) {
    for (key, value) in [
        ("concurrencyPolicy", json!("Allow")),
        ("suspend", json!(false)),
        ("successfulJobsHistoryLimit", json!(3)),
        ("failedJobsHistoryLimit", json!(1)),
    ] {
        set(spec, key, value);
    }
    // The job of a CronJob has a Job's defaults when it is made; its pods have theirs now.
    if let Some(job) = part(spec, "jobTemplate")
        && let Some(spec) = part(job, "spec")
    {
        template(spec);
    }
}

/// A v1 autoscaler without any metric scales by CPU; its other metrics are JSON in an annotation.
fn autoscaler_v1(object: &mut Value) {
    let others = object["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].as_str();
    let others = others.and_then(|text| serde_json::from_str::<Vec<Value>>(text).ok()).unwrap_or_default();
    if others.is_empty() {
        set_absent(&mut object["spec"], "targetCPUUtilizationPercentage", json!(80));
    }
}

/// Fills in the spec of an autoscaler of `autoscaling/v2`.
pub(crate) fn autoscaler(spec: &mut Value) {
    if spec["metrics"].as_array().is_none_or(Vec::is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    }
    let Some(behavior) = part(spec, "behavior") else { return };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, percent]);
    for (direction, policies, window) in [("scaleUp", up, Some(0)), ("scaleDown", json!([percent]), None)] {
        set(behavior, direction, json!({}));
        let rules = &mut behavior[direction];
        set(rules, "selectPolicy", json!("Max"));
        if let Some(window) = window {
            set(rules, "stabilizationWindowSeconds", json!(window));
        }
        if rules["policies"].as_array().is_none_or(Vec::is_empty) {
            rules["policies"] = policies;
        }
    }
}
