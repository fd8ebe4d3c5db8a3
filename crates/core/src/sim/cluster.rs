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
    autoscale::schedule,
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
    /// Its pods may be more or fewer than wanted.
    uneven: bool,
    /// Its pods may be others than was told.
    untold: bool,
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

impl Pod {
    /// Whether it was tried to be placed in vain.
    pub(super) fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }
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
            uneven: true,
            untold: true,
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
        let machine = self.pods[pod as usize].node.and_then(|node| self.machine(node));
        machine.is_some_and(|at| self.machines[at].dead)
    }

    /// Sets the wanted replicas of a workload and tells why.
    pub(super) fn scale(&mut self, workload: usize, to: i32, reason: String, by: &str) {
        let from = std::mem::replace(&mut self.workloads[workload].wanted, to);
        if from != to {
            let name = self.workloads[workload].name.clone();
            self.tell(Fact::Replicas { workload: name, from, to, reason, by: by.to_owned() });
            self.recount(workload);
        }
    }

    /// Pods of a workload have come or gone, or others are wanted.
    fn recount(&mut self, workload: usize) {
        let entry = &mut self.workloads[workload];
        (entry.uneven, entry.untold) = (true, true);
        self.dirty = true;
    }

    /// What follows from changes: pods are made and taken away, placed, and told of.
    pub(super) fn reconcile(&mut self) {
        while std::mem::take(&mut self.dirty) {
            for workload in 0..self.workloads.len() {
                if std::mem::take(&mut self.workloads[workload].uneven) {
                    self.replicate(workload);
                }
            }
            self.schedule();
            self.changed = self.now;
        }
        for workload in 0..self.workloads.len() {
            if std::mem::take(&mut self.workloads[workload].untold) {
                self.tell_pods(workload);
            }
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
        self.waiting.insert(self.turn(id));
        self.recount(workload);
    }

    /// Where a pod stands among those that wait: the most important first, then the oldest.
    fn turn(&self, pod: u32) -> (Reverse<i64>, Nanos, u32) {
        let entry = &self.pods[pod as usize];
        (Reverse(entry.object.priority.unwrap_or(0)), entry.created, pod)
    }

    /// A pod is to go: it leaves its Service at once, its process ends in its own time.
    pub(super) fn delete(&mut self, pod: u32) {
        let entry = &mut self.pods[pod as usize];
        if entry.deleting || entry.phase == Phase::Gone {
            return;
        }
        entry.deleting = true;
        let workload = entry.workload;
        self.end_on_node(pod);
        self.waiting.remove(&self.turn(pod));
        self.recount(workload);
        self.refresh_endpoints(workload);
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
            self.take_off(node, pod);
        }
        self.waiting.remove(&self.turn(pod));
        if let Ok(at) = self.workloads[workload].pods.binary_search(&pod) {
            self.workloads[workload].pods.remove(at);
        }
        if self.redis == Some(workload) {
            self.lose_store();
            self.store_changed();
        }
        self.refresh_endpoints(workload);
        self.recount(workload);
    }

    /// Ready web pods, in order; those of that workload have changed.
    fn refresh_endpoints(&mut self, workload: usize) {
        let Some(web) = self.web.filter(|web| web.deployment == workload) else { return };
        let pods = &self.pods;
        let of = self.workloads[web.deployment].pods.iter().copied();
        self.endpoints.clear();
        self.endpoints.extend(of.filter(|pod| pods[*pod as usize].ready && !pods[*pod as usize].deleting));
    }

    pub(super) fn bind(&mut self, pod: u32, at: usize) {
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
        *self.priorities.entry(object.priority.unwrap_or(0)).or_default() += 1;
        self.cluster.nodes[at].put(object);
        machine.pods.push(pod);
        let workload = &mut self.workloads[entry.workload];
        workload.untold = true;
        let present = !machine.images.insert(workload.image.clone());
        self.waiting.remove(&self.turn(pod));
        self.rejudge(at);
        let pull = if present { 0 } else { nanos(pull.div_f64(speed)) };
        self.agenda.plan(now + pull, Happening::Started { pod });
    }

    pub(super) fn refuse(&mut self, pod: u32, message: String) {
        let entry = &mut self.pods[pod as usize];
        if entry.refused == message {
            return;
        }
        entry.refused.clone_from(&message);
        let (pod, workload) = (entry.object.name.clone(), &mut self.workloads[entry.workload]);
        workload.untold = true;
        if workload.index.is_some() {
            let workload = workload.name.clone();
            self.tell(Fact::FailedScheduling { pod, workload, message });
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
        self.workloads[workload].untold = true;
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
            let workload = entry.workload;
            self.changed = self.now;
            self.workloads[workload].untold = true;
            self.refresh_endpoints(workload);
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

#[cfg(test)]
mod tests {
    use super::{super::Options, *};

    #[test]
    fn room_that_was_made_is_not_taken_by_lesser_pods_that_wait_too() {
        let profile = Profile::load_builtin("m3demo2", &[]).expect("it is built in").expect("it is right");
        let options = Options::default();
        let mut world = World::new(&profile, &options, false).expect("a world");
        let web = world.web.expect("it has web pods").deployment;
        let worker = world.workloads.iter().position(|workload| workload.worker.is_some()).expect("it has workers");
        world.scale(worker, 40, String::new(), "test");
        world.reconcile();
        let on_nodes = |world: &World<'_>, workload: usize| {
            world.workloads[workload].pods.iter().filter(|pod| world.pods[**pod as usize].node.is_some()).count()
        };
        let workers = on_nodes(&world, worker);
        assert!((2..40).contains(&workers), "the nodes are full: {workers}");
        // Those that were placed have not started: they are gone the moment they are told to go.
        world.scale(web, 10, String::new(), "test");
        world.reconcile();
        assert_eq!(on_nodes(&world, web), 10);
        assert!(on_nodes(&world, worker) < workers);
    }

    #[test]
    fn a_pod_that_ends_is_seen_so_and_does_not_count_for_budgets() {
        let profile = Profile::load_builtin("m3demo2", &[]).expect("it is built in").expect("it is right");
        let options = Options::default();
        let mut world = World::new(&profile, &options, false).expect("a world");
        let web = world.web.expect("it has web pods").deployment;
        let budget = world.budgets.iter().position(|(workload, _)| *workload == web).expect("it has a budget");
        let ending = |world: &World<'_>| world.cluster.nodes.iter().any(schedule::NodeState::has_ending);
        assert_eq!((world.budgets()[budget].allowed, ending(&world)), (1, false));
        let pod = world.workloads[web].pods[0];
        // It has a request to answer before it goes.
        world.pods[pod as usize].process.executing = 1;
        world.delete(pod);
        assert_eq!((world.budgets()[budget].allowed, ending(&world)), (0, true));
    }
}
