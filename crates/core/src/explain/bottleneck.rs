//! What a failed test lacked: each failed or late request is laid to the state of the system when it ended.
//!
//! A moment's cause follows from measured series: answers per second against what ready pods can execute, replicas
//! against their bounds, pods Pending, machines on their way, and what the autoscaler's last sync asked for.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    Recording, Rule, nodes,
    replay::Replayed,
    scaling::{asked, rule_of},
    track::{Pods, Span, Track},
    words,
};
use crate::{
    profile::{Role, Web, Worker, Workload, lint},
    sim::Backend,
    suite::{Step, Test},
    verdict::{Second, Verdict},
};

/// What was short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// All pods were full, and nothing adds any.
    Concurrency,
    /// All pods were full, and the autoscaler was at its most.
    ReplicasAtMax,
    /// All pods were full, and no trigger asked for what was needed.
    TriggerSignal,
    /// More was asked for than the behaviour's policy allows in a step.
    ScaleUpPolicy,
    /// A stabilisation window held the replicas.
    Stabilization,
    /// The autoscaler had no metrics.
    MetricsMissing,
    /// Pods had no node, and none was on its way.
    PodsPending,
    /// Pods waited for a machine that was on its way.
    NodeDelay,
    /// Pods were starting.
    PodsStarting,
    /// Messages waited for workers.
    WorkerQueue,
    /// There was room in some pods while others refused or were late: connections stay where they are.
    ConnectionPinning,
}

/// One cause with its share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bottleneck {
    /// What was short.
    pub cause: Cause,
    /// Share of the test's failed or late requests, 0 to 1.
    pub share: f64,
    /// So many requests (late ones are estimated from each second's median and 95th percentile).
    pub requests: f64,
    /// Profile seconds that it lasted.
    pub seconds: f64,
    /// The evidence.
    pub text: String,
}

/// A failed test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Its name.
    pub test: String,
    /// Thresholds that failed, with what was measured.
    pub thresholds: Vec<String>,
    /// Greatest share first.
    pub bottlenecks: Vec<Bottleneck>,
}

/// Share of what pods can execute from which they count as full.
const FULL: f64 = 0.8;
/// Connections that were open have found pods that came so many profile seconds ago, and so many real ones.
const REACHED_S: (f64, f64) = (30.0, 2.0);
/// Each second's requests are spread over so many moments.
const SLICES: u32 = 10;

pub(super) fn diagnose(
    recording: &Recording<'_>,
    track: &Track<'_>,
    syncs: &BTreeMap<String, Vec<Replayed>>,
) -> Vec<Diagnosis> {
    let web = recording.profile.workloads.iter().find_map(|workload| match &workload.role {
        Role::Web(web) => Some((workload, web)),
        _ => None,
    });
    let Some((workload, web)) = web else { return Vec::new() };
    let none = Vec::new();
    let failed = track.tests.iter().filter(|span| span.result.verdict == Verdict::Fail);
    let diagnosis = |span: &Span<'_>| {
        let Some(test) = recording.profile.suite.tests.iter().find(|test| test.name == span.result.name) else {
            return Diagnosis { test: span.result.name.clone(), thresholds: thresholds(span), bottlenecks: Vec::new() };
        };
        let syncs = syncs.get(&workload.name).unwrap_or(&none);
        Scene { recording, track, workload, web, syncs, span: *span, test }.diagnosis()
    };
    failed.map(diagnosis).collect()
}

fn thresholds(span: &Span<'_>) -> Vec<String> {
    let failed = span.result.thresholds.iter().filter(|result| result.verdict == Verdict::Fail);
    let text = |value: f64| if value.abs() < 1.0 { format!("{value:.4}") } else { format!("{value:.1}") };
    failed.map(|result| format!("{} (was {})", result.threshold, text(result.value))).collect()
}

/// One failed test in its surroundings.
struct Scene<'a> {
    recording: &'a Recording<'a>,
    track: &'a Track<'a>,
    workload: &'a Workload,
    web: &'a Web,
    syncs: &'a [Replayed],
    span: Span<'a>,
    test: &'a Test,
}

/// What was seen while a cause held.
#[derive(Debug, Default)]
struct Evidence {
    requests: f64,
    seconds: f64,
    last_s: f64,
    /// Fewest and most ready pods.
    ready: Option<(i32, i32)>,
    most_wanted: i32,
    most_pending: i32,
    /// Greatest number of requests in the system at once.
    in_flight: f64,
    /// Greatest share of what the ready pods can execute.
    used: f64,
    queue: u64,
    /// Greatest ratio that any sync saw, and the metric's words.
    metric: Option<(f64, String)>,
    /// Most that any sync asked for.
    asked: i32,
}

impl Scene<'_> {
    fn diagnosis(&self) -> Diagnosis {
        let mut found = BTreeMap::<Cause, Evidence>::new();
        for second in &self.span.result.seconds {
            let bad = self.bad(second);
            if bad > 0.0 {
                self.lay(second, bad, &mut found);
            }
        }
        let all: f64 = found.values().map(|evidence| evidence.requests).sum();
        let bottleneck = |(cause, evidence): (Cause, Evidence)| Bottleneck {
            cause,
            share: evidence.requests / all,
            requests: evidence.requests.round(),
            seconds: evidence.seconds.round(),
            text: self.text(cause, &evidence),
        };
        let mut bottlenecks: Vec<_> = found.into_iter().map(bottleneck).collect();
        bottlenecks.sort_by(|a, b| b.share.total_cmp(&a.share));
        Diagnosis { test: self.span.result.name.clone(), thresholds: thresholds(&self.span), bottlenecks }
    }

    fn failed_on(&self, metric: &str) -> Option<f64> {
        let failed = self.span.result.thresholds.iter().filter(|result| result.verdict == Verdict::Fail);
        let limits = failed.filter(|result| result.threshold.metric == metric).map(|result| result.threshold.limit);
        limits.min_by(f64::total_cmp)
    }

    /// Failed and late requests of a second, as far as failed thresholds count them.
    fn bad(&self, second: &Second) -> f64 {
        let late = self.failed_on("http_req_duration").map_or(0.0, |limit| late_share(second, limit));
        let answered = second.requests.saturating_sub(second.failed) as f64;
        let waiting = self.failed_on("checks").or(self.failed_on("iteration_duration")).is_some();
        let counted = second.failed as f64 + answered * late;
        // Iterations that wait for workers are no requests; all that the second carried stand for them.
        if waiting && self.polls() { counted.max(answered) } else { counted }
    }

    fn polls(&self) -> bool {
        self.test.journey.iter().any(|step| matches!(step, Step::PollUntil { .. }))
    }

    /// Lays a second's bad requests to the causes of its moments.
    fn lay(&self, second: &Second, bad: f64, found: &mut BTreeMap<Cause, Evidence>) {
        let each = bad / f64::from(SLICES);
        for slice in 0..SLICES {
            let real_s = f64::from(second.at_s) + (f64::from(slice) + 0.5) / f64::from(SLICES);
            let at_s = self.span.from_s + real_s * self.track.speed;
            let pods = self.track.pods(&self.workload.name, at_s);
            let sync = self.syncs.iter().rfind(|sync| sync.at_s <= at_s);
            let cause = self.cause(second, at_s, pods, sync);
            let evidence = found.entry(cause).or_default();
            evidence.requests += each;
            evidence.seconds += self.track.speed / f64::from(SLICES);
            evidence.last_s = at_s;
            let (least, most) = evidence.ready.unwrap_or((pods.ready, pods.ready));
            evidence.ready = Some((least.min(pods.ready), most.max(pods.ready)));
            evidence.most_wanted = evidence.most_wanted.max(self.track.wanted(&self.workload.name, at_s));
            evidence.most_pending = evidence.most_pending.max(pods.pending);
            evidence.in_flight = evidence.in_flight.max(in_flight(second));
            evidence.used = evidence.used.max(self.used(second, pods.ready));
            evidence.queue = evidence.queue.max(self.track.queue.at(at_s).unwrap_or(0));
            if let Some(sync) = sync {
                evidence.asked = evidence.asked.max(asked(sync));
                let strongest = sync.strongest().and_then(|metric| Some((metric.ratio?, words::metric(metric))));
                if strongest.as_ref().map(|(ratio, _)| *ratio) > evidence.metric.as_ref().map(|(ratio, _)| *ratio) {
                    evidence.metric = strongest;
                }
            }
        }
    }

    /// Mean backend time that the journey's requests want.
    fn service(&self) -> Duration {
        let times = self.test.journey.iter().filter_map(|step| Some(Backend::of_step(step)?.time(self.web)));
        let times: Vec<_> = times.collect();
        times.iter().sum::<Duration>() / (times.len().max(1) as u32)
    }

    /// Share of what so many pods can execute that was answered in a second.
    fn used(&self, second: &Second, ready: i32) -> f64 {
        let places = f64::from(ready) * f64::from(self.web.concurrency);
        let busy = second.requests.saturating_sub(second.failed) as f64 * self.service().as_secs_f64();
        if places > 0.0 { busy / places } else { f64::INFINITY }
    }

    /// Whether the pods execute about all that they can, or more requests are there than places; the latter says nothing
    /// of pods that open connections have not found yet.
    fn full(&self, second: &Second, at_s: f64, pods: Pods) -> bool {
        let reached = REACHED_S.0.max(REACHED_S.1 * self.track.speed);
        let fresh = self
            .track
            .risen_s(&self.workload.name, at_s)
            .is_some_and(|risen| risen >= self.span.from_s && at_s - risen < reached);
        let places = f64::from(pods.ready) * f64::from(self.web.concurrency);
        self.used(second, pods.ready) >= FULL || (!fresh && in_flight(second) >= places)
    }

    fn cause(&self, second: &Second, at_s: f64, pods: Pods, sync: Option<&Replayed>) -> Cause {
        let name = &self.workload.name;
        let wanted = self.track.wanted(name, at_s);
        if !self.full(second, at_s, pods) {
            let behind = self.workers().is_some_and(|(worker, stores)| {
                let ready = self.track.pods(&worker.name, at_s).ready.max(1) as u64;
                self.polls() && self.track.queue.at(at_s).unwrap_or(0) > ready * u64::from(stores.batch)
            });
            return if behind { Cause::WorkerQueue } else { Cause::ConnectionPinning };
        }
        if pods.pending > 0 {
            let starting = self.track.nodes.at(at_s).unwrap_or_default().starting > 0;
            return if starting { Cause::NodeDelay } else { Cause::PodsPending };
        }
        if pods.ready < wanted {
            return Cause::PodsStarting;
        }
        let Some(max) = self.track.max(name, at_s) else { return Cause::Concurrency };
        if wanted >= max {
            return Cause::ReplicasAtMax;
        }
        match sync.map(|sync| (rule_of(sync), asked(sync) > sync.desired)) {
            Some((Rule::Policy, true)) => Cause::ScaleUpPolicy,
            // A window that keeps more than is asked for takes nothing away.
            Some((Rule::Window, true)) => Cause::Stabilization,
            Some((Rule::MetricsMissing, _)) => Cause::MetricsMissing,
            _ => Cause::TriggerSignal,
        }
    }

    fn workers(&self) -> Option<(&Workload, &Worker)> {
        self.recording.profile.workloads.iter().find_map(|workload| match &workload.role {
            Role::Worker(worker) => Some((workload, worker)),
            _ => None,
        })
    }

    /// Pods were full and the signal too weak; the profile's own arithmetic may tell why.
    fn signal(&self, full: &str, seen: &Evidence) -> String {
        let mut text = match &seen.metric {
            Some((_, metric)) => format!(
                "{full}, yet the triggers asked for {} at most: the strongest signal was {metric}, and the max was not \
                 reached",
                seen.asked
            ),
            None => {
                format!("{full}, yet no more than {} were asked for, and the max was not reached", seen.most_wanted)
            }
        };
        let path = format!("workload.{}.", self.workload.name);
        let never = lint(self.recording.profile).into_iter().filter(|lint| lint.code == "threshold_never_crossed");
        for lint in never.filter(|lint| lint.path.starts_with(&path)) {
            text.push_str("; ");
            text.push_str(&lint.message);
        }
        text
    }

    fn text(&self, cause: Cause, seen: &Evidence) -> String {
        let name = &self.workload.name;
        let (least, most) = seen.ready.unwrap_or_default();
        let ready = if least == most { most.to_string() } else { format!("{least} to {most}") };
        let places = most * self.web.concurrency as i32;
        let full = format!(
            "{ready} `{name}` pods ready, each executes {} at once ({places} places, {:.0} % used); up to {:.0} requests \
             in flight",
            self.web.concurrency,
            100.0 * seen.used.min(1.0),
            seen.in_flight,
        );
        let metric = seen.metric.as_ref().map_or_else(|| "no metric was seen".to_owned(), |(_, words)| words.clone());
        let scheduler = || nodes::scheduler_words(self.recording.events, name, seen.last_s);
        match cause {
            Cause::Concurrency => {
                format!("{full}, and nothing scales `{name}`: replicas are fixed at {}", seen.most_wanted)
            }
            Cause::ReplicasAtMax => format!(
                "{full}; the autoscaler stood at its max of {} while {metric} asked for {}",
                seen.most_wanted, seen.asked
            ),
            Cause::TriggerSignal => self.signal(&full, seen),
            Cause::ScaleUpPolicy => format!("{full}; {metric} asked for {}, more than a step may add", seen.asked),
            Cause::Stabilization => format!("{full}; {metric} asked for {}, a window held it", seen.asked),
            Cause::MetricsMissing => format!("{full}; the autoscaler had no metrics to decide by"),
            Cause::PodsPending => {
                let refused = nodes::refusal(self.recording.events, seen.last_s);
                let refused = refused.map_or_else(String::new, |why| format!("; no machine came: {why}"));
                format!("{full}; {} pods Pending, no machine on its way: {}{refused}", seen.most_pending, scheduler())
            }
            Cause::NodeDelay => {
                format!("{full}; {} pods Pending until a machine comes: {}", seen.most_pending, scheduler())
            }
            Cause::PodsStarting => format!("{full}; {} were wanted and still starting", seen.most_wanted),
            Cause::WorkerQueue => format!("up to {} messages waited for workers, while `{name}` had room", seen.queue),
            Cause::ConnectionPinning => format!(
                "{ready} `{name}` pods ready with room ({:.0} % of their places used at most), up to {:.0} requests in \
                 flight: connections that were open keep to the pods they reached",
                100.0 * seen.used.min(1.0),
                seen.in_flight
            ),
        }
    }
}

/// Mean number of requests in the system, by Little's law.
fn in_flight(second: &Second) -> f64 {
    second.requests as f64 * second.p50_ms / 1000.0
}

/// Share of a second's answers that took longer than `limit` milliseconds, by its median and 95th percentile.
fn late_share(second: &Second, limit: f64) -> f64 {
    let (p50, p95) = (second.p50_ms, second.p95_ms);
    if second.requests == 0 || limit >= p95 {
        0.0
    } else if limit >= p50 {
        0.05 + 0.45 * (p95 - limit) / (p95 - p50)
    } else {
        0.5 + 0.5 * (1.0 - limit / p50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_late_share_follows_the_percentiles() {
        let second = Second { requests: 100, p50_ms: 400.0, p95_ms: 800.0, ..Second::default() };
        let share = |limit| (100.0 * late_share(&second, limit)).round();
        assert_eq!((share(800.0), share(600.0), share(400.0), share(200.0)), (0.0, 28.0, 50.0, 75.0));
    }
}
