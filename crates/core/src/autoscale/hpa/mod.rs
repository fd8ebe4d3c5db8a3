//! The horizontal pod autoscaler, v2: from metrics to replicas.
//!
//! Upstream: `pkg/controller/podautoscaler` of Kubernetes 1.33
//! (<https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>). Quantities are integers in milli-units;
//! times are seconds on any one scale, `now` among them.

mod behavior;
mod calculator;
mod model;
mod pods;
mod read;
mod reconcile;

pub use behavior::{
    Clamped, Limit, Stabilized, change_within, clamp, clamp_legacy, default_behavior, default_rules, scale_down_limit,
    scale_up_limit, stabilize, stabilize_legacy, store_scale_event,
};
pub use calculator::{Calculator, MetricError, Proposal, usage_ratio, utilization_ratio};
pub use model::{
    Behavior, Container, ContainerUsage, Described, Direction, InitContainer, Metric, Observed, Pod, PodMetric, Policy,
    PolicyKind, Recommendation, Rules, ScaleEvent, SelectPolicy, Target,
};
pub use pods::{Groups, group, requests, resource_samples};
pub use read::milli;
pub use reconcile::{
    Action, Condition, Config, CurrentMetric, Emitted, ErrorKind, Input, MetricOutcome, Outcome, Scale, State, Status,
    reconcile,
};
