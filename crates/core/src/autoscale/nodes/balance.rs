//! Sharing new nodes among groups of the same shape.
//!
//! Upstream: `processors/nodegroupset/{balancing_processor,compare_nodegroups,azure_nodegroups}.go`.

use std::collections::{BTreeMap, BTreeSet};

use crate::autoscale::schedule::{NodeState, Resources};

/// Size and limit of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// Group.
    pub id: String,
    /// Nodes asked for.
    pub target: u32,
    /// Most nodes.
    pub max: u32,
}

/// New sizes of the groups that change: one node after the other goes to the least group that has room.
pub fn distribute(groups: &[Size], nodes: u32) -> Vec<(String, u32)> {
    let mut sizes: Vec<(&Size, u32)> =
        groups.iter().filter(|group| group.target < group.max).map(|group| (group, group.target)).collect();
    sizes.sort_by_key(|(group, _)| group.target);
    for _ in 0..nodes {
        let open = sizes.iter_mut().filter(|(group, size)| *size < group.max);
        let Some((_, size)) = open.min_by_key(|(_, size)| *size) else { break };
        *size += 1;
    }
    let changed = sizes.into_iter().filter(|(group, size)| *size > group.target);
    changed.map(|(group, size)| (group.id.clone(), size)).collect()
}

/// Of the groups of the same shape, those that can take every pod group that `group` can.
pub fn similar_groups<'a>(
    group: &str,
    same_shape: &[&'a str],
    schedulable: &BTreeMap<String, BTreeSet<usize>>,
) -> Vec<&'a str> {
    let none = BTreeSet::new();
    let wanted = schedulable.get(group).unwrap_or(&none);
    let able = |other: &&&str| schedulable.get(**other).is_some_and(|has| has.is_superset(wanted));
    // Where no pod group goes to the group there is nothing to share.
    same_shape.iter().filter(|_| !wanted.is_empty()).filter(able).copied().collect()
}

/// How far amounts may differ, as shares of the larger one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratios {
    /// Allocatable amounts.
    pub allocatable: f64,
    /// Amounts that are not requested.
    pub free: f64,
    /// Memory of the machine.
    pub capacity_memory: f64,
}

impl Default for Ratios {
    fn default() -> Self {
        Self { allocatable: 0.05, free: 0.05, capacity_memory: 0.015 }
    }
}

const IGNORED: [&str; 7] = [
    "kubernetes.io/hostname",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "beta.kubernetes.io/fluentd-ds-ready",
    "kops.k8s.io/instancegroup",
];
const AZURE_POOL: [&str; 2] = ["kubernetes.azure.com/agentpool", "agentpool"];
const AZURE_IGNORED: [&str; 9] = [
    "agentpool",
    "kubernetes.azure.com/agentpool",
    "topology.disk.csi.azure.com/zone",
    "aksEngineVersion",
    "creationSource",
    "poolName",
    "resourceNameSuffix",
    "kubernetes.azure.com/node-image-version",
    "kubernetes.azure.com/consolidated-additional-properties",
];

/// Whether two nodes have the same shape.
pub fn is_similar(a: &NodeState, b: &NodeState, azure: bool, ratios: Ratios, ignored: &[String]) -> bool {
    if azure {
        let pool =
            |state: &NodeState, label: &str| state.node.labels.get(label).filter(|pool| !pool.is_empty()).cloned();
        if AZURE_POOL.iter().any(|label| pool(a, label).is_some() && pool(a, label) == pool(b, label)) {
            return true;
        }
    }
    let capacity = |state: &NodeState| amounts(state.node.capacity.as_ref().unwrap_or(&state.node.allocatable));
    let free = |state: &NodeState| {
        let mut free = state.node.allocatable.clone();
        free.subtract(&Resources { pods: None, ..state.used().clone() });
        let names = amounts(&state.node.allocatable);
        amounts(&free).into_iter().filter(|(name, _)| names.contains_key(name)).collect::<BTreeMap<_, _>>()
    };
    let labels = |state: &NodeState| {
        let dropped = |label: &str| {
            let azure = azure && AZURE_IGNORED.contains(&label);
            azure || IGNORED.contains(&label) || ignored.iter().any(|ignored| ignored == label)
        };
        let labels = state.node.labels.iter().filter(|(label, _)| !dropped(label));
        labels.map(|(label, value)| (label.clone(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    let memory = |name: &str| if name == "memory" { ratios.capacity_memory } else { 0.0 };
    within(&capacity(a), &capacity(b), memory)
        && within(&amounts(&a.node.allocatable), &amounts(&b.node.allocatable), |_| ratios.allocatable)
        && within(&free(a), &free(b), |_| ratios.free)
        && labels(a) == labels(b)
}

/// Stated amounts by name.
fn amounts(resources: &Resources) -> BTreeMap<String, i64> {
    let plain = ["cpu", "memory", "pods", "ephemeral-storage"].into_iter();
    let plain = plain.filter_map(|name| Some((name.to_owned(), resources.get(name)?)));
    plain.chain(resources.other.iter().map(|(name, amount)| (name.clone(), *amount))).collect()
}

fn within(a: &BTreeMap<String, i64>, b: &BTreeMap<String, i64>, ratio: impl Fn(&str) -> f64) -> bool {
    a.len() == b.len()
        && a.iter()
            .all(|(name, a)| b.get(name).is_some_and(|b| (a - b).abs() as f64 <= ratio(name) * (*a).max(*b) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::schedule::Node;

    #[test]
    fn the_least_group_gets_the_next_node() {
        let size = |id: &str, target, max| Size { id: id.into(), target, max };
        let groups = [size("a", 1, 3), size("b", 3, 10), size("c", 9, 4)];
        assert_eq!(distribute(&groups, 3), [("a".to_owned(), 3), ("b".to_owned(), 4)]);
        assert_eq!(distribute(&groups, 900), [("a".to_owned(), 3), ("b".to_owned(), 10)]);
    }

    #[test]
    fn zones_do_not_count_and_memory_may_differ_a_little() {
        let node = |memory, labels: &[(&str, &str)]| {
            let resources = Resources { cpu_milli: Some(4000), memory_bytes: Some(memory), ..Resources::default() };
            let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            NodeState::new(Node { labels, allocatable: resources, ..Node::default() }, Vec::new())
        };
        let similar = |a: &NodeState, b: &NodeState, azure| is_similar(a, b, azure, Ratios::default(), &[]);
        let zone = |zone| node(1000, &[("topology.kubernetes.io/zone", zone)]);
        assert!(similar(&zone("1"), &zone("2"), false));
        assert!(
            similar(&node(1000, &[]), &node(986, &[]), false) && !similar(&node(1000, &[]), &node(984, &[]), false)
        );
        let pool = |memory| node(memory, &[("agentpool", "user")]);
        assert!(similar(&pool(1000), &pool(5), true), "one pool has one shape");
    }
}
