//! Node pools as plain data, for what makes nodes itself: the local cluster and the forecast.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    autoscale::{
        nodes::{Expander, Group, Options},
        schedule::{self, Node, Taint},
    },
    profile::{Autoscaler, PoolMode, Profile, Resources},
};

/// The label that AKS gives to the nodes of a pool.
pub const POOL_LABEL: &str = "kubernetes.azure.com/agentpool";

/// One node pool with the shape of its nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodePool {
    /// Name.
    pub name: String,
    /// Azure VM size.
    pub vm_size: String,
    /// `System` or `User`.
    pub mode: String,
    /// Nodes at the start.
    pub count: u32,
    /// Least nodes; equals `count` when fixed.
    pub min: u32,
    /// Most nodes; equals `count` when fixed.
    pub max: u32,
    /// Region of the zones.
    pub location: String,
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

impl NodePool {
    /// The pool as the cluster autoscaler sees it; none where it may not resize it.
    pub fn group(&self, target: u32) -> Option<Group> {
        (self.max > self.min).then(|| Group {
            id: self.name.clone(),
            min: self.min,
            max: self.max,
            target,
            template: self.template(),
            backed_off: false,
        })
    }

    /// A node of the pool before it is made.
    pub fn template(&self) -> Node {
        let resources = |of: &Resources| schedule::Resources {
            cpu_milli: Some(of.cpu.0),
            memory_bytes: Some(whole_kib(of.memory.0)),
            pods: Some(i64::from(self.max_pods)),
            ..schedule::Resources::default()
        };
        Node {
            name: format!("template-{}", self.name),
            labels: self.labels_of_all(),
            taints: self.node_taints(),
            allocatable: resources(&self.allocatable),
            capacity: Some(resources(&self.capacity)),
            ready: Some(true),
            ..Node::default()
        }
    }

    /// The name of a machine, and of the node that it becomes: it ends in the number in base 36, as in scale sets.
    pub fn machine(&self, number: u32) -> String {
        format!("aks-{}-vmss{}", self.name, base36(number))
    }

    /// The number in a machine's name.
    pub fn number_of(machine: &str) -> Option<u32> {
        u32::from_str_radix(machine.get(machine.len().checked_sub(DIGITS)?..)?, 36).ok()
    }

    /// The labels of a machine's node.
    pub fn node_labels(&self, number: u32) -> BTreeMap<String, String> {
        let mut labels = self.labels_of_all();
        labels.insert("kubernetes.io/hostname".to_owned(), self.machine(number));
        if let Some(zone) = self.zones.get(number as usize % self.zones.len().max(1)) {
            labels.insert("topology.kubernetes.io/zone".to_owned(), format!("{}-{zone}", self.location));
        }
        labels
    }

    /// Its taints, read.
    pub fn node_taints(&self) -> Vec<Taint> {
        let read = |taint: &String| {
            let (pair, effect) = taint.rsplit_once(':')?;
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some(Taint { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
        };
        self.taints.iter().filter_map(read).collect()
    }

    fn labels_of_all(&self) -> BTreeMap<String, String> {
        let fixed = [
            (POOL_LABEL, self.name.as_str()),
            ("agentpool", &self.name),
            ("kubernetes.azure.com/mode", &self.mode.to_lowercase()),
            ("node.kubernetes.io/instance-type", &self.vm_size),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", "amd64"),
            ("type", "virtual"),
        ];
        fixed.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().chain(self.labels.clone()).collect()
    }
}

/// Nodes tell their memory in Ki.
fn whole_kib(bytes: i64) -> i64 {
    bytes / 1024 * 1024
}

/// Digits of a machine's number.
const DIGITS: usize = 6;

fn base36(mut number: u32) -> String {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// The profile's pools, in its order.
pub fn node_pools(profile: &Profile) -> Vec<NodePool> {
    profile
        .pools
        .iter()
        .map(|pool| NodePool {
            name: pool.name.clone(),
            vm_size: pool.vm_size.name.to_owned(),
            mode: if pool.mode == PoolMode::System { "System" } else { "User" }.to_owned(),
            count: pool.count,
            min: pool.min,
            max: pool.max,
            location: profile.azure.location.clone(),
            zones: pool.zones.clone(),
            capacity: Resources { cpu: pool.vm_size.cpu(), memory: pool.vm_size.memory },
            allocatable: pool.allocatable(),
            max_pods: pool.max_pods,
            labels: pool.labels.clone(),
            taints: pool.taints.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

/// The cluster autoscaler's options by a profile's settings; the others are AKS's.
pub fn autoscaler_options(settings: &Autoscaler) -> Options {
    Options {
        scale_down_delay_after_add_s: settings.scale_down_delay_after_add.as_secs_f64(),
        scale_down_unneeded_s: settings.scale_down_unneeded_time.as_secs_f64(),
        utilization_threshold: settings.scale_down_utilization_threshold,
        expander: Expander::parse(&settings.expander).unwrap_or_default(),
        max_node_provision_s: settings.max_node_provision_time.as_secs_f64(),
        scan_interval_s: settings.scan_interval.as_secs_f64(),
        ..Options::default()
    }
}

/// Whether a scale set is that of a pool: AKS calls it `aks-POOL-NUMBER-vmss`.
pub fn is_scale_set(set: &str, pool: &str) -> bool {
    let rest = set.strip_prefix("aks-").and_then(|rest| rest.strip_prefix(pool));
    rest.is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_named_by_number_and_found_by_name() {
        let profile = Profile::load_builtin("m3demo2", &[]).expect("built in").expect("valid");
        let pool = &node_pools(&profile)[0];
        assert_eq!(pool.machine(37), "aks-main-vmss000011");
        assert_eq!(NodePool::number_of(&pool.machine(37)), Some(37));
        assert_eq!((NodePool::number_of("main"), NodePool::number_of("aks-main-vmss-?-?-?")), (None, None));
        let labels = pool.node_labels(4);
        assert_eq!(labels["topology.kubernetes.io/zone"], format!("{}-2", profile.azure.location));
        assert_eq!(labels["kubernetes.io/hostname"], pool.machine(4));
    }
}
