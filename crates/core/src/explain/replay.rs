//! Each sync of an autoscaler decided again by [`crate::autoscale::hpa`], from the figures that its status told.
//!
//! No rule of the autoscaler is here. A status tells what each metric came to, not each pod's sample: pods of equal use
//! stand in for them. Syncs that changed no status were not recorded; they happened all the same and are filled in.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    autoscale::hpa::{
        Behavior, Config, Container, ContainerUsage, CurrentMetric, Input, Metric, Observed, Outcome, Pod, PodMetric,
        Scale, State, Status, reconcile,
    },
    event::{ConditionSeen, Event, Fact, MetricTarget},
};

/// The controller manager's `--horizontal-pod-autoscaler-sync-period`, seconds.
pub(super) const SYNC_S: f64 = 15.0;
/// A request of the pods that stand in, milli-units: one percent of it is a whole number.
const REQUEST: i64 = 100_000;

/// A metric at a sync.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricView {
    /// The trigger's or the resource's name.
    pub name: String,
    /// What it was; none where it failed.
    pub value: Option<f64>,
    /// What it is compared with.
    pub target: f64,
    /// ` %`, `/pod`, or nothing for a total.
    pub unit: &'static str,
    /// `value / target`.
    pub ratio: Option<f64>,
    /// Replicas that it alone asks for.
    pub asks_for: Option<i32>,
}

/// One sync.
#[derive(Debug, Clone)]
pub(super) struct Replayed {
    pub(super) at_s: f64,
    /// Wanted replicas before.
    pub(super) replicas: i32,
    /// Wanted replicas after, as recorded.
    pub(super) desired: i32,
    /// Least replicas that are allowed.
    pub(super) least: i32,
    pub(super) metrics: Vec<MetricView>,
    /// Conditions as recorded.
    pub(super) conditions: Vec<ConditionSeen>,
    /// What the brain decides on the same figures.
    pub(super) brain: i32,
    pub(super) behavior: Option<Behavior>,
}

impl Replayed {
    /// A recorded condition.
    pub(super) fn condition(&self, kind: &str) -> Option<&ConditionSeen> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// The metric that asked for most.
    pub(super) fn strongest(&self) -> Option<&MetricView> {
        let ratio = |metric: &MetricView| metric.ratio.unwrap_or(f64::NEG_INFINITY);
        self.metrics.iter().max_by(|a, b| a.asks_for.cmp(&b.asks_for).then(ratio(a).total_cmp(&ratio(b))))
    }
}

struct Autoscaler {
    bounds: (i32, i32),
    behavior: Option<Behavior>,
    targets: Vec<MetricTarget>,
    state: State,
    status: Status,
    last: Option<(f64, Seen)>,
}

#[derive(Clone)]
struct Seen {
    replicas: i32,
    desired: i32,
    metrics: Vec<Option<CurrentMetric>>,
    conditions: Vec<ConditionSeen>,
}

/// All syncs of all autoscalers, by workload.
pub(super) fn replay(events: &[Event]) -> BTreeMap<String, Vec<Replayed>> {
    let mut autoscalers = BTreeMap::<String, Autoscaler>::new();
    let mut syncs = BTreeMap::<String, Vec<Replayed>>::new();
    for event in events {
        match &event.fact {
            Fact::Autoscaler { workload, min, max, behavior, metrics } => {
                let known = autoscalers.remove(workload);
                let (state, status, last) =
                    known.map(|known| (known.state, known.status, known.last)).unwrap_or_default();
                let (bounds, behavior, targets) = ((*min, *max), behavior.clone(), metrics.clone());
                let autoscaler = Autoscaler { bounds, behavior, targets, state, status, last };
                autoscalers.insert(workload.clone(), autoscaler);
            }
            Fact::Sync { workload, replicas, desired, metrics, conditions } => {
                let Some(autoscaler) = autoscalers.get_mut(workload) else { continue };
                let seen = Seen {
                    replicas: *replicas,
                    desired: *desired,
                    metrics: metrics.clone(),
                    conditions: conditions.clone(),
                };
                let all = syncs.entry(workload.clone()).or_default();
                autoscaler.fill(event.at_s, all);
                all.push(autoscaler.decide(&seen, event.at_s));
                autoscaler.last = Some((event.at_s, seen));
            }
            _ => {}
        }
    }
    let end_s = events.last().map_or(0.0, |event| event.at_s);
    for (workload, autoscaler) in &mut autoscalers {
        if let Some(all) = syncs.get_mut(workload) {
            autoscaler.fill(end_s, all);
        }
    }
    syncs
}

impl Autoscaler {
    /// The syncs that changed nothing since the last one that was recorded.
    fn fill(&mut self, until_s: f64, all: &mut Vec<Replayed>) {
        let Some((last_s, seen)) = self.last.clone() else { return };
        let seen = Seen { replicas: seen.desired, ..seen };
        let mut at_s = last_s + SYNC_S;
        while at_s + SYNC_S / 2.0 < until_s {
            all.push(self.decide(&seen, at_s));
            at_s += SYNC_S;
        }
    }

    fn decide(&mut self, seen: &Seen, at_s: f64) -> Replayed {
        let pods = self.pods(seen, at_s);
        let metrics: Vec<_> = self
            .targets
            .iter()
            .enumerate()
            .map(|(index, target)| observed(target, seen.metrics.get(index).copied().flatten(), seen, at_s))
            .collect();
        let input = Input {
            namespace: "",
            reference: "",
            min_replicas: Some(self.bounds.0),
            max_replicas: self.bounds.1,
            behavior: self.behavior.as_ref(),
            metrics: &metrics,
            pods: &pods,
            scale: Ok(Scale { spec_replicas: seen.replicas, status_replicas: seen.replicas, selector: Ok(()) }),
            scale_update_error: None,
        };
        let outcome = reconcile(&Config::default(), &input, &self.status, &mut self.state, at_s);
        self.status = outcome.status.clone();
        Replayed {
            at_s,
            replicas: seen.replicas,
            desired: seen.desired,
            least: self.bounds.0,
            metrics: self.views(seen, &outcome),
            conditions: seen.conditions.clone(),
            brain: outcome.scale_to.unwrap_or(seen.replicas),
            behavior: self.behavior.clone(),
        }
    }

    fn pods(&self, seen: &Seen, at_s: f64) -> Vec<Pod> {
        let resources = self.targets.iter().filter(|target| target.resource);
        let requests: BTreeMap<_, _> = resources.map(|target| (target.name.clone(), REQUEST)).collect();
        let pod = |number: i32| Pod {
            name: number.to_string(),
            phase: "Running".into(),
            start_time_s: Some(at_s - 1e6),
            ready: Some("True".into()),
            ready_last_transition_s: Some(at_s - 1e6 + 1.0),
            containers: vec![Container { name: "all".into(), requests_milli: requests.clone() }],
            ..Pod::default()
        };
        (0..seen.replicas).map(pod).collect()
    }

    fn views(&self, seen: &Seen, outcome: &Outcome) -> Vec<MetricView> {
        let view = |(index, target): (usize, &MetricTarget)| {
            let current = seen.metrics.get(index).copied().flatten().unwrap_or_default();
            let (value, target_value, unit) = target.figures(current);
            let asks_for = outcome.per_metric.get(index).and_then(|metric| metric.proposal.as_ref().ok()).copied();
            let ratio = value.map(|value| value / target_value);
            MetricView { name: target.name.clone(), value, target: target_value, unit, ratio, asks_for }
        };
        self.targets.iter().enumerate().map(view).collect()
    }
}

/// What the metric's source answered, so that it comes to the figures that were seen.
fn observed(target: &MetricTarget, current: Option<CurrentMetric>, seen: &Seen, at_s: f64) -> (Metric, Observed) {
    let name = target.name.clone();
    let missing = Observed { error: Some("no figure was recorded".into()), ..Observed::default() };
    let figures = current.unwrap_or_default();
    if target.resource {
        let usage = match target.target.average_utilization_percent {
            Some(_) => figures.average_utilization_percent.map(|percent| percent * REQUEST / 100),
            None => figures.average_value_milli,
        };
        let sample = |usage_milli: i64, number: i32| PodMetric {
            pod: number.to_string(),
            timestamp_s: at_s,
            window_s: SYNC_S,
            value_milli: None,
            containers: vec![ContainerUsage { name: "all".into(), usage_milli: Some(usage_milli) }],
        };
        let answer = usage.map_or(missing, |usage| Observed {
            pod_metrics: (0..seen.replicas).map(|number| sample(usage, number)).collect(),
            timestamp_s: at_s,
            ..Observed::default()
        });
        return (Metric::Resource { resource: name, container: None, target: target.target.clone() }, answer);
    }
    let total = figures.average_value_milli.map(|average| average * i64::from(seen.replicas)).or(figures.value_milli);
    let answer =
        total.map_or(missing, |total| Observed { values_milli: vec![total], timestamp_s: at_s, ..Observed::default() });
    (Metric::External { name, selector: None, target: target.target.clone() }, answer)
}
