//! What KEDA's loop and its metrics adapter know of triggers together: the last readings and the failures in a row.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use democtl_core::autoscale::keda::{self, HealthByMetric, Metric};
use serde_json::Value;

use super::object::uid;

/// Metrics of a trigger and whether it is active by itself, or why it could not be read.
pub(super) type Outcome = Result<(Vec<Metric>, bool), String>;

/// Shared by all who hold a clone.
#[derive(Debug, Clone, Default)]
pub struct Records(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Readings of the loop, before fallback.
    by_loop: BTreeMap<(String, String), Outcome>,
    /// Readings for the HPA, after fallback, and whether they are stand-ins.
    by_hpa: BTreeMap<(String, String), (Outcome, bool)>,
    health: BTreeMap<String, HealthByMetric>,
}

fn key(object: &Value, metric: &str) -> (String, String) {
    (uid(object).to_owned(), metric.to_owned())
}

impl Records {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets objects that are gone.
    pub(super) fn retain(&self, alive: impl Fn(&str) -> bool) {
        let mut known = self.lock();
        known.by_loop.retain(|(uid, _), _| alive(uid));
        known.by_hpa.retain(|(uid, _), _| alive(uid));
        known.health.retain(|uid, _| alive(uid));
    }

    pub(super) fn store_by_loop(&self, object: &Value, metric: &str, outcome: Outcome) {
        self.lock().by_loop.insert(key(object, metric), outcome);
    }

    pub(super) fn by_loop(&self, object: &Value, metric: &str) -> Option<Outcome> {
        self.lock().by_loop.get(&key(object, metric)).cloned()
    }

    pub(super) fn store_by_hpa(&self, object: &Value, metric: &str, outcome: Outcome, fallback_active: bool) {
        self.lock().by_hpa.insert(key(object, metric), (outcome, fallback_active));
    }

    pub(super) fn by_hpa(&self, object: &Value, metric: &str) -> Option<(Outcome, bool)> {
        self.lock().by_hpa.get(&key(object, metric)).cloned()
    }

    /// Works on the failures in a row of an object's metrics; those of an earlier life are in its status.
    pub(super) fn with_health<T>(&self, object: &Value, work: impl FnOnce(&mut HealthByMetric) -> T) -> T {
        let mut known = self.lock();
        let health = known.health.entry(uid(object).to_owned());
        work(health.or_insert_with(|| keda::read_health(&object["status"])))
    }
}
