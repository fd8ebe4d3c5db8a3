//! The cluster's objects: workloads, their pods, and how pods come and go.

use std::{cmp::Reverse, time::Duration};

use serde_json::{Value, json};

use super::{
    World,
    agenda::{Happening, Nanos, nanos},
    app::Process,
    scaling::Scaler,
};
use crate::{
    autoscale::schedule::{self, Nominated, place, preempt},
    event::Fact,
    profile::{self, Profile, Role, Worker},
    render,
};

/// Priorities of Kubernetes' own classes.
const NODE_CRITICAL: i64 = 2_000_001_000;
const CLUSTER_CRITICAL: i64 = 2_000_000_000;
/// The kubelet waits no longer for a process that was told to end.
const LONGEST_GRACE: Duration = Duration::from_secs(30);

/// A Deployment.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: String,
    /// Index in the profile; none for the platform's.
    pub(super) index: Option<usize>,
    template: schedule::Pod,
    image: String,
    pub(super) worker: Option<Worker>,
    pub(super) wanted: i32,
    numbers: u32,
    /// Pods that exist, oldest first.
    pub(super) pods: Vec<u32>,
    pub(super) scaler: Option<Box<Scaler>>,
    told: (i32, i32, i32),
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Without a node.
    Waiting,
    /// On a node, its container has not started.
    Starting,
    /// Its container runs.
    Running,
    /// It does not exist any more.
    Gone,
}

/// A pod.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) workload: usize,
    pub(super) object: schedule::Pod,
    pub(super) created: Nanos,
    pub(super) bound: Nanos,
    /// Number of its node.
    pub(super) node: Option<u32>,
    pub(super) phase: Phase,
    pub(super) ready: bool,
    pub(super) ready_since: Nanos,
    pub(super) deleting: bool,
    /// Why it could not be placed when that was last tried.
    refused: String,
    pub(super) process: Process,
}

impl Workload {
    fn new(deployment: &Value, profile: &Profile) -> Self {
        let name = deployment["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let index = profile.workloads.iter().position(|workload| workload.name == name);
        let template = &deployment["spec"]["template"];
        let mut pod = json!({ "metadata": template["metadata"], "spec": template["spec"] });
        pod["metadata"]["namespace"] = deployment["metadata"]["namespace"].clone();
        let owner = json!({ "kind": "ReplicaSet", "apiVersion": "apps/v1", "name": name, "controller": true });
        pod["metadata"]["ownerReferences"] = json!([owner]);
        let class = template["spec"]["priorityClassName"].as_str().unwrap_or_default();
        let own = index.map_or(0, |index| i64::from(profile.workloads[index].priority));
        pod["spec"]["priority"] = json!(match class {
            "system-node-critical" => NODE_CRITICAL,
            "system-cluster-critical" => CLUSTER_CRITICAL,
            _ => own,
        });
        let replicas = deployment["spec"]["replicas"].as_i64().map(|replicas| replicas as i32);
        let settings = index.map(|index| &profile.workloads[index]);
        Self {
            template: schedule::Pod::from_json(&pod, |_| None),
            image: template["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned(),
            worker: settings.and_then(|settings| match &settings.role {
                Role::Worker(worker) => Some(worker.clone()),
                _ => None,
            }),
            wanted: settings.map_or(replicas.unwrap_or(1), |settings| settings.replicas as i32),
            name,
            index,
            numbers: 0,
            pods: Vec::new(),
            scaler: None,
            told: (0, 0, 0),
        }
    }

    /// The Deployments of a profile in the order in which they are made, those of the platform first.
    pub(super) fn all(profile: &Profile) -> Vec<Self> {
        let parts = render::parts(profile, "forecast");
        let own = parts.iter().flat_map(|part| part.manifests.iter());
        let platform = render::platform();
        let deployments = platform.iter().chain(own).filter(|object| object["kind"] == "Deployment");
        deployments.map(|deployment| Self::new(deployment, profile)).collect()
    }
}

/// The pods of a `DaemonSet`, which come with their node.
pub(super) fn daemons() -> Vec<schedule::Pod> {
    let daemon = |set: &Value| {
        let template = &set["spec"]["template"];
        let mut pod = json!({ "metadata": template["metadata"], "spec": template["spec"] });
        pod["metadata"]["name"] = set["metadata"]["name"].clone();
        pod["metadata"]["namespace"] = set["metadata"]["namespace"].clone();
        pod["metadata"]["ownerReferences"] = json!([{ "kind": "DaemonSet", "controller": true }]);
        pod["spec"]["priority"] = json!(NODE_CRITICAL);
        schedule::Pod::from_json(&pod, |_| None)
    };
    render::daemon_sets().iter().map(daemon).collect()
}

impl<'a> World<'a> {
    /// What the profile says of a pod's workload.
    pub(super) fn workload_of(&self, pod: u32) -> Option<&'a profile::Workload> {
        let index = self.workloads[self.pods[pod as usize].workload].index?;
        Some(&self.profile.workloads[index])
    }
}

impl World<'_> {
    /// The pods that the autoscalers, the scheduler and the budgets see.
    pub(super) fn active(&self, workload: usize) -> impl Iterator<Item = u32> {
        self.workloads[workload].pods.iter().copied().filter(|pod| !self.pods[*pod as usize].deleting)
    }

    /// Whether Redis has a pod that runs.
    pub(super) fn redis_is_up(&self) -> bool {
        self.redis.is_none_or(|redis| {
            self.workloads[redis].pods.iter().any(|pod| {
                let pod = &self.pods[*pod as usize];
                pod.ready && pod.process.up
            })
        })
    }

    /// Whether the machine of a pod lost power: its kubelet starts nothing and tells nothing any more.
    fn is_cut_off(&self, pod: u32) -> bool {
        let node = self.pods[pod as usize].node;
        self.machines.iter().any(|machine| machine.dead && Some(machine.number) == node)
    }

    /// Sets the wanted replicas of a workload and tells why.
    pub(super) fn scale(&mut self, workload: usize, to: i32, reason: String, by: &str) {
        let from = std::mem::replace(&mut self.workloads[workload].wanted, to);
        if from != to {
            let name = self.workloads[workload].name.clone();
            self.tell(Fact::Replicas { workload: name, from, to, reason, by: by.to_owned() });
            self.dirty = true;
        }
    }

    /// What follows from changes: pods are made and taken away, placed, and told of.
    pub(super) fn reconcile(&mut self) {
        while std::mem::take(&mut self.dirty) {
            for workload in 0..self.workloads.len() {
                self.replicate(workload);
            }
            self.schedule();
            self.changed = self.now;
        }
        for workload in 0..self.workloads.len() {
            self.tell_pods(workload);
        }
    }

    /// As many pods as wanted. Upstream: `pkg/controller/replicaset`.
    fn replicate(&mut self, workload: usize) {
        let wanted = self.workloads[workload].wanted.max(0) as usize;
        let mut active: Vec<u32> = self.active(workload).collect();
        for _ in active.len()..wanted {
            self.create(workload);
        }
        if active.len() > wanted {
            // Those go first that have no node, do not run, are not ready, are young.
            active.sort_by_key(|id| {
                let pod = &self.pods[*id as usize];
                (pod.node.is_some(), pod.phase == Phase::Running, pod.ready, Reverse((pod.created, *id)))
            });
            for pod in active.drain(..active.len() - wanted) {
                self.delete(pod);
            }
        }
    }

    fn create(&mut self, workload: usize) {
        let entry = &mut self.workloads[workload];
        entry.numbers += 1;
        let mut object = entry.template.clone();
        object.name = format!("{}-{}", entry.name, entry.numbers);
        let id = self.pods.len() as u32;
        entry.pods.push(id);
        self.pods.push(Pod {
            workload,
            object,
            created: self.now,
            bound: 0,
            node: None,
            phase: Phase::Waiting,
            ready: false,
            ready_since: self.now,
            deleting: false,
            refused: String::new(),
            process: Process::default(),
        });
        self.dirty = true;
    }

    /// A pod is to go: it leaves its Service at once, its process ends in its own time.
    pub(super) fn delete(&mut self, pod: u32) {
        let entry = &mut self.pods[pod as usize];
        if entry.deleting || entry.phase == Phase::Gone {
            return;
        }
        entry.deleting = true;
        self.dirty = true;
        self.refresh_endpoints();
        if self.pods[pod as usize].phase != Phase::Running {
            return self.exit(pod);
        }
        let grace = self.workload_of(pod).map_or(LONGEST_GRACE, |workload| workload.grace).min(LONGEST_GRACE);
        self.agenda.plan(self.now + nanos(grace), Happening::Killed { pod });
        self.terminate(pod);
    }

    /// The grace period is over.
    pub(super) fn grace_is_over(&mut self, pod: u32) {
        if self.pods[pod as usize].phase != Phase::Gone {
            self.kill(pod);
            self.exit(pod);
        }
    }

    /// Nothing of a pod runs any more: it is removed.
    pub(super) fn exit(&mut self, pod: u32) {
        let entry = &mut self.pods[pod as usize];
        if entry.phase == Phase::Gone {
            return;
        }
        entry.phase = Phase::Gone;
        entry.ready = false;
        entry.process.up = false;
        let workload = entry.workload;
        if let Some(node) = entry.node.take() {
            let name = entry.object.name.clone();
            self.take_off(node, &name);
        }
        self.workloads[workload].pods.retain(|other| *other != pod);
        if self.redis == Some(workload) {
            self.lose_store();
            self.store_changed();
        }
        self.refresh_endpoints();
        self.dirty = true;
    }

    /// Ready web pods, in order.
    pub(super) fn refresh_endpoints(&mut self) {
        let Some(web) = self.web else { return };
        let pods = &self.pods;
        let of = self.workloads[web.deployment].pods.iter().copied();
        self.endpoints.clear();
        self.endpoints.extend(of.filter(|pod| pods[*pod as usize].ready && !pods[*pod as usize].deleting));
    }

    /// Places waiting pods, the most important first; lesser ones make room where that helps.
    fn schedule(&mut self) {
        let mut waiting: Vec<u32> = Vec::new();
        for workload in &self.workloads {
            let is_waiting = |pod: &u32| {
                let pod = &self.pods[*pod as usize];
                pod.phase == Phase::Waiting && !pod.deleting
            };
            waiting.extend(workload.pods.iter().copied().filter(is_waiting));
        }
        waiting.sort_by_key(|id| {
            let pod = &self.pods[*id as usize];
            (Reverse(pod.object.priority.unwrap_or(0)), pod.created, *id)
        });
        let mut nominated = Nominated::new(waiting.iter().map(|pod| &self.pods[*pod as usize].object));
        for pod in waiting {
            nominated.before(&mut self.cluster, &self.pods[pod as usize].object);
            match place(&self.pods[pod as usize].object, &self.cluster, &mut self.placement) {
                Ok(at) => self.bind(pod, at),
                Err(unschedulable) => {
                    self.refuse(pod, unschedulable.message);
                    self.make_room(pod);
                    let object = &self.pods[pod as usize].object;
                    if let Some(node) = object.nominated_node.clone() {
                        nominated.hold(&mut self.cluster, object, &node);
                    }
                }
            }
        }
        nominated.end(&mut self.cluster);
    }

    fn bind(&mut self, pod: u32, at: usize) {
        let (now, speed) = (self.now, self.speed);
        let pull = self.image_pull;
        let entry = &mut self.pods[pod as usize];
        let machine = &mut self.machines[at];
        entry.node = Some(machine.number);
        entry.bound = now;
        entry.phase = Phase::Starting;
        entry.refused.clear();
        entry.object.node = Some(machine.name.clone());
        entry.object.nominated_node = None;
        let mut object = entry.object.clone();
        object.phase = Some("Running".to_owned());
        self.cluster.nodes[at].put(object);
        let image = &self.workloads[entry.workload].image;
        let present = !machine.images.insert(image.clone());
        let pull = if present { 0 } else { nanos(pull.div_f64(speed)) };
        self.agenda.plan(now + pull, Happening::Started { pod });
    }

    fn refuse(&mut self, pod: u32, message: String) {
        let entry = &mut self.pods[pod as usize];
        if entry.refused == message {
            return;
        }
        entry.refused.clone_from(&message);
        let (pod, workload) = (entry.object.name.clone(), &self.workloads[entry.workload]);
        if workload.index.is_some() {
            let workload = workload.name.clone();
            self.tell(Fact::FailedScheduling { pod, workload, message });
        }
    }

    fn make_room(&mut self, pod: u32) {
        let entry = &self.pods[pod as usize];
        let ends_at = |name: &String| {
            let machine = self.machines.iter().find(|machine| machine.name == *name).map(|machine| machine.number);
            self.pods.iter().any(|p| p.node.is_some() && p.node == machine && p.deleting && p.phase != Phase::Gone)
        };
        if entry.object.nominated_node.as_ref().is_some_and(ends_at) {
            return;
        }
        let Some((at, victims)) = preempt(&entry.object, &self.cluster) else {
            self.pods[pod as usize].object.nominated_node = None;
            return;
        };
        let (node, node_name) = (self.machines[at].number, self.machines[at].name.clone());
        let victims: Vec<String> = victims.into_iter().map(|victim| victim.name.clone()).collect();
        let message = format!("Preempted by pod {} on node {node_name}", entry.object.name);
        self.pods[pod as usize].object.nominated_node = Some(node_name);
        for name in victims {
            let victim = self.pods.iter().position(|p| p.object.name == name && p.node == Some(node));
            let Some(victim) = victim else { continue };
            self.note("Pod", &name, "Preempted", &message, "Normal");
            self.delete(victim as u32);
        }
    }

    /// A pod's container has started; its process serves a little later, and is found ready by a probe.
    pub(super) fn started(&mut self, pod: u32) {
        if self.is_cut_off(pod) {
            return;
        }
        let now = self.now;
        let start = self.real(self.profile.local.container_start);
        let probe = self.workload_of(pod).map(|workload| workload.probes.readiness);
        let entry = &mut self.pods[pod as usize];
        if entry.phase != Phase::Starting || entry.deleting {
            return;
        }
        entry.phase = Phase::Running;
        self.changed = now;
        let workload = entry.workload;
        let is_web = self.web.is_some_and(|web| web.deployment == workload);
        if self.workloads[workload].index.is_none() || self.workloads[workload].worker.is_some() {
            // Without a probe a container counts as ready when it runs.
            self.set_ready(pod, true);
        }
        let mut at = now + start;
        if let Some(probe) = probe.filter(|_| is_web) {
            let (first, period) = (now + self.real(probe.initial_delay), self.real(probe.period).max(1));
            at = first + at.saturating_sub(first).div_ceil(period) * period;
        }
        self.agenda.plan(at, Happening::Serving { pod });
    }

    /// A pod's process is up, and found so.
    pub(super) fn serving(&mut self, pod: u32) {
        if self.is_cut_off(pod) {
            return;
        }
        let workload = self.pods[pod as usize].workload;
        let is_web = self.web.is_some_and(|web| web.deployment == workload);
        self.serve(pod);
        if is_web && !self.store_is_up() {
            // Its readiness asks Redis: found ready by the probe after Redis answers again.
            return;
        }
        self.set_ready(pod, true);
        if self.redis == Some(workload) {
            self.store_changed();
            self.wake_workers();
        }
    }

    /// A pod's Ready condition, which its kubelet writes.
    pub(super) fn set_ready(&mut self, pod: u32, ready: bool) {
        if self.pods[pod as usize].ready == ready || self.is_cut_off(pod) {
            return;
        }
        let entry = &mut self.pods[pod as usize];
        if entry.phase == Phase::Running {
            entry.ready = ready;
            entry.ready_since = self.now;
            self.changed = self.now;
            self.refresh_endpoints();
        }
    }

    /// Web pods are ready while Redis answers.
    pub(super) fn probe_store(&mut self) {
        let Some(web) = self.web else { return };
        let up = self.store_is_up();
        for pod in self.workloads[web.deployment].pods.clone() {
            if self.pods[pod as usize].process.up {
                self.set_ready(pod, up);
            }
        }
        if up {
            self.wake_workers();
        }
    }

    fn tell_pods(&mut self, workload: usize) {
        let entry = &self.workloads[workload];
        if entry.index.is_none() {
            return;
        }
        let count =
            |is: &dyn Fn(&Pod) -> bool| entry.pods.iter().filter(|pod| is(&self.pods[**pod as usize])).count() as i32;
        let ready = count(&|pod| pod.ready);
        let pending = count(&|pod| pod.phase == Phase::Waiting && !pod.refused.is_empty());
        let tally = (ready, pending, entry.pods.len() as i32);
        if entry.told != tally {
            let fact = Fact::Pods { workload: entry.name.clone(), ready, pending, total: tally.2 };
            self.workloads[workload].told = tally;
            self.tell(fact);
        }
    }
}
