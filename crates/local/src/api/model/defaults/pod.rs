//! Defaults of pods, and of what makes them.

use serde_json::{Value, json};

use super::{list, part, plural, set, set_absent};

/// What only pods get, and not the templates of pods.
pub(super) fn pod(object: &mut Value) {
    if let Some(status) = part(object, "status") {
        plural(status, "podIP", "podIPs", Some("ip"));
    }
    let Some(spec) = part(object, "spec") else { return };
    self::spec(spec);
    set(spec, "enableServiceLinks", json!(true));
    // A negative grace is one second.
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        spec["terminationGracePeriodSeconds"] = json!(1);
    }
    let host = spec["hostNetwork"] == true;
    for containers in ["containers", "initContainers"] {
        for container in list(spec, containers) {
            requests_from_limits(&mut container["resources"]);
            for port in list(container, "ports").filter(|_| host) {
                let number = port["containerPort"].clone();
                set(port, "hostPort", number);
            }
        }
    }
}

fn requests_from_limits(resources: &mut Value) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    set(resources, "requests", json!({}));
    let Some(requests) = resources["requests"].as_object_mut() else { return };
    for (resource, limit) in limits {
        requests.entry(resource).or_insert(limit);
    }
    requests.sort_keys();
}

/// A pod's spec.
pub(super) fn spec(spec: &mut Value) {
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
    // The account has an old name, too.
    for (from, to) in [("serviceAccount", "serviceAccountName"), ("serviceAccountName", "serviceAccount")] {
        let name = spec[from].clone();
        if name.as_str().is_some_and(|name| !name.is_empty()) {
            if to == "serviceAccount" {
                spec[to] = name;
            } else {
                set(spec, to, name);
            }
        }
    }
    for containers in ["containers", "initContainers", "ephemeralContainers"] {
        list(spec, containers).for_each(container);
    }
    list(spec, "volumes").for_each(volume);
}

/// `Always` for the tag `latest`, also where none is given.
fn pull_policy(image: &str) -> Value {
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = image.ends_with(":latest") || !(name.contains(':') || image.contains('@'));
    json!(if latest { "Always" } else { "IfNotPresent" })
}

fn container(container: &mut Value) {
    let policy = pull_policy(container["image"].as_str().unwrap_or_default());
    set(container, "imagePullPolicy", policy);
    set(container, "resources", json!({}));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    list(container, "ports").for_each(|port| set(port, "protocol", json!("TCP")));
    for one in list(container, "env") {
        if let Some(source) = part(one, "valueFrom") {
            field_ref(source);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = part(container, probe) else { continue };
        for (key, value) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            if probe[key] == 0 || probe[key].is_null() {
                probe[key] = json!(value);
            }
        }
        http_get(probe);
        if let Some(grpc) = part(probe, "grpc") {
            set_absent(grpc, "service", json!(""));
        }
    }
    if let Some(lifecycle) = part(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = part(lifecycle, hook) {
                http_get(hook);
            }
        }
    }
}

fn http_get(handler: &mut Value) {
    if let Some(get) = part(handler, "httpGet") {
        set(get, "path", json!("/"));
        set(get, "scheme", json!("HTTP"));
    }
}

fn field_ref(source: &mut Value) {
    if let Some(field) = part(source, "fieldRef") {
        set(field, "apiVersion", json!("v1"));
    }
}

fn volume(volume: &mut Value) {
    if let Some(members) = volume.as_object_mut().filter(|members| members.len() <= 1) {
        members.insert("emptyDir".into(), json!({}));
    }
    for kind in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = part(volume, kind) {
            set_absent(source, "defaultMode", json!(0o644));
            list(source, "items").for_each(field_ref);
        }
    }
    if let Some(projected) = part(volume, "projected") {
        for source in list(projected, "sources") {
            if let Some(token) = part(source, "serviceAccountToken") {
                set_absent(token, "expirationSeconds", json!(3600));
            }
            if let Some(downward) = part(source, "downwardAPI") {
                list(downward, "items").for_each(field_ref);
            }
        }
    }
    if let Some(image) = part(volume, "image") {
        let policy = pull_policy(image["reference"].as_str().unwrap_or_default());
        set(image, "pullPolicy", policy);
    }
    if let Some(ephemeral) = part(volume, "ephemeral")
        && let Some(template) = part(ephemeral, "volumeClaimTemplate")
        && let Some(spec) = part(template, "spec")
    {
        set(spec, "volumeMode", json!("Filesystem"));
    }
    sources(volume);
}

/// What volumes of pods and persistent volumes have in common.
pub(super) fn sources(volume: &mut Value) {
    if let Some(host) = part(volume, "hostPath") {
        set_absent(host, "type", json!(""));
    }
    for (kind, defaults) in [
        ("iscsi", [("iscsiInterface", json!("default"))].as_slice()),
        ("rbd", &[("pool", json!("rbd")), ("user", json!("admin")), ("keyring", json!("/etc/ceph/keyring"))]),
        (
            "azureDisk",
            &[
                ("cachingMode", json!("ReadWrite")),
                ("kind", json!("Shared")),
                ("fsType", json!("ext4")),
                ("readOnly", json!(false)),
            ],
        ),
        ("scaleIO", &[("storageMode", json!("ThinProvisioned")), ("fsType", json!("xfs"))]),
    ] {
        if let Some(source) = part(volume, kind) {
            for (key, value) in defaults {
                set(source, key, value.clone());
            }
        }
    }
}
