//! `ScaledObjects`: makes their HPAs, wakes targets at zero and puts them to sleep, as KEDA's operator does.
//!
//! What is decided is `democtl_core::autoscale::keda`; each object is polled at its own interval, in profile time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use democtl_core::autoscale::keda::{self, Annotations, Observation, Reading, Replicas, State, Trigger, TriggerState};
use serde_json::{Value, json};

use super::{
    Context,
    object::{
        condition_is_true, find, int, is_deleting, items, name, namespace, owner_reference, seconds_since,
        set_condition, text, uid, write_status,
    },
    records::Outcome,
    triggers::Readers,
};
use crate::api::{
    Client, Status,
    resources::{DEPLOYMENTS, HPAS, SCALEDOBJECTS},
};

const COMPONENT: &str = "keda-operator";
/// How often it is looked which object's time has come, profile time.
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn run(context: Context) {
    let mut operator = Operator {
        readers: Readers::new(context.directory.clone()),
        context: Context { client: context.client.as_manager("keda"), ..context },
        known: BTreeMap::new(),
    };
    let mut ticks = operator.context.clock.interval(TICK);
    loop {
        ticks.tick().await;
        let objects = operator.context.client.list(&SCALEDOBJECTS, "").0;
        let alive = |known: &str| objects.iter().any(|object| uid(object) == known);
        operator.known.retain(|known, _| alive(known));
        operator.context.records.retain(alive);
        for object in objects.iter().filter(|object| !is_deleting(object)) {
            if let Err(status) = operator.visit(object).await
                && !status.is_conflict()
                && !status.is_not_found()
            {
                tracing::warn!(%status, object = name(object), "scaled object");
            }
        }
    }
}

#[derive(Default)]
struct Known {
    generation: i64,
    annotations: Value,
    next_poll: Duration,
    state: State,
}

struct Operator {
    context: Context,
    readers: Readers,
    known: BTreeMap<String, Known>,
}

impl Operator {
    async fn visit(&mut self, object: &Arc<Value>) -> Result<(), Status> {
        let now = self.context.clock.now();
        let known = self.known.entry(uid(object).to_owned()).or_default();
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
        let changed = known.generation != generation || known.annotations != object["metadata"]["annotations"];
        if !changed && now < known.next_poll {
            return Ok(());
        }
        let client = self.context.client.clone();
        let triggers: Result<Vec<Trigger>, _> = items(object, "/spec/triggers")
            .enumerate()
            .map(|(index, trigger)| Trigger::parse(index, trigger))
            .collect();
        let triggers = match triggers {
            Ok(triggers) => triggers,
            Err(error) => return check_failed(&client, object, &error.to_string()),
        };
        let workload = text(object, "/spec/scaleTargetRef/name");
        let Some(target) = find(&client, &DEPLOYMENTS, namespace(object), workload)? else {
            return check_failed(&client, object, &format!("deployments.apps \"{workload}\" not found"));
        };
        if let Err(error) = admit(&client, object, &target) {
            return check_failed(&client, object, &error);
        }
        let annotations = Annotations::read(object);
        let wanted = match (keda::hpa(object, &triggers), &annotations.paused_replicas) {
            (Err(error), _) => return check_failed(&client, object, &error),
            (_, Some(Err(error))) => return check_failed(&client, object, error),
            (Ok(wanted), _) => wanted,
        };
        if annotations.paused {
            pause(&client, object, &target, &wanted.0, &annotations)?;
        } else {
            ensure_hpa(&client, object, wanted)?;
        }
        let interval = object["spec"]["pollingInterval"].as_u64().unwrap_or(30);
        let known = self.known.entry(uid(object).to_owned()).or_default();
        known.generation = generation;
        known.annotations = object["metadata"]["annotations"].clone();
        known.next_poll = now + Duration::from_secs(interval);
        let observation = self.observe(object, &target, &triggers).await?;
        self.decide(object, &target, &triggers, &observation)
    }

    async fn observe(&self, object: &Value, target: &Value, triggers: &[Trigger]) -> Result<Observation, Status> {
        let (spec, records) = (&object["spec"], &self.context.records);
        let hpa = find(&self.context.client, &HPAS, namespace(object), &keda::hpa_name(object))?;
        let scales = hpa.as_ref().is_some_and(|hpa| condition_is_true(hpa, "ScalingActive"));
        let observed = scales && keda::uses_hpa_observations(spec);
        let mut readings = Vec::new();
        for trigger in triggers {
            let Some(metric) = trigger.metric_name() else { continue };
            let record = if observed { records.by_hpa(object, &metric) } else { None };
            let (outcome, fallback_active) = match record {
                Some((outcome, fallback_active)) => (outcome, Some(fallback_active)),
                None => (self.read(object, trigger, &metric).await, None),
            };
            if spec["triggers"][trigger.index]["useCachedMetrics"] == true {
                records.store_by_loop(object, &metric, outcome.clone());
            }
            readings.push(Reading { metric, outcome, fallback_active, target: trigger.target() });
        }
        let judged = records.with_health(object, |health| keda::judge(spec, readings, health, replicas(target)));
        let age = seconds_since(text(object, "/metadata/creationTimestamp")).unwrap_or(0.0);
        Ok(observation(target, judged, age * self.context.clock.speed(), hpa.as_deref()))
    }

    /// As KEDA does, a failed read is tried once more.
    async fn read(&self, object: &Value, trigger: &Trigger, metric: &str) -> Outcome {
        let mut reading = self.readers.read(trigger, namespace(object)).await;
        if reading.is_err() {
            reading = self.readers.read(trigger, namespace(object)).await;
        }
        if let Err(error) = &reading {
            self.context.client.record_event(object, "Warning", "KEDAScalerFailed", error, COMPONENT);
        }
        reading.map(|value| (vec![(metric.to_owned(), value.quantity)], value.active))
    }

    fn decide(
        &mut self,
        object: &Arc<Value>,
        target: &Value,
        triggers: &[Trigger],
        seen: &Observation,
    ) -> Result<(), Status> {
        let client = self.context.client.clone();
        let spec = read(object, target);
        let now_s = self.context.clock.now().as_secs_f64();
        let known = self.known.entry(uid(object).to_owned()).or_default();
        let remembered = known.state;
        let mut pass = keda::execute(&spec, seen, &mut known.state, now_s);
        if let Some(replicas) = pass.scale_to {
            let patch = json!({ "spec": { "replicas": replicas } });
            let written = client.merge_patch(&DEPLOYMENTS, namespace(object), name(target), Some("scale"), &patch);
            if let Err(status) = written {
                known.state = remembered;
                let failed = Observation { scale_error: Some(status.to_string()), ..seen.clone() };
                pass = keda::execute(&spec, &failed, &mut known.state, now_s);
            }
        }
        let touched = pass.touched;
        for event in &pass.events {
            let kind = if event.warning { "Warning" } else { "Normal" };
            client.record_event(object, kind, event.reason, &event.message, COMPONENT);
        }
        let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_else(first_conditions);
        if !conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True") {
            let message = "ScaledObject is ready for scaling";
            client.record_event(object, "Normal", "ScaledObjectReady", message, COMPONENT);
        }
        let (external, resource) = keda::metric_names(triggers);
        let health = self.context.records.with_health(object, |health| {
            keda::prune_health(health, &external);
            health.clone()
        });
        let fallback = keda::fallback_condition(keda::Fallback::read(&object["spec"]).as_ref(), &health);
        for condition in pass.conditions.iter().chain(&fallback) {
            put_condition(&mut conditions, condition.kind, condition.status, &condition.reason, &condition.message);
        }
        let mut status = object["status"].clone();
        if !status.is_object() {
            status = json!({});
        }
        let activity = keda::triggers_activity(&BTreeMap::new(), &external, &seen.active_triggers, None);
        let activity: Value =
            activity.into_iter().map(|(metric, active)| (metric, json!({ "isActive": active }))).collect();
        status["conditions"] = json!(conditions);
        status["externalMetricNames"] = json!(external);
        status["resourceMetricNames"] = json!(resource);
        status["triggersActivity"] = activity;
        status["health"] = keda::write_health(&health);
        status["hpaName"] = json!(keda::hpa_name(object));
        status["scaleTargetKind"] = json!("apps/v1.Deployment");
        status["originalReplicaCount"] =
            status.get("originalReplicaCount").cloned().unwrap_or_else(|| json!(seen.current));
        // Written at most once a minute while active: a status that changes at each poll would wake every watcher.
        let last = status["lastActiveTime"].as_str().and_then(seconds_since);
        if touched && last.is_none_or(|age| age > 60.0 / self.context.clock.speed()) {
            status["lastActiveTime"] = json!(super::object::now());
        }
        write_status(&client, &SCALEDOBJECTS, object, &status)
    }
}

fn first_conditions() -> Vec<Value> {
    ["Ready", "Active", "Fallback"]
        .into_iter()
        .map(|kind| json!({ "type": kind, "status": "Unknown" }))
        .chain([json!({ "type": "Paused", "status": "False" })])
        .collect()
}

/// KEDA's conditions carry no transition time.
fn put_condition(conditions: &mut Vec<Value>, kind: &str, status: &str, reason: &str, message: &str) {
    set_condition(conditions, kind, status, reason, message);
    for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
        condition.shift_remove("lastTransitionTime");
    }
}

fn check_failed(client: &Client, object: &Value, error: &str) -> Result<(), Status> {
    let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_else(first_conditions);
    put_condition(&mut conditions, "Ready", "False", "ScaledObjectCheckFailed", error);
    put_condition(&mut conditions, "Active", "Unknown", "UnknownState", "ScaledObject check failed");
    client.record_event(object, "Warning", "ScaledObjectCheckFailed", error, COMPONENT);
    let mut status = object["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    status["conditions"] = json!(conditions);
    write_status(client, &SCALEDOBJECTS, object, &status)
}

/// What a pass of the decision sees.
pub(super) fn observation(target: &Value, judged: TriggerState, age_s: f64, hpa: Option<&Value>) -> Observation {
    Observation {
        current: int(target, "/spec/replicas").unwrap_or(1),
        active: judged.active,
        error: judged.error,
        active_triggers: judged.active_triggers,
        age_s,
        scale_error: None,
        hpa_conditions: hpa.map(|hpa| hpa["status"]["conditions"].clone()),
    }
}

/// The parts of an object that decide over its target.
pub(super) fn read(object: &Value, target: &Value) -> keda::Object {
    keda::Object::read(object, format!("apps/v1.Deployment {}/{}", namespace(object), name(target)))
}

/// What the target has, as far as fallbacks care.
pub(super) fn replicas(target: &Value) -> Replicas {
    Replicas {
        current: int(target, "/spec/replicas").unwrap_or(1).into(),
        ready: int(target, "/status/readyReplicas").unwrap_or(0).into(),
    }
}

/// The checks of KEDA's admission webhook, against what there is now.
fn admit(client: &Client, object: &Value, target: &Value) -> Result<(), String> {
    let plain = |objects: Vec<Arc<Value>>| objects.iter().map(|object| (**object).clone()).collect::<Vec<Value>>();
    let space = namespace(object);
    let (hpas, others) = (plain(client.list(&HPAS, space).0), plain(client.list(&SCALEDOBJECTS, space).0));
    let seen = keda::Admission {
        target: target.pointer("/spec/template/spec"),
        hpas: &hpas,
        scaled_objects: &others,
        ..keda::Admission::default()
    };
    keda::admit(object, &seen)
}

/// A paused object has no HPA; its target gets the replicas that the annotation names.
fn pause(client: &Client, object: &Value, target: &Value, hpa: &str, annotations: &Annotations) -> Result<(), Status> {
    if find(client, &HPAS, namespace(object), hpa)?.is_some() {
        client.delete(&HPAS, namespace(object), hpa, &crate::api::DeleteOptions::default())?;
    }
    match annotations.paused_replicas {
        Some(Ok(replicas)) if int(target, "/spec/replicas") != Some(replicas) => {
            let patch = json!({ "spec": { "replicas": replicas } });
            client.merge_patch(&DEPLOYMENTS, namespace(object), name(target), Some("scale"), &patch).map(drop)
        }
        _ => Ok(()),
    }
}

fn ensure_hpa(client: &Client, object: &Value, (hpa_name, mut wanted): (String, Value)) -> Result<(), Status> {
    wanted["metadata"]["ownerReferences"] = owner_reference(&SCALEDOBJECTS, object);
    let Some(existing) = find(client, &HPAS, namespace(object), &hpa_name)? else {
        return client.create(&HPAS, namespace(object), wanted).map(drop);
    };
    // Defaults were added when it was stored: what was asked for must be there, more may be.
    if contains(&existing["spec"], &wanted["spec"]) {
        return Ok(());
    }
    let mut next = (*existing).clone();
    next["spec"] = wanted["spec"].clone();
    client.update(&HPAS, namespace(object), &hpa_name, &next).map(drop)
}

/// Whether everything of `part` is in `whole`.
pub(super) fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| match whole.get(key) {
                Some(there) => contains(there, value),
                // The API leaves out what says nothing.
                None => says_nothing(value),
            })
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        // The API has one spelling for each quantity.
        (Value::String(whole), Value::String(part)) => {
            whole == part || crate::api::typed::quantity(part).as_ref() == Some(whole)
        }
        (Value::String(whole), Value::Number(part)) => {
            crate::api::typed::quantity(&part.to_string()).as_ref() == Some(whole)
        }
        _ => whole == part,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(says_nothing),
    }
}
