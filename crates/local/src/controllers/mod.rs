//! The controllers: they watch objects and make others. Every scaling rule is a function of `democtl_core::autoscale`;
//! here are only its inputs and what follows from its outcome.

mod adapter;
mod application;
mod autoscaler;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod garbage;
mod hpa;
mod job;
mod namespaces;
mod node_lifecycle;
mod object;
mod records;
mod replicaset;
mod scaled_object;
mod scheduler;
mod triggers;
#[cfg(test)]
mod twin;
mod work;

use std::sync::Arc;

pub use adapter::Adapter;
pub use records::Records;
use tokio::task::JoinSet;

use crate::{
    api::Client,
    clock::Clock,
    cloud::Cloud,
    config::Config,
    runtime::{metrics::ResourceMetrics, resolve::Directory},
};

/// What all controllers share.
#[derive(Clone)]
pub struct Context {
    /// The API.
    pub client: Client,
    /// Profile time.
    pub clock: Clock,
    /// The cluster's settings.
    pub config: Arc<Config>,
    /// CPU and memory of pods.
    pub metrics: ResourceMetrics,
    /// Names of Services.
    pub directory: Directory,
    /// Where nodes come from.
    pub cloud: Cloud,
    /// What triggers answered.
    pub records: Records,
}

/// Starts every controller; they end when the set is dropped.
pub fn start(context: &Context) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(deployment::run(context.clone()));
    tasks.spawn(replicaset::run(context.clone()));
    tasks.spawn(daemonset::run(context.clone()));
    tasks.spawn(scheduler::run(context.clone()));
    tasks.spawn(endpoints::run(context.clone()));
    tasks.spawn(garbage::run(context.clone()));
    tasks.spawn(namespaces::run(context.clone()));
    tasks.spawn(node_lifecycle::run(context.clone()));
    tasks.spawn(job::run(context.clone()));
    tasks.spawn(disruption::run(context.clone()));
    tasks.spawn(hpa::run(context.clone()));
    tasks.spawn(scaled_object::run(context.clone()));
    tasks.spawn(application::run(context.clone()));
    tasks.spawn(autoscaler::run(context.clone()));
    tasks
}
