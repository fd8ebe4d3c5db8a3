//! Horizontal autoscalers: what each was asked for, saw and decided, as its object tells. On any target.

use std::collections::BTreeMap;

use democtl_core::{
    autoscale::hpa::{Behavior, CurrentMetric, Policy, PolicyKind, Rules, SelectPolicy, Target},
    event::{ConditionSeen, Fact, MetricTarget},
    profile::{Profile, Scaling},
    units,
};
use futures::StreamExt as _;
use k8s_openapi::{
    api::autoscaling::v2::{
        HPAScalingRules, HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget as SpecTarget,
        MetricValueStatus,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{Api, runtime::watcher};

use super::{Recorder, Subject, kubernetes::watch};
use crate::delivery::NAMESPACE;

pub(super) async fn run(subject: Subject, recorder: Recorder) {
    let mut known = BTreeMap::<String, (Option<Fact>, Option<Fact>)>::new();
    let mut stream = watch(Api::<HorizontalPodAutoscaler>::namespaced(subject.client.clone(), NAMESPACE));
    while let Some(event) = stream.next().await {
        let (watcher::Event::InitApply(hpa) | watcher::Event::Apply(hpa)) = event else { continue };
        let Some(specification) = specification(&hpa, &subject.profile) else { continue };
        let workload = hpa.spec.as_ref().map(|spec| spec.scale_target_ref.name.clone()).unwrap_or_default();
        let last = known.entry(workload.clone()).or_default();
        if last.0.as_ref() != Some(&specification) {
            recorder.record(specification.clone());
            last.0 = Some(specification);
        }
        if let Some(sync) = sync(&hpa, workload)
            && last.1.as_ref() != Some(&sync)
        {
            recorder.record(sync.clone());
            last.1 = Some(sync);
        }
    }
}

/// An autoscaler's specification and the sync by which it changed the replicas, while its status tells of that one.
pub(super) async fn rescaled(subject: &Subject, name: &str, from: i32, to: i32) -> Option<(Fact, Fact)> {
    let hpa = Api::namespaced(subject.client.clone(), NAMESPACE).get(name).await.ok()?;
    let specification = specification(&hpa, &subject.profile)?;
    let sync = sync(&hpa, String::new())?;
    matches!(sync, Fact::Sync { replicas, desired, .. } if (replicas, desired) == (from, to))
        .then_some((specification, sync))
}

fn specification(hpa: &HorizontalPodAutoscaler, profile: &Profile) -> Option<Fact> {
    let spec = hpa.spec.as_ref()?;
    let workload = &spec.scale_target_ref.name;
    let scaling = profile.workload(workload).and_then(|workload| workload.scaling.as_ref());
    let metrics = spec.metrics.iter().flatten().map(|metric| metric_target(metric, scaling));
    Some(Fact::Autoscaler {
        workload: workload.clone(),
        min: spec.min_replicas.unwrap_or(1),
        max: spec.max_replicas,
        behavior: spec.behavior.as_ref().map(|behavior| Behavior {
            scale_up: behavior.scale_up.as_ref().map(rules),
            scale_down: behavior.scale_down.as_ref().map(rules),
        }),
        metrics: metrics.collect(),
    })
}

/// KEDA names an external metric `sINDEX-...`; the profile knows the trigger by a name that people understand.
fn trigger_name(metric: &str, scaling: Option<&Scaling>) -> String {
    let trigger = || {
        let (index, base) = metric.strip_prefix('s')?.split_once('-')?;
        scaling?.triggers.get(index.parse::<usize>().ok()?).filter(|trigger| base.starts_with(trigger.kind()))
    };
    trigger().map_or_else(|| metric.to_owned(), |trigger| trigger.label().into_owned())
}

fn metric_target(metric: &MetricSpec, scaling: Option<&Scaling>) -> MetricTarget {
    let outside = |name: &str, of: &SpecTarget| MetricTarget {
        name: trigger_name(name, scaling),
        resource: false,
        target: target(of),
    };
    let resource =
        |name: &str, of: &SpecTarget| MetricTarget { name: name.to_owned(), resource: true, target: target(of) };
    let external = metric.external.as_ref().map(|m| outside(&m.metric.name, &m.target));
    let pods = metric.pods.as_ref().map(|m| outside(&m.metric.name, &m.target));
    let object = metric.object.as_ref().map(|m| outside(&m.metric.name, &m.target));
    let whole = metric.resource.as_ref().map(|m| resource(&m.name, &m.target));
    let container = metric.container_resource.as_ref().map(|m| resource(&m.name, &m.target));
    external.or(pods).or(object).or(whole).or(container).unwrap_or_else(|| MetricTarget {
        name: metric.type_.clone(),
        resource: false,
        target: Target::default(),
    })
}

fn target(of: &SpecTarget) -> Target {
    Target {
        average_utilization_percent: of.average_utilization.map(i64::from),
        average_value_milli: of.average_value.as_ref().and_then(milli),
        value_milli: of.value.as_ref().and_then(milli),
    }
}

/// Milli-units of a quantity, of CPU, memory or anything counted.
fn milli(quantity: &Quantity) -> Option<i64> {
    let plain = units::Millicores::parse(&quantity.0).ok().map(|milli| milli.0);
    plain.or_else(|| units::Bytes::parse(&quantity.0).ok()?.0.checked_mul(1000))
}

fn rules(of: &HPAScalingRules) -> Rules {
    let policy = |policy: &k8s_openapi::api::autoscaling::v2::HPAScalingPolicy| Policy {
        kind: if policy.type_ == "Pods" { PolicyKind::Pods } else { PolicyKind::Percent },
        value: policy.value,
        period_s: i64::from(policy.period_seconds),
    };
    Rules {
        stabilization_window_s: of.stabilization_window_seconds.map(i64::from),
        select_policy: of.select_policy.as_deref().map(|select| match select {
            "Min" => SelectPolicy::Min,
            "Disabled" => SelectPolicy::Disabled,
            _ => SelectPolicy::Max,
        }),
        tolerance: None,
        policies: of.policies.as_ref().map(|policies| policies.iter().map(policy).collect()),
    }
}

/// The status, once there has been a sync.
fn sync(hpa: &HorizontalPodAutoscaler, workload: String) -> Option<Fact> {
    let status = hpa.status.as_ref()?;
    let conditions: Vec<_> = status.conditions.iter().flatten().collect();
    if conditions.is_empty() {
        return None;
    }
    let seen = |condition: &&k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerCondition| ConditionSeen {
        kind: condition.type_.clone(),
        status: condition.status == "True",
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    };
    Some(Fact::Sync {
        workload,
        replicas: status.current_replicas.unwrap_or_default(),
        desired: status.desired_replicas,
        metrics: status.current_metrics.iter().flatten().map(current).collect(),
        conditions: conditions.iter().map(seen).collect(),
    })
}

fn current(metric: &MetricStatus) -> Option<CurrentMetric> {
    let external = metric.external.as_ref().map(|m| &m.current);
    let pods = metric.pods.as_ref().map(|m| &m.current);
    let object = metric.object.as_ref().map(|m| &m.current);
    let resource = metric.resource.as_ref().map(|m| &m.current);
    let container = metric.container_resource.as_ref().map(|m| &m.current);
    external.or(pods).or(object).or(resource).or(container).map(figures)
}

fn figures(value: &MetricValueStatus) -> CurrentMetric {
    CurrentMetric {
        average_utilization_percent: value.average_utilization.map(i64::from),
        average_value_milli: value.average_value.as_ref().and_then(milli),
        value_milli: value.value.as_ref().and_then(milli),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hpa() -> HorizontalPodAutoscaler {
        let external = |part: Value| {
            let mut whole = json!({ "metric": { "name": "s3-prometheus" } });
            whole["target"] = json!({ "type": "AverageValue", "averageValue": "6" });
            whole.as_object_mut().expect("an object").extend(part.as_object().expect("an object").clone());
            json!({ "type": "External", "external": whole })
        };
        let cpu = json!({ "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 60 } });
        let current = json!({ "current": { "averageValue": "91500m" } });
        serde_json::from_value(json!({
            "metadata": { "name": "keda-hpa-web" },
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
                "minReplicas": 2,
                "maxReplicas": 3,
                "metrics": [external(json!({})), { "type": "Resource", "resource": cpu }],
                "behavior": { "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "selectPolicy": "Min",
                    "policies": [{ "type": "Percent", "value": 400, "periodSeconds": 15 }],
                } },
            },
            "status": {
                "currentReplicas": 2,
                "desiredReplicas": 3,
                "currentMetrics": [external(current), { "type": "" }],
                "conditions": [{ "type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas" }],
            },
        }))
        .expect("an autoscaler")
    }

    #[test]
    fn a_specification_keeps_targets_by_the_names_of_triggers() {
        let profile = Profile::load_builtin("m3demo2", &[]).expect("built in").expect("valid");
        let Some(Fact::Autoscaler { workload, min, max, behavior, metrics }) = specification(&hpa(), &profile) else {
            panic!("it has a specification");
        };
        assert_eq!((workload.as_str(), min, max), ("web", 2, 3));
        let names: Vec<_> = metrics.iter().map(|metric| (metric.name.as_str(), metric.resource)).collect();
        assert_eq!(names, [("in-flight", false), ("cpu", true)]);
        let scaling = |workload: &str| profile.workload(workload).and_then(|workload| workload.scaling.as_ref());
        let named = |metric: &str, workload: &str| trigger_name(metric, scaling(workload));
        assert_eq!(
            named("s2-prometheus", "web"),
            "http_requests_total",
            "a trigger without a name is called by its metric"
        );
        assert_eq!(named("s0-redis-customer_operations", "worker"), "customer_operations");
        assert_eq!(named("s0-redis-customer_operations", "web"), "s0-redis-customer_operations");
        assert_eq!(metrics[0].target.average_value_milli, Some(6000));
        assert_eq!(metrics[1].target.average_utilization_percent, Some(60));
        let up = behavior.expect("a behaviour").scale_up.expect("rules");
        assert_eq!((up.stabilization_window_s, up.select_policy), (Some(0), Some(SelectPolicy::Min)));
        let policy = Policy { kind: PolicyKind::Percent, value: 400, period_s: 15 };
        assert_eq!(up.policies, Some(vec![policy]));
    }

    #[test]
    fn a_sync_keeps_figures_and_tells_failed_metrics_apart() {
        let Some(Fact::Sync { replicas, desired, metrics, conditions, .. }) = sync(&hpa(), "web".into()) else {
            panic!("there was a sync");
        };
        let in_flight = CurrentMetric { average_value_milli: Some(91_500), ..CurrentMetric::default() };
        assert_eq!((replicas, desired, metrics), (2, 3, vec![Some(in_flight), None]));
        assert_eq!((conditions[0].status, conditions[0].reason.as_str()), (true, "TooManyReplicas"));
        let fresh = HorizontalPodAutoscaler { status: None, ..hpa() };
        assert_eq!(sync(&fresh, "web".into()), None);
    }
}
