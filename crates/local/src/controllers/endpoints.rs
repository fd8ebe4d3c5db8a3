//! Endpoints and `EndpointSlices` of Services. Upstream: `pkg/controller/endpoint`, `pkg/controller/endpointslice`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Context,
    object::{condition_is_true, find, is_deleting, items, name, namespace, owner_reference, text},
    work::{self, Key, Source},
};
use crate::api::{
    Client, LabelSelector, Status,
    resources::{ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES},
};

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    let lister = client.clone();
    let selecting = move |pod: &Value| {
        let services = lister.list(&SERVICES, namespace(pod)).0;
        services
            .iter()
            .filter(|service| selector(service).is_some_and(|s| s.matches(pod)))
            .map(|s| work::key(s))
            .collect()
    };
    let sources = vec![Source::itself(SERVICES), Source { resource: PODS, keys: Box::new(selecting) }];
    let reconciler = client.clone();
    work::run(client, sources, move |key| reconcile(&reconciler, key).map(|()| None)).await;
}

fn selector(service: &Value) -> Option<LabelSelector> {
    let labels = service["spec"]["selector"].as_object().filter(|labels| !labels.is_empty())?;
    Some(LabelSelector::from_value(&json!({ "matchLabels": labels })))
}

fn reconcile(client: &Client, (space, wanted): &Key) -> Result<(), Status> {
    let Some(service) = find(client, &SERVICES, space, wanted)? else { return Ok(()) };
    let Some(selector) = selector(&service) else { return Ok(()) };
    let mut pods: Vec<Arc<Value>> = client.list_selected(&PODS, space, &selector).0;
    pods.retain(|pod| {
        !text(pod, "/status/podIP").is_empty() && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
    });
    pods.sort_by(|a, b| name(a).cmp(name(b)));
    let ports: Vec<Value> = items(&service, "/spec/ports").map(|port| target(port, &pods)).collect();
    let endpoints: Vec<Value> = pods.iter().map(|pod| endpoint(pod)).collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{wanted}-local"),
            "namespace": space,
            "labels": {
                "kubernetes.io/service-name": wanted,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": owner_reference(&SERVICES, &service),
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    });
    put(client, &ENDPOINTSLICES, space, slice)?;
    let side = |ready: bool| -> Vec<Value> {
        let on_side = pods.iter().filter(|pod| (condition_is_true(pod, "Ready") && !is_deleting(pod)) == ready);
        on_side.map(|pod| json!({ "ip": text(pod, "/status/podIP"), "nodeName": pod["spec"]["nodeName"], "targetRef": reference(pod) })).collect()
    };
    let (ready, not_ready) = (side(true), side(false));
    let mut subset = json!({ "ports": ports });
    for (key, addresses) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
        if !addresses.is_empty() {
            subset[key] = json!(addresses);
        }
    }
    let subsets = if pods.is_empty() { json!([]) } else { json!([subset]) };
    let metadata =
        json!({ "name": wanted, "namespace": space, "ownerReferences": owner_reference(&SERVICES, &service) });
    put(
        client,
        &ENDPOINTS,
        space,
        json!({ "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets }),
    )
}

fn reference(pod: &Value) -> Value {
    json!({ "kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": pod["metadata"]["uid"] })
}

fn endpoint(pod: &Value) -> Value {
    let (ready, terminating) = (condition_is_true(pod, "Ready"), is_deleting(pod));
    json!({
        "addresses": [text(pod, "/status/podIP")],
        "conditions": { "ready": ready && !terminating, "serving": ready, "terminating": terminating },
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": reference(pod),
    })
}

/// The port of the pods that a Service's port leads to: a number, or the name of a container's port.
fn target(port: &Value, pods: &[Arc<Value>]) -> Value {
    let number = match &port["targetPort"] {
        Value::Number(number) => number.as_i64(),
        Value::String(wanted) => pods
            .iter()
            .flat_map(|pod| items(pod, "/spec/containers"))
            .flat_map(|container| items(container, "/ports"))
            .find(|port| port["name"] == **wanted)
            .and_then(|port| port["containerPort"].as_i64()),
        _ => port["port"].as_i64(),
    };
    let mut target = json!({ "port": number, "protocol": port["protocol"].as_str().unwrap_or("TCP") });
    target["name"] = json!(port["name"].as_str().unwrap_or_default());
    target
}

/// Creates or replaces, when it differs.
fn put(client: &Client, resource: &crate::api::Resource, space: &str, wanted: Value) -> Result<(), Status> {
    let Some(existing) = find(client, resource, space, name(&wanted))? else {
        return client.create(resource, space, wanted).map(drop);
    };
    let body = |object: &Value| ["endpoints", "ports", "subsets"].map(|key| object[key].clone());
    if body(&existing) == body(&wanted) {
        return Ok(());
    }
    let mut next = (*existing).clone();
    for key in ["endpoints", "ports", "subsets"] {
        if let Some(value) = wanted.get(key) {
            next[key] = value.clone();
        }
    }
    client.update(resource, space, name(&wanted), &next).map(drop)
}
