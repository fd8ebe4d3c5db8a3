//! What is known of groups between loops: which nodes came, which did not, what was asked for.
//!
//! Upstream: `clusterstate/clusterstate.go`.

use std::collections::{BTreeMap, BTreeSet};

use super::backoff::{Backoff, BackoffOptions, Failure};

/// A node has so long to become ready after its creation, seconds.
const STARTUP_S: f64 = 900.0;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StateOptions {
    /// So many missing or unready nodes are always well.
    pub ok_total_unready: usize,
    /// At most this share of nodes may be unready, percent.
    pub max_unready_percent: f64,
    /// Back-off of groups whose scale-up failed.
    pub backoff: BackoffOptions,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self { ok_total_unready: 3, max_unready_percent: 45.0, backoff: BackoffOptions::default() }
    }
}

/// A group with its machines in the cloud.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupSize {
    /// Group.
    pub id: String,
    /// Least nodes.
    pub min: i64,
    /// Nodes asked for.
    pub target: i64,
    /// Machines that the cloud has.
    pub instances: Vec<String>,
    /// A machine has so long to become a node, seconds.
    pub max_node_provision_s: f64,
}

/// A node that the API knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegisteredNode {
    /// Name.
    pub name: String,
    /// Machine in the cloud.
    pub instance: String,
    /// Group.
    pub group: Option<String>,
    /// It is ready.
    pub ready: bool,
    /// When it was created, seconds.
    pub created_s: Option<f64>,
    /// The cloud has its machine.
    pub in_cloud: bool,
}

/// Nodes by class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Ready.
    pub ready: i64,
    /// Not ready though long there.
    pub unready: i64,
    /// Not ready yet.
    pub not_started: i64,
    /// Without a machine.
    pub deleted: i64,
    /// All nodes.
    pub registered: i64,
    /// Machines without a node.
    pub unregistered: i64,
    /// Machines that have been without a node for too long.
    pub long_unregistered: i64,
}

/// How many ready nodes a group is expected to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AcceptableRange {
    /// At least.
    pub min: i64,
    /// At most.
    pub max: i64,
    /// Nodes asked for.
    pub target: i64,
}

impl AcceptableRange {
    /// The range while `increase` nodes are on their way and `scale_downs` leave.
    pub fn new(target: i64, readiness: &Readiness, increase: i64, scale_downs: i64) -> Self {
        Self { min: target - readiness.long_unregistered - increase, max: target + scale_downs, target }
    }
}

/// Nodes that were asked for and are not there.
pub fn upcoming(target: i64, readiness: &Readiness) -> i64 {
    (target - readiness.ready - readiness.unready - readiness.long_unregistered).max(0)
}

/// A scale-up that is not done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaleUpRequest {
    /// When it was asked for.
    pub at_s: f64,
    /// When its nodes should be there.
    pub expected_s: f64,
    /// How many nodes.
    pub increase: i64,
}

/// A group whose number of nodes is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IncorrectSize {
    /// Nodes there are.
    pub current: i64,
    /// Nodes asked for.
    pub expected: i64,
    /// Since when.
    pub first_observed_s: f64,
}

impl IncorrectSize {
    /// By how much the target is to be changed after the nodes have not come for long enough.
    pub fn fix(&self, max_node_provision_s: f64, now_s: f64) -> i64 {
        let due = self.first_observed_s + max_node_provision_s < now_s;
        if due && self.current < self.expected { self.current - self.expected } else { 0 }
    }
}

/// The groups of wrong size; one keeps its time while both numbers stay as they were.
pub fn incorrect_sizes(
    before: &BTreeMap<String, IncorrectSize>,
    readiness: &BTreeMap<String, Readiness>,
    targets: &BTreeMap<String, i64>,
    now_s: f64,
) -> BTreeMap<String, IncorrectSize> {
    let judge = |(group, readiness): (&String, &Readiness)| {
        let expected = *targets.get(group)?;
        let current = readiness.registered;
        if current <= expected && current >= expected - readiness.unregistered - readiness.long_unregistered {
            return None;
        }
        let known = before.get(group).filter(|known| (known.current, known.expected) == (current, expected));
        let first_observed_s = known.map_or(now_s, |known| known.first_observed_s);
        Some((group.clone(), IncorrectSize { current, expected, first_observed_s }))
    };
    readiness.iter().filter_map(judge).collect()
}

/// Which machines without a node go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cleanup {
    /// As many as the group is above its minimum.
    #[default]
    AboveMinimum,
    /// All that are due (upstream's `force-delete-unregistered-nodes`).
    Force,
    /// Every machine of the group when one is due: it has all of its nodes or none.
    Whole,
}

/// Machines to delete because they did not become nodes in time; `since` tells when each was first seen without one.
pub fn long_unregistered(
    group: &GroupSize,
    since: &BTreeMap<String, f64>,
    cleanup: Cleanup,
    now_s: f64,
) -> Vec<String> {
    let due = |instance: &&String| since.get(*instance).is_some_and(|since| since + group.max_node_provision_s < now_s);
    let overdue: Vec<String> = group.instances.iter().filter(due).cloned().collect();
    match cleanup {
        Cleanup::Whole if !overdue.is_empty() => group.instances.clone(),
        Cleanup::Force | Cleanup::Whole => overdue,
        Cleanup::AboveMinimum => overdue.into_iter().take((group.target - group.min).max(0) as usize).collect(),
    }
}

/// A scale-up that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedScaleUp {
    /// Group.
    pub group: String,
    /// When.
    pub at_s: f64,
    /// Why.
    pub failure: Failure,
}

/// The registry.
#[derive(Debug, Clone, Default)]
pub struct ClusterState {
    options: StateOptions,
    /// Groups that are left alone.
    pub backoff: Backoff,
    groups: Vec<GroupSize>,
    nodes: Vec<RegisteredNode>,
    total: Readiness,
    by_group: BTreeMap<String, Readiness>,
    not_started: BTreeMap<String, Vec<String>>,
    ranges: BTreeMap<String, AcceptableRange>,
    requests: BTreeMap<String, ScaleUpRequest>,
    unregistered: BTreeMap<String, f64>,
    incorrect: BTreeMap<String, IncorrectSize>,
    failures: Vec<FailedScaleUp>,
}

impl ClusterState {
    /// Nothing is known.
    pub fn new(options: StateOptions) -> Self {
        Self { options, backoff: Backoff::new(options.backoff), ..Self::default() }
    }

    /// Takes note of what there is; the scale-ups that came to nothing.
    pub fn update_nodes(&mut self, groups: &[GroupSize], nodes: &[RegisteredNode], now_s: f64) -> Vec<FailedScaleUp> {
        self.groups = groups.to_vec();
        self.nodes = nodes.to_vec();
        self.note_unregistered(now_s);
        self.classify(now_s);
        self.update_ranges();
        let failed = self.update_requests(now_s);
        self.update_ranges();
        self.backoff.remove_stale(now_s);
        let targets = groups.iter().map(|group| (group.id.clone(), group.target)).collect();
        self.incorrect = incorrect_sizes(&self.incorrect, &self.by_group, &targets, now_s);
        failed
    }

    fn note_unregistered(&mut self, now_s: f64) {
        let known: BTreeSet<&str> = self.nodes.iter().map(|node| node.instance.as_str()).collect();
        let instances = self.groups.iter().flat_map(|group| &group.instances);
        let missing = instances.filter(|instance| !known.contains(instance.as_str()));
        self.unregistered = missing
            .map(|instance| (instance.clone(), self.unregistered.get(instance).copied().unwrap_or(now_s)))
            .collect();
    }

    fn classify(&mut self, now_s: f64) {
        (self.total, self.by_group, self.not_started) = Default::default();
        for node in &self.nodes {
            let started = node.created_s.is_none_or(|created| created + STARTUP_S <= now_s);
            let count = |readiness: &mut Readiness| {
                readiness.registered += 1;
                *match (node.in_cloud, node.ready, started) {
                    (false, _, _) => &mut readiness.deleted,
                    (true, true, _) => &mut readiness.ready,
                    (true, false, false) => &mut readiness.not_started,
                    (true, false, true) => &mut readiness.unready,
                } += 1;
            };
            count(&mut self.total);
            if let Some(group) = &node.group {
                count(self.by_group.entry(group.clone()).or_default());
                if node.in_cloud && !node.ready && !started {
                    self.not_started.entry(group.clone()).or_default().push(node.name.clone());
                }
            }
        }
        for group in &self.groups {
            for since in group.instances.iter().filter_map(|instance| self.unregistered.get(instance)) {
                let readiness = self.by_group.entry(group.id.clone()).or_default();
                if since + group.max_node_provision_s < now_s {
                    readiness.long_unregistered += 1;
                } else {
                    readiness.unregistered += 1;
                }
            }
        }
    }

    fn update_ranges(&mut self) {
        let none = Readiness::default();
        let range = |group: &GroupSize| {
            let readiness = self.by_group.get(&group.id).unwrap_or(&none);
            let increase = self.requests.get(&group.id).map_or(0, |request| request.increase);
            (group.id.clone(), AcceptableRange::new(group.target, readiness, increase, 0))
        };
        self.ranges = self.groups.iter().map(range).collect();
    }

    /// Targets were changed; classes stay as they were.
    pub fn recalculate(&mut self, groups: &[GroupSize]) {
        self.groups = groups.to_vec();
        self.update_ranges();
    }

    fn provisioned(&self, group: &str) -> i64 {
        self.by_group.get(group).map_or(0, |readiness| readiness.registered - readiness.not_started)
    }

    fn update_requests(&mut self, now_s: f64) -> Vec<FailedScaleUp> {
        let mut failed = Vec::new();
        for (group, request) in self.requests.clone() {
            let target = self.ranges.get(&group).map_or(0, |range| range.target);
            if target <= self.provisioned(&group) {
                self.requests.remove(&group);
            } else if request.expected_s < now_s {
                self.requests.remove(&group);
                let after = go_text(now_s - request.at_s);
                let message = format!("Scale-up timed out for node group {group} after {after}");
                failed.push(self.fail(&group, Failure { code: "timeout".to_owned(), message }, now_s));
            }
        }
        failed
    }

    /// A scale-up failed: the group is left alone for a while.
    pub fn fail(&mut self, group: &str, failure: Failure, now_s: f64) -> FailedScaleUp {
        self.backoff.failed(group, failure.clone(), now_s);
        let failed = FailedScaleUp { group: group.to_owned(), at_s: now_s, failure };
        self.failures.push(failed.clone());
        failed
    }

    /// The target of a group was changed by `delta`.
    pub fn register_scale_up(&mut self, group: &str, delta: i64, max_node_provision_s: f64, now_s: f64) {
        let renewed = ScaleUpRequest { at_s: now_s, expected_s: now_s + max_node_provision_s, increase: delta };
        match self.requests.get_mut(group) {
            None if delta > 0 => {
                self.requests.insert(group.to_owned(), renewed);
            }
            None => {}
            Some(request) => {
                let increase = request.increase + delta;
                if increase <= 0 {
                    self.requests.remove(group);
                } else if delta > 0 {
                    *request = ScaleUpRequest { increase, ..renewed };
                } else {
                    request.increase = increase;
                }
            }
        }
    }

    /// The pending scale-up of a group is this one, or none.
    pub(super) fn set_request(&mut self, group: &str, request: Option<ScaleUpRequest>) {
        match request {
            Some(request) => self.requests.insert(group.to_owned(), request),
            None => self.requests.remove(group),
        };
    }

    /// The pending scale-up of a group.
    pub fn request(&self, group: &str) -> Option<ScaleUpRequest> {
        self.requests.get(group).copied()
    }

    /// Whether not too many nodes are unready.
    pub fn is_cluster_healthy(&self) -> bool {
        let unready = self.total.unready as usize;
        unready <= self.options.ok_total_unready
            || unready as f64 <= self.options.max_unready_percent / 100.0 * self.nodes.len() as f64
    }

    /// Whether not too many nodes of a group are missing.
    pub fn is_group_healthy(&self, group: &str) -> bool {
        let Some(range) = self.ranges.get(group) else { return false };
        let Some(readiness) = self.by_group.get(group) else {
            return range.target == 0 || (range.min == 0 && range.target > 0);
        };
        let missing = (range.min - readiness.ready).max(0);
        let all = readiness.ready + readiness.unready + readiness.not_started;
        missing as usize <= self.options.ok_total_unready
            || missing as f64 <= self.options.max_unready_percent / 100.0 * all as f64
    }

    /// Whether nodes of a group are on their way.
    pub fn is_scaling_up(&self, group: &str) -> bool {
        let target = self.ranges.get(group).map_or(0, |range| range.target);
        self.requests.contains_key(group) && target > self.provisioned(group)
    }

    /// Whether a scale-up of a group is pending.
    pub fn has_started_scale_up(&self, group: &str) -> bool {
        self.requests.contains_key(group)
    }

    /// Nodes on their way by group, with the names of those that are registered and have not started.
    pub fn upcoming(&self) -> BTreeMap<String, (i64, Vec<String>)> {
        let none = Readiness::default();
        let count = |group: &GroupSize| {
            let count = upcoming(group.target, self.by_group.get(&group.id).unwrap_or(&none));
            let names = self.not_started.get(&group.id).cloned().unwrap_or_default();
            (count > 0).then(|| (group.id.clone(), (count, names)))
        };
        self.groups.iter().filter_map(count).collect()
    }

    /// Machines without a node, and since when.
    pub fn unregistered(&self) -> &BTreeMap<String, f64> {
        &self.unregistered
    }

    /// Groups of wrong size.
    pub fn incorrect_sizes(&self) -> &BTreeMap<String, IncorrectSize> {
        &self.incorrect
    }

    /// All nodes by class.
    pub fn total(&self) -> &Readiness {
        &self.total
    }

    /// Failures so far.
    pub fn failures(&self) -> &[FailedScaleUp] {
        &self.failures
    }

    /// Nodes of groups that came, and nodes asked for.
    pub fn autoscaled_count(&self) -> (i64, i64) {
        let current = self.groups.iter().map(|group| self.provisioned(&group.id)).sum();
        (current, self.groups.iter().map(|group| group.target).sum())
    }
}

/// Seconds as Go writes a duration: `3m0s`.
fn go_text(seconds: f64) -> String {
    let milli = (seconds * 1000.0).round() as i64;
    let (hours, minutes, rest) = (milli / 3_600_000, milli / 60_000 % 60, milli % 60_000);
    let rest = rest as f64 / 1000.0;
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(target: i64, instances: &[&str]) -> GroupSize {
        let instances = instances.iter().map(|name| (*name).to_owned()).collect();
        GroupSize { id: "g".into(), min: 1, target, instances, max_node_provision_s: 120.0 }
    }

    fn node(name: &str, ready: bool, created_s: Option<f64>) -> RegisteredNode {
        let (name, instance) = (name.to_owned(), name.to_owned());
        RegisteredNode { name, instance, group: Some("g".into()), ready, created_s, in_cloud: true }
    }

    #[test]
    fn a_scale_up_that_does_not_come_is_backed_off() {
        let mut state = ClusterState::new(StateOptions { ok_total_unready: 1, ..StateOptions::default() });
        state.register_scale_up("g", 4, 120.0, 0.0);
        let nodes = [node("a", true, None)];
        assert_eq!(state.update_nodes(&[group(5, &["a"])], &nodes, 120.0), []);
        assert_eq!(state.upcoming()["g"].0, 4);
        assert!(state.is_group_healthy("g"), "they are on their way");
        let failed = state.update_nodes(&[group(5, &["a"])], &nodes, 180.0);
        assert_eq!(failed[0].failure.message, "Scale-up timed out for node group g after 3m0s");
        assert!(!state.is_group_healthy("g") && state.backoff.status("g", 480.0).is_some());
    }

    #[test]
    fn machines_without_nodes_are_counted_and_go_after_their_time() {
        let mut state = ClusterState::new(StateOptions::default());
        let size = group(2, &["a", "b"]);
        let nodes = [node("a", false, Some(0.0))];
        state.update_nodes(std::slice::from_ref(&size), &nodes, 10.0);
        assert_eq!((state.total().not_started, state.unregistered()["b"]), (1, 10.0));
        assert_eq!(long_unregistered(&size, state.unregistered(), Cleanup::AboveMinimum, 130.0), Vec::<String>::new());
        assert_eq!(long_unregistered(&size, state.unregistered(), Cleanup::AboveMinimum, 131.0), ["b"]);
        state.update_nodes(std::slice::from_ref(&size), &nodes, 901.0);
        assert_eq!(state.total().unready, 1);
    }

    #[test]
    fn a_wrong_size_is_mended_after_the_time_of_provision() {
        let mut state = ClusterState::new(StateOptions::default());
        let mut change = |now| {
            state.update_nodes(&[group(3, &["a"])], &[node("a", true, None)], now);
            state.incorrect_sizes()["g"].fix(120.0, now)
        };
        assert_eq!([change(0.0), change(120.0), change(121.0)], [0, 0, -2]);
    }
}
