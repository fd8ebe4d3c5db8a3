//! What is told to pods.
//!
//! Upstream: `processors/status/eventing_scale_up_processor.go`.

use std::collections::BTreeMap;

use super::scale_up::PlanResult;

/// Reason of the event of a pod that a scale-up is for.
pub const TRIGGERED: &str = "TriggeredScaleUp";
/// Reason of the event of a pod that no scale-up helps.
pub const NOT_TRIGGERED: &str = "NotTriggerScaleUp";
/// Why no node is added when the cluster has all that it may have.
pub const MAX_NODES_REACHED: &str = "max total nodes in cluster reached";

/// Why groups do not help a pod, by group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Its nodes cannot hold the pod.
    pub refused: BTreeMap<String, Vec<String>>,
    /// It cannot grow.
    pub skipped: BTreeMap<String, Vec<String>>,
}

impl Reasons {
    /// Counts of groups by reason. Groups that do not `exist` are not counted.
    pub fn message(&self, result: &PlanResult, exists: impl Fn(&str) -> bool) -> String {
        let mut parts = Vec::new();
        if *result == PlanResult::LimitedByMaxNodesTotal {
            parts.push(MAX_NODES_REACHED.to_owned());
        } else {
            let mut counts = BTreeMap::<&str, usize>::new();
            let groups = self.refused.iter().chain(&self.skipped).filter(|(group, _)| exists(group));
            for reason in groups.flat_map(|(_, reasons)| reasons) {
                *counts.entry(reason).or_default() += 1;
            }
            parts.extend(counts.iter().map(|(reason, count)| format!("{count} {reason}")));
        }
        format!("pod didn't trigger scale-up: {}", parts.join(", "))
    }
}

/// Whether pods that no group helps are told so.
pub fn tells_unschedulable(result: &PlanResult) -> bool {
    !matches!(result, PlanResult::Successful | PlanResult::Error(_))
}

/// Whether the pods of the chosen option are told so.
pub fn tells_triggered(groups_resized: usize) -> bool {
    groups_resized > 0
}
