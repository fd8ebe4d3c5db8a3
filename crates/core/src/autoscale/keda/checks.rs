//! What a `ScaledObject` must satisfy before it is acted on, and what its author is warned of.
//!
//! Upstream: `apis/keda/v1alpha1/scaledobject_{types,webhook}.go`.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{
    fallback::Fallback,
    quantity::Quantity,
    render::hpa_name,
    state::{uses_hpa_observations, uses_modifiers},
};

const DEFAULT_MAX: i32 = 100;
const NAME_LIMIT: usize = 63;

/// Replica bounds as they stand in `spec`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// `minReplicaCount`.
    pub min: Option<i32>,
    /// `maxReplicaCount`.
    pub max: Option<i32>,
    /// `idleReplicaCount`.
    pub idle: Option<i32>,
}

impl Bounds {
    /// Reads them.
    pub fn read(spec: &Json) -> Self {
        let int = |key: &str| spec[key].as_i64().map(|value| value as i32);
        Self { min: int("minReplicaCount"), max: int("maxReplicaCount"), idle: int("idleReplicaCount") }
    }

    /// `minReplicas` of the HPA.
    pub fn hpa_min(self) -> i32 {
        self.min.filter(|min| *min > 0).unwrap_or(1)
    }

    /// `maxReplicas` of the HPA.
    pub fn hpa_max(self) -> i32 {
        self.max.unwrap_or(DEFAULT_MAX)
    }
}

/// `cpu` and `memory` are the HPA's own.
pub(super) fn is_resource(trigger: &Json) -> bool {
    matches!(trigger["type"].as_str(), Some("cpu" | "memory"))
}

fn triggers(spec: &Json) -> &[Json] {
    spec["triggers"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Bounds are in order.
pub fn check_bounds(spec: &Json) -> Result<(), String> {
    let bounds = Bounds::read(spec);
    let min = bounds.min.map_or(0, |_| bounds.hpa_min());
    let max = bounds.hpa_max();
    if min > max {
        return Err(format!("MinReplicaCount={min} must be less than MaxReplicaCount={max}"));
    }
    match bounds.idle {
        Some(idle) if idle >= min => Err(format!("IdleReplicaCount={idle} must be less than MinReplicaCount={min}")),
        _ => Ok(()),
    }
}

/// There are triggers, cached metrics only where they can be, and names are unique.
pub fn check_triggers(spec: &Json) -> Result<(), String> {
    let triggers = triggers(spec);
    if triggers.is_empty() {
        return Err("no triggers defined in the ScaledObject/ScaledJob".to_owned());
    }
    let mut names = BTreeSet::new();
    for trigger in triggers {
        let kind = trigger["type"].as_str().unwrap_or_default();
        if trigger["useCachedMetrics"] == true && matches!(kind, "cpu" | "memory" | "cron") {
            return Err(format!("property \"useCachedMetrics\" is not supported for {kind:?} scaler"));
        }
        let name = trigger["name"].as_str().unwrap_or_default();
        if !name.is_empty() && !names.insert(name) {
            let text = "is defined multiple times in the ScaledObject/ScaledJob, but it must be unique";
            return Err(format!("triggerName {name:?} {text}"));
        }
    }
    Ok(())
}

/// A fallback can be acted on.
pub fn check_fallback(spec: &Json) -> Result<(), String> {
    let Some(fallback) = spec.get("fallback").filter(|fallback| fallback.is_object()) else { return Ok(()) };
    let int = |key: &str| fallback[key].as_i64().unwrap_or(0);
    let modifiers = &spec["advanced"]["scalingModifiers"];
    if fallback["behavior"] == "scalingModifiers" && modifiers["formula"].as_str().is_none_or(str::is_empty) {
        return Err("scalingModifiers fallback behavior requires scalingModifiers.formula to be defined".to_owned());
    }
    if Fallback::read(spec).is_none() {
        let (failures, replicas) = (int("failureThreshold"), int("replicas"));
        let text = "must both be greater than or equal to 0";
        return Err(format!("FailureThreshold={failures} & Replicas={replicas} {text}"));
    }
    if triggers(spec).iter().all(is_resource) && !uses_modifiers(spec) {
        let text = "at least one trigger (that is not cpu or memory) has to have the `AverageValue` type for the fallback to be enabled";
        return Err(text.to_owned());
    }
    Ok(())
}

/// What an admission looks at besides the object itself. All are Kubernetes objects.
#[derive(Debug, Clone, Copy, Default)]
pub struct Admission<'a> {
    /// Pod specification of the scale target, where it exists.
    pub target: Option<&'a Json>,
    /// `LimitRanges` of the namespace.
    pub limit_ranges: &'a [Json],
    /// HPAs of the namespace.
    pub hpas: &'a [Json],
    /// Other `ScaledObjects` of the namespace.
    pub scaled_objects: &'a [Json],
    /// Nothing will be stored.
    pub dry_run: bool,
}

/// All checks of an admission.
pub fn admit(object: &Json, seen: &Admission<'_>) -> Result<(), String> {
    let spec = &object["spec"];
    check_triggers(spec)?;
    check_bounds(spec)?;
    check_fallback(spec)?;
    check_names(object)?;
    check_scaled_objects(object, seen.scaled_objects)?;
    check_hpas(object, seen.hpas)?;
    check_resources(object, seen)
}

/// `apps/v1` and `Deployment` where nothing else is said, and the name.
fn target_of(object: &Json) -> (String, String, String) {
    let target = &object["spec"]["scaleTargetRef"];
    let text =
        |key: &str, default: &str| target[key].as_str().filter(|text| !text.is_empty()).unwrap_or(default).to_owned();
    (text("apiVersion", "apps/v1"), text("kind", "Deployment"), text("name", ""))
}

fn name_of(object: &Json) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn check_names(object: &Json) -> Result<(), String> {
    let (name, hpa) = (name_of(object), hpa_name(object));
    let length = name.chars().count();
    if length > NAME_LIMIT {
        return Err(format!("scaledobject name {name:?} is {length} characters long"));
    }
    let length = hpa.chars().count();
    if length > NAME_LIMIT {
        return Err(format!("HPA name {hpa:?} derived from scaledobject is {length} characters long"));
    }
    Ok(())
}

fn check_scaled_objects(object: &Json, others: &[Json]) -> Result<(), String> {
    let (version, kind, workload) = target_of(object);
    let hpa = hpa_name(object);
    for other in others.iter().filter(|other| name_of(other) != name_of(object)) {
        let (_, other_kind, other_workload) = target_of(other);
        let name = name_of(other);
        if (&other_kind, &other_workload) == (&kind, &workload) {
            return Err(format!(
                "the workload '{workload}' of type '{version}.{kind}' is already managed by the ScaledObject '{name}'"
            ));
        }
        if hpa_name(other) == hpa {
            return Err(format!("the HPA '{hpa}' is already managed by the ScaledObject '{name}'"));
        }
    }
    Ok(())
}

fn check_hpas(object: &Json, hpas: &[Json]) -> Result<(), String> {
    let target = target_of(object);
    let (version, kind, workload) = &target;
    for hpa in hpas.iter().filter(|hpa| target_of(hpa) == target) {
        let owners = hpa["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let owned = owners.into_iter().any(|owner| owner["kind"] == "ScaledObject" && owner["name"] == name_of(object));
        let released = hpa["metadata"]["annotations"]["validations.keda.sh/hpa-ownership"] == "false";
        if owned || released {
            continue;
        }
        let name = name_of(hpa);
        if object["metadata"]["annotations"]["scaledobject.keda.sh/transfer-hpa-ownership"] == "true" {
            if object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"] == name {
                continue;
            }
            return Err(format!(
                "the existing hpa '{name}' for workload '{workload}' of type '{version}.{kind}' must be specified by \
                 name in advanced settings to enable ownership transfer"
            ));
        }
        return Err(format!(
            "the workload '{workload}' of type '{version}.{kind}' is already managed by the hpa '{name}'"
        ));
    }
    Ok(())
}

/// Utilization and averages of a resource need its requests.
fn check_resources(object: &Json, seen: &Admission<'_>) -> Result<(), String> {
    let spec = &object["spec"];
    let (version, kind, workload) = target_of(object);
    if seen.dry_run || version != "apps/v1" || !matches!(kind.as_str(), "Deployment" | "StatefulSet") {
        return Ok(());
    }
    for trigger in triggers(spec).iter().filter(|trigger| is_resource(trigger)) {
        let resource = trigger["type"].as_str().unwrap_or_default();
        let Some(pod) = seen.target else {
            return Err(format!("{}s.apps {workload:?} not found", kind.to_lowercase()));
        };
        let only = trigger["metadata"]["containerName"].as_str().filter(|name| !name.is_empty());
        if only.is_none() && states(&pod["resources"], resource) {
            continue;
        }
        let containers = pod["containers"].as_array().into_iter().flatten();
        for container in containers.filter(|container| only.is_none_or(|only| container["name"] == only)) {
            if !states(&container["resources"], resource) && !limited(seen.limit_ranges, resource) {
                let name = container["name"].as_str().unwrap_or_default();
                return Err(format!(
                    "the scaledobject has a {resource} trigger but the container {name} doesn't have the {resource} \
                     request defined"
                ));
            }
        }
    }
    let only_resources = triggers(spec).iter().all(is_resource);
    if only_resources && Bounds::read(spec).min.unwrap_or(0) <= 0 {
        let text =
            "scaledobject has only cpu/memory triggers AND minReplica is 0 (scale to zero doesn't work in this case)";
        return Err(text.to_owned());
    }
    Ok(())
}

fn positive(list: &Json, resource: &str) -> bool {
    let amount = list[resource].as_str().and_then(|text| text.parse::<Quantity>().ok());
    amount.is_some_and(Quantity::is_positive) || list[resource].as_f64().is_some_and(|amount| amount > 0.0)
}

fn states(resources: &Json, resource: &str) -> bool {
    ["requests", "limits"].iter().any(|list| positive(&resources[list], resource))
}

fn limited(ranges: &[Json], resource: &str) -> bool {
    let items = ranges.iter().flat_map(|range| range["spec"]["limits"].as_array().into_iter().flatten());
    items
        .filter(|item| item["type"] == "Container")
        .any(|item| ["default", "defaultRequest"].iter().any(|list| positive(&item[list], resource)))
}

/// Settings that do nothing.
pub fn warnings(spec: &Json) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    if spec["pollingInterval"].is_i64() && uses_hpa_observations(spec) {
        warnings.push(
            "PollingInterval is configured but is not relevant for scaling. It only affects scaling when \
             minReplicaCount = 0, idleReplicaCount is set, or useCachedMetrics is enabled, but it still controls how \
             often KEDA refreshes the ScaledObject status conditions and events",
        );
    }
    let bounds = Bounds::read(spec);
    if spec["cooldownPeriod"].is_i64() && bounds.min.unwrap_or(0) > 0 && bounds.idle.is_none() {
        warnings.push(
            "CooldownPeriod is configured but is not relevant. CooldownPeriod is only relevant when minReplicaCount = 0 \
             or idleReplicaCount is set",
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(spec: &Json) -> Json {
        json!({ "metadata": { "name": "so" }, "spec": spec })
    }

    #[test]
    fn bounds_must_be_in_order() {
        let error = |spec| check_bounds(&spec).expect_err("out of order");
        let text = error(json!({ "minReplicaCount": 10, "maxReplicaCount": 5 }));
        assert_eq!(text, "MinReplicaCount=10 must be less than MaxReplicaCount=5");
        let text = error(json!({ "idleReplicaCount": 0 }));
        assert_eq!(text, "IdleReplicaCount=0 must be less than MinReplicaCount=0");
        assert_eq!(check_bounds(&json!({ "idleReplicaCount": 0, "minReplicaCount": 1 })), Ok(()));
    }

    #[test]
    fn a_cpu_trigger_needs_a_request_of_every_container() {
        let spec = json!({
            "minReplicaCount": 1,
            "scaleTargetRef": { "name": "web" },
            "triggers": [{ "type": "cpu", "metricType": "Utilization", "metadata": { "value": "60" } }],
        });
        let pod =
            json!({ "containers": [{ "name": "app", "resources": { "limits": { "cpu": "1" } } }, { "name": "side" }] });
        let seen = Admission { target: Some(&pod), ..Admission::default() };
        let error = admit(&object(&spec), &seen).expect_err("no request");
        assert!(error.contains("the container side doesn't have the cpu request defined"), "{error}");
        let ranges = [json!({ "spec": { "limits": [{ "type": "Container", "defaultRequest": { "cpu": "100m" } }] } })];
        assert_eq!(admit(&object(&spec), &Admission { limit_ranges: &ranges, ..seen }), Ok(()));
    }

    #[test]
    fn another_owner_of_the_workload_is_named() {
        let spec = json!({ "scaleTargetRef": { "name": "web" }, "triggers": [{ "type": "cron" }] });
        let hpa = json!({ "metadata": { "name": "old" }, "spec": { "scaleTargetRef": { "name": "web" } } });
        let seen = Admission { hpas: std::slice::from_ref(&hpa), ..Admission::default() };
        let error = admit(&object(&spec), &seen).expect_err("managed");
        assert_eq!(error, "the workload 'web' of type 'apps/v1.Deployment' is already managed by the hpa 'old'");
    }
}
