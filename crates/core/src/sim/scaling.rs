//! Autoscalers of workloads: gathers what the brain wants to see, and does what it says.
//!
//! Deciding is `autoscale::hpa` and `autoscale::keda`, as on the local cluster.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    World,
    agenda::Happening,
    cluster::{Phase, Pod, Workload},
    fluid::date,
    monitoring::SYNC,
    sources::Sources,
    watched::Turn,
};
use crate::{
    autoscale::{
        hpa::{
            Behavior, Condition, Config, Container, ContainerUsage, Input, Metric, Observed, Pod as Seen, PodMetric,
            Scale, State, Status, Target, default_behavior, reconcile,
        },
        keda::{self, Cron, Observation, Reading, Replicas, Source, Trigger},
    },
    event::{ConditionSeen, Fact, MetricTarget},
    profile::{self, Profile, Scaling},
    render,
    timeline::rescale_reason,
};

/// A workload's autoscalers with what they remember.
#[derive(Debug)]
pub(super) struct Scaler {
    min: i32,
    max: i32,
    triggers: Vec<Trigger>,
    /// Entries of `spec.metrics`: the trigger, what people call it, its target.
    metrics: Vec<(usize, String, Target)>,
    behavior: Option<Behavior>,
    state: State,
    status: Status,
    /// The sync that was recorded last.
    told: Option<Fact>,
    keda: Keda,
}

/// The operator's part of it.
#[derive(Debug)]
struct Keda {
    /// `spec` of the `ScaledObject`.
    spec: Value,
    object: keda::Object,
    polling: Duration,
    health: keda::HealthByMetric,
    state: keda::State,
}

impl Keda {
    fn new(object: &Value, workload: &str) -> Self {
        let target = format!("apps/v1.Deployment {}/{workload}", render::DEMO_NAMESPACE);
        Self {
            spec: object["spec"].clone(),
            object: keda::Object::read(object, target),
            polling: Duration::from_secs(object["spec"]["pollingInterval"].as_u64().unwrap_or(30)),
            health: keda::HealthByMetric::new(),
            state: keda::State::default(),
        }
    }
}

/// A trigger that the forecast cannot evaluate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("trigger {index} of workload `{workload}` cannot be forecast: {why}")]
pub struct TriggerFailure {
    /// Workload.
    pub workload: String,
    /// Position among its triggers.
    pub index: usize,
    /// Why.
    pub why: String,
}

impl Scaler {
    fn new(
        workload: &profile::Workload,
        scaling: &Scaling,
        object: &Value,
        sources: &Sources<'_>,
    ) -> Result<Self, TriggerFailure> {
        let mut triggers = Vec::new();
        let listed = object["spec"]["triggers"].as_array().into_iter().flatten();
        for (index, trigger) in listed.enumerate() {
            let failed = |why: String| TriggerFailure { workload: workload.name.clone(), index, why };
            let trigger = Trigger::parse(index, trigger).map_err(|error| failed(error.to_string()))?;
            sources.check(&trigger).map_err(failed)?;
            triggers.push(trigger);
        }
        let failed = |why: String| TriggerFailure { workload: workload.name.clone(), index: 0, why };
        let (_, hpa) = keda::hpa(object, &triggers).map_err(failed)?;
        let spec = &hpa["spec"];
        let metric = |metric: &Value| {
            let index = triggers.iter().position(|trigger| trigger.metric_spec(&workload.name) == *metric)?;
            Some((index, scaling.triggers.get(index)?.label().into_owned(), Target::read(&triggers[index].target())))
        };
        let metrics = spec["metrics"].as_array().into_iter().flatten().filter_map(metric).collect();
        Ok(Self {
            min: scaling.min as i32,
            max: scaling.max as i32,
            metrics,
            triggers,
            behavior: Behavior::read(&spec["behavior"]).map(|behavior| default_behavior(&behavior)),
            state: State::default(),
            status: Status::default(),
            told: None,
            keda: Keda::new(object, &workload.name),
        })
    }

    /// Whether it looks at what pods use.
    pub(super) fn asks_for_use(&self) -> bool {
        self.triggers.iter().any(|trigger| matches!(trigger.source, Source::Resource { .. }))
    }

    /// Its cron triggers.
    pub(super) fn crons(&self) -> impl Iterator<Item = &Cron> {
        self.triggers
            .iter()
            .filter_map(|trigger| if let Source::Cron(cron) = &trigger.source { Some(cron) } else { None })
    }

    /// What it is asked to do, as an observer of its object records it.
    fn specification(&self, workload: &str) -> Fact {
        let metric = |(index, name, target): &(usize, String, Target)| MetricTarget {
            name: name.clone(),
            resource: matches!(self.triggers[*index].source, Source::Resource { .. }),
            target: target.clone(),
        };
        Fact::Autoscaler {
            workload: workload.to_owned(),
            min: self.min.max(1),
            max: self.max,
            behavior: self.behavior.clone(),
            metrics: self.metrics.iter().map(metric).collect(),
        }
    }

    /// What it saw and decided at its last sync.
    fn last_sync(&self, workload: &str) -> Fact {
        let status = &self.status;
        let seen = |condition: &Condition| ConditionSeen {
            kind: condition.kind.to_owned(),
            status: condition.status,
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        };
        Fact::Sync {
            workload: workload.to_owned(),
            replicas: status.current_replicas,
            desired: status.desired_replicas,
            metrics: status.current_metrics.clone(),
            conditions: status.conditions.iter().map(seen).collect(),
        }
    }

    /// Its last sync, unless that was recorded.
    fn news(&mut self, workload: &str) -> Option<Fact> {
        let sync = self.last_sync(workload);
        let is_new = !self.status.conditions.is_empty() && self.told.as_ref() != Some(&sync);
        is_new.then(|| {
            self.told = Some(sync.clone());
            sync
        })
    }
}

/// Gives their autoscalers to those workloads that have them.
pub(super) fn attach(workloads: &mut [Workload], profile: &Profile, flows: bool) -> Result<(), TriggerFailure> {
    let sources = Sources { profile, flows };
    let parts = render::parts(profile, "forecast");
    let objects: Vec<&Value> =
        parts.iter().flat_map(|part| &part.manifests).filter(|o| o["kind"] == "ScaledObject").collect();
    for workload in workloads {
        let Some(settings) = workload.index.map(|index| &profile.workloads[index]) else { continue };
        let object = objects.iter().find(|object| object["metadata"]["name"] == settings.name);
        if let (Some(scaling), Some(object)) = (&settings.scaling, object) {
            workload.scaler = Some(Box::new(Scaler::new(settings, scaling, object, &sources)?));
        }
    }
    Ok(())
}

impl World<'_> {
    /// One round of the horizontal pod autoscaler over all workloads.
    pub(super) fn sync(&mut self) {
        for workload in self.scaled.clone() {
            let Some(mut scaler) = self.workloads[workload].scaler.take() else { continue };
            self.sync_one(workload, &mut scaler);
            self.workloads[workload].scaler = Some(scaler);
        }
        self.agenda.plan(self.now + self.real(SYNC), Happening::Sync);
    }

    /// Records what the autoscalers are asked to do, and their last sync.
    pub(super) fn tell_autoscalers(&mut self) {
        for workload in self.scaled.clone() {
            let name = self.workloads[workload].name.clone();
            let Some(scaler) = &mut self.workloads[workload].scaler else { continue };
            let facts = [Some(scaler.specification(&name)), scaler.news(&name)];
            facts.into_iter().flatten().for_each(|fact| self.tell(fact));
        }
    }

    fn sync_one(&mut self, workload: usize, scaler: &mut Scaler) {
        // Only use is compared pod by pod.
        let seen = if scaler.asks_for_use() { &self.workloads[workload].pods[..] } else { &[] };
        let pods: Vec<Seen> = seen.iter().map(|pod| self.seen_pod(*pod)).collect();
        let mut metrics = Vec::with_capacity(scaler.metrics.len());
        for (index, _, target) in &scaler.metrics {
            metrics.push(self.observe(workload, &scaler.triggers[*index], target));
        }
        let entry = &self.workloads[workload];
        let reference = format!("Deployment/{}/{}", render::DEMO_NAMESPACE, entry.name);
        let existing = self.active(workload).count() as i32;
        let input = Input {
            namespace: render::DEMO_NAMESPACE,
            reference: &reference,
            min_replicas: Some(scaler.min.max(1)),
            max_replicas: scaler.max,
            behavior: scaler.behavior.as_ref(),
            metrics: &metrics,
            pods: &pods,
            scale: Ok(Scale { spec_replicas: entry.wanted, status_replicas: existing, selector: Ok(()) }),
            scale_update_error: None,
        };
        let now_s = self.profile_s();
        let outcome = reconcile(&Config::default(), &input, &scaler.status, &mut scaler.state, now_s);
        if self.is_watched() {
            let answers = scaler.metrics.iter().zip(&metrics).filter_map(|((index, ..), (_, observed))| {
                let value = observed.values_milli.first().copied();
                let answer = observed.error.clone().map_or_else(|| value.map(Ok), |error| Some(Err(error)));
                Some((scaler.triggers[*index].metric_name()?, answer?))
            });
            let (workload, current) = (entry.name.clone(), entry.wanted);
            let (answers, usage) = (answers.collect(), self.usage());
            let (to, status) = (outcome.scale_to, outcome.status.clone());
            self.watch(Turn::Sync { workload, current, existing, answers, usage, to, status });
        }
        scaler.status = outcome.status;
        // Days are not explained sync by sync.
        if self.origin.is_some() && !self.flows {
            let name = self.workloads[workload].name.clone();
            scaler.news(&name).into_iter().for_each(|fact| self.tell(fact));
        }
        if let Some(to) = outcome.scale_to {
            let rescaled = outcome.events.iter().find(|event| event.reason == "SuccessfulRescale");
            let words = rescaled.and_then(|event| Some(event.message.split_once("reason: ")?.1)).unwrap_or_default();
            let name = &self.workloads[workload].name;
            let reason = rescale_reason(&scaler.specification(name), &scaler.last_sync(name));
            self.scale(workload, to, reason.unwrap_or_else(|| words.to_owned()), "HPA");
        }
        for event in outcome.events.iter().filter(|event| event.warning) {
            let name = format!("keda-hpa-{}", self.workloads[workload].name);
            if self.warned.insert((name.clone(), event.message.clone())) {
                self.note("HorizontalPodAutoscaler", &name, event.reason, &event.message, "Warning");
            }
        }
    }

    fn seen_pod(&self, pod: u32) -> Seen {
        let pod: &Pod = &self.pods[pod as usize];
        let first = pod.object.containers.first();
        let requests = first.map(|container| {
            let cpu = container.cpu_milli.map(|cpu| ("cpu".to_owned(), cpu));
            let memory = container.memory_bytes.map(|bytes| ("memory".to_owned(), bytes * 1000));
            cpu.into_iter().chain(memory).collect()
        });
        let at = |at| at as f64 / 1e9 * self.speed;
        Seen {
            name: pod.object.name.clone(),
            labels: BTreeMap::new(),
            deleted: pod.deleting,
            phase: if pod.phase == Phase::Running { "Running" } else { "Pending" }.to_owned(),
            start_time_s: pod.node.is_some().then(|| at(pod.bound)),
            ready: Some(if pod.ready { "True" } else { "False" }.to_owned()),
            ready_last_transition_s: Some(at(pod.ready_since)),
            containers: vec![Container { name: "app".to_owned(), requests_milli: requests.unwrap_or_default() }],
            init_containers: Vec::new(),
        }
    }

    /// A trigger as a metric of the autoscaler, with what its source answers now.
    fn observe(&mut self, workload: usize, trigger: &Trigger, target: &Target) -> (Metric, Observed) {
        let now_s = self.profile_s();
        if let Source::Resource { name, .. } = &trigger.source {
            let usages = self.workloads[workload].pods.iter().filter_map(|pod| {
                let usage = self.monitoring.usage.get(pod)?;
                let usage_milli = if name == "cpu" { usage.cpu_milli } else { usage.memory * 1000 };
                Some(PodMetric {
                    pod: self.pods[*pod as usize].object.name.clone(),
                    timestamp_s: usage.at as f64 / 1e9 * self.speed,
                    window_s: SYNC.as_secs_f64(),
                    value_milli: None,
                    containers: vec![ContainerUsage { name: "app".to_owned(), usage_milli: Some(usage_milli) }],
                })
            });
            let observed = Observed { pod_metrics: usages.collect(), timestamp_s: now_s, ..Observed::default() };
            return (Metric::Resource { resource: name.clone(), container: None, target: target.clone() }, observed);
        }
        let observed = match self.read(trigger) {
            Ok(value) => {
                Observed { values_milli: vec![value.quantity.milli()], timestamp_s: now_s, ..Observed::default() }
            }
            Err(error) => Observed { error: Some(error), ..Observed::default() },
        };
        let name = trigger.metric_name().unwrap_or_default();
        (Metric::External { name, selector: None, target: target.clone() }, observed)
    }

    /// The value that a trigger has now.
    fn read(&mut self, trigger: &Trigger) -> Result<keda::TriggerValue, String> {
        let number = match &trigger.source {
            Source::Prometheus(prometheus) => self.query(&prometheus.query)?,
            Source::Redis(redis) => {
                if !self.store_is_up() {
                    return Err(format!("redis {} does not answer", redis.address()));
                }
                if redis.list_name == self.list { self.store.length() } else { 0.0 }
            }
            Source::Resource { name, .. } => return Err(format!("{name} is read by the autoscaler itself")),
            Source::Cron(cron) => {
                if cron.is_active(date(self.at_s()))? {
                    cron.desired_replicas as f64
                } else {
                    0.0
                }
            }
        };
        Ok(trigger.value(number))
    }

    /// KEDA looks whether a workload is to wake or to sleep.
    pub(super) fn poll(&mut self, workload: usize) {
        let Some(mut scaler) = self.workloads[workload].scaler.take() else { return };
        let mut readings = Vec::new();
        for trigger in &scaler.triggers {
            let Some(metric) = trigger.metric_name() else { continue };
            let outcome = self.read(trigger).map(|value| (vec![(metric.clone(), value.quantity)], value.active));
            readings.push(Reading { metric, outcome, fallback_active: None, target: trigger.target() });
        }
        let current = self.workloads[workload].wanted;
        let ready = self.active(workload).filter(|pod| self.pods[*pod as usize].ready).count() as i64;
        let keda = &mut scaler.keda;
        let replicas = Replicas { current: current.into(), ready };
        let before = self.is_watched().then(|| readings.clone());
        let judged = keda::judge(&keda.spec, readings, &mut keda.health, replicas);
        let seen = Observation {
            current,
            active: judged.active,
            error: judged.error,
            active_triggers: judged.active_triggers,
            age_s: self.profile_s(),
            ..Observation::default()
        };
        let pass = keda::execute(&keda.object, &seen, &mut keda.state, self.profile_s());
        let period = keda.polling;
        self.workloads[workload].scaler = Some(scaler);
        if let Some(readings) = before {
            let workload = self.workloads[workload].name.clone();
            self.watch(Turn::Poll { workload, current, ready, readings, to: pass.scale_to });
        }
        if let Some(to) = pass.scale_to {
            let reason = pass.events.first().map_or_else(String::new, |event| event.message.clone());
            self.scale(workload, to, reason, "KEDA");
        }
        self.agenda.plan(self.now + self.real(period), Happening::Poll { workload: workload as u32 });
    }
}
