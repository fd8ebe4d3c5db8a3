//! Topology spread constraints that forbid.

use std::collections::BTreeMap;

use super::{
    filters::{Code, matches_affinity, taints},
    model::{Node, Pod, TopologySpread},
    selector::matches,
};

/// Judges every node: `pods` are all bound pods, by node name.
pub fn topology_spread(
    pod: &Pod,
    nodes: &[&Node],
    pods: &BTreeMap<&str, Vec<&Pod>>,
    inclusion_policies: bool,
) -> Vec<Code> {
    let constraints: Vec<_> = pod.topology_spread.iter().filter(|c| c.when_unsatisfiable == "DoNotSchedule").collect();
    let domains: Vec<_> = constraints
        .iter()
        .map(|constraint| count(pod, constraint, &constraints, nodes, pods, inclusion_policies))
        .collect();
    nodes
        .iter()
        .map(|node| {
            for (constraint, domains) in constraints.iter().zip(&domains) {
                let Some(value) = node.labels.get(&constraint.topology_key) else {
                    return Code::UnschedulableAndUnresolvable;
                };
                let least = if (domains.len() as i64) < constraint.min_domains.unwrap_or(1) {
                    0
                } else {
                    domains.values().copied().min().unwrap_or(i64::from(i32::MAX))
                };
                let here = domains.get(value.as_str()).copied().unwrap_or(0);
                let itself = i64::from(matches(constraint.selector.as_ref(), &pod.labels));
                if here + itself - least > constraint.max_skew {
                    return Code::Unschedulable;
                }
            }
            Code::Success
        })
        .collect()
}

fn count<'n>(
    pod: &Pod,
    constraint: &TopologySpread,
    all: &[&TopologySpread],
    nodes: &[&'n Node],
    pods: &BTreeMap<&str, Vec<&Pod>>,
    inclusion_policies: bool,
) -> BTreeMap<&'n str, i64> {
    let mut domains = BTreeMap::new();
    for node in nodes {
        let complete = all.iter().all(|other| node.labels.contains_key(&other.topology_key));
        if !complete || !included(pod, constraint, node, inclusion_policies) {
            continue;
        }
        let Some(value) = node.labels.get(&constraint.topology_key) else { continue };
        let selector = constraint
            .selector
            .as_ref()
            .filter(|selector| !selector.match_labels.is_empty() || !selector.match_expressions.is_empty());
        let there = pods.get(node.name.as_str()).into_iter().flatten().filter(|other| {
            other.namespace == pod.namespace && other.deletion_age_seconds.is_none() && matches(selector, &other.labels)
        });
        *domains.entry(value.as_str()).or_insert(0) += there.count() as i64;
    }
    domains
}

fn included(pod: &Pod, constraint: &TopologySpread, node: &Node, inclusion_policies: bool) -> bool {
    let honours = |policy: &Option<String>, default: &str| policy.as_deref().unwrap_or(default) == "Honor";
    if !inclusion_policies {
        return matches_affinity(pod, node);
    }
    (!honours(&constraint.node_affinity_policy, "Honor") || matches_affinity(pod, node))
        && (!honours(&constraint.node_taints_policy, "Ignore") || taints(pod, node).is_ok())
}
