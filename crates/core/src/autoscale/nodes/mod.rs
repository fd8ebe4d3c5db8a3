//! The cluster autoscaler: more nodes when pods do not fit, fewer when nodes are not needed.
//!
//! Upstream: kubernetes/autoscaler 1.33
//! (<https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md>), with AKS's settings. Times are
//! seconds on any one scale. [`Autoscaler`] is the loop; every rule that it follows is a function of its own.

mod backoff;
mod balance;
mod budget;
mod cluster_state;
mod delays;
mod drain;
mod eligibility;
mod equivalence;
mod estimate;
mod expander;
mod limits;
mod messages;
mod options;
mod pending;
mod readiness;
mod removal;
mod run_once;
mod scale_down;
mod scale_up;
mod simulation;
#[cfg(test)]
mod tests;
mod unneeded;

use std::collections::BTreeMap;

pub use backoff::{Backoff, BackoffOptions, Failure};
pub use balance::{Ratios, Size, distribute, is_similar, similar_groups};
pub use budget::{Cropped, GroupNodes, Parallelism, crop};
pub use cluster_state::{
    AcceptableRange, Cleanup, ClusterState, FailedScaleUp, GroupSize, IncorrectSize, Readiness, RegisteredNode,
    ScaleUpRequest, StateOptions, incorrect_sizes, long_unregistered, upcoming,
};
pub use delays::{Delays, EventKind};
pub use drain::{
    Blocked, Budget, Controller, Controllers, DrainContext, DrainOptions, Drained, Outcome, RULES, Rule, can_remove,
    drain, drainability, is_daemon_set_pod, is_long_terminating, is_mirror_pod, is_static_pod,
};
pub use eligibility::{EligibilityOptions, TO_BE_DELETED, eligible, utilization};
pub use equivalence::equivalence_groups;
pub use estimate::{Estimate, estimate, order as packing_order};
pub use expander::{Expander, Option as ExpansionOption, Priorities};
pub use limits::{
    Amounts, Left, Limit, Limiter, apply as apply_limits, cluster_limit, exceeded, left, min_limit, node_amounts,
    similar_groups_limit,
};
pub use messages::{MAX_NODES_REACHED, NOT_TRIGGERED, Reasons, TRIGGERED, tells_triggered, tells_unschedulable};
pub use options::Options;
pub use pending::{evicted_soon, is_expendable, is_old_enough, still_pending};
pub use readiness::{is_ready, ready_by_conditions};
pub use removal::{Planned, Removable, Unremovable, plan as plan_removals, put_back, simulate, unneeded_limit};
pub use scale_down::{disruptions, nodes_to_delete, shrinkable};
pub use scale_up::{
    Choose, GroupView, Increase, Plan, PlanResult, ScaleUpOptions, Situation, plan as plan_scale_up, scale_up_to_min,
};
pub use simulation::Simulation;
pub use unneeded::{Candidate, RemovalLimits, Unneeded};

use super::schedule::{Cluster, Node, Pod};

/// A node group as its cloud has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// Name.
    pub id: String,
    /// Least nodes.
    pub min: u32,
    /// Most nodes.
    pub max: u32,
    /// Nodes asked for.
    pub target: u32,
    /// Shape of a new node.
    pub template: Node,
    /// A scale-up of it failed lately, as its cloud tells.
    pub backed_off: bool,
}

/// Everything that one loop sees.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Node groups.
    pub groups: Vec<Group>,
    /// Registered nodes with the pods bound to them.
    pub cluster: Cluster,
    /// Group of each node that belongs to one.
    pub group_of: BTreeMap<String, String>,
    /// Machines of a group by name, a node's machine having the node's name; those of its nodes where it is not named.
    pub instances: BTreeMap<String, Vec<String>>,
    /// Pods that the scheduler could not place.
    pub pending: Vec<Pod>,
    /// Disruption budgets.
    pub budgets: Vec<Budget>,
    /// Controllers of pods, where these can be looked up.
    pub controllers: Option<Controllers>,
    /// Nodes that are being removed.
    pub deleting: Vec<String>,
    /// Now by the clock of taints, Unix seconds.
    pub unix_s: f64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask the cloud for more nodes.
    Increase {
        /// Group.
        group: String,
        /// Nodes asked for before.
        from: u32,
        /// Nodes asked for now.
        to: u32,
        /// Most nodes.
        max: u32,
        /// Namespaces and names of the pods that it is for.
        pods: Vec<(String, String)>,
    },
    /// Pods that no group can help.
    NotTriggered {
        /// Namespace and name.
        pod: (String, String),
        /// Why.
        message: String,
    },
    /// Remove a node after moving its pods.
    Remove {
        /// Node.
        node: String,
        /// Pods that move.
        pods: Vec<(String, String)>,
        /// Share of requests.
        utilization: f64,
    },
    /// Give back a machine that did not become a node in time.
    DeleteInstance {
        /// Group.
        group: String,
        /// Machine.
        instance: String,
    },
    /// Correct a target that the cloud does not reach.
    FixTarget {
        /// Group.
        group: String,
        /// Nodes asked for now.
        to: u32,
    },
    /// Nodes that were asked for did not come; the group is left alone for a while.
    ScaleUpFailed {
        /// Group.
        group: String,
        /// Why.
        message: String,
    },
}

pub use run_once::Autoscaler;
