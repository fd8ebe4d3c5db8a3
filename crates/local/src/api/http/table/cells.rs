//! Cells by resource and column.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/printers/internalversion/printers.go>

use serde_json::{Value, json};

use super::{
    autoscaler, custom, pod,
    text::{age, between, joined, list, number, or, or_none, pairs, text, three},
};
use crate::api::{LabelSelector, at, registry::Definition};

/// One cell of a stored object.
pub(super) fn cell(definition: &Definition, column: &Value, object: &Value) -> Value {
    if let Some(path) = column["jsonPath"].as_str() {
        return custom::cell(column, path, object);
    }
    let name = column["name"].as_str().unwrap_or_default();
    match name {
        "Name" if definition.table == "storage.k8s.io/storageclasses" => return json!(storage_class_name(object)),
        "Name" => return object["metadata"]["name"].clone(),
        "Age" => return json!(age(&text(object, "/metadata/creationTimestamp"))),
        "Created At" => return object["metadata"]["creationTimestamp"].clone(),
        _ => {}
    }
    match definition.table.as_str() {
        "/pods" => pod::cell(name, object),
        "/nodes" => node(name, object),
        "/services" => service(name, object),
        "/events" => event(name, object),
        "/persistentvolumes" | "/persistentvolumeclaims" => volume(name, object),
        "/resourcequotas" => json!(quota(name, object)),
        "/replicationcontrollers"
        | "apps/deployments"
        | "apps/replicasets"
        | "apps/daemonsets"
        | "apps/statefulsets" => workload(name, object),
        "batch/jobs" => job(name, object),
        "batch/cronjobs" => cron_job(name, object),
        "autoscaling/horizontalpodautoscalers" => autoscaler::cell(name, object),
        "rbac.authorization.k8s.io/rolebindings" | "rbac.authorization.k8s.io/clusterrolebindings" => {
            binding(name, object)
        }
        table if table.starts_with("storage.k8s.io/") => storage(name, object),
        table => other(table, name, object),
    }
}

fn node(column: &str, node: &Value) -> Value {
    let about = |field: &str| text(node, &format!("/status/nodeInfo/{field}"));
    let unknown = |text: String| json!(or(text, "<unknown>"));
    match column {
        "Status" => {
            let ready = list(node, "/status/conditions").filter(|condition| condition["type"] == "Ready").last();
            let mut status = match ready.map(|condition| condition["status"] == "True") {
                Some(true) => "Ready".to_owned(),
                Some(false) => "NotReady".to_owned(),
                None => "Unknown".to_owned(),
            };
            if node["spec"]["unschedulable"] == true {
                status.push_str(",SchedulingDisabled");
            }
            json!(status)
        }
        "Roles" => {
            let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
            let role = |(key, value): (&String, &Value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role.to_owned()),
                None => (key == "kubernetes.io/role").then(|| value.as_str().unwrap_or_default().to_owned()),
            };
            let roles: std::collections::BTreeSet<String> =
                labels.filter_map(role).filter(|role| !role.is_empty()).collect();
            json!(or_none(roles.into_iter().collect::<Vec<_>>().join(",")))
        }
        "Version" => json!(about("kubeletVersion")),
        "Internal-IP" | "External-IP" => {
            let kind = column.replace("-IP", "IP");
            let found = list(node, "/status/addresses").find(|address| address["type"] == *kind);
            json!(or_none(found.map(|address| text(address, "/address")).unwrap_or_default()))
        }
        "OS-Image" => unknown(about("osImage")),
        "Kernel-Version" => unknown(about("kernelVersion")),
        "Container-Runtime" => unknown(about("containerRuntimeVersion")),
        _ => Value::Null,
    }
}

fn service(column: &str, service: &Value) -> Value {
    match column {
        "Type" => json!(text(service, "/spec/type")),
        "Cluster-IP" => json!(or_none(text(service, "/spec/clusterIPs/0"))),
        "External-IP" => json!(outside(service)),
        "Port(s)" => {
            let port = |port: &Value| {
                let node = number(port, "/nodePort");
                let node = if node > 0 { format!(":{node}") } else { String::new() };
                format!("{}{node}/{}", number(port, "/port"), text(port, "/protocol"))
            };
            json!(or_none(list(service, "/spec/ports").map(port).collect::<Vec<_>>().join(",")))
        }
        "Selector" => json!(pairs(&service["spec"]["selector"])),
        _ => Value::Null,
    }
}

/// Where a Service is reached from outside.
fn outside(service: &Value) -> String {
    let own = list(service, "/spec/externalIPs").filter_map(Value::as_str).map(ToOwned::to_owned);
    let balanced = || {
        let address = |ingress: &Value| or(text(ingress, "/ip"), &text(ingress, "/hostname"));
        let all: std::collections::BTreeSet<String> =
            list(service, "/status/loadBalancer/ingress").map(address).filter(|address| !address.is_empty()).collect();
        all
    };
    match service["spec"]["type"].as_str() {
        Some("ClusterIP" | "NodePort") => or_none(own.collect::<Vec<_>>().join(",")),
        Some("LoadBalancer") => or(balanced().into_iter().chain(own).collect::<Vec<_>>().join(","), "<pending>"),
        Some("ExternalName") => text(service, "/spec/externalName"),
        _ => "<unknown>".to_owned(),
    }
}

fn event(column: &str, event: &Value) -> Value {
    let first = || match or(text(event, "/firstTimestamp"), &text(event, "/eventTime")) {
        time if time.is_empty() => "<unknown>".to_owned(),
        time => age(&time),
    };
    let series = event["series"].is_object();
    match column {
        "Last Seen" if series => json!(age(&text(event, "/series/lastObservedTime"))),
        "Last Seen" => match text(event, "/lastTimestamp") {
            last if last.is_empty() => json!(first()),
            last => json!(age(&last)),
        },
        "First Seen" => json!(first()),
        "Type" => json!(text(event, "/type")),
        "Reason" => json!(text(event, "/reason")),
        "Object" => {
            let (kind, name) = (text(event, "/involvedObject/kind"), text(event, "/involvedObject/name"));
            let kind = kind.to_lowercase();
            json!(if name.is_empty() { kind } else { format!("{kind}/{name}") })
        }
        "Subobject" => json!(text(event, "/involvedObject/fieldPath")),
        "Source" => {
            let component = or(text(event, "/source/component"), &text(event, "/reportingComponent"));
            let instance = or(text(event, "/source/host"), &text(event, "/reportingInstance"));
            json!(if instance.is_empty() { component } else { format!("{component}, {instance}") })
        }
        "Message" => json!(text(event, "/message").trim()),
        "Count" if series => json!(number(event, "/series/count")),
        "Count" => match number(event, "/count") {
            0 => json!(1),
            count => json!(count),
        },
        _ => Value::Null,
    }
}

/// Persistent volumes and claims on them.
fn volume(column: &str, object: &Value) -> Value {
    let claim = object["kind"] == "PersistentVolumeClaim";
    let bound = !text(object, "/spec/volumeName").is_empty();
    match column {
        "Status" if object["metadata"]["deletionTimestamp"].is_string() => json!("Terminating"),
        "Status" => json!(text(object, "/status/phase")),
        "Volume" => json!(text(object, "/spec/volumeName")),
        "Capacity" | "Access Modes" if claim && !bound => json!(""),
        "Capacity" => {
            let of = if claim { "/status/capacity/storage" } else { "/spec/capacity/storage" };
            json!(or(text(object, of), "0"))
        }
        "Access Modes" => json!(access_modes(object, if claim { "/status/accessModes" } else { "/spec/accessModes" })),
        "Reclaim Policy" => json!(text(object, "/spec/persistentVolumeReclaimPolicy")),
        "Claim" => {
            let of = &object["spec"]["claimRef"];
            json!(if of.is_object() {
                format!("{}/{}", text(of, "/namespace"), text(of, "/name"))
            } else {
                String::new()
            })
        }
        "StorageClass" => {
            let old = object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
            json!(old.map_or_else(|| text(object, "/spec/storageClassName"), ToOwned::to_owned))
        }
        "VolumeAttributesClass" => json!(or_unset(&object["spec"]["volumeAttributesClassName"])),
        "Reason" => json!(text(object, "/status/reason")),
        "VolumeMode" => json!(or_unset(&object["spec"]["volumeMode"])),
        _ => Value::Null,
    }
}

fn access_modes(object: &Value, pointer: &str) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let there = short.into_iter().filter(|(mode, _)| list(object, pointer).any(|known| known == mode));
    there.map(|(_, short)| short).collect::<Vec<_>>().join(",")
}

/// What a quota allows, and what of it is used.
fn quota(column: &str, quota: &Value) -> String {
    let quantity = |of: &Value| of.as_str().map_or_else(|| "0".to_owned(), ToOwned::to_owned);
    let hard = quota["status"]["hard"].as_object().into_iter().flatten();
    let mut parts: Vec<String> = hard
        .filter(|(name, _)| name.starts_with("limits.") == (column == "Limit"))
        .map(|(name, hard)| format!("{name}: {}/{}", quantity(&quota["status"]["used"][name]), quantity(hard)))
        .collect();
    parts.sort_unstable();
    parts.join(", ")
}

fn workload(column: &str, object: &Value) -> Value {
    let kind = text(object, "/kind");
    let count = |field: &str| json!(number(object, &format!("/status/{field}")));
    match (kind.as_str(), column) {
        (_, "Containers" | "Images") => containers(column, object, "/spec/template/spec/containers"),
        (_, "Node Selector") => json!(pairs(&object["spec"]["template"]["spec"]["nodeSelector"])),
        ("ReplicationController", "Selector") => json!(pairs(&object["spec"]["selector"])),
        ("Deployment", "Selector") => json!(LabelSelector::from_value(&object["spec"]["selector"]).to_string()),
        (_, "Selector") => json!(selector(&object["spec"]["selector"])),
        ("DaemonSet", "Desired") => count("desiredNumberScheduled"),
        ("DaemonSet", "Current") => count("currentNumberScheduled"),
        ("DaemonSet", "Ready") => count("numberReady"),
        ("DaemonSet", "Up-to-date") => count("updatedNumberScheduled"),
        ("DaemonSet", "Available") => count("numberAvailable"),
        ("Deployment" | "StatefulSet", "Ready") => {
            json!(format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas")))
        }
        (_, "Ready") => count("readyReplicas"),
        (_, "Desired") => json!(number(object, "/spec/replicas")),
        (_, "Current") => count("replicas"),
        (_, "Up-to-date") => count("updatedReplicas"),
        (_, "Available") => count("availableReplicas"),
        _ => Value::Null,
    }
}

fn containers(column: &str, object: &Value, pointer: &str) -> Value {
    json!(joined(list(object, pointer), if column == "Containers" { "/name" } else { "/image" }))
}

fn selector(selector: &Value) -> String {
    or_none(LabelSelector::from_value(selector).to_string())
}

fn job(column: &str, job: &Value) -> Value {
    match column {
        "Status" => {
            let holds = |kind: &str| {
                let found = list(job, "/status/conditions").find(|condition| condition["type"] == kind);
                found.is_some_and(|condition| condition["status"] == "True")
            };
            let ending = job["metadata"]["deletionTimestamp"].is_string();
            json!(match () {
                () if holds("Complete") => "Complete",
                () if holds("Failed") => "Failed",
                () if ending => "Terminating",
                () if holds("Suspended") => "Suspended",
                () if holds("FailureTarget") => "FailureTarget",
                () => "Running",
            })
        }
        "Completions" => {
            let done = number(job, "/status/succeeded");
            json!(match (job["spec"]["completions"].as_i64(), number(job, "/spec/parallelism")) {
                (Some(all), _) => format!("{done}/{all}"),
                (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
                (None, _) => format!("{done}/1"),
            })
        }
        "Duration" => {
            let (start, end) = (text(job, "/status/startTime"), text(job, "/status/completionTime"));
            json!(match (start.is_empty(), end.is_empty()) {
                (true, _) => String::new(),
                (false, true) => age(&start),
                (false, false) => between(&start, &end),
            })
        }
        "Selector" => json!(selector(&job["spec"]["selector"])),
        _ => containers(column, job, "/spec/template/spec/containers"),
    }
}

fn cron_job(column: &str, job: &Value) -> Value {
    match column {
        "Schedule" => json!(text(job, "/spec/schedule")),
        "Timezone" => json!(job["spec"]["timeZone"].as_str().unwrap_or("<none>")),
        "Suspend" => json!(match job["spec"]["suspend"].as_bool() {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        }),
        "Active" => json!(list(job, "/status/active").count()),
        "Last Schedule" => json!(job["status"]["lastScheduleTime"].as_str().map_or_else(|| "<none>".to_owned(), age)),
        "Selector" => json!(selector(&job["spec"]["jobTemplate"]["spec"]["selector"])),
        _ => containers(column, job, "/spec/jobTemplate/spec/template/spec/containers"),
    }
}

fn binding(column: &str, binding: &Value) -> Value {
    let of = |kind: &str| {
        let named = list(binding, "/subjects").filter(|subject| subject["kind"] == kind).map(|subject| {
            let name = text(subject, "/name");
            if kind == "ServiceAccount" { format!("{}/{name}", text(subject, "/namespace")) } else { name }
        });
        json!(named.collect::<Vec<_>>().join(", "))
    };
    match column {
        "Role" => json!(format!("{}/{}", text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"))),
        "Users" => of("User"),
        "Groups" => of("Group"),
        "ServiceAccounts" => of("ServiceAccount"),
        _ => Value::Null,
    }
}

fn storage_class_name(class: &Value) -> String {
    let named = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    let default = named.iter().any(|key| class["metadata"]["annotations"][key] == "true");
    text(class, "/metadata/name") + if default { " (default)" } else { "" }
}

fn storage(column: &str, object: &Value) -> Value {
    let flag =
        |pointer: &str, default: bool| json!(object.pointer(pointer).and_then(Value::as_bool).unwrap_or(default));
    match column {
        "Provisioner" => json!(text(object, "/provisioner")),
        "ReclaimPolicy" => json!(or(text(object, "/reclaimPolicy"), "Delete")),
        "VolumeBindingMode" => json!(or(text(object, "/volumeBindingMode"), "Immediate")),
        "AllowVolumeExpansion" => flag("/allowVolumeExpansion", false),
        "Attacher" => json!(text(object, "/spec/attacher")),
        "PV" => json!(text(object, "/spec/source/persistentVolumeName")),
        "Node" => json!(text(object, "/spec/nodeName")),
        "Attached" => flag("/status/attached", false),
        "Drivers" => json!(list(object, "/spec/drivers").count()),
        "AttachRequired" => flag("/spec/attachRequired", true),
        "PodInfoOnMount" => flag("/spec/podInfoOnMount", false),
        "StorageCapacity" => flag("/spec/storageCapacity", false),
        "RequiresRepublish" => flag("/spec/requiresRepublish", false),
        "TokenRequests" if object["spec"]["tokenRequests"].is_null() => json!("<unset>"),
        "TokenRequests" => json!(joined(list(object, "/spec/tokenRequests"), "/audience")),
        "Modes" => json!(or_none(joined(list(object, "/spec/volumeLifecycleModes"), ""))),
        _ => Value::Null,
    }
}

fn other(table: &str, column: &str, object: &Value) -> Value {
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    match (table, column) {
        ("/namespaces", "Status") => json!(text(object, "/status/phase")),
        ("/configmaps", "Data") => json!(count("/data") + count("/binaryData")),
        ("/secrets", "Data") => json!(count("/data")),
        ("/secrets", "Type") => json!(text(object, "/type")),
        ("/serviceaccounts", "Secrets") => json!(list(object, "/secrets").count()),
        ("/endpoints", "Endpoints") => json!(endpoints(object)),
        ("/podtemplates", "Pod Labels") => json!(pairs(&object["template"]["metadata"]["labels"])),
        ("/podtemplates", _) => containers(column, object, "/template/spec/containers"),
        ("policy/poddisruptionbudgets", "Min Available") => or_not_applicable(at(object, "spec.minAvailable")),
        ("policy/poddisruptionbudgets", "Max Unavailable") => or_not_applicable(at(object, "spec.maxUnavailable")),
        ("policy/poddisruptionbudgets", "Allowed Disruptions") => json!(number(object, "/status/disruptionsAllowed")),
        ("apps/controllerrevisions", "Revision") => json!(number(object, "/revision")),
        ("apps/controllerrevisions", "Controller") => {
            let owner = list(object, "/metadata/ownerReferences").find(|owner| owner["controller"] == true);
            json!(owner.map_or_else(|| "<none>".to_owned(), named_kind))
        }
        ("scheduling.k8s.io/priorityclasses", "Value") => json!(number(object, "/value")),
        ("scheduling.k8s.io/priorityclasses", "Global-Default") => json!(object["globalDefault"] == true),
        ("scheduling.k8s.io/priorityclasses", "PreemptionPolicy") => json!(text(object, "/preemptionPolicy")),
        ("coordination.k8s.io/leases", "Holder") => json!(text(object, "/spec/holderIdentity")),
        ("discovery.k8s.io/endpointslices", "AddressType") => json!(text(object, "/addressType")),
        ("discovery.k8s.io/endpointslices", "Ports") => {
            let port = |port: &Value| match (port["port"].as_i64(), port["name"].as_str()) {
                (Some(number), _) => number.to_string(),
                (None, name) => name.unwrap_or("*").to_owned(),
            };
            json!(or(three(list(object, "/ports").map(port).collect()), "<unset>"))
        }
        ("discovery.k8s.io/endpointslices", "Endpoints") => {
            let all = list(object, "/endpoints").flat_map(|endpoint| list(endpoint, "/addresses"));
            json!(or(three(all.filter_map(Value::as_str).map(ToOwned::to_owned).collect()), "<unset>"))
        }
        _ => json!("<none>"),
    }
}

/// `kind.group/name` of a reference to an owner.
fn named_kind(owner: &Value) -> String {
    let kind = text(owner, "/kind").to_lowercase();
    let name = text(owner, "/name");
    match text(owner, "/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

fn or_unset(value: &Value) -> String {
    value.as_str().unwrap_or("<unset>").to_owned()
}

fn or_not_applicable(value: &Value) -> Value {
    if value.is_null() { json!("N/A") } else { json!(value.as_str().map_or_else(|| value.to_string(), Into::into)) }
}

fn endpoints(object: &Value) -> String {
    if list(object, "/subsets").next().is_none() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for subset in list(object, "/subsets") {
        let addresses = || list(subset, "/addresses").map(|address| text(address, "/ip"));
        if list(subset, "/ports").next().is_none() {
            all.extend(addresses());
        }
        for port in list(subset, "/ports").map(|port| number(port, "/port")) {
            all.extend(
                addresses().map(|ip| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }),
            );
        }
    }
    three(all)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::api::registry::Registry;

    #[test]
    fn cells_are_those_that_upstream_prints() {
        let registry = Registry::new();
        let rows = [
            ("v1/events", "Source", json!({ "source": { "component": "a", "host": "b" } }), json!("a, b")),
            ("v1/events", "Count", json!({ "series": { "count": 4 }, "count": 2 }), json!(4)),
            ("v1/events", "Last Seen", json!({}), json!("<unknown>")),
            (
                "v1/endpoints",
                "Endpoints",
                json!({ "subsets": [{ "addresses": [{ "ip": "::1" }], "ports": [{ "port": 1 }] }] }),
                json!("[::1]:1"),
            ),
            (
                "v1/persistentvolumeclaims",
                "Capacity",
                json!({ "kind": "PersistentVolumeClaim", "status": { "capacity": { "storage": "1Gi" } } }),
                json!(""),
            ),
            (
                "v1/persistentvolumes",
                "Access Modes",
                json!({ "spec": { "accessModes": ["ReadWriteMany", "ReadWriteOnce"] } }),
                json!("RWO,RWX"),
            ),
            (
                "v1/resourcequotas",
                "Request",
                json!({ "status": { "hard": { "pods": "2", "limits.cpu": "1" } } }),
                json!("pods: 0/2"),
            ),
            (
                "v1/services",
                "External-IP",
                json!({ "spec": { "type": "LoadBalancer", "externalIPs": ["1.2.3.4"] }, "status": { "loadBalancer": { "ingress": [{ "hostname": "h" }] } } }),
                json!("h,1.2.3.4"),
            ),
            (
                "v1/nodes",
                "Roles",
                json!({ "metadata": { "labels": { "node-role.kubernetes.io/b": "", "kubernetes.io/role": "a" } } }),
                json!("a,b"),
            ),
            ("batch/v1/jobs", "Completions", json!({ "spec": { "parallelism": 3 } }), json!("0/1 of 3")),
            (
                "batch/v1/jobs",
                "Duration",
                json!({ "status": { "startTime": "2001-01-01T00:00:00Z", "completionTime": "2001-01-01T00:01:00Z" } }),
                json!("60s"),
            ),
            ("batch/v1/cronjobs", "Suspend", json!({}), json!("<unset>")),
            (
                "apps/v1/controllerrevisions",
                "Controller",
                json!({ "metadata": { "ownerReferences": [{ "controller": true, "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "a" }] } }),
                json!("statefulset.apps/a"),
            ),
            (
                "storage.k8s.io/v1/storageclasses",
                "Name",
                json!({ "metadata": { "name": "a", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } } }),
                json!("a (default)"),
            ),
            ("discovery.k8s.io/v1/endpointslices", "Ports", json!({ "ports": [{ "name": "a" }, {}] }), json!("a,*")),
        ];
        for (resource, column, object, wanted) in rows {
            let (version, plural) = resource.rsplit_once('/').unwrap();
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let definition = registry.find(group, version, plural).unwrap();
            assert_eq!(cell(&definition, &json!({ "name": column }), &object), wanted, "{resource} {column}");
        }
    }
}
