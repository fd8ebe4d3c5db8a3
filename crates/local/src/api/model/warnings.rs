//! What clients are warned about: fields that do nothing, or soon will not, and values that mean little.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/api/pod/warnings.go> and `WarningsOnCreate`,
//! `WarningsOnUpdate` of <https://github.com/kubernetes/kubernetes/tree/v1.33.0/pkg/registry>

mod address;
mod pod;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use serde_json::Value;

use super::validate::names;
use crate::api::{meta::finalizers, registry::Definition, text, typed};
use address::{cidr, ip};

/// Labels of nodes that have other names now.
const OLD_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// Kinds that are no names of pods' hosts, though their pods are named after them.
const NAMED: [&str; 5] =
    ["/replicationcontrollers", "apps/deployments", "apps/replicasets", "batch/jobs", "batch/cronjobs"];

/// The items of a list with their paths.
fn items<'a>(object: &'a Value, key: &str, at: &str) -> impl Iterator<Item = (String, &'a Value)> {
    let at = if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    let list = object[key].as_array().into_iter().flatten();
    list.enumerate().map(move |(index, item)| (format!("{at}[{index}]"), item))
}

fn old_label(label: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == label).map(|(_, why)| *why)
}

/// Warnings about a new object, or about a changed one.
pub(crate) fn of(definition: &Definition, old: Option<&Value>, object: &Value) -> Vec<String> {
    let mut told = Vec::new();
    if definition.custom.is_some() {
        own_finalizers(old, object, &mut told);
        return told;
    }
    let table = definition.table.as_str();
    let name = text(&object["metadata"], "name");
    if old.is_none() && (NAMED.contains(&table) || table == "/pods") {
        let whys = names::label(name);
        if !whys.is_empty() {
            let used = if table == "/pods" { "the Pod's hostname" } else { "Pod names and hostnames" };
            told.push(format!(
                "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS label is recommended: [{}]",
                whys.join(" ")
            ));
        }
    }
    // A template is looked at again when something about its object has changed.
    let same = old.is_some_and(|old| old["metadata"]["generation"] == object["metadata"]["generation"]);
    let spec = &object["spec"];
    match table {
        "/pods" if old.is_none() => pod::template("", object, &mut told),
        "/podtemplates" if !same => pod::template("template", &object["template"], &mut told),
        "batch/cronjobs" if !same => {
            pod::template("spec.jobTemplate.spec.template", &spec["jobTemplate"]["spec"]["template"], &mut told);
        }
        "/replicationcontrollers" | "apps/deployments" | "apps/replicasets" | "batch/jobs" if !same => {
            pod::template("spec.template", &spec["template"], &mut told);
        }
        "apps/daemonsets" if old.is_none_or(|old| old["spec"]["template"] != spec["template"]) => {
            pod::template("spec.template", &spec["template"], &mut told);
        }
        "apps/statefulsets" => stateful_set(spec, same, &mut told),
        "/services" => service(object, &mut told),
        "/secrets" => told.extend(key_pair(object)),
        "/persistentvolumes" => volume(object, &mut told),
        "/persistentvolumeclaims" => {
            if object["metadata"]["annotations"].get("volume.beta.kubernetes.io/storage-class").is_some() {
                told.push("metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead".to_owned());
            }
            claim("spec", spec, &mut told);
        }
        "/serviceaccounts" => {
            const KEY: &str = "kubernetes.io/enforce-mountable-secrets";
            let has = |object: &Value| object["metadata"]["annotations"].get(KEY).is_some();
            if has(object) && !old.is_some_and(has) {
                told.push(format!("metadata.annotations[{KEY}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"));
            }
        }
        "/nodes" => node(spec, &mut told),
        "/endpoints" => {
            for (at, subset) in items(object, "subsets", "") {
                for key in ["addresses", "notReadyAddresses"] {
                    items(subset, key, &at).for_each(|(at, one)| told.extend(ip(&format!("{at}.ip"), text(one, "ip"))));
                }
            }
        }
        "discovery.k8s.io/endpointslices" => {
            if old.is_none() && object["addressType"] == "FQDN" {
                told.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
            }
            for (at, endpoint) in items(object, "endpoints", "") {
                let all = items(endpoint, "addresses", &at);
                all.for_each(|(at, one)| told.extend(ip(&at, one.as_str().unwrap_or_default())));
            }
        }
        "storage.k8s.io/storageclasses" => {
            for (at, topology) in items(object, "allowedTopologies", "") {
                for (at, expression) in items(topology, "matchLabelExpressions", &at) {
                    told.extend(old_label(text(expression, "key")).map(|why| format!("{at}.key: {why}")));
                }
            }
        }
        _ => {}
    }
    told
}

fn own_finalizers(old: Option<&Value>, object: &Value, told: &mut Vec<String>) {
    let known: Vec<&str> = old.map(|old| finalizers(old).collect()).unwrap_or_default();
    for one in finalizers(object).filter(|one| !known.contains(one)) {
        if !one.contains('/') && !matches!(one, "orphan" | "foregroundDeletion") {
            told.push(format!("metadata.finalizers: \"{one}\": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers"));
        }
    }
}

/// Requirements on nodes that name old labels, or values that are none.
fn node_term(at: &str, term: &Value, values: bool, told: &mut Vec<String>) {
    for (at, expression) in items(term, "matchExpressions", at) {
        let key = text(expression, "key");
        told.extend(old_label(key).map(|why| format!("{at}.key: {key} is {why}")));
        for (at, value) in items(expression, "values", &at).filter(|_| values) {
            let value = value.as_str().unwrap_or_default();
            told.extend(names::label_value(value).into_iter().map(|why| format!("{at}: {value} is invalid, {why}")));
        }
    }
}

/// Bytes that are no whole number.
fn fraction(at: &str, amount: &Value, told: &mut Vec<String>) {
    if typed::amount(amount).is_some_and(|amount| amount.fract() != 0.0) {
        told.push(format!("{at}: fractional byte value {amount} is invalid, must be an integer"));
    }
}

fn claim(at: &str, spec: &Value, told: &mut Vec<String>) {
    for part in ["requests", "limits"] {
        fraction(&format!("{at}.resources.{part}[storage]"), &spec["resources"][part]["storage"], told);
    }
}

fn stateful_set(spec: &Value, same: bool, told: &mut Vec<String>) {
    if !same {
        pod::template("spec.template", &spec["template"], told);
    }
    for (at, one) in items(spec, "volumeClaimTemplates", "spec") {
        claim(&at, &one["spec"], told);
    }
    if spec["revisionHistoryLimit"].as_i64().is_some_and(|limit| limit < 0) {
        told.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .to_owned(),
        );
    }
}

fn service(object: &Value, told: &mut Vec<String>) {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    if object["metadata"]["annotations"].get(HINTS).is_some() {
        told.push(format!("annotation {HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"));
    }
    let spec = &object["spec"];
    let external = spec["type"] == "ExternalName";
    for key in ["clusterIPs", "externalIPs"] {
        for (at, one) in items(spec, key, "spec").filter(|(_, one)| *one != "None") {
            told.extend(ip(&at, one.as_str().unwrap_or_default()));
        }
    }
    if let Some(address) = spec["loadBalancerIP"].as_str().filter(|address| !address.is_empty()) {
        told.extend(ip("spec.loadBalancerIP", address));
    }
    for (at, one) in items(spec, "loadBalancerSourceRanges", "spec") {
        told.extend(cidr(&at, one.as_str().unwrap_or_default()));
    }
    if external && items(spec, "externalIPs", "").next().is_some() {
        told.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !external && !text(spec, "externalName").is_empty() {
        told.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
}

fn volume(object: &Value, told: &mut Vec<String>) {
    let annotations = &object["metadata"]["annotations"];
    for (key, why) in [
        (
            "volume.beta.kubernetes.io/storage-class",
            "deprecated since v1.8; use \"storageClassName\" attribute instead",
        ),
        ("volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead"),
    ] {
        if annotations.get(key).is_some() {
            told.push(format!("metadata.annotations[{key}]: {why}"));
        }
    }
    let spec = &object["spec"];
    if spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        told.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_owned());
    }
    for (at, term) in items(&spec["nodeAffinity"]["required"], "nodeSelectorTerms", "spec.nodeAffinity.required") {
        node_term(&at, term, false, told);
    }
    pod::old_sources("spec", spec, told);
}

fn node(spec: &Value, told: &mut Vec<String>) {
    if !spec["configSource"].is_null() {
        told.push("spec.configSource: the feature is removed".to_owned());
    }
    if !text(spec, "externalID").is_empty() {
        told.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
    for (at, one) in items(spec, "podCIDRs", "spec") {
        told.extend(cidr(&at, one.as_str().unwrap_or_default()));
    }
}

/// A certificate that does not fit its key.
fn key_pair(object: &Value) -> Option<String> {
    if object["type"] != "kubernetes.io/tls" {
        return None;
    }
    let pem = |key: &str| STANDARD.decode(text(&object["data"], key)).unwrap_or_default();
    let (certificates, key) = (pem("tls.crt"), pem("tls.key"));
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificates).collect();
    let certificates = match certificates {
        Ok(certificates) if !certificates.is_empty() => certificates,
        _ => return Some("tls: failed to find any PEM data in certificate input".to_owned()),
    };
    let Ok(key) = PrivateKeyDer::from_pem_slice(&key) else {
        return Some("tls: failed to find any PEM data in key input".to_owned());
    };
    let key = match rustls::crypto::ring::sign::any_supported_type(&key) {
        Ok(key) => key,
        Err(error) => return Some(format!("tls: failed to parse private key: {error}")),
    };
    let fits = CertifiedKey::new(certificates, key).keys_match();
    fits.err().map(|error| format!("tls: private key does not match public key: {error}"))
}
