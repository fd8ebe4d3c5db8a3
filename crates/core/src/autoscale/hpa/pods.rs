//! Which pods count, what they use and what they request.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    calculator::{Calculator, MetricError},
    model::{Observed, Pod, PodMetric},
};

/// Pods by how they count; each is in one group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Groups {
    /// Number of pods whose sample counts.
    pub ready_count: usize,
    /// Not ready yet.
    pub unready: BTreeSet<String>,
    /// Without a sample.
    pub missing: BTreeSet<String>,
    /// Going or failed.
    pub ignored: BTreeSet<String>,
}

/// Sums containers to pods; a pod that lacks the resource, or the container asked for, is left out.
pub fn resource_samples(observed: &Observed, container: Option<&str>) -> BTreeMap<String, (i64, PodMetric)> {
    let value = |metric: &PodMetric| -> Option<i64> {
        match container {
            Some(name) => metric.containers.iter().find(|usage| usage.name == name)?.usage_milli,
            None if metric.containers.is_empty() => None,
            None => metric.containers.iter().map(|usage| usage.usage_milli).sum(),
        }
    };
    let pairs = observed.pod_metrics.iter();
    pairs.filter_map(|metric| Some((metric.pod.clone(), (value(metric)?, metric.clone())))).collect()
}

/// Classifies pods; the first rule that matches wins.
pub fn group(
    pods: &[Pod],
    samples: &BTreeMap<String, (i64, PodMetric)>,
    resource: Option<&str>,
    calculator: &Calculator,
    now: f64,
) -> Groups {
    let mut groups = Groups::default();
    for pod in pods {
        if pod.deleted || pod.phase == "Failed" {
            groups.ignored.insert(pod.name.clone());
        } else if pod.phase == "Pending" {
            groups.unready.insert(pod.name.clone());
        } else if let Some((_, metric)) = samples.get(&pod.name) {
            if resource == Some("cpu") && initialising(pod, metric, calculator, now) {
                groups.unready.insert(pod.name.clone());
            } else {
                groups.ready_count += 1;
            }
        } else {
            groups.missing.insert(pod.name.clone());
        }
    }
    groups
}

/// CPU of a pod that starts says nothing of the load.
fn initialising(pod: &Pod, metric: &PodMetric, calculator: &Calculator, now: f64) -> bool {
    let (Some(ready), Some(started)) = (&pod.ready, pod.start_time_s) else { return true };
    let changed = pod.ready_last_transition_s.unwrap_or(f64::NEG_INFINITY);
    if started + calculator.cpu_initialization_period_s > now {
        return ready == "False" || metric.timestamp_s < changed + metric.window_s;
    }
    ready == "False" && started + calculator.initial_readiness_delay_s > changed
}

/// The request of each pod, milli-units, sidecars included.
pub fn requests(pods: &[Pod], resource: &str, container: Option<&str>) -> Result<BTreeMap<String, i64>, MetricError> {
    let mut all = BTreeMap::new();
    for pod in pods {
        let regular = pod.containers.iter().map(|c| (&c.name, &c.requests_milli));
        let sidecars = pod.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
        let mut sum = 0;
        for (name, requests) in regular.chain(sidecars.map(|c| (&c.name, &c.requests_milli))) {
            if container.is_some_and(|only| only != name) {
                continue;
            }
            let Some(request) = requests.get(resource) else {
                let pod = &pod.name;
                return Err(MetricError(format!("missing request for {resource} in container {name} of Pod {pod}")));
            };
            sum += request;
        }
        all.insert(pod.name.clone(), sum);
    }
    Ok(all)
}
