//! Figures in the words of decisions.

use super::replay::MetricView;
use crate::autoscale::hpa::{Direction, Policy, PolicyKind, Rules, SelectPolicy, default_rules};

/// A number without digits that say nothing.
pub(crate) fn short(value: f64) -> String {
    if value.abs() >= 10.0 || value.fract().abs() < 0.05 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// `in-flight 41/pod is 6.83 times its target 6`.
pub(super) fn metric(metric: &MetricView) -> String {
    let (Some(value), Some(ratio)) = (metric.value, metric.ratio) else {
        return format!("{} has no value", metric.name);
    };
    let (value, target) = (short(value), short(metric.target));
    format!("{} {value}{} is {ratio:.2} times its target {target}", metric.name, metric.unit)
}

/// All metrics: `cpu 40 % is 0.67 times its target 60, ...`.
pub(super) fn metrics(all: &[MetricView]) -> String {
    all.iter().map(metric).collect::<Vec<_>>().join(", ")
}

/// `100 % per 15 s or 4 pods per 15 s, whichever is more`.
pub(super) fn policies(rules: Option<&Rules>, direction: Direction) -> String {
    let rules = default_rules(direction, rules);
    let policy = |policy: &Policy| {
        let unit = match policy.kind {
            PolicyKind::Pods => "pods",
            PolicyKind::Percent => "%",
        };
        format!("{} {unit} per {} s", policy.value, policy.period_s)
    };
    let all: Vec<_> = rules.policies.iter().flatten().map(policy).collect();
    let which = match (rules.select_policy, all.len()) {
        (Some(SelectPolicy::Disabled), _) => return "no scaling in this direction".to_owned(),
        (Some(SelectPolicy::Min), 2..) => ", whichever is less",
        (_, 2..) => ", whichever is more",
        _ => "",
    };
    format!("{}{which}", all.join(" or "))
}

/// `2:05` of a number of seconds.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
