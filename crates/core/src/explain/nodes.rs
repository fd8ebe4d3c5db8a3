//! Decisions about nodes: pods that fit nowhere, machines asked for, ready, gone, with the timer that held them.

use super::{Decision, Recording, Rule, track::Track, words};
use crate::{
    event::{Event, Fact},
    units::format_duration,
};

pub(super) fn decisions(recording: &Recording<'_>, track: &Track<'_>) -> Vec<Decision> {
    let mut decisions = Vec::new();
    let mut asked_s = std::collections::VecDeque::new();
    let mut nodes = 0;
    for event in recording.events {
        let Fact::Nodes { ready, node, change, reason, .. } = &event.fact else { continue };
        let (rule, text) = match change.as_str() {
            "provisioning" => {
                asked_s.push_back(event.at_s);
                (Rule::NodeAdded, added(recording.events, event, reason))
            }
            "ready" => {
                let took = asked_s.pop_front().map(|asked: f64| event.at_s - asked);
                let took =
                    took.map_or_else(String::new, |took| format!(", {} after it was asked for", words::clock(took)));
                (Rule::NodeReady, format!("node {node} is ready{took}"))
            }
            "removed" => (Rule::NodeRemoved, removed(recording, track, event.at_s, node)),
            _ => {
                nodes = *ready;
                continue;
            }
        };
        decisions.push(Decision {
            at_s: event.at_s,
            until_s: None,
            subject: "nodes".into(),
            from: nodes,
            to: *ready,
            rule,
            text,
            metrics: Vec::new(),
            event: Some(event.id),
        });
        nodes = *ready;
    }
    for workload in track.pods.keys() {
        pending(recording, track, workload, &mut decisions);
    }
    decisions
}

/// Which pods a machine was asked for, and what kept them from the nodes there were.
fn added(events: &[Event], event: &Event, reason: &str) -> String {
    let cause = event.cause.and_then(|cause| events.iter().find(|other| other.id == cause));
    match cause.map(|cause| &cause.fact) {
        Some(Fact::FailedScheduling { pod, message, .. }) => format!("{reason}; {pod}: {message}"),
        _ => reason.to_owned(),
    }
}

/// Which of the autoscaler's timers ran out last.
fn removed(recording: &Recording<'_>, track: &Track<'_>, at_s: f64, node: &str) -> String {
    let Some(settings) = &recording.profile.autoscaler else { return format!("node {node} went") };
    let before = |event: &&Event| event.at_s < at_s;
    let last = |is: &dyn Fn(&Fact) -> bool| {
        recording.events.iter().filter(before).rfind(|event| is(&event.fact)).map(|event| event.at_s)
    };
    let added = last(&|fact| matches!(fact, Fact::Nodes { change, .. } if change == "provisioning"));
    let fewer = track.pods.values().flat_map(|steps| steps.all().windows(2)).filter(|pair| {
        let [(_, was), (at, is)] = pair else { return false };
        // What went later cannot have begun the timer.
        *at <= at_s - settings.scale_down_unneeded_time.as_secs_f64() && is.total < was.total
    });
    let fewer = fewer.map(|pair| pair[1].0).fold(f64::NEG_INFINITY, f64::max);
    let (delay, unneeded) = (settings.scale_down_delay_after_add, settings.scale_down_unneeded_time);
    let free_s = added.map_or(f64::NEG_INFINITY, |added| added + delay.as_secs_f64());
    if free_s > fewer + unneeded.as_secs_f64() {
        format!("node {node} went: no scale-down within {} of a scale-up held it longest", format_duration(delay))
    } else {
        let since = if fewer.is_finite() { at_s - fewer } else { unneeded.as_secs_f64() };
        format!(
            "node {node} went: unneeded for {}, {} after pods became fewer",
            format_duration(unneeded),
            words::clock(since)
        )
    }
}

/// Times in which pods of a workload fitted nowhere.
fn pending(recording: &Recording<'_>, track: &Track<'_>, workload: &str, decisions: &mut Vec<Decision>) {
    let Some(steps) = track.pods.get(workload) else { return };
    let groups = steps.all().chunk_by(|(_, a), (_, b)| (a.pending > 0) == (b.pending > 0));
    let mut from = 0;
    for group in groups {
        from += group.len();
        let most = group.iter().map(|(_, pods)| pods.pending).max().unwrap_or(0);
        if most == 0 {
            continue;
        }
        let since = group[0].0;
        let until = steps.all().get(from).map_or(track.end_s, |(at, _)| *at);
        let ready = group[0].1.ready;
        decisions.push(Decision {
            at_s: since,
            until_s: Some(until),
            subject: workload.to_owned(),
            from: ready,
            to: ready,
            rule: Rule::Unschedulable,
            text: format!("{most} pods fit on no node: {}", scheduler_words(recording.events, workload, until)),
            metrics: Vec::new(),
            event: None,
        });
    }
}

/// What the scheduler last said of a workload's pods.
pub(super) fn scheduler_words(events: &[Event], workload: &str, until_s: f64) -> String {
    let said = events.iter().rev().filter(|event| event.at_s <= until_s).find_map(|event| match &event.fact {
        Fact::FailedScheduling { workload: of, message, .. } if of == workload => Some(message.clone()),
        _ => None,
    });
    said.unwrap_or_else(|| "the scheduler's words were not recorded".to_owned())
}
