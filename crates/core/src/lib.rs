//! The pure part of democtl: profiles, suites, the scaling brain, costs, verdicts, rendering.
//!
//! Nothing here does IO, reads a clock, the environment or files, or starts a thread; `clippy.toml` beside this crate
//! enforces it. Time is an argument, randomness a seeded field, output a value.

pub mod app;
pub mod autoscale;
pub mod calibrate;
pub mod capacity;
pub mod catalog;
pub mod caveats;
pub mod cost;
pub mod draws;
pub mod event;
pub mod explain;
pub mod fidelity;
pub mod figures;
pub mod plan;
pub mod profile;
pub mod promql;
mod random;
pub mod render;
pub mod sim;
pub mod suggest;
pub mod suite;
pub mod timeline;
pub mod tune;
pub mod units;
pub mod verdict;
