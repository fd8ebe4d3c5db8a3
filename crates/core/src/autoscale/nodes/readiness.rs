//! When a node counts as ready.
//!
//! Upstream: `utils/kubernetes/ready.go`.

use crate::autoscale::schedule::Node;

const UNREADY_TAINTS: [&str; 3] =
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/disk-pressure", "node.kubernetes.io/network-unavailable"];

/// Whether a node can hold pods: `node.ready` stands for its conditions, and no taint may say otherwise.
pub fn is_ready(node: &Node) -> bool {
    let told = node.taints.iter().any(|taint| UNREADY_TAINTS.contains(&taint.key.as_str()));
    node.ready == Some(true) && !told
}

/// Whether conditions, pairs of type and status, say that a node is ready. None where there is no Ready condition.
pub fn ready_by_conditions<'a>(conditions: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<bool> {
    let (mut ready, mut trouble) = (None, false);
    for (kind, status) in conditions {
        match kind {
            "Ready" => ready = Some(!matches!(status, "False" | "Unknown")),
            "DiskPressure" | "NetworkUnavailable" => trouble |= status == "True",
            _ => {}
        }
    }
    ready.map(|ready| ready && !trouble)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_on_the_disk_makes_a_ready_node_unready() {
        assert_eq!(ready_by_conditions([("Ready", "True"), ("DiskPressure", "False")]), Some(true));
        assert_eq!(ready_by_conditions([("Ready", "True"), ("DiskPressure", "True")]), Some(false));
        assert_eq!(ready_by_conditions([("Ready", "Unknown")]), Some(false));
        assert_eq!(ready_by_conditions([("MemoryPressure", "False")]), None);
    }
}
