//! Which event led to which: pods follow replicas, unschedulable pods follow replicas, nodes follow unschedulable pods.

use std::collections::BTreeMap;

use democtl_core::event::{EventId, Fact};

/// The last event of each kind that others can follow from.
#[derive(Debug, Default)]
pub(super) struct Causes {
    test: Option<EventId>,
    replicas: BTreeMap<String, EventId>,
    unschedulable: Option<EventId>,
    provisioning: BTreeMap<String, EventId>,
    scaled_down: Option<EventId>,
}

impl Causes {
    /// Takes note of event `id` and tells what caused it.
    pub(super) fn of(&mut self, id: EventId, fact: &Fact) -> Option<EventId> {
        match fact {
            Fact::TestStarted { .. } => {
                self.test = Some(id);
                None
            }
            Fact::TestFinished { .. } => self.test,
            Fact::Replicas { workload, from, to, .. } => {
                self.replicas.insert(workload.clone(), id);
                if to < from {
                    self.scaled_down = Some(id);
                }
                self.test
            }
            Fact::Pods { workload, .. } => self.replicas.get(workload).copied(),
            Fact::FailedScheduling { workload, .. } => {
                self.unschedulable = Some(id);
                self.replicas.get(workload).copied()
            }
            Fact::Nodes { node, change, .. } => match change.as_str() {
                "provisioning" => {
                    self.provisioning.insert(node.clone(), id);
                    self.unschedulable
                }
                "ready" => self.provisioning.values().last().copied(),
                "draining" | "removed" => self.scaled_down,
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_follows_from_pods_that_follow_from_replicas() {
        let mut causes = Causes::default();
        assert_eq!(causes.of(1, &Fact::TestStarted { test: "spike".into() }), None);
        let replicas =
            Fact::Replicas { workload: "web".into(), from: 2, to: 10, reason: String::new(), by: "HPA".into() };
        assert_eq!(causes.of(2, &replicas), Some(1));
        let pending = Fact::FailedScheduling { pod: "web-1".into(), workload: "web".into(), message: String::new() };
        assert_eq!(causes.of(3, &pending), Some(2));
        let node = |change: &str| Fact::Nodes {
            ready: 2,
            total: 3,
            billed: BTreeMap::new(),
            node: "n3".into(),
            change: change.into(),
            reason: String::new(),
        };
        assert_eq!(causes.of(4, &node("provisioning")), Some(3));
        assert_eq!(causes.of(5, &node("ready")), Some(4));
    }
}
