//! Defaults of built-in kinds, as upstream's `zz_generated.defaults.go` fill them.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/apis/core/v1/defaults.go>

use serde_json::{Value, json};

/// Fills in an object of a table.
pub(crate) fn fill(table: &str, object: &mut Value) {
    match table {
        "/pods" => pod_spec(&mut object["spec"]),
        "/podtemplates" => pod_spec(&mut object["template"]["spec"]),
        "/services" => service(&mut object["spec"]),
        "/secrets" => set(object, "type", json!("Opaque")),
        "apps/deployments" => {
            let spec = &mut object["spec"];
            set(spec, "replicas", json!(1));
            set(spec, "revisionHistoryLimit", json!(10));
            set(spec, "progressDeadlineSeconds", json!(600));
            set(spec, "strategy", json!({}));
            set(&mut spec["strategy"], "type", json!("RollingUpdate"));
            if spec["strategy"]["type"] == "RollingUpdate" {
                set(&mut spec["strategy"], "rollingUpdate", json!({}));
                for bound in ["maxUnavailable", "maxSurge"] {
                    set(&mut spec["strategy"]["rollingUpdate"], bound, json!("25%"));
                }
            }
            template(spec);
        }
        "apps/replicasets" => {
            set(&mut object["spec"], "replicas", json!(1));
            template(&mut object["spec"]);
        }
        "apps/daemonsets" => {
            let spec = &mut object["spec"];
            set(spec, "revisionHistoryLimit", json!(10));
            set(
                spec,
                "updateStrategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
            );
            template(spec);
        }
        "apps/statefulsets" => {
            let spec = &mut object["spec"];
            set(spec, "replicas", json!(1));
            set(spec, "revisionHistoryLimit", json!(10));
            set(spec, "podManagementPolicy", json!("OrderedReady"));
            set(spec, "updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
            set(spec, "persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Retain", "whenScaled": "Retain"}));
            template(spec);
        }
        "batch/jobs" => job(object),
        "autoscaling/horizontalpodautoscalers" => autoscaler(&mut object["spec"]),
        _ => {}
    }
}

/// Sets a member that is absent or null.
fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut()
        && members.get(key).is_none_or(Value::is_null)
    {
        members.insert(key.into(), value);
    }
}

fn template(spec: &mut Value) {
    if let Some(template) = spec.get_mut("template").filter(|t| t.is_object()) {
        pod_spec(&mut template["spec"]);
    }
}

fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    for (key, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
    ] {
        set(spec, key, value);
    }
    for list in ["containers", "initContainers"] {
        for one in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container(one);
        }
    }
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default().to_owned();
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = image.ends_with(":latest") || !(name.contains(':') || image.contains('@'));
    set(container, "imagePullPolicy", json!(if latest { "Always" } else { "IfNotPresent" }));
    set(container, "resources", json!({}));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        set(port, "protocol", json!("TCP"));
    }
    if let Some(limits) = container["resources"].get("limits").and_then(Value::as_object).cloned() {
        set(&mut container["resources"], "requests", json!({}));
        for (resource, limit) in limits {
            set(&mut container["resources"]["requests"], &resource, limit);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe).filter(|p| p.is_object()) else { continue };
        for (key, value) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            set(probe, key, json!(value));
        }
        if let Some(get) = probe.get_mut("httpGet").filter(|g| g.is_object()) {
            set(get, "path", json!("/"));
            set(get, "scheme", json!("HTTP"));
        }
    }
}

fn service(spec: &mut Value) {
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    if spec["type"] != "ExternalName" {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
        set(spec, "ipFamilies", json!(["IPv4"]));
        set(spec, "ipFamilyPolicy", json!("SingleStack"));
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        set(port, "protocol", json!("TCP"));
        let target = port["port"].clone();
        set(port, "targetPort", target);
    }
}

fn job(object: &mut Value) {
    let uid = object["metadata"]["uid"].clone();
    let name = object["metadata"]["name"].clone();
    let spec = &mut object["spec"];
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        set(spec, "completions", json!(1));
    }
    for (key, value) in [
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("manualSelector", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ] {
        set(spec, key, value);
    }
    if spec["manualSelector"] != true && spec["selector"].is_null() {
        spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
        let labels = &mut spec["template"]["metadata"]["labels"];
        for (key, value) in [("controller-uid", &uid), ("job-name", &name)] {
            labels[key] = value.clone();
            labels[format!("batch.kubernetes.io/{key}")] = value.clone();
        }
    }
    template(spec);
}

fn autoscaler(spec: &mut Value) {
    set(spec, "minReplicas", json!(1));
    if spec["metrics"].as_array().is_none_or(Vec::is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    }
    let Some(behavior) = spec.get_mut("behavior").filter(|b| b.is_object()) else { return };
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
