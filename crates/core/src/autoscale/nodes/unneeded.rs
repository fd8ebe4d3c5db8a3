//! Since when nodes are unneeded, and which of them may go now.
//!
//! Upstream: `core/scaledown/unneeded/nodes.go`, `core/scaledown/planner`.

use std::collections::BTreeMap;

use super::limits::{Amounts, Left, exceeded};

/// Nodes that were found unneeded in every loop since a time, with the data of the last one.
#[derive(Debug, Clone, PartialEq)]
pub struct Unneeded<T> {
    nodes: BTreeMap<String, (f64, T)>,
}

impl<T> Default for Unneeded<T> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new() }
    }
}

impl<T> Unneeded<T> {
    /// A loop found these; the others are forgotten.
    pub fn update(&mut self, found: impl IntoIterator<Item = (String, T)>, now_s: f64) {
        let before = std::mem::take(&mut self.nodes);
        for (node, data) in found {
            let since = before.get(&node).map_or(now_s, |(since, _)| *since);
            self.nodes.insert(node, (since, data));
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.nodes.clear();
    }

    /// Since when a node is unneeded, seconds.
    pub fn since(&self, node: &str) -> Option<f64> {
        self.nodes.get(node).map(|(since, _)| *since)
    }

    /// Nodes with their times and data, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64, &T)> {
        self.nodes.iter().map(|(node, (since, data))| (node.as_str(), *since, data))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

/// What decides whether an unneeded node may go.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<'a> {
    /// Group of the node.
    pub group: &'a str,
    /// People forbade it.
    pub disabled: bool,
    /// It is ready.
    pub ready: bool,
    /// Since when it is unneeded, seconds.
    pub since_s: f64,
    /// Cores and memory that go with it.
    pub amounts: Amounts,
}

/// Sizes and times that the decision looks at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RemovalLimits {
    /// Size less deletions in progress, and least size, by group; lowered by each node that is accepted.
    pub sizes: BTreeMap<String, (i64, i64)>,
    /// What may go until the cluster's minimum of cores and memory is reached.
    pub left: Left,
    /// A ready node must be unneeded for longer than this, seconds.
    pub unneeded_s: f64,
    /// A node that is not ready must be unneeded for longer than this, seconds.
    pub unready_s: f64,
}

impl RemovalLimits {
    /// Accepts a node or tells upstream's reason why not.
    pub fn accept(&mut self, candidate: &Candidate<'_>, now_s: f64) -> Result<(), &'static str> {
        if candidate.disabled {
            return Err("ScaleDownDisabledAnnotation");
        }
        let Some((size, least)) = self.sizes.get(candidate.group).copied() else { return Err("NotAutoscaled") };
        let (time, reason) = if candidate.ready {
            (self.unneeded_s, "NotUnneededLongEnough")
        } else {
            (self.unready_s, "NotUnreadyLongEnough")
        };
        if candidate.since_s + time >= now_s {
            return Err(reason);
        }
        if size <= least {
            return Err("NodeGroupMinSizeReached");
        }
        if !exceeded(&self.left, &candidate.amounts).is_empty() {
            return Err("MinimalResourceLimitExceeded");
        }
        self.sizes.insert(candidate.group.to_owned(), (size - 1, least));
        for (name, amount) in &candidate.amounts {
            if let Some(Some(left)) = self.left.get_mut(name) {
                *left -= amount;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_must_be_found_in_every_loop() {
        let mut unneeded = Unneeded::default();
        let mut update = |nodes: &[&str], now| {
            unneeded.update(nodes.iter().map(|node| ((*node).to_owned(), now)), now);
            unneeded.iter().map(|(node, since, data)| (node.to_owned(), since, *data)).collect::<Vec<_>>()
        };
        update(&["a", "b"], 0.0);
        assert_eq!(update(&["b", "c"], 10.0), [("b".to_owned(), 0.0, 10.0), ("c".to_owned(), 10.0, 10.0)]);
        assert_eq!(update(&["a"], 20.0), [("a".to_owned(), 20.0, 20.0)]);
    }

    #[test]
    fn time_comes_before_size_and_each_node_lowers_it() {
        let mut limits = RemovalLimits {
            sizes: [("g".to_owned(), (3, 2))].into(),
            unneeded_s: 600.0,
            unready_s: 1200.0,
            ..RemovalLimits::default()
        };
        let candidate = Candidate { group: "g", disabled: false, ready: true, since_s: 0.0, amounts: Amounts::new() };
        assert_eq!(limits.accept(&candidate, 600.0), Err("NotUnneededLongEnough"), "strictly longer");
        let unready = Candidate { ready: false, ..candidate.clone() };
        assert_eq!(limits.accept(&unready, 601.0), Err("NotUnreadyLongEnough"));
        assert_eq!(limits.accept(&candidate, 601.0), Ok(()));
        assert_eq!(limits.accept(&candidate, 601.0), Err("NodeGroupMinSizeReached"));
    }
}
