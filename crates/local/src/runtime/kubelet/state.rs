//! What a container is doing, as the kubelet reports it, and the restart back-off.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

/// First and longest pause between two restarts: <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>.
const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// A container that ran this long starts again without a pause.
const BACKOFF_RESET: Duration = Duration::from_secs(600);

/// `containerStatuses[].state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Not started, or between two lives.
    Waiting { reason: &'static str, message: String },
    /// Started.
    Running { since: DateTime<Utc> },
    /// Ended for good.
    Terminated(Ended),
}

/// How one life of a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Exit code; 128 + signal when ended by a signal.
    pub(crate) code: i32,
    /// The signal, when ended by one.
    pub(crate) signal: Option<i32>,
    /// `Completed`, `Error`, ...
    pub(crate) reason: &'static str,
    /// When it had started.
    pub(crate) started: DateTime<Utc>,
    /// When it ended.
    pub(crate) finished: DateTime<Utc>,
}

/// One container's part of the pod's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) state: State,
    pub(crate) last: Option<Ended>,
    pub(crate) restarts: u32,
    pub(crate) ready: bool,
    pub(crate) started: bool,
}

impl Snapshot {
    /// Before the first start.
    pub(crate) fn waiting(reason: &'static str, message: String) -> Self {
        Self { state: State::Waiting { reason, message }, last: None, restarts: 0, ready: false, started: false }
    }

    /// What a container goes on from that an earlier life of the cluster had reported in `status`: its process is gone.
    pub(crate) fn recovered(status: &Value) -> Self {
        let mut snapshot = Self::waiting("ContainerCreating", String::new());
        snapshot.restarts = status["restartCount"].as_u64().unwrap_or(0) as u32;
        let since = status["state"]["running"]["startedAt"].as_str().and_then(|time| time.parse().ok());
        if let Some(started) = since {
            snapshot.restarts += 1;
            snapshot.last = Some(Ended { code: 255, signal: None, reason: "Unknown", started, finished: Utc::now() });
        }
        snapshot
    }

    /// Whether it has ended and will not start again.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Terminated(_))
    }

    /// Its entry in `containerStatuses`.
    pub(crate) fn render(&self, container: &Value, id: &str) -> Value {
        let image = container["image"].as_str().unwrap_or("");
        json!({
            "name": container["name"],
            "image": image,
            "imageID": image,
            "containerID": if matches!(self.state, State::Waiting { .. }) && self.last.is_none() {
                String::new()
            } else {
                format!("democtl://{id}/{}", self.restarts)
            },
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": match &self.state {
                State::Waiting { reason, message } if message.is_empty() => json!({"waiting": {"reason": reason}}),
                State::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
                State::Running { since } => json!({"running": {"startedAt": time(*since)}}),
                State::Terminated(ended) => json!({"terminated": ended.render()}),
            },
            "lastState": self.last.as_ref().map_or_else(|| json!({}), |ended| json!({"terminated": ended.render()})),
        })
    }
}

impl Ended {
    fn render(&self) -> Value {
        let mut value = json!({
            "exitCode": self.code,
            "reason": self.reason,
            "startedAt": time(self.started),
            "finishedAt": time(self.finished),
        });
        if let Some(signal) = self.signal {
            value["signal"] = json!(signal);
        }
        value
    }
}

/// The pause before a container starts again: none after its first end, then 10 s, doubled up to 5 m.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The pause after a life of `ran`.
    pub(crate) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= BACKOFF_RESET {
            self.next = Duration::ZERO;
        }
        let pause = self.next;
        self.next = (pause * 2).clamp(FIRST_BACKOFF, LONGEST_BACKOFF);
        pause
    }
}

/// A time as the API writes it, in whole seconds.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_five_minutes_and_forgets_after_ten() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..8).map(|_| backoff.after(Duration::ZERO).as_secs()).collect();
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.after(BACKOFF_RESET), Duration::ZERO);
    }

    #[test]
    fn a_container_of_an_earlier_life_counts_as_restarted() {
        let running = json!({"restartCount": 2, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
        let snapshot = Snapshot::recovered(&running);
        assert_eq!(snapshot.restarts, 3);
        assert_eq!(snapshot.last.map(|ended| (ended.code, ended.reason)), Some((255, "Unknown")));
        assert_eq!(Snapshot::recovered(&json!(null)).restarts, 0);
    }
}
