//! The autoscaler's settings.

use super::{
    cluster_state::StateOptions, delays::Delays, drain::DrainOptions, eligibility::EligibilityOptions,
    expander::Expander, scale_up::ScaleUpOptions,
};

/// Settings; times are seconds.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of upstream's own")]
pub struct Options {
    /// Nodes are removed at all.
    pub scale_down_enabled: bool,
    /// No scale-down for this long after a scale-up.
    pub scale_down_delay_after_add_s: f64,
    /// No scale-down for this long after a scale-down.
    pub scale_down_delay_after_delete_s: f64,
    /// No scale-down for this long after one that failed.
    pub scale_down_delay_after_failure_s: f64,
    /// Each group waits for itself.
    pub scale_down_delay_by_group: bool,
    /// A node must be unneeded for longer than this.
    pub scale_down_unneeded_s: f64,
    /// A node that is not ready must be unneeded for longer than this.
    pub scale_down_unready_s: f64,
    /// At most this share of requests makes a node a candidate.
    pub utilization_threshold: f64,
    /// Pods of daemon sets do not count in it.
    pub ignore_daemon_sets: bool,
    /// How one of several groups is chosen.
    pub expander: Expander,
    /// A node that was found not removable is not looked at for this long.
    pub unremovable_recheck_s: f64,
    /// Nodes removed at once.
    pub max_parallelism: usize,
    /// Nodes drained at once.
    pub max_drains: usize,
    /// Pods that were evicted count as coming back for this long.
    pub max_graceful_termination_s: f64,
    /// What keeps pods where they are.
    pub drain: DrainOptions,
    /// Limits and ways of scaling up.
    pub scale_up: ScaleUpOptions,
    /// Groups below their minimum get nodes without a pending pod.
    pub enforce_min_size: bool,
    /// A machine has so long to become a node.
    pub max_node_provision_s: f64,
    /// Pending pods must be older than this.
    pub new_pod_scale_up_delay_s: f64,
    /// Pods of a lower priority do not count.
    pub expendable_cutoff: i64,
    /// When the cluster and its groups are healthy.
    pub state: StateOptions,
    /// Loops are this far apart until two of them have been seen.
    pub scan_interval_s: f64,
}

impl Default for Options {
    /// AKS's defaults.
    fn default() -> Self {
        Self {
            scale_down_enabled: true,
            scale_down_delay_after_add_s: 600.0,
            scale_down_delay_after_delete_s: 0.0,
            scale_down_delay_after_failure_s: 180.0,
            scale_down_delay_by_group: false,
            scale_down_unneeded_s: 600.0,
            scale_down_unready_s: 1200.0,
            utilization_threshold: 0.5,
            ignore_daemon_sets: false,
            expander: Expander::Random,
            unremovable_recheck_s: 300.0,
            max_parallelism: 10,
            max_drains: 1,
            max_graceful_termination_s: 600.0,
            drain: DrainOptions { skip_local_storage: false, ..DrainOptions::default() },
            scale_up: ScaleUpOptions::default(),
            enforce_min_size: false,
            max_node_provision_s: 900.0,
            new_pod_scale_up_delay_s: 0.0,
            expendable_cutoff: -10,
            state: StateOptions::default(),
            scan_interval_s: 10.0,
        }
    }
}

impl Options {
    pub(super) fn eligibility(&self) -> EligibilityOptions {
        EligibilityOptions {
            utilization_threshold: self.utilization_threshold,
            ignore_daemon_sets: self.ignore_daemon_sets,
            ..EligibilityOptions::default()
        }
    }

    pub(super) fn delays(&self) -> Delays {
        Delays::new(
            self.scale_down_delay_after_add_s,
            self.scale_down_delay_after_delete_s,
            self.scale_down_delay_after_failure_s,
            self.scale_down_delay_by_group,
        )
    }
}
