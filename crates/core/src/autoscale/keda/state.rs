//! What a `ScaledObject`'s triggers come to: active, in error, falling back; and what the HPA gets of a metric.
//!
//! Upstream: `pkg/scaling/scale_handler.go`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{
    fallback::{Fallback, HealthByMetric, Replicas, apply},
    quantity::Quantity,
};

/// A metric that a trigger hands on.
pub type Metric = (String, Quantity);

/// A reading of an external trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Metric of the trigger.
    pub metric: String,
    /// Its metrics and whether it is active by itself.
    pub outcome: Result<(Vec<Metric>, bool), String>,
    /// It comes from the record that the HPA's question left: fallback was applied then.
    pub fallback_active: Option<bool>,
    /// The HPA's target of the metric.
    pub target: Json,
}

/// What all triggers of an object come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TriggerState {
    /// Any is active.
    pub active: bool,
    /// Any is in error.
    pub error: bool,
    /// Any falls back.
    pub fallback_active: bool,
    /// Metrics of the active ones.
    pub active_triggers: Vec<String>,
}

/// Judges the readings of all external triggers of a `ScaledObject`; `health` is kept up to date.
pub fn judge(spec: &Json, readings: Vec<Reading>, health: &mut HealthByMetric, replicas: Replicas) -> TriggerState {
    let fallback = Fallback::read(spec);
    let mut state = TriggerState::default();
    // Nothing but cpu and memory, which the HPA reads itself, is always active.
    let only_resources = readings.is_empty();
    for reading in readings {
        let Reading { metric, outcome, fallback_active: applied, target } = reading;
        let (outcome, falls_back) = if let Some(applied) = applied {
            (outcome, applied)
        } else {
            let stand_in = |quantity| (vec![(metric.clone(), quantity)], false);
            let handed = apply(fallback.as_ref(), health, &metric, outcome, &target, replicas, stand_in);
            (handed.reading, handed.fallback_active)
        };
        state.fallback_active |= falls_back;
        match outcome {
            Ok((metrics, active)) if active || falls_back => {
                state.active = true;
                state.active_triggers.extend(metrics.into_iter().map(|(name, _)| name));
            }
            Ok(_) => {}
            Err(_) => state.error = true,
        }
    }
    state.active |= only_resources;
    state
}

/// The activity of each external metric; an activation that was pushed changes only its own.
pub fn triggers_activity(
    before: &BTreeMap<String, bool>,
    external: &[String],
    active: &[String],
    pushed: Option<&str>,
) -> BTreeMap<String, bool> {
    let mut after = if pushed.is_some() { before.clone() } else { BTreeMap::new() };
    for metric in external.iter().filter(|metric| pushed.is_none_or(|pushed| pushed == *metric)) {
        after.insert(metric.clone(), active.contains(metric));
    }
    after
}

/// What the HPA gets when it asks for a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// The metrics.
    pub metrics: Result<Vec<Metric>, String>,
    /// The trigger was read for it.
    pub reads_trigger: bool,
    /// The outcome is kept for the loop.
    pub stored: bool,
}

/// Answers the HPA: from the loop's last record where the trigger wants that and there is one, else from a reading.
/// Fallback has been applied to both.
pub fn serve<'a>(
    spec: &Json,
    metric: &str,
    cached: Option<&'a Result<Vec<Metric>, String>>,
    read: impl FnOnce() -> Option<&'a Result<Vec<Metric>, String>>,
) -> Served {
    let (reading, reads_trigger) = match cached {
        Some(record) => (Some(record), false),
        None => (read(), true),
    };
    let metrics = match reading {
        Some(Ok(metrics)) => Ok(metrics.clone()),
        _ => Err(format!("metric:{metric} encountered error")),
    };
    Served { metrics, reads_trigger, stored: reads_trigger && uses_hpa_observations(spec) }
}

/// Whether the polling interval matters for scaling.
pub fn is_polling_relevant(spec: &Json) -> bool {
    let mut triggers = spec["triggers"].as_array().into_iter().flatten();
    spec["minReplicaCount"].as_i64().unwrap_or(0) == 0
        || spec["idleReplicaCount"].is_i64()
        || triggers.any(uses_cached_metrics)
}

/// Whether the HPA gets what the loop left of a trigger, where it left something.
pub fn uses_cached_metrics(trigger: &Json) -> bool {
    trigger["useCachedMetrics"] == true
}

/// Whether scaling modifiers compose the triggers' metrics.
pub fn uses_modifiers(spec: &Json) -> bool {
    let modifiers = &spec["advanced"]["scalingModifiers"];
    ["formula", "target"].iter().any(|key| modifiers[key].as_str().is_some_and(|text| !text.is_empty()))
}

/// Whether the loop takes what the HPA's questions left instead of reading triggers itself.
pub fn uses_hpa_observations(spec: &Json) -> bool {
    !is_polling_relevant(spec) && !uses_modifiers(spec)
}
