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
            "failed" => {
                asked_s.pop_back();
                (Rule::NodeRefused, format!("no machine for {reason}"))
            }
            "ready" => {
                let took = asked_s.pop_front().map(|asked: f64| event.at_s - asked);
                let took =
                    took.map_or_else(String::new, |took| format!(", {} after it was asked for", words::clock(took)));
                (Rule::NodeReady, format!("node {node} is ready{took}"))
            }
            "removed" => {
                let (text, since_s) = removed(recording, track, event.at_s, node);
                if let Some(since_s) = since_s {
                    decisions.push(Decision {
                        at_s: since_s,
                        until_s: Some(event.at_s),
                        subject: "nodes".into(),
                        from: nodes,
                        to: nodes,
                        rule: Rule::NodeTimer,
                        text: timers(recording, node),
                        metrics: Vec::new(),
                        event: None,
                    });
                }
                (Rule::NodeRemoved, text)
            }
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

/// What keeps a node that is not needed.
fn timers(recording: &Recording<'_>, node: &str) -> String {
    let Some(settings) = &recording.profile.autoscaler else { return format!("node {node} was not needed") };
    format!(
        "node {node} was not needed, but it must be so for {}, and no node goes within {} of a scale-up",
        format_duration(settings.scale_down_unneeded_time),
        format_duration(settings.scale_down_delay_after_add)
    )
}

/// Which of the autoscaler's timers ran out last, and when pods that became fewer began them.
fn removed(recording: &Recording<'_>, track: &Track<'_>, at_s: f64, node: &str) -> (String, Option<f64>) {
    let Some(settings) = &recording.profile.autoscaler else { return (format!("node {node} went"), None) };
    let (delay, unneeded) = (settings.scale_down_delay_after_add, settings.scale_down_unneeded_time);
    let is_added = |event: &&Event| {
        event.at_s < at_s && matches!(&event.fact, Fact::Nodes { change, .. } if change == "provisioning")
    };
    let added = recording.events.iter().rfind(is_added).map(|event| event.at_s);
    // Pods that went later cannot have begun the timer.
    let fewer = track
        .pods
        .values()
        .flat_map(|steps| steps.all().windows(2))
        .filter(|pair| pair[1].0 <= at_s - unneeded.as_secs_f64() && pair[1].1.total < pair[0].1.total);
    let fewer = fewer.map(|pair| pair[1].0).max_by(f64::total_cmp);
    let unneeded_until = fewer.map_or(f64::NEG_INFINITY, |fewer| fewer + unneeded.as_secs_f64());
    let text = if added.is_some_and(|added| added + delay.as_secs_f64() > unneeded_until) {
        format!("node {node} went: no scale-down within {} of a scale-up held it longest", format_duration(delay))
    } else {
        let since =
            fewer.map_or_else(String::new, |fewer| format!(", {} after pods became fewer", words::clock(at_s - fewer)));
        format!("node {node} went: unneeded for {}{since}", format_duration(unneeded))
    };
    (text, fewer)
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

/// Why machines that were asked for last did not come.
pub(super) fn refusal(events: &[Event], until_s: f64) -> Option<String> {
    events.iter().rev().filter(|event| event.at_s <= until_s).find_map(|event| match &event.fact {
        Fact::Nodes { change, reason, .. } if change == "failed" => Some(reason.clone()),
        Fact::Cloud { object, state, message, failed: true } => Some(format!("{object}: {state}: {message}")),
        _ => None,
    })
}
