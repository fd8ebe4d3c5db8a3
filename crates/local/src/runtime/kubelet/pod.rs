//! One pod's worker: starts its containers, writes its status, ends it with grace, removes it when all has ended.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use futures::FutureExt;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    Context, SHUTDOWN_GRACE,
    container::{Container, Renew, Report, RestartPolicy, Workload, supervise},
    launch::{self, Image, LaunchError},
    state::Snapshot,
    status::Observed,
};
use crate::runtime::{
    logs::LogKey,
    objects::{Kind, Note, ObjectsError, meta},
    probe::Probe,
};

/// Pause before a container whose environment cannot be resolved, or an API call that failed, is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Profile time in seconds that starting a container takes (stands for pulling the image).
const START_DELAY: &str = "democtl.dev/start-delay-seconds";

/// What the kubelet tells a worker.
pub(super) enum Update {
    /// The pod as it is now.
    Changed(Value),
    /// The pod is gone from the API.
    Removed,
}

/// See the module.
pub(super) struct Worker {
    context: Context,
    pod: Value,
    updates: mpsc::UnboundedReceiver<Update>,
    shutdown: CancellationToken,
    pod_ip: Ipv4Addr,
    host_ip: String,
    init: Vec<Snapshot>,
    containers: Vec<Snapshot>,
    stop: watch::Sender<Option<Duration>>,
    /// The object is gone.
    removed: bool,
    /// The status last written.
    written: Value,
}

enum Wake {
    Update(Option<Update>),
    Report(Report),
    Ended,
    Shutdown,
}

impl Worker {
    pub(super) fn new(
        context: Context,
        pod: Value,
        updates: mpsc::UnboundedReceiver<Update>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            context,
            pod,
            updates,
            shutdown,
            pod_ip: Ipv4Addr::UNSPECIFIED,
            host_ip: String::new(),
            init: Vec::new(),
            containers: Vec::new(),
            stop: watch::channel(None).0,
            removed: false,
            written: Value::Null,
        }
    }

    /// Runs the pod to its end; a `finished` one is only removed.
    pub(super) async fn run(mut self, finished: bool) {
        if finished {
            return self.remove().await;
        }
        let old_ip = self.pod["status"]["podIP"].as_str().and_then(|ip| ip.parse().ok());
        let Some(pod_ip) = old_ip.or_else(|| self.context.addresses.take()) else {
            return self.note(None, true, "FailedCreatePodSandBox", "no free pod address".to_owned()).await;
        };
        self.pod_ip = pod_ip;
        self.host_ip = self.node_address().await;
        self.init = self.recovered("initContainers");
        self.containers = self.recovered("containers");
        self.live().await;
        self.context.addresses.release(pod_ip);
    }

    async fn live(&mut self) {
        self.take_deletion();
        self.write_status().await;
        self.start_delay().await;
        let init_done = self.run_list("initContainers").await;
        if init_done {
            self.run_list("containers").await;
        }
        if self.shutdown.is_cancelled() {
            return;
        }
        // All containers have ended: a completed pod stays until it is deleted.
        self.write_status().await;
        while self.stop.borrow().is_none() && !self.removed {
            let shutdown = self.shutdown.clone();
            tokio::select! {
                update = self.updates.recv() => self.updated(update),
                () = shutdown.cancelled() => return,
            }
        }
        if self.removed { self.remove_logs() } else { self.remove().await }
    }

    /// Runs the containers of a list to their end: init containers one after the other, the others side by side. True
    /// when what follows may start.
    async fn run_list(&mut self, list: &str) -> bool {
        let specs: Vec<Value> = self.pod["spec"][list].as_array().cloned().unwrap_or_default();
        let init = list == "initContainers";
        if init {
            for (index, spec) in specs.iter().enumerate() {
                self.run_group(&[(index, spec)], true).await;
                if !self.init[index].is_done() || self.stop.borrow().is_some() {
                    return false;
                }
            }
            return true;
        }
        let group: Vec<(usize, &Value)> = specs.iter().enumerate().collect();
        self.run_group(&group, false).await;
        true
    }

    async fn run_group(&mut self, group: &[(usize, &Value)], init: bool) {
        let (sender, mut reports) = mpsc::unbounded_channel();
        let mut running = JoinSet::new();
        for (index, spec) in group {
            let Some(workload) = self.prepare(*index, spec, init).await else { continue };
            let container = self.container(*index, spec, workload, init);
            let snapshot = if init { &self.init } else { &self.containers }[*index].clone();
            running.spawn(supervise(container, snapshot, sender.clone(), self.stop.subscribe()));
        }
        drop(sender);
        loop {
            let shutdown = self.shutdown.clone();
            let stopping = shutdown.is_cancelled();
            let wake = tokio::select! {
                biased;
                Some(report) = reports.recv() => Wake::Report(report),
                update = self.updates.recv(), if !self.removed && !stopping => Wake::Update(update),
                () = shutdown.cancelled(), if !stopping => Wake::Shutdown,
                ended = running.join_next() => match ended {
                    Some(_) => continue,
                    None => Wake::Ended,
                },
            };
            match wake {
                Wake::Report(report) => {
                    self.reported(report, group, init).await;
                    // What came meanwhile is written together.
                    while let Ok(report) = reports.try_recv() {
                        self.reported(report, group, init).await;
                    }
                    if !stopping {
                        self.write_status().await;
                    }
                }
                Wake::Update(update) => self.updated(update),
                Wake::Shutdown => drop(self.stop.send_replace(Some(SHUTDOWN_GRACE))),
                Wake::Ended => return,
            }
        }
    }

    async fn reported(&mut self, report: Report, group: &[(usize, &Value)], init: bool) {
        match report {
            Report::State(index, snapshot) => {
                let list = if init { &mut self.init } else { &mut self.containers };
                list[index] = snapshot;
            }
            Report::Event { index, warning, reason, message } => {
                let spec = group.iter().find(|(at, _)| *at == index).map(|(_, spec)| *spec);
                let list = if init { "initContainers" } else { "containers" };
                let name = spec.and_then(|spec| spec["name"].as_str()).unwrap_or("");
                let path = format!("spec.{list}{{{name}}}");
                self.note(Some(path), warning, reason, message).await;
            }
        }
    }

    /// Resolves the container's environment, again and again while something it refers to is missing.
    async fn prepare(&mut self, index: usize, spec: &Value, init: bool) -> Option<Workload> {
        loop {
            if self.stop.borrow().is_some() || self.removed || self.shutdown.is_cancelled() {
                return None;
            }
            match launch::prepare(&self.context, &self.pod, spec, self.pod_ip, &self.host_ip).await {
                Ok(Workload::Virtual { ends_after: None, code }) if init => {
                    return Some(Workload::Virtual { ends_after: Some(Duration::ZERO), code });
                }
                Ok(workload) => return Some(workload),
                Err(error) => {
                    let list = if init { &mut self.init } else { &mut self.containers };
                    list[index] = Snapshot::waiting("CreateContainerConfigError", error.to_string());
                    self.write_status().await;
                    if matches!(error, LaunchError::Env(_)) {
                        self.note(None, true, "Failed", format!("Error: {error}")).await;
                    }
                    let shutdown = self.shutdown.clone();
                    tokio::select! {
                        update = self.updates.recv() => self.updated(update),
                        () = tokio::time::sleep(RETRY) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
    }

    fn container(&self, index: usize, spec: &Value, workload: Workload, init: bool) -> Container {
        let probed = |kind: &str| match workload {
            Workload::Virtual { .. } => None,
            Workload::Process(_) | Workload::Embedded(_) => Probe::of(spec, kind),
        };
        let policy = match self.pod["spec"]["restartPolicy"].as_str() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ if init => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        };
        Container {
            index,
            key: LogKey {
                namespace: meta(&self.pod, "namespace").to_owned(),
                pod: meta(&self.pod, "name").to_owned(),
                uid: meta(&self.pod, "uid").to_owned(),
                container: spec["name"].as_str().unwrap_or("").to_owned(),
            },
            image: spec["image"].as_str().unwrap_or("").to_owned(),
            policy,
            pod_ip: self.pod_ip,
            startup: probed("startupProbe"),
            liveness: probed("livenessProbe"),
            readiness: probed("readinessProbe"),
            pre_stop: pre_stop(spec),
            grace: self.grace(),
            clock: self.context.clock,
            logs: self.context.logs.clone(),
            workload,
            renew: self.renew(spec),
        }
    }

    /// Resolves the container once more, for a restart.
    fn renew(&self, spec: &Value) -> Renew {
        let (context, pod, spec) = (self.context.clone(), self.pod.clone(), spec.clone());
        let (pod_ip, host_ip) = (self.pod_ip, self.host_ip.clone());
        Arc::new(move || {
            let (context, pod, spec, host_ip) = (context.clone(), pod.clone(), spec.clone(), host_ip.clone());
            async move { launch::prepare(&context, &pod, &spec, pod_ip, &host_ip).await.ok() }.boxed()
        })
    }

    fn updated(&mut self, update: Option<Update>) {
        match update {
            Some(Update::Changed(pod)) => self.pod = pod,
            Some(Update::Removed) | None => {
                self.removed = true;
                self.stop.send_replace(Some(Duration::ZERO));
            }
        }
        self.take_deletion();
    }

    /// A deletion timestamp stops the containers with the deletion's own grace period.
    fn take_deletion(&mut self) {
        if meta(&self.pod, "deletionTimestamp").is_empty() {
            return;
        }
        let grace = self.pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
        let grace = grace.map_or_else(|| self.grace(), Duration::from_secs);
        self.stop.send_if_modified(|stop| {
            let shorter = stop.is_none_or(|before| grace < before);
            if shorter {
                *stop = Some(grace);
            }
            shorter
        });
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30))
    }

    async fn start_delay(&mut self) {
        let delay = self.pod["metadata"]["annotations"][START_DELAY].as_str().and_then(|text| text.parse().ok());
        let Some(delay) = delay.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) else { return };
        let until = tokio::time::Instant::now() + self.context.clock.real(delay);
        while self.stop.borrow().is_none() && !self.removed {
            let shutdown = self.shutdown.clone();
            tokio::select! {
                update = self.updates.recv() => self.updated(update),
                () = tokio::time::sleep_until(until) => return,
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn recovered(&self, list: &str) -> Vec<Snapshot> {
        let statuses = match list {
            "initContainers" => &self.pod["status"]["initContainerStatuses"],
            _ => &self.pod["status"]["containerStatuses"],
        };
        let specs = self.pod["spec"][list].as_array().into_iter().flatten();
        let status = |name: &Value| statuses.as_array().into_iter().flatten().find(|status| status["name"] == *name);
        specs.map(|spec| Snapshot::recovered(status(&spec["name"]).unwrap_or(&Value::Null))).collect()
    }

    /// Writes the status when it differs from the one written last; a pod that is gone is noticed here too.
    async fn write_status(&mut self) {
        if self.removed {
            return;
        }
        let containers = self.pod["spec"]["containers"].as_array().into_iter().flatten();
        let virtuals: Vec<&str> = containers
            .filter(|spec| Image::of(spec["image"].as_str().unwrap_or("")) == Image::Virtual)
            .filter_map(|spec| spec["name"].as_str())
            .collect();
        let message = format!("virtual containers (nothing runs): {}", virtuals.join(", "));
        let status = Observed {
            pod: &self.pod,
            pod_ip: self.pod_ip,
            host_ip: &self.host_ip,
            init: &self.init,
            containers: &self.containers,
            message: (!virtuals.is_empty()).then_some(message.as_str()),
        }
        .render();
        if status == self.written {
            return;
        }
        let patch = json!({"status": status});
        match self.context.objects.patch(Kind::Pod, &self.pod, patch, true).await {
            Ok(pod) => {
                self.written = status;
                self.pod["status"] = pod["status"].clone();
            }
            Err(ObjectsError::NotFound) => self.updated(Some(Update::Removed)),
            Err(error) => tracing::warn!(%error, pod = meta(&self.pod, "name"), "pod status not written"),
        }
    }

    async fn node_address(&self) -> String {
        let name = self.pod["spec"]["nodeName"].as_str().unwrap_or("");
        let node = self.context.objects.get(Kind::Node, "", name).await.unwrap_or_default();
        let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
        let internal = addresses.clone().find(|address| address["type"] == "InternalIP");
        internal.and_then(|address| address["address"].as_str()).unwrap_or("127.0.0.1").to_owned()
    }

    /// The last step of a deletion, once nothing of the pod runs.
    async fn remove(&mut self) {
        while !self.shutdown.is_cancelled() {
            match self.context.objects.remove(Kind::Pod, &self.pod).await {
                Ok(()) | Err(ObjectsError::NotFound) => break,
                Err(error) => tracing::warn!(%error, pod = meta(&self.pod, "name"), "pod not removed"),
            }
            tokio::time::sleep(RETRY).await;
        }
        self.remove_logs();
    }

    fn remove_logs(&self) {
        let (namespace, name, uid) = (meta(&self.pod, "namespace"), meta(&self.pod, "name"), meta(&self.pod, "uid"));
        if let Err(error) = self.context.logs.remove_pod(namespace, name, uid) {
            tracing::warn!(%error, pod = name, "pod's logs not removed");
        }
    }

    async fn note(&self, field: Option<String>, warning: bool, reason: &'static str, message: String) {
        let mut about = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": self.pod["metadata"]["namespace"],
            "name": self.pod["metadata"]["name"],
            "uid": self.pod["metadata"]["uid"],
        });
        if let Some(field) = field {
            about["fieldPath"] = json!(field);
        }
        self.context.objects.note(Note { about, warning, reason, message, component: "kubelet" }).await;
    }
}

/// The wait that a `preStop` hook means: `sleep`, or an exec of `sleep N`; other hooks are not run.
fn pre_stop(spec: &Value) -> Duration {
    let hook = &spec["lifecycle"]["preStop"];
    let command = hook["exec"]["command"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut words = command.flat_map(str::split_whitespace).skip_while(|word| !word.ends_with("sleep"));
    let exec = words.nth(1).and_then(|word| word.parse().ok());
    Duration::from_secs(hook["sleep"]["seconds"].as_u64().or(exec).unwrap_or(0))
}
