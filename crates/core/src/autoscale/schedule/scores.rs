//! Scores of 0 to 100: which of the nodes that can hold a pod is to hold it.

use super::{
    filters::tolerates,
    model::{Node, Pod, Resources},
};

/// Room that is left, weighed by resource. `used` are the non-zero requests there, for CPU and memory, and the plain
/// ones for the rest.
pub fn least_allocated(pod: &Pod, node: &Node, used: &Resources, resources: &[(&str, i64)]) -> i64 {
    least(&pod.non_zero_requests(true), &pod.requests(true), node, used, resources)
}

/// The same where what the pod requests is known.
pub(super) fn least(
    request: &Resources,
    plain: &Resources,
    node: &Node,
    used: &Resources,
    resources: &[(&str, i64)],
) -> i64 {
    let (mut score, mut weights) = (0, 0);
    for (name, weight) in resources {
        let capacity = node.allocatable.get(name).unwrap_or(0);
        let extended = !matches!(*name, "cpu" | "memory" | "ephemeral-storage");
        if capacity == 0 || (extended && plain.get(name).unwrap_or(0) == 0) {
            continue;
        }
        let own = if matches!(*name, "cpu" | "memory") { request.get(name) } else { plain.get(name) };
        let wanted = used.get(name).unwrap_or(0) + own.unwrap_or(0);
        score += weight * if wanted > capacity { 0 } else { (capacity - wanted) * 100 / capacity };
        weights += weight;
    }
    if weights == 0 { 0 } else { score / weights }
}

/// How evenly the resources would be used; none when the pod asks for none of them. `used` are plain requests.
pub fn balanced_allocation(pod: &Pod, node: &Node, used: &Resources, resources: &[&str]) -> Option<i64> {
    balanced(&pod.requests(true), node, used, resources)
}

/// The same where what the pod requests is known.
pub(super) fn balanced(request: &Resources, node: &Node, used: &Resources, resources: &[&str]) -> Option<i64> {
    if resources.iter().all(|name| request.get(name).unwrap_or(0) == 0) {
        return None;
    }
    let fractions: Vec<f64> = resources
        .iter()
        .filter_map(|name| {
            let capacity = node.allocatable.get(name).filter(|capacity| *capacity != 0)?;
            let own = request.get(name).unwrap_or(0);
            let extended = !matches!(*name, "cpu" | "memory" | "ephemeral-storage");
            if extended && own == 0 {
                return None;
            }
            let wanted = used.get(name).unwrap_or(0) + own;
            Some((wanted as f64 / capacity as f64).min(1.0))
        })
        .collect();
    let deviation = match fractions.as_slice() {
        [] | [_] => 0.0,
        [a, b] => ((a - b) / 2.0).abs(),
        all => {
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            (all.iter().map(|fraction| (fraction - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt()
        }
    };
    Some(((1.0 - deviation) * 100.0) as i64)
}

/// Fewer soft taints that the pod does not tolerate are better.
pub fn taint_scores(pod: &Pod, nodes: &[&Node]) -> Vec<i64> {
    let soft = |effect: &str| effect.is_empty() || effect == "PreferNoSchedule";
    let counts: Vec<i64> = nodes
        .iter()
        .map(|node| {
            let preferred = node.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
            let intolerable = preferred.filter(|taint| {
                !pod.tolerations.iter().any(|toleration| soft(&toleration.effect) && tolerates(toleration, taint))
            });
            intolerable.count() as i64
        })
        .collect();
    let most = counts.iter().copied().max().unwrap_or(0);
    counts.into_iter().map(|count| if most == 0 { 100 } else { 100 - 100 * count / most }).collect()
}
