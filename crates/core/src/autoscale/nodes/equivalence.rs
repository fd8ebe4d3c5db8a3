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
    let mut by_owner = BTreeMap::<&str, Vec<(usize, Pod)>>::new();
    for (index, pod) in pods.iter().enumerate() {
        if let Some(owner) = pod.owner.as_ref().filter(|_| !is_daemon_set_pod(pod)) {
            let known = by_owner.entry(owner.uid.as_str()).or_default();
            let shape = shape(pod);
            if let Some((group, _)) = known.iter().find(|(_, other)| *other == shape) {
                groups[*group].push(index);
                continue;
            }
            if known.len() < REMEMBERED {
                known.push((groups.len(), shape));
            }
        }
        groups.push(vec![index]);
    }
    groups
}

/// What must be equal: labels and specification, without what is each pod's own.
fn shape(pod: &Pod) -> Pod {
    Pod {
        labels: pod.labels.clone(),
        containers: pod.containers.clone(),
        init_containers: pod.init_containers.clone(),
        overhead: pod.overhead.clone(),
        pod_level_requests: pod.pod_level_requests.clone(),
        tolerations: pod.tolerations.clone(),
        node_selector: pod.node_selector.clone(),
        node_affinity_required_terms: pod.node_affinity_required_terms.clone(),
        topology_spread: pod.topology_spread.clone(),
        host_ports: pod.host_ports.clone(),
        priority: pod.priority,
        volumes: pod.volumes.iter().filter(|volume| volume.kind != "projected").cloned().collect(),
        restart_policy: pod.restart_policy.clone(),
        grace_period_seconds: pod.grace_period_seconds,
        ..Pod::default()
    }
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
