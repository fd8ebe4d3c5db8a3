//! KEDA: triggers, the HPA that they render to, activation and deactivation.
//!
//! Upstream: KEDA 2.21 (<https://keda.sh/docs/2.21/concepts/scaling-deployments/>). Reading a trigger's source is IO and
//! belongs to the caller.

mod executor;
mod quantity;
mod render;
mod trigger;

pub use executor::{Condition, Event, Object, Observation, Pass, State, execute};
pub use quantity::{float_milli, text as quantity_text};
pub use render::{Annotations, hpa};
pub use trigger::{Source, Trigger, TriggerError, Value as TriggerValue};
