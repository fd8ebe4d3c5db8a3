//! One container over all its lives: start, probes, end, back-off, restart, stop with grace.
//!
//! Knows nothing of the API: what happens is reported over a channel, and the pod's worker writes it down.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::ExitStatusExt,
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use futures::future::BoxFuture;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::state::{Backoff, Ended, Snapshot, State};
use crate::{
    clock::Clock,
    runtime::{
        logs::{LogKey, LogStore},
        probe::{Counter, Probe},
        process::{Invocation, Process},
    },
};

/// Probes are not run more often than this, whatever the speed.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);
/// The grace period is real time (requests in flight keep their own time), but not longer than this.
const LONGEST_GRACE: Duration = Duration::from_secs(30);

/// Makes a server on an address that runs inside this process until it is dropped.
pub type Server = Arc<dyn Fn(SocketAddr, Duration) -> BoxFuture<'static, std::io::Result<()>> + Send + Sync>;

/// Makes the workload anew; none when that fails, and the one before is used.
pub(crate) type Renew = Arc<dyn Fn() -> BoxFuture<'static, Option<Workload>> + Send + Sync>;

/// What a container's life consists of.
#[derive(Clone)]
pub(crate) enum Workload {
    /// A process of this machine.
    Process(Invocation),
    /// A server inside this process; it runs until dropped.
    Embedded(Arc<dyn Fn() -> BoxFuture<'static, std::io::Result<()>> + Send + Sync>),
    /// Nothing runs: Running and Ready for the given profile time (none: for ever), then ends with the code.
    Virtual {
        /// Profile time until it ends.
        ends_after: Option<Duration>,
        /// Exit code.
        code: i32,
    },
}

/// `restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// A container that is ready to be started.
pub(crate) struct Container {
    /// Position among the pod's containers, told in reports.
    pub(crate) index: usize,
    pub(crate) key: LogKey,
    pub(crate) image: String,
    pub(crate) workload: Workload,
    /// Resolves the workload again for a restart: what its environment refers to may have changed.
    pub(crate) renew: Renew,
    pub(crate) policy: RestartPolicy,
    pub(crate) pod_ip: Ipv4Addr,
    pub(crate) startup: Option<Probe>,
    pub(crate) liveness: Option<Probe>,
    pub(crate) readiness: Option<Probe>,
    /// Profile time that the container's `preStop` hook waits.
    pub(crate) pre_stop: Duration,
    /// Grace that a restart after a failed liveness probe gives.
    pub(crate) grace: Duration,
    pub(crate) clock: Clock,
    pub(crate) logs: LogStore,
}

/// What the pod's worker is told.
#[derive(Debug)]
pub(crate) enum Report {
    /// The container's part of the status changed.
    State(usize, Snapshot),
    /// Something that upstream records as an Event on the container.
    Event { index: usize, warning: bool, reason: &'static str, message: String },
}

/// How the container is told to stop: the grace period once the pod is to end. It may be shortened later.
pub(crate) type Stop = watch::Receiver<Option<Duration>>;

enum Instance {
    Process(Box<Process>),
    Embedded(tokio::task::JoinHandle<std::io::Result<()>>),
    Virtual { ends: Option<tokio::time::Instant>, code: i32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

struct Attempt {
    kind: ProbeKind,
    failure: Option<String>,
    /// The probe's result, once a threshold was reached.
    result: Option<bool>,
}

/// Runs the container from `snapshot` until it has ended for good or was stopped.
pub(crate) async fn supervise(
    container: Container,
    snapshot: Snapshot,
    reports: mpsc::UnboundedSender<Report>,
    stop: Stop,
) {
    let backoff = Backoff::default();
    Supervisor { container, snapshot, reports, stop, backoff }.run().await;
}

struct Supervisor {
    container: Container,
    snapshot: Snapshot,
    reports: mpsc::UnboundedSender<Report>,
    stop: Stop,
    backoff: Backoff,
}

impl Supervisor {
    async fn run(mut self) {
        loop {
            if self.stop.borrow().is_some() {
                return self.report();
            }
            let started = Utc::now();
            let began = self.container.clock.now();
            let (code, signal, reason) = match self.start() {
                Ok(instance) => self.live(instance).await,
                Err(error) => {
                    self.event(true, "Failed", format!("Error: failed to create containerd task: {error}"));
                    (128, None, "StartError")
                }
            };
            let ended = Ended { code, signal, reason, started, finished: Utc::now() };
            self.snapshot.ready = false;
            self.snapshot.started = false;
            let again = match self.container.policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => code != 0,
                RestartPolicy::Never => false,
            };
            if !again || self.stop.borrow().is_some() {
                self.snapshot.state = State::Terminated(ended);
                return self.report();
            }
            let pause = self.backoff.after(self.container.clock.now().saturating_sub(began));
            self.back_off(ended, pause).await;
            if let Some(workload) = (self.container.renew)().await {
                self.container.workload = workload;
            }
        }
    }

    async fn back_off(&mut self, ended: Ended, pause: Duration) {
        self.snapshot.last = Some(ended);
        self.snapshot.restarts += 1;
        if pause.is_zero() {
            return;
        }
        let LogKey { namespace, pod, uid, container } = &self.container.key;
        let message =
            format!("back-off {} restarting failed container={container} pod={pod}_{namespace}({uid})", go(pause));
        let event = format!("Back-off restarting failed container {container} in pod {pod}_{namespace}({uid})");
        self.snapshot.state = State::Waiting { reason: "CrashLoopBackOff", message };
        self.report();
        self.event(true, "BackOff", event);
        let clock = self.container.clock;
        tokio::select! {
            () = clock.sleep(pause) => {}
            _ = self.stop.changed() => {}
        }
    }

    fn start(&mut self) -> std::io::Result<Instance> {
        let container = &self.container;
        let name = &container.key.container;
        self.event(false, "Pulled", format!("Container image \"{}\" already present on machine", container.image));
        self.event(false, "Created", format!("Created container: {name}"));
        let instance = match &container.workload {
            Workload::Process(invocation) => {
                let log = container.logs.writer(&container.key, self.snapshot.restarts)?;
                Instance::Process(Box::new(Process::spawn(invocation, log)?))
            }
            Workload::Embedded(serve) => Instance::Embedded(tokio::spawn(serve())),
            Workload::Virtual { ends_after, code } => Instance::Virtual {
                ends: ends_after.map(|after| tokio::time::Instant::now() + container.clock.real(after)),
                code: *code,
            },
        };
        self.event(false, "Started", format!("Started container {name}"));
        Ok(instance)
    }

    /// One life: until it ends by itself, by a failed probe or by a stop.
    async fn live(&mut self, mut instance: Instance) -> (i32, Option<i32>, &'static str) {
        let (attempts_sender, mut attempts) = mpsc::unbounded_channel();
        let mut probes = JoinSet::new();
        self.snapshot.state = State::Running { since: Utc::now() };
        if self.container.startup.is_some() {
            self.probe(ProbeKind::Startup, &mut probes, &attempts_sender);
        } else {
            self.started(&mut probes, &attempts_sender);
        }
        self.report();
        let grace = loop {
            tokio::select! {
                exit = instance.wait() => return exit,
                Some(attempt) = attempts.recv() => {
                    if self.probed(&attempt) {
                        break self.container.grace;
                    }
                    if attempt.kind == ProbeKind::Startup && attempt.result == Some(true) {
                        self.started(&mut probes, &attempts_sender);
                        self.report();
                    }
                }
                _ = self.stop.changed() => {
                    let name = &self.container.key.container;
                    self.event(false, "Killing", format!("Stopping container {name}"));
                    break self.stop.borrow().unwrap_or_default();
                }
            }
        };
        probes.shutdown().await;
        self.end(instance, grace).await
    }

    /// The container counts as started: the other probes begin, and without a readiness probe it is ready.
    fn started(&mut self, probes: &mut JoinSet<()>, attempts: &mpsc::UnboundedSender<Attempt>) {
        self.snapshot.started = true;
        self.snapshot.ready = self.container.readiness.is_none();
        self.probe(ProbeKind::Liveness, probes, attempts);
        self.probe(ProbeKind::Readiness, probes, attempts);
    }

    fn probe(&self, kind: ProbeKind, probes: &mut JoinSet<()>, attempts: &mpsc::UnboundedSender<Attempt>) {
        let probe = match kind {
            ProbeKind::Startup => &self.container.startup,
            ProbeKind::Liveness => &self.container.liveness,
            ProbeKind::Readiness => &self.container.readiness,
        };
        if let Some(probe) = probe.clone() {
            probes.spawn(attempt(kind, probe, self.container.pod_ip, self.container.clock, attempts.clone()));
        }
    }

    /// Takes an attempt's result in; true when the container must be killed for it.
    fn probed(&mut self, attempt: &Attempt) -> bool {
        let name = match attempt.kind {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        };
        if let Some(failure) = &attempt.failure {
            self.event(true, "Unhealthy", format!("{name} probe failed: {failure}"));
        }
        if attempt.kind == ProbeKind::Readiness {
            if let Some(ready) = attempt.result.filter(|ready| *ready != self.snapshot.ready) {
                self.snapshot.ready = ready;
                self.report();
            }
            return false;
        }
        let failed = attempt.result == Some(false);
        if failed {
            let container = &self.container.key.container;
            let probe = name.to_lowercase();
            self.event(false, "Killing", format!("Container {container} failed {probe} probe, will be restarted"));
        }
        failed
    }

    /// Ends a life: the `preStop` wait, SIGTERM, the grace period in real time, SIGKILL.
    async fn end(&mut self, mut instance: Instance, grace: Duration) -> (i32, Option<i32>, &'static str) {
        let mut left = grace.min(LONGEST_GRACE);
        if !left.is_zero() {
            let pause = self.container.clock.real(self.container.pre_stop).min(left);
            tokio::select! {
                exit = instance.wait(), if !pause.is_zero() => return exit,
                () = tokio::time::sleep(pause) => {}
            }
            left -= pause;
            instance.terminate();
        }
        let deadline = tokio::time::sleep(left);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                exit = instance.wait() => return exit,
                () = &mut deadline => break,
                changed = self.stop.changed() => {
                    if changed.is_err() || self.stop.borrow().is_some_and(|grace| grace.is_zero()) {
                        break;
                    }
                }
            }
        }
        instance.kill();
        instance.wait().await
    }

    fn report(&self) {
        // The worker may be gone when the whole cluster stops.
        let _ = self.reports.send(Report::State(self.container.index, self.snapshot.clone()));
    }

    fn event(&self, warning: bool, reason: &'static str, message: String) {
        let _ = self.reports.send(Report::Event { index: self.container.index, warning, reason, message });
    }
}

impl Instance {
    /// Its exit code, signal and reason. Cancel safe.
    async fn wait(&mut self) -> (i32, Option<i32>, &'static str) {
        match self {
            Self::Process(process) => match process.wait().await {
                Ok(status) => {
                    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                    (code, status.signal(), if code == 0 { "Completed" } else { "Error" })
                }
                Err(error) => {
                    tracing::warn!(%error, "container's process cannot be waited for");
                    (255, None, "ContainerStatusUnknown")
                }
            },
            Self::Embedded(task) => match task.await {
                Ok(Ok(())) => (0, None, "Completed"),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "embedded container ended");
                    (1, None, "Error")
                }
                Err(_) => (143, None, "Error"),
            },
            Self::Virtual { ends: Some(at), code } => {
                tokio::time::sleep_until(*at).await;
                (*code, None, if *code == 0 { "Completed" } else { "Error" })
            }
            Self::Virtual { ends: None, .. } => std::future::pending().await,
        }
    }

    fn terminate(&mut self) {
        match self {
            Self::Process(process) => process.terminate(),
            Self::Embedded(task) => task.abort(),
            Self::Virtual { ends, code } => (*ends, *code) = (Some(tokio::time::Instant::now()), 0),
        }
    }

    fn kill(&mut self) {
        match self {
            Self::Process(process) => process.kill(),
            Self::Embedded(_) | Self::Virtual { .. } => self.terminate(),
        }
    }
}

async fn attempt(
    kind: ProbeKind,
    probe: Probe,
    pod_ip: Ipv4Addr,
    clock: Clock,
    attempts: mpsc::UnboundedSender<Attempt>,
) {
    clock.sleep(probe.initial_delay).await;
    let mut counter = Counter::default();
    let mut ticks = tokio::time::interval(clock.real(probe.period).max(SHORTEST_PERIOD));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let failure = probe.attempt(pod_ip).await.err();
        let result = counter.count(&probe, failure.is_none());
        let done = kind == ProbeKind::Startup && result.is_some();
        if attempts.send(Attempt { kind, failure, result }).is_err() || done {
            return;
        }
    }
}

/// A whole number of seconds as Go prints a duration.
fn go(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
