//! One line of text for each event: `+01:32 web 2 -> 6 because requests in flight 41/pod > 6 (HPA)`.

use democtl_core::event::{Event, Fact};

/// The line of an event, or `None` where it is of no interest to a person.
pub fn line(event: &Event) -> Option<String> {
    let text = match &event.fact {
        Fact::RunStarted { environment, profile, speed } => {
            format!("run of {profile} on {environment}{}", speed_note(*speed))
        }
        Fact::RunFinished { passed } => format!("run {}", if *passed { "passed" } else { "failed" }),
        Fact::RunCancelled => "run cancelled".to_owned(),
        Fact::TestStarted { test } => format!("test {test} starts"),
        Fact::TestFinished { test, passed } => format!("test {test} {}", if *passed { "passed" } else { "FAILED" }),
        Fact::Replicas { workload, from, to, reason, by } => {
            format!("{workload} {from} -> {to} because {reason} ({by})")
        }
        Fact::Pods { workload, ready, pending, total } if *pending > 0 => {
            format!("{workload}: {ready} of {total} pods ready, {pending} Pending")
        }
        Fact::Pods { .. } | Fact::Sample { .. } | Fact::Autoscaler { .. } | Fact::Sync { .. } => return None,
        Fact::FailedScheduling { pod, message, .. } => format!("{pod} Pending: {message}"),
        Fact::Nodes { change, .. } if change == "listed" => return None,
        Fact::Nodes { ready, node, change, reason, .. } => {
            let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            format!("node {node} {change} ({ready} ready){because}")
        }
        Fact::Cloud { object, state, message, .. } => format!("{object} {state}: {message}"),
        // Every pod that starts fails its first probes.
        Fact::Kubernetes { reason, .. } if reason == "Unhealthy" => return None,
        Fact::Kubernetes { object, reason, message, .. } => format!("{object} {reason}: {message}"),
    };
    Some(format!("{} {text}", stamp(event.at_s)))
}

/// `+MM:SS` of profile time, with hours where they are needed.
pub fn stamp(at_s: f64) -> String {
    let seconds = at_s.max(0.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("+{hours}:{minutes:02}:{seconds:02}") } else { format!("+{minutes:02}:{seconds:02}") }
}

fn speed_note(speed: f64) -> String {
    if (speed - 1.0).abs() < f64::EPSILON { String::new() } else { format!(" at {speed} times real time") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaling_decision_reads_as_a_sentence() {
        let fact = Fact::Replicas {
            workload: "web".into(),
            from: 2,
            to: 6,
            reason: "requests in flight 41/pod > 6".into(),
            by: "HPA".into(),
        };
        let event = Event { id: 1, at_s: 92.4, time: String::new(), cause: None, fact };
        assert_eq!(line(&event).as_deref(), Some("+01:32 web 2 -> 6 because requests in flight 41/pod > 6 (HPA)"));
    }

    #[test]
    fn stamps_have_hours_only_when_needed() {
        assert_eq!(stamp(59.9), "+00:59");
        assert_eq!(stamp(3725.0), "+1:02:05");
    }
}
