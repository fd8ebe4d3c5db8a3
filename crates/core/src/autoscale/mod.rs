//! The scaling brain: what Kubernetes' autoscalers decide, as pure functions and state machines. Time is an argument.
//!
//! The local cluster drives them in real time, a forecast in virtual time. Each rule exists here and nowhere else.

pub mod hpa;
pub mod keda;
pub mod nodes;
pub mod rollout;
pub mod schedule;
