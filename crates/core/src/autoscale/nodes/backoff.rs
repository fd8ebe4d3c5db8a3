//! Groups whose scale-up failed are left alone for a while.
//!
//! Upstream: `utils/backoff/exponential_backoff.go`.

use std::collections::BTreeMap;

/// Durations of a back-off, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackoffOptions {
    /// The first one.
    pub initial_s: f64,
    /// The longest one.
    pub max_s: f64,
    /// After so long without a failure it begins anew.
    pub reset_s: f64,
}

impl Default for BackoffOptions {
    fn default() -> Self {
        Self { initial_s: 300.0, max_s: 1800.0, reset_s: 10_800.0 }
    }
}

/// Why a group failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// Code, such as `timeout`.
    pub code: String,
    /// Message.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    duration_s: f64,
    until_s: f64,
    failed_s: f64,
    failure: Failure,
}

/// The groups that failed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Backoff {
    options: BackoffOptions,
    entries: BTreeMap<String, Entry>,
}

impl Backoff {
    /// No group has failed.
    pub fn new(options: BackoffOptions) -> Self {
        Self { options, entries: BTreeMap::new() }
    }

    /// A group failed: after a back-off that is over the next one is twice as long. Until when it is left alone.
    pub fn failed(&mut self, group: &str, failure: Failure, now_s: f64) -> f64 {
        let duration_s = match self.entries.get(group) {
            None => self.options.initial_s,
            Some(entry) if entry.until_s < now_s => (2.0 * entry.duration_s).min(self.options.max_s),
            Some(entry) => entry.duration_s,
        };
        let until_s = now_s + duration_s;
        self.entries.insert(group.to_owned(), Entry { duration_s, until_s, failed_s: now_s, failure });
        until_s
    }

    /// Why a group is left alone now.
    pub fn status(&self, group: &str, now_s: f64) -> Option<&Failure> {
        self.entries.get(group).filter(|entry| entry.until_s >= now_s).map(|entry| &entry.failure)
    }

    /// When the back-offs that last now end, seconds.
    pub fn ends(&self, now_s: f64) -> impl Iterator<Item = f64> {
        self.entries.values().map(|entry| entry.until_s).filter(move |until| *until >= now_s)
    }

    /// Forgets a group.
    pub fn remove(&mut self, group: &str) {
        self.entries.remove(group);
    }

    /// Forgets the groups that have not failed for long.
    pub fn remove_stale(&mut self, now_s: f64) {
        let reset_s = self.options.reset_s;
        self.entries.retain(|_, entry| entry.failed_s + reset_s >= now_s);
    }

    /// Groups that are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_after_the_last_back_off_doubles_it() {
        let mut backoff = Backoff::new(BackoffOptions::default());
        let mut fail = |now| backoff.failed("g", Failure::default(), now) - now;
        let durations: Vec<f64> = [0.0, 10.0, 311.0, 2000.0, 9000.0].map(&mut fail).into();
        assert_eq!(durations, [300.0, 300.0, 600.0, 1200.0, 1800.0]);
        assert!(backoff.status("g", 10_800.0).is_some() && backoff.status("g", 10_800.1).is_none());
        backoff.remove_stale(19_801.0);
        assert!(backoff.is_empty());
    }
}
