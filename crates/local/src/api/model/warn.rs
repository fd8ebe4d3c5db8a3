//! What is taken, but seldom meant: warnings that upstream's strategies give.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/api/pod/warnings.go>

use serde_json::Value;

use crate::api::{meta::name, registry::Definition};

fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// Warnings about an object that was made, or changed from an old state.
pub(crate) fn warnings(definition: &Definition, old: Option<&Value>, object: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let spec = &object["spec"];
    let template = |spec: &Value, path: &str, out: &mut Vec<String>| of_pod(&spec["template"]["spec"], path, out);
    match definition.table.as_str() {
        "/pods" if old.is_none() => {
            dns_name(object, "the Pod's hostname", &mut out);
            of_pod(spec, "spec", &mut out);
        }
        "apps/deployments" | "apps/replicasets" | "/replicationcontrollers" | "batch/jobs" => {
            if old.is_none() {
                dns_name(object, "Pod names and hostnames", &mut out);
            }
            template(spec, "spec.template.spec", &mut out);
        }
        "apps/daemonsets" => template(spec, "spec.template.spec", &mut out),
        "apps/statefulsets" => {
            template(spec, "spec.template.spec", &mut out);
            if spec["revisionHistoryLimit"].as_i64().is_some_and(|limit| limit < 0) {
                let why = "a negative value retains all historical revisions; a value >= 0 is recommended";
                out.push(format!("spec.revisionHistoryLimit: {why}"));
            }
        }
        "batch/cronjobs" => {
            if old.is_none() {
                dns_name(object, "Pod names and hostnames", &mut out);
            }
            template(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec.template.spec", &mut out);
        }
        "/services" if !text(spec, "externalName").is_empty() && spec["type"] != "ExternalName" => {
            out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
        }
        "discovery.k8s.io/endpointslices" if object["addressType"] == "FQDN" && old.is_none() => {
            out.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        _ => {}
    }
    out
}

fn dns_name(object: &Value, used: &str, out: &mut Vec<String>) {
    let name = name(object);
    let why = if name.contains('.') {
        "must not contain dots"
    } else if name.len() > 63 {
        "must be no more than 63 characters"
    } else {
        return;
    };
    let what = "which can result in surprising behavior; a DNS label is recommended";
    out.push(format!("metadata.name: this is used in {used}, {what}: [{why}]"));
}

fn of_pod(spec: &Value, path: &str, out: &mut Vec<String>) {
    for (index, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        let at = format!("{path}.imagePullSecrets[{index}].name");
        if text(secret, "name").is_empty() {
            out.push(format!("{at}: invalid empty name \"\""));
        } else if list(spec, "imagePullSecrets")[..index].contains(secret) {
            out.push(format!("{at}: duplicate name {}", secret["name"]));
        }
    }
    for volume in list(spec, "volumes").iter().filter(|volume| volume["projected"].is_object()) {
        let known = ["configMap", "secret", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"];
        let says = |source: &Value| known.iter().any(|kind| source[*kind].is_object());
        if !list(&volume["projected"], "sources").iter().all(says) || list(&volume["projected"], "sources").is_empty() {
            out.push(format!("volume {} (Projected) has no sources provided", volume["name"]));
        }
    }
    for (index, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        if constraint["labelSelector"].is_null() {
            let why = "a null labelSelector results in matching no pod";
            out.push(format!("{path}.topologySpreadConstraints[{index}].labelSelector: {why}"));
        }
    }
    for (index, alias) in list(spec, "hostAliases").iter().enumerate() {
        let ip = text(alias, "ip");
        if ip.split('.').any(|part| part.len() > 1 && part.starts_with('0')) {
            let why =
                format!("non-standard IP address {ip:?} will be considered invalid in a future Kubernetes release");
            out.push(format!("{path}.hostAliases[{index}].ip: {why}"));
        }
    }
    for kind in ["initContainers", "containers"] {
        for (index, container) in list(spec, kind).iter().enumerate() {
            of_container(container, &format!("{path}.{kind}[{index}]"), out);
        }
    }
}

fn of_container(container: &Value, path: &str, out: &mut Vec<String>) {
    let variables = list(container, "env");
    for (index, variable) in variables.iter().enumerate() {
        if variables[..index].iter().any(|other| other["name"] == variable["name"]) {
            let why = "which may be dropped when using apply";
            out.push(format!("{path}.env[{index}]: hides previous definition of {}, {why}", variable["name"]));
        }
    }
    let ports = list(container, "ports");
    let zero = |port: &Value| port["hostPort"].as_i64().unwrap_or(0) == 0;
    for (index, port) in ports.iter().enumerate() {
        if !text(port, "hostIP").is_empty() && zero(port) {
            out.push(format!("{path}.ports[{index}]: hostIP set without hostPort: {port}"));
        }
        let same = |other: &&Value| {
            ["containerPort", "protocol"].iter().all(|key| other[*key] == port[*key])
                && (zero(other) || zero(port) || other["hostPort"] == port["hostPort"])
        };
        if let Some(first) = ports[..index].iter().position(|other| same(&other)) {
            out.push(format!("{path}.ports[{index}]: duplicate port definition with {path}.ports[{first}]"));
        }
    }
}
