//! Machines: pools with targets, boots that take their time, drains. Deciding is `autoscale::nodes`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    World,
    agenda::{Happening, NEVER, Nanos},
    cluster::Phase,
};
use crate::{
    autoscale::{
        nodes::{Action, Autoscaler, Budget, Failure, NOT_TRIGGERED, TO_BE_DELETED, World as Seen},
        schedule::{Node, NodeState, Pod, Selector, Taint},
    },
    event::Fact,
    profile,
    render::{self, NodePool},
};

/// A node that could not be removed is looked at again after so long (upstream's `--unremovable-node-recheck-timeout`).
pub(super) const RECHECK: Duration = Duration::from_secs(300);
/// How often a drain looks whether its pods are gone.
const DRAIN_TICK: Duration = Duration::from_secs(1);

/// A machine that is a node.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) pool: usize,
    pub(super) images: BTreeSet<String>,
    pub(super) joined: Nanos,
    pub(super) deleting: bool,
    /// It lost power: nothing runs on it and nothing will, though the cluster does not know yet.
    pub(super) dead: bool,
    evicting: Vec<u32>,
    /// Pods that are bound to it, in the order in which they were.
    pub(super) pods: Vec<u32>,
}

/// A pool as the cloud has it.
#[derive(Debug, Default)]
pub(super) struct PoolState {
    pub(super) target: u32,
    next: u32,
    /// Numbers of machines that boot.
    pub(super) booting: BTreeSet<u32>,
}

impl PoolState {
    /// The number of the next machine; none is given twice.
    pub(super) fn number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }
}

/// The cluster autoscaler with what it saw last.
#[derive(Debug)]
pub(super) struct Scanner {
    brain: Autoscaler,
    pub(super) interval: Duration,
    /// When it last looked.
    last: Option<Nanos>,
    /// When one of its timers runs out, milliseconds of profile time. While nothing changes it would find nothing before.
    timers: BTreeSet<u64>,
    delay_after_add: Duration,
    unneeded: Duration,
    /// Pods or machines that it waits for: it looks again at every loop.
    waits: bool,
    told: BTreeSet<(String, String)>,
}

impl Scanner {
    pub(super) fn new(settings: &profile::Autoscaler, seed: u64) -> Self {
        Self {
            brain: Autoscaler::new(render::autoscaler_options(settings), seed),
            interval: settings.scan_interval,
            last: None,
            timers: BTreeSet::new(),
            delay_after_add: settings.scale_down_delay_after_add,
            unneeded: settings.scale_down_unneeded_time,
            waits: false,
            told: BTreeSet::new(),
        }
    }
}

impl Scanner {
    fn is_due(&mut self, changed: Nanos, now_s: f64) -> bool {
        let now = (now_s * 1000.0) as u64;
        let run_out = self.timers.first().is_some_and(|timer| *timer <= now + 1);
        // Of a loop at the very moment some rules hold already, others only at the next loop.
        self.timers.retain(|timer| *timer + 1 >= now);
        run_out || self.waits || self.last.is_none_or(|last| changed >= last)
    }

    /// Remembers when it must look again though nothing changes.
    fn note(&mut self, now: Nanos, now_s: f64, increased: bool) {
        let mut timer = |at_s: f64| {
            self.timers.insert((at_s * 1000.0) as u64);
        };
        for since in self.brain.unneeded().values() {
            timer(since + self.unneeded.as_secs_f64());
        }
        if increased {
            timer(now_s + self.delay_after_add.as_secs_f64());
        }
        timer(now_s + RECHECK.as_secs_f64());
        self.brain.state().backoff.ends(now_s).for_each(timer);
        self.last = Some(now);
    }
}

impl World<'_> {
    /// Machines that cost money, by size, those that boot included.
    pub(super) fn billed(&self) -> BTreeMap<String, u32> {
        let mut billed = BTreeMap::new();
        for (pool, state) in self.profile.pools.iter().zip(&self.pools) {
            *billed.entry(pool.vm_size.name.to_owned()).or_default() += state.target;
        }
        billed
    }

    pub(super) fn tell_nodes(&mut self, node: String, change: &str, reason: String) {
        let billed = self.billed();
        let total = billed.values().sum::<u32>() as i32;
        let ready = self.machines.len() as i32;
        self.tell(Fact::Nodes { ready, total, billed, node, change: change.to_owned(), reason });
    }

    /// A machine of the pool is a node now, with its daemons.
    pub(super) fn join(&mut self, pool: usize, number: u32) -> String {
        let shape = &self.node_pools[pool];
        let name = shape.machine(number);
        let node = Node { name: name.clone(), labels: shape.node_labels(number), ..shape.template() };
        let daemon = |daemon: &Pod| Pod {
            name: format!("{}-{name}", daemon.name),
            node: Some(name.clone()),
            phase: Some("Running".to_owned()),
            ..daemon.clone()
        };
        self.cluster.nodes.push(NodeState::new(node, self.daemons.iter().map(daemon).collect()));
        self.machine_numbers += 1;
        let (number, images) = (self.machine_numbers, BTreeSet::new());
        let (joined, evicting, pods) = (self.now, Vec::new(), Vec::new());
        let (deleting, dead) = (false, false);
        self.machines.push(Machine {
            number,
            name: name.clone(),
            pool,
            images,
            joined,
            deleting,
            dead,
            evicting,
            pods,
        });
        self.rejudge(self.machines.len() - 1);
        self.dirty = true;
        name
    }

    /// Where a machine stands: they are listed by their numbers.
    pub(super) fn machine(&self, number: u32) -> Option<usize> {
        self.machines.binary_search_by_key(&number, |machine| machine.number).ok()
    }

    /// A machine that was asked for has booted.
    pub(super) fn joined(&mut self, pool: usize, number: u32) {
        if !self.pools[pool].booting.remove(&number) {
            // It was given back meanwhile.
            return;
        }
        let name = self.join(pool, number);
        self.tell_nodes(name, "ready", String::new());
    }

    /// Whether no machine comes, goes, or is about to.
    pub(super) fn machines_rest(&self) -> bool {
        let wanted: u32 = self.pools.iter().map(|pool| pool.target).sum();
        let now_s = self.profile_s();
        let busy =
            |brain: &Autoscaler| !brain.unneeded().is_empty() || brain.state().backoff.ends(now_s).next().is_some();
        wanted as usize == self.machines.len() && !self.scanner.as_ref().is_some_and(|scanner| busy(&scanner.brain))
    }

    pub(super) fn take_off(&mut self, node: u32, pod: u32) {
        let Some(at) = self.machine(node) else { return };
        let (state, name) = (&mut self.cluster.nodes[at], &self.pods[pod as usize].object.name);
        if let Some(index) = state.pods.iter().position(|other| other.name == *name) {
            let taken = state.take(index).priority.unwrap_or(0);
            if let Some(count) = self.priorities.get_mut(&taken) {
                *count -= 1;
                if *count == 0 {
                    self.priorities.remove(&taken);
                }
            }
        }
        self.machines[at].pods.retain(|other| *other != pod);
        self.rejudge(at);
    }

    /// A pod on a node is to go, and others see that.
    pub(super) fn end_on_node(&mut self, pod: u32) {
        let entry = &self.pods[pod as usize];
        let Some(at) = entry.node.and_then(|node| self.machine(node)) else { return };
        let state = &mut self.cluster.nodes[at];
        if let Some(index) = state.pods.iter().position(|other| other.name == entry.object.name) {
            state.end(index);
        }
    }

    /// A node is gone with everything on it.
    pub(super) fn remove_machine(&mut self, node: u32, change: &str, reason: &str) {
        let Some(at) = self.machine(node) else { return };
        let mut pods = self.machines[at].pods.clone();
        pods.sort_unstable();
        for pod in pods {
            self.pods[pod as usize].deleting = true;
            self.kill(pod);
            self.exit(pod);
        }
        let machine = self.machines.remove(at);
        self.cluster.nodes.remove(at);
        self.rejudge_all();
        let pool = &mut self.pools[machine.pool];
        pool.target = pool.target.saturating_sub(1);
        self.dirty = true;
        self.tell_nodes(machine.name, change, reason.to_owned());
    }

    /// One loop of the cluster autoscaler.
    pub(super) fn scan(&mut self) {
        let Some(mut scanner) = self.scanner.take() else { return };
        let now_s = self.profile_s();
        let before = self.is_watched().then(|| self.sight(self.scanned()));
        let mut actions = Vec::new();
        if scanner.is_due(self.changed, now_s) {
            let seen = self.seen();
            actions = scanner.brain.run_once(&seen, now_s);
            self.cluster = seen.cluster;
            scanner.waits = !seen.pending.is_empty() || self.pools.iter().any(|pool| !pool.booting.is_empty());
            let increased = actions.iter().any(|action| matches!(action, Action::Increase { .. }));
            for action in actions.clone() {
                self.act(action, &mut scanner);
            }
            scanner.note(self.now, now_s, increased);
        } else {
            scanner.brain.tick(now_s);
        }
        if let Some(before) = before {
            self.watch_scan(before, actions);
        }
        self.agenda.plan(self.now + self.real(scanner.interval), Happening::Scan);
        self.scanner = Some(scanner);
    }

    /// What the autoscaler sees; the cluster itself is in it, to be put back.
    fn seen(&mut self) -> Seen {
        let group = |(pool, state): (&NodePool, &PoolState)| pool.group(state.target);
        let mut pending = Vec::new();
        for workload in &self.workloads {
            let waiting = workload.pods.iter().map(|pod| &self.pods[*pod as usize]);
            let waiting = waiting.filter(|pod| pod.phase == Phase::Waiting && !pod.deleting);
            pending.extend(waiting.map(|pod| Pod {
                age_seconds: Some((self.now - pod.created) as f64 / 1e9 * self.speed),
                ..pod.object.clone()
            }));
        }
        // As the API lists them.
        pending.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let mut cluster = std::mem::take(&mut self.cluster);
        for (state, machine) in cluster.nodes.iter_mut().zip(&self.machines) {
            state.node_mut().age_seconds = Some((self.now - machine.joined) as f64 / 1e9 * self.speed);
        }
        // Only of the platform's pods an age matters: some of them keep their nodes for an hour.
        for pod in self.workloads.iter().filter(|workload| workload.index.is_none()).flat_map(|w| &w.pods) {
            let pod = &self.pods[*pod as usize];
            if let Some(at) = pod.node.and_then(|node| self.machine(node)) {
                let age_s = (self.now - pod.created) as f64 / 1e9 * self.speed;
                cluster.nodes[at].set_age(&pod.object.name, age_s);
            }
        }
        let pool_of = |machine: &Machine| (machine.name.clone(), self.profile.pools[machine.pool].name.clone());
        Seen {
            groups: self.node_pools.iter().zip(&self.pools).filter_map(group).collect(),
            cluster,
            instances: self.instances(),
            group_of: self.machines.iter().map(pool_of).collect(),
            pending,
            budgets: self.budgets(),
            controllers: None,
            unix_s: self.profile_s(),
            deleting: self.machines.iter().filter(|machine| machine.deleting).map(|m| m.name.clone()).collect(),
        }
    }

    /// Machines of each pool, those that boot included.
    fn instances(&self) -> BTreeMap<String, Vec<String>> {
        let of = |(index, pool): (usize, &NodePool)| {
            let booting = self.pools[index].booting.iter().map(|number| pool.machine(*number));
            let nodes =
                self.machines.iter().filter(|machine| machine.pool == index).map(|machine| machine.name.clone());
            (pool.name.clone(), booting.chain(nodes).collect())
        };
        self.node_pools.iter().enumerate().map(of).collect()
    }

    /// The app's budgets: one pod of a workload at a time.
    pub(super) fn budgets(&self) -> Vec<Budget> {
        let budget = |budget: &(usize, Selector)| {
            let workload = &self.workloads[budget.0];
            let ready = self.active(budget.0).filter(|pod| self.pods[*pod as usize].ready).count() as i64;
            Budget {
                namespace: render::DEMO_NAMESPACE.to_owned(),
                selector: Some(budget.1.clone()),
                allowed: (ready - (i64::from(workload.wanted) - 1)).max(0),
            }
        };
        self.budgets.iter().map(budget).collect()
    }

    fn act(&mut self, action: Action, scanner: &mut Scanner) {
        match action {
            Action::Increase { group, from, to, .. } if self.short_until > self.now => {
                let message = format!("{from}->{to}: the zones of pool {group} have no machines left");
                self.note("Pool", &group, "FailedScaleUp", &message, "Warning");
                let failure = Failure { code: "ZonalAllocationFailed".to_owned(), message };
                scanner.brain.scale_up_failed(&group, failure, self.profile_s());
                self.changed = self.now;
            }
            Action::Increase { group, from, to, .. } => self.increase(&group, from, to),
            Action::NotTriggered { pod: (_, pod), message } if scanner.told.insert((pod.clone(), message.clone())) => {
                self.note("Pod", &pod, NOT_TRIGGERED, &message, "Normal");
            }
            Action::Remove { node, pods, utilization } => self.drain(&node, &pods, utilization),
            // Told before.
            Action::NotTriggered { .. } => {}
            Action::DeleteInstance { group, instance } => self.abandon(&group, &instance),
            Action::FixTarget { group, to } => {
                let from = self.profile.pools.iter().position(|pool| pool.name == group);
                let from = from.map_or(to, |pool| self.pools[pool].target);
                self.increase(&group, from, to);
            }
            Action::ScaleUpFailed { group, message } => {
                self.note("Pool", &group, "FailedScaleUp", &message, "Warning");
            }
        }
    }

    fn increase(&mut self, group: &str, from: u32, to: u32) {
        let Some(pool) = self.profile.pools.iter().position(|pool| pool.name == *group) else { return };
        self.pools[pool].target = to;
        let (least, most) = (self.profile.local.vm_delay_min, self.profile.local.vm_delay_max);
        for _ in from..to {
            let delay = self.boots.next(least, most);
            let at = self.now + self.real(delay);
            let number = self.pools[pool].number();
            self.pools[pool].booting.insert(number);
            self.agenda.plan(at, Happening::Joined { pool: pool as u32, number });
        }
        let reason = format!("pool {group} {from} -> {to}: pods do not fit (cluster autoscaler)");
        self.tell_nodes(group.to_owned(), "provisioning", reason);
        self.changed = self.now;
    }

    /// A machine that has not become a node in time is given back.
    fn abandon(&mut self, group: &str, instance: &str) {
        let Some(pool) = self.profile.pools.iter().position(|pool| pool.name == *group) else { return };
        let shape = &self.node_pools[pool];
        let state = &mut self.pools[pool];
        let before = state.booting.len();
        state.booting.retain(|number| shape.machine(*number) != instance);
        state.target = state.target.saturating_sub((before - state.booting.len()) as u32);
        self.changed = self.now;
        self.tell_nodes(instance.to_owned(), "removed", "it did not become a node in time".to_owned());
    }

    fn drain(&mut self, node: &str, pods: &[(String, String)], utilization: f64) {
        let Some(at) = self.machines.iter().position(|machine| machine.name == *node) else { return };
        let number = self.machines[at].number;
        let on = |name: &str| {
            let mut pods = self.machines[at].pods.iter().copied();
            pods.find(|pod| self.pods[*pod as usize].object.name == *name)
        };
        let evicting: Vec<u32> = pods.iter().filter_map(|(_, name)| on(name)).collect();
        let taint = Taint {
            key: TO_BE_DELETED.to_owned(),
            value: (self.profile_s() as i64).to_string(),
            effect: "NoSchedule".to_owned(),
        };
        self.cluster.nodes[at].node_mut().taints.push(taint);
        self.rejudge(at);
        self.machines[at].deleting = true;
        self.machines[at].evicting.clone_from(&evicting);
        self.note("Node", node, "ScaleDown", "marked the node as toBeDeleted/unschedulable", "Normal");
        if evicting.is_empty() {
            let message = format!("Scale-down: removing empty node \"{node}\"");
            self.note("Node", node, "ScaleDownEmpty", &message, "Normal");
        } else {
            let names: Vec<String> = pods.iter().map(|(space, pod)| format!("{space}/{pod}")).collect();
            let names = names.join(",");
            let what = format!("removing node {node}, utilization: {utilization:.3}, pods to reschedule: {names}");
            self.note("Node", node, "ScaleDown", &format!("Scale-down: {what}"), "Normal");
        }
        for pod in evicting {
            self.delete(pod);
        }
        self.changed = self.now;
        self.agenda.plan(self.now, Happening::Draining { node: number });
    }

    /// A node whose pods are gone is given back.
    pub(super) fn draining(&mut self, node: u32) {
        let Some(machine) = self.machine(node).map(|at| &self.machines[at]) else { return };
        if machine.evicting.iter().any(|pod| self.pods[*pod as usize].phase != Phase::Gone) {
            let again = self.now + self.real(DRAIN_TICK);
            return self.agenda.plan(again.min(NEVER - 1), Happening::Draining { node });
        }
        let name = machine.name.clone();
        self.note("Node", &name, "ScaleDown", "nodes removed by cluster autoscaler", "Normal");
        self.remove_machine(node, "removed", "not needed any more (cluster autoscaler)");
    }
}
