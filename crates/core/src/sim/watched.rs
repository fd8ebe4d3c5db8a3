//! What each autoscaler and the scheduler of a forecast saw and what they decided, in plain figures: a test holds the local
//! cluster's drivers of the same brain against it.

use std::collections::BTreeMap;

use super::{
    ForecastError, Happening, Options, World,
    agenda::Nanos,
    cluster::Phase,
    machines::{Machine, PoolState},
    monitoring::Usage,
};
use crate::{
    autoscale::{
        hpa::Status,
        keda::Reading,
        nodes::Action,
        schedule::{NodeState, Taint},
    },
    profile::Profile,
    render::NodePool,
};

/// A moment at which one of them decided.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Profile seconds since the world began.
    pub at_s: f64,
    /// Nodes, before the decision.
    pub nodes: Vec<NodeSeen>,
    /// Pods that exist, before the decision, oldest first.
    pub pods: Vec<PodSeen>,
    /// Who decided what.
    pub turn: Turn,
}

/// A node.
#[derive(Debug, Clone)]
pub struct NodeSeen {
    /// Name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// When it joined.
    pub joined_s: f64,
    /// Taints.
    pub taints: Vec<Taint>,
}

/// A pod of a Deployment.
#[derive(Debug, Clone)]
pub struct PodSeen {
    /// Name.
    pub name: String,
    /// Its Deployment.
    pub workload: String,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// The node where room is made for it.
    pub nominated: Option<String>,
    /// Its container runs.
    pub running: bool,
    /// It is ready.
    pub ready: bool,
    /// It is to go.
    pub deleting: bool,
    /// When it was made.
    pub created_s: f64,
    /// When it was bound.
    pub bound_s: f64,
    /// Since when it is ready, or not.
    pub ready_since_s: f64,
}

/// What metrics-server tells of a pod.
#[derive(Debug, Clone)]
pub struct UsageSeen {
    /// Name.
    pub pod: String,
    /// CPU, milli.
    pub cpu_milli: i64,
    /// Memory, bytes.
    pub memory: i64,
    /// When it was measured.
    pub at_s: f64,
}

/// Who decided what.
#[derive(Debug, Clone)]
pub enum Turn {
    /// The horizontal autoscaler of a workload.
    Sync {
        /// Workload.
        workload: String,
        /// Replicas wanted before.
        current: i32,
        /// Replicas that exist.
        existing: i32,
        /// External metrics with their answers, milli-units.
        answers: Vec<(String, Result<i64, String>)>,
        /// What pods use.
        usage: Vec<UsageSeen>,
        /// Replicas to set.
        to: Option<i32>,
        /// Its status after.
        status: Status,
    },
    /// KEDA's operator.
    Poll {
        /// Workload.
        workload: String,
        /// Replicas wanted before.
        current: i32,
        /// Ready pods.
        ready: i64,
        /// External triggers.
        readings: Vec<Reading>,
        /// Replicas to set.
        to: Option<i32>,
    },
    /// The cluster autoscaler.
    Scan {
        /// Targets of pools.
        targets: BTreeMap<String, u32>,
        /// Machines that boot, by pool.
        booting: BTreeMap<String, Vec<String>>,
        /// Nodes that are being removed.
        deleting: Vec<String>,
        /// Replicas wanted of each workload.
        wanted: BTreeMap<String, i32>,
        /// What it does.
        actions: Vec<Action>,
    },
    /// The scheduler.
    Schedule {
        /// Pods with their nodes.
        bound: Vec<(String, String)>,
        /// Pods for which room is made, with their nodes.
        nominated: Vec<(String, String)>,
        /// Pods that go for them.
        victims: Vec<String>,
    },
}

impl Turn {
    /// The scheduler's, before it has done anything.
    pub(super) fn placing() -> Self {
        Self::Schedule { bound: Vec::new(), nominated: Vec::new(), victims: Vec::new() }
    }
}

/// A run of the profile's suite as its autoscalers saw it.
///
/// # Errors
/// What the profile or the options lack.
pub fn watched(profile: &Profile, options: &Options) -> Result<Vec<Sight>, ForecastError> {
    let mut world = World::empty(profile, options, false)?;
    world.sights = Some(Vec::new());
    world.stand_up();
    let begin = world.first_moment();
    world.agenda.plan(begin, Happening::Begin);
    world.run();
    Ok(world.sights.unwrap_or_default())
}

impl World<'_> {
    pub(super) fn is_watched(&self) -> bool {
        self.sights.is_some()
    }

    /// Keeps what was decided just now, before anything follows from it.
    pub(super) fn watch(&mut self, turn: Turn) {
        self.keep(self.sight(turn));
    }

    fn keep(&mut self, sight: Sight) {
        if let Some(sights) = &mut self.sights {
            sights.push(sight);
        }
    }

    fn at(&self, at: Nanos) -> f64 {
        at as f64 / 1e9 * self.speed
    }

    /// The world as it is now.
    pub(super) fn sight(&self, turn: Turn) -> Sight {
        let node = |(machine, state): (&Machine, &NodeState)| NodeSeen {
            name: machine.name.clone(),
            pool: self.profile.pools[machine.pool].name.clone(),
            joined_s: self.at(machine.joined),
            taints: state.node.taints.clone(),
        };
        Sight {
            at_s: self.profile_s(),
            nodes: self.machines.iter().zip(&self.cluster.nodes).map(node).collect(),
            pods: self.pods_seen(),
            turn,
        }
    }

    fn pods_seen(&self) -> Vec<PodSeen> {
        let mut ids: Vec<u32> = self.workloads.iter().flat_map(|workload| workload.pods.iter().copied()).collect();
        ids.sort_unstable();
        let seen = |id: u32| {
            let pod = &self.pods[id as usize];
            PodSeen {
                name: pod.object.name.clone(),
                workload: self.workloads[pod.workload].name.clone(),
                node: pod.object.node.clone().filter(|_| pod.node.is_some()),
                nominated: pod.object.nominated_node.clone(),
                running: pod.phase == Phase::Running,
                ready: pod.ready,
                deleting: pod.deleting,
                created_s: self.at(pod.created),
                bound_s: self.at(pod.bound),
                ready_since_s: self.at(pod.ready_since),
            }
        };
        ids.into_iter().map(seen).collect()
    }

    pub(super) fn usage(&self) -> Vec<UsageSeen> {
        let seen = |(pod, usage): (&u32, &Usage)| UsageSeen {
            pod: self.pods[*pod as usize].object.name.clone(),
            cpu_milli: usage.cpu_milli,
            memory: usage.memory,
            at_s: self.at(usage.at),
        };
        self.monitoring.usage.iter().map(seen).collect()
    }

    /// What a pass of the scheduler has changed since `before`.
    pub(super) fn watch_placing(&mut self, before: Sight) {
        let after = self.pods_seen();
        let (mut bound, mut nominated, mut victims) = (Vec::new(), Vec::new(), Vec::new());
        for was in &before.pods {
            let now = after.iter().find(|now| now.name == was.name);
            if now.is_none_or(|now| now.deleting) && !was.deleting {
                victims.push(was.name.clone());
            }
            let Some(now) = now else { continue };
            if was.node.is_none() {
                bound.extend(now.node.clone().map(|node| (was.name.clone(), node)));
                nominated.extend(now.nominated.clone().map(|node| (was.name.clone(), node)));
            }
        }
        self.keep(Sight { turn: Turn::Schedule { bound, nominated, victims }, ..before });
    }

    /// What the cluster autoscaler sees besides nodes and pods.
    pub(super) fn scanned(&self) -> Turn {
        let pools = || self.node_pools.iter().zip(&self.pools);
        let booting = |(pool, state): (&NodePool, &PoolState)| {
            (pool.name.clone(), state.booting.iter().map(|number| pool.machine(*number)).collect())
        };
        Turn::Scan {
            targets: pools().map(|(pool, state)| (pool.name.clone(), state.target)).collect(),
            booting: pools().map(booting).collect(),
            deleting: self.machines.iter().filter(|machine| machine.deleting).map(|m| m.name.clone()).collect(),
            wanted: self.workloads.iter().map(|workload| (workload.name.clone(), workload.wanted)).collect(),
            actions: Vec::new(),
        }
    }

    /// What a loop of the cluster autoscaler has done.
    pub(super) fn watch_scan(&mut self, mut before: Sight, done: Vec<Action>) {
        if let Turn::Scan { actions, .. } = &mut before.turn {
            *actions = done;
        }
        self.keep(before);
    }
}
