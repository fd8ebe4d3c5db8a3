//! The scheduler: which node can hold a pod, which one does, and what is told when none can.
//!
//! Upstream: `pkg/scheduler/framework/plugins` of Kubernetes 1.33
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/>). CPU is in milli-units, memory in bytes,
//! integer division truncates.

mod convert;
mod filters;
mod model;
mod nominated;
mod placement;
mod preemption;
mod scores;
mod selector;
mod spread;

pub use filters::{
    Code, FitOptions, Insufficient, Refusal, fits, matches_affinity, node_affinity, taints, tolerates, unschedulable,
};
pub use model::{
    Expression, InitContainer, Node, Owner, Pod, Resources, Selector, Taint, Term, Toleration, TopologySpread, Volume,
};
pub use nominated::Nominated;
pub use placement::{Cluster, NodeState, Unschedulable, failed_scheduling_message, place};
pub use preemption::preempt;
pub use scores::{balanced_allocation, least_allocated, taint_scores};
pub use selector::matches;
pub use spread::topology_spread;
