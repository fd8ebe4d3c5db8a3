//! Pods and nodes from Kubernetes objects.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{
    Expression, InitContainer, Node, Owner, Pod, Resources, Selector, Taint, Term, Toleration, TopologySpread, Volume,
};
use crate::{autoscale::nodes::ready_by_conditions, units};

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn strings(value: &Value, pointer: &str) -> BTreeMap<String, String> {
    let pairs = value.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

impl Resources {
    /// A Kubernetes resource list; what cannot be read counts as not stated.
    pub fn from_json(list: Option<&Value>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list.and_then(Value::as_object).into_iter().flatten() {
            let quantity = quantity.as_str().map_or_else(|| quantity.to_string(), ToOwned::to_owned);
            let cpu = || units::Millicores::parse(&quantity).ok().map(|cpu| cpu.0);
            let bytes = || units::Bytes::parse(&quantity).ok().map(|bytes| bytes.0);
            match name.as_str() {
                "cpu" => resources.cpu_milli = cpu(),
                "memory" => resources.memory_bytes = bytes(),
                "pods" => resources.pods = bytes(),
                "ephemeral-storage" => resources.ephemeral_storage_bytes = bytes(),
                other => {
                    resources.other.extend(bytes().map(|amount| (other.to_owned(), amount)));
                }
            }
        }
        resources
    }
}

fn expressions(value: &Value, pointer: &str) -> Vec<Expression> {
    items(value, pointer)
        .map(|item| Expression {
            key: text(item, "/key"),
            operator: text(item, "/operator"),
            values: items(item, "/values").filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        })
        .collect()
}

impl Selector {
    /// A `LabelSelector`.
    pub fn from_json(value: &Value) -> Self {
        Self {
            match_labels: strings(value, "/matchLabels"),
            match_expressions: expressions(value, "/matchExpressions"),
        }
    }
}

impl Pod {
    /// A `v1` Pod. `age` turns an RFC 3339 time into seconds before now.
    pub fn from_json(pod: &Value, age: impl Fn(&str) -> Option<f64>) -> Self {
        let request = |container: &Value| Resources::from_json(container.pointer("/resources/requests"));
        let aged = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).and_then(&age);
        let owner = items(pod, "/metadata/ownerReferences").find(|owner| owner["controller"] == true);
        let terms =
            pod.pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            name: text(pod, "/metadata/name"),
            namespace: text(pod, "/metadata/namespace"),
            uid: text(pod, "/metadata/uid"),
            labels: strings(pod, "/metadata/labels"),
            annotations: strings(pod, "/metadata/annotations"),
            owner: owner.map(|owner| Owner {
                kind: text(owner, "/kind"),
                api_version: text(owner, "/apiVersion"),
                name: text(owner, "/name"),
                uid: text(owner, "/uid"),
            }),
            node: some(text(pod, "/spec/nodeName")),
            nominated_node: some(text(pod, "/status/nominatedNodeName")),
            containers: items(pod, "/spec/containers").map(request).collect(),
            init_containers: items(pod, "/spec/initContainers")
                .map(|init| InitContainer {
                    requests: request(init),
                    restart_always: init["restartPolicy"] == "Always",
                })
                .collect(),
            overhead: pod.pointer("/spec/overhead").map(|list| Resources::from_json(Some(list))),
            pod_level_requests: pod.pointer("/spec/resources/requests").map(|list| Resources::from_json(Some(list))),
            tolerations: items(pod, "/spec/tolerations")
                .map(|toleration| Toleration {
                    key: text(toleration, "/key"),
                    operator: text(toleration, "/operator"),
                    value: text(toleration, "/value"),
                    effect: text(toleration, "/effect"),
                })
                .collect(),
            node_selector: strings(pod, "/spec/nodeSelector"),
            node_affinity_required_terms: terms.and_then(Value::as_array).map(|terms| {
                let term = |term: &Value| Term {
                    match_expressions: expressions(term, "/matchExpressions"),
                    match_fields: expressions(term, "/matchFields"),
                };
                terms.iter().map(term).collect()
            }),
            topology_spread: items(pod, "/spec/topologySpreadConstraints").map(spread).collect(),
            host_ports: items(pod, "/spec/containers")
                .flat_map(|container| items(container, "/ports"))
                .filter_map(|port| port["hostPort"].as_i64())
                .filter(|port| *port > 0)
                .collect(),
            priority: pod.pointer("/spec/priority").and_then(Value::as_i64),
            volumes: items(pod, "/spec/volumes").map(volume).collect(),
            restart_policy: some(text(pod, "/spec/restartPolicy")),
            phase: some(text(pod, "/status/phase")),
            grace_period_seconds: pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64),
            deletion_age_seconds: aged("/metadata/deletionTimestamp"),
            age_seconds: aged("/metadata/creationTimestamp"),
        }
    }
}

fn spread(constraint: &Value) -> TopologySpread {
    let policy = |name: &str| constraint.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    TopologySpread {
        max_skew: constraint["maxSkew"].as_i64().unwrap_or(1),
        topology_key: text(constraint, "/topologyKey"),
        when_unsatisfiable: text(constraint, "/whenUnsatisfiable"),
        selector: constraint.get("labelSelector").map(Selector::from_json),
        min_domains: constraint["minDomains"].as_i64(),
        node_affinity_policy: policy("nodeAffinityPolicy"),
        node_taints_policy: policy("nodeTaintsPolicy"),
    }
}

fn volume(volume: &Value) -> Volume {
    let kind = if volume.get("hostPath").is_some() {
        "host_path"
    } else if volume.get("emptyDir").is_some() {
        "empty_dir"
    } else {
        "other"
    };
    Volume { name: text(volume, "/name"), kind: kind.to_owned(), medium: text(volume, "/emptyDir/medium") }
}

impl Node {
    /// A `v1` Node, of unknown age.
    pub fn from_json(node: &Value) -> Self {
        let conditions = items(node, "/status/conditions")
            .filter_map(|condition| Some((condition["type"].as_str()?, condition["status"].as_str()?)));
        Self {
            name: text(node, "/metadata/name"),
            labels: strings(node, "/metadata/labels"),
            annotations: strings(node, "/metadata/annotations"),
            taints: items(node, "/spec/taints")
                .map(|taint| Taint {
                    key: text(taint, "/key"),
                    value: text(taint, "/value"),
                    effect: text(taint, "/effect"),
                })
                .collect(),
            unschedulable: node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)),
            allocatable: Resources::from_json(node.pointer("/status/allocatable")),
            capacity: node.pointer("/status/capacity").map(|list| Resources::from_json(Some(list))),
            ready: ready_by_conditions(conditions),
            age_seconds: None,
        }
    }
}
