//! The metrics APIs, which have no stored objects: what pods and nodes use, and what KEDA's metrics adapter hands to HPAs.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    Answer, Server, Status,
    respond::json as answer_json,
    route::{Query, Route},
};
use crate::api::resource::resources::NODES;

const RESOURCE: &str = "metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";

/// The groups.
pub(super) const GROUPS: [&str; 2] = [RESOURCE, EXTERNAL];
/// Their version.
pub(super) const VERSION: &str = "v1beta1";

/// A resource as discovery names it.
pub(super) struct Served {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
    pub(super) verbs: &'static [&'static str],
}

impl Served {
    /// Its entry in aggregated discovery.
    pub(super) fn discovery(&self, group: &str, version: &str) -> Value {
        json!({
            "resource": self.name,
            "responseKind": { "group": group, "version": version, "kind": self.kind },
            "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": "",
            "verbs": self.verbs,
        })
    }
}

/// The resources of a group's version; none of other groups.
pub(super) fn served(group: &str, version: &str) -> &'static [Served] {
    const READ: &[&str] = &["get", "list"];
    match (group, version) {
        (RESOURCE, VERSION) => &[
            Served { name: "nodes", kind: "NodeMetrics", namespaced: false, verbs: READ },
            Served { name: "pods", kind: "PodMetrics", namespaced: true, verbs: READ },
        ],
        (EXTERNAL, VERSION) => {
            &[Served { name: "externalmetrics", kind: "ExternalMetricValueList", namespaced: true, verbs: &["get"] }]
        }
        _ => &[],
    }
}

/// Answers a path of these groups; none for other groups.
pub(super) async fn answer(
    server: &Server,
    route: &Route,
    query: &Query,
    method: &Method,
) -> Option<Result<Answer, Status>> {
    match route.group.as_str() {
        RESOURCE | EXTERNAL if *method != Method::GET => Some(Err(Status::method_not_allowed())),
        RESOURCE => Some(resource(server, route)),
        EXTERNAL => Some(external(server, route, query).await),
        _ => None,
    }
}

/// The resource is the metric's name, the selector says whose it is.
async fn external(server: &Server, route: &Route, query: &Query) -> Result<Answer, Status> {
    let selector = query.get("labelSelector").unwrap_or_default();
    let items = server.backend.external_metric(&route.namespace, &route.resource, selector).await?;
    let list = json!({
        "kind": "ExternalMetricValueList", "apiVersion": format!("{EXTERNAL}/{VERSION}"), "metadata": {}, "items": items,
    });
    Ok(answer_json(StatusCode::OK, &list))
}

/// `metrics.k8s.io`: what pods and nodes use now.
fn resource(server: &Server, route: &Route) -> Result<Answer, Status> {
    let client = server.api.client();
    let (kind, found): (&str, Vec<Value>) = match route.resource.as_str() {
        "pods" => ("PodMetrics", server.backend.pod_metrics(&route.namespace)),
        "nodes" => {
            let nodes = client.list(&NODES, "").0;
            ("NodeMetrics", nodes.iter().filter_map(|node| server.backend.node_metrics(node)).collect())
        }
        _ => return Err(Status::no_such_path()),
    };
    if route.name.is_empty() {
        let list = json!({
            "kind": format!("{kind}List"), "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": found,
        });
        return Ok(answer_json(StatusCode::OK, &list));
    }
    let one = found.into_iter().find(|item| item["metadata"]["name"] == *route.name);
    let text = format!("{}.metrics.k8s.io \"{}\" not found", route.resource, route.name);
    one.map(|item| answer_json(StatusCode::OK, &item)).ok_or_else(|| Status::new(404, "NotFound", text))
}
