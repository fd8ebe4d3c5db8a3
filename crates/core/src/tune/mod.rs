//! The search for a better policy: which settings may be changed, what a policy is worth, which one is tried next.
//!
//! A policy is a list of `path=value` on the given profile, so that each one goes through the same validation as any other
//! profile. [`Search`] is asked for trials and told what came of them: it runs nothing and knows no clock, so the caller
//! may forecast as many trials at once as there are cores, and the same seed gives the same search.

mod score;
mod search;
mod space;
mod text;

pub use score::{Figures, Score};
pub use search::{Measure, Outcome, Plan, Policy, Search, Trial};
pub use space::{Candidate, Change, Space, SpaceError};
pub use text::difference;
