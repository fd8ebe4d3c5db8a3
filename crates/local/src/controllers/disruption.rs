//! Disruption budgets: how many of the pods that one selects may be evicted now. Upstream: `pkg/controller/disruption`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Context,
    object::{condition_is_true, controller, find, int, is_deleting, namespace, set_condition, uid, write_status},
    work::{self, Key, Source},
};
use crate::api::{
    Client, LabelSelector, Status,
    resources::{PDBS, PODS},
};

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    let lister = client.clone();
    let of_namespace =
        move |pod: &Value| lister.list(&PDBS, namespace(pod)).0.iter().map(|budget| work::key(budget)).collect();
    let sources = vec![Source::itself(PDBS), Source { resource: PODS, keys: Box::new(of_namespace) }];
    let reconciler = client.clone();
    work::run(client, sources, move |key| reconcile(&reconciler, key).map(|()| None)).await;
}

fn reconcile(client: &Client, (space, wanted): &Key) -> Result<(), Status> {
    let Some(budget) = find(client, &PDBS, space, wanted)?.filter(|budget| !is_deleting(budget)) else {
        return Ok(());
    };
    let selector = LabelSelector::from_value(&budget["spec"]["selector"]);
    let pods: Vec<Arc<Value>> = client.list_selected(&PODS, space, &selector).0;
    let (expected, desired) = expected(client, &budget, &pods)?;
    let healthy = pods.iter().filter(|pod| !is_deleting(pod) && condition_is_true(pod, "Ready")).count() as i32;
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let mut status = budget["status"].clone();
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let (holds, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set_condition(&mut conditions, "DisruptionAllowed", holds, reason, "");
    for condition in &mut conditions {
        condition["observedGeneration"] = budget["metadata"]["generation"].clone();
    }
    for (key, value) in [
        ("conditions", json!(conditions)),
        ("currentHealthy", json!(healthy)),
        ("desiredHealthy", json!(desired)),
        ("disruptionsAllowed", json!(allowed)),
        ("expectedPods", json!(expected)),
        ("observedGeneration", budget["metadata"]["generation"].clone()),
    ] {
        status[key] = value;
    }
    write_status(client, &PDBS, &budget, &status)
}

/// How many pods there should be, and how many of them must stay healthy.
fn expected(client: &Client, budget: &Value, pods: &[Arc<Value>]) -> Result<(i32, i32), Status> {
    let spec = &budget["spec"];
    if let Some(least) = int(budget, "/spec/minAvailable") {
        return Ok((pods.len() as i32, least));
    }
    let expected = wanted_by_controllers(client, pods)?;
    if let Some(share) = percent(&spec["minAvailable"]) {
        return Ok((expected, share_of(expected, share)));
    }
    let most = match int(budget, "/spec/maxUnavailable") {
        Some(most) => most,
        None => percent(&spec["maxUnavailable"]).map_or(0, |share| share_of(expected, share)),
    };
    Ok((expected, (expected - most).max(0)))
}

/// The sum of what the pods' controllers want, each counted once; a `ReplicaSet` speaks for its Deployment.
fn wanted_by_controllers(client: &Client, pods: &[Arc<Value>]) -> Result<i32, Status> {
    let mut seen = std::collections::BTreeSet::new();
    let mut total = 0;
    for pod in pods {
        let Some(mut owner) = owner_of(client, pod)? else { continue };
        if let Some(parent) = owner_of(client, &owner)?.filter(|parent| parent["kind"] == "Deployment") {
            owner = parent;
        }
        if seen.insert(uid(&owner).to_owned()) {
            total += int(&owner, "/spec/replicas").unwrap_or(0);
        }
    }
    Ok(total)
}

fn owner_of(client: &Client, object: &Value) -> Result<Option<Arc<Value>>, Status> {
    let Some(reference) = controller(object) else { return Ok(None) };
    let word = |key: &str| reference[key].as_str().unwrap_or_default();
    let Some(resource) = client.resource_of(word("apiVersion"), word("kind")) else { return Ok(None) };
    let space = if resource.namespaced { namespace(object) } else { "" };
    Ok(find(client, &resource, space, word("name"))?.filter(|owner| uid(owner) == word("uid")))
}

fn percent(value: &Value) -> Option<f64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}

/// Rounded up, as upstream does.
fn share_of(count: i32, percent: f64) -> i32 {
    (f64::from(count) * percent / 100.0).ceil() as i32
}
