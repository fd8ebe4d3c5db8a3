//! What the API asks of pods: their logs and what they use.

use std::sync::Arc;

use futures::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use http::Request;
use hyper::body::Incoming;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::forward;
use crate::{
    api::{
        Client, Status,
        http::{self as api_http, Answer},
        resources::PODS,
    },
    controllers::Adapter,
    runtime::{
        logs::{LogError, LogKey, LogOptions, LogStore, LogStream},
        metrics::{PodUsage, ResourceMetrics},
        objects::meta,
    },
};

pub(super) struct Backend {
    pub(super) client: Client,
    pub(super) logs: LogStore,
    pub(super) metrics: ResourceMetrics,
    pub(super) adapter: Adapter,
    /// Ends what goes on beyond a request.
    pub(super) shutdown: CancellationToken,
}

/// The annotation that names the container whose logs are meant when none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

fn container(pod: &Value, wanted: Option<&str>) -> Result<String, Status> {
    let list = |key: &str| pod["spec"][key].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str());
    let name = meta(pod, "name");
    let wanted = wanted.or_else(|| pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str());
    if let Some(wanted) = wanted {
        return match list("containers").chain(list("initContainers")).find(|known| *known == wanted) {
            Some(known) => Ok(known.to_owned()),
            None => Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}"))),
        };
    }
    let names: Vec<&str> = list("containers").collect();
    match names.as_slice() {
        [only] => Ok((*only).to_owned()),
        several => {
            let text =
                format!("a container name must be specified for pod {name}, choose one of: [{}]", several.join(" "));
            Err(Status::bad_request(text))
        }
    }
}

fn is_running(pod: &Value, container: &str) -> bool {
    let statuses = ["containerStatuses", "initContainerStatuses"];
    let mut all = statuses.iter().filter_map(|key| pod["status"][*key].as_array()).flatten();
    all.any(|status| status["name"] == container && status["state"]["running"].is_object())
}

/// Where the ports of a running pod are.
fn ports_of(pod: &Value) -> Result<forward::Pod, Status> {
    let name = meta(pod, "name");
    if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let phase = pod["status"]["phase"].as_str().unwrap_or("Unknown");
    let address = pod["status"]["podIP"].as_str().and_then(|address| address.parse().ok());
    let Some(address) = address.filter(|_| phase == "Running") else {
        let text = format!("unable to forward port because pod is not running. Current status={phase}");
        return Err(Status::bad_request(text));
    };
    Ok(forward::Pod { uid: meta(pod, "uid").to_owned(), address })
}

impl api_http::Backend for Backend {
    fn log(&self, pod: &Value, wanted: Option<&str>, options: LogOptions) -> Result<LogStream, Status> {
        let container = container(pod, wanted)?;
        let (namespace, name, uid) =
            (meta(pod, "namespace").to_owned(), meta(pod, "name").to_owned(), meta(pod, "uid").to_owned());
        let key =
            LogKey { namespace: namespace.clone(), pod: name.clone(), uid: uid.clone(), container: container.clone() };
        let client = self.client.clone();
        let ended = move || match client.get(&PODS, &namespace, &name) {
            Ok(pod) => meta(&pod, "uid") != uid || !is_running(&pod, &container),
            Err(_) => true,
        };
        self.logs.read(&key, options, ended).map_err(|error| match error {
            LogError::NotStarted { .. } | LogError::NoPrevious { .. } => Status::bad_request(error.to_string()),
            LogError::Io { .. } => Status::plain(error.to_string()),
        })
    }

    fn port_forward(&self, pod: Arc<Value>, request: Request<Incoming>) -> BoxFuture<'_, Result<Answer, Status>> {
        let answer = ports_of(&pod).and_then(|ports| forward::answer(ports, request, self.shutdown.clone()));
        ready(answer).boxed()
    }

    fn pod_metrics(&self, namespace: &str) -> Vec<Value> {
        let namespace = (!namespace.is_empty()).then_some(namespace);
        self.metrics.pods(namespace).iter().map(PodUsage::render).collect()
    }

    fn node_metrics(&self, node: &Value) -> Option<Value> {
        Some(self.metrics.render_node(node))
    }

    fn external_metric<'a>(
        &'a self,
        namespace: &'a str,
        metric: &'a str,
        selector: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Value>, Status>> {
        self.adapter.answer(namespace, metric, selector).boxed()
    }
}
