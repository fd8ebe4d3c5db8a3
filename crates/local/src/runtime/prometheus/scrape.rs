//! Finding the pods that have metrics and fetching their pages.
//!
//! Discovery is that of the usual `kubernetes-pods` job: annotations `prometheus.io/scrape`, `port`, `path`.
//! <https://github.com/prometheus/prometheus/blob/main/documentation/examples/prometheus-kubernetes.yml>

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use democtl_core::promql::series::Labels;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use super::exposition::{self, ExpositionError};
use crate::runtime::objects::{Kind, Objects, ObjectsError, meta};

/// A page may not be larger.
const LARGEST_PAGE: usize = 4 * 1024 * 1024;

/// One pod's metrics page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub url: String,
    /// Labels of everything scraped from it: `job`, `instance`, `pod`, `namespace`, `node`, `app`.
    pub labels: Labels,
}

/// Why a scrape failed.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// No answer in time.
    #[error("context deadline exceeded")]
    Timeout,
    /// No connection, or it broke.
    #[error("Get {url:?}: {problem}")]
    Http {
        /// The target.
        url: String,
        /// What happened.
        problem: String,
    },
    /// Another status than 200.
    #[error("server returned HTTP status {0}")]
    Status(http::StatusCode),
    /// The page is no exposition.
    #[error(transparent)]
    Page(#[from] ExpositionError),
}

/// Fetches pages over kept connections.
#[derive(Debug, Clone)]
pub struct Scraper {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Default for Scraper {
    fn default() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build_http() }
    }
}

impl Scraper {
    /// All samples of a target's page, with the page's own labels only.
    pub async fn scrape(&self, target: &Target, timeout: Duration) -> Result<Vec<(Labels, f64)>, ScrapeError> {
        tokio::time::timeout(timeout, self.fetch(target)).await.unwrap_or(Err(ScrapeError::Timeout))
    }

    async fn fetch(&self, target: &Target) -> Result<Vec<(Labels, f64)>, ScrapeError> {
        let failed = |problem: String| ScrapeError::Http { url: target.url.clone(), problem };
        let request = http::Request::get(&target.url)
            .header(http::header::ACCEPT, "text/plain;version=0.0.4")
            .header(http::header::USER_AGENT, "Prometheus/3 (democtl)")
            .body(Empty::new())
            .map_err(|error| failed(error.to_string()))?;
        let response = self.client.request(request).await.map_err(|error| failed(chain(&error)))?;
        if response.status() != http::StatusCode::OK {
            return Err(ScrapeError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), LARGEST_PAGE).collect().await;
        let page = body.map_err(|error| failed(error.to_string()))?.to_bytes();
        Ok(exposition::parse(&String::from_utf8_lossy(&page))?)
    }
}

/// The running pods that ask to be scraped.
pub async fn targets(objects: &dyn Objects) -> Result<Vec<Target>, ObjectsError> {
    Ok(objects.list(Kind::Pod, None).await?.iter().filter_map(|pod| target(pod)).collect())
}

/// The target that a pod is, if it asks to be one and runs.
pub fn target(pod: &Value) -> Option<Target> {
    let annotation = |name: &str| pod["metadata"]["annotations"][format!("prometheus.io/{name}")].as_str();
    if annotation("scrape") != Some("true") || pod["status"]["phase"] != "Running" {
        return None;
    }
    let ip: Ipv4Addr = pod["status"]["podIP"].as_str()?.parse().ok()?;
    let declared = pod["spec"]["containers"][0]["ports"][0]["containerPort"].as_u64();
    let port = annotation("port").and_then(|port| port.parse().ok()).or(declared)?;
    let path = annotation("path").unwrap_or("/metrics");
    let labels = &pod["metadata"]["labels"];
    let app = labels["app"].as_str().or_else(|| labels["app.kubernetes.io/name"].as_str());
    let mut target = Labels::from(
        [
            ("job", "kubernetes-pods"),
            ("instance", &format!("{ip}:{port}")),
            ("pod", meta(pod, "name")),
            ("namespace", meta(pod, "namespace")),
            ("node", pod["spec"]["nodeName"].as_str().unwrap_or("")),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    target.extend(app.map(|app| ("app".to_owned(), app.to_owned())));
    Some(Target { url: format!("http://{ip}:{port}/{}", path.trim_start_matches('/')), labels: target })
}

/// A sample's labels as stored: the target's win, the page's own of the same name become `exported_<name>`.
pub fn stored(target: &Labels, page: Labels) -> Labels {
    let mut labels = target.clone();
    for (name, value) in page {
        let name = if target.contains_key(&name) { format!("exported_{name}") } else { name };
        labels.insert(name, value);
    }
    labels
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_asks_by_annotation() {
        let mut pod = json!({"metadata": {"name": "web-0", "namespace": "demo", "labels": {"app": "web"},
                "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}},
            "spec": {"nodeName": "n1"}, "status": {"phase": "Running", "podIP": "127.9.0.16"}});
        let found = target(&pod).expect("a target");
        assert_eq!(found.url, "http://127.9.0.16:8080/metrics");
        assert_eq!(found.labels["app"], "web");
        assert_eq!(found.labels["instance"], "127.9.0.16:8080");
        let page = Labels::from([("app".into(), "x".into()), ("code".into(), "200".into())]);
        let labels = stored(&found.labels, page);
        assert_eq!((labels["app"].as_str(), labels["exported_app"].as_str()), ("web", "x"));
        pod["status"]["phase"] = json!("Pending");
        assert_eq!(target(&pod), None);
    }
}
