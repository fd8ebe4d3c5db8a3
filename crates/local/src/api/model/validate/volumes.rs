//! Volumes of pods and of the cluster, mounts, claims, storage classes.

use serde_json::{Value, json};

use super::{
    errors::{Errors, list, text},
    names, pod, resources, selector,
};
use crate::api::typed;

/// Sources of volumes in upstream's order, how it calls them in paths, and what each must have.
const SOURCES: [(&str, &str, &[&str]); 29] = [
    ("emptyDir", "emptyDir", &[]),
    ("hostPath", "hostPath", &["path"]),
    ("gitRepo", "gitRepo", &["repository"]),
    ("gcePersistentDisk", "persistentDisk", &["pdName"]),
    ("awsElasticBlockStore", "awsElasticBlockStore", &["volumeID"]),
    ("secret", "secret", &["secretName"]),
    ("nfs", "nfs", &["server", "path"]),
    ("iscsi", "iscsi", &["targetPortal", "iqn"]),
    ("glusterfs", "glusterfs", &["endpoints", "path"]),
    ("flocker", "flocker", &[]),
    ("persistentVolumeClaim", "persistentVolumeClaim", &["claimName"]),
    ("rbd", "rbd", &["monitors", "image"]),
    ("cinder", "cinder", &["volumeID"]),
    ("cephfs", "cephfs", &["monitors"]),
    ("quobyte", "quobyte", &["registry", "volume"]),
    ("downwardAPI", "downwardAPI", &[]),
    ("fc", "fc", &[]),
    ("flexVolume", "flexVolume", &["driver"]),
    ("configMap", "configMap", &["name"]),
    ("azureFile", "azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", "vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", "photonPersistentDisk", &["pdID"]),
    ("portworxVolume", "portworxVolume", &["volumeID"]),
    ("azureDisk", "azureDisk", &["diskName", "diskURI"]),
    ("storageos", "storageos", &["volumeName"]),
    ("projected", "projected", &[]),
    ("scaleIO", "scaleIO", &["gateway", "system", "volumeName"]),
    ("csi", "csi", &["driver"]),
    ("ephemeral", "ephemeral", &["volumeClaimTemplate"]),
];

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// A pod's volumes; answers those that are right.
pub(super) fn volumes<'a>(all: &'a [Value], path: &str, errors: &mut Errors) -> Vec<&'a Value> {
    let mut known: Vec<&Value> = Vec::new();
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
        if known.iter().any(|other| other["name"] == volume["name"]) {
            errors.duplicate(&format!("{at}.name"), &json!(name));
        }
        if errors.0.len() == before {
            known.push(volume);
        }
    }
    known
}

fn source(volume: &Value, path: &str, errors: &mut Errors) {
    let mut found = 0;
    for (kind, field, required) in SOURCES {
        let source = &volume[kind];
        if !source.is_object() {
            continue;
        }
        found += 1;
        if found > 1 {
            errors.forbidden(&format!("{path}.{kind}"), "may not specify more than 1 volume type");
            continue;
        }
        let at = format!("{path}.{field}");
        errors.all_of(source, required, &at);
        details(kind, source, &at, errors);
    }
    if found == 0 {
        errors.required(path, "must specify a volume type");
    }
}

/// What a source's members must be.
fn details(kind: &str, source: &Value, at: &str, errors: &mut Errors) {
    match kind {
        "emptyDir" if text(source, "sizeLimit").starts_with('-') => {
            errors.forbidden(&format!("{at}.sizeLimit"), "SizeLimit field must be a valid resource quantity");
        }
        "hostPath" if !text(source, "path").is_empty() => {
            const TYPES: [&str; 8] =
                ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
            names::no_backsteps(text(source, "path"), &format!("{at}.path"), errors);
            errors.one_of(source, "type", at, &TYPES);
        }
        "gitRepo" => names::descending_path(text(source, "directory"), &format!("{at}.directory"), errors),
        "nfs" if !text(source, "path").starts_with('/') => {
            errors.invalid(&format!("{at}.path"), &source["path"], "must be an absolute path");
        }
        "flocker" if text(source, "datasetName").is_empty() && text(source, "datasetUUID").is_empty() => {
            errors.required(at, "one of datasetName and datasetUUID is required");
        }
        "fc" if list(source, "targetWWNs").is_empty() && list(source, "wwids").is_empty() => {
            errors.required(&format!("{at}.targetWWNs"), "must specify either targetWWNs or wwids, but not both");
        }
        "azureDisk" => {
            let uri = text(source, "diskURI");
            let (fits, known) = if source["kind"] == "Managed" {
                (uri.starts_with("/subscriptions/"), "/subscriptions/{sub-id}/resourcegroups/{group}")
            } else {
                (uri.starts_with("https://"), "https://{account-name}.blob.core.windows.net/")
            };
            if !fits {
                errors.unsupported(&format!("{at}.diskURI"), &source["diskURI"], &[known]);
            }
        }
        "csi" => {
            let driver = text(source, "driver");
            errors.texts(&format!("{at}.driver"), driver, names::subdomain(&driver.to_lowercase()));
        }
        "ephemeral" => {
            let template = &source["volumeClaimTemplate"];
            if template.is_object() {
                claim(&template["spec"], &format!("{at}.volumeClaimTemplate.spec"), errors);
            }
        }
        "secret" | "configMap" => {
            errors.file_mode(source, "defaultMode", at);
            items(source, at, errors);
        }
        "downwardAPI" => {
            errors.file_mode(source, "defaultMode", at);
            pod::files(list(source, "items"), at, errors);
        }
        "projected" => {
            errors.file_mode(source, "defaultMode", at);
            projected(list(source, "sources"), at, errors);
        }
        _ => {}
    }
}

fn items(source: &Value, path: &str, errors: &mut Errors) {
    for (index, item) in list(source, "items").iter().enumerate() {
        let at = format!("{path}.items[{index}]");
        errors.all_of(item, &["key", "path"], &at);
        names::local_path(text(item, "path"), &format!("{at}.path"), errors);
        errors.file_mode(item, "mode", &at);
    }
}

fn projected(sources: &[Value], path: &str, errors: &mut Errors) {
    let mut taken: Vec<&str> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let own = format!("{path}.sources[{index}]");
        let mut found = 0;
        for kind in ["secret", "configMap", "downwardAPI", "serviceAccountToken"] {
            let projection = &source[kind];
            if !projection.is_object() {
                continue;
            }
            found += 1;
            let at = format!("{own}.{kind}");
            match kind {
                "serviceAccountToken" => token(projection, &at, path, errors),
                "downwardAPI" => pod::files(list(projection, "items"), &at, errors),
                _ => {
                    errors.all_of(projection, &["name"], &at);
                    items(projection, &at, errors);
                }
            }
            for file in list(projection, "items").iter().map(|item| text(item, "path")) {
                if !file.is_empty() && taken.contains(&file) {
                    errors.invalid(path, &json!(file), "conflicting duplicate paths");
                }
                taken.push(file);
            }
        }
        if found > 1 {
            errors.forbidden(&own, "may not specify more than 1 volume type per source");
        }
    }
}

fn token(projection: &Value, path: &str, volume: &str, errors: &mut Errors) {
    let seconds = &projection["expirationSeconds"];
    let at = format!("{path}.expirationSeconds");
    match seconds.as_i64() {
        Some(..600) => errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes"),
        Some(4_294_967_297..) => errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds"),
        _ => {}
    }
    errors.all_of(projection, &["path"], volume);
    names::local_path(text(projection, "path"), &format!("{volume}.path"), errors);
}

/// A container's mounts.
pub(super) fn mounts(container: &Value, known: &[&Value], path: &str, errors: &mut Errors) {
    let devices = list(container, "volumeDevices");
    let mut places: Vec<&str> = Vec::new();
    // Upstream does not count mounts in the paths of some of their members.
    let all = format!("{path}.volumeMounts");
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let at = format!("{all}[{index}]");
        let (name, place) = (text(mount, "name"), text(mount, "mountPath"));
        errors.all_of(mount, &["name"], &at);
        if !known.iter().any(|volume| volume["name"] == name) {
            errors.not_found(&format!("{at}.name"), name);
        }
        errors.all_of(mount, &["mountPath"], &at);
        if places.contains(&place) {
            errors.invalid(&format!("{at}.mountPath"), &json!(place), "must be unique");
        }
        places.push(place);
        if devices.iter().any(|device| device["name"] == name) {
            errors.invalid(&format!("{at}.name"), &json!(name), "must not already exist in volumeDevices");
        }
        if devices.iter().any(|device| device["devicePath"] == place) {
            let why = "must not already exist as a path in volumeDevices";
            errors.invalid(&format!("{at}.mountPath"), &json!(place), why);
        }
        names::descending_path(text(mount, "subPath"), &format!("{all}.subPath"), errors);
        let expression = text(mount, "subPathExpr");
        if !expression.is_empty() && !text(mount, "subPath").is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(&format!("{at}.subPathExpr"), &json!(expression), why);
        }
        names::descending_path(expression, &format!("{all}.subPathExpr"), errors);
        propagation(mount, container, &all, errors);
    }
}

fn propagation(mount: &Value, container: &Value, path: &str, errors: &mut Errors) {
    errors.one_of(mount, "mountPropagation", path, &["Bidirectional", "HostToContainer", "None"]);
    if mount["mountPropagation"] == "Bidirectional" && container["securityContext"]["privileged"] != true {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        errors.forbidden(&format!("{path}.mountPropagation"), why);
    }
    errors.one_of(mount, "recursiveReadOnly", path, &["Disabled", "Enabled", "IfPossible"]);
    if matches!(text(mount, "recursiveReadOnly"), "Enabled" | "IfPossible") {
        let at = format!("{path}.recursiveReadOnly");
        if mount["readOnly"] != true {
            errors.forbidden(&at, "may only be specified when readOnly is true");
        }
        if !matches!(text(mount, "mountPropagation"), "" | "None") {
            errors.forbidden(&at, "may only be specified when mountPropagation is None or not specified");
        }
    }
}

/// A container's block devices.
pub(super) fn devices(container: &Value, known: &[&Value], path: &str, errors: &mut Errors) {
    let all = list(container, "volumeDevices");
    let mounts = list(container, "volumeMounts");
    for (index, device) in all.iter().enumerate() {
        let at = format!("{path}.volumeDevices[{index}]");
        let same = |key: &str| all[..index].iter().any(|other| other[key] == device[key]);
        let mut wrong = |key: &str, why: &str| errors.invalid(&format!("{at}.{key}"), &device[key], why);
        if same("name") {
            wrong("name", "must be unique");
        }
        let volume = known.iter().find(|volume| volume["name"] == device["name"]);
        if volume.is_some_and(|volume| volume["persistentVolumeClaim"].is_null() && volume["ephemeral"].is_null()) {
            let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
            wrong("name", why);
        }
        if volume.is_none() {
            errors.not_found(&format!("{at}.name"), text(device, "name"));
        }
        errors.all_of(device, &["devicePath"], &at);
        let mut wrong = |key: &str, why: &str| errors.invalid(&format!("{at}.{key}"), &device[key], why);
        if same("devicePath") {
            wrong("devicePath", "must be unique");
        }
        if text(device, "devicePath").split('/').any(|part| part == "..") {
            wrong("devicePath", "can not contain backsteps ('..')");
        }
        if mounts.iter().any(|mount| mount["name"] == device["name"]) {
            wrong("name", "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| mount["mountPath"] == device["devicePath"]) {
            wrong("devicePath", "must not already exist as a path in volumeMounts");
        }
    }
}

fn access_modes(spec: &Value, path: &str, errors: &mut Errors) {
    let (modes, at) = (list(spec, "accessModes"), format!("{path}.accessModes"));
    for mode in modes.iter().filter(|mode| !mode.as_str().is_some_and(|mode| ACCESS_MODES.contains(&mode))) {
        errors.unsupported(&at, mode, &ACCESS_MODES);
    }
    if modes.len() > 1 && modes.iter().any(|mode| *mode == "ReadWriteOncePod") {
        errors.forbidden(&at, "may not use ReadWriteOncePod with other access modes");
    }
}

fn positive(size: &Value, field: &str, errors: &mut Errors) {
    if !size.is_null() && typed::amount(size).is_none_or(|amount| amount <= 0.0) {
        errors.invalid(field, size, "must be greater than zero");
    }
}

/// A claim's spec.
pub(super) fn claim(spec: &Value, path: &str, errors: &mut Errors) {
    if list(spec, "accessModes").is_empty() {
        errors.required(&format!("{path}.accessModes"), "at least 1 access mode is required");
    }
    selector::label_selector(&spec["selector"], &format!("{path}.selector"), errors);
    access_modes(spec, path, errors);
    let size = &spec["resources"]["requests"]["storage"];
    let at = format!("{path}.resources[storage]");
    if size.is_null() {
        errors.required(&at, "");
    } else {
        positive(size, &at, errors);
    }
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        errors.texts(&format!("{path}.storageClassName"), class, names::subdomain(class));
    }
    errors.one_of(spec, "volumeMode", path, &["Block", "Filesystem"]);
    for key in ["dataSource", "dataSourceRef"] {
        data_source(&spec[key], &format!("{path}.{key}"), errors);
    }
    let bare = |key: &str| ["apiGroup", "kind", "name"].map(|part| text(&spec[key], part));
    if spec["dataSource"].is_object() && bare("dataSource") != bare("dataSourceRef") {
        errors.invalid(path, &spec["dataSource"], "must match dataSourceRef");
    }
}

fn data_source(source: &Value, path: &str, errors: &mut Errors) {
    if source.is_object() {
        errors.all_of(source, &["name", "kind"], path);
        if text(source, "apiGroup").is_empty() && source["kind"] != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid(path, &source["kind"], why);
        }
    }
}

/// A volume of the cluster.
pub(super) fn volume(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if list(spec, "accessModes").is_empty() {
        errors.required("spec.accessModes", "");
    }
    access_modes(spec, "spec", errors);
    let capacity = spec["capacity"].as_object();
    if capacity.is_none_or(serde_json::Map::is_empty) {
        errors.required("spec.capacity", "");
    }
    if capacity.is_none_or(|capacity| capacity.len() != 1 || !capacity.contains_key("storage")) {
        errors.unsupported("spec.capacity", &spec["capacity"], &["storage"]);
    }
    for (name, size) in capacity.into_iter().flatten() {
        resources::not_negative(size, &format!("spec.capacity[{name}]"), errors);
        if !size.as_str().is_some_and(|size| size.starts_with('-')) {
            positive(size, &format!("spec.capacity[{name}]"), errors);
        }
    }
    errors.one_of(spec, "persistentVolumeReclaimPolicy", "spec", &["Delete", "Recycle", "Retain"]);
    let affinity = &spec["nodeAffinity"];
    if affinity.is_object() {
        if affinity["required"].is_object() {
            let at = "spec.nodeAffinity.required.nodeSelectorTerms";
            pod::node_selector(&affinity["required"], at, errors);
        } else {
            errors.required("spec.nodeAffinity.required", "must specify required node constraints");
        }
    }
    let local = &spec["local"];
    if local.is_object() {
        errors.all_of(local, &["path"], "spec.local");
        names::no_backsteps(text(local, "path"), "spec.local.path", errors);
        if affinity.is_null() {
            errors.required("spec.nodeAffinity", "Local volume requires node affinity");
        }
    } else {
        source(spec, "spec", errors);
    }
    let root = text(&spec["hostPath"], "path").split('/').all(|part| matches!(part, "" | "."));
    if spec["hostPath"].is_object() && root && spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        errors.forbidden("spec.persistentVolumeReclaimPolicy", why);
    }
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        errors.texts("spec.storageClassName", class, names::subdomain(class));
    }
    errors.one_of(spec, "volumeMode", "spec", &["Block", "Filesystem"]);
}

/// A storage class.
pub(super) fn storage_class(object: &Value, errors: &mut Errors) {
    let provisioner = text(object, "provisioner");
    if provisioner.is_empty() {
        errors.required("provisioner", "");
    } else {
        errors.texts("provisioner", provisioner, names::qualified(&provisioner.to_lowercase()));
    }
    let parameters: Vec<(&String, &Value)> = object["parameters"].as_object().into_iter().flatten().collect();
    if parameters.len() > 512 {
        errors.too_long("parameters", 512);
    }
    let size: usize = parameters.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > 256 << 10 {
        errors.too_long("parameters", 256 << 10);
    }
    if parameters.iter().any(|(key, _)| key.is_empty()) {
        errors.invalid("parameters", &json!(""), "field can not be empty.");
    }
    errors.one_of(object, "reclaimPolicy", "", &["Delete", "Retain"]);
    errors.one_of(object, "volumeBindingMode", "", &["Immediate", "WaitForFirstConsumer"]);
    for (index, term) in list(object, "allowedTopologies").iter().enumerate() {
        let at = format!("allowedTopologies[{index}].matchLabelExpressions");
        // Upstream takes a term that says nothing for one that it has seen.
        if list(term, "matchLabelExpressions").is_empty() {
            errors.duplicate(&at, &json!(""));
        }
        for (place, requirement) in list(term, "matchLabelExpressions").iter().enumerate() {
            let at = format!("{at}[{place}]");
            errors.all_of(requirement, &["values"], &at);
            let key = text(requirement, "key");
            errors.texts(&format!("{at}.key"), key, names::qualified(key));
        }
    }
}
