//! The cluster autoscaler: drives `democtl_core::autoscale::nodes` at each scan and acts through the cloud.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use democtl_core::autoscale::{
    nodes::{Action, Autoscaler, Budget, Expander, Options, World},
    schedule::{Pod, Selector},
};
use serde_json::{Value, json};

use super::{
    Context,
    object::{is_deleting, items, name, namespace, seconds_since},
    scheduler,
};
use crate::{
    api::{
        Client, DeleteOptions, Status,
        resources::{NODES, PDBS, PODS},
    },
    cloud::{Cloud, POOL_LABEL},
};

const COMPONENT: &str = "cluster-autoscaler";
const TAINT: &str = "ToBeDeletedByClusterAutoscaler";
/// Longest time that the pods of a node may take to go, profile time.
const DRAIN_WITHIN: Duration = Duration::from_secs(630);

pub(super) async fn run(context: Context) {
    let Some(settings) = context.config.autoscaler.clone() else { return };
    let options = Options {
        scale_down_delay_after_add_s: settings.scale_down_delay_after_add.as_secs_f64(),
        scale_down_unneeded_s: settings.scale_down_unneeded_time.as_secs_f64(),
        utilization_threshold: settings.scale_down_utilization_threshold,
        expander: Expander::parse(&settings.expander).unwrap_or_default(),
        ..Options::default()
    };
    let mut brain = Autoscaler::new(options, context.config.seed);
    let client = context.client.as_manager(COMPONENT);
    let mut ticks = context.clock.interval(settings.scan_interval);
    let mut removals = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(_) = removals.join_next(), if !removals.is_empty() => continue,
        }
        let world = world(&client, &context.cloud, context.clock.speed());
        for action in brain.run_once(&world, context.clock.now().as_secs_f64()) {
            match action {
                Action::Increase { group, from, to, max, pods } => {
                    let message = format!("pod triggered scale-up: [{{{group} {from}->{to} (max: {max})}}]");
                    for (space, pod) in &pods {
                        if let Ok(pod) = client.get(&PODS, space, pod) {
                            client.record_event(&pod, "Normal", "TriggeredScaleUp", &message, COMPONENT);
                        }
                    }
                    context.cloud.resize(&group, to);
                }
                Action::NotTriggered { pod: (space, pod), message } => {
                    if let Ok(pod) = client.get(&PODS, &space, &pod) {
                        client.record_event(&pod, "Normal", "NotTriggerScaleUp", &message, COMPONENT);
                    }
                }
                Action::Remove { node, pods, utilization } => {
                    context.cloud.mark_deleting(&node);
                    removals.spawn(remove(client.clone(), context.clone(), node, pods, utilization));
                }
            }
        }
    }
}

fn world(client: &Client, cloud: &Cloud, speed: f64) -> World {
    let (nodes, pods) = (client.list(&NODES, "").0, client.list(&PODS, "").0);
    let ready: Vec<Arc<Value>> = nodes
        .into_iter()
        .filter(|node| super::object::condition_is_true(node, "Ready") && !is_deleting(node))
        .collect();
    let age = |time: &str| seconds_since(time).map(|real| real * speed);
    let group_of = ready
        .iter()
        .filter_map(|node| Some((name(node).to_owned(), node["metadata"]["labels"][POOL_LABEL].as_str()?.to_owned())));
    let budgets = client.list(&PDBS, "").0;
    World {
        groups: cloud.groups(),
        group_of: group_of.collect::<BTreeMap<_, _>>(),
        pending: pods.iter().filter(|pod| scheduler::is_waiting(pod)).map(|pod| Pod::from_json(pod, age)).collect(),
        budgets: budgets
            .iter()
            .map(|budget| Budget {
                namespace: namespace(budget).to_owned(),
                selector: budget["spec"].get("selector").map(Selector::from_json),
                allowed: budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0),
            })
            .collect(),
        deleting: cloud.deleting(),
        cluster: scheduler::cluster(&ready, &pods),
    }
}

/// Taints, drains and gives back one node; a node that cannot be drained in time stays.
async fn remove(client: Client, context: Context, node: String, pods: Vec<(String, String)>, utilization: f64) {
    let outcome = drain(&client, &context, &node, &pods, utilization).await;
    match outcome {
        Ok(true) => context.cloud.delete(&node),
        failed => {
            tracing::warn!(?failed, node, "scale-down failed");
            context.cloud.keep(&node);
            if let Ok(object) = client.get(&NODES, "", &node) {
                let taints: Vec<&Value> =
                    items(&object, "/spec/taints").filter(|taint| taint["key"] != TAINT).collect();
                let patch = json!({ "spec": { "taints": taints } });
                // It is tried again at the next scan, whatever comes of this.
                let _ = client.merge_patch(&NODES, "", &node, None, &patch);
                client.record_event(&object, "Warning", "ScaleDownFailed", "failed to drain the node", COMPONENT);
            }
        }
    }
}

async fn drain(
    client: &Client,
    context: &Context,
    node: &str,
    pods: &[(String, String)],
    utilization: f64,
) -> Result<bool, Status> {
    let object = client.get(&NODES, "", node)?;
    let mut taints: Vec<Value> = items(&object, "/spec/taints").cloned().collect();
    let now = chrono::Utc::now().timestamp().to_string();
    taints.push(json!({ "key": TAINT, "value": now, "effect": "NoSchedule" }));
    client.merge_patch(&NODES, "", node, None, &json!({ "spec": { "taints": taints } }))?;
    let event = |reason: &str, message: &str| client.record_event(&object, "Normal", reason, message, COMPONENT);
    event("ScaleDown", "marked the node as toBeDeleted/unschedulable");
    if pods.is_empty() {
        event("ScaleDownEmpty", &format!("Scale-down: removing empty node \"{node}\""));
    } else {
        let names: Vec<String> = pods.iter().map(|(space, pod)| format!("{space}/{pod}")).collect();
        let names = names.join(",");
        event(
            "ScaleDown",
            &format!("Scale-down: removing node {node}, utilization: {utilization:.3}, pods to reschedule: {names}"),
        );
    }
    for (space, pod) in pods {
        if let Ok(object) = client.get(&PODS, space, pod) {
            client.record_event(&object, "Normal", "ScaleDown", "deleting pod for node scale down", COMPONENT);
            client.delete(&PODS, space, pod, &DeleteOptions::default())?;
        }
    }
    let deadline = context.clock.now() + DRAIN_WITHIN;
    while context.clock.now() < deadline {
        let left = client.list(&PODS, "").0;
        if !left.iter().any(|pod| pods.iter().any(|(space, moved)| namespace(pod) == space && name(pod) == moved)) {
            event("ScaleDown", "nodes removed by cluster autoscaler");
            return Ok(true);
        }
        context.clock.sleep(Duration::from_secs(1)).await;
    }
    Ok(false)
}
