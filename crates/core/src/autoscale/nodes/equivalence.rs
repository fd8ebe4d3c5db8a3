//! Pending pods that are alike are looked at as one.
//!
//! Upstream: `core/scaleup/equivalence/groups.go`.

use std::collections::BTreeMap;

use super::drain::is_daemon_set_pod;
use crate::autoscale::schedule::Pod;

/// At most so many different groups of an owner are remembered.
const REMEMBERED: usize = 10;

/// Indices of the pods of each group, in order.
pub fn equivalence_groups(pods: &[&Pod]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut by_owner = BTreeMap::<&str, Vec<(usize, &Pod)>>::new();
    for (index, pod) in pods.iter().enumerate() {
        if let Some(owner) = pod.owner.as_ref().filter(|_| !is_daemon_set_pod(pod)) {
            let known = by_owner.entry(owner.uid.as_str()).or_default();
            if let Some((group, _)) = known.iter().find(|(_, other)| are_alike(other, pod)) {
                groups[*group].push(index);
                continue;
            }
            if known.len() < REMEMBERED {
                known.push((groups.len(), *pod));
            }
        }
        groups.push(vec![index]);
    }
    groups
}

/// Whether labels and specification are equal, without what is each pod's own.
pub(super) fn are_alike(one: &Pod, other: &Pod) -> bool {
    let volumes =
        |pod: &Pod| pod.volumes.iter().filter(|volume| volume.kind != "projected").cloned().collect::<Vec<_>>();
    one.labels == other.labels
        && one.containers == other.containers
        && one.init_containers == other.init_containers
        && one.overhead == other.overhead
        && one.pod_level_requests == other.pod_level_requests
        && one.tolerations == other.tolerations
        && one.node_selector == other.node_selector
        && one.node_affinity_required_terms == other.node_affinity_required_terms
        && one.topology_spread == other.topology_spread
        && one.host_ports == other.host_ports
        && one.priority == other.priority
        && one.restart_policy == other.restart_policy
        && one.grace_period_seconds == other.grace_period_seconds
        && volumes(one) == volumes(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::schedule::Owner;

    #[test]
    fn like_pods_of_an_owner_are_one_group_and_the_rest_are_alone() {
        let owned = |name: &str, label: &str| Pod {
            name: name.into(),
            labels: [("l".to_owned(), label.to_owned())].into(),
            owner: Some(Owner { kind: "ReplicaSet".into(), uid: "u".into(), ..Owner::default() }),
            ..Pod::default()
        };
        let mut pods = vec![owned("a", "x"), Pod::default(), owned("b", "x"), owned("c", "y"), Pod::default()];
        assert_eq!(equivalence_groups(&pods.iter().collect::<Vec<_>>()), [vec![0, 2], vec![1], vec![3], vec![4]]);
        pods.truncate(0);
        pods.extend((0..12).chain(10..12).map(|label| owned("p", &label.to_string())));
        assert_eq!(
            equivalence_groups(&pods.iter().collect::<Vec<_>>()).len(),
            14,
            "the eleventh kind is not remembered"
        );
    }
}
