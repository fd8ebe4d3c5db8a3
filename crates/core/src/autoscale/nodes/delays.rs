//! How long scale-down waits after other things have happened.
//!
//! Upstream: `core/static_autoscaler.go`, `processors/scaledowncandidates/scale_down_candidates_delay_processor.go`.

use std::collections::BTreeMap;

/// What scale-down waits after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A scale-up.
    Add,
    /// A scale-down.
    Delete,
    /// A scale-down that failed.
    Failure,
}

/// Delays by kind, seconds, and the last events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delays {
    /// No scale-down for so long after an event.
    pub delays: BTreeMap<EventKind, f64>,
    /// Each group waits for itself.
    pub by_group: bool,
    last: BTreeMap<EventKind, f64>,
    last_by_group: BTreeMap<(EventKind, String), f64>,
}

impl Delays {
    /// Nothing has happened.
    pub fn new(add_s: f64, delete_s: f64, failure_s: f64, by_group: bool) -> Self {
        let delays = [(EventKind::Add, add_s), (EventKind::Delete, delete_s), (EventKind::Failure, failure_s)].into();
        Self { delays, by_group, ..Self::default() }
    }

    /// Something happened.
    pub fn record(&mut self, kind: EventKind, group: Option<&str>, at_s: f64) {
        match group {
            Some(group) => {
                self.last_by_group.insert((kind, group.to_owned()), at_s);
                self.last.insert(kind, at_s);
            }
            None => {
                self.last.insert(kind, at_s);
            }
        }
    }

    /// When something happened last, to one group or at all.
    pub(super) fn last(&self, kind: EventKind, group: Option<&str>) -> Option<f64> {
        match group {
            Some(group) => self.last_by_group.get(&(kind, group.to_owned())).copied(),
            None => self.last.get(&kind).copied(),
        }
    }

    /// What was recorded since then did not happen.
    pub(super) fn take_back(&mut self, kind: EventKind, group: Option<&str>, last_s: Option<f64>) {
        match (group, last_s) {
            (Some(group), Some(at_s)) => self.last_by_group.insert((kind, group.to_owned()), at_s),
            (Some(group), None) => self.last_by_group.remove(&(kind, group.to_owned())),
            (None, Some(at_s)) => self.last.insert(kind, at_s),
            (None, None) => self.last.remove(&kind),
        };
    }

    /// Whether no node may go now.
    pub fn is_cooling_down(&self, now_s: f64) -> bool {
        !self.by_group
            && self.delays.iter().any(|(kind, delay)| self.last.get(kind).is_some_and(|last| last + delay > now_s))
    }

    /// Whether no node of a group may be looked at now.
    pub fn is_delayed(&self, group: &str, now_s: f64) -> bool {
        self.by_group
            && self.delays.iter().any(|(kind, delay)| {
                self.last_by_group.get(&(*kind, group.to_owned())).is_some_and(|last| now_s - last < *delay)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_groups_wait_for_each_other_unless_each_waits_for_itself() {
        let mut delays = Delays::new(600.0, 0.0, 180.0, false);
        delays.record(EventKind::Add, Some("a"), 0.0);
        assert!(delays.is_cooling_down(599.0) && !delays.is_cooling_down(600.0));
        assert!(!delays.is_delayed("a", 1.0));
        delays.by_group = true;
        assert!(delays.is_delayed("a", 599.0) && !delays.is_delayed("a", 600.0) && !delays.is_delayed("b", 1.0));
    }
}
