//! A resolved profile: every default filled in, every limit checked. Only [`super::Profile::load`] makes one.

use std::{borrow::Cow, collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::query::first_metric;
use crate::{
    catalog::VmSize,
    cost::Prices,
    suite::Suite,
    units::{Bytes, Millicores, go_duration},
};

/// The typed description of one system under test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// Name, such as `m3demo2`: a DNS label.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Tag `Environment`, such as `demo`.
    pub environment: String,
    /// Tag `Purpose`.
    pub purpose: String,
    /// Tag `CostCenter`.
    pub cost_center: String,
    /// What only the `azure` target needs.
    pub azure: Azure,
    /// Node pools in the order written; names are unique.
    pub pools: Vec<Pool>,
    /// Cluster autoscaler; none when no pool autoscales.
    pub autoscaler: Option<Autoscaler>,
    /// What only the `local` target needs.
    pub local: Local,
    /// Workloads in the order written; names are unique.
    pub workloads: Vec<Workload>,
    /// The load suite.
    pub suite: Suite,
    /// A day's shape, for the monthly projection.
    pub traffic: Traffic,
    /// Prices with overrides applied.
    pub prices: Prices,
}

/// Settings of the AKS cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Azure {
    /// Region, such as `westeurope`.
    pub location: String,
    /// Tier of the control plane.
    pub sku_tier: SkuTier,
    /// Kubernetes minor version, such as `1.33`; none: AKS's default.
    pub kubernetes_version: Option<String>,
    /// Networks that may reach the API server; empty: every address.
    pub authorized_ip_ranges: Vec<String>,
    /// Tags of all resources, the four of the facts included.
    pub tags: BTreeMap<String, String>,
}

/// Tier of the AKS control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SkuTier {
    /// No SLA, no charge.
    Free,
    /// With the uptime SLA, charged by the hour.
    Standard,
}

/// One node pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pool {
    /// AKS pool name: lowercase letters and digits, at most 12.
    pub name: String,
    /// Shape and list price of its nodes.
    #[serde(serialize_with = "vm_name")]
    pub vm_size: VmSize,
    /// Nodes at the start.
    pub count: u32,
    /// Least nodes; equals `count` when fixed.
    pub min: u32,
    /// Most nodes; equals `count` when fixed.
    pub max: u32,
    /// Whether the cluster autoscaler owns the count.
    pub autoscaled: bool,
    /// Availability zones: `1`, `2`, `3`.
    pub zones: Vec<String>,
    /// System or user pool.
    pub mode: PoolMode,
    /// Node labels.
    pub labels: BTreeMap<String, String>,
    /// Node taints.
    pub taints: Vec<Taint>,
    /// Pods a node may hold.
    pub max_pods: u32,
}

fn vm_name<S: serde::Serializer>(size: &VmSize, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(size.name)
}

impl Pool {
    /// Allocatable CPU and memory of one node.
    pub fn allocatable(&self) -> Resources {
        Resources { cpu: self.vm_size.allocatable_cpu(), memory: self.vm_size.allocatable_memory(self.max_pods) }
    }
}

/// Mode of an AKS node pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PoolMode {
    /// Carries system pods.
    System,
    /// Carries only what is scheduled to it.
    User,
}

/// A node taint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value, may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

impl fmt::Display for Taint {
    /// `key=value:Effect`, as AKS and kubectl write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.key, self.value, self.effect)
    }
}

/// Cluster autoscaler settings, by AKS's names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Autoscaler {
    /// Time between two loops.
    #[serde(with = "go_duration")]
    pub scan_interval: Duration,
    /// No scale-down for this long after a scale-up.
    #[serde(with = "go_duration")]
    pub scale_down_delay_after_add: Duration,
    /// A node must be unneeded for this long.
    #[serde(with = "go_duration")]
    pub scale_down_unneeded_time: Duration,
    /// A node whose requests are below this share of its allocatable is a candidate, 0..=1.
    pub scale_down_utilization_threshold: f64,
    /// `random`, `least-waste`, `most-pods` or `priority`.
    pub expander: String,
    /// A node that has not come by then is given up.
    #[serde(with = "go_duration")]
    pub max_node_provision_time: Duration,
}

/// How the local target and forecasts imitate Azure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Local {
    /// Shortest time from asking for a VM to a Ready node.
    #[serde(with = "go_duration")]
    pub vm_delay_min: Duration,
    /// Longest one.
    #[serde(with = "go_duration")]
    pub vm_delay_max: Duration,
    /// Time to pull an image onto a node that has not got it, in forecasts.
    #[serde(with = "go_duration")]
    pub image_pull: Duration,
    /// Time from a started container to one that serves, in forecasts.
    #[serde(with = "go_duration")]
    pub container_start: Duration,
}

/// CPU and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU.
    pub cpu: Millicores,
    /// Memory.
    pub memory: Bytes,
}

impl Resources {
    /// Whether both fit.
    pub fn fits(&self, room: &Self) -> bool {
        self.cpu <= room.cpu && self.memory <= room.memory
    }
}

/// One Deployment with its scaling.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workload {
    /// Name: a DNS label.
    pub name: String,
    /// What it is, with the settings that only this role has.
    pub role: Role,
    /// Container image; none: the role's own.
    pub image: Option<String>,
    /// Replicas when nothing scales it, else its minimum.
    pub replicas: u32,
    /// Priority of its pods; 0: no class of their own.
    pub priority: i32,
    /// What the scheduler counts.
    pub requests: Resources,
    /// What the kernel allows.
    pub limits: Resources,
    /// Memory of an idle pod (modelled on the local target).
    pub base_memory: Bytes,
    /// Time between SIGTERM and SIGKILL.
    #[serde(with = "go_duration")]
    pub grace: Duration,
    /// Probes of roles that serve HTTP.
    pub probes: Probes,
    /// Scaling; none: fixed.
    pub scaling: Option<Scaling>,
}

/// Roles of the demo app and its company.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Role {
    /// The HTTP API.
    Web(Web),
    /// The queue's consumer.
    Worker(Worker),
    /// The queue and the store.
    Redis,
    /// The metrics server that KEDA asks.
    Prometheus(Prometheus),
    /// Any other image, run as it is.
    Image,
}

impl Role {
    /// `web`, `worker`, `redis`, `prometheus`, `image`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Web(_) => "web",
            Self::Worker(_) => "worker",
            Self::Redis => "redis",
            Self::Prometheus(_) => "prometheus",
            Self::Image => "image",
        }
    }
}

/// How a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// Stored before the answer (201).
    Direct,
    /// Queued, answered 202 with a Location.
    Async,
}

/// Settings of the HTTP API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Web {
    /// How writes are answered.
    pub pattern: Pattern,
    /// Requests that one pod executes at once.
    pub concurrency: u32,
    /// Requests that one pod keeps waiting; more are answered 503.
    pub queue: u32,
    /// Backend time of reading one customer.
    #[serde(with = "go_duration")]
    pub read_one: Duration,
    /// Backend time of listing customers.
    #[serde(with = "go_duration")]
    pub read_all: Duration,
    /// Backend time of a write.
    #[serde(with = "go_duration")]
    pub write: Duration,
    /// How long a list stays cached.
    #[serde(with = "go_duration")]
    pub cache_ttl: Duration,
    /// CPU time of one request.
    #[serde(with = "go_duration")]
    pub cpu_per_request: Duration,
    /// Requests after which the app closes a connection.
    pub requests_per_connection: u32,
    /// Redis list that writes go to.
    pub writes: String,
}

/// Settings of the queue's consumer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worker {
    /// Redis list it consumes.
    pub reads: String,
    /// Most messages stored in one bulk write.
    pub batch: u32,
    /// Time of one bulk write.
    #[serde(with = "go_duration")]
    pub batch_time: Duration,
    /// CPU time of one message.
    #[serde(with = "go_duration")]
    pub cpu_per_message: Duration,
    /// Attempts before a message goes to the dead-letter list.
    pub max_retries: u32,
}

/// Settings of the metrics server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prometheus {
    /// Time between two scrapes of a pod.
    #[serde(with = "go_duration")]
    pub scrape_interval: Duration,
}

/// Readiness and liveness.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Probes {
    /// Whether the pod may be sent traffic.
    pub readiness: Probe,
    /// Whether the container is to be restarted.
    pub liveness: Probe,
}

/// One probe, with the kubelet's names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Probe {
    /// Wait before the first.
    #[serde(with = "go_duration")]
    pub initial_delay: Duration,
    /// Time between two.
    #[serde(with = "go_duration")]
    pub period: Duration,
    /// Longest answer.
    #[serde(with = "go_duration")]
    pub timeout: Duration,
    /// Failures in a row that count.
    pub failure_threshold: u32,
}

/// A KEDA ScaledObject's settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scaling {
    /// Least replicas (0 scales to zero).
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// KEDA's pollingInterval; governs 0 -> 1 only.
    #[serde(with = "go_duration")]
    pub polling: Duration,
    /// KEDA's cooldownPeriod; governs 1 -> 0 only.
    #[serde(with = "go_duration")]
    pub cooldown: Duration,
    /// What it scales on; the greatest recommendation wins.
    pub triggers: Vec<Trigger>,
    /// HPA behaviour; empty: Kubernetes' defaults.
    pub behavior: Behavior,
}

/// One KEDA trigger.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Trigger {
    /// Mean CPU use over the pods' requests.
    Cpu {
        /// Percent.
        utilization: u32,
    },
    /// Mean memory use over the pods' requests.
    Memory {
        /// Percent.
        utilization: u32,
    },
    /// A PromQL query; its value is divided by the threshold (AverageValue).
    Prometheus {
        /// Name in reports, such as `in-flight`.
        name: Option<String>,
        /// Server, such as `http://prometheus:9090`.
        server: String,
        /// Query that gives one value.
        query: String,
        /// Value per replica.
        threshold: f64,
        /// The trigger is active above this.
        activation: f64,
    },
    /// Length of a Redis list, divided by `length` per replica.
    Redis {
        /// `host:port`.
        address: String,
        /// The list.
        list: String,
        /// Messages per replica.
        length: u32,
        /// The trigger is active above this.
        activation: u32,
    },
    /// A number of replicas between two times.
    Cron {
        /// IANA time zone.
        timezone: String,
        /// Five-field cron of the start.
        start: String,
        /// Five-field cron of the end.
        end: String,
        /// Replicas in between.
        desired: u32,
    },
}

impl Trigger {
    /// Whether it counts requests that wait, so that load beyond what pods can answer raises it.
    pub fn sees_waiting(&self) -> bool {
        let sees = |query: &str| {
            ["http_requests_in_flight", "http_requests_executing", "queue_wait"]
                .iter()
                .any(|metric| query.contains(metric))
        };
        matches!(self, Self::Prometheus { query, .. } if sees(query))
    }

    /// KEDA's name of its type, such as `prometheus`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cpu { .. } => "cpu",
            Self::Memory { .. } => "memory",
            Self::Prometheus { .. } => "prometheus",
            Self::Redis { .. } => "redis",
            Self::Cron { .. } => "cron",
        }
    }

    /// What people call it: its own name, the metric or the list that it reads, or its type.
    pub fn label(&self) -> Cow<'_, str> {
        match self {
            Self::Prometheus { name: Some(name), .. } => name.into(),
            Self::Prometheus { query, .. } => first_metric(query).map_or(self.kind().into(), Cow::Owned),
            Self::Redis { list, .. } => list.into(),
            other => other.kind().into(),
        }
    }
}

/// HPA v2 behaviour.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Behavior {
    /// Scale-up rules; none: the default (4 pods or 100 % per 15 s, no window).
    pub scale_up: Option<ScalingRules>,
    /// Scale-down rules; none: the default (100 % per 15 s, 300 s window).
    pub scale_down: Option<ScalingRules>,
}

/// HPA scaling rules of one direction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScalingRules {
    /// Stabilisation window, whole seconds, at most an hour.
    pub window: Option<u32>,
    /// Which policy wins.
    pub select: Option<Select>,
    /// Policies.
    pub policies: Vec<Policy>,
}

/// Which of several policies wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Select {
    /// The greatest change.
    Max,
    /// The least change.
    Min,
    /// No scaling in this direction.
    Disabled,
}

/// One HPA scaling policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Pods or percent.
    pub kind: PolicyKind,
    /// How many, at least 1.
    pub value: u32,
    /// Within so many seconds, 1..=1800.
    pub period_seconds: u32,
}

/// Unit of a scaling policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PolicyKind {
    /// A number of pods.
    Pods,
    /// A share of the replicas at the period's start.
    Percent,
}

/// A day's shape: from each time on, so much load.
///
/// `load` is a share, not a number of nodes: 0 is the baseline (every pool at what the least replicas need), 1 the hardest moment of the
/// suite (the peak nodes that a run measured, or that the workloads' limits need). In between the nodes are
/// interpolated and rounded up. A fixed pool costs the same at any load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Traffic {
    /// Periods of one day, ascending; the last reaches around midnight to the first.
    pub day: Vec<Period>,
}

/// Load from one time of the day on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Period {
    /// Minutes after midnight, 0..1440.
    pub at_minute: u32,
    /// Share, 0..=1.
    pub load: f64,
}

impl Traffic {
    /// Hours of the day at each share of load, in the order written; they sum to 24.
    pub fn hours(&self) -> Vec<(f64, f64)> {
        let next = |index: usize| self.day.get(index + 1).map_or(1440 + self.day[0].at_minute, |p| p.at_minute);
        self.day
            .iter()
            .enumerate()
            .map(|(index, period)| (period.load, f64::from(next(index) - period.at_minute) / 60.0))
            .collect()
    }
}
