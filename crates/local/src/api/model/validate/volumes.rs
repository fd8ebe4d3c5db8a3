//! Volumes, mounts, claims, storage classes.

use serde_json::{Value, json};

use super::{errors::Errors, names, pod};
use crate::api::typed;

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// A pod's volumes; answers their names.
pub(super) fn volumes<'a>(all: &'a [Value], path: &str, errors: &mut Errors) -> Vec<&'a str> {
    let mut known: Vec<&str> = Vec::new();
    for (index, volume) in all.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let before = errors.0.len();
        source(volume, &at, errors);
        let name = text(volume, "name");
        if name.is_empty() {
            errors.required(&format!("{at}.name"), "");
        } else {
            errors.texts(&format!("{at}.name"), name, names::label(name));
        }
        if known.contains(&name) {
            errors.duplicate(&format!("{at}.name"), &json!(name));
        }
        if errors.0.len() == before {
            known.push(name);
        }
    }
    known
}

fn source(volume: &Value, path: &str, errors: &mut Errors) {
    // Upstream looks at sources in this order; the second one is too many.
    const SOURCES: [&str; 14] = [
        "emptyDir",
        "hostPath",
        "gitRepo",
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "secret",
        "nfs",
        "iscsi",
        "glusterfs",
        "persistentVolumeClaim",
        "configMap",
        "downwardAPI",
        "projected",
        "csi",
    ];
    let mut found = 0;
    let others = volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let others = others.filter(|key| *key != "name" && !SOURCES.contains(key));
    for kind in SOURCES.into_iter().chain(others) {
        let source = &volume[kind];
        if !source.is_object() {
            continue;
        }
        found += 1;
        let at = format!("{path}.{kind}");
        if found > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type");
            continue;
        }
        match kind {
            "hostPath" if text(source, "path").is_empty() => errors.required(&format!("{at}.path"), ""),
            "secret" if text(source, "secretName").is_empty() => errors.required(&format!("{at}.secretName"), ""),
            "configMap" if text(source, "name").is_empty() => errors.required(&format!("{at}.name"), ""),
            "persistentVolumeClaim" if text(source, "claimName").is_empty() => {
                errors.required(&format!("{at}.claimName"), "");
            }
            "nfs" => {
                for key in ["server", "path"] {
                    if text(source, key).is_empty() {
                        errors.required(&format!("{at}.{key}"), "");
                    }
                }
            }
            "emptyDir" => pod::quantity(&source["sizeLimit"], &format!("{at}.sizeLimit"), errors),
            _ => {}
        }
        mode(source, &at, errors);
        items(source, &at, errors);
    }
    if found == 0 {
        errors.required(path, "must specify a volume type");
    }
}

fn mode(source: &Value, path: &str, errors: &mut Errors) {
    if source["defaultMode"].as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.invalid(&format!("{path}.defaultMode"), &source["defaultMode"], why);
    }
}

fn items(source: &Value, path: &str, errors: &mut Errors) {
    for (index, item) in source["items"].as_array().into_iter().flatten().enumerate() {
        let at = format!("{path}.items[{index}]");
        if item.get("key").is_some() && text(item, "key").is_empty() {
            errors.required(&format!("{at}.key"), "");
        }
        let target = text(item, "path");
        if target.is_empty() {
            errors.required(&format!("{at}.path"), "");
        } else if target.starts_with('/') {
            errors.invalid(&format!("{at}.path"), &json!(target), "must be a relative path");
        } else if target.split('/').any(|part| part == "..") {
            errors.invalid(&format!("{at}.path"), &json!(target), "must not contain '..'");
        }
    }
}

/// A container's mounts.
pub(super) fn mounts(all: &[Value], known: &[&str], path: &str, errors: &mut Errors) {
    let mut places: Vec<&str> = Vec::new();
    for (index, mount) in all.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let name = text(mount, "name");
        if name.is_empty() {
            errors.required(&format!("{at}.name"), "");
        } else if !known.contains(&name) {
            let text = format!("Not found: \"{name}\"");
            errors.0.push(super::cause("FieldValueNotFound", &format!("{at}.name"), text));
        }
        let place = text(mount, "mountPath");
        if place.is_empty() {
            errors.required(&format!("{at}.mountPath"), "");
        }
        if places.contains(&place) {
            errors.invalid(&format!("{at}.mountPath"), &json!(place), "must be unique");
        }
        places.push(place);
        let sub = text(mount, "subPath");
        if sub.starts_with('/') {
            errors.invalid(&format!("{at}.subPath"), &json!(sub), "must be a relative path");
        } else if sub.split('/').any(|part| part == "..") {
            errors.invalid(&format!("{at}.subPath"), &json!(sub), "must not contain '..'");
        }
    }
}

/// A claim's spec.
pub(super) fn claim(spec: &Value, path: &str, errors: &mut Errors) {
    const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let modes: Vec<&Value> = spec["accessModes"].as_array().into_iter().flatten().collect();
    let at = format!("{path}.accessModes");
    if modes.is_empty() {
        errors.required(&at, "at least 1 access mode is required");
    }
    super::selector::label_selector(&spec["selector"], &format!("{path}.selector"), errors);
    for mode in modes.iter().filter(|mode| !mode.as_str().is_some_and(|mode| MODES.contains(&mode))) {
        errors.unsupported(&at, mode, &MODES);
    }
    if modes.len() > 1 && modes.iter().any(|mode| **mode == "ReadWriteOncePod") {
        errors.forbidden(&at, "may not use ReadWriteOncePod with other access modes");
    }
    let size = &spec["resources"]["requests"]["storage"];
    let at = format!("{path}.resources");
    match size.as_str() {
        None => errors.required(&format!("{at}[storage]"), ""),
        Some(_) if typed::amount(size).is_none_or(|amount| amount <= 0.0) => {
            errors.invalid(&format!("{at}.requests"), size, "must be greater than zero");
        }
        Some(_) => {}
    }
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        errors.texts(&format!("{path}.storageClassName"), class, names::subdomain(class));
    }
    errors.one_of(spec, "volumeMode", path, &["Block", "Filesystem"]);
}

/// A storage class.
pub(super) fn storage_class(object: &Value, errors: &mut Errors) {
    let provisioner = text(object, "provisioner");
    if provisioner.is_empty() {
        errors.required("provisioner", "");
    } else {
        errors.texts("provisioner", provisioner, names::qualified(&provisioner.to_lowercase()));
    }
    errors.one_of(object, "reclaimPolicy", "", &["Delete", "Retain"]);
    errors.one_of(object, "volumeBindingMode", "", &["Immediate", "WaitForFirstConsumer"]);
}
