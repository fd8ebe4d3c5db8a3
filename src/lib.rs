//! The command line of democtl: everything that does IO on behalf of the user.
//!
//! Arrows: `cli -> target, delivery, load, observe, report -> democtl_core`; only `ui` and `report` know how things
//! look; nothing below `cli` reads an environment variable or prints.

pub mod cli;
pub mod delivery;
pub mod demo_app;
pub mod doctor;
pub mod environment;
pub mod failure;
pub mod ledger;
pub mod load;
pub mod observe;
pub mod parallel;
pub mod report;
pub mod run;
pub mod target;
pub mod tune;
pub mod ui;

/// Version of this binary, and the tag of the images that it delivers.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
