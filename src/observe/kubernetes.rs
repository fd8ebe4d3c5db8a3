//! Kubernetes watches: Deployments, Pods, Nodes and Events become facts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use democtl_core::{event::Fact, profile::Profile, timeline::rescale_reason};
use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Event, Node, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::ListParams,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::task::JoinSet;

use super::{Recorder, Subject, autoscalers, machines::Asked};
use crate::delivery::{NAMESPACE, health};

pub(super) fn spawn(tasks: &mut JoinSet<()>, subject: &Subject, recorder: &Recorder) {
    tasks.spawn(deployments(subject.clone(), recorder.clone()));
    tasks.spawn(pods(subject.clone(), recorder.clone()));
    tasks.spawn(nodes(subject.clone(), recorder.clone()));
    tasks.spawn(events(subject.clone(), recorder.clone()));
    tasks.spawn(autoscalers::run(subject.clone(), recorder.clone()));
}

/// The workload that a pod of the demo belongs to, by its name `WORKLOAD-HASH-SUFFIX`.
pub(super) fn workload_of(pod: &str, profile: &Profile) -> Option<String> {
    let mut parts = pod.rsplitn(3, '-');
    let name = parts.nth(2)?;
    profile.workloads.iter().any(|workload| workload.name == name).then(|| name.to_owned())
}

pub(super) fn watch<K>(api: Api<K>) -> BoxStream<'static, watcher::Event<K>>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    // Errors of a watch (a restart of the API server) are retried with backoff; the list that follows tells the rest.
    watcher(api, watcher::Config::default())
        .default_backoff()
        .filter_map(|event| futures::future::ready(event.ok()))
        .boxed()
}

async fn deployments(subject: Subject, recorder: Recorder) {
    let mut known = BTreeMap::<String, i32>::new();
    let mut stream = watch(Api::<Deployment>::namespaced(subject.client.clone(), NAMESPACE));
    while let Some(event) = stream.next().await {
        let (watcher::Event::InitApply(deployment) | watcher::Event::Apply(deployment)) = event else { continue };
        let name = deployment.name_any();
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let Some(before) = known.insert(name.clone(), wanted) else { continue };
        if before != wanted {
            let (reason, by) = why(&subject, &name, before, wanted).await;
            recorder.record(Fact::Replicas { workload: name, from: before, to: wanted, reason, by });
        }
    }
}

/// Who changed the replicas, and for what reason: the autoscaler tells it by an Event just after the change, and a moment
/// later by its status.
async fn why(subject: &Subject, workload: &str, from: i32, to: i32) -> (String, String) {
    let events = Api::<Event>::namespaced(subject.client.clone(), NAMESPACE);
    let mut words = None;
    for _ in 0..10 {
        for event in events.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let kind = event.involved_object.kind.as_deref().unwrap_or_default();
            let object = event.involved_object.name.as_deref().unwrap_or_default();
            let message = event.message.as_deref().unwrap_or_default();
            let fits = object == workload || object == format!("keda-hpa-{workload}");
            match (kind, event.reason.as_deref().unwrap_or_default()) {
                ("HorizontalPodAutoscaler", "SuccessfulRescale")
                    if fits && message.starts_with(&format!("New size: {to};")) =>
                {
                    if let Some((specification, sync)) = autoscalers::rescaled(subject, object, from, to).await
                        && let Some(reason) = rescale_reason(&specification, &sync)
                    {
                        return (reason, "HPA".to_owned());
                    }
                    words = Some(message.split_once("reason: ").map_or(message, |(_, reason)| reason).to_owned());
                }
                ("ScaledObject", "KEDAScaleTargetActivated" | "KEDAScaleTargetDeactivated")
                    if fits && message.contains(&format!("from {from} to {to}")) =>
                {
                    return (message.to_owned(), "KEDA".to_owned());
                }
                _ => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The status of that very sync was not seen: the autoscaler's own words are left.
    words.map_or_else(|| ("changed from outside".to_owned(), "user".to_owned()), |words| (words, "HPA".to_owned()))
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    ready: i32,
    pending: i32,
    total: i32,
}

async fn pods(subject: Subject, recorder: Recorder) {
    let mut pods = BTreeMap::<String, Pod>::new();
    let mut told = BTreeMap::<String, Tally>::new();
    let mut stream = watch(Api::<Pod>::namespaced(subject.client.clone(), NAMESPACE));
    let mut listing = true;
    while let Some(event) = stream.next().await {
        match event {
            watcher::Event::Init => {
                pods.clear();
                listing = true;
                continue;
            }
            watcher::Event::InitDone => listing = false,
            watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) => {
                pods.insert(pod.name_any(), pod);
            }
            watcher::Event::Delete(pod) => {
                pods.remove(&pod.name_any());
            }
        }
        if listing {
            continue;
        }
        let mut tallies: BTreeMap<String, Tally> = told.keys().map(|name| (name.clone(), Tally::default())).collect();
        for (name, pod) in &pods {
            let Some(workload) = workload_of(name, &subject.profile) else { continue };
            let tally = tallies.entry(workload).or_default();
            tally.total += 1;
            tally.ready += i32::from(pod_ready(pod));
            tally.pending += i32::from(health::is_unschedulable(pod));
        }
        for (workload, tally) in tallies {
            if told.insert(workload.clone(), tally) != Some(tally) {
                let Tally { ready, pending, total } = tally;
                recorder.record(Fact::Pods { workload, ready, pending, total });
            }
        }
    }
}

fn pod_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Nodes by name: whether it is Ready, and its VM size.
type Known = BTreeMap<String, (bool, String)>;

async fn nodes(subject: Subject, recorder: Recorder) {
    let mut known = Known::new();
    let mut listing = true;
    let mut stream = watch(Api::<Node>::all(subject.client.clone()));
    while let Some(event) = stream.next().await {
        let (node, change) = match event {
            watcher::Event::Init => {
                known.clear();
                listing = true;
                continue;
            }
            watcher::Event::InitDone => {
                listing = false;
                (String::new(), "listed")
            }
            watcher::Event::InitApply(node) | watcher::Event::Apply(node) => {
                let is = health::node_ready(&node);
                let size = node.labels().get("node.kubernetes.io/instance-type").cloned().unwrap_or_default();
                let was = known.insert(node.name_any(), (is, size)).map(|(was, _)| was);
                if listing || was == Some(is) || (was.is_none() && !is) {
                    continue;
                }
                (node.name_any(), if is { "ready" } else { "not ready" })
            }
            watcher::Event::Delete(node) => {
                known.remove(&node.name_any());
                (node.name_any(), "removed")
            }
        };
        record_nodes(&recorder, &known, node, change);
    }
}

/// A node that joins was paid for since its machine was asked for, one that leaves is not paid for any more.
fn record_nodes(recorder: &Recorder, known: &Known, node: String, change: &str) {
    let mut billed = BTreeMap::<String, u32>::new();
    for (_, size) in known.values() {
        *billed.entry(size.clone()).or_default() += 1;
    }
    if change == "ready" || change == "not ready" {
        for (size, count) in recorder.moment().billed {
            let here = billed.entry(size).or_default();
            *here = (*here).max(count);
        }
    }
    let reason = if change == "removed" { "not needed any more (cluster autoscaler)" } else { "" };
    recorder.record(Fact::Nodes {
        ready: known.values().filter(|(ready, _)| *ready).count() as i32,
        total: billed.values().sum::<u32>() as i32,
        billed,
        node,
        change: change.to_owned(),
        reason: reason.to_owned(),
    });
}

async fn events(subject: Subject, recorder: Recorder) {
    let mut stream = watch(Api::<Event>::all(subject.client.clone()));
    let mut seen = BTreeSet::<(String, String)>::new();
    let mut asked = Asked::default();
    let mut listing = true;
    let mut old = BTreeMap::<String, Fact>::new();
    while let Some(event) = stream.next().await {
        let event = match event {
            watcher::Event::Init => {
                listing = true;
                continue;
            }
            watcher::Event::InitDone => {
                listing = false;
                let pods = Api::<Pod>::namespaced(subject.client.clone(), NAMESPACE);
                let pods = pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
                for fact in still_pending(std::mem::take(&mut old), &pods) {
                    recorder.record(fact);
                }
                continue;
            }
            watcher::Event::InitApply(event) | watcher::Event::Apply(event) => event,
            watcher::Event::Delete(_) => continue,
        };
        let key = (event.uid().unwrap_or_default(), event.message.clone().unwrap_or_default());
        if seen.contains(&key) || is_starting(&subject, &event).await {
            continue;
        }
        seen.insert(key);
        if !listing {
            for fact in asked.take(&event, recorder.moment(), &subject.profile) {
                recorder.record(fact);
            }
        }
        match fact_of(&event, &subject.profile, listing) {
            Some(Fact::FailedScheduling { pod, workload, message }) if listing => {
                old.insert(pod.clone(), Fact::FailedScheduling { pod, workload, message });
            }
            fact => fact.into_iter().for_each(|fact| recorder.record(fact)),
        }
    }
}

/// Of what was told before the observation, by the name of the pod that could not be placed, that which still holds.
fn still_pending(old: BTreeMap<String, Fact>, pods: &[Pod]) -> Vec<Fact> {
    let waits = |name: &str| pods.iter().any(|pod| pod.name_any() == name && health::is_unschedulable(pod));
    old.into_iter().filter(|(pod, _)| waits(pod)).map(|(_, fact)| fact).collect()
}

/// An autoscaler finds no metrics at first, and says so: pods start, and are measured at the second scrape.
const STARTING: Duration = Duration::from_secs(90);

/// Whether an Event complains of metrics that cannot be there yet.
async fn is_starting(subject: &Subject, event: &Event) -> bool {
    let complains = ["FailedGetExternalMetric", "FailedComputeMetricsReplicas", "KEDAScalerFailed"];
    if !event.reason.as_deref().is_some_and(|reason| complains.contains(&reason)) {
        return false;
    }
    let object = event.involved_object.name.as_deref().unwrap_or_default();
    let scaled_object = event.involved_object.kind.as_deref() == Some("ScaledObject");
    let hpa = if scaled_object { format!("keda-hpa-{object}") } else { object.to_owned() };
    let found = Api::<HorizontalPodAutoscaler>::namespaced(subject.client.clone(), NAMESPACE).get(&hpa).await;
    let made = found.ok().and_then(|hpa| hpa.creation_timestamp());
    // Without its autoscaler an object has only just been made.
    made.is_none_or(|made| is_young(made.0.as_second(), chrono::Utc::now().timestamp(), subject.speed))
}

/// Times are Unix seconds.
fn is_young(made: i64, now: i64, speed: f64) -> bool {
    ((now - made) as f64) * speed < STARTING.as_secs_f64()
}

/// What an Event tells a person; `old` ones are from before the observation and only matter where they still hold.
fn fact_of(event: &Event, profile: &Profile, old: bool) -> Option<Fact> {
    let object = event.involved_object.name.clone().unwrap_or_default();
    let kind = event.involved_object.kind.clone().unwrap_or_default();
    let message = event.message.clone().unwrap_or_default();
    let reason = event.reason.clone().unwrap_or_default();
    match reason.as_str() {
        "FailedScheduling" => {
            let workload = workload_of(&object, profile)?;
            Some(Fact::FailedScheduling { pod: object, workload, message })
        }
        _ if old => None,
        "NotTriggerScaleUp"
        | "ScaleDown"
        | "ScaleDownEmpty"
        | "BackOff"
        | "Preempted"
        | "Unhealthy"
        | "FailedGetExternalMetric"
        | "FailedComputeMetricsReplicas"
        | "KEDAScalerFailed" => {
            let kind_of = event.type_.clone().unwrap_or_default();
            Some(Fact::Kubernetes { object: format!("{kind}/{object}"), reason, message, kind: kind_of })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_pods_that_could_not_be_placed_only_those_are_told_that_still_wait() {
        let pod = |name: &str, status: &str| -> Pod {
            let scheduled = serde_json::json!({ "type": "PodScheduled", "status": status, "reason": "Unschedulable" });
            let pod = serde_json::json!({ "metadata": { "name": name }, "status": { "conditions": [scheduled] } });
            serde_json::from_value(pod).expect("a pod")
        };
        let told = |name: &str| {
            let (pod, workload, message) = (name.to_owned(), "web".to_owned(), String::new());
            (pod.clone(), Fact::FailedScheduling { pod, workload, message })
        };
        let old = ["web-placed", "web-waits", "web-gone"].map(told).into();
        let pods = [pod("web-placed", "True"), pod("web-waits", "False")];
        assert_eq!(still_pending(old, &pods), [told("web-waits").1]);
    }

    #[test]
    fn an_autoscaler_is_young_by_the_clock_of_the_profile() {
        assert!(is_young(100, 189, 1.0) && !is_young(100, 190, 1.0));
        assert!(is_young(100, 105, 15.0) && !is_young(100, 106, 15.0));
    }
}
