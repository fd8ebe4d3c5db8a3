//! One container: its names, ports, resources and files.

use serde_json::{Value, json};

use super::{
    super::{
        errors::{Errors, list, text},
        names, resources, volumes,
    },
    environment, port_number, security,
};

/// What a container's rules need to know of its pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pod<'a> {
    pub(super) volumes: &'a [&'a Value],
    pub(super) host_users: bool,
    pub(super) restarts: bool,
}

/// The rules of all containers.
pub(super) fn check(container: &Value, path: &str, pod: Pod<'_>, errors: &mut Errors) {
    match text(container, "name") {
        "" => errors.required(&format!("{path}.name"), ""),
        name => errors.texts(&format!("{path}.name"), name, names::label(name)),
    }
    if text(container, "image").is_empty() {
        errors.required(&format!("{path}.image"), "");
    }
    errors.one_of(container, "terminationMessagePolicy", path, &["FallbackToLogsOnError", "File"]);
    ports(list(container, "ports"), &format!("{path}.ports"), errors);
    environment::variables(list(container, "env"), &format!("{path}.env"), errors);
    environment::sources(list(container, "envFrom"), &format!("{path}.envFrom"), errors);
    volumes::mounts(container, pod.volumes, path, errors);
    volumes::devices(container, pod.volumes, path, errors);
    errors.one_of(container, "imagePullPolicy", path, &["Always", "IfNotPresent", "Never"]);
    resources::requirements(&container["resources"], &format!("{path}.resources"), errors);
    resize_policy(list(container, "resizePolicy"), &format!("{path}.resizePolicy"), pod.restarts, errors);
    security::of_container(&container["securityContext"], &format!("{path}.securityContext"), pod.host_users, errors);
}

/// What pods refuse and templates let pass.
pub(super) fn of_pod(container: &Value, path: &str, errors: &mut Errors) {
    let image = text(container, "image");
    if image.trim() != image {
        errors.invalid(&format!("{path}.image"), &json!(image), "must not have leading or trailing whitespace");
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

/// Containers of one pod cannot share a port of the host.
pub(super) fn host_ports(containers: &[Value], path: &str, errors: &mut Errors) {
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

fn resize_policy(policies: &[Value], path: &str, restarts: bool, errors: &mut Errors) {
    for (index, policy) in policies.iter().enumerate() {
        if policies[..index].iter().any(|other| other["resourceName"] == policy["resourceName"]) {
            errors.duplicate(&format!("{path}[{index}]"), &policy["resourceName"]);
        }
        let known = [("resourceName", ["cpu", "memory"]), ("restartPolicy", ["NotRequired", "RestartContainer"])];
        for (key, known) in known {
            match text(policy, key) {
                "" => errors.required(path, ""),
                value if !known.contains(&value) => errors.unsupported(path, &json!(value), &known),
                _ => {}
            }
        }
        if !restarts && policy["restartPolicy"] != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(path, &policy["restartPolicy"], why);
        }
    }
}

/// Members that an ephemeral container may have.
const EPHEMERAL: [&str; 18] = [
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "resizePolicy",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];

/// Containers that look into a pod that runs.
pub(super) fn ephemeral(spec: &Value, path: &str, pod: Pod<'_>, errors: &mut Errors) {
    let named = |kind: &str| list(spec, kind).iter().map(|one| text(one, "name")).collect::<Vec<&str>>();
    let others = [named("containers"), named("initContainers")].concat();
    let mut all = others.clone();
    for (index, one) in list(spec, "ephemeralContainers").iter().enumerate() {
        let at = format!("{path}.ephemeralContainers[{index}]");
        check(one, &at, pod, errors);
        of_pod(one, &at, errors);
        let (name, target) = (text(one, "name"), text(one, "targetContainerName"));
        if all.contains(&name) {
            errors.duplicate(&format!("{at}.name"), &json!(name));
        }
        all.push(name);
        if !target.is_empty() && !others.contains(&target) {
            errors.not_found(&format!("{at}.targetContainerName"), target);
        }
        for (key, value) in one.as_object().into_iter().flatten() {
            let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
            if !empty && !EPHEMERAL.contains(&key.as_str()) {
                errors.forbidden(&format!("{at}.{key}"), "cannot be set for an Ephemeral Container");
            }
        }
        for (place, mount) in list(one, "volumeMounts").iter().enumerate() {
            for key in ["subPath", "subPathExpr"].into_iter().filter(|key| !text(mount, key).is_empty()) {
                let why = "cannot be set for an Ephemeral Container";
                errors.forbidden(&format!("{at}.volumeMounts[{place}].{key}"), why);
            }
        }
    }
}
