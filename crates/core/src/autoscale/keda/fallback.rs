//! Fallback: what stands in for a metric whose source fails.
//!
//! Upstream: `pkg/fallback/fallback.go` (<https://keda.sh/docs/2.21/reference/scaledobject-spec/#fallback>).

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{executor::Condition, quantity::Quantity};

/// `spec.fallback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// Failures beyond this number bring it about.
    pub failure_threshold: i64,
    /// Replicas that it asks for.
    pub replicas: i64,
    /// How these are related to what runs.
    pub behavior: Behavior,
}

/// How a fallback's replicas are related to what runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Behavior {
    /// The stated ones.
    #[default]
    Static,
    /// Those that run.
    Current,
    /// The greater ones.
    CurrentIfHigher,
    /// The lesser ones.
    CurrentIfLower,
}

impl Fallback {
    /// `spec.fallback` of a `ScaledObject`, where it is set and its figures are not negative.
    pub fn read(spec: &Json) -> Option<Self> {
        let fallback = spec.get("fallback").filter(|fallback| fallback.is_object())?;
        let int = |key: &str| fallback[key].as_i64().unwrap_or(0);
        let behavior = match fallback["behavior"].as_str().unwrap_or_default() {
            "currentReplicas" => Behavior::Current,
            "currentReplicasIfHigher" => Behavior::CurrentIfHigher,
            "currentReplicasIfLower" => Behavior::CurrentIfLower,
            _ => Behavior::Static,
        };
        let read = Self { failure_threshold: int("failureThreshold"), replicas: int("replicas"), behavior };
        Some(read).filter(|read| read.failure_threshold >= 0 && read.replicas >= 0)
    }

    fn replicas(&self, current: i64) -> i64 {
        match self.behavior {
            Behavior::Static => self.replicas,
            Behavior::Current => current,
            Behavior::CurrentIfHigher => current.max(self.replicas),
            Behavior::CurrentIfLower => current.min(self.replicas),
        }
    }
}

/// `status.health` of one metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures in a row.
    pub failures: i64,
    /// The last reading failed.
    pub failing: bool,
}

/// `status.health`, by metric.
pub type HealthByMetric = BTreeMap<String, Health>;

/// Reads `status.health`.
pub fn read_health(status: &Json) -> HealthByMetric {
    let entry = |(metric, health): (&String, &Json)| {
        let failing = health["status"] == "Failing";
        (metric.clone(), Health { failures: health["numberOfFailures"].as_i64().unwrap_or(0), failing })
    };
    status["health"].as_object().into_iter().flatten().map(entry).collect()
}

/// `status.health` as it is written.
pub fn write_health(health: &HealthByMetric) -> Json {
    let entry = |(metric, health): (&String, &Health)| {
        let status = if health.failing { "Failing" } else { "Happy" };
        (metric.clone(), json!({ "numberOfFailures": health.failures, "status": status }))
    };
    Json::Object(health.iter().map(entry).collect())
}

/// Drops what is remembered of metrics that there are no more.
pub fn prune_health(health: &mut HealthByMetric, metrics: &[String]) {
    health.retain(|metric, _| metrics.contains(metric));
}

/// What the scale target has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replicas {
    /// Wanted replicas.
    pub current: i64,
    /// Pods that run and are ready; only asked for by targets of type `Value`.
    pub ready: i64,
}

/// What is handed on.
#[derive(Debug, Clone, PartialEq)]
pub struct Handed<T> {
    /// The reading, or what stands in for it.
    pub reading: Result<T, String>,
    /// It is a stand-in.
    pub fallback_active: bool,
}

/// Counts a reading of a metric in `health` and puts a stand-in for it where it failed too often. `target` is the HPA's
/// metric target, `stand_in` makes a reading of a quantity.
pub fn apply<T>(
    fallback: Option<&Fallback>,
    health: &mut HealthByMetric,
    metric: &str,
    reading: Result<T, String>,
    target: &Json,
    replicas: Replicas,
    stand_in: impl Fn(Quantity) -> T,
) -> Handed<T> {
    let Some(fallback) = fallback else { return Handed { reading, fallback_active: false } };
    let entry = health.entry(metric.to_owned()).or_default();
    let Err(error) = reading else {
        *entry = Health::default();
        return Handed { reading, fallback_active: false };
    };
    *entry = Health { failures: entry.failures + 1, failing: true };
    if entry.failures <= fallback.failure_threshold {
        return Handed { reading: Err(error), fallback_active: false };
    }
    match instead(fallback, target, replicas) {
        Some(quantity) => Handed { reading: Ok(stand_in(quantity)), fallback_active: true },
        None => Handed { reading: Err("error performing fallback".to_owned()), fallback_active: false },
    }
}

/// The value from which the HPA computes the fallback's replicas.
fn instead(fallback: &Fallback, target: &Json, replicas: Replicas) -> Option<Quantity> {
    let wanted = fallback.replicas(replicas.current) as f64;
    let (key, share) = if target["type"] == "Value" {
        if replicas.ready == 0 {
            return None;
        }
        ("value", wanted / replicas.ready as f64)
    } else {
        ("averageValue", wanted)
    };
    let target = Quantity::float(target[key].as_str()?).ok()?;
    Some(Quantity::from_milli((target * 1000.0 * share) as i64))
}

/// The condition `Fallback` after a change of health; none where no fallback is configured.
pub fn condition(fallback: Option<&Fallback>, health: &HealthByMetric) -> Option<Condition> {
    let fallback = fallback?;
    let exists = health.values().any(|entry| entry.failing && entry.failures > fallback.failure_threshold);
    let (status, reason, message) = if exists {
        ("True", "FallbackExists", "At least one trigger is falling back on this scaled object")
    } else {
        ("False", "NoFallbackFound", "No fallbacks are active on this scaled object")
    };
    Some(Condition { kind: "Fallback", status, reason: reason.to_owned(), message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_comes_after_the_threshold_and_asks_for_the_replicas() {
        let fallback = Fallback::read(&json!({ "fallback": { "failureThreshold": 1, "replicas": 6 } }));
        let target = json!({ "type": "AverageValue", "averageValue": "3" });
        let mut health = HealthByMetric::new();
        let mut read = |reading| {
            let replicas = Replicas { current: 2, ready: 2 };
            apply(fallback.as_ref(), &mut health, "m", reading, &target, replicas, |quantity| quantity)
        };
        assert_eq!(read(Err("down".into())).reading, Err("down".to_owned()));
        let second = read(Err("down".into()));
        assert_eq!((second.reading, second.fallback_active), (Ok(Quantity::from_int(18)), true));
        assert_eq!(read(Ok(Quantity::from_int(5))).reading, Ok(Quantity::from_int(5)));
        assert_eq!(condition(fallback.as_ref(), &health).expect("configured").reason, "NoFallbackFound");
    }
}
