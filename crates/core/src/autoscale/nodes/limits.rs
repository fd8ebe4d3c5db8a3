//! How many nodes may be added: limits on an estimate, and on the cluster's nodes, cores and memory.
//!
//! Upstream: `estimator/threshold_based_limiter.go`, `core/scaleup/resource/manager.go`.

use std::collections::BTreeMap;

use crate::autoscale::schedule::Node;

/// A limit on new nodes or on seconds: 0 is unset, a negative one forbids.
pub type Limit = i64;

/// Two limits at once.
pub fn min_limit(a: Limit, b: Limit) -> Limit {
    match (a, b) {
        (a, b) if a < 0 || b < 0 => -1,
        (0, limit) | (limit, 0) => limit,
        (a, b) => a.min(b),
    }
}

/// What `max-nodes-total` leaves beside `nodes` that there are or are coming.
pub fn cluster_limit(max_nodes_total: i64, nodes: i64) -> Limit {
    match max_nodes_total {
        0 => 0,
        max if max < 0 || max - nodes <= 0 => -1,
        max => max - nodes,
    }
}

/// Room that groups have: each is a pair of target and maximum.
pub fn similar_groups_limit(groups: impl IntoIterator<Item = (u32, u32)>) -> Limit {
    let room: i64 = groups.into_iter().map(|(target, max)| i64::from(max.saturating_sub(target))).sum();
    if room == 0 { -1 } else { room }
}

/// Gives permission for each new node of an estimate.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limiter {
    max_nodes: Limit,
    max_seconds: Limit,
    started_s: f64,
    nodes: i64,
}

impl Limiter {
    /// A limiter by all `thresholds` of nodes and seconds at once, which starts now.
    pub fn new(thresholds: &[(Limit, Limit)], now_s: f64) -> Self {
        let combine = |of: fn(&(Limit, Limit)) -> Limit| thresholds.iter().map(of).fold(0, min_limit);
        Self { max_nodes: combine(|t| t.0), max_seconds: combine(|t| t.1), started_s: now_s, nodes: 0 }
    }

    /// Begins anew.
    pub fn restart(&mut self, now_s: f64) {
        (self.started_s, self.nodes) = (now_s, 0);
    }

    /// Whether one more node may be added; it is counted if so.
    pub fn permission(&mut self, now_s: f64) -> bool {
        let reached = self.max_nodes > 0 && self.nodes >= self.max_nodes;
        let late = self.max_seconds > 0 && now_s - self.started_s > self.max_seconds as f64;
        if self.max_nodes < 0 || self.max_seconds < 0 || reached || late {
            return false;
        }
        self.nodes += 1;
        true
    }

    /// Nodes that were permitted.
    pub fn nodes(&self) -> i64 {
        self.nodes
    }
}

/// Amounts by resource name (`cpu` in cores, `memory` in bytes).
pub type Amounts = BTreeMap<String, i64>;

/// What is left by resource; none where it is not known.
pub type Left = BTreeMap<String, Option<i64>>;

/// Cores and memory of one node. Cores are rounded up to whole ones.
pub fn node_amounts(node: &Node) -> Amounts {
    let capacity = node.capacity.as_ref().unwrap_or(&node.allocatable);
    let cores = (capacity.cpu_milli.unwrap_or(0) + 999).div_euclid(1000);
    [("cpu".to_owned(), cores), ("memory".to_owned(), capacity.memory_bytes.unwrap_or(0))].into()
}

/// What the limits leave beside `total`; a limit of 0 is none.
pub fn left(limits: &Amounts, total: &Amounts) -> Left {
    let limited = limits.iter().filter(|(_, limit)| **limit > 0);
    limited.map(|(name, limit)| (name.clone(), Some((limit - total.get(name).copied().unwrap_or(0)).max(0)))).collect()
}

/// Names of the resources of which `delta` wants more than is left.
pub fn exceeded(left: &Left, delta: &Amounts) -> Vec<String> {
    let over = |(name, delta): &(&String, &i64)| {
        **delta > 0 && left.get(*name).is_some_and(|left| left.is_none_or(|left| **delta > left))
    };
    delta.iter().filter(over).map(|(name, _)| name.clone()).collect()
}

/// As many of `nodes` nodes, each of `delta`, as fit in what is left.
pub fn apply(left: &Left, delta: &Amounts, nodes: i64) -> i64 {
    delta.iter().filter(|(_, delta)| **delta > 0).fold(nodes, |nodes, (name, delta)| match left.get(name) {
        Some(Some(left)) if nodes * delta > *left => left / delta,
        _ => nodes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_limit_forbids_and_zero_is_none() {
        assert_eq!([min_limit(-3, 5), min_limit(0, 5), min_limit(4, 5), min_limit(0, 0)], [-1, 5, 4, 0]);
        assert_eq!([cluster_limit(0, 5), cluster_limit(7, 5), cluster_limit(5, 5)], [0, 2, -1]);
        assert_eq!(similar_groups_limit([(3, 3), (9, 4)]), -1);
    }

    #[test]
    fn time_is_over_after_the_limit_and_a_restart_gives_it_back() {
        let mut limiter = Limiter::new(&[(2, 60), (0, 90)], 0.0);
        assert!(limiter.permission(60.0) && !limiter.permission(60.1));
        limiter.restart(70.0);
        assert!(limiter.permission(70.0) && limiter.permission(71.0) && !limiter.permission(72.0));
    }

    #[test]
    fn unknown_amounts_are_exceeded_by_anything() {
        let left: Left = [("cpu".to_owned(), Some(4)), ("memory".to_owned(), None)].into();
        let delta = |cpu, memory| [("cpu".to_owned(), cpu), ("memory".to_owned(), memory)].into();
        assert_eq!(exceeded(&left, &delta(4, 0)), Vec::<String>::new());
        assert_eq!(exceeded(&left, &delta(5, 1)), ["cpu", "memory"]);
        assert_eq!(apply(&left, &delta(2, 0), 10), 2);
    }
}
