//! What an embedded cluster is made of: written by `setup` as `cluster.json`, read by the background process.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

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

/// One node pool with the shape of its nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodePool {
    /// Pool's name.
    pub name: String,
    /// Azure VM size, such as `Standard_D4s_v5`.
    pub vm_size: String,
    /// Nodes at the start.
    pub count: u32,
    /// Autoscaling bounds; equal to `count` for a fixed pool.
    pub min: u32,
    /// Greatest number of nodes.
    pub max: u32,
    /// Zones, used in turn: `1`, `2`, `3`.
    pub zones: Vec<String>,
    /// Capacity: CPU in milli.
    pub cpu_milli: i64,
    /// Capacity: memory in bytes.
    pub memory_bytes: i64,
    /// Allocatable CPU in milli, as AKS leaves it.
    pub allocatable_cpu_milli: i64,
    /// Allocatable memory in bytes, as AKS leaves it.
    pub allocatable_memory_bytes: i64,
    /// Pods a node may hold.
    pub max_pods: u32,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Taints as `key=value:Effect`.
    pub taints: Vec<String>,
    /// AKS mode: `System` or `User`.
    pub mode: String,
}

/// Cluster autoscaler settings (AKS names), profile time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Autoscaler {
    /// Time between two loops.
    pub scan_interval: Duration,
    /// No scale-down for this long after a scale-up.
    pub scale_down_delay_after_add: Duration,
    /// A node must be unneeded for this long.
    pub scale_down_unneeded_time: Duration,
    /// At most this share of requests makes a node a candidate.
    pub scale_down_utilization_threshold: f64,
    /// `random`, `least-waste`, `most-pods`, `least-nodes`, `priority`.
    pub expander: String,
    /// A node that has not come by then is given up.
    pub max_node_provision_time: Duration,
}
