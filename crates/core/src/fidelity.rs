//! A forecast beside the run that it forecasts: figures of each test, and curves over time.
//!
//! Two curves that take the same steps at other moments enclose an area: replicas times seconds. Divided by the sum of
//! the steps' sizes it is the mean time by which a step is off, whatever its size; in sync periods of the autoscaler it
//! says how many decisions it came too early or too late. A step that only one curve takes counts for as long as it
//! stands.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    event::{Event, Fact},
    explain::{Recording, track::Track},
    sim::{Known, SYNC},
    verdict::{Figures, TestResult, Verdict},
};

/// A figure on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// Of the run; the mean of several.
    pub measured: f64,
    /// Of the forecast: the mean of its seeds.
    pub forecast: f64,
    /// By how much the forecast is above it, as a share of it; none where it was 0 and the forecast is not.
    pub difference: Option<f64>,
    /// Least and greatest of the seeds.
    pub range: (f64, f64),
}

impl Pair {
    /// Both sides of a figure; there is at least one run and one forecast.
    pub fn new(runs: impl IntoIterator<Item = f64>, forecasts: impl IntoIterator<Item = f64>) -> Self {
        let runs: Vec<f64> = runs.into_iter().collect();
        let measured = runs.iter().sum::<f64>() / runs.len() as f64;
        let mut sorted: Vec<f64> = forecasts.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        let forecast = sorted.iter().sum::<f64>() / sorted.len() as f64;
        let difference =
            if measured.abs() > 0.0 { Some(forecast / measured - 1.0) } else { (forecast.abs() <= 0.0).then_some(0.0) };
        Self { measured, forecast, difference, range: (at(0), at(last)) }
    }
}

/// A verdict on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Verdicts {
    /// Of the run: that of most, where there are several.
    pub measured: Verdict,
    /// Of the forecast: that of most seeds.
    pub forecast: Verdict,
    /// Share of the seeds that pass.
    pub passed: f64,
}

impl Verdicts {
    fn new(runs: impl IntoIterator<Item = Verdict>, forecasts: impl IntoIterator<Item = Verdict>) -> Self {
        let (measured, _) = Self::most(runs);
        let (forecast, passed) = Self::most(forecasts);
        Self { measured, forecast, passed }
    }

    /// The verdict of most of them, and the share that pass.
    fn most(verdicts: impl IntoIterator<Item = Verdict>) -> (Verdict, f64) {
        let (mut passed, mut all) = (0_u32, 0_u32);
        for verdict in verdicts {
            passed += u32::from(verdict == Verdict::Pass);
            all += 1;
        }
        let share = f64::from(passed) / f64::from(all.max(1));
        (if share > 0.5 { Verdict::Pass } else { Verdict::Fail }, share)
    }

    /// Whether both are the same.
    pub fn agree(&self) -> bool {
        self.measured == self.forecast
    }
}

/// One test on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestPair {
    /// Its name.
    pub name: String,
    /// Whether every threshold held.
    pub verdict: Verdicts,
    /// Requests finished.
    pub requests: Pair,
    /// Of these, failed.
    pub failed: Pair,
    /// Median latency, milliseconds.
    pub p50_ms: Pair,
    /// 95th percentile, milliseconds.
    pub p95_ms: Pair,
    /// 99th percentile, milliseconds.
    pub p99_ms: Pair,
}

impl TestPair {
    fn new(name: &str, runs: &[&TestResult], forecasts: &[&TestResult]) -> Self {
        let pair = |of: fn(&Figures) -> f64| {
            let each = |tests: &[&TestResult]| tests.iter().map(|test| of(&test.total)).collect::<Vec<_>>();
            Pair::new(each(runs), each(forecasts))
        };
        let verdicts = |tests: &[&TestResult]| tests.iter().map(|test| test.verdict).collect::<Vec<_>>();
        Self {
            name: name.to_owned(),
            verdict: Verdicts::new(verdicts(runs), verdicts(forecasts)),
            requests: pair(|total| total.requests as f64),
            failed: pair(|total| total.failed as f64),
            p50_ms: pair(|total| total.p50_ms),
            p95_ms: pair(|total| total.p95_ms),
            p99_ms: pair(|total| total.p99_ms),
        }
    }
}

/// What is counted over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// Replicas that a workload's autoscaler, or the profile, wants.
    Replicas,
    /// Pods of a workload that are ready.
    Ready,
    /// Ready nodes.
    Nodes,
}

/// A curve on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurvePair {
    /// The workload, or `nodes`.
    pub subject: String,
    /// What is counted.
    pub counted: Counted,
    /// Mean over time.
    pub mean: Pair,
    /// Greatest.
    pub greatest: Pair,
    /// Sum of the steps' sizes of the run, up and down.
    pub measured_steps: f64,
    /// See above.
    pub forecast_steps: f64,
    /// Area between the curves: units times profile seconds.
    pub area_s: f64,
    /// The area divided by the steps of the curve that has more of them: the mean time by which a step is off.
    pub shift_s: f64,
    /// The same in sync periods of the autoscaler.
    pub shift_syncs: f64,
}

/// A forecast beside its run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fidelity {
    /// The suite's.
    pub verdict: Verdicts,
    /// Tests that both have, in the run's order.
    pub tests: Vec<TestPair>,
    /// Replicas and ready pods of each workload, then nodes.
    pub curves: Vec<CurvePair>,
}

/// The test of this name in each of them; none where one lacks it.
fn test_of_all<'a>(recordings: &[Recording<'a>], name: &str) -> Option<Vec<&'a TestResult>> {
    recordings.iter().map(|recording| recording.tests.iter().find(|test| test.name == name)).collect()
}

/// Puts forecasts that differ by their seeds beside the run that they forecast, or beside several runs of one profile: a
/// figure is their mean, a curve at each moment their median. Time counts from the beginning of each. There is at least
/// one of both.
pub fn compare(runs: &[Recording<'_>], forecasts: &[Recording<'_>]) -> Fidelity {
    let pair = |test: &TestResult| {
        let of = |recordings| test_of_all(recordings, &test.name);
        Some(TestPair::new(&test.name, &of(runs)?, &of(forecasts)?))
    };
    let measured: Vec<Track<'_>> = runs.iter().map(Track::of).collect();
    let foreseen: Vec<Track<'_>> = forecasts.iter().map(Track::of).collect();
    let end_s = measured.iter().chain(&foreseen).map(Track::length_s).fold(0.0, f64::max);
    let both = |subject: &str, counted: Counted| {
        let curve = |track: &Track<'_>| Curve::of(track, subject, counted, end_s);
        let median = |tracks: &[Track<'_>]| Curve::median(&tracks.iter().map(curve).collect::<Vec<_>>());
        Curve::pair(&median(&measured), &median(&foreseen), subject, counted, end_s)
    };
    let mut curves = Vec::new();
    for workload in runs.iter().take(1).flat_map(|run| &run.profile.workloads) {
        curves.push(both(&workload.name, Counted::Replicas));
        curves.push(both(&workload.name, Counted::Ready));
    }
    curves.push(both("nodes", Counted::Nodes));
    let verdict = |recording: &Recording<'_>| {
        let failed = recording.tests.iter().any(|test| test.verdict == Verdict::Fail);
        if failed { Verdict::Fail } else { Verdict::Pass }
    };
    Fidelity {
        verdict: Verdicts::new(runs.iter().map(verdict), forecasts.iter().map(verdict)),
        tests: runs.iter().take(1).flat_map(|run| run.tests.iter().filter_map(pair)).collect(),
        curves,
    }
}

/// Where in its autoscalers' round a recorded run began, and when its tests did.
pub fn known(events: &[Event], seed: u64) -> Known {
    let mut known = Known { seed, phase: None, begins: BTreeMap::new() };
    let Some(begin) = events.iter().position(|event| matches!(event.fact, Fact::RunStarted { .. })) else {
        return known;
    };
    for event in &events[begin..] {
        let after_s = event.at_s - events[begin].at_s;
        match &event.fact {
            Fact::TestStarted { test } => _ = known.begins.insert(test.clone(), Duration::from_secs_f64(after_s)),
            Fact::Sync { .. } if known.phase.is_none() => {
                let period_s = SYNC.as_secs_f64();
                known.phase = Some(Duration::from_secs_f64(period_s - after_s % period_s));
            }
            _ => {}
        }
    }
    known
}

/// A count over time: what it was since each moment, the first at 0.
#[derive(Debug, Clone, PartialEq)]
struct Curve(Vec<(f64, f64)>);

impl Curve {
    fn of(track: &Track<'_>, subject: &str, counted: Counted, end_s: f64) -> Self {
        let changes: Vec<(f64, i32)> = match counted {
            Counted::Replicas => track.wanted.get(subject).map(|steps| steps.all().to_vec()).unwrap_or_default(),
            Counted::Ready => track.changes(subject).iter().map(|(at_s, pods)| (*at_s, pods.ready)).collect(),
            Counted::Nodes => track.nodes.all().iter().map(|(at_s, nodes)| (*at_s, nodes.ready)).collect(),
        };
        let mut curve = vec![(0.0, 0.0)];
        for (at_s, value) in changes {
            let (at_s, value) = (at_s - track.begun_s, f64::from(value));
            if at_s <= 0.0 {
                curve[0].1 = value;
            } else if at_s < end_s {
                curve.push((at_s, value));
            }
        }
        Self(curve)
    }

    /// At each moment the median of several.
    fn median(curves: &[Self]) -> Self {
        let mut moments: Vec<f64> = curves.iter().flat_map(|curve| &curve.0).map(|(at_s, _)| *at_s).collect();
        moments.sort_by(f64::total_cmp);
        moments.dedup();
        let middle = |at_s: f64| {
            let mut values: Vec<f64> = curves.iter().map(|curve| curve.at(at_s)).collect();
            values.sort_by(f64::total_cmp);
            (at_s, values[values.len() / 2])
        };
        let mut steps: Vec<(f64, f64)> = moments.into_iter().map(middle).collect();
        steps.dedup_by(|next, before| next.1.total_cmp(&before.1).is_eq());
        Self(steps)
    }

    fn at(&self, at_s: f64) -> f64 {
        let after = self.0.partition_point(|(since, _)| *since <= at_s);
        self.0[after.max(1) - 1].1
    }

    fn variation(&self) -> f64 {
        self.0.windows(2).map(|pair| (pair[1].1 - pair[0].1).abs()).sum()
    }

    fn greatest(&self) -> f64 {
        self.0.iter().map(|(_, value)| *value).fold(0.0, f64::max)
    }

    /// What lies between it and another one.
    fn area(&self, other: &Self, end_s: f64) -> f64 {
        let mut moments: Vec<f64> = self.0.iter().chain(&other.0).map(|(at_s, _)| *at_s).chain([end_s]).collect();
        moments.sort_by(f64::total_cmp);
        moments.windows(2).map(|pair| (self.at(pair[0]) - other.at(pair[0])).abs() * (pair[1] - pair[0])).sum()
    }

    fn pair(measured: &Self, forecast: &Self, subject: &str, counted: Counted, end_s: f64) -> CurvePair {
        let nothing = Self(vec![(0.0, 0.0)]);
        let mean = |curve: &Self| if end_s > 0.0 { curve.area(&nothing, end_s) / end_s } else { curve.at(0.0) };
        let (measured_steps, forecast_steps) = (measured.variation(), forecast.variation());
        let area_s = measured.area(forecast, end_s);
        let shift_s = area_s / measured_steps.max(forecast_steps).max(1.0);
        CurvePair {
            subject: subject.to_owned(),
            counted,
            mean: Pair::new([mean(measured)], [mean(forecast)]),
            greatest: Pair::new([measured.greatest()], [forecast.greatest()]),
            measured_steps,
            forecast_steps,
            area_s,
            shift_s,
            shift_syncs: shift_s / SYNC.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(measured: &[(f64, f64)], forecast: &[(f64, f64)]) -> CurvePair {
        let curve = |steps: &[(f64, f64)]| Curve(steps.to_vec());
        Curve::pair(&curve(measured), &curve(forecast), "web", Counted::Replicas, 100.0)
    }

    #[test]
    fn a_step_that_comes_later_is_off_by_so_long_whatever_its_size() {
        for size in [1.0, 8.0] {
            let late = pair(&[(0.0, 2.0), (40.0, 2.0 + size)], &[(0.0, 2.0), (55.0, 2.0 + size)]);
            assert!((late.area_s - 15.0 * size).abs() < 1e-9, "{late:?}");
            assert!((late.shift_s - 15.0).abs() < 1e-9 && (late.shift_syncs - 1.0).abs() < 1e-9, "{late:?}");
        }
    }

    #[test]
    fn a_way_up_in_two_steps_is_off_by_what_lies_between() {
        let stairs = pair(&[(0.0, 2.0), (40.0, 10.0)], &[(0.0, 2.0), (40.0, 6.0), (50.0, 10.0)]);
        assert!((stairs.area_s - 40.0).abs() < 1e-9 && (stairs.shift_s - 5.0).abs() < 1e-9, "{stairs:?}");
    }

    #[test]
    fn a_step_of_one_curve_alone_counts_for_as_long_as_it_stands() {
        let alone = pair(&[(0.0, 2.0), (40.0, 3.0), (70.0, 2.0)], &[(0.0, 2.0)]);
        assert!((alone.area_s - 30.0).abs() < 1e-9 && (alone.shift_s - 15.0).abs() < 1e-9, "{alone:?}");
        let apart = pair(&[(0.0, 2.0)], &[(0.0, 3.0)]);
        assert!((apart.shift_s - 100.0).abs() < 1e-9, "never the same: {apart:?}");
        assert!((apart.mean.difference.unwrap_or_default() - 0.5).abs() < 1e-9, "{apart:?}");
    }

    #[test]
    fn a_difference_is_a_share_of_what_was_measured() {
        assert_eq!(Pair::new([0.0], [0.0]).difference, Some(0.0));
        assert_eq!(Pair::new([0.0], [1.0]).difference, None);
        assert_eq!(Pair::new([200.0], [150.0]).difference, Some(-0.25));
        let seeds = Pair::new([300.0, 100.0], [400.0, 100.0, 150.0, 200.0]);
        assert_eq!((seeds.forecast, seeds.difference, seeds.range), (212.5, Some(0.0625), (100.0, 400.0)));
    }

    #[test]
    fn the_median_of_curves_takes_a_step_when_most_of_them_have() {
        let late = |at_s: f64| Curve(vec![(0.0, 2.0), (at_s, 10.0)]);
        assert_eq!(Curve::median(&[late(50.0), late(20.0), late(30.0)]), late(30.0));
        let alone = Curve(vec![(0.0, 2.0), (5.0, 3.0), (9.0, 2.0)]);
        assert_eq!(Curve::median(&[alone, Curve(vec![(0.0, 2.0)]), Curve(vec![(0.0, 2.0)])]).0, [(0.0, 2.0)]);
    }

    #[test]
    fn a_run_finds_its_autoscalers_somewhere_in_their_round() {
        let event = |at_s: f64, fact: Fact| Event { id: 1, at_s, time: String::new(), cause: None, fact };
        let sync = || Fact::Sync {
            workload: "web".into(),
            replicas: 2,
            desired: 2,
            metrics: Vec::new(),
            conditions: Vec::new(),
        };
        let begin = || Fact::RunStarted { environment: String::new(), profile: String::new(), speed: 15.0 };
        // The first one is what the observer found when it began to look; the next two syncs changed nothing.
        let events = [event(1.0, sync()), event(2.0, begin()), event(42.0, sync())];
        assert_eq!(known(&events, 7).phase, Some(Duration::from_secs(5)));
        assert_eq!(known(&events[..2], 7).phase, None);
    }
}
