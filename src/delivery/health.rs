//! Waiting until what was delivered is healthy: pure conditions, one explicit deadline, and what was missing at its end.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Node, Pod, Service},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};

use super::NAMESPACE;
use crate::{
    demo_app::DemoApp,
    failure::{Failure, Kind, OrFail as _},
};

/// The kind of Argo CD's `Application`.
pub fn application_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application"))
}

/// Waits until every node that exists is Ready, every Application is Synced and Healthy or Progressing only for want of
/// room, and at least one replica of every Deployment answers; yields the web's address.
///
/// A pod that no node can hold is a finding, not a failure: a static profile may ask for more than its nodes hold.
pub async fn wait_until_serving(client: &Client, deadline: Duration) -> Result<String, Failure> {
    let end = Instant::now() + deadline;
    let app = DemoApp::default();
    loop {
        let missing = match missing(client).await {
            Ok(Missing::Nothing { address, web: false }) => return Ok(address),
            Ok(Missing::Nothing { address, web: true }) => match app.status(&address).await {
                // Objects that came back from a killed cluster's journal tell of pods that are gone: only the app's own
                // word counts, and that of the store behind it.
                Ok(_) => return Ok(address),
                Err(error) => format!("the app does not answer: {error}"),
            },
            Ok(Missing::Something(what)) => what,
            Err(error) => format!("the API does not answer: {error}"),
        };
        if Instant::now() > end {
            let mut failure = Failure::msg(Kind::Delivery, format!("not healthy within {deadline:?}: {missing}"));
            for line in warnings(client).await {
                failure = failure.hint(line);
            }
            return Err(failure);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

enum Missing {
    Nothing {
        /// The web's address.
        address: String,
        /// Whether there should be a pod behind it.
        web: bool,
    },
    Something(String),
}

async fn missing(client: &Client) -> kube::Result<Missing> {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?.items;
    if let Some(node) = nodes.iter().find(|node| !node_ready(node)) {
        return Ok(Missing::Something(format!("node {} is not Ready", node.name_any())));
    }
    if nodes.is_empty() {
        return Ok(Missing::Something("there is no node".to_owned()));
    }
    let applications: Api<DynamicObject> = Api::all_with(client.clone(), &application_resource());
    for application in applications.list(&ListParams::default()).await?.items {
        let status = |pointer: &str| application.data.pointer(pointer).and_then(|v| v.as_str()).unwrap_or("Unknown");
        if status("/status/sync/status") != "Synced" {
            let sync = status("/status/sync/status");
            let message = status("/status/operationState/message");
            return Ok(Missing::Something(format!("Application {} is {sync}: {message}", application.name_any())));
        }
    }
    let deployments =
        Api::<Deployment>::namespaced(client.clone(), NAMESPACE).list(&ListParams::default()).await?.items;
    if deployments.is_empty() {
        return Ok(Missing::Something(format!("no Deployment in {NAMESPACE}")));
    }
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE).list(&ListParams::default()).await?.items;
    for deployment in &deployments {
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
        let name = deployment.name_any();
        let unschedulable =
            pods.iter().filter(|pod| pod.name_any().starts_with(&name) && is_unschedulable(pod)).count();
        if ready + (unschedulable as i32) < wanted || (wanted > 0 && ready == 0) {
            return Ok(Missing::Something(format!("{name} has {ready} of {wanted} replicas ready")));
        }
    }
    let web = deployments.iter().any(|deployment| {
        deployment.name_any() == "web" && deployment.spec.as_ref().is_some_and(|s| s.replicas != Some(0))
    });
    match web_address(client).await? {
        Some(address) => Ok(Missing::Nothing { address, web }),
        None => Ok(Missing::Something("Service web has no external address".to_owned())),
    }
}

/// Whether the scheduler found no node for a pod.
pub fn is_unschedulable(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions
        .iter()
        .any(|c| c.type_ == "PodScheduled" && c.status == "False" && c.reason.as_deref() == Some("Unschedulable"))
}

/// Whether a node's Ready condition is True.
pub fn node_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Base address of the Service `web`, `http://HOST:PORT`, once it has one.
pub async fn web_address(client: &Client) -> kube::Result<Option<String>> {
    let Some(service) = Api::<Service>::namespaced(client.clone(), NAMESPACE).get_opt("web").await? else {
        return Ok(None);
    };
    let ingress = service
        .status
        .and_then(|status| status.load_balancer)
        .and_then(|balancer| balancer.ingress)
        .and_then(|ingress| ingress.into_iter().next());
    let Some(ingress) = ingress else { return Ok(None) };
    let host = ingress.ip.or(ingress.hostname);
    let declared = service.spec.and_then(|spec| spec.ports).and_then(|ports| ports.first().map(|port| port.port));
    let port = ingress.ports.and_then(|ports| ports.first().map(|port| port.port)).or(declared);
    Ok(host.zip(port).map(|(host, port)| format!("http://{host}:{port}")))
}

async fn warnings(client: &Client) -> Vec<String> {
    let params = ListParams::default().fields("type=Warning");
    let events = Api::<Event>::namespaced(client.clone(), NAMESPACE).list(&params).await;
    let events = events.or_fail(Kind::Other, String::new).map(|list| list.items).unwrap_or_default();
    let mut lines: Vec<String> = events
        .iter()
        .map(|event| {
            let object = event.involved_object.name.as_deref().unwrap_or_default();
            format!("{object}: {}", event.message.as_deref().unwrap_or_default())
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines.truncate(5);
    lines
}
