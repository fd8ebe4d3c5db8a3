//! What a recording tells of each moment: replicas, pods, machines, load. Everything else of `explain` asks this.

use std::collections::BTreeMap;

use super::Recording;
use crate::{
    event::{Event, Fact},
    verdict::{Second, TestResult},
};

/// A value that changes at moments.
#[derive(Debug, Clone)]
pub(crate) struct Steps<T>(Vec<(f64, T)>);

impl<T> Default for Steps<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Steps<T> {
    fn push(&mut self, at_s: f64, value: T) {
        self.0.push((at_s, value));
    }

    /// The value at a moment; before the first change none.
    pub(crate) fn at(&self, at_s: f64) -> Option<T> {
        let after = self.0.partition_point(|(since, _)| *since <= at_s);
        Some(self.0.get(after.checked_sub(1)?)?.1)
    }

    /// All changes.
    pub(crate) fn all(&self) -> &[(f64, T)] {
        &self.0
    }
}

/// Pods of a workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pods {
    pub(crate) ready: i32,
    pub(crate) pending: i32,
    pub(crate) total: i32,
}

/// Nodes and machines.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nodes {
    pub(crate) ready: i32,
    /// Machines that were asked for and are not nodes yet.
    pub(crate) starting: i32,
}

/// One test's place in the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span<'a> {
    pub(crate) result: &'a TestResult,
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
}

/// The whole run as functions of time.
#[derive(Debug, Default)]
pub(crate) struct Track<'a> {
    /// Profile seconds in a real one.
    pub(crate) speed: f64,
    pub(crate) wanted: BTreeMap<String, Steps<i32>>,
    pub(crate) pods: BTreeMap<String, Steps<Pods>>,
    pub(crate) nodes: Steps<Nodes>,
    pub(crate) queue: Steps<u64>,
    /// Most replicas as the autoscaler has them.
    pub(crate) most: BTreeMap<String, Steps<i32>>,
    pub(crate) tests: Vec<Span<'a>>,
    /// When the run began, after what it found.
    pub(crate) begun_s: f64,
    pub(crate) end_s: f64,
}

impl<'a> Track<'a> {
    pub(crate) fn of(recording: &Recording<'a>) -> Self {
        let mut track = Self { speed: 1.0, ..Self::default() };
        for workload in &recording.profile.workloads {
            let start = workload.scaling.as_ref().map_or(workload.replicas, |scaling| scaling.min);
            track.wanted.entry(workload.name.clone()).or_default().push(f64::NEG_INFINITY, start as i32);
            if let Some(scaling) = &workload.scaling {
                track.most.entry(workload.name.clone()).or_default().push(f64::NEG_INFINITY, scaling.max as i32);
            }
        }
        let mut begun = BTreeMap::new();
        for event in recording.events {
            track.take(event, recording.tests, &mut begun);
        }
        track
    }

    fn take(&mut self, event: &Event, tests: &'a [TestResult], begun: &mut BTreeMap<String, f64>) {
        let at_s = event.at_s;
        self.end_s = self.end_s.max(at_s);
        match &event.fact {
            Fact::RunStarted { speed, .. } => (self.speed, self.begun_s) = (*speed, at_s),
            Fact::TestStarted { test } => {
                begun.insert(test.clone(), at_s);
            }
            Fact::TestFinished { test, .. } => {
                let found = tests.iter().find(|result| result.name == *test);
                if let (Some(result), Some(from_s)) = (found, begun.get(test)) {
                    self.tests.push(Span { result, from_s: *from_s, until_s: at_s });
                }
            }
            Fact::Replicas { workload, from, to, .. } => {
                let wanted = self.wanted.entry(workload.clone()).or_default();
                if wanted.0.is_empty() {
                    wanted.push(f64::NEG_INFINITY, *from);
                }
                wanted.push(at_s, *to);
            }
            Fact::Pods { workload, ready, pending, total } => {
                let pods = Pods { ready: *ready, pending: *pending, total: *total };
                self.pods.entry(workload.clone()).or_default().push(at_s, pods);
            }
            Fact::Nodes { ready, total, .. } => {
                self.nodes.push(at_s, Nodes { ready: *ready, starting: (total - ready).max(0) });
            }
            Fact::Autoscaler { workload, max, .. } => {
                self.most.entry(workload.clone()).or_default().push(at_s, *max);
            }
            Fact::Sample { queue: Some(queue), .. } => self.queue.push(at_s, *queue),
            _ => {}
        }
    }

    /// From the beginning of the run to its last event.
    pub(crate) fn length_s(&self) -> f64 {
        self.end_s - self.begun_s
    }

    /// Replicas that a workload wants.
    pub(crate) fn wanted(&self, workload: &str, at_s: f64) -> i32 {
        self.wanted.get(workload).and_then(|steps| steps.at(at_s)).unwrap_or(0)
    }

    /// Its pods.
    pub(crate) fn pods(&self, workload: &str, at_s: f64) -> Pods {
        self.pods.get(workload).and_then(|steps| steps.at(at_s)).unwrap_or_default()
    }

    /// All changes of its pods.
    pub(crate) fn changes(&self, workload: &str) -> &[(f64, Pods)] {
        self.pods.get(workload).map_or(&[], Steps::all)
    }

    /// When its ready pods last became more.
    pub(crate) fn risen_s(&self, workload: &str, at_s: f64) -> Option<f64> {
        let changes = self.pods.get(workload)?.all().windows(2).rev();
        changes.filter(|pair| pair[1].0 <= at_s).find(|pair| pair[1].1.ready > pair[0].1.ready).map(|pair| pair[1].0)
    }

    /// The most replicas that its autoscaler may ask for; none where nothing scales it.
    pub(crate) fn max(&self, workload: &str, at_s: f64) -> Option<i32> {
        self.most.get(workload).and_then(|steps| steps.at(at_s))
    }

    /// The load test's figures at a moment.
    pub(crate) fn second(&self, at_s: f64) -> Option<&'a Second> {
        let span = self.tests.iter().find(|span| (span.from_s..span.until_s).contains(&at_s))?;
        let second = ((at_s - span.from_s) / self.speed) as usize;
        span.result.seconds.get(second)
    }

    /// Virtual users at a moment.
    pub(crate) fn vus(&self, at_s: f64) -> u32 {
        self.second(at_s).map_or(0, |second| second.vus)
    }
}
