//! KEDA: triggers, the HPA that they render to, activation and deactivation.
//!
//! Upstream: KEDA 2.21 (<https://keda.sh/docs/2.21/concepts/scaling-deployments/>). Reading a trigger's source is IO and
//! belongs to the caller.

mod checks;
mod cron;
mod executor;
mod fallback;
mod parameters;
mod prometheus;
mod quantity;
mod redis;
mod render;
mod state;
mod trigger;

pub use checks::{Admission, Bounds, admit, check_bounds, check_fallback, check_triggers, warnings};
pub use cron::Cron;
pub use executor::{Condition, Event, Object, Observation, Pass, State, execute, hpa_health};
pub use fallback::{
    Behavior as FallbackBehavior, Fallback, Handed, Health, HealthByMetric, Replicas, apply as apply_fallback,
    condition as fallback_condition, prune_health, read_health, write_health,
};
pub use parameters::Parameters;
pub(in crate::autoscale) use parameters::go_duration;
pub use prometheus::Prometheus;
pub use quantity::{Quantity, QuantityError};
pub use redis::Redis;
pub use render::{Annotations, hpa, hpa_name, metric_names};
pub use state::{
    Metric, Reading, Served, TriggerState, is_polling_relevant, judge, serve, triggers_activity, uses_cached_metrics,
    uses_hpa_observations, uses_modifiers,
};
pub use trigger::{
    Source, Trigger, TriggerError, Value as TriggerValue, external_target, metric_target_type, normalize, remove_index,
    resource_target,
};
