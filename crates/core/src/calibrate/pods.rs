//! Start-up of pods and machines.

use std::time::Duration;

use super::{Fit, Seen, readable};
use crate::{
    event::Fact,
    explain::{Recording, track::Track},
    profile::Role,
    units::format_duration,
};

pub(super) fn fits(recording: &Recording<'_>, track: &Track<'_>) -> Vec<Fit> {
    vec![container_start(recording, track), vm_delay(recording)]
}

/// From a started container to one that serves: web pods that got a node, until they were ready, without the half period
/// that a probe finds them late.
fn container_start(recording: &Recording<'_>, track: &Track<'_>) -> Fit {
    let path = "local.container_start".to_owned();
    let assumed = recording.profile.local.container_start;
    let web = recording.profile.workloads.iter().find(|workload| matches!(workload.role, Role::Web(_)));
    let Some(web) = web else { return Fit::of(path, assumed, Seen::nothing("no web pods")) };
    let mut took = Vec::new();
    // When pods got a node that are not ready yet.
    let mut starting: Vec<f64> = Vec::new();
    let changes = track.changes(&web.name);
    for pair in changes.windows(2) {
        let [(_, before), (at_s, now)] = pair else { continue };
        if now.ready < before.ready {
            // Pods go: whose place is free is not known.
            starting.clear();
        }
        let placed = (now.total - now.pending) - (before.total - before.pending);
        starting.truncate((starting.len() as i32 + placed.min(0)).max(0) as usize);
        starting.extend((0..placed).map(|_| *at_s));
        let came = (now.ready - before.ready).clamp(0, starting.len() as i32) as usize;
        took.extend(starting.drain(..came).map(|since_s| at_s - since_s));
    }
    if took.is_empty() {
        return Fit::of(path, assumed, Seen::nothing("no web pod was started"));
    }
    took.sort_by(f64::total_cmp);
    let middle = Duration::from_secs_f64(took[took.len() / 2].max(0.0));
    let late = web.probes.readiness.initial_delay + web.probes.readiness.period / 2;
    let basis = "median of web pods, placed until ready, less half a period of the readiness probe".to_owned();
    let seen = Seen { value: Some(middle.saturating_sub(late)), samples: took.len() as u64, basis };
    Fit::of(path, assumed, seen)
}

/// From asking for a machine to its node: a range, which is widened to what was seen and else kept.
fn vm_delay(recording: &Recording<'_>) -> Fit {
    let local = &recording.profile.local;
    let mut asked: Vec<f64> = Vec::new();
    let mut took = Vec::new();
    let mut billed = 0;
    for event in recording.events {
        let Fact::Nodes { total, change, .. } = &event.fact else { continue };
        match change.as_str() {
            "provisioning" => asked.extend((billed..*total).map(|_| event.at_s)),
            "ready" if !asked.is_empty() => took.push(event.at_s - asked.remove(0)),
            _ => {}
        }
        billed = *total;
    }
    let seconds = |duration: Duration| duration.as_secs_f64();
    let (least, most) = (seconds(local.vm_delay_min), seconds(local.vm_delay_max));
    let (low, high) = (took.iter().copied().fold(least, f64::min), took.iter().copied().fold(most, f64::max));
    let range = |least: f64, most: f64| {
        let text = |seconds: f64| format_duration(readable(Duration::from_secs_f64(seconds)));
        format!("{}..{}", text(least), text(most))
    };
    // A scan or a watch tells a machine a moment late.
    let outside = low < least * 0.95 || high > most * 1.05;
    let list: Vec<String> = took.iter().map(|seconds| format!("{seconds:.0} s")).collect();
    Fit {
        path: "local.vm_delay".to_owned(),
        assumed: range(least, most),
        fitted: outside.then(|| range(low, high)),
        difference: None,
        samples: took.len() as u64,
        basis: match (took.is_empty(), outside) {
            (true, _) => "no machine was asked for".to_owned(),
            (_, false) => format!("within the range: {}", list.join(", ")),
            (_, true) => format!("the range widened to {}", list.join(", ")),
        },
    }
}
