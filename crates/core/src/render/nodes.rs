//! Node pools as plain data, for a target that makes nodes itself.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::profile::{PoolMode, Profile, Resources};

/// One node pool with the shape of its nodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodePool {
    /// Name.
    pub name: String,
    /// Azure VM size.
    pub vm_size: String,
    /// `System` or `User`.
    pub mode: &'static str,
    /// Nodes at the start.
    pub count: u32,
    /// Least nodes; equals `count` when fixed.
    pub min: u32,
    /// Most nodes; equals `count` when fixed.
    pub max: u32,
    /// Zones, used in turn.
    pub zones: Vec<String>,
    /// Capacity.
    pub capacity: Resources,
    /// What AKS leaves for pods.
    pub allocatable: Resources,
    /// Pods a node may hold.
    pub max_pods: u32,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Taints as `key=value:Effect`.
    pub taints: Vec<String>,
}

/// The profile's pools, in its order.
pub fn node_pools(profile: &Profile) -> Vec<NodePool> {
    profile
        .pools
        .iter()
        .map(|pool| NodePool {
            name: pool.name.clone(),
            vm_size: pool.vm_size.name.to_owned(),
            mode: if pool.mode == PoolMode::System { "System" } else { "User" },
            count: pool.count,
            min: pool.min,
            max: pool.max,
            zones: pool.zones.clone(),
            capacity: Resources { cpu: pool.vm_size.cpu(), memory: pool.vm_size.memory },
            allocatable: pool.allocatable(),
            max_pods: pool.max_pods,
            labels: pool.labels.clone(),
            taints: pool.taints.iter().map(ToString::to_string).collect(),
        })
        .collect()
}
