//! Environment variables, and the fields and resources that they may show.

use serde_json::{Value, json};

use super::super::{
    errors::{Errors, text},
    names,
};

/// What a variable can show of its pod.
const VARIABLE_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What a file can show of its pod.
const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Fields that the API can be asked for at all.
const LABELS: [&str; 15] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.host",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const SIZES: [&str; 13] = ["1", "1E", "1Ei", "1G", "1Gi", "1Ki", "1M", "1Mi", "1P", "1Pi", "1T", "1Ti", "1k"];

/// Who shows a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Shows {
    Variable,
    File,
}

/// `env`.
pub(super) fn variables(variables: &[Value], path: &str, errors: &mut Errors) {
    for (index, variable) in variables.iter().enumerate() {
        let at = format!("{path}[{index}]");
        match text(variable, "name") {
            "" => errors.required(&format!("{at}.name"), ""),
            name => errors.texts(&format!("{at}.name"), name, names::environment(name)),
        }
        if variable["valueFrom"].is_object() {
            source(variable, &format!("{at}.valueFrom"), errors);
        }
    }
}

fn source(variable: &Value, path: &str, errors: &mut Errors) {
    let source = &variable["valueFrom"];
    let mut count = 0;
    for kind in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"] {
        let reference = &source[kind];
        if !reference.is_object() {
            continue;
        }
        count += 1;
        let at = format!("{path}.{kind}");
        match kind {
            "fieldRef" => field(reference, &at, Shows::Variable, errors),
            "resourceFieldRef" => resource(reference, &at, Shows::Variable, errors),
            _ => {
                errors.texts(&format!("{at}.name"), text(reference, "name"), names::subdomain(text(reference, "name")));
                match text(reference, "key") {
                    "" => errors.required(&format!("{at}.key"), ""),
                    key => errors.texts(&format!("{at}.key"), key, names::config_key(key)),
                }
            }
        }
    }
    let why = match count {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        _ if !text(variable, "value").is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.invalid(path, &json!(""), why);
}

/// `envFrom`.
pub(super) fn sources(sources: &[Value], path: &str, errors: &mut Errors) {
    for (index, source) in sources.iter().enumerate() {
        let at = format!("{path}[{index}]");
        errors.texts(&format!("{at}.prefix"), text(source, "prefix"), names::environment(text(source, "prefix")));
        let mut count = 0;
        for kind in ["configMapRef", "secretRef"].into_iter().filter(|kind| source[*kind].is_object()) {
            count += 1;
            match text(&source[kind], "name") {
                "" => errors.required(&format!("{at}.{kind}.name"), ""),
                name => errors.texts(&format!("{at}.{kind}.name"), name, names::subdomain(name)),
            }
        }
        match count {
            0 => errors.invalid(path, &json!(""), "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(path, &json!(""), "may not have more than one field specified at a time"),
        }
    }
}

/// `fieldRef`.
pub(in super::super) fn field(reference: &Value, path: &str, by: Shows, errors: &mut Errors) {
    let name = text(reference, "fieldPath");
    let at = format!("{path}.fieldPath");
    if text(reference, "apiVersion").is_empty() {
        errors.required(&format!("{path}.apiVersion"), "");
        return;
    }
    if name.is_empty() {
        errors.required(&at, "");
        return;
    }
    let (base, key) = match name.strip_suffix("']").and_then(|name| name.split_once("['")) {
        Some((base, key)) => (base, Some(key)),
        None => (name, None),
    };
    let keyed = ["metadata.annotations", "metadata.labels"].contains(&base);
    if text(reference, "apiVersion") != "v1" || !LABELS.contains(&base) || (key.is_some() && !keyed) {
        errors.invalid(&at, &json!(name), "error converting fieldPath: field label not supported");
        return;
    }
    match key {
        Some(key) if base == "metadata.labels" => errors.texts(path, key, names::qualified(key)),
        Some(key) => errors.texts(path, key, names::qualified(&key.to_lowercase())),
        None => {
            let known: &[&str] = if by == Shows::File { &FILE_FIELDS } else { &VARIABLE_FIELDS };
            let name = if name == "spec.host" { "spec.nodeName" } else { name };
            if !known.contains(&name) {
                errors.unsupported(&at, &json!(name), known);
            }
        }
    }
}

/// `resourceFieldRef`.
pub(in super::super) fn resource(reference: &Value, path: &str, by: Shows, errors: &mut Errors) {
    let name = text(reference, "resource");
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| name.starts_with(prefix));
    if by == Shows::File && text(reference, "containerName").is_empty() {
        errors.required(&format!("{path}.containerName"), "");
    } else if name.is_empty() {
        errors.required(&format!("{path}.resource"), "");
    } else if !huge && !RESOURCES.contains(&name) {
        errors.unsupported(&format!("{path}.resource"), &json!(name), &RESOURCES);
    }
    let divisor = text(reference, "divisor");
    let known: &[&str] = if name.ends_with(".cpu") { &["1", "1m"] } else { &SIZES };
    if !matches!(divisor, "" | "0") && (huge || RESOURCES.contains(&name)) && !known.contains(&divisor) {
        let why = format!("only divisor's values {} are supported", known.join(", "));
        errors.invalid(&format!("{path}.divisor"), &json!(name), &why);
    }
}

/// Files of a `downwardAPI` volume; upstream does not count them in its paths.
pub(in super::super) fn files(files: &[Value], path: &str, errors: &mut Errors) {
    for file in files {
        if text(file, "path").is_empty() {
            errors.required(&format!("{path}.path"), "");
        }
        names::local_path(text(file, "path"), &format!("{path}.path"), errors);
        match (file["fieldRef"].is_object(), file["resourceFieldRef"].is_object()) {
            (true, both) => {
                field(&file["fieldRef"], &format!("{path}.fieldRef"), Shows::File, errors);
                if both {
                    let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                    errors.invalid(path, &json!("resource"), why);
                }
            }
            (false, true) => {
                resource(&file["resourceFieldRef"], &format!("{path}.resourceFieldRef"), Shows::File, errors);
            }
            (false, false) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
        }
        errors.file_mode(file, "mode", path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_resources() {
        let rows = [
            (json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": "spec.nodeName" } }), ""),
            (json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.labels['a']" } }), ""),
            (json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.labels['a b']" } }), "x.fieldRef"),
            (json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": "status.phase" } }), "x.fieldRef.fieldPath"),
            (json!({ "fieldRef": { "apiVersion": "v2", "fieldPath": "metadata.name" } }), "x.fieldRef.fieldPath"),
            (json!({ "resourceFieldRef": { "resource": "limits.cpu", "divisor": "1m" } }), ""),
            (json!({ "resourceFieldRef": { "resource": "limits.cpu", "divisor": "2" } }), "x.resourceFieldRef.divisor"),
            (json!({ "resourceFieldRef": { "resource": "cpu" } }), "x.resourceFieldRef.resource"),
            (json!({}), "x"),
        ];
        for (from, wanted) in rows {
            let mut errors = Errors::default();
            source(&json!({ "valueFrom": from }), "x", &mut errors);
            let fields: Vec<String> = errors.0.into_iter().map(|cause| cause.field).collect();
            assert_eq!(fields.join(" "), wanted, "{from}");
        }
    }
}
