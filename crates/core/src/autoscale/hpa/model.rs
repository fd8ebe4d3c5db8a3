//! What the autoscaler looks at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A pod that the target's selector returns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// It has a deletion timestamp.
    #[serde(default)]
    pub deleted: bool,
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: String,
    /// When the kubelet took it.
    pub start_time_s: Option<f64>,
    /// Status of the Ready condition: `True`, `False`, `Unknown`; none without the condition.
    pub ready: Option<String>,
    /// When that last changed.
    pub ready_last_transition_s: Option<f64>,
    /// Regular containers.
    #[serde(default)]
    pub containers: Vec<Container>,
    /// Init containers.
    #[serde(default)]
    pub init_containers: Vec<InitContainer>,
}

/// A container's requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Name.
    pub name: String,
    /// By resource name, milli-units.
    #[serde(default)]
    pub requests_milli: BTreeMap<String, i64>,
}

/// An init container; one that restarts always is a sidecar.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InitContainer {
    /// Name.
    pub name: String,
    /// `Always` for a sidecar.
    #[serde(default)]
    pub restart_policy: Option<String>,
    /// By resource name, milli-units.
    #[serde(default)]
    pub requests_milli: BTreeMap<String, i64>,
}

/// What a metrics API answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Per pod, for resource and pods metrics.
    #[serde(default)]
    pub pod_metrics: Vec<PodMetric>,
    /// The value of an object metric, milli-units.
    #[serde(default)]
    pub value_milli: Option<i64>,
    /// The values of an external metric, milli-units.
    #[serde(default)]
    pub values_milli: Vec<i64>,
    /// The answer's time.
    #[serde(default)]
    pub timestamp_s: f64,
    /// Why there is no answer.
    #[serde(default)]
    pub error: Option<String>,
}

/// One pod's sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodMetric {
    /// Pod's name.
    pub pod: String,
    /// End of the sample's window.
    #[serde(default)]
    pub timestamp_s: f64,
    /// Length of the sample's window.
    #[serde(default)]
    pub window_s: f64,
    /// The value of a pods metric, milli-units.
    #[serde(default)]
    pub value_milli: Option<i64>,
    /// Per container, for resource metrics.
    #[serde(default)]
    pub containers: Vec<ContainerUsage>,
}

/// One container's use of the resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerUsage {
    /// Container's name.
    pub name: String,
    /// Milli-units; none when the resource is absent.
    pub usage_milli: Option<i64>,
}

/// What a metric is compared with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Percent of the request.
    #[serde(default)]
    pub average_utilization_percent: Option<i64>,
    /// Per pod, milli-units.
    #[serde(default)]
    pub average_value_milli: Option<i64>,
    /// In all, milli-units.
    #[serde(default)]
    pub value_milli: Option<i64>,
}

/// The object that an object metric describes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Described {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// One entry of `spec.metrics`.
#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// `cpu` or `memory`, of whole pods or of one container.
    Resource {
        /// Resource's name.
        resource: String,
        /// The one container that counts.
        container: Option<String>,
        /// Target.
        target: Target,
    },
    /// A custom metric of each pod.
    Pods {
        /// Metric's name.
        name: String,
        /// Target.
        target: Target,
    },
    /// A custom metric of one object.
    Object {
        /// Metric's name.
        name: String,
        /// The object.
        described: Described,
        /// Target.
        target: Target,
    },
    /// A metric from outside the cluster.
    External {
        /// Metric's name.
        name: String,
        /// `matchLabels` of its selector; none without one.
        selector: Option<BTreeMap<String, String>>,
        /// Target.
        target: Target,
    },
    /// A type that the autoscaler does not know.
    Unknown(String),
}

/// Rules of both directions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Behavior {
    /// Scaling up.
    pub scale_up: Option<Rules>,
    /// Scaling down.
    pub scale_down: Option<Rules>,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// More replicas.
    Up,
    /// Fewer.
    Down,
}

/// Rules of one direction.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Seconds; none when scaling down means the controller's default.
    pub stabilization_window_s: Option<i64>,
    /// Which policy wins; `Max` when none.
    pub select_policy: Option<SelectPolicy>,
    /// Share by which the ratio may be off without scaling.
    #[serde(default)]
    pub tolerance: Option<f64>,
    /// Policies; none means the defaults.
    pub policies: Option<Vec<Policy>>,
}

/// Which of several policies wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SelectPolicy {
    /// The greatest change.
    Max,
    /// The least change.
    Min,
    /// No scaling in this direction.
    Disabled,
}

/// How fast replicas may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Pods or percent.
    #[serde(rename = "type")]
    pub kind: PolicyKind,
    /// How many.
    pub value: i32,
    /// Within so many seconds.
    pub period_s: i64,
}

/// Unit of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyKind {
    /// A number of pods.
    Pods,
    /// A share of the replicas at the period's start.
    Percent,
}

/// A change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScaleEvent {
    /// Replicas added or removed, not negative.
    pub replica_change: i32,
    /// When.
    pub at_s: f64,
    /// Its place may be taken by a new one.
    #[serde(default)]
    pub outdated: bool,
}

/// What was recommended at some time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// Replicas.
    pub replicas: i32,
    /// When.
    pub at_s: f64,
}
