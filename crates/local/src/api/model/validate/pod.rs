//! Pods and their templates.

mod container;
mod environment;
mod placement;
mod probe;
mod security;

use serde_json::{Value, json};

use super::{
    errors::{Errors, list, text},
    metadata, names, volumes,
};

pub(super) use environment::files;
pub(super) use placement::{node_selector, tolerations};
pub(super) use probe::port_number_or_name;

/// A pod template: its metadata and its spec.
pub(super) fn template(template: &Value, path: &str, errors: &mut Errors) {
    template_metadata(template, path, errors);
    spec(&template["spec"], &format!("{path}.spec"), errors);
    if !list(&template["spec"], "ephemeralContainers").is_empty() {
        let why = "ephemeral containers not allowed in pod template";
        errors.forbidden(&format!("{path}.spec.ephemeralContainers"), why);
    }
}

/// Labels and annotations of a template; upstream leaves `metadata` out of their paths.
pub(super) fn template_metadata(template: &Value, path: &str, errors: &mut Errors) {
    metadata::of_template(&template["metadata"], path, errors);
    annotations(&template["metadata"], &format!("{path}.annotations"), errors);
}

/// A new pod.
pub(super) fn created(pod: &Value, errors: &mut Errors) {
    changed(pod, errors);
    let own = &pod["spec"];
    if !list(own, "ephemeralContainers").is_empty() {
        errors.forbidden("spec.ephemeralContainers", "cannot be set on create");
    }
    if !text(own, "nodeName").is_empty() && !list(own, "schedulingGates").is_empty() {
        errors.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
    }
}

/// A pod in any state.
pub(super) fn changed(pod: &Value, errors: &mut Errors) {
    annotations(&pod["metadata"], "metadata.annotations", errors);
    spec(&pod["spec"], "spec", errors);
    for kind in ["containers", "initContainers"] {
        for (index, one) in list(&pod["spec"], kind).iter().enumerate() {
            container::of_pod(one, &format!("spec.{kind}[{index}]"), errors);
        }
    }
}

/// Annotations that upstream reads.
fn annotations(metadata: &Value, path: &str, errors: &mut Errors) {
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        let given = value.as_str().unwrap_or_default();
        let at = format!("{path}[{key}]");
        match key.as_str() {
            "controller.kubernetes.io/pod-deletion-cost" if given.parse::<i32>().is_err() => {
                errors.invalid(&at, value, "must be a 32bit integer");
            }
            "scheduler.alpha.kubernetes.io/tolerations"
                if serde_json::from_str::<Vec<Value>>(given).is_err() && !given.is_empty() =>
            {
                errors.invalid(path, value, "invalid tolerations");
            }
            _ => {}
        }
    }
}

/// A pod's spec.
fn spec(spec: &Value, path: &str, errors: &mut Errors) {
    let known = volumes::volumes(list(spec, "volumes"), &format!("{path}.volumes"), errors);
    let pod = container::Pod {
        volumes: &known,
        host_users: spec["hostUsers"] != false,
        restarts: spec["restartPolicy"] != "Never",
    };
    let grace = spec["terminationGracePeriodSeconds"].as_i64();
    let names = containers(spec, path, pod, grace, errors);
    init_containers(spec, path, pod, grace, names, errors);
    container::ephemeral(spec, path, pod, errors);
    host_network(spec, path, errors);
    errors.one_of(spec, "restartPolicy", path, &["Always", "Never", "OnFailure"]);
    errors.one_of(spec, "dnsPolicy", path, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    metadata::labels(&spec["nodeSelector"], &format!("{path}.nodeSelector"), errors);
    security::of_pod(spec, path, errors);
    placement::affinity(&spec["affinity"], &format!("{path}.affinity"), errors);
    dns_config(spec, &format!("{path}.dnsConfig"), errors);
    gates(spec, path, errors);
    placement::spread(list(spec, "topologySpreadConstraints"), &format!("{path}.topologySpreadConstraints"), errors);
    security::host_namespaces(spec, path, errors);
    subdomains(spec, &["serviceAccountName", "nodeName"], path, errors);
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64().filter(|s| !(1..=i64::from(i32::MAX)).contains(s)) {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.invalid(&format!("{path}.activeDeadlineSeconds"), &json!(seconds), why);
    }
    for key in ["hostname", "subdomain"] {
        let name = text(spec, key);
        if !name.is_empty() {
            errors.texts(&format!("{path}.{key}"), name, names::label(name));
        }
    }
    placement::tolerations(list(spec, "tolerations"), &format!("{path}.tolerations"), errors);
    host_aliases(list(spec, "hostAliases"), &format!("{path}.hostAliases"), errors);
    subdomains(spec, &["priorityClassName", "runtimeClassName"], path, errors);
    errors.one_of(spec, "preemptionPolicy", path, &["Never", "PreemptLowerPriority"]);
    if spec["os"].is_object() {
        match text(&spec["os"], "name") {
            "" => errors.required(&format!("{path}.os.name"), "cannot be empty"),
            "linux" | "windows" => {}
            other => errors.unsupported(&format!("{path}.os"), &json!(other), &["linux", "windows"]),
        }
    }
}

fn subdomains(spec: &Value, keys: &[&str], path: &str, errors: &mut Errors) {
    for (key, name) in keys.iter().map(|key| (key, text(spec, key))).filter(|(_, name)| !name.is_empty()) {
        errors.texts(&format!("{path}.{key}"), name, names::subdomain(name));
    }
}

fn containers<'a>(
    spec: &'a Value,
    path: &str,
    pod: container::Pod<'_>,
    grace: Option<i64>,
    errors: &mut Errors,
) -> Vec<&'a str> {
    let containers = list(spec, "containers");
    let at = format!("{path}.containers");
    if containers.is_empty() {
        errors.required(&at, "");
    }
    let mut names: Vec<&str> = Vec::new();
    for (index, one) in containers.iter().enumerate() {
        let at = format!("{at}[{index}]");
        container::check(one, &at, pod, errors);
        let name = text(one, "name");
        if names.contains(&name) {
            errors.duplicate(&format!("{at}.name"), &json!(name));
        }
        names.push(name);
        probe::all(one, &at, grace, errors);
        if !one["restartPolicy"].is_null() {
            errors.forbidden(&format!("{at}.restartPolicy"), "may not be set for non-init containers");
        }
    }
    container::host_ports(containers, &at, errors);
    names
}

fn init_containers<'a>(
    spec: &'a Value,
    path: &str,
    pod: container::Pod<'_>,
    grace: Option<i64>,
    mut names: Vec<&'a str>,
    errors: &mut Errors,
) {
    for (index, one) in list(spec, "initContainers").iter().enumerate() {
        let at = format!("{path}.initContainers[{index}]");
        container::check(one, &at, pod, errors);
        errors.one_of(one, "restartPolicy", &at, &["Always"]);
        let name = text(one, "name");
        if names.contains(&name) {
            errors.duplicate(&format!("{at}.name"), &json!(name));
        } else if !name.is_empty() {
            names.push(name);
        }
        container::host_ports(std::slice::from_ref(one), &format!("{path}.initContainers"), errors);
        if one["restartPolicy"] == "Always" {
            probe::all(one, &at, grace, errors);
            continue;
        }
        for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if !one[key].is_null() {
                let why = "may not be set for init containers without restartPolicy=Always";
                errors.forbidden(&format!("{at}.{key}"), why);
            }
        }
    }
}

/// On the host's network a port is the host's.
fn host_network(spec: &Value, path: &str, errors: &mut Errors) {
    if spec["hostNetwork"] != true {
        return;
    }
    for kind in ["containers", "initContainers"] {
        for (index, container) in list(spec, kind).iter().enumerate() {
            for (at, port) in list(container, "ports").iter().enumerate() {
                if port["hostPort"] != port["containerPort"] {
                    let field = format!("{path}.{kind}[{index}].ports[{at}].hostPort");
                    let why = "must match `containerPort` when `hostNetwork` is true";
                    errors.invalid(&field, &port["hostPort"], why);
                }
            }
        }
    }
}

fn dns_config(spec: &Value, path: &str, errors: &mut Errors) {
    let config = &spec["dnsConfig"];
    let (servers, searches) = (list(config, "nameservers"), list(config, "searches"));
    if spec["dnsPolicy"] == "None" {
        if config.is_null() {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(&format!("{path}.nameservers"), why);
            return;
        }
    }
    if servers.len() > 3 {
        errors.invalid(&format!("{path}.nameservers"), &json!(servers), "must not have more than 3 nameservers");
    }
    for (index, server) in servers.iter().enumerate() {
        if names::ip(server.as_str().unwrap_or_default()).is_none() {
            errors.invalid(&format!("{path}.nameservers[{index}]"), server, "must be a valid IP address");
        }
    }
    let at = format!("{path}.searches");
    if searches.len() > 32 {
        errors.invalid(&at, &json!(searches), "must not have more than 32 search paths");
    }
    let length: usize = searches.iter().filter_map(Value::as_str).map(|search| search.len() + 1).sum();
    if length > 2049 {
        errors.invalid(&at, &json!(searches), "must not have more than 2048 characters in the search list");
    }
    for (index, search) in searches.iter().filter_map(Value::as_str).enumerate().filter(|(_, search)| *search != ".") {
        let bare = search.strip_suffix('.').unwrap_or(search);
        errors.texts(&format!("{at}[{index}]"), bare, names::subdomain(&bare.replace('_', "-")));
    }
    for (index, _) in list(config, "options").iter().enumerate().filter(|(_, option)| text(option, "name").is_empty()) {
        errors.required(&format!("{path}.options[{index}]"), "must not be empty");
    }
}

fn gates(spec: &Value, path: &str, errors: &mut Errors) {
    for (index, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        errors.texts(&format!("{path}.readinessGates[{index}].conditionType"), kind, names::qualified(kind));
    }
    let gates = list(spec, "schedulingGates");
    for (index, gate) in gates.iter().enumerate() {
        let (name, at) = (text(gate, "name"), format!("{path}.schedulingGates[{index}]"));
        errors.texts(&at, name, names::qualified(name));
        if gates[..index].iter().any(|other| text(other, "name") == name) {
            errors.duplicate(&at, &json!(name));
        }
    }
}

fn host_aliases(aliases: &[Value], path: &str, errors: &mut Errors) {
    for (index, alias) in aliases.iter().enumerate() {
        let at = format!("{path}[{index}]");
        if names::ip(text(alias, "ip")).is_none() {
            errors.invalid(&format!("{at}.ip"), &alias["ip"], "must be a valid IP address");
        }
        for (place, host) in list(alias, "hostnames").iter().filter_map(Value::as_str).enumerate() {
            errors.texts(&format!("{at}.hostnames[{place}]"), host, names::subdomain(host));
        }
    }
}

/// 1 to 65535.
pub(super) fn port_number(number: i64, field: &str, errors: &mut Errors) {
    if !(1..=65_535).contains(&number) {
        errors.invalid(field, &json!(number), "must be between 1 and 65535, inclusive");
    }
}
