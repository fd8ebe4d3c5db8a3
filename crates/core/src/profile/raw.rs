//! A profile as it is written: serde types whose JSON Schema is the one that editors and [`super::structure`] use.
//!
//! Everything is optional that has a default; the defaults themselves live in [`super::resolve`] and [`super::workload`].

use std::{collections::BTreeMap, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::units::{Bytes, Millicores, Span, parse_duration};

/// A profile of democtl: node pools, workloads with their scaling, load suite.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "democtl profile")]
pub(super) struct RawProfile {
    /// Profile that this one is merged over; lists are replaced, tables merged.
    #[expect(dead_code, reason = "read from the tree before merging; here for the schema")]
    pub(super) extends: Option<String>,
    /// Name of the load suite (default `standard`).
    pub(super) suite: Option<String>,
    #[serde(default)]
    pub(super) meta: RawMeta,
    #[serde(default)]
    pub(super) azure: RawAzure,
    /// Node pools by name.
    #[serde(default)]
    pub(super) pool: BTreeMap<String, RawPool>,
    #[serde(default)]
    pub(super) autoscaler: RawAutoscaler,
    #[serde(default)]
    pub(super) local: RawLocal,
    /// Workloads by name.
    #[serde(default)]
    pub(super) workload: BTreeMap<String, RawWorkload>,
    #[serde(default)]
    pub(super) traffic: RawTraffic,
    #[serde(default)]
    pub(super) prices: RawPrices,
}

/// What the profile is called and is for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Meta")]
pub(super) struct RawMeta {
    /// Name: a DNS label (default: the file's name).
    pub(super) name: Option<String>,
    /// One sentence.
    pub(super) description: Option<String>,
    /// Tag Environment (default `demo`).
    pub(super) environment: Option<String>,
    /// Tag Purpose (default `reliability-demo`).
    pub(super) purpose: Option<String>,
    /// Tag CostCenter (default `demo`).
    pub(super) cost_center: Option<String>,
}

/// The AKS cluster.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Azure")]
pub(super) struct RawAzure {
    /// Region (default `westeurope`).
    pub(super) location: Option<String>,
    /// Tier of the control plane (default `standard`).
    pub(super) sku_tier: Option<RawSkuTier>,
    /// Kubernetes minor version, such as `1.33` (default: AKS's).
    pub(super) kubernetes_version: Option<String>,
    /// IPv4 networks that may reach the API server, such as `["198.51.100.0/24"]` (default: every address, with a login).
    #[serde(default)]
    pub(super) authorized_ip_ranges: Vec<String>,
    /// Further tags.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "SkuTier")]
pub(super) enum RawSkuTier {
    Free,
    Standard,
}

/// A node pool: `count` for a fixed one, `min` and `max` for one that the cluster autoscaler owns.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pool")]
pub(super) struct RawPool {
    /// Azure VM size, such as `Standard_D4s_v5`.
    pub(super) vm_size: Option<String>,
    /// Nodes; with `min` and `max`, nodes at the start (default `min`).
    #[schemars(range(min = 0, max = 1000))]
    pub(super) count: Option<u32>,
    /// Least nodes.
    #[schemars(range(min = 0, max = 1000))]
    pub(super) min: Option<u32>,
    /// Most nodes.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) max: Option<u32>,
    /// Availability zones (default `["1", "2", "3"]`).
    pub(super) zones: Option<Vec<RawZone>>,
    /// Mode (default: `System` for the first pool, else `User`).
    pub(super) mode: Option<RawMode>,
    /// Node labels.
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// Taints as `key=value:NoSchedule`.
    #[serde(default)]
    pub(super) taints: Vec<String>,
    /// Pods a node may hold (default 110).
    #[schemars(range(min = 10, max = 250))]
    pub(super) max_pods: Option<u32>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[schemars(rename = "Zone")]
pub(super) enum RawZone {
    #[serde(rename = "1")]
    One,
    #[serde(rename = "2")]
    Two,
    #[serde(rename = "3")]
    Three,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[schemars(rename = "Mode")]
pub(super) enum RawMode {
    System,
    User,
}

/// The cluster autoscaler, by AKS's names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Autoscaler")]
pub(super) struct RawAutoscaler {
    /// Time between two loops (default 10s).
    pub(super) scan_interval: Option<Span>,
    /// No scale-down for this long after a scale-up (default 10m).
    pub(super) scale_down_delay_after_add: Option<Span>,
    /// A node must be unneeded for this long (default 10m).
    pub(super) scale_down_unneeded_time: Option<Span>,
    /// Share of requests below which a node is a candidate (default 0.5).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(super) scale_down_utilization_threshold: Option<f64>,
    /// How a pool is chosen (default `random`).
    pub(super) expander: Option<RawExpander>,
    /// A node that has not come by then is given up (default 15m).
    pub(super) max_node_provision_time: Option<Span>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Expander")]
pub(super) enum RawExpander {
    Random,
    LeastWaste,
    MostPods,
    Priority,
}

/// How the local target and forecasts imitate Azure.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Local")]
pub(super) struct RawLocal {
    /// Time from asking for a VM to a Ready node (default `2m..5m`).
    pub(super) vm_delay: Option<SpanRange>,
    /// Time to pull an image onto a node that has not got it (default 5s). For forecasts: the local target pulls nothing.
    pub(super) image_pull: Option<Span>,
    /// Time from a started container to one that serves (default 2s). For forecasts: on the local target a container takes
    /// the time of its own process.
    pub(super) container_start: Option<Span>,
}

/// A Deployment with its scaling.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Workload")]
pub(super) struct RawWorkload {
    /// Role in the demo (default: the workload's name, if it is one of these).
    pub(super) role: Option<RawRole>,
    /// Container image; without a role it is run as it is.
    pub(super) image: Option<String>,
    /// Replicas of a workload that nothing scales (default 1).
    #[schemars(range(min = 0, max = 10000))]
    pub(super) replicas: Option<u32>,
    /// Pods of a greater priority take the room of lesser ones when nodes are full (default 0).
    pub(super) priority: Option<i32>,
    /// What the scheduler counts.
    #[serde(default)]
    pub(super) requests: RawResources,
    /// What the kernel allows (default: the requests).
    #[serde(default)]
    pub(super) limits: RawResources,
    /// Memory of an idle pod (default 256Mi, at most half the request).
    pub(super) base_memory: Option<Bytes>,
    /// Time between SIGTERM and SIGKILL (default 30s).
    pub(super) grace: Option<Span>,
    #[serde(default)]
    pub(super) probes: RawProbes,
    /// web: how writes are answered (default `async`).
    pub(super) pattern: Option<RawPattern>,
    /// web: requests that one pod executes at once (default 10).
    #[schemars(range(min = 1, max = 10000))]
    pub(super) concurrency: Option<u32>,
    /// web: requests that one pod keeps waiting (default 100).
    #[schemars(range(min = 0, max = 100_000))]
    pub(super) queue: Option<u32>,
    /// web: backend time of reading one customer (default 50ms).
    pub(super) read_one: Option<Span>,
    /// web: backend time of listing customers (default 200ms).
    pub(super) read_all: Option<Span>,
    /// web: backend time of a write (default 100ms).
    pub(super) write: Option<Span>,
    /// web: how long a list stays cached (default 0s: not at all).
    pub(super) cache_ttl: Option<Span>,
    /// web: CPU time of one request (default 2ms).
    pub(super) cpu_per_request: Option<Span>,
    /// web: requests after which the app closes a connection (default 10).
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) requests_per_connection: Option<u32>,
    /// web: Redis list that writes go to (default `customer_operations`).
    pub(super) writes: Option<String>,
    /// worker: Redis list it consumes (default `customer_operations`).
    pub(super) reads: Option<String>,
    /// worker: most messages stored in one bulk write (default 100).
    #[schemars(range(min = 1, max = 10000))]
    pub(super) batch: Option<u32>,
    /// worker: time of one bulk write (default 400ms).
    pub(super) batch_time: Option<Span>,
    /// worker: CPU time of one message (default 1ms).
    pub(super) cpu_per_message: Option<Span>,
    /// worker: attempts before a message goes to the dead-letter list (default 3).
    #[schemars(range(min = 1, max = 100))]
    pub(super) max_retries: Option<u32>,
    /// prometheus: time between two scrapes of a pod (default 5s).
    pub(super) scrape_interval: Option<Span>,
    pub(super) scaling: Option<RawScaling>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Role")]
pub(super) enum RawRole {
    Web,
    Worker,
    Redis,
    Prometheus,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Pattern")]
pub(super) enum RawPattern {
    Direct,
    Async,
}

/// CPU and memory.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Resources")]
pub(super) struct RawResources {
    /// CPU, such as `500m`.
    pub(super) cpu: Option<Millicores>,
    /// Memory, such as `1Gi`.
    pub(super) memory: Option<Bytes>,
}

/// Readiness and liveness.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Probes")]
pub(super) struct RawProbes {
    #[serde(default)]
    pub(super) readiness: RawProbe,
    #[serde(default)]
    pub(super) liveness: RawProbe,
}

/// One probe.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Probe")]
pub(super) struct RawProbe {
    /// Wait before the first (default 0s).
    pub(super) initial_delay: Option<Span>,
    /// Time between two (default 1s for readiness, 10s for liveness).
    pub(super) period: Option<Span>,
    /// Longest answer (default 1s).
    pub(super) timeout: Option<Span>,
    /// Failures in a row that count (default 3).
    #[schemars(range(min = 1, max = 100))]
    pub(super) failures: Option<u32>,
}

/// Scaling by KEDA; left out: a fixed number of replicas.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Scaling")]
pub(super) struct RawScaling {
    /// Least replicas (default 1).
    #[schemars(range(min = 0, max = 10000))]
    pub(super) min: Option<u32>,
    /// Most replicas.
    #[schemars(range(min = 1, max = 10000))]
    pub(super) max: Option<u32>,
    /// KEDA's pollingInterval (default 30s); governs 0 -> 1 only.
    pub(super) polling: Option<Span>,
    /// KEDA's cooldownPeriod (default 300s); governs 1 -> 0 only.
    pub(super) cooldown: Option<Span>,
    /// What it scales on.
    #[serde(default)]
    pub(super) trigger: Vec<RawTrigger>,
    #[serde(default)]
    pub(super) behavior: RawBehavior,
}

/// One trigger.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(rename = "Trigger")]
pub(super) enum RawTrigger {
    /// Mean CPU use over the pods' requests.
    Cpu {
        /// Percent.
        #[schemars(range(min = 1, max = 1000))]
        utilization: u32,
    },
    /// Mean memory use over the pods' requests.
    Memory {
        /// Percent.
        #[schemars(range(min = 1, max = 1000))]
        utilization: u32,
    },
    /// A PromQL query that gives one value.
    Prometheus {
        /// Name in reports (default: the first metric of the query).
        name: Option<String>,
        /// Server (default `http://prometheus:9090`).
        server: Option<String>,
        /// Query.
        query: String,
        /// Value per replica, above 0.
        threshold: f64,
        /// Active above this (default 0).
        #[schemars(range(min = 0))]
        activation: Option<f64>,
    },
    /// Length of a Redis list.
    Redis {
        /// Server (default `redis:6379`).
        address: Option<String>,
        /// The list (default: the one that the workload reads).
        list: Option<String>,
        /// Messages per replica (default 5).
        #[schemars(range(min = 1))]
        length: Option<u32>,
        /// Active above this (default 0).
        activation: Option<u32>,
    },
    /// A number of replicas between two times.
    Cron {
        /// IANA time zone, such as `Europe/Berlin`.
        timezone: String,
        /// Start: minute hour day-of-month month day-of-week.
        start: String,
        /// End.
        end: String,
        /// Replicas in between.
        #[schemars(range(min = 1, max = 10000))]
        desired: u32,
    },
}

/// HPA behaviour; a direction left out keeps Kubernetes' default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Behavior")]
pub(super) struct RawBehavior {
    pub(super) scale_up: Option<RawRules>,
    pub(super) scale_down: Option<RawRules>,
}

/// HPA rules of one direction.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rules")]
pub(super) struct RawRules {
    /// Stabilisation window, whole seconds, at most 1h.
    pub(super) window: Option<Span>,
    /// Which policy wins (default `max`).
    pub(super) select: Option<RawSelect>,
    /// Policies; none: Kubernetes' default ones.
    #[serde(default)]
    pub(super) policies: Vec<RawPolicy>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Select")]
pub(super) enum RawSelect {
    Max,
    Min,
    Disabled,
}

/// So many `pods` or `percent` in a `period`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Policy")]
pub(super) struct RawPolicy {
    /// Pods.
    #[schemars(range(min = 1, max = 10000))]
    pub(super) pods: Option<u32>,
    /// Percent of the replicas at the period's start.
    #[schemars(range(min = 1, max = 10000))]
    pub(super) percent: Option<u32>,
    /// Whole seconds, 1s to 30m (default 15s).
    pub(super) period: Option<Span>,
}

/// A day's shape, for the monthly projection.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Traffic")]
pub(super) struct RawTraffic {
    /// Periods; default: one hour of full load a day.
    pub(super) day: Option<Vec<RawPeriod>>,
}

/// From `at` on, this share of the hardest moment of the suite.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Period")]
pub(super) struct RawPeriod {
    /// Time of the day, `HH:MM`.
    #[schemars(extend("format" = "time-of-day"))]
    pub(super) at: String,
    /// 0: baseline, 1: the hardest moment of the suite.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(super) load: f64,
}

/// Overrides of list prices, dollars.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Prices")]
pub(super) struct RawPrices {
    /// Every price times this (default 1).
    #[schemars(range(min = 0, max = 1000))]
    pub(super) factor: Option<f64>,
    /// Control plane per hour.
    #[schemars(range(min = 0))]
    pub(super) control_plane: Option<f64>,
    /// One node's OS disk per hour.
    #[schemars(range(min = 0))]
    pub(super) os_disk: Option<f64>,
    /// Load balancer per hour.
    #[schemars(range(min = 0))]
    pub(super) load_balancer: Option<f64>,
    /// One public IP address per hour.
    #[schemars(range(min = 0))]
    pub(super) public_ip: Option<f64>,
    /// Log ingestion per GB.
    #[schemars(range(min = 0))]
    pub(super) log_gb: Option<f64>,
    /// VM per hour, by size.
    #[serde(flatten)]
    pub(super) vm: BTreeMap<String, f64>,
}

/// Two durations, written `2m..5m`, or one that stands for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanRange {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl SpanRange {
    /// Reads `2m..5m` or `500ms`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let side = |part: &str| parse_duration(part).map_err(|error| error.to_string());
        let (min, max) = (side(min)?, side(max)?);
        if min > max { Err(format!("`{text}` ends before it begins")) } else { Ok(Self { min, max }) }
    }
}

impl<'de> Deserialize<'de> for SpanRange {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for SpanRange {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SpanRange".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "go-duration-range", "examples": ["2m..5m", "500ms"] })
    }
}
