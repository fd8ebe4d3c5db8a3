//! A run as it goes on: which event led to which, and where it stands.
//!
//! Pods follow replicas, unschedulable pods follow replicas, nodes follow unschedulable pods. The observer of a real
//! cluster and the forecast record their facts by the same rules.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    cost::{NodeCount, NodeStep},
    event::{Event, EventId, Fact},
};

/// Counts that a person compares: nodes, and pods by workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Ready nodes.
    pub nodes: i32,
    /// Ready pods by workload.
    #[serde(flatten)]
    pub pods: BTreeMap<String, i32>,
}

/// Where a run stands, as far as it was observed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moment {
    /// Seconds since the run began, profile time.
    pub at_s: f64,
    /// Ready nodes and pods now.
    pub now: Counts,
    /// Greatest numbers so far.
    pub peak: Counts,
    /// Machines that cost money, by VM size, starting ones included.
    pub billed: BTreeMap<String, u32>,
    /// The same at each change, for the cost.
    pub node_steps: Vec<NodeStep>,
    /// Changes of replicas or nodes so far.
    pub scaling_events: u32,
    /// Depth of the queue, last seen.
    pub queue: Option<u64>,
    /// Messages of pods that could not be scheduled, by workload, last seen.
    pub unschedulable: BTreeMap<String, String>,
}

fn node_counts(billed: &BTreeMap<String, u32>) -> Vec<NodeCount> {
    billed.iter().map(|(vm_size, count)| NodeCount { vm_size: vm_size.clone(), count: *count }).collect()
}

/// How far a metric is from its target: their ratio, and the words, such as `in-flight 41/pod > 6`.
pub fn metric_words(label: &str, value: f64, target: f64, unit: &str) -> (f64, String) {
    let short = |value: f64| {
        if value >= 10.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
    };
    let sign = if value > target { '>' } else { '<' };
    (value / target, format!("{label} {}{unit} {sign} {}", short(value), short(target)))
}

impl Moment {
    /// Where a recorded run stands at its last event; time counts from its beginning, what was before is what it found.
    pub fn of(events: &[Event]) -> Self {
        let began = |event: &&Event| matches!(event.fact, Fact::RunStarted { .. });
        let begun_s = events.iter().find(began).map_or(0.0, |event| event.at_s);
        let mut moment = Self::default();
        for event in events {
            moment.at_s = (event.at_s - begun_s).max(0.0);
            moment.take(moment.at_s, &event.fact);
            if began(&event) {
                moment.peak = moment.now.clone();
                moment.scaling_events = 0;
            }
        }
        moment
    }

    /// What is paid for now, as the cost functions take it.
    pub fn billed_nodes(&self) -> Vec<NodeCount> {
        node_counts(&self.billed)
    }

    /// Takes note of a fact at a time of the run.
    pub fn take(&mut self, at_s: f64, fact: &Fact) {
        match fact {
            Fact::Pods { workload, ready, .. } => {
                self.now.pods.insert(workload.clone(), *ready);
                let peak = self.peak.pods.entry(workload.clone()).or_default();
                *peak = (*peak).max(*ready);
            }
            Fact::Nodes { ready, billed, change, .. } => {
                self.now.nodes = *ready;
                self.peak.nodes = self.peak.nodes.max(*ready);
                if *billed != self.billed {
                    self.billed.clone_from(billed);
                    let at = Duration::from_secs_f64(at_s.max(0.0));
                    self.node_steps.push(NodeStep { at, nodes: node_counts(billed) });
                }
                if change == "provisioning" || change == "removed" {
                    self.scaling_events += 1;
                }
            }
            Fact::Replicas { .. } => self.scaling_events += 1,
            Fact::FailedScheduling { workload, message, .. } => {
                self.unschedulable.insert(workload.clone(), message.clone());
            }
            Fact::Sample { queue, .. } => self.queue = *queue,
            _ => {}
        }
    }
}

/// The last event of each kind that others can follow from.
#[derive(Debug, Default)]
pub struct Causes {
    test: Option<EventId>,
    replicas: BTreeMap<String, EventId>,
    unschedulable: Option<EventId>,
    provisioning: BTreeMap<String, EventId>,
    scaled_down: Option<EventId>,
    /// Machines that were asked for and do not come.
    refused: Option<EventId>,
}

impl Causes {
    /// Takes note of event `id` and tells what caused it.
    pub fn of(&mut self, id: EventId, fact: &Fact) -> Option<EventId> {
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
                // Without machines, pods go on waiting because there are none.
                self.refused.or_else(|| self.replicas.get(workload).copied())
            }
            Fact::Nodes { node, change, .. } => match change.as_str() {
                "provisioning" => {
                    self.provisioning.insert(node.clone(), id);
                    self.unschedulable
                }
                "failed" => {
                    self.refused = Some(id);
                    self.provisioning.remove(node).or(self.unschedulable)
                }
                "ready" => {
                    self.refused = None;
                    self.provisioning.values().last().copied()
                }
                "draining" | "removed" => self.scaled_down,
                _ => None,
            },
            Fact::Cloud { failed: true, .. } => {
                let cause = self.provisioning.values().last().copied().or(self.unschedulable);
                self.refused = Some(id);
                cause
            }
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
        assert_eq!(causes.of(5, &node("failed")), Some(4));
        assert_eq!(causes.of(6, &pending), Some(5), "they wait on because the machine did not come");
        assert_eq!(causes.of(7, &node("provisioning")), Some(6));
        let refusal = Fact::Cloud {
            object: "pool n".into(),
            state: "QuotaExceeded".into(),
            message: String::new(),
            failed: true,
        };
        assert_eq!(causes.of(8, &refusal), Some(7));
        assert_eq!(causes.of(9, &pending), Some(8));
        assert_eq!(causes.of(10, &node("ready")), Some(7));
        assert_eq!(causes.of(11, &pending), Some(2));
    }
}
