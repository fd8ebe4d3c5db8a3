//! Pods and templates of pods.

use std::collections::HashMap;

use serde_json::Value;

use super::{claim, fraction, ip, items, node_term, old_label, text};

/// Volumes that are not served any more, and since when.
const OLD_SOURCES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Annotations that do nothing any more.
const OLD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

/// Volumes of kinds that are not served any more.
pub(super) fn old_sources(at: &str, volume: &Value, told: &mut Vec<String>) {
    for (kind, why) in OLD_SOURCES.iter().filter(|(kind, _)| volume[kind].is_object()) {
        told.push(format!("{at}.{kind}: {why}"));
    }
}

/// A pod (at no path) or a template of one.
pub(super) fn template(at: &str, object: &Value, told: &mut Vec<String>) {
    let spec = &object["spec"];
    let inside = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    let (in_spec, in_annotations) = (inside("spec"), inside("metadata.annotations"));
    nodes(&in_spec, spec, told);
    let annotations = &object["metadata"]["annotations"];
    for (key, why) in OLD_ANNOTATIONS.iter().filter(|(key, _)| annotations.get(*key).is_some()) {
        told.push(format!("{in_annotations}[{key}]: {why}"));
    }
    volumes(&in_spec, spec, told);
    twice(items(spec, "hostAliases", &in_spec), "ip", told);
    twice(items(spec, "imagePullSecrets", &in_spec), "name", told);
    for (at, _) in items(spec, "imagePullSecrets", &in_spec).filter(|(_, secret)| text(secret, "name").is_empty()) {
        told.push(format!("{at}.name: invalid empty name \"\""));
    }
    for kind in ["memory", "ephemeral-storage"] {
        fraction(&format!("{in_spec}.overhead[{kind}]"), &spec["overhead"][kind], told);
    }
    profiles(&in_annotations, annotations, spec, !at.is_empty(), told);
    for (at, container) in containers(&in_spec, spec) {
        for (part, kind) in [
            ("limits", "memory"),
            ("requests", "memory"),
            ("limits", "ephemeral-storage"),
            ("requests", "ephemeral-storage"),
        ] {
            fraction(&format!("{at}.resources.{part}[{kind}]"), &container["resources"][part][kind], told);
        }
        variables(&at, container, told);
    }
    ports(&in_spec, spec, told);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        told.push(format!("{in_spec}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    affinities(&in_spec, spec, told);
    for (at, server) in items(&spec["dnsConfig"], "nameservers", &format!("{in_spec}.dnsConfig")) {
        told.extend(ip(&at, server.as_str().unwrap_or_default()));
    }
    for (at, alias) in items(spec, "hostAliases", &in_spec) {
        told.extend(ip(&format!("{at}.ip"), text(alias, "ip")));
    }
}

fn containers<'a>(at: &str, spec: &'a Value) -> Vec<(String, &'a Value)> {
    ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|list| items(spec, list, at)).collect()
}

/// Items of which two have the same name.
fn twice<'a>(all: impl Iterator<Item = (String, &'a Value)>, key: &str, told: &mut Vec<String>) {
    let mut known = Vec::new();
    for (at, item) in all {
        let name = text(item, key);
        if known.contains(&name) {
            told.push(format!("{at}.{key}: duplicate {key} \"{name}\""));
        }
        known.push(name);
    }
}

fn nodes(at: &str, spec: &Value, told: &mut Vec<String>) {
    for label in spec["nodeSelector"].as_object().into_iter().flat_map(serde_json::Map::keys) {
        told.extend(old_label(label).map(|why| format!("{at}.nodeSelector[{label}]: {why}")));
    }
    let (required, preferred) =
        ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution");
    let affinity = &spec["affinity"]["nodeAffinity"];
    let above = format!("{at}.affinity.nodeAffinity");
    for (at, term) in items(&affinity[required], "nodeSelectorTerms", &format!("{above}.{required}")) {
        node_term(&at, term, false, told);
    }
    for (at, term) in items(affinity, preferred, &above) {
        node_term(&format!("{at}.preference"), &term["preference"], true, told);
    }
    for (at, constraint) in items(spec, "topologySpreadConstraints", at) {
        let key = text(constraint, "topologyKey");
        told.extend(old_label(key).map(|why| format!("{at}.topologyKey: {key} is {why}")));
        unselective(&format!("{at}.labelSelector"), &constraint["labelSelector"], told);
    }
}

fn unselective(at: &str, selector: &Value, told: &mut Vec<String>) {
    if selector.is_null() {
        told.push(format!("{at}: a null labelSelector results in matching no pod"));
    }
}

fn affinities(at: &str, spec: &Value, told: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (affinity, above) = (&spec["affinity"][kind], format!("{at}.affinity.{kind}"));
        for (at, term) in items(affinity, "requiredDuringSchedulingIgnoredDuringExecution", &above) {
            unselective(&format!("{at}.labelSelector"), &term["labelSelector"], told);
        }
        for (at, term) in items(affinity, "preferredDuringSchedulingIgnoredDuringExecution", &above) {
            let selector = &term["podAffinityTerm"]["labelSelector"];
            unselective(&format!("{at}.podAffinityTerm.labelSelector"), selector, told);
        }
    }
}

fn volumes(at: &str, spec: &Value, told: &mut Vec<String>) {
    for (at, volume) in items(spec, "volumes", at) {
        old_sources(&at, volume, told);
        let template = &volume["ephemeral"]["volumeClaimTemplate"]["spec"];
        claim(&format!("{at}.ephemeral.volumeClaimTemplate.spec"), template, told);
    }
    for (_, volume) in items(spec, "volumes", at) {
        let name = text(volume, "name");
        for kind in ["configMap", "secret", "downwardAPI"] {
            overlapping(&format!("volume \"{name}\" ({kind})"), &paths(&volume[kind]), told);
        }
        let (mut all, mut last) = (Vec::new(), Vec::new());
        for source in volume["projected"]["sources"].as_array().into_iter().flatten() {
            let Some((kind, source)) = source.as_object().and_then(|source| source.iter().next()) else {
                told.push(format!("volume \"{name}\" (Projected) has no sources provided"));
                continue;
            };
            // Upstream takes a source that names no files for one like that before it.
            if source["items"].is_array() || matches!(kind.as_str(), "serviceAccountToken" | "clusterTrustBundle") {
                last = paths(source);
            }
            all.extend(last.iter().copied());
        }
        overlapping(&format!("volume \"{name}\" (Projected)"), &all, told);
    }
}

/// Files that are put where others are.
fn overlapping(volume: &str, paths: &[&str], told: &mut Vec<String>) {
    let paths: Vec<&str> = paths.iter().map(|path| path.trim_end_matches('/')).collect();
    for (index, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        for other in paths[..index].iter().filter(|other| overlaps(other, path)) {
            told.push(format!("{volume}: overlapping paths: \"{path}\" with \"{other}\""));
        }
    }
}

/// Where a source puts its files.
fn paths(source: &Value) -> Vec<&str> {
    let own = source["path"].as_str();
    let items = source["items"].as_array().into_iter().flatten().map(|item| text(item, "path"));
    own.into_iter().chain(items).collect()
}

fn overlaps(one: &str, other: &str) -> bool {
    let (one, other) = (format!("{one}/"), format!("{other}/"));
    one != "/" && (one.starts_with(&other) || other.starts_with(&one))
}

/// Annotations whose fields are what counts.
fn profiles(at: &str, annotations: &Value, spec: &Value, template: bool, told: &mut Vec<String>) {
    const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
    let has = |key: &str| annotations.get(key).is_some();
    let of_pod = &spec["securityContext"];
    let dead = |key: &str| format!("{at}[{key}]: non-functional in v1.27+; use the \"seccompProfile\" field instead");
    if of_pod["seccompProfile"].is_null() && has(SECCOMP) {
        told.push(dead(SECCOMP));
    }
    for (_, container) in containers("", spec) {
        let (name, own) = (text(container, "name"), &container["securityContext"]);
        let key = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
        if own["seccompProfile"].is_null() && has(&key) {
            told.push(dead(&key));
        }
        let key = format!("container.apparmor.security.beta.kubernetes.io/{name}");
        if template && own["appArmorProfile"].is_null() && of_pod["appArmorProfile"].is_null() && has(&key) {
            told.push(format!("{at}[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"));
        }
    }
}

/// Variables that hide others of the same name.
fn variables(at: &str, container: &Value, told: &mut Vec<String>) {
    let mut known = Vec::new();
    for (at, one) in items(container, "env", at) {
        let (name, value) = (text(one, "name"), text(one, "value"));
        let reference = format!("$({name})");
        let hides = !one["valueFrom"].is_null() || value == reference || !value.contains(&reference);
        if known.contains(&name) && hides {
            told.push(format!("{at}: hides previous definition of \"{name}\", which may be dropped when using apply"));
        }
        known.push(name);
    }
}

fn ports(at: &str, spec: &Value, told: &mut Vec<String>) {
    let containers = containers(at, spec);
    let all = || containers.iter().flat_map(|(at, container)| items(container, "ports", at));
    let mut known: HashMap<(i64, &str), Vec<(String, &Value)>> = HashMap::new();
    for (at, port) in all() {
        let number = |port: &Value, key: &str| port[key].as_i64().unwrap_or(0);
        let (host, address) = (number(port, "hostPort"), text(port, "hostIP"));
        if !address.is_empty() && host == 0 {
            told.push(format!("{at}: hostIP set without hostPort: {port}"));
        }
        let others = known.entry((number(port, "containerPort"), text(port, "protocol"))).or_default();
        for (other, before) in others.iter() {
            let (host_before, address_before) = (number(before, "hostPort"), text(before, "hostIP"));
            let how = if address == address_before && host == host_before {
                "duplicate"
            } else if host == 0 || host_before == 0 {
                "overlapping"
            } else if host == host_before && address.is_empty() != address_before.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            told.push(format!("{at}: {how} port definition with {other}"));
        }
        others.push((at, port));
    }
    let mut names: HashMap<&str, String> = HashMap::new();
    for (at, port) in all().filter(|(_, port)| !text(port, "name").is_empty()) {
        let name = text(port, "name");
        match names.get(name) {
            Some(other) => told.push(format!("{at}: duplicate port name \"{name}\" with {other}, services and probes that select ports by name will use {other}")),
            None => _ = names.insert(name, at),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_means_little_is_told() {
        let rows = [
            (
                json!({ "nodeSelector": { "beta.kubernetes.io/os": "linux" } }),
                "template.spec.nodeSelector[beta.kubernetes.io/os]",
            ),
            (
                json!({ "hostAliases": [{ "ip": "1.1.1.1" }, { "ip": "1.1.1.1" }] }),
                "template.spec.hostAliases[1].ip: duplicate",
            ),
            (json!({ "imagePullSecrets": [{}] }), "template.spec.imagePullSecrets[0].name: invalid empty"),
            (
                json!({ "topologySpreadConstraints": [{ "topologyKey": "zone" }] }),
                "template.spec.topologySpreadConstraints[0].labelSelector",
            ),
            (json!({ "volumes": [{ "name": "a", "gitRepo": {} }] }), "template.spec.volumes[0].gitRepo"),
            (
                json!({ "volumes": [{ "name": "a", "configMap": { "items": [{ "path": "x" }, { "path": "x/y" }] } }] }),
                "volume \"a\" (configMap): overlapping paths",
            ),
            (
                json!({ "containers": [{ "env": [{ "name": "A" }, { "name": "A", "value": "1" }, { "name": "A", "value": "$(A)2" }] }] }),
                "template.spec.containers[0].env[1]: hides",
            ),
            (
                json!({ "containers": [{ "ports": [{ "containerPort": 80 }] }, { "ports": [{ "containerPort": 80 }] }] }),
                "template.spec.containers[1].ports[0]: duplicate port",
            ),
            (
                json!({ "containers": [{ "resources": { "limits": { "memory": "100m", "cpu": "100m" } } }] }),
                "template.spec.containers[0].resources.limits[memory]: fractional",
            ),
        ];
        for (spec, wanted) in rows {
            let mut told = Vec::new();
            template("template", &json!({ "spec": spec }), &mut told);
            assert!(told.len() == 1 && told[0].starts_with(wanted), "{told:?} {wanted}");
        }
    }
}
