//! Backend times and CPU of web requests.

use std::time::Duration;

use super::{Fit, Seen};
use crate::{
    event::Fact,
    explain::{
        Recording,
        track::{Span, Track},
    },
    profile::{Role, Web, Workload},
    sim::{Backend, HANDLING, NETWORK},
    suite::{Step, Test},
    verdict::Second,
};

/// With fewer requests at once than this share of the places, the median one has not waited for a place.
const CALM: f64 = 0.5;
/// Share of a test's requests that came in calm seconds from which the test's own figures are taken.
const WHOLE: f64 = 0.95;
/// Fewer requests than this say nothing.
const LEAST: u64 = 20;
/// CPU that is told now was used within so many profile seconds: metrics-server's last round and the one before.
const CPU_WINDOW_S: f64 = 30.0;

pub(super) fn fits(recording: &Recording<'_>, track: &Track<'_>) -> Vec<Fit> {
    let web = recording.profile.workloads.iter().find_map(|workload| match &workload.role {
        Role::Web(web) => Some((workload, web)),
        _ => None,
    });
    let Some((workload, web)) = web else { return Vec::new() };
    let scene = Scene { recording, track, workload, web };
    let times = Backend::ALL.iter().map(|backend| {
        let path = format!("workload.{}.{}", workload.name, backend.key());
        Fit::of(path, backend.time(web), scene.backend(*backend))
    });
    let mut fits: Vec<Fit> = times.collect();
    let path = format!("workload.{}.cpu_per_request", workload.name);
    fits.push(Fit::of(path, web.cpu_per_request, scene.cpu()));
    fits
}

struct Scene<'a> {
    recording: &'a Recording<'a>,
    track: &'a Track<'a>,
    workload: &'a Workload,
    web: &'a Web,
}

impl Scene<'_> {
    fn tests(&self) -> impl Iterator<Item = (&Span<'_>, &Test)> {
        let tests = &self.recording.profile.suite.tests;
        self.track.tests.iter().filter_map(|span| {
            let test = tests.iter().find(|test| test.name == span.result.name)?;
            Some((span, test))
        })
    }

    /// The median of requests that found a place at once, without what lies outside the backend.
    fn backend(&self, backend: Backend) -> Seen {
        let whole = self.tests().filter_map(|(span, test)| self.whole(backend, span, test));
        let best = whole.max_by_key(|(_, samples, _)| *samples);
        let best = best.or_else(|| {
            let parts = self.tests().filter_map(|(span, test)| self.calm_part(backend, span, test));
            parts.max_by_key(|(_, samples, _)| *samples)
        });
        let Some((median_ms, samples, basis)) = best else {
            return Seen::nothing("no such requests while pods had room");
        };
        let median = Duration::from_secs_f64(median_ms / 1000.0);
        Seen { value: Some(median.saturating_sub(NETWORK + HANDLING)), samples, basis }
    }

    /// The figures of a step, where the test was calm from its beginning to its end.
    fn whole(&self, backend: Backend, span: &Span<'_>, test: &Test) -> Option<(f64, u64, String)> {
        let calm: u64 = self.calm(span).map(|second| second.requests).sum();
        if (calm as f64) < WHOLE * span.result.total.requests as f64 {
            return None;
        }
        let steps = test.journey.iter().filter(|step| Backend::of_step(step) == Some(backend));
        let figures = steps.filter_map(|step| {
            let name = name(step)?;
            let (_, figures) = span.result.steps.iter().find(|(of, _)| of == name)?;
            Some((figures.p50_ms, figures.requests, format!("median of `{name}` in test {}", test.name)))
        });
        figures.filter(|(_, requests, _)| *requests >= LEAST).max_by_key(|(_, requests, _)| *requests)
    }

    /// Calm seconds of a test whose requests are all of one kind.
    fn calm_part(&self, backend: Backend, span: &Span<'_>, test: &Test) -> Option<(f64, u64, String)> {
        let mut kinds = test.journey.iter().filter(|step| name(step).is_some()).map(Backend::of_step);
        if !kinds.all(|kind| kind == Some(backend)) {
            return None;
        }
        let mut medians: Vec<(f64, u64)> =
            self.calm(span).filter(|second| second.requests > 0).map(|s| (s.p50_ms, s.requests)).collect();
        medians.sort_by(|a, b| a.0.total_cmp(&b.0));
        let samples: u64 = medians.iter().map(|(_, requests)| requests).sum();
        let mut passed = 0;
        let middle = medians.iter().find(|(_, requests)| {
            passed += requests;
            2 * passed >= samples
        });
        let (median_ms, _) = middle.filter(|_| samples >= LEAST)?;
        Some((*median_ms, samples, format!("medians of {} calm seconds of test {}", medians.len(), test.name)))
    }

    /// Seconds in which nothing failed and pods had room.
    fn calm<'a>(&'a self, span: &'a Span<'_>) -> impl Iterator<Item = &'a Second> {
        span.result.seconds.iter().filter(|second| {
            let at_s = span.from_s + f64::from(second.at_s) * self.track.speed;
            let places = f64::from(self.track.pods(&self.workload.name, at_s).ready) * f64::from(self.web.concurrency);
            let at_once = second.requests as f64 * second.p50_ms / 1000.0;
            second.failed == 0 && at_once < CALM * places
        })
    }

    /// CPU over requests, while the pods stood still.
    fn cpu(&self) -> Seen {
        let readings = cpu_readings(self.recording, self.track, &self.workload.name);
        if readings.is_empty() {
            return Seen::nothing("the recording has no CPU of its pods");
        }
        let (mut cpu_s, mut requests, mut samples) = (0.0, 0.0, 0);
        for (at_s, cpus) in readings {
            let from_s = at_s - CPU_WINDOW_S;
            let inside = self.track.tests.iter().find(|span| span.from_s <= from_s && at_s <= span.until_s);
            let Some(span) = inside.filter(|_| self.stood_still(from_s - CPU_WINDOW_S, at_s)) else { continue };
            let answered = executed(span, from_s, at_s, self.track.speed);
            if answered > 0.0 {
                cpu_s += cpus * CPU_WINDOW_S / self.track.speed;
                requests += answered;
                samples += 1;
            }
        }
        if samples == 0 {
            return Seen::nothing("no test with a steady number of pods");
        }
        let basis = format!("CPU over {requests:.0} requests while the pods stood still");
        Seen { value: Some(Duration::from_secs_f64(cpu_s / requests)), samples, basis }
    }

    fn stood_still(&self, from_s: f64, until_s: f64) -> bool {
        let changes = self.track.changes(&self.workload.name);
        !changes.iter().any(|(at_s, _)| *at_s > from_s.max(self.track.begun_s) && *at_s <= until_s)
    }
}

fn name(step: &Step) -> Option<&str> {
    match step {
        Step::Request(request) => Some(&request.name),
        Step::PollUntil { name, .. } => Some(name),
        Step::Think { .. } => None,
    }
}

/// Requests of a test that were worked on between two moments.
fn executed(span: &Span<'_>, from_s: f64, until_s: f64, speed: f64) -> f64 {
    let real = |at_s: f64| (at_s - span.from_s) / speed;
    let (from, until) = (real(from_s), real(until_s));
    let share = |second: &Second| {
        let begin = f64::from(second.at_s);
        let part = (until.min(begin + 1.0) - from.max(begin)).max(0.0);
        part * second.requests.saturating_sub(second.failed) as f64
    };
    span.result.seconds.iter().map(share).sum()
}

/// CPUs that a workload used, when that was told: by samples, or by its autoscaler's syncs.
pub(super) fn cpu_readings(recording: &Recording<'_>, track: &Track<'_>, workload: &str) -> Vec<(f64, f64)> {
    let sampled = recording.events.iter().filter_map(|event| match &event.fact {
        Fact::Sample { cpu_milli, .. } => {
            let (_, milli) = cpu_milli.iter().find(|(of, _)| of == workload)?;
            Some((event.at_s, *milli as f64 / 1000.0))
        }
        _ => None,
    });
    let sampled: Vec<_> = sampled.collect();
    if !sampled.is_empty() {
        return sampled;
    }
    let mut position = None;
    let mut synced = Vec::new();
    for event in recording.events {
        match &event.fact {
            Fact::Autoscaler { workload: of, metrics, .. } if of == workload => {
                position = metrics.iter().position(|metric| metric.resource && metric.name == "cpu");
            }
            Fact::Sync { workload: of, metrics, .. } if of == workload => {
                let current = position.and_then(|position| metrics.get(position)?.as_ref()?.average_value_milli);
                let ready = f64::from(track.pods(workload, event.at_s).ready);
                synced.extend(current.map(|milli| (event.at_s, milli as f64 / 1000.0 * ready)));
            }
            _ => {}
        }
    }
    synced
}
