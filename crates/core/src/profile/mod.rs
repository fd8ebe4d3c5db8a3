//! Profiles: TOML text to raw values to a resolved [`Profile`]. A half-checked profile cannot exist.
//!
//! Owns parsing, inheritance, overrides and every check that needs no cluster. Does not read files: texts come in.

mod model;

pub use model::{
    Autoscaler, Azure, Behavior, Local, Pattern, Period, Policy, PolicyKind, Pool, PoolMode, Probe, Probes, Profile,
    Prometheus, Resources, Role, Scaling, ScalingRules, Select, SkuTier, Taint, Traffic, Trigger, Web, Worker,
    Workload,
};

/// A text with the name that errors give it, such as `profiles/m3demo2.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name.
    pub name: String,
    /// Text.
    pub text: String,
}
