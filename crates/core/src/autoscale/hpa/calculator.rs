//! From metrics to replicas: upstream's replica calculator.

use std::collections::BTreeMap;

use super::{
    model::{Observed, Pod, PodMetric},
    pods::{Groups, group, requests, resource_samples},
};

/// Settings that the calculator shares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calculator {
    /// Share above 1 that does not scale.
    pub tolerance_up: f64,
    /// Share below 1 that does not scale.
    pub tolerance_down: f64,
    /// CPU of a younger pod counts only under conditions.
    pub cpu_initialization_period_s: f64,
    /// A pod that was never ready within this is still starting.
    pub initial_readiness_delay_s: f64,
}

/// Why a metric gives no proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MetricError(pub String);

/// What one metric asks for, and the figures that it reports.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Proposal {
    /// Replicas.
    pub replicas: i32,
    /// Use as percent of the request.
    pub utilization_percent: Option<i64>,
    /// Mean use, milli-units, beside a utilization.
    pub raw_average_milli: Option<i64>,
    /// Mean or whole value, milli-units.
    pub usage_milli: Option<i64>,
    /// Time of the sample; the zero time for totals.
    pub timestamp_s: Option<f64>,
}

type Samples = BTreeMap<String, (i64, PodMetric)>;

/// Percent of the request, its ratio to the target, and the mean use.
pub fn utilization_ratio(
    samples: &BTreeMap<String, i64>,
    requests: &BTreeMap<String, i64>,
    target_percent: i64,
) -> Result<(f64, i64, i64), MetricError> {
    let known = || samples.iter().filter_map(|(pod, value)| Some((value, requests.get(pod)?)));
    let (used, requested, count) = known()
        .fold((0, 0, 0), |(used, requested, count), (value, request)| (used + value, requested + request, count + 1));
    if requested == 0 {
        return Err(MetricError("no metrics returned matched known pods".into()));
    }
    let percent = 100 * used / requested;
    Ok((percent as f64 / target_percent as f64, percent, used / count))
}

/// The ratio of the mean value to the target, and the mean value.
pub fn usage_ratio(samples: &BTreeMap<String, i64>, target_milli: i64) -> (f64, i64) {
    let usage = samples.values().sum::<i64>() / samples.len() as i64;
    (usage as f64 / target_milli as f64, usage)
}

/// How a set of values becomes a ratio.
enum Measure<'a> {
    Utilization { requests: &'a BTreeMap<String, i64>, target_percent: i64 },
    Plain { target_milli: i64 },
}

impl Measure<'_> {
    fn ratio(&self, values: &BTreeMap<String, i64>) -> Result<(f64, Proposal), MetricError> {
        match self {
            Self::Utilization { requests, target_percent } => {
                let (ratio, percent, raw) = utilization_ratio(values, requests, *target_percent)?;
                let figures = Proposal {
                    utilization_percent: Some(percent),
                    raw_average_milli: Some(raw),
                    ..Proposal::default()
                };
                Ok((ratio, figures))
            }
            Self::Plain { target_milli } => {
                let (ratio, usage) = usage_ratio(values, *target_milli);
                Ok((ratio, Proposal { usage_milli: Some(usage), ..Proposal::default() }))
            }
        }
    }

    /// What a pod without a sample is taken to use when scaling down: enough not to cause it.
    fn pessimistic(&self, pod: &str) -> i64 {
        match self {
            Self::Utilization { requests, target_percent } => {
                requests.get(pod).copied().unwrap_or(0) * (*target_percent).max(100) / 100
            }
            Self::Plain { target_milli } => *target_milli,
        }
    }
}

impl Calculator {
    fn within(&self, ratio: f64) -> bool {
        (1.0 - self.tolerance_down..=1.0 + self.tolerance_up).contains(&ratio)
    }

    /// A resource against a percentage of its request.
    #[expect(clippy::too_many_arguments, reason = "upstream's inputs, each of its own kind")]
    pub fn resource_utilization(
        &self,
        current: i32,
        observed: &Observed,
        pods: &[Pod],
        resource: &str,
        container: Option<&str>,
        target_percent: i64,
        now: f64,
    ) -> Result<Proposal, MetricError> {
        let samples = resource_answer(observed, resource, container)?;
        let (values, groups) = self.ready_values(samples, pods, Some(resource), now)?;
        let requests = requests(pods, resource, container)?;
        let measure = Measure::Utilization { requests: &requests, target_percent };
        self.per_pod(current, values, &groups, &measure, observed.timestamp_s)
    }

    /// A resource against a plain mean value.
    #[expect(clippy::too_many_arguments, reason = "upstream's inputs, each of its own kind")]
    pub fn resource_raw(
        &self,
        current: i32,
        observed: &Observed,
        pods: &[Pod],
        resource: &str,
        container: Option<&str>,
        target_milli: i64,
        now: f64,
    ) -> Result<Proposal, MetricError> {
        let samples = resource_answer(observed, resource, container)?;
        let (values, groups) = self.ready_values(samples, pods, Some(resource), now)?;
        self.per_pod(current, values, &groups, &Measure::Plain { target_milli }, observed.timestamp_s)
    }

    /// A custom metric of each pod against a mean value.
    pub fn pods_metric(
        &self,
        current: i32,
        observed: &Observed,
        pods: &[Pod],
        name: &str,
        target_milli: i64,
        now: f64,
    ) -> Result<Proposal, MetricError> {
        let failed = |error: &str| MetricError(format!("unable to get metric {name}: {error}"));
        if let Some(error) = &observed.error {
            return Err(failed(error));
        }
        let samples: Samples = observed
            .pod_metrics
            .iter()
            .filter_map(|metric| Some((metric.pod.clone(), (metric.value_milli?, metric.clone()))))
            .collect();
        if observed.pod_metrics.is_empty() {
            return Err(failed("no metrics returned from custom metrics API"));
        }
        let (values, groups) = self.ready_values(samples, pods, None, now)?;
        self.per_pod(current, values, &groups, &Measure::Plain { target_milli }, observed.timestamp_s)
    }

    fn ready_values(
        &self,
        samples: Samples,
        pods: &[Pod],
        resource: Option<&str>,
        now: f64,
    ) -> Result<(BTreeMap<String, i64>, Groups), MetricError> {
        if pods.is_empty() {
            return Err(MetricError("no pods returned by selector while calculating replica count".into()));
        }
        let groups = group(pods, &samples, resource, self, now);
        let counts = |pod: &String| !groups.ignored.contains(pod) && !groups.unready.contains(pod);
        let values: BTreeMap<_, _> =
            samples.into_iter().filter(|(pod, _)| counts(pod)).map(|(pod, (value, _))| (pod, value)).collect();
        if values.is_empty() {
            return Err(MetricError("did not receive metrics for targeted pods (pods might be unready)".into()));
        }
        Ok((values, groups))
    }

    fn per_pod(
        &self,
        current: i32,
        mut values: BTreeMap<String, i64>,
        groups: &Groups,
        measure: &Measure<'_>,
        timestamp_s: f64,
    ) -> Result<Proposal, MetricError> {
        let (ratio, figures) = measure.ratio(&values)?;
        let propose = |replicas: i32| Ok(Proposal { replicas, timestamp_s: Some(timestamp_s), ..figures });
        let up_with_unready = !groups.unready.is_empty() && ratio > 1.0;
        if !up_with_unready && groups.missing.is_empty() {
            if self.within(ratio) {
                return propose(current);
            }
            return propose((ratio * groups.ready_count as f64).ceil() as i32);
        }
        if ratio < 1.0 {
            for pod in &groups.missing {
                values.insert(pod.clone(), measure.pessimistic(pod));
            }
        } else if ratio > 1.0 {
            values.extend(groups.missing.iter().map(|pod| (pod.clone(), 0)));
        }
        if up_with_unready {
            values.extend(groups.unready.iter().map(|pod| (pod.clone(), 0)));
        }
        let (rebased, _) = measure.ratio(&values)?;
        if self.within(rebased) || (ratio < 1.0 && rebased > 1.0) || (ratio > 1.0 && rebased < 1.0) {
            return propose(current);
        }
        let replicas = (rebased * values.len() as f64).ceil() as i32;
        let contrary = (rebased < 1.0 && replicas > current) || (rebased > 1.0 && replicas < current);
        propose(if contrary { current } else { replicas })
    }

    /// The value of an object or external metric against a total.
    pub fn total(
        &self,
        current: i32,
        value_milli: i64,
        target_milli: i64,
        pods: &[Pod],
    ) -> Result<Proposal, MetricError> {
        let ratio = value_milli as f64 / target_milli as f64;
        let replicas = if current == 0 {
            ratio.ceil() as i32
        } else if self.within(ratio) {
            current
        } else {
            (ratio * ready_pods(pods)? as f64).ceil() as i32
        };
        Ok(Proposal { replicas, usage_milli: Some(value_milli), ..Proposal::default() })
    }

    /// The value of an object or external metric against a target for each of the target's status replicas.
    pub fn per_replica(&self, status_replicas: i32, value_milli: i64, target_milli: i64, timestamp_s: f64) -> Proposal {
        let (value, target, pods) = (value_milli as f64, target_milli as f64, f64::from(status_replicas));
        let ratio = value / (target * pods);
        let replicas = if self.within(ratio) { status_replicas } else { (value / target).ceil() as i32 };
        Proposal {
            replicas,
            usage_milli: Some(whole((value / pods).ceil())),
            timestamp_s: Some(timestamp_s),
            ..Proposal::default()
        }
    }
}

/// Go's conversion on amd64: what does not fit, infinity and NaN give the least integer.
fn whole(value: f64) -> i64 {
    let fits = value >= i64::MIN as f64 && value < i64::MAX as f64;
    if fits { value as i64 } else { i64::MIN }
}

fn ready_pods(pods: &[Pod]) -> Result<usize, MetricError> {
    if pods.is_empty() {
        let reason = "no pods returned by selector while calculating replica count";
        return Err(MetricError(format!("unable to calculate ready pods: {reason}")));
    }
    let ready = |pod: &&Pod| pod.phase == "Running" && pod.ready.as_deref() == Some("True");
    Ok(pods.iter().filter(ready).count())
}

fn resource_answer(observed: &Observed, resource: &str, container: Option<&str>) -> Result<Samples, MetricError> {
    let failed = |error: &str| MetricError(format!("unable to get metrics for resource {resource}: {error}"));
    if let Some(error) = &observed.error {
        return Err(failed(error));
    }
    if observed.pod_metrics.is_empty() {
        return Err(failed("no metrics returned from resource metrics API"));
    }
    Ok(resource_samples(observed, container))
}
