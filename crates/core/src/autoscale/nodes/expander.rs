//! Which of several groups is expanded.

use rand::{Rng, RngExt as _};

use crate::autoscale::schedule::{Node, Pod};

/// A way of choosing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expander {
    /// Any (AKS's default).
    #[default]
    Random,
    /// Least CPU and memory left over.
    LeastWaste,
    /// Most pods placed.
    MostPods,
    /// Fewest nodes.
    LeastNodes,
}

impl Expander {
    /// Reads AKS's name of an expander.
    pub fn parse(name: &str) -> std::option::Option<Self> {
        match name {
            "random" => Some(Self::Random),
            "least-waste" => Some(Self::LeastWaste),
            "most-pods" => Some(Self::MostPods),
            "least-nodes" => Some(Self::LeastNodes),
            _ => None,
        }
    }

    /// The index of the option that is taken; ties at random.
    pub fn choose(self, options: &[Option<'_>], random: &mut impl Rng) -> std::option::Option<usize> {
        let key = |option: &Option<'_>| match self {
            Self::Random => 0.0,
            Self::LeastWaste => option.waste(),
            Self::MostPods => -(option.pods.len() as f64),
            Self::LeastNodes => f64::from(option.nodes),
        };
        let best = options.iter().map(key).min_by(f64::total_cmp)?;
        let kept: Vec<usize> = (0..options.len()).filter(|index| key(&options[*index]) <= best).collect();
        Some(kept[if kept.len() == 1 { 0 } else { random.random_range(0..kept.len()) }])
    }
}

/// One group that could be expanded.
#[derive(Debug, Clone)]
pub struct Option<'a> {
    /// Index of the group.
    pub group: usize,
    /// New nodes.
    pub nodes: u32,
    /// Pods that they would hold.
    pub pods: Vec<&'a Pod>,
    /// Shape of a node.
    pub template: &'a Node,
}

impl Option<'_> {
    fn waste(&self) -> f64 {
        let capacity = self.template.capacity.as_ref().unwrap_or(&self.template.allocatable);
        let nodes = f64::from(self.nodes);
        let share = |has: std::option::Option<i64>, used: i64| {
            let has = nodes * has.unwrap_or(0) as f64;
            if has > 0.0 { (has - used as f64) / has } else { 0.0 }
        };
        let sum = |of: fn(&crate::autoscale::schedule::Resources) -> std::option::Option<i64>| {
            self.pods.iter().filter_map(|pod| of(&pod.requests(true))).sum()
        };
        share(capacity.cpu_milli, sum(|r| r.cpu_milli)) + share(capacity.memory_bytes, sum(|r| r.memory_bytes))
    }
}
