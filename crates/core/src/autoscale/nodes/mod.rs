//! The cluster autoscaler: more nodes when pods do not fit, fewer when nodes are not needed.
//!
//! Upstream: kubernetes/autoscaler 1.33
//! (<https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md>), with AKS's settings. Times are
//! seconds on any one scale.

mod drain;
mod estimate;
mod expander;
mod scale_down;
mod scale_up;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use drain::{Blocked, Budget, DrainOptions, Movable, movable};
pub use estimate::{Estimate, estimate};
pub use expander::{Expander, Option as ExpansionOption};
use rand::{SeedableRng as _, rngs::StdRng};

use super::schedule::{Cluster, Node, Pod};

/// Settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// No scale-down for this long after a scale-up.
    pub scale_down_delay_after_add_s: f64,
    /// A node must be unneeded for longer than this.
    pub scale_down_unneeded_s: f64,
    /// At most this share of requests makes a node a candidate.
    pub utilization_threshold: f64,
    /// How one of several groups is chosen.
    pub expander: Expander,
    /// A node that was found not removable is not looked at for this long.
    pub unremovable_recheck_s: f64,
    /// Nodes removed at once.
    pub max_parallelism: usize,
    /// Nodes drained at once.
    pub max_drains: usize,
    /// What keeps pods where they are.
    pub drain: DrainOptions,
}

impl Default for Options {
    /// AKS's defaults.
    fn default() -> Self {
        Self {
            scale_down_delay_after_add_s: 600.0,
            scale_down_unneeded_s: 600.0,
            utilization_threshold: 0.5,
            expander: Expander::Random,
            unremovable_recheck_s: 300.0,
            max_parallelism: 10,
            max_drains: 1,
            drain: DrainOptions::default(),
        }
    }
}

/// A node group as its cloud has it.
#[derive(Debug, Clone, PartialEq)]
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
    /// A scale-up of it failed lately.
    pub backed_off: bool,
}

/// Everything that one loop sees.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Node groups.
    pub groups: Vec<Group>,
    /// Ready nodes with the pods bound to them.
    pub cluster: Cluster,
    /// Group of each node that belongs to one.
    pub group_of: BTreeMap<String, String>,
    /// Pods that the scheduler could not place.
    pub pending: Vec<Pod>,
    /// Disruption budgets.
    pub budgets: Vec<Budget>,
    /// Nodes that are being removed.
    pub deleting: Vec<String>,
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
        /// `NAMESPACE/NAME` of the pods that it is for.
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
}

/// The autoscaler's memory between loops.
#[derive(Debug)]
pub struct Autoscaler {
    options: Options,
    random: StdRng,
    last_scale_up_s: f64,
    unneeded_since: BTreeMap<String, f64>,
    unremovable_until: BTreeMap<String, f64>,
}

impl Autoscaler {
    /// An autoscaler that has done nothing for a long time.
    pub fn new(options: Options, seed: u64) -> Self {
        Self {
            options,
            random: StdRng::seed_from_u64(seed),
            last_scale_up_s: f64::NEG_INFINITY,
            unneeded_since: BTreeMap::new(),
            unremovable_until: BTreeMap::new(),
        }
    }

    /// Nodes that were found unneeded, and since when.
    pub fn unneeded(&self) -> &BTreeMap<String, f64> {
        &self.unneeded_since
    }

    /// One loop.
    pub fn run_once(&mut self, world: &World, now: f64) -> Vec<Action> {
        let ups = scale_up::plan(&self.options, world, &mut self.random);
        if ups.iter().any(|action| matches!(action, Action::Increase { .. })) {
            self.last_scale_up_s = now;
            return ups;
        }
        let mut actions = ups;
        actions.extend(self.scale_down(world, now));
        actions
    }
}
