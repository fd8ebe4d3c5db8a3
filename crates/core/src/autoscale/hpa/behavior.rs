//! Behaviour: defaults, stabilisation, limits, and the memory of changes.

use super::model::{Behavior, Direction, Policy, PolicyKind, Recommendation, Rules, ScaleEvent, SelectPolicy};

/// A recommendation after stabilisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stabilized {
    /// Replicas.
    pub replicas: i32,
    /// Reason of the `AbleToScale` condition.
    pub reason: &'static str,
    /// Its message.
    pub message: &'static str,
}

/// A recommendation after the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clamped {
    /// Replicas.
    pub replicas: i32,
    /// Reason of the `ScalingLimited` condition.
    pub reason: &'static str,
    /// The limit of the rate before it was compared with the current replicas, where one was computed.
    pub rate_limit: Option<i32>,
}

/// Both sides of what may be recommended.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a> {
    /// Least replicas.
    pub min: i32,
    /// Most replicas.
    pub max: i32,
    /// Rules of scaling up, defaults filled in.
    pub up: &'a Rules,
    /// Rules of scaling down, defaults filled in.
    pub down: &'a Rules,
}

impl Clamped {
    /// The condition's message.
    pub fn message(&self) -> &'static str {
        match self.reason {
            "ScaleUpLimit" => "the desired replica count is increasing faster than the maximum scale rate",
            "ScaleDownLimit" => "the desired replica count is decreasing faster than the maximum scale rate",
            "TooManyReplicas" => "the desired replica count is more than the maximum replica count",
            "TooFewReplicas" => "the desired replica count is less than the minimum replica count",
            _ => "the desired count is within the acceptable range",
        }
    }
}

/// Fills in what a direction's rules leave open.
pub fn default_rules(direction: Direction, given: Option<&Rules>) -> Rules {
    let (window, policies) = match direction {
        Direction::Up => (
            Some(0),
            vec![
                Policy { kind: PolicyKind::Pods, value: 4, period_s: 15 },
                Policy { kind: PolicyKind::Percent, value: 100, period_s: 15 },
            ],
        ),
        Direction::Down => (None, vec![Policy { kind: PolicyKind::Percent, value: 100, period_s: 15 }]),
    };
    let given = given.cloned().unwrap_or_default();
    Rules {
        stabilization_window_s: given.stabilization_window_s.or(window),
        select_policy: given.select_policy.or(Some(SelectPolicy::Max)),
        tolerance: given.tolerance,
        policies: given.policies.or(Some(policies)),
    }
}

/// Fills in both directions.
pub fn default_behavior(given: &Behavior) -> Behavior {
    Behavior {
        scale_up: Some(default_rules(Direction::Up, given.scale_up.as_ref())),
        scale_down: Some(default_rules(Direction::Down, given.scale_down.as_ref())),
    }
}

const READY: (&str, &str) = ("ReadyForNewScale", "recommended size matches current size");
const DOWN_STABILIZED: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const UP_STABILIZED: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);

fn stabilized(replicas: i32, (reason, message): (&'static str, &'static str)) -> Stabilized {
    Stabilized { replicas, reason, message }
}

/// Takes the place of the last outdated entry, or a new one at the end.
fn store(recommendations: &mut Vec<Recommendation>, new: Recommendation, outdated: impl Fn(&Recommendation) -> bool) {
    match recommendations.iter().rposition(outdated) {
        Some(index) => recommendations[index] = new,
        None => recommendations.push(new),
    }
}

/// Without behaviour: the greatest recommendation of the window.
pub fn stabilize_legacy(
    desired: i32,
    recommendations: &mut Vec<Recommendation>,
    window_s: f64,
    now: f64,
) -> Stabilized {
    let cutoff = now - window_s;
    let recent = recommendations.iter().filter(|entry| entry.at_s >= cutoff);
    let replicas = recent.map(|entry| entry.replicas).fold(desired, i32::max);
    store(recommendations, Recommendation { replicas: desired, at_s: now }, |entry| entry.at_s < cutoff);
    stabilized(replicas, if replicas == desired { READY } else { DOWN_STABILIZED })
}

/// With behaviour: not above the greatest of the window down, not below the least of the window up.
pub fn stabilize(
    current: i32,
    desired: i32,
    recommendations: &mut Vec<Recommendation>,
    (up_window_s, down_window_s): (f64, f64),
    now: f64,
) -> Stabilized {
    let (up_cutoff, down_cutoff) = (now - up_window_s, now - down_window_s);
    let after =
        |cutoff: f64| recommendations.iter().filter(move |entry| entry.at_s > cutoff).map(|entry| entry.replicas);
    let low = after(up_cutoff).fold(desired, i32::min);
    let high = after(down_cutoff).fold(desired, i32::max);
    let replicas = current.max(low).min(high);
    let oldest = up_cutoff.min(down_cutoff);
    store(recommendations, Recommendation { replicas: desired, at_s: now }, |entry| entry.at_s < oldest);
    let reason = match replicas == desired {
        true => READY,
        false if desired >= current => UP_STABILIZED,
        false => DOWN_STABILIZED,
    };
    stabilized(replicas, reason)
}

/// Without behaviour: at most `factor` times or `minimum` replicas in one step up.
pub fn clamp_legacy(current: i32, desired: i32, (min, max): (i32, i32), (factor, minimum): (f64, f64)) -> Clamped {
    let up = (factor * f64::from(current)).max(minimum) as i32;
    let (cap, reason) = if max > up { (up, "ScaleUpLimit") } else { (max, "TooManyReplicas") };
    let (replicas, reason) = match desired {
        d if d < min => (min, "TooFewReplicas"),
        d if d > cap => (cap, reason),
        d => (d, "DesiredWithinRange"),
    };
    Clamped { replicas, reason, rate_limit: None }
}

/// Replicas changed within the last `period_s`.
pub fn change_within(events: &[ScaleEvent], period_s: i64, now: f64) -> i32 {
    let cutoff = now - period_s as f64;
    events.iter().filter(|event| event.at_s > cutoff).map(|event| event.replica_change).sum()
}

/// The most replicas that the rules of scaling up allow now.
pub fn scale_up_limit(current: i32, up: &[ScaleEvent], down: &[ScaleEvent], rules: &Rules, now: f64) -> i32 {
    limit(current, rules, true, |policy| {
        let start = current - change_within(up, policy.period_s, now) + change_within(down, policy.period_s, now);
        match policy.kind {
            PolicyKind::Pods => start + policy.value,
            PolicyKind::Percent => (f64::from(start) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32,
        }
    })
}

/// The fewest replicas that the rules of scaling down allow now.
pub fn scale_down_limit(current: i32, up: &[ScaleEvent], down: &[ScaleEvent], rules: &Rules, now: f64) -> i32 {
    limit(current, rules, false, |policy| {
        let start = current - change_within(up, policy.period_s, now) + change_within(down, policy.period_s, now);
        match policy.kind {
            PolicyKind::Pods => start - policy.value,
            PolicyKind::Percent => (f64::from(start) * (1.0 - f64::from(policy.value) / 100.0)) as i32,
        }
    })
}

fn limit(current: i32, rules: &Rules, up: bool, proposal: impl Fn(&Policy) -> i32) -> i32 {
    let proposals = rules.policies.iter().flatten().map(proposal);
    let greatest = match rules.select_policy.unwrap_or(SelectPolicy::Max) {
        SelectPolicy::Disabled => return current,
        SelectPolicy::Max => up,
        SelectPolicy::Min => !up,
    };
    if greatest { proposals.max() } else { proposals.min() }.unwrap_or(current)
}

/// With behaviour: the rates of the policies, then the bounds.
pub fn clamp(
    current: i32,
    desired: i32,
    limit: Limit<'_>,
    up: &[ScaleEvent],
    down: &[ScaleEvent],
    now: f64,
) -> Clamped {
    let within = |rate_limit| Clamped { replicas: desired, reason: "DesiredWithinRange", rate_limit };
    if desired > current {
        let rate = scale_up_limit(current, up, down, limit.up, now);
        let most = rate.max(current);
        let (cap, reason) = if limit.max > most { (most, "ScaleUpLimit") } else { (limit.max, "TooManyReplicas") };
        return if desired > cap {
            Clamped { replicas: cap, reason, rate_limit: Some(rate) }
        } else {
            within(Some(rate))
        };
    }
    if desired < current {
        let rate = scale_down_limit(current, up, down, limit.down, now);
        let least = rate.min(current);
        let (floor, reason) = if limit.min < least { (least, "ScaleDownLimit") } else { (limit.min, "TooFewReplicas") };
        return if desired < floor {
            Clamped { replicas: floor, reason, rate_limit: Some(rate) }
        } else {
            within(Some(rate))
        };
    }
    within(None)
}

/// Remembers a change; entries that no policy of the direction looks back to are overwritten.
pub fn store_scale_event(
    behavior: Option<&Behavior>,
    previous: i32,
    new: i32,
    up: &mut Vec<ScaleEvent>,
    down: &mut Vec<ScaleEvent>,
    now: f64,
) {
    let Some(behavior) = behavior else { return };
    let (events, rules) =
        if new > previous { (up, behavior.scale_up.as_ref()) } else { (down, behavior.scale_down.as_ref()) };
    let periods = rules.and_then(|rules| rules.policies.as_ref()).into_iter().flatten().map(|policy| policy.period_s);
    let cutoff = now - periods.max().unwrap_or(0) as f64;
    for event in events.iter_mut().filter(|event| event.at_s < cutoff) {
        event.outdated = true;
    }
    let event = ScaleEvent { replica_change: (new - previous).abs(), at_s: now, outdated: false };
    match events.iter().rposition(|event| event.outdated) {
        Some(index) => events[index] = event,
        None => events.push(event),
    }
}
