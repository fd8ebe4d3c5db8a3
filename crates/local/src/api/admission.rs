//! Rules that read or make other objects: namespace lifecycle, Service addresses, accounts and priorities of pods.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>

mod limits;
mod service;

use std::sync::Arc;

use serde_json::{Value, json};

pub(crate) use service::Addresses;

use super::{
    Api,
    meta::{is_deleting, metadata_mut, name, now, set_finalizer},
    resource::resources::{CONFIGMAPS, NAMESPACES, PODS, SERVICE_ACCOUNTS, SERVICES},
    status::Status,
    store::Entry,
    write::{Target, WriteOptions, create as create_object, generated, mutate},
};

/// Namespaces that every cluster has; and those of them that cannot be deleted.
/// <https://github.com/kubernetes/kubernetes/tree/v1.33.0/staging/src/k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle>
pub(crate) const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
const NAMESPACES_OF_OLD: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Creates what every cluster has, unless a journal brought it.
pub(crate) fn bootstrap(api: &Api) -> Result<(), Status> {
    for namespace in NAMESPACES_OF_OLD {
        if api.store.get("/namespaces", "", namespace).is_none() {
            make(api, &NAMESPACES, "", json!({"metadata": {"name": namespace}}))?;
        }
    }
    let classes = super::resource::resources::PRIORITY_CLASSES;
    for (class, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)] {
        if api.store.get("scheduling.k8s.io/priorityclasses", "", class).is_none() {
            make(api, &classes, "", json!({"metadata": {"name": class}, "value": value}))?;
        }
    }
    if api.store.get("/services", "default", "kubernetes").is_none() {
        let ports = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]);
        make(
            api,
            &SERVICES,
            "default",
            json!({"metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}}, "spec": {"ports": ports}}),
        )?;
    }
    Ok(())
}

fn make(api: &Api, resource: &super::Resource, namespace: &str, object: Value) -> Result<(), Status> {
    let definition = api.definition(resource)?;
    let target = Target { definition, namespace: namespace.to_owned(), name: String::new() };
    let options = WriteOptions { manager: "kube-apiserver".into(), ..WriteOptions::default() };
    match create_object(api, &target, object, &options) {
        Err(status) if !status.is_conflict() => Err(status),
        _ => Ok(()),
    }
}

/// After a namespace was written: its account and its copy of the CA are there.
pub(crate) fn namespace_written(api: &Api, entry: &Arc<Entry>) {
    if is_deleting(&entry.value) {
        return;
    }
    let namespace = name(&entry.value);
    let ca = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": api.settings.ca_pem}});
    for (resource, table, object) in [
        (&SERVICE_ACCOUNTS, "/serviceaccounts", json!({"metadata": {"name": "default"}})),
        (&CONFIGMAPS, "/configmaps", ca),
    ] {
        if api.store.get(table, namespace, name(&object)).is_none()
            && let Err(error) = make(api, resource, namespace, object)
        {
            tracing::warn!(%error, namespace, "namespace not furnished");
        }
    }
}

/// Rules at creation.
pub(crate) fn create(api: &Api, target: &Target, object: &mut Value, options: &WriteOptions) -> Result<(), Status> {
    if target.definition.resource.namespaced {
        namespace_takes(api, target, object)?;
    }
    if let Some(custom) = target.definition.custom.as_ref().filter(|c| c.terminating) {
        let resource = &target.definition.resource;
        tracing::debug!(definition = custom.name, "create refused");
        let details = super::Details {
            group: resource.group.to_string(),
            kind: resource.plural.to_string(),
            ..super::Details::default()
        };
        let text = "create not allowed while custom resource definition is terminating";
        return Err(Status::new(405, "MethodNotAllowed", text).with_details(details));
    }
    match target.definition.table.as_str() {
        "/namespaces" => {
            let mut finalizers = object["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
            if !finalizers.iter().any(|one| one == "kubernetes") {
                finalizers.push(json!("kubernetes"));
            }
            object["spec"]["finalizers"] = json!(finalizers);
            object["status"] = json!({"phase": "Active"});
            let name = name(object).to_owned();
            let labels = metadata_mut(object);
            let labels = labels.entry("labels").or_insert_with(|| json!({}));
            if let Some(labels) = labels.as_object_mut() {
                labels.insert("kubernetes.io/metadata.name".into(), json!(name));
            }
        }
        "/services" => service::create(api, object)?,
        "/pods" => {
            limits::fill(api, target, object);
            pod(api, target, object)?;
        }
        "/persistentvolumeclaims" => set_finalizer(object, "kubernetes.io/pvc-protection", true),
        "/persistentvolumes" => set_finalizer(object, "kubernetes.io/pv-protection", true),
        _ => {}
    }
    let _ = options;
    Ok(())
}

/// Rules at update.
pub(crate) fn update(
    api: &Api,
    target: &Target,
    old: &Value,
    new: &mut Value,
    options: &WriteOptions,
) -> Result<(), Status> {
    match target.definition.table.as_str() {
        "/services" if options.subresource.is_none() => service::update(api, old, new),
        "/pods" if options.subresource.is_none() && new["spec"].is_object() => {
            usual_tolerations(&mut new["spec"]);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Rules that an object must keep once it is what it will be.
pub(crate) fn validate(api: &Api, target: &Target, old: Option<&Value>, object: &Value) -> Result<(), Status> {
    match target.definition.table.as_str() {
        "/pods" if old.is_none() => limits::check(api, target, object),
        "/persistentvolumeclaims" if old.is_none_or(|old| !is_deleting(old)) => limits::check(api, target, object),
        _ => Ok(()),
    }
}

fn namespace_takes(api: &Api, target: &Target, object: &Value) -> Result<(), Status> {
    let resource = &target.definition.resource;
    let Some(namespace) = api.store.get("/namespaces", "", &target.namespace) else {
        return Err(Status::not_found(&NAMESPACES, &target.namespace));
    };
    if is_deleting(&namespace.value) {
        let space = &target.namespace;
        let why = format!("unable to create new content in namespace {space} because it is being terminated");
        let cause = format!("namespace {space} is being terminated");
        return Err(Status::forbidden(resource, name(object), &why).with_cause(
            "NamespaceTerminating",
            "metadata.namespace",
            cause,
        ));
    }
    Ok(())
}

/// Gives containers the credentials of their account, unless the pod, the account or a mount of their own says no.
/// <https://github.com/kubernetes/kubernetes/blob/v1.33.0/plugin/pkg/admission/serviceaccount/admission.go>
fn mount_token(account: &Value, spec: &mut Value) {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    const PREFIX: &str = "kube-api-access-";
    let asked = spec["automountServiceAccountToken"].as_bool();
    if !asked.or_else(|| account["automountServiceAccountToken"].as_bool()).unwrap_or(true) {
        return;
    }
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let present = volumes.filter_map(|volume| volume["name"].as_str()).find(|name| name.starts_with(PREFIX));
    let (given, volume) = match present {
        Some(name) => (true, name.to_owned()),
        None => (false, generated(PREFIX)),
    };
    let mut needed = false;
    for kind in ["initContainers", "containers"] {
        for container in spec.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array().into_iter().flatten();
            if mounts.into_iter().any(|mount| mount["mountPath"] == PATH) {
                continue;
            }
            push(&mut container["volumeMounts"], json!({ "name": volume, "readOnly": true, "mountPath": PATH }));
            needed = true;
        }
    }
    if needed && !given {
        let sources = json!([
            { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
            { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            { "downwardAPI": { "items": [
                { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
            ] } },
        ]);
        push(&mut spec["volumes"], json!({ "name": volume, "projected": { "sources": sources, "defaultMode": 420 } }));
    }
}

/// Appends to a list that may not be there yet.
fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

/// Fills in account, priority and usual tolerations of a pod.
fn pod(api: &Api, target: &Target, object: &mut Value) -> Result<(), Status> {
    let resource = &target.definition.resource;
    let pod = name(object).to_owned();
    if !object["spec"].is_object() {
        return Ok(());
    }
    let account = object["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_owned();
    let Some(found) = api.store.get("/serviceaccounts", &target.namespace, &account) else {
        let space = &target.namespace;
        let why = format!("error looking up service account {space}/{account}: serviceaccount \"{account}\" not found");
        return Err(Status::forbidden(resource, &pod, &why));
    };
    mount_token(&found.value, &mut object["spec"]);
    if object["spec"]["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
        && !found.value["imagePullSecrets"].is_null()
    {
        object["spec"]["imagePullSecrets"] = found.value["imagePullSecrets"].clone();
    }
    priority(api, target, object)?;
    let spec = &mut object["spec"];
    let refuse = |why: String| Err(Status::forbidden(resource, &pod, &why));
    if let Some(class) = spec["runtimeClassName"].as_str() {
        return refuse(format!("pod rejected: RuntimeClass \"{class}\" not found"));
    }
    if spec["overhead"].as_object().is_some_and(|overhead| !overhead.is_empty()) {
        return refuse("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".into());
    }
    spec["serviceAccountName"] = json!(account);
    spec["serviceAccount"] = json!(account);
    usual_tolerations(spec);
    Ok(())
}

/// Gives a pod the priority of its class, or of the class for all; it cannot say another itself.
/// <https://github.com/kubernetes/kubernetes/blob/v1.33.0/plugin/pkg/admission/priority/admission.go>
fn priority(api: &Api, target: &Target, object: &mut Value) -> Result<(), Status> {
    const CLASSES: &str = "scheduling.k8s.io/priorityclasses";
    let pod = name(object).to_owned();
    let refuse = |why: String| Err(Status::forbidden(&target.definition.resource, &pod, &why));
    let spec = &mut object["spec"];
    let named = spec["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let class = if named.is_empty() {
        let (classes, _) = api.store.list(CLASSES, "");
        classes
            .into_iter()
            .filter(|class| class.value["globalDefault"] == true)
            .min_by_key(|class| class.value["value"].as_i64())
    } else {
        let found = api.store.get(CLASSES, "", &named);
        if found.is_none() {
            return refuse(format!("no PriorityClass with name {named} was found"));
        }
        found
    };
    let (value, policy) = match &class {
        Some(class) => {
            spec["priorityClassName"] = json!(name(&class.value));
            (class.value["value"].clone(), class.value["preemptionPolicy"].clone())
        }
        None => (json!(0), json!("PreemptLowerPriority")),
    };
    for (key, computed, what) in [
        ("priority", value, "the integer value of priority"),
        ("preemptionPolicy", policy, "the string value of PreemptionPolicy"),
    ] {
        let given = &spec[key];
        if !given.is_null() && *given != computed {
            return refuse(format!(
                "{what} ({given}) must not be provided in pod spec; priority admission controller computed {computed} from the given PriorityClass name"
            ));
        }
        spec[key] = computed;
    }
    Ok(())
}

/// Pods stay on nodes that are gone for a while.
fn usual_tolerations(spec: &mut Value) {
    if !spec["tolerations"].is_array() {
        spec["tolerations"] = json!([]);
    }
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerations = spec["tolerations"].as_array_mut().into_iter();
        for tolerations in tolerations {
            let named = |t: &Value| t["key"] == key && matches!(t["effect"].as_str(), Some("NoExecute") | None);
            if !tolerations.iter().any(named) {
                tolerations
                    .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
            }
        }
    }
}

/// Binds a pod to a node, once.
pub(crate) fn bind(
    api: &Api,
    target: &Target,
    node: &str,
    annotations: Option<&Value>,
    options: &WriteOptions,
) -> Result<Arc<Value>, Status> {
    let written = mutate(api, target, options, |old| {
        // Upstream says so of the subresource.
        let binding = super::Resource { plural: "pods/binding".into(), ..PODS };
        let refuse = |why: String| Err(Status::conflict(&binding, &target.name, &why));
        if is_deleting(old) {
            return refuse(format!("pod {} is being deleted, cannot be assigned to a host", target.name));
        }
        if let Some(bound) = old["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) {
            return refuse(format!("pod {} is already assigned to node \"{bound}\"", target.name));
        }
        if old["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
            return refuse(format!("pod {} has non-empty .spec.schedulingGates", target.name));
        }
        let given = |key: &str| annotations.and_then(|metadata| metadata[key].as_str()).filter(|text| !text.is_empty());
        for (key, what) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let own = old["metadata"][key].as_str().unwrap_or_default();
            if let Some(wanted) = given(key).filter(|wanted| *wanted != own) {
                let why =
                    format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {own}");
                return Err(Status::conflict(&PODS, &target.name, &why));
            }
        }
        let mut new = old.clone();
        new["spec"]["nodeName"] = json!(node);
        for (key, value) in annotations.and_then(|given| given["annotations"].as_object()).into_iter().flatten() {
            new["metadata"]["annotations"][key.as_str()] = value.clone();
        }
        let mut conditions: Vec<Value> = old["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|c| c["type"] != "PodScheduled");
        conditions.push(
            json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now()}),
        );
        new["status"]["conditions"] = json!(conditions);
        Ok(new)
    })?;
    Ok(written.object)
}
