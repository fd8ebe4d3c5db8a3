//! Security contexts of pods and of their containers.

use serde_json::{Value, json};

use super::super::{
    errors::{Errors, list, text},
    names,
};

fn id(value: &Value, field: &str, errors: &mut Errors) {
    if value.as_i64().is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id)) {
        errors.invalid(field, value, "must be between 0 and 2147483647, inclusive");
    }
}

/// Of the pod.
pub(super) fn of_pod(spec: &Value, path: &str, errors: &mut Errors) {
    let context = &spec["securityContext"];
    let at = format!("{path}.securityContext");
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&context[key], &format!("{at}.{key}"), errors);
    }
    for (index, group) in list(context, "supplementalGroups").iter().enumerate() {
        id(group, &format!("{at}.supplementalGroups[{index}]"), errors);
    }
    if spec["hostPID"] == true && spec["shareProcessNamespace"] == true {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&format!("{at}.shareProcessNamespace"), &json!(true), why);
    }
    sysctls(spec, &format!("{at}.sysctls"), errors);
    errors.one_of(context, "fsGroupChangePolicy", &at, &["Always", "OnRootMismatch"]);
    seccomp(&context["seccompProfile"], &format!("{at}.seccompProfile"), errors);
    windows(&context["windowsOptions"], &format!("{at}.windowsOptions"), errors);
    apparmor(&context["appArmorProfile"], &format!("{at}.appArmorProfile"), errors);
    errors.one_of(context, "supplementalGroupsPolicy", &at, &["Merge", "Strict"]);
    errors.one_of(context, "seLinuxChangePolicy", &at, &["MountOption", "Recursive"]);
}

fn sysctls(spec: &Value, path: &str, errors: &mut Errors) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let part = |part: &str| {
        part.starts_with(plain) && part.ends_with(plain) && part.chars().all(|c| plain(c) || matches!(c, '-' | '_'))
    };
    let mut known: Vec<&str> = Vec::new();
    for (index, sysctl) in list(&spec["securityContext"], "sysctls").iter().enumerate() {
        let (name, at) = (text(sysctl, "name"), format!("{path}[{index}].name"));
        if name.is_empty() {
            errors.required(&at, "");
        } else if name.len() > 253 || !name.split(['.', '/']).all(part) {
            errors.invalid(&at, &json!(name), "must have at most 253 characters and match the form of sysctls");
        } else if known.contains(&name) {
            errors.duplicate(&at, &json!(name));
        }
        let dotted = name.replace('/', ".");
        let ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
        if spec["hostNetwork"] == true && dotted.starts_with("net.") {
            errors.invalid(&at, &json!(name), "may not be specified when 'hostNetwork' is set to true");
        } else if spec["hostIPC"] == true && ipc.iter().any(|prefix| dotted.starts_with(prefix)) {
            errors.invalid(&at, &json!(name), "may not be specified when 'hostIPC' is set to true");
        }
        known.push(name);
    }
}

/// Of one container.
pub(super) fn of_container(context: &Value, path: &str, host_users: bool, errors: &mut Errors) {
    for key in ["runAsUser", "runAsGroup"] {
        id(&context[key], &format!("{path}.{key}"), errors);
    }
    errors.one_of(context, "procMount", path, &["Default", "Unmasked"]);
    if host_users && context["procMount"] == "Unmasked" {
        let why = "`hostUsers` must be false to use `Unmasked`";
        errors.invalid(&format!("{path}.procMount"), &context["procMount"], why);
    }
    seccomp(&context["seccompProfile"], &format!("{path}.seccompProfile"), errors);
    if context["allowPrivilegeEscalation"] == false {
        if context["privileged"] == true {
            errors.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if list(&context["capabilities"], "add").iter().any(|one| one == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, context, why);
        }
    }
    windows(&context["windowsOptions"], &format!("{path}.windowsOptions"), errors);
    apparmor(&context["appArmorProfile"], &format!("{path}.appArmorProfile"), errors);
}

fn seccomp(profile: &Value, path: &str, errors: &mut Errors) {
    if !profile.is_object() {
        return;
    }
    match text(profile, "type") {
        "" => errors.required(&format!("{path}.type"), "type is required when seccompProfile is set"),
        _ => errors.one_of(profile, "type", path, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
    let at = format!("{path}.localhostProfile");
    match (profile["type"] == "Localhost", profile["localhostProfile"].as_str()) {
        (true, None) => errors.required(&at, "must be set when seccomp type is Localhost"),
        (true, Some(local)) => names::descending_path(local, &at, errors),
        (false, Some(_)) => errors.invalid(&at, profile, "can only be set when seccomp type is Localhost"),
        (false, None) => {}
    }
}

fn apparmor(profile: &Value, path: &str, errors: &mut Errors) {
    if !profile.is_object() {
        return;
    }
    let (at, local) = (format!("{path}.localhostProfile"), &profile["localhostProfile"]);
    match text(profile, "type") {
        "Localhost" => match local.as_str() {
            None => errors.required(&at, "must be set when AppArmor type is Localhost"),
            Some(name) => {
                if name.trim() != name {
                    errors.invalid(&at, local, "must not be padded with whitespace");
                } else if name.is_empty() {
                    errors.required(&at, "must be set when AppArmor type is Localhost");
                }
            }
        },
        "RuntimeDefault" | "Unconfined" => {
            if !local.is_null() {
                errors.invalid(&at, local, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&format!("{path}.type"), "type is required when appArmorProfile is set"),
        _ => errors.one_of(profile, "type", path, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}

fn windows(options: &Value, path: &str, errors: &mut Errors) {
    if let Some(name) = options["gmsaCredentialSpecName"].as_str() {
        errors.texts(&format!("{path}.gmsaCredentialSpecName"), name, names::subdomain(name));
    }
    if options["gmsaCredentialSpec"] == "" {
        errors.invalid(
            &format!("{path}.gmsaCredentialSpec"),
            &json!(""),
            "gmsaCredentialSpec cannot be an empty string",
        );
    }
    if options["runAsUserName"] == "" {
        errors.invalid(&format!("{path}.runAsUserName"), &json!(""), "runAsUserName cannot be an empty string");
    }
}

/// Namespaces of the host, for a pod with users of its own.
pub(super) fn host_namespaces(spec: &Value, path: &str, errors: &mut Errors) {
    if spec["hostUsers"] != false {
        return;
    }
    for (key, field) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec[key] == true {
            errors.forbidden(&format!("{path}.{field}"), "when `pod.Spec.HostUsers` is false");
        }
    }
}
