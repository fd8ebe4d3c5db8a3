//! Events: timestamped facts of a run, each naming the event that caused it. A run's timeline is all of its events.
//!
//! They are written as one JSON object a line (`events.jsonl`); live views, reports and replays read only that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::autoscale::hpa::{Behavior, CurrentMetric, Target};

/// Number of an event within its run, from 1.
pub type EventId = u64;

/// A timestamped fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number within the run.
    pub id: EventId,
    /// Seconds since the run began, in the profile's own time (real seconds times the speed).
    pub at_s: f64,
    /// Wall clock, RFC 3339.
    pub time: String,
    /// The event that led to this one, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<EventId>,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// A run began.
    RunStarted {
        /// Environment's name.
        environment: String,
        /// Profile's name.
        profile: String,
        /// Real durations are divided by this.
        speed: f64,
    },
    /// A run ended.
    RunFinished {
        /// Whether every test passed.
        passed: bool,
    },
    /// A run was ended by its user before its last test had.
    RunCancelled,
    /// A test began.
    TestStarted {
        /// Its name.
        test: String,
    },
    /// A test ended.
    TestFinished {
        /// Its name.
        test: String,
        /// Whether every threshold held.
        passed: bool,
    },
    /// Wanted replicas of a workload changed.
    Replicas {
        /// Workload.
        workload: String,
        /// Before.
        from: i32,
        /// After.
        to: i32,
        /// Why, in words, such as `requests in flight 41/pod > 6`.
        reason: String,
        /// Who decided: `HPA`, `KEDA`, `user`.
        by: String,
    },
    /// Ready and pending pods of a workload changed.
    Pods {
        /// Workload.
        workload: String,
        /// Ready.
        ready: i32,
        /// Not scheduled.
        pending: i32,
        /// All.
        total: i32,
    },
    /// A pod could not be scheduled.
    FailedScheduling {
        /// Pod.
        pod: String,
        /// Workload it belongs to.
        workload: String,
        /// The scheduler's words.
        message: String,
    },
    /// A node joined, became Ready, or left.
    Nodes {
        /// Ready nodes after.
        ready: i32,
        /// All nodes after, those starting included.
        total: i32,
        /// What is paid for after, by VM size: machines that start are, before their node joins.
        billed: BTreeMap<String, u32>,
        /// Node that changed.
        node: String,
        /// `provisioning`, `failed` (what was asked for does not come), `ready`, `draining`, `removed`.
        change: String,
        /// Why, in words.
        reason: String,
    },
    /// What a horizontal autoscaler is asked to do: when first seen, and at each change of its specification.
    Autoscaler {
        /// Workload that it scales.
        workload: String,
        /// Least replicas.
        min: i32,
        /// Most replicas.
        max: i32,
        /// Policies and windows, as stored.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        behavior: Option<Behavior>,
        /// Its metrics, in order.
        metrics: Vec<MetricTarget>,
    },
    /// What a horizontal autoscaler saw and decided at a sync, as its status tells: when that differs from the last one.
    Sync {
        /// Workload that it scales.
        workload: String,
        /// Wanted replicas before.
        replicas: i32,
        /// Wanted replicas after.
        desired: i32,
        /// One entry for each metric of [`Fact::Autoscaler`], none where it failed; empty where none was asked.
        metrics: Vec<Option<CurrentMetric>>,
        /// Conditions after.
        conditions: Vec<ConditionSeen>,
    },
    /// A sample of what a person watches.
    Sample {
        /// Depth of the queue, where there is one.
        queue: Option<u64>,
        /// Customers stored so far.
        processed: Option<u64>,
        /// CPU used, in milli, by workload.
        cpu_milli: Vec<(String, i64)>,
        /// Dollars per hour at this moment.
        usd_per_hour: f64,
    },
    /// What the cloud tells of its own things: a pool, a machine, an operation that failed.
    Cloud {
        /// Which one, such as `pool main`.
        object: String,
        /// How it stands, or the error's code, such as `AllocationFailed`.
        state: String,
        /// The figures, or the cloud's words.
        message: String,
        /// Whether something went wrong.
        failed: bool,
    },
    /// Another Kubernetes Event worth showing.
    Kubernetes {
        /// `Kind/name`.
        object: String,
        /// Upstream's reason.
        reason: String,
        /// Its message.
        message: String,
        /// `Normal` or `Warning`.
        kind: String,
    },
}

/// One metric of an autoscaler's specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricTarget {
    /// What people call it: the trigger's name, or the metric's.
    pub name: String,
    /// A resource (`cpu`, `memory`) of pods, rather than a metric from outside the cluster.
    pub resource: bool,
    /// What it is compared with.
    pub target: Target,
}

impl MetricTarget {
    /// What it was and what it is compared with, in whole units, and their unit: ` %`, `/pod`, or nothing for a total.
    pub fn figures(&self, current: CurrentMetric) -> (Option<f64>, f64, &'static str) {
        let whole = |milli: i64| milli as f64 / 1000.0;
        let of = &self.target;
        if let Some(percent) = of.average_utilization_percent {
            return (current.average_utilization_percent.map(|value| value as f64), percent as f64, " %");
        }
        if let Some(average) = of.average_value_milli {
            return (current.average_value_milli.map(whole), whole(average), "/pod");
        }
        (current.value_milli.map(whole), whole(of.value_milli.unwrap_or(1000)), "")
    }
}

/// A condition of an autoscaler's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionSeen {
    /// Type, such as `ScalingLimited`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: bool,
    /// Upstream's reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}
