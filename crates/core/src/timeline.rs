//! A run as it goes on: which event led to which, and where it stands.
//!
//! Pods follow replicas, unschedulable pods follow replicas, nodes follow unschedulable pods. The observer of a real
//! cluster and the forecast record their facts by the same rules.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    autoscale::hpa::{Config, CurrentMetric},
    cost::{NodeCount, NodeStep},
    event::{ConditionSeen, Event, EventId, Fact, MetricTarget},
    explain::words::short,
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
    /// When its first test could begin; what is before was preparation.
    pub began_s: f64,
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

/// Why an autoscaler changed replicas, in few words, such as `in-flight 41/pod > 6`: by its specification
/// ([`Fact::Autoscaler`]) and the sync that changed them ([`Fact::Sync`]). None: it looked at no metric, and its own words
/// tell why.
pub fn rescale_reason(autoscaler: &Fact, sync: &Fact) -> Option<String> {
    let Fact::Autoscaler { behavior, metrics: targets, .. } = autoscaler else { return None };
    let Fact::Sync { replicas, desired, metrics, conditions, .. } = sync else { return None };
    let figure = |(metric, current): (&MetricTarget, &Option<CurrentMetric>)| {
        let (value, target, unit) = metric.figures((*current)?);
        Some((value? / target, format!("{} {}{unit}", metric.name, short(value?)), target))
    };
    let figures = targets.iter().zip(metrics).filter_map(figure);
    let (ratio, figure, target) = figures.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let window = behavior.as_ref().and_then(|behavior| behavior.scale_down.as_ref()?.stabilization_window_s);
    let window = window.map_or(Config::default().downscale_stabilization_window_s, |window| window as f64);
    let time = if window > 0.0 { format!("in the last {window:.0} s") } else { "now".to_owned() };
    let policy = |condition: &ConditionSeen| condition.status && condition.reason == "ScaleDownLimit";
    Some(if desired > replicas && ratio > 1.0 {
        format!("{figure} > {}", short(target))
    } else if desired > replicas {
        // What a policy did not let through at once comes later, by what the window remembers.
        format!("more was asked for {time} ({figure} by then, the target is {})", short(target))
    } else if conditions.iter().any(policy) {
        format!("no metric asked for as many {time}, and the policy allows {desired}")
    } else {
        format!("no metric asked for more than {desired} {time}")
    })
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

    /// Machines that are paid for and are no ready nodes.
    pub fn starting(&self) -> u32 {
        self.billed.values().sum::<u32>().saturating_sub(self.now.nodes.max(0) as u32)
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
            Fact::RunStarted { .. } => self.began_s = at_s,
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
    use crate::autoscale::hpa::{Behavior, Rules, Target};

    /// Why a workload with metrics `queue` (5 per pod) and `cpu` (60 %) went from one number of replicas to another.
    fn reason(change: (i32, i32), queue: i64, cpu: i64, window: Option<i64>, limit: &str) -> Option<String> {
        let metric = |name: &str, resource: bool, target: Target| MetricTarget { name: name.into(), resource, target };
        let per_pod = Target { average_value_milli: Some(5000), ..Target::default() };
        let percent = Target { average_utilization_percent: Some(60), ..Target::default() };
        let down = Rules { stabilization_window_s: window, ..Rules::default() };
        let autoscaler = Fact::Autoscaler {
            workload: "worker".into(),
            min: 1,
            max: 9,
            behavior: Some(Behavior { scale_up: None, scale_down: Some(down) }),
            metrics: vec![metric("queue", false, per_pod), metric("cpu", true, percent)],
        };
        let condition = ConditionSeen {
            kind: "ScalingLimited".into(),
            status: !limit.is_empty(),
            reason: limit.into(),
            message: String::new(),
        };
        let seen = [
            CurrentMetric { average_value_milli: Some(queue), ..CurrentMetric::default() },
            CurrentMetric { average_utilization_percent: Some(cpu), ..CurrentMetric::default() },
        ];
        let sync = Fact::Sync {
            workload: "worker".into(),
            replicas: change.0,
            desired: change.1,
            metrics: seen.map(Some).to_vec(),
            conditions: vec![condition],
        };
        rescale_reason(&autoscaler, &sync)
    }

    #[test]
    fn a_change_is_told_by_the_rule_that_made_it() {
        let cases = [
            (reason((1, 4), 80_000, 10, None, "ScaleUpLimit"), "queue 80/pod > 5"),
            (reason((1, 2), 7500, 120, None, ""), "cpu 120 % > 60"),
            (
                reason((4, 5), 1000, 10, None, ""),
                "more was asked for in the last 300 s (queue 1/pod by then, the target is 5)",
            ),
            (reason((10, 8), 1000, 12, Some(30), ""), "no metric asked for more than 8 in the last 30 s"),
            (reason((10, 8), 1000, 12, Some(0), "TooFewReplicas"), "no metric asked for more than 8 now"),
            (
                reason((10, 9), 1000, 12, None, "ScaleDownLimit"),
                "no metric asked for as many in the last 300 s, and the policy allows 9",
            ),
        ];
        for (reason, wanted) in cases {
            assert_eq!(reason.as_deref(), Some(wanted));
        }
        let raised =
            Fact::Sync { workload: "web".into(), replicas: 1, desired: 2, metrics: vec![], conditions: vec![] };
        let autoscaler = Fact::Autoscaler { workload: "web".into(), min: 2, max: 9, behavior: None, metrics: vec![] };
        assert_eq!(rescale_reason(&autoscaler, &raised), None, "the autoscaler says that it was below the minimum");
    }

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
