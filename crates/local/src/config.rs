//! What an embedded cluster is made of: written by `setup` as `cluster.json`, read by the background process.

use std::{path::PathBuf, time::Duration};

use democtl_core::{profile::Autoscaler, render::NodePool};
use serde::{Deserialize, Serialize};

/// The whole configuration of one embedded cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Environment's name; also the cluster's and the kubeconfig context's name.
    pub name: String,
    /// The cluster's own directory: pki, kubeconfig, journal, logs, pid file.
    pub dir: PathBuf,
    /// Durations of controllers are divided by this.
    pub speed: f64,
    /// Seed of every draw (VM delays, ties).
    pub seed: u64,
    /// Node pools.
    pub pools: Vec<NodePool>,
    /// Cluster autoscaler settings; none: pools keep their size.
    pub autoscaler: Option<Autoscaler>,
    /// Shortest and longest time from asking for a VM to its node being Ready, profile time.
    pub vm_delay: (Duration, Duration),
    /// The executable that is run (`<exe> app web|worker|redis`) for containers of the demo image.
    pub app_exe: PathBuf,
}
