//! The kubelet of every virtual node: pods that are bound to a node become containers.
//!
//! Owns pods' addresses, processes, statuses and their final removal. Containers of the demo image and of Redis are real
//! processes, `prom/prometheus` is the embedded one; any other image is a virtual container, as kwok has them, and the
//! pod's status says so. Pods that are deleted end with grace and are removed when nothing of them runs any more.
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>

mod container;
mod launch;
mod pod;
mod state;
mod status;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt;
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    logs::LogStore,
    network::Addresses,
    objects::{Change, Kind, Objects, meta},
};
use crate::clock::Clock;

pub use container::Server;

/// A pod that had ended keeps its logs until it is removed; removal waits for nothing longer than this at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// What every pod of the cluster shares.
#[derive(Clone)]
pub struct Context {
    /// The API.
    pub objects: Arc<dyn Objects>,
    /// Pods' addresses.
    pub addresses: Addresses,
    /// Containers' logs.
    pub logs: LogStore,
    /// The cluster's clock.
    pub clock: Clock,
    /// Executable of the demo app.
    pub app_exe: PathBuf,
    /// Working directory of processes (Redis writes nothing, but wants one).
    pub work_dir: PathBuf,
    /// A real `redis-server`, if the machine has one.
    pub redis_server: Option<PathBuf>,
    /// Makes the embedded Prometheus for an address.
    pub prometheus: Server,
}

/// Runs until `shutdown`; then ends every process with a short grace, leaving the objects as they are, since the pods
/// go on when the cluster starts again.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let mut kubelet = Kubelet { context, pods: HashMap::new(), workers: JoinSet::new(), shutdown: shutdown.clone() };
    let mut changes = kubelet.context.objects.watch(Kind::Pod);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(done) = kubelet.workers.join_next() => {
                if let Ok(uid) = done {
                    kubelet.pods.remove(&uid);
                }
            }
            change = changes.next() => match change {
                Some(Change::Listed(pods)) => kubelet.listed(pods),
                Some(Change::Applied(pod)) => kubelet.applied(pod),
                Some(Change::Deleted(pod)) => kubelet.gone(meta(&pod, "uid")),
                None => break,
            },
        }
    }
    drop(kubelet.pods);
    let ended = async { while kubelet.workers.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE * 2, ended).await.is_err() {
        tracing::warn!("pods that did not end in time are killed");
    }
    // Dropping the workers kills what is left.
    kubelet.workers.abort_all();
    while kubelet.workers.join_next().await.is_some() {}
}

struct Kubelet {
    context: Context,
    /// The workers' inboxes by pod uid.
    pods: HashMap<String, mpsc::UnboundedSender<pod::Update>>,
    workers: JoinSet<String>,
    shutdown: CancellationToken,
}

impl Kubelet {
    fn listed(&mut self, pods: Vec<Value>) {
        let known: Vec<String> = self.pods.keys().cloned().collect();
        for uid in known {
            if !pods.iter().any(|pod| meta(pod, "uid") == uid) {
                self.gone(&uid);
            }
        }
        for pod in pods {
            // Before any worker takes a new address, so that pods of an earlier life keep theirs.
            if let Some(address) = pod["status"]["podIP"].as_str().and_then(|ip| ip.parse().ok())
                && !self.pods.contains_key(meta(&pod, "uid"))
            {
                self.context.addresses.reserve(address);
            }
            self.applied(pod);
        }
    }

    fn applied(&mut self, pod: Value) {
        if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
            return;
        }
        let uid = meta(&pod, "uid").to_owned();
        if let Some(inbox) = self.pods.get(&uid) {
            let _ = inbox.send(pod::Update::Changed(pod));
            return;
        }
        let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if finished && meta(&pod, "deletionTimestamp").is_empty() {
            return;
        }
        let (inbox, updates) = mpsc::unbounded_channel();
        self.pods.insert(uid.clone(), inbox);
        let worker = pod::Worker::new(self.context.clone(), pod, updates, self.shutdown.clone());
        self.workers.spawn(async move {
            worker.run(finished).await;
            uid
        });
    }

    /// The object is gone (a forced deletion): whatever still runs of it is killed.
    fn gone(&mut self, uid: &str) {
        if let Some(inbox) = self.pods.get(uid) {
            let _ = inbox.send(pod::Update::Removed);
        }
    }
}
