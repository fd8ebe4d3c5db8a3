//! metrics-server's part: CPU and memory of every pod and node, modelled.
//!
//! Pods of the demo app account their CPU and memory themselves (`app_cpu_seconds_total`, `app_memory_bytes`): so much
//! per request, as the profile says. CPU is the counter's rate over the resolution window (15 s of profile time, so that
//! at speed 10 it is 1.5 s of real samples, per real second). Every other container is given a share of its requests.
//! As with the real metrics-server, a pod has no metrics before its second scrape.
//! <https://github.com/kubernetes-sigs/metrics-server>

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat, Utc};
use democtl_core::units::{Bytes, Millicores};
use futures::future::join_all;
use promql_parser::label::METRIC_NAME;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    objects::{Kind, Objects, meta},
    prometheus::scrape::{Scraper, target},
};
use crate::clock::Clock;

/// metrics-server's `--metric-resolution`, profile time.
const RESOLUTION: Duration = Duration::from_secs(15);
/// A scrape's limit in real time, unless the resolution is longer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Share of its requests that a container without metrics uses, in percent.
const SHARE: i64 = 20;
/// The share that a pod's containers use, in percent, when it is another.
const SHARE_ANNOTATION: &str = "democtl.dev/usage-percent";

/// What one container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Container's name.
    pub name: String,
    /// CPU over the window.
    pub cpu: Millicores,
    /// Memory now.
    pub memory: Bytes,
}

/// What one pod uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodUsage {
    /// Pod's namespace.
    pub namespace: String,
    /// Pod's name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Its labels, for selectors.
    pub labels: Value,
    /// Its containers.
    pub containers: Vec<ContainerUsage>,
    /// End of the window.
    pub at: DateTime<Utc>,
}

impl PodUsage {
    /// CPU of all containers.
    pub fn cpu(&self) -> Millicores {
        self.containers.iter().map(|container| container.cpu).sum()
    }

    /// Memory of all containers.
    pub fn memory(&self) -> Bytes {
        self.containers.iter().map(|container| container.memory).sum()
    }

    /// As `metrics.k8s.io/v1beta1` `PodMetrics`.
    pub fn render(&self) -> Value {
        let containers: Vec<Value> = self
            .containers
            .iter()
            .map(|container| json!({"name": container.name, "usage": usage(container.cpu, container.memory)}))
            .collect();
        json!({
            "kind": "PodMetrics",
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": self.labels,
                "creationTimestamp": time(self.at)},
            "timestamp": time(self.at),
            "window": "15s",
            "containers": containers,
        })
    }
}

/// The newest metrics; cheap to clone.
#[derive(Clone)]
pub struct ResourceMetrics {
    objects: Arc<dyn Objects>,
    clock: Clock,
    pods: Arc<RwLock<BTreeMap<(String, String), PodUsage>>>,
}

/// A pod's last scrape: when, the CPU counter, the memory.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    cpu_seconds: f64,
    memory: f64,
}

impl ResourceMetrics {
    /// Without metrics; `run` makes it scrape.
    pub fn new(objects: Arc<dyn Objects>, clock: Clock) -> Self {
        Self { objects, clock, pods: Arc::default() }
    }

    /// A pod's usage, once it is known.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<PodUsage> {
        let key = (namespace.to_owned(), name.to_owned());
        self.pods.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// The usage of every pod (of a namespace).
    pub fn pods(&self, namespace: Option<&str>) -> Vec<PodUsage> {
        let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
        pods.values().filter(|pod| namespace.is_none_or(|wanted| pod.namespace == wanted)).cloned().collect()
    }

    /// The usage of a node (the sum of its pods') as `metrics.k8s.io/v1beta1` `NodeMetrics`.
    pub fn render_node(&self, node: &Value) -> Value {
        let name = meta(node, "name");
        let pods: Vec<PodUsage> = self.pods(None).into_iter().filter(|pod| pod.node == name).collect();
        let now = Utc::now();
        json!({
            "kind": "NodeMetrics",
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": name, "labels": node["metadata"]["labels"], "creationTimestamp": time(now)},
            "timestamp": time(now),
            "window": "15s",
            "usage": usage(pods.iter().map(PodUsage::cpu).sum(), pods.iter().map(PodUsage::memory).sum()),
        })
    }

    /// Scrapes every resolution until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let scraper = Scraper::default();
        let mut readings = HashMap::new();
        let mut ticks = self.clock.interval(RESOLUTION);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => self.round(&scraper, &mut readings).await,
            }
        }
    }

    /// One round over all running pods; `readings` are the last round's, by pod uid.
    async fn round(&self, scraper: &Scraper, readings: &mut HashMap<String, Reading>) {
        let pods = match self.objects.list(Kind::Pod, None).await {
            Ok(pods) => pods,
            Err(error) => return tracing::warn!(%error, "no pods for metrics"),
        };
        let timeout = self.clock.real(RESOLUTION).max(TIMEOUT);
        let running: Vec<Arc<Value>> = pods.into_iter().filter(|pod| pod["status"]["phase"] == "Running").collect();
        let read = join_all(running.iter().map(|pod| async move {
            let target = target(pod)?;
            let page = scraper.scrape(&target, timeout).await.ok()?;
            let value = |name: &str| {
                let found = page.iter().filter(|(labels, _)| labels.get(METRIC_NAME).is_some_and(|n| n == name));
                found.map(|(_, value)| *value).reduce(|a, b| a + b)
            };
            let (cpu_seconds, memory) = (value("app_cpu_seconds_total")?, value("app_memory_bytes")?);
            Some(Reading { at: Instant::now(), cpu_seconds, memory })
        }))
        .await;
        let mut before = std::mem::take(readings);
        let mut usages = BTreeMap::new();
        for (pod, reading) in running.iter().zip(read) {
            let uid = meta(pod, "uid").to_owned();
            let last = before.remove(&uid);
            let measured = reading.zip(last).and_then(|(now, last)| rate(last, now));
            readings.extend(reading.map(|reading| (uid, reading)));
            if target(pod).is_some() && measured.is_none() {
                continue;
            }
            let usage = pod_usage(pod, measured);
            usages.insert((usage.namespace.clone(), usage.name.clone()), usage);
        }
        *self.pods.write().unwrap_or_else(PoisonError::into_inner) = usages;
    }
}

/// CPU and memory between two readings; none when the counter went back (a restart).
fn rate(last: Reading, now: Reading) -> Option<(Millicores, Bytes)> {
    let seconds = now.at.duration_since(last.at).as_secs_f64();
    let used = now.cpu_seconds - last.cpu_seconds;
    if used < 0.0 || seconds <= 0.0 {
        return None;
    }
    Some((Millicores((used / seconds * 1000.0).round() as i64), Bytes(now.memory as i64)))
}

/// A pod's usage: what was measured goes to its first container, the others get their share.
fn pod_usage(pod: &Value, measured: Option<(Millicores, Bytes)>) -> PodUsage {
    let share = pod["metadata"]["annotations"][SHARE_ANNOTATION].as_str().and_then(|text| text.parse().ok());
    let share = share.unwrap_or(SHARE);
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten().enumerate();
    let containers = containers.map(|(index, container)| {
        let requests = &container["resources"]["requests"];
        let cpu = requests["cpu"].as_str().and_then(|text| Millicores::parse(text).ok()).unwrap_or_default();
        let memory = requests["memory"].as_str().and_then(|text| Bytes::parse(text).ok()).unwrap_or_default();
        let modelled = (Millicores(cpu.0 * share / 100), Bytes(memory.0 / 100 * share));
        let (cpu, memory) = measured.filter(|_| index == 0).unwrap_or(modelled);
        ContainerUsage { name: container["name"].as_str().unwrap_or("").to_owned(), cpu, memory }
    });
    PodUsage {
        namespace: meta(pod, "namespace").to_owned(),
        name: meta(pod, "name").to_owned(),
        node: pod["spec"]["nodeName"].as_str().unwrap_or("").to_owned(),
        labels: pod["metadata"]["labels"].clone(),
        containers: containers.collect(),
        at: Utc::now(),
    }
}

/// metrics-server writes CPU in nano and memory in Ki.
fn usage(cpu: Millicores, memory: Bytes) -> Value {
    json!({"cpu": format!("{}n", cpu.0 * 1_000_000), "memory": format!("{}Ki", memory.0 / 1024)})
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_the_counters_rate_per_real_second() {
        let at = Instant::now();
        let reading =
            |after: f64, cpu_seconds| Reading { at: at + Duration::from_secs_f64(after), cpu_seconds, memory: 1024.0 };
        assert_eq!(rate(reading(0.0, 1.0), reading(1.5, 1.3)), Some((Millicores(200), Bytes(1024))));
        assert_eq!(rate(reading(0.0, 1.0), reading(1.5, 0.1)), None, "restarted");
    }

    #[test]
    fn what_is_not_measured_is_a_share_of_the_requests() {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "n", "labels": {"app": "x"}, "annotations": {}},
            "spec": {"nodeName": "node-1", "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "500m", "memory": "1000Ki"}}}, {"name": "b"}]}});
        let usage = pod_usage(&pod, None);
        assert_eq!((usage.cpu(), usage.memory()), (Millicores(100), Bytes(204_800)));
        let rendered = usage.render();
        assert_eq!(rendered["containers"][0]["usage"], json!({"cpu": "100000000n", "memory": "200Ki"}));
        pod["metadata"]["annotations"][SHARE_ANNOTATION] = json!("80");
        assert_eq!(pod_usage(&pod, None).cpu(), Millicores(400));
        assert_eq!(pod_usage(&pod, Some((Millicores(7), Bytes(8)))).cpu(), Millicores(7));
    }
}
