//! Which of several groups is expanded.
//!
//! Upstream: `expander/{waste,mostpods,leastnodes,priority,random}`.

use std::collections::BTreeMap;

use rand::Rng;
use regex::Regex;

use crate::{
    autoscale::schedule::{Node, Pod, Resources},
    random::below,
};

/// A way of choosing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// The groups that the greatest number names.
    Priority(Priorities),
}

/// Regular expressions of group names by priority.
pub type Priorities = BTreeMap<i64, Vec<String>>;

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

    /// Indices of the options that are as good as any.
    pub fn best(&self, options: &[Option<'_>]) -> Vec<usize> {
        match self {
            Self::Random => (0..options.len()).collect(),
            Self::LeastWaste => least(options.iter().map(|option| std::option::Option::Some(option.waste()))),
            Self::MostPods => least(options.iter().map(|option| Some(-(option.pods.len() as f64)))),
            Self::LeastNodes => {
                least(options.iter().map(|option| Some(f64::from(option.nodes)).filter(|nodes| *nodes > 0.0)))
            }
            Self::Priority(priorities) => by_priority(priorities, options),
        }
    }

    /// The index of the option that is taken; ties at random.
    pub fn choose(&self, options: &[Option<'_>], random: &mut impl Rng) -> std::option::Option<usize> {
        match self.best(options).as_slice() {
            [] => None,
            [one] => Some(*one),
            several => Some(several[below(random, several.len() as u64) as usize]),
        }
    }
}

/// Indices of the least keys.
fn least(keys: impl Iterator<Item = std::option::Option<f64>> + Clone) -> Vec<usize> {
    let best = keys.clone().flatten().min_by(f64::total_cmp);
    keys.enumerate().filter(|(_, key)| key.is_some() && *key == best).map(|(index, _)| index).collect()
}

fn by_priority(priorities: &Priorities, options: &[Option<'_>]) -> Vec<usize> {
    let all = || (0..options.len()).collect();
    let mut compiled = Vec::new();
    for expressions in priorities.values().rev() {
        let Ok(list) = expressions.iter().map(|text| Regex::new(text)).collect::<Result<Vec<_>, _>>() else {
            return all();
        };
        compiled.push(list);
    }
    let matching = compiled.iter().map(|list| -> Vec<usize> {
        let named = |index: &usize| list.iter().any(|expression| expression.is_match(options[*index].group));
        (0..options.len()).filter(named).collect()
    });
    matching.into_iter().find(|kept| !kept.is_empty()).unwrap_or_else(all)
}

/// One group that could be expanded.
#[derive(Debug, Clone)]
pub struct Option<'a> {
    /// Name of the group.
    pub group: &'a str,
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
        let sum = |of: fn(&Resources) -> std::option::Option<i64>| {
            self.pods.iter().filter_map(|pod| of(&pod.requests(true))).sum()
        };
        share(capacity.cpu_milli, sum(|r| r.cpu_milli)) + share(capacity.memory_bytes, sum(|r| r.memory_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_number_that_names_a_group_wins_and_a_broken_one_keeps_all() {
        let template = Node::default();
        let option = |group| Option { group, nodes: 1, pods: Vec::new(), template: &template };
        let options = [option("small"), option("large"), option("spot")];
        let best = |pairs: &[(i64, &str)]| {
            let priorities = pairs.iter().map(|(number, text)| (*number, vec![(*text).to_owned()])).collect();
            Expander::Priority(priorities).best(&options)
        };
        assert_eq!(best(&[(10, "^s"), (50, "gigantic")]), [0, 2]);
        assert_eq!(best(&[(10, "^s"), (50, "(")]), [0, 1, 2]);
        assert_eq!(best(&[]), [0, 1, 2]);
    }
}
