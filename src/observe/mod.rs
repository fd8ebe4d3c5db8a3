//! Watches a cluster and turns what changes into events of the run, each with its cause.
//!
//! Everything is read through the Kubernetes API and the app's own address, so that it works on every target alike; a
//! target's cloud may tell more.

mod autoscalers;
mod cloud;
mod kubernetes;
mod machines;
mod poll;
mod recorder;

use std::{sync::Arc, time::Duration};

use democtl_core::profile::Profile;
use kube::Client;
use tokio::task::JoinSet;

pub use cloud::Cloud;
pub use democtl_core::timeline::{Counts, Moment};
pub use recorder::Recorder;

/// What is observed.
#[derive(Clone)]
pub struct Subject {
    /// The cluster.
    pub client: Client,
    /// Base address of the web Service.
    pub address: String,
    /// The profile that was set up.
    pub profile: Arc<Profile>,
    /// Profile time runs this many times faster than real time.
    pub speed: f64,
    /// The cloud below the cluster, where it can be asked.
    pub cloud: Option<Arc<dyn Cloud>>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject")
            .field("address", &self.address)
            .field("profile", &self.profile.name)
            .finish_non_exhaustive()
    }
}

/// Observation that runs until it is dropped.
#[derive(Debug)]
pub struct Observer {
    tasks: JoinSet<()>,
}

impl Observer {
    /// Starts to observe; facts go to the recorder.
    pub fn start(subject: &Subject, recorder: &Recorder) -> Self {
        let mut tasks = JoinSet::new();
        kubernetes::spawn(&mut tasks, subject, recorder);
        let period = Duration::from_secs(15).div_f64(subject.speed).max(Duration::from_millis(250));
        tasks.spawn(poll::run(subject.clone(), recorder.clone(), period));
        if let Some(cloud) = &subject.cloud {
            tasks.spawn(cloud::run(Arc::clone(cloud), recorder.clone()));
        }
        Self { tasks }
    }

    /// Ends all observation.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
