//! Explanations: why a run went as it did, for people.

use std::fmt::Write as _;

use democtl_core::{
    explain::{self, Cause, Decision, Explanation, MetricView, Rule},
    profile::Lint,
};

use crate::ui::timeline::stamp;

/// Everything that was decided, then what each failed test lacked.
pub fn human(explanation: &Explanation) -> String {
    let mut text = String::new();
    for decision in &explanation.decisions {
        let _ = writeln!(text, "  {}", line(decision));
    }
    if explanation.failed.is_empty() {
        text.push_str("no test failed\n");
    }
    for diagnosis in &explanation.failed {
        let _ = writeln!(text, "{} failed: {}", diagnosis.test, diagnosis.thresholds.join(", "));
        if diagnosis.bottlenecks.is_empty() {
            text.push_str("  no failed or late request tells why\n");
        }
        for bottleneck in &diagnosis.bottlenecks {
            let _ = writeln!(
                text,
                "  {:3.0} %  {}: {:.0} failed or late requests in {:.0} s\n         {}",
                100.0 * bottleneck.share,
                cause(bottleneck.cause),
                bottleneck.requests,
                bottleneck.seconds,
                bottleneck.text
            );
        }
    }
    for note in &explanation.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// `+00:38 web 2 -> 3: ...`, or `+00:38 to +01:10 web stays at 2: ...`.
fn line(decision: &Decision) -> String {
    let Decision { at_s, until_s, subject, from, to, rule, text, .. } = decision;
    match until_s {
        Some(until_s) if *rule == Rule::Unschedulable => {
            format!("{} to {} {subject}: {text}", stamp(*at_s), stamp(*until_s))
        }
        Some(until_s) => format!("{} to {} {subject} stays at {to}: {text}", stamp(*at_s), stamp(*until_s)),
        None if from == to => format!("{} {subject} {to}: {text}", stamp(*at_s)),
        None => format!("{} {subject} {from} -> {to}: {text}", stamp(*at_s)),
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Concurrency => "concurrency: all pods full, and nothing adds any",
        Cause::ReplicasAtMax => "replicas at max: all pods full, and no more are allowed",
        Cause::TriggerSignal => "trigger signal: all pods full, and no trigger asked for what was needed",
        Cause::ScaleUpPolicy => "scale-up policy: more was asked for than a step may add",
        Cause::Stabilization => "stabilisation window: it held the replicas",
        Cause::MetricsMissing => "metrics missing: the autoscaler could not decide",
        Cause::PodsPending => "pods Pending: no node had room",
        Cause::NodeDelay => "node delay: pods waited for a machine on its way",
        Cause::PodsStarting => "pods starting: they were asked for and not yet ready",
        Cause::WorkerQueue => "queue of workers: messages waited",
        Cause::ConnectionPinning => "connection pinning: some pods had room while others were full",
    }
}

/// One moment.
pub fn moment(moment: &explain::Moment) -> String {
    let starting =
        if moment.nodes_starting > 0 { format!(" and {} starting", moment.nodes_starting) } else { String::new() };
    let queue = moment.queue.map_or_else(String::new, |queue| format!(", {queue} messages in the queue"));
    let mut text = format!("{} {} VUs, {} nodes{starting}{queue}\n", stamp(moment.at_s), moment.vus, moment.nodes);
    for standing in &moment.workloads {
        let pending = if standing.pending > 0 { format!(", {} Pending", standing.pending) } else { String::new() };
        let _ = writeln!(text, "  {} {} of {} pods ready{pending}", standing.workload, standing.ready, standing.wanted);
        for metric in &standing.metrics {
            let _ = writeln!(text, "    {}", figures(metric));
        }
    }
    for decision in &moment.decisions {
        let _ = writeln!(text, "  {}", line(decision));
    }
    text
}

fn figures(metric: &MetricView) -> String {
    let MetricView { name, value, target, unit, ratio, asks_for } = metric;
    let (Some(value), Some(ratio)) = (value, ratio) else { return format!("{name}: no value") };
    let asks = asks_for.map_or_else(String::new, |replicas| format!(", asks for {replicas}"));
    format!("{name} {value:.1}{unit} of {target:.1}: ratio {ratio:.2}{asks}")
}

/// Warnings about a profile, of which is told.
pub fn lints(told: &str, lints: &[Lint]) -> String {
    let mut text = match lints.len() {
        0 => format!("{told}: no warnings\n"),
        1 => format!("{told}: 1 warning\n"),
        count => format!("{told}: {count} warnings\n"),
    };
    for lint in lints {
        let _ = writeln!(text, "  {} ({})\n    {}\n    hint: {}", lint.path, lint.code, lint.message, lint.hint);
    }
    text
}
