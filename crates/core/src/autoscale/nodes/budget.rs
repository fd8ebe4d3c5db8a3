//! How many nodes may be deleted and drained at once.
//!
//! Upstream: `core/scaledown/budgets/budgets.go`.

/// Nodes of a group that are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupNodes<T> {
    /// Group.
    pub group: String,
    /// Its size.
    pub target: usize,
    /// It has all of its nodes or none.
    pub zero_or_max: bool,
    /// The nodes.
    pub nodes: Vec<T>,
}

/// Deletions that are allowed and under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parallelism {
    /// At most so many deletions at once.
    pub max_deletions: usize,
    /// At most so many of them with a drain.
    pub max_drains: usize,
    /// Deletions of empty nodes in progress.
    pub empty_in_progress: usize,
    /// Drains in progress.
    pub drains_in_progress: usize,
}

/// Nodes to delete and nodes to drain, by group.
pub type Cropped<T> = (Vec<GroupNodes<T>>, Vec<GroupNodes<T>>);

/// Cuts lists of empty nodes and of nodes to drain to what is allowed; groups that go as a whole are first.
pub fn crop<T>(empty: Vec<GroupNodes<T>>, drain: Vec<GroupNodes<T>>, limits: Parallelism) -> Cropped<T> {
    let in_progress = limits.empty_in_progress + limits.drains_in_progress;
    let mut room = limits.max_deletions.saturating_sub(in_progress);
    let mut drains = limits.max_drains.saturating_sub(limits.drains_in_progress);
    let (whole_empty, empty): (Vec<_>, Vec<_>) = empty.into_iter().partition(|group| group.zero_or_max);
    let (whole_drain, drain): (Vec<_>, Vec<_>) = drain.into_iter().partition(|group| group.zero_or_max);
    let has_empty = |drain: &GroupNodes<T>| whole_empty.iter().any(|empty| empty.group == drain.group);
    let (mut mixed, only_drain): (Vec<_>, Vec<_>) = whole_drain.into_iter().partition(has_empty);
    let (mut to_delete, mut to_drain) = (Vec::new(), Vec::new());
    let mut taken = false;
    for group in whole_empty {
        let other = mixed.iter().position(|other| other.group == group.group);
        let (e, d) = (group.nodes.len(), other.map_or(0, |at| mixed[at].nodes.len()));
        // One group may pass the limits, so that it is not stuck for ever.
        if (room < e + d || drains < d) && (room == 0 || (d > 0 && drains == 0) || taken) {
            break;
        }
        if e + d != group.target {
            continue;
        }
        let together = other.map(|at| mixed.remove(at));
        to_delete.push(group);
        to_drain.extend(together);
        (room, drains, taken) = (room.saturating_sub(e + d), drains.saturating_sub(d), true);
    }
    drains = drains.min(room);
    for group in only_drain {
        let d = group.nodes.len();
        if drains < d && (drains == 0 || taken) {
            break;
        }
        if d != group.target {
            continue;
        }
        to_drain.push(group);
        (room, drains, taken) = (room.saturating_sub(d), drains.saturating_sub(d), true);
    }
    for mut group in empty {
        if room < 1 {
            break;
        }
        group.nodes.truncate(room);
        room -= group.nodes.len();
        to_delete.push(group);
    }
    drains = drains.min(room);
    for mut group in drain {
        if drains < 1 {
            break;
        }
        group.nodes.truncate(drains);
        drains -= group.nodes.len();
        to_drain.push(group);
    }
    (to_delete, to_drain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, nodes: usize, target: usize, zero_or_max: bool) -> GroupNodes<usize> {
        GroupNodes { group: name.into(), target, zero_or_max, nodes: (0..nodes).collect() }
    }

    fn counts(cropped: &Cropped<usize>) -> (Vec<usize>, Vec<usize>) {
        let count = |groups: &[GroupNodes<usize>]| groups.iter().map(|group| group.nodes.len()).collect();
        (count(&cropped.0), count(&cropped.1))
    }

    const LIMITS: Parallelism =
        Parallelism { max_deletions: 10, max_drains: 1, empty_in_progress: 2, drains_in_progress: 0 };

    #[test]
    fn empty_nodes_come_before_drains() {
        let cropped = crop(vec![group("a", 6, 9, false)], vec![group("a", 3, 9, false)], LIMITS);
        assert_eq!(counts(&cropped), (vec![6], vec![1]));
        let cropped = crop(vec![group("a", 9, 9, false)], vec![group("a", 3, 9, false)], LIMITS);
        assert_eq!(counts(&cropped), (vec![8], vec![]));
    }

    #[test]
    fn a_group_that_goes_as_a_whole_may_pass_the_limit_once() {
        let wholes = vec![group("a", 20, 20, true), group("b", 1, 1, true)];
        assert_eq!(counts(&crop(wholes, vec![], LIMITS)), (vec![20], vec![]));
        assert_eq!(counts(&crop(vec![group("a", 5, 6, true)], vec![], LIMITS)), (vec![], vec![]));
    }
}
