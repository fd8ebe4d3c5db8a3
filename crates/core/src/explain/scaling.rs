//! Decisions about replicas: each change, each time without one though load rose or a metric
//! asked for more, each time a window held.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{
    Decision, Recording, Rule,
    replay::{MetricView, Replayed, SYNC_S},
    track::Track,
    words,
};
use crate::{
    autoscale::hpa::Direction,
    event::{Event, Fact},
    profile::{Role, Workload},
};

/// A change is seen by two watches; they may differ by so many profile seconds.
const NEAR_S: f64 = 12.0;

type Syncs = BTreeMap<String, Vec<Replayed>>;

pub(super) fn decisions(recording: &Recording<'_>, track: &Track<'_>, syncs: &Syncs) -> Vec<Decision> {
    let mut decisions: Vec<_> = recording.events.iter().filter_map(|event| change(event, syncs)).collect();
    for workload in &recording.profile.workloads {
        match syncs.get(&workload.name) {
            Some(syncs) => holds(workload, track, syncs, &mut decisions),
            None if workload.scaling.is_none() && matches!(workload.role, Role::Web(_)) => {
                fixed(workload, track, &mut decisions);
            }
            None => {}
        }
    }
    decisions
}

fn change(event: &Event, syncs: &Syncs) -> Option<Decision> {
    let Fact::Replicas { workload, from, to, reason, by } = &event.fact else { return None };
    let near = |sync: &&Replayed| sync.desired == *to && (sync.at_s - event.at_s).abs() <= NEAR_S;
    let sync = syncs.get(workload).and_then(|all| all.iter().find(|sync| near(sync) && sync.replicas == *from));
    let (rule, text, metrics) = match (by.as_str(), sync) {
        ("HPA", Some(sync)) => (rule_of(sync), because(sync), sync.metrics.clone()),
        ("HPA", None) => {
            let rule = if to > from { Rule::MetricAbove } else { Rule::AllBelow };
            (rule, reason.clone(), Vec::new())
        }
        ("KEDA", _) => (Rule::Activation, reason.clone(), Vec::new()),
        _ => (Rule::Outside, reason.clone(), Vec::new()),
    };
    Some(Decision {
        at_s: event.at_s,
        until_s: None,
        subject: workload.clone(),
        from: *from,
        to: *to,
        rule,
        text,
        metrics,
        event: Some(event.id),
    })
}

/// The rule that had the last word in a sync, by its own conditions.
pub(super) fn rule_of(sync: &Replayed) -> Rule {
    if let Some(active) = sync.condition("ScalingActive")
        && !active.status
    {
        return Rule::MetricsMissing;
    }
    let (asked, seen) = (asked(sync), has_values(sync));
    let limited = sync.condition("ScalingLimited").filter(|limited| limited.status);
    let limit = limited.map_or("", |limited| limited.reason.as_str());
    // More than any metric asks for is what a window remembers, unless the floor or a policy explains it. A rescale
    // overwrites the condition that would tell of the window.
    let remembered = seen && asked < sync.desired && sync.desired > sync.least && limit != "ScaleDownLimit";
    match (limit, sync.desired.cmp(&sync.replicas)) {
        _ if remembered => Rule::Window,
        ("TooManyReplicas", _) => Rule::MaxReplicas,
        ("ScaleUpLimit" | "ScaleDownLimit", _) => Rule::Policy,
        (_, Ordering::Less) => Rule::AllBelow,
        _ if asked < sync.desired => Rule::MinReplicas,
        (_, Ordering::Greater) => Rule::MetricAbove,
        // An upward window holds back what is asked for.
        (_, Ordering::Equal) if asked > sync.replicas => Rule::Window,
        (_, Ordering::Equal) => Rule::Tolerance,
    }
}

fn has_values(sync: &Replayed) -> bool {
    sync.metrics.iter().any(|metric| metric.value.is_some())
}

/// What the metrics ask for before windows and limits; 0 where none has a proposal.
pub(super) fn asked(sync: &Replayed) -> i32 {
    sync.metrics.iter().filter_map(|metric| metric.asks_for).max().unwrap_or(0)
}

fn because(sync: &Replayed) -> String {
    let strongest = sync.strongest().map_or_else(String::new, words::metric);
    let asked = asked(sync);
    let rules = |up: bool| {
        let behavior = sync.behavior.as_ref();
        if up {
            words::policies(behavior.and_then(|b| b.scale_up.as_ref()), Direction::Up)
        } else {
            words::policies(behavior.and_then(|b| b.scale_down.as_ref()), Direction::Down)
        }
    };
    let brain = if sync.brain == sync.desired { String::new() } else { format!(" (replayed alone: {})", sync.brain) };
    let text = match rule_of(sync) {
        Rule::MetricAbove => format!("{strongest}: asks for {asked}"),
        Rule::MaxReplicas => format!("{strongest}: asks for {asked}, the most is {}", sync.desired),
        Rule::Policy => format!(
            "{strongest}: asks for {asked}, the policy ({}) allows {}",
            rules(asked > sync.replicas),
            sync.desired
        ),
        Rule::Window if asked > sync.desired => {
            let window = sync.condition("AbleToScale").map_or("a stabilisation window holds", |c| c.message.as_str());
            format!("{strongest}: asks for {asked}, but {window}")
        }
        Rule::Window => format!(
            "{}: ask for {asked}, but the highest recommendation within the scale-down window stands: {}",
            words::metrics(&sync.metrics),
            sync.desired
        ),
        Rule::AllBelow => format!("all below target ({}): asks for {asked}", words::metrics(&sync.metrics)),
        Rule::MinReplicas if has_values(sync) => {
            format!("{}: ask for {asked}, the least is {}", words::metrics(&sync.metrics), sync.desired)
        }
        Rule::MinReplicas => format!("{} is the least", sync.desired),
        Rule::MetricsMissing => {
            let message = sync.condition("ScalingActive").map_or("", |condition| condition.message.as_str());
            format!("no decision without metrics: {message}")
        }
        _ => within(&sync.metrics, sync.replicas),
    };
    text + &brain
}

/// Why metrics that are off their targets change nothing.
fn within(metrics: &[MetricView], replicas: i32) -> String {
    let highest = metrics.iter().filter_map(|metric| metric.ratio).fold(0.0, f64::max);
    let why = if (highest - 1.0).abs() <= 0.1 {
        "within the tolerance of 10 %".to_owned()
    } else if highest > 1.0 {
        format!("nothing asks for more than {replicas}")
    } else {
        format!("rounded up they ask for {replicas}")
    };
    format!("{}: {why}", words::metrics(metrics))
}

/// Runs of syncs that changed nothing, by one rule, where load rose, a metric asked for more, or a window held.
fn holds(workload: &Workload, track: &Track<'_>, syncs: &[Replayed], decisions: &mut Vec<Decision>) {
    let same = |a: &Replayed, b: &Replayed| {
        let quiet = |sync: &Replayed| sync.desired == sync.replicas;
        quiet(a) && quiet(b) && a.replicas == b.replicas && rule_of(a) == rule_of(b)
    };
    for group in syncs.chunk_by(same) {
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let rule = rule_of(first);
        if first.desired != first.replicas {
            continue;
        }
        let load = |at_s: f64| match workload.role {
            Role::Worker(_) => track.queue.at(at_s).unwrap_or(0) as f64,
            _ => f64::from(track.vus(at_s)),
        };
        let before = load(first.at_s - SYNC_S);
        let rose = group.iter().any(|sync| load(sync.at_s) > before.max(1.0) * 1.02);
        let ratio = |sync: &Replayed| sync.metrics.iter().filter_map(|metric| metric.ratio).fold(0.0, f64::max);
        let wants_more = group.iter().any(|sync| asked(sync) > sync.replicas);
        // Users who are refused or turned away are load that the number of users does not show.
        let refused = |at_s: f64| track.second(at_s).is_some_and(|second| second.failed > 0);
        let refused = matches!(workload.role, Role::Web(_)) && group.iter().any(|sync| refused(sync.at_s));
        if !rose && !wants_more && !refused && rule != Rule::Window {
            continue;
        }
        // The sync that came nearest to a change tells most.
        let told = group.iter().max_by(|a, b| ratio(a).total_cmp(&ratio(b))).unwrap_or(last);
        decisions.push(Decision {
            at_s: first.at_s,
            until_s: Some((last.at_s + SYNC_S).min(track.end_s)),
            subject: workload.name.clone(),
            from: first.replicas,
            to: first.replicas,
            rule,
            text: because(told),
            metrics: told.metrics.clone(),
            event: None,
        });
    }
}

fn fixed(workload: &Workload, track: &Track<'_>, decisions: &mut Vec<Decision>) {
    for span in &track.tests {
        let vus = |at: Option<&crate::verdict::Second>| at.map_or(0, |second| second.vus);
        let most = span.result.seconds.iter().map(|second| second.vus).max().unwrap_or(0);
        let least = vus(span.result.seconds.first());
        if most <= least {
            continue;
        }
        let replicas = track.wanted(&workload.name, span.from_s);
        decisions.push(Decision {
            at_s: span.from_s,
            until_s: Some(span.until_s),
            subject: workload.name.clone(),
            from: replicas,
            to: replicas,
            rule: Rule::Fixed,
            text: format!("{least} to {most} virtual users, and nothing scales it: no trigger, replicas = {replicas}"),
            metrics: Vec::new(),
            event: None,
        });
    }
}
