//! Pods and their templates.

mod placement;
mod probe;

use serde_json::{Value, json};

use super::{errors::Errors, metadata, names, volumes};
use crate::api::typed;

pub(super) use probe::port_number_or_name;

/// What the pod is made by: some rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Pod,
    Template,
    /// A template whose pods run for ever.
    Always,
    /// A template whose pods end.
    Job,
}

/// A pod template: its metadata and its spec.
pub(super) fn template(template: &Value, path: &str, of: Of, errors: &mut Errors) {
    metadata::of_template(&template["metadata"], path, errors);
    spec(&template["spec"], &format!("{path}.spec"), of, errors);
}

fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// A pod's spec.
pub(super) fn spec(spec: &Value, path: &str, of: Of, errors: &mut Errors) {
    let known = volumes::volumes(list(spec, "volumes"), &format!("{path}.volumes"), errors);
    let containers = list(spec, "containers");
    let at = format!("{path}.containers");
    if containers.is_empty() {
        errors.required(&at, "");
    }
    let mut names: Vec<&str> = Vec::new();
    for (index, one) in containers.iter().enumerate() {
        let at = format!("{at}[{index}]");
        container(one, &at, &known, errors);
        let name = text(one, "name");
        if names.contains(&name) {
            errors.duplicate(&format!("{at}.name"), &json!(name));
        }
        names.push(name);
        probe::all(one, &at, errors);
        if !one["restartPolicy"].is_null() {
            errors.forbidden(&format!("{at}.restartPolicy"), "may not be set for non-init containers");
        }
    }
    host_ports(containers, &at, errors);
    init_containers(spec, path, &known, &mut names, errors);
    if of == Of::Pod && !list(spec, "ephemeralContainers").is_empty() {
        errors.forbidden(&format!("{path}.ephemeralContainers"), "cannot be set on create");
    }
    restart_policy(spec, path, of, errors);
    dns(spec, path, errors);
    if let Some(selector) = spec["nodeSelector"].as_object() {
        metadata::labels(&json!(selector), &format!("{path}.nodeSelector"), errors);
    }
    placement::affinity(&spec["affinity"], &format!("{path}.affinity"), errors);
    for (index, alias) in list(spec, "hostAliases").iter().enumerate() {
        let at = format!("{path}.hostAliases[{index}]");
        if text(alias, "ip").parse::<std::net::IpAddr>().is_err() {
            errors.invalid(&format!("{at}.ip"), &alias["ip"], "must be a valid IP address");
        }
        for host in list(alias, "hostnames").iter().filter_map(Value::as_str) {
            errors.texts(&format!("{at}.hostnames"), host, names::subdomain(host));
        }
    }
    for key in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let name = text(spec, key);
        if !name.is_empty() {
            errors.texts(&format!("{path}.{key}"), name, names::subdomain(name));
        }
    }
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
    placement::spread(list(spec, "topologySpreadConstraints"), &format!("{path}.topologySpreadConstraints"), errors);
    errors.one_of(spec, "preemptionPolicy", path, &["Never", "PreemptLowerPriority"]);
}

fn restart_policy(spec: &Value, path: &str, of: Of, errors: &mut Errors) {
    let at = format!("{path}.restartPolicy");
    errors.one_of(spec, "restartPolicy", path, &["Always", "Never", "OnFailure"]);
    let policy = text(spec, "restartPolicy");
    match of {
        Of::Always if policy != "Always" => errors.unsupported(&at, &json!(policy), &["Always"]),
        Of::Job if policy == "Always" || policy.is_empty() => {
            errors.required(&at, "valid values: \"OnFailure\", \"Never\"");
        }
        _ => {}
    }
}

fn dns(spec: &Value, path: &str, errors: &mut Errors) {
    errors.one_of(spec, "dnsPolicy", path, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    let config = &spec["dnsConfig"];
    if spec["dnsPolicy"] == "None" {
        if config.is_null() {
            errors.required(&format!("{path}.dnsConfig"), "must provide `dnsConfig` when `dnsPolicy` is None");
        } else if list(config, "nameservers").is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(&format!("{path}.dnsConfig.nameservers"), why);
        }
    }
    for (index, server) in list(config, "nameservers").iter().enumerate() {
        if server.as_str().unwrap_or_default().parse::<std::net::IpAddr>().is_err() {
            errors.invalid(&format!("{path}.dnsConfig.nameservers[{index}]"), server, "must be a valid IP address");
        }
    }
}

fn init_containers<'a>(spec: &'a Value, path: &str, known: &[&str], names: &mut Vec<&'a str>, errors: &mut Errors) {
    for (index, one) in list(spec, "initContainers").iter().enumerate() {
        let at = format!("{path}.initContainers[{index}]");
        container(one, &at, known, errors);
        errors.one_of(one, "restartPolicy", &at, &["Always"]);
        let name = text(one, "name");
        if names.contains(&name) {
            errors.duplicate(&format!("{at}.name"), &json!(name));
        } else if !name.is_empty() {
            names.push(name);
        }
        host_ports(std::slice::from_ref(one), &format!("{path}.initContainers"), errors);
        if one["restartPolicy"] == "Always" {
            probe::all(one, &at, errors);
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

fn container(container: &Value, path: &str, known: &[&str], errors: &mut Errors) {
    match text(container, "name") {
        "" => errors.required(&format!("{path}.name"), ""),
        name => errors.texts(&format!("{path}.name"), name, names::label(name)),
    }
    if text(container, "image").is_empty() {
        errors.required(&format!("{path}.image"), "");
    }
    errors.one_of(container, "terminationMessagePolicy", path, &["FallbackToLogsOnError", "File"]);
    ports(list(container, "ports"), &format!("{path}.ports"), errors);
    environment(list(container, "env"), &format!("{path}.env"), errors);
    volumes::mounts(list(container, "volumeMounts"), known, &format!("{path}.volumeMounts"), errors);
    errors.one_of(container, "imagePullPolicy", path, &["Always", "IfNotPresent", "Never"]);
    resources(&container["resources"], &format!("{path}.resources"), errors);
    for key in ["runAsUser", "runAsGroup"] {
        let context = &container["securityContext"];
        if let Some(id) = context[key].as_i64().filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
            let at = format!("{path}.securityContext.{key}");
            errors.invalid(&at, &json!(id), "must be between 0 and 2147483647, inclusive");
        }
    }
}

fn ports(ports: &[Value], path: &str, errors: &mut Errors) {
    let mut names: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let name = text(port, "name");
        if !name.is_empty() {
            let wrong = names::port(name);
            if wrong.is_empty() && names.contains(&name) {
                errors.duplicate(&format!("{at}.name"), &json!(name));
            } else if wrong.is_empty() {
                names.push(name);
            }
            errors.texts(&format!("{at}.name"), name, wrong);
        }
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => errors.required(&format!("{at}.containerPort"), ""),
            number => port_number(number, &format!("{at}.containerPort"), errors),
        }
        if let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) {
            port_number(number, &format!("{at}.hostPort"), errors);
        }
        match text(port, "protocol") {
            "" => errors.required(&format!("{at}.protocol"), ""),
            _ => errors.one_of(port, "protocol", &at, &["SCTP", "TCP", "UDP"]),
        }
    }
}

/// 1 to 65535.
pub(super) fn port_number(number: i64, field: &str, errors: &mut Errors) {
    if !(1..=65_535).contains(&number) {
        errors.invalid(field, &json!(number), "must be between 1 and 65535, inclusive");
    }
}

/// Containers of one pod cannot share a port of the host.
fn host_ports(containers: &[Value], path: &str, errors: &mut Errors) {
    let mut taken: Vec<String> = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        for (at, port) in list(container, "ports").iter().enumerate() {
            let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) else { continue };
            let key = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
            if taken.contains(&key) {
                errors.duplicate(&format!("{path}[{index}].ports[{at}].hostPort"), &json!(key));
            }
            taken.push(key);
        }
    }
}

fn environment(variables: &[Value], path: &str, errors: &mut Errors) {
    for (index, variable) in variables.iter().enumerate() {
        let at = format!("{path}[{index}]");
        match text(variable, "name") {
            "" => errors.required(&format!("{at}.name"), ""),
            name => errors.texts(&format!("{at}.name"), name, names::environment(name)),
        }
        let Some(source) = variable["valueFrom"].as_object() else { continue };
        let at = format!("{at}.valueFrom");
        if source.len() != 1 {
            let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            errors.invalid(
                &at,
                &json!(""),
                if source.is_empty() { why } else { "may not have more than one field specified at a time" },
            );
        } else if !text(variable, "value").is_empty() {
            errors.invalid(&at, &json!(""), "may not be specified when `value` is not empty");
        }
        for key in ["configMapKeyRef", "secretKeyRef"] {
            let Some(reference) = source.get(key) else { continue };
            if text(reference, "name").is_empty() {
                errors.required(&format!("{at}.{key}.name"), "");
            }
            match text(reference, "key") {
                "" => errors.required(&format!("{at}.{key}.key"), ""),
                own => errors.texts(&format!("{at}.{key}.key"), own, names::config_key(own)),
            }
        }
        if let Some(reference) = source.get("fieldRef") {
            field_path(reference, &format!("{at}.fieldRef"), errors);
        }
    }
}

fn field_path(reference: &Value, path: &str, errors: &mut Errors) {
    const KNOWN: [&str; 10] = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
        "metadata.labels",
    ];
    let field = text(reference, "fieldPath");
    let at = format!("{path}.fieldPath");
    let subscript = field.starts_with("metadata.labels['") || field.starts_with("metadata.annotations['");
    match field {
        "" => errors.required(&at, ""),
        _ if subscript || KNOWN[..9].contains(&field) => {}
        _ if field.starts_with("metadata.") || field.starts_with("spec.") || field.starts_with("status.") => {
            errors.unsupported(&at, &json!(field), &KNOWN[..9]);
        }
        _ => errors.invalid(&at, &json!(field), "error converting fieldPath: field label not supported"),
    }
}

/// Requests and limits.
pub(super) fn resources(resources: &Value, path: &str, errors: &mut Errors) {
    let (limits, requests) = (&resources["limits"], &resources["requests"]);
    for (name, amount) in limits.as_object().into_iter().flatten() {
        resource(name, amount, &format!("{path}.limits[{name}]"), errors);
    }
    for (name, amount) in requests.as_object().into_iter().flatten() {
        resource(name, amount, &format!("{path}.requests[{name}]"), errors);
        let field = format!("{path}.requests");
        let (request, limit) = (typed::amount(amount), limits.get(name));
        let overcommits = !name.contains('/') && !name.starts_with("hugepages-");
        match limit.map(|limit| (limit, typed::amount(limit))) {
            Some((limit, size)) if !overcommits && size != request => {
                let shown = limit.as_str().unwrap_or_default();
                errors.invalid(&field, amount, &format!("must be equal to {name} limit of {shown}"));
            }
            Some((limit, size)) if request > size => {
                let shown = limit.as_str().unwrap_or_default();
                errors.invalid(&field, amount, &format!("must be less than or equal to {name} limit of {shown}"));
            }
            None if !overcommits => {
                errors.required(&format!("{path}.limits"), "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
    }
}

fn resource(name: &str, amount: &Value, field: &str, errors: &mut Errors) {
    errors.texts(field, name, names::qualified(name));
    let native = ["cpu", "memory", "ephemeral-storage"];
    if !name.contains('/') && !native.contains(&name) && !name.starts_with("hugepages-") {
        errors.invalid(field, &json!(name), "must be a standard resource for containers");
    }
    quantity(amount, field, errors);
    let whole = amount.as_str().is_some_and(|text| !text.ends_with(['m', 'u', 'n']));
    if name.contains('/') && !whole {
        errors.invalid(field, amount, "must be an integer");
    }
}

/// An amount of at least zero.
pub(super) fn quantity(amount: &Value, field: &str, errors: &mut Errors) {
    if amount.as_str().is_some_and(|text| text.starts_with('-')) {
        errors.invalid(field, amount, "must be greater than or equal to 0");
    }
}
