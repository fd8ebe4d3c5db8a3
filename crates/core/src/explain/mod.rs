//! Why a run went as it did: which rule decided each change, what held when nothing changed, and what each failed test
//! lacked.
//!
//! Made from a recording alone: its events, its tests' figures and its profile. The autoscaler's rules are
//! [`crate::autoscale::hpa`]'s, replayed over what was observed; causes are found in measured series, never in names.

mod bottleneck;
mod nodes;
mod replay;
mod scaling;
pub(crate) mod track;
pub(crate) mod words;

use serde::Serialize;

pub use self::{
    bottleneck::{Bottleneck, Cause, Diagnosis},
    replay::MetricView,
};
use crate::{
    caveats::caveats,
    event::{Event, EventId},
    profile::Profile,
    verdict::TestResult,
};
use track::Track;

/// What is explained.
#[derive(Debug, Clone, Copy)]
pub struct Recording<'a> {
    /// What ran.
    pub profile: &'a Profile,
    /// The timeline, in order.
    pub events: &'a [Event],
    /// Figures of its tests.
    pub tests: &'a [TestResult],
}

/// The rule that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A metric above its target asked for more.
    MetricAbove,
    /// All metrics below their targets.
    AllBelow,
    /// The ratio is so near to 1 that nothing changes.
    Tolerance,
    /// A policy of the behaviour limited the step.
    Policy,
    /// A stabilisation window held it.
    Window,
    /// The most replicas that are allowed.
    MaxReplicas,
    /// The least replicas that are allowed.
    MinReplicas,
    /// Metrics were missing.
    MetricsMissing,
    /// Nothing scales this workload.
    Fixed,
    /// KEDA's own activation or deactivation.
    Activation,
    /// Someone else changed it.
    Outside,
    /// No node has room.
    Unschedulable,
    /// Pods that fit nowhere asked for a machine.
    NodeAdded,
    /// The machine that was asked for does not come.
    NodeRefused,
    /// A machine became a node.
    NodeReady,
    /// A node that is not needed waits for the autoscaler's timers.
    NodeTimer,
    /// A node went.
    NodeRemoved,
}

/// A change, or a time in which nothing changed though it might have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// Profile seconds since the run began.
    pub at_s: f64,
    /// Until when it held; none for a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_s: Option<f64>,
    /// The workload, or `nodes`.
    pub subject: String,
    /// Before.
    pub from: i32,
    /// After; the same where nothing changed.
    pub to: i32,
    /// What decided.
    pub rule: Rule,
    /// Why, with the figures.
    pub text: String,
    /// The metrics that were looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricView>,
    /// The event that it explains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// In order of time.
    pub decisions: Vec<Decision>,
    /// One entry for each failed test.
    pub failed: Vec<Diagnosis>,
    /// What limits the explanation itself.
    pub notes: Vec<String>,
}

/// How a workload stood at a moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Its name.
    pub workload: String,
    /// Wanted replicas.
    pub wanted: i32,
    /// Ready pods.
    pub ready: i32,
    /// Pods that no node can hold.
    pub pending: i32,
    /// Metrics of the last sync before.
    pub metrics: Vec<MetricView>,
}

/// One moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// Profile seconds since the run began.
    pub at_s: f64,
    /// Virtual users.
    pub vus: u32,
    /// Ready nodes.
    pub nodes: i32,
    /// Machines that were asked for and are not ready.
    pub nodes_starting: i32,
    /// Depth of the queue, where it was seen.
    pub queue: Option<u64>,
    /// Workloads in the profile's order.
    pub workloads: Vec<Standing>,
    /// What held then, and the last change of each subject before.
    pub decisions: Vec<Decision>,
}

/// Explains a recording.
pub fn explain(recording: &Recording<'_>) -> Explanation {
    let track = Track::of(recording);
    let syncs = replay::replay(recording.events);
    let mut decisions = scaling::decisions(recording, &track, &syncs);
    decisions.extend(nodes::decisions(recording, &track));
    decisions.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let mut notes = caveats(recording);
    let scaled = recording.profile.workloads.iter().any(|workload| workload.scaling.is_some());
    if scaled && syncs.is_empty() {
        notes.push("this recording has no syncs of autoscalers: what they saw is known at changes only".to_owned());
    }
    let different = syncs.values().flatten().filter(|sync| sync.brain != sync.desired).count();
    if different > 0 {
        let all = syncs.values().map(Vec::len).sum::<usize>();
        notes.push(format!(
            "in {different} of {all} syncs the figures of the status alone lead the brain elsewhere than the autoscaler \
             went: pods without samples, or samples that changed within the sync"
        ));
    }
    Explanation { decisions, failed: bottleneck::diagnose(recording, &track, &syncs), notes }
}

/// Explains one moment of a recording, in profile seconds since the run began.
pub fn explain_at(recording: &Recording<'_>, explanation: &Explanation, at_s: f64) -> Moment {
    let track = Track::of(recording);
    let syncs = replay::replay(recording.events);
    let standing = |name: &str| {
        let pods = track.pods(name, at_s);
        let before = |all: &Vec<replay::Replayed>| all.iter().rfind(|sync| sync.at_s <= at_s).cloned();
        let sync = syncs.get(name).and_then(before);
        Standing {
            workload: name.to_owned(),
            wanted: track.wanted(name, at_s),
            ready: pods.ready,
            pending: pods.pending,
            metrics: sync.map(|sync| sync.metrics).unwrap_or_default(),
        }
    };
    let mut decisions = Vec::<Decision>::new();
    for decision in explanation.decisions.iter().filter(|decision| decision.at_s <= at_s) {
        match decision.until_s {
            Some(until_s) if until_s < at_s => {}
            Some(_) => decisions.push(decision.clone()),
            None => {
                decisions.retain(|known| known.until_s.is_some() || known.subject != decision.subject);
                decisions.push(decision.clone());
            }
        }
    }
    let nodes = track.nodes.at(at_s).unwrap_or_default();
    Moment {
        at_s,
        vus: track.vus(at_s),
        nodes: nodes.ready,
        nodes_starting: nodes.starting,
        queue: track.queue.at(at_s),
        workloads: recording.profile.workloads.iter().map(|workload| standing(&workload.name)).collect(),
        decisions,
    }
}
