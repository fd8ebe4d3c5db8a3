//! Horizontal pod autoscalers: gathers what the brain wants to see, and does what it says.
//!
//! The algorithm is `democtl_core::autoscale::hpa`; syncs come every 15 s of profile time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use democtl_core::{
    autoscale::{
        hpa::{
            Behavior, Condition, Config, Container, ContainerUsage, Described, InitContainer, Input, Metric, Observed,
            Outcome, Pod, PodMetric, Scale, State, Status, Target, reconcile,
        },
        keda,
    },
    units,
};
use serde_json::{Value, json};

use super::{
    Context,
    adapter::Adapter,
    object::{find, int, is_deleting, items, name, namespace, now, seconds_since, text, uid, write_status},
    scaled_object,
};
use crate::{
    api::{
        LabelSelector, Resource, Status as ApiStatus,
        resources::{DEPLOYMENTS, HPAS, PODS, REPLICASETS},
    },
    runtime::metrics::PodUsage,
};

/// The controller manager's `--horizontal-pod-autoscaler-sync-period`.
const SYNC: Duration = Duration::from_secs(15);
const COMPONENT: &str = "horizontal-pod-autoscaler";

pub(super) async fn run(context: Context) {
    let mut controller = Controller {
        adapter: Adapter::new(&context),
        context: Context { client: context.client.as_manager("kube-controller-manager"), ..context },
        states: BTreeMap::new(),
    };
    let mut ticks = controller.context.clock.interval(SYNC);
    loop {
        ticks.tick().await;
        let hpas = controller.context.client.list(&HPAS, "").0;
        let alive: BTreeSet<&str> = hpas.iter().map(|hpa| uid(hpa)).collect();
        controller.states.retain(|uid, _| alive.contains(uid.as_str()));
        for hpa in hpas.iter().filter(|hpa| !is_deleting(hpa)) {
            if let Err(status) = controller.sync(hpa).await
                && !status.is_conflict()
                && !status.is_not_found()
            {
                tracing::warn!(%status, hpa = name(hpa), "horizontal autoscaler");
            }
        }
    }
}

struct Controller {
    context: Context,
    adapter: Adapter,
    states: BTreeMap<String, (State, Status)>,
}

impl Controller {
    async fn sync(&mut self, hpa: &Value) -> Result<(), ApiStatus> {
        let client = self.context.client.clone();
        let space = namespace(hpa);
        let target = &hpa["spec"]["scaleTargetRef"];
        let (kind, target_name) = (text(target, "/kind"), text(target, "/name"));
        let resource: Option<&Resource> = match kind {
            "Deployment" => Some(&DEPLOYMENTS),
            "ReplicaSet" => Some(&REPLICASETS),
            _ => None,
        };
        let workload = match resource {
            Some(resource) => find(&client, resource, space, target_name)?,
            None => None,
        };
        let pods = workload.as_ref().map(|workload| self.pods(workload)).unwrap_or_default();
        let replicas = workload.as_ref().map(|workload| scaled_object::replicas(workload)).unwrap_or_default();
        let mut metrics = Vec::new();
        for spec in items(hpa, "/spec/metrics") {
            let metric = read_metric(spec);
            let observed = self.observe(space, spec, &metric, &pods, replicas).await;
            metrics.push((metric, observed));
        }
        let seen = Seen { hpa, workload: workload.as_deref(), pods: &pods, metrics: &metrics };
        let now_s = self.context.clock.now().as_secs_f64();
        let known = self.states.entry(uid(hpa).to_owned()).or_default();
        let (remembered, before) = (known.0.clone(), known.1.clone());
        let mut outcome = seen.decide(known, None, now_s);
        if let (Some(replicas), Some(resource)) = (outcome.scale_to, resource) {
            let patch = json!({ "spec": { "replicas": replicas } });
            if let Err(status) = client.merge_patch(resource, space, target_name, Some("scale"), &patch) {
                // Told again with the failure, from what was remembered before.
                *known = (remembered, before);
                outcome = seen.decide(known, Some(&status.to_string()), now_s);
            }
        }
        for event in &outcome.events {
            let kind = if event.warning { "Warning" } else { "Normal" };
            client.record_event(hpa, kind, event.reason, &event.message, COMPONENT);
        }
        write_status(&client, &HPAS, hpa, &render_status(hpa, &outcome))
    }

    fn pods(&self, workload: &Value) -> Vec<Pod> {
        let selector = LabelSelector::from_value(&workload["spec"]["selector"]);
        let pods = self.context.client.list_selected(&PODS, namespace(workload), &selector).0;
        let (now_s, speed) = (self.context.clock.now().as_secs_f64(), self.context.clock.speed());
        let at = |time: &str| seconds_since(time).map(|age| now_s - age * speed);
        pods.iter().map(|pod| read_pod(pod, at)).collect()
    }

    /// What the source of a metric of the specification answers.
    async fn observe(
        &self,
        space: &str,
        spec: &Value,
        metric: &Metric,
        pods: &[Pod],
        replicas: keda::Replicas,
    ) -> Observed {
        let (now_s, speed) = (self.context.clock.now().as_secs_f64(), self.context.clock.speed());
        match metric {
            Metric::Resource { resource, .. } => {
                let usages = self.context.metrics.pods(Some(space));
                let at = |usage: &PodUsage| now_s - (chrono::Utc::now() - usage.at).as_seconds_f64() * speed;
                usage(&usages, resource, pods, now_s, at)
            }
            Metric::External { name, .. } => {
                let selector = LabelSelector::from_value(&spec["external"]["metric"]["selector"]);
                let answer = self.adapter.read(space, name, &selector, replicas).await;
                external(answer, self.context.clock.now().as_secs_f64())
            }
            // No adapter serves the custom metrics API here.
            Metric::Pods { .. } | Metric::Object { .. } => no_custom_metrics(),
            Metric::Unknown(_) => Observed::default(),
        }
    }
}

/// All that one sync looks at.
pub(super) struct Seen<'a> {
    pub(super) hpa: &'a Value,
    pub(super) workload: Option<&'a Value>,
    pub(super) pods: &'a [Pod],
    pub(super) metrics: &'a [(Metric, Observed)],
}

impl Seen<'_> {
    /// Decides, by what is known from the sync before.
    pub(super) fn decide(&self, known: &mut (State, Status), scale_update_error: Option<&str>, now_s: f64) -> Outcome {
        let Self { hpa, workload, pods, metrics } = *self;
        let target = &hpa["spec"]["scaleTargetRef"];
        let (kind, target_name) = (text(target, "/kind"), text(target, "/name"));
        let (reference, behavior) =
            (format!("{kind}/{}/{target_name}", namespace(hpa)), Behavior::read(&hpa["spec"]["behavior"]));
        let missing = || format!("{}s.apps \"{target_name}\" not found", kind.to_lowercase());
        let input = Input {
            namespace: namespace(hpa),
            reference: &reference,
            min_replicas: int(hpa, "/spec/minReplicas"),
            max_replicas: int(hpa, "/spec/maxReplicas").unwrap_or(1),
            behavior: behavior.as_ref(),
            metrics,
            pods,
            scale: workload.map(scale).ok_or_else(missing),
            scale_update_error,
        };
        let (state, status) = known;
        let outcome = reconcile(&Config::default(), &input, status, state, now_s);
        *status = outcome.status.clone();
        outcome
    }
}

/// A metric of the specification.
pub(super) fn read_metric(spec: &Value) -> Metric {
    let kind = text(spec, "/type");
    let part = |key: &str| (&spec[key], Target::read(&spec[key]["target"]));
    match kind {
        "Resource" => {
            let (part, target) = part("resource");
            Metric::Resource { resource: text(part, "/name").to_owned(), container: None, target }
        }
        "ContainerResource" => {
            let (part, target) = part("containerResource");
            let container = Some(text(part, "/container").to_owned());
            Metric::Resource { resource: text(part, "/name").to_owned(), container, target }
        }
        "External" => {
            let (part, target) = part("external");
            let labels = part["metric"]["selector"]["matchLabels"].as_object();
            let selector = labels.map(|labels| {
                labels.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect()
            });
            Metric::External { name: text(part, "/metric/name").to_owned(), selector, target }
        }
        "Pods" => {
            let (part, target) = part("pods");
            Metric::Pods { name: text(part, "/metric/name").to_owned(), target }
        }
        "Object" => {
            let (part, target) = part("object");
            let described = Described {
                kind: text(part, "/describedObject/kind").to_owned(),
                name: text(part, "/describedObject/name").to_owned(),
            };
            Metric::Object { name: text(part, "/metric/name").to_owned(), described, target }
        }
        other => Metric::Unknown(other.to_owned()),
    }
}

/// What metrics-server tells of the pods; `at` is the profile time of a sample.
pub(super) fn usage(
    usages: &[PodUsage],
    resource: &str,
    pods: &[Pod],
    now_s: f64,
    at: impl Fn(&PodUsage) -> f64,
) -> Observed {
    let pod_metrics = usages.iter().filter(|usage| pods.iter().any(|pod| pod.name == usage.name)).map(|usage| {
        let containers = usage.containers.iter().map(|container| ContainerUsage {
            name: container.name.clone(),
            usage_milli: match resource {
                "cpu" => Some(container.cpu.0),
                "memory" => Some(container.memory.0 * 1000),
                _ => None,
            },
        });
        PodMetric {
            pod: usage.name.clone(),
            timestamp_s: at(usage),
            window_s: SYNC.as_secs_f64(),
            value_milli: None,
            containers: containers.collect(),
        }
    });
    Observed { pod_metrics: pod_metrics.collect(), timestamp_s: now_s, ..Observed::default() }
}

/// What KEDA's metrics adapter answers.
pub(super) fn external(answer: Result<Vec<keda::Metric>, String>, now_s: f64) -> Observed {
    match answer {
        Ok(metrics) => Observed {
            values_milli: metrics.iter().map(|(_, quantity)| quantity.milli()).collect(),
            timestamp_s: now_s,
            ..Observed::default()
        },
        Err(error) => Observed { error: Some(error), ..Observed::default() },
    }
}

fn no_custom_metrics() -> Observed {
    let error = "unable to fetch metrics from custom metrics API: the server could not find the requested resource";
    Observed { error: Some(error.to_owned()), ..Observed::default() }
}

fn scale(workload: &Value) -> Scale {
    let empty = workload["spec"]["selector"].as_object().is_none_or(serde_json::Map::is_empty);
    Scale {
        spec_replicas: int(workload, "/spec/replicas").unwrap_or(1),
        status_replicas: int(workload, "/status/replicas").unwrap_or(0),
        selector: if empty { Err(("SelectorRequired", "selector is required".to_owned())) } else { Ok(()) },
    }
}

/// `at` is the profile time of a time of the API: those are wall-clock seconds, and their ages are stretched.
pub(super) fn read_pod(pod: &Value, at: impl Fn(&str) -> Option<f64>) -> Pod {
    let ready = items(pod, "/status/conditions").find(|condition| condition["type"] == "Ready");
    let requests = |container: &Value| -> BTreeMap<String, i64> {
        let list = container.pointer("/resources/requests").and_then(Value::as_object);
        let read = |(name, quantity): (&String, &Value)| {
            let text = quantity.as_str().map_or_else(|| quantity.to_string(), ToOwned::to_owned);
            let milli = match name.as_str() {
                "cpu" => units::Millicores::parse(&text).ok()?.0,
                _ => units::Bytes::parse(&text).ok()?.0 * 1000,
            };
            Some((name.clone(), milli))
        };
        list.into_iter().flatten().filter_map(read).collect()
    };
    Pod {
        name: name(pod).to_owned(),
        labels: BTreeMap::new(),
        deleted: is_deleting(pod),
        phase: text(pod, "/status/phase").to_owned(),
        start_time_s: at(text(pod, "/status/startTime")),
        ready: ready.map(|condition| text(condition, "/status").to_owned()),
        ready_last_transition_s: ready.and_then(|condition| at(text(condition, "/lastTransitionTime"))),
        containers: items(pod, "/spec/containers")
            .map(|c| Container { name: text(c, "/name").to_owned(), requests_milli: requests(c) })
            .collect(),
        init_containers: items(pod, "/spec/initContainers")
            .map(|c| InitContainer {
                name: text(c, "/name").to_owned(),
                restart_policy: c["restartPolicy"].as_str().map(ToOwned::to_owned),
                requests_milli: requests(c),
            })
            .collect(),
    }
}

fn render_status(hpa: &Value, outcome: &Outcome) -> Value {
    let before = &hpa["status"]["conditions"];
    let conditions: Vec<Value> =
        outcome.status.conditions.iter().map(|condition| render_condition(condition, before)).collect();
    let metrics: Vec<Value> = items(hpa, "/spec/metrics")
        .zip(&outcome.status.current_metrics)
        .map(|(spec, current)| {
            let Some(current) = current else { return json!({ "type": "" }) };
            let kind = text(spec, "/type");
            let key = format!("{}{}", kind[..1].to_lowercase(), &kind[1..]);
            let mut part = spec[&key].clone();
            if let Some(part) = part.as_object_mut() {
                part.shift_remove("target");
            }
            let mut figures = json!({});
            if let Some(percent) = current.average_utilization_percent {
                figures["averageUtilization"] = json!(percent);
            }
            for (name, value) in [("averageValue", current.average_value_milli), ("value", current.value_milli)] {
                if let Some(value) = value {
                    figures[name] = json!(keda::Quantity::from_milli(value).to_string());
                }
            }
            part["current"] = figures;
            json!({ "type": kind, key: part })
        })
        .collect();
    let mut status = json!({
        "currentReplicas": outcome.status.current_replicas,
        "desiredReplicas": outcome.status.desired_replicas,
        "currentMetrics": metrics,
        "conditions": conditions,
    });
    if outcome.scale_to.is_some() && outcome.error.is_none() {
        status["lastScaleTime"] = json!(now());
    } else if let Some(time) = hpa["status"].get("lastScaleTime") {
        status["lastScaleTime"] = time.clone();
    }
    status
}

fn render_condition(condition: &Condition, before: &Value) -> Value {
    let status = if condition.status { "True" } else { "False" };
    let old =
        before.as_array().into_iter().flatten().find(|old| old["type"] == condition.kind && old["status"] == status);
    let since = old.map_or_else(|| json!(now()), |old| old["lastTransitionTime"].clone());
    json!({
        "type": condition.kind,
        "status": status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": since,
    })
}
