//! The cluster autoscaler: drives `democtl_core::autoscale::nodes` at each scan and acts through the cloud.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use democtl_core::{
    autoscale::{
        nodes::{
            Action, Autoscaler, Budget, Controller, Controllers, Group, NOT_TRIGGERED, TO_BE_DELETED, TRIGGERED, World,
        },
        schedule::{Pod, Selector},
    },
    render::{self, POOL_LABEL},
};
use serde_json::{Value, json};

use super::{
    Context,
    object::{is_deleting, items, name, namespace, seconds_since, text},
    scheduler,
};
use crate::{
    api::{
        Client, DeleteOptions, Resource, Status,
        resources::{DAEMONSETS, JOBS, NODES, PDBS, PODS, REPLICASETS},
    },
    cloud::Cloud,
};

const COMPONENT: &str = "cluster-autoscaler";
/// Longest time that the pods of a node may take to go, profile time.
const DRAIN_WITHIN: Duration = Duration::from_secs(630);

pub(super) async fn run(context: Context) {
    let Some(settings) = context.config.autoscaler.clone() else { return };
    let mut brain = Autoscaler::new(render::autoscaler_options(&settings), context.config.seed);
    let client = context.client.as_manager(COMPONENT);
    let mut ticks = context.clock.interval(settings.scan_interval);
    let mut removals = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(_) = removals.join_next(), if !removals.is_empty() => continue,
        }
        let speed = context.clock.speed();
        let age = |time: &str| seconds_since(time).map(|real| real * speed);
        let unix_s = chrono::Utc::now().timestamp() as f64;
        let world = Objects::of(&client).world(&Machines::of(&context.cloud), age, unix_s);
        for action in brain.run_once(&world, context.clock.now().as_secs_f64()) {
            match action {
                Action::Increase { group, from, to, max, pods } => {
                    let message = format!("pod triggered scale-up: [{{{group} {from}->{to} (max: {max})}}]");
                    for (space, pod) in &pods {
                        if let Ok(pod) = client.get(&PODS, space, pod) {
                            client.record_event(&pod, "Normal", TRIGGERED, &message, COMPONENT);
                        }
                    }
                    context.cloud.resize(&group, to);
                }
                Action::NotTriggered { pod: (space, pod), message } => {
                    if let Ok(pod) = client.get(&PODS, &space, &pod) {
                        client.record_event(&pod, "Normal", NOT_TRIGGERED, &message, COMPONENT);
                    }
                }
                Action::DeleteInstance { group, instance } => context.cloud.abandon(&group, &instance),
                Action::FixTarget { group, to } => context.cloud.resize(&group, to),
                Action::ScaleUpFailed { group, message } => tracing::warn!(group, message, "scale-up failed"),
                Action::Remove { node, pods, utilization } => {
                    context.cloud.mark_deleting(&node);
                    removals.spawn(remove(client.clone(), context.clone(), node, pods, utilization));
                }
            }
        }
    }
}

/// What a loop reads of the API.
pub(super) struct Objects {
    pub(super) nodes: Vec<Arc<Value>>,
    pub(super) pods: Vec<Arc<Value>>,
    pub(super) budgets: Vec<Arc<Value>>,
    pub(super) controllers: Controllers,
}

/// What a loop reads of the cloud.
pub(super) struct Machines {
    pub(super) groups: Vec<Group>,
    /// Those that boot, by group.
    pub(super) booting: BTreeMap<String, BTreeSet<String>>,
    pub(super) deleting: Vec<String>,
}

impl Machines {
    fn of(cloud: &Cloud) -> Self {
        let groups = cloud.groups();
        let booting = groups.iter().map(|group| (group.id.clone(), cloud.booting(&group.id))).collect();
        Self { groups, booting, deleting: cloud.deleting() }
    }
}

impl Objects {
    fn of(client: &Client) -> Self {
        Self {
            nodes: client.list(&NODES, "").0,
            pods: client.list(&PODS, "").0,
            budgets: client.list(&PDBS, "").0,
            controllers: controllers(client),
        }
    }

    /// What the brain sees. `age` turns a time into profile seconds before now.
    pub(super) fn world(self, machines: &Machines, age: impl Fn(&str) -> Option<f64>, unix_s: f64) -> World {
        let nodes: Vec<Arc<Value>> = self.nodes.into_iter().filter(|node| !is_deleting(node)).collect();
        let pool = |node: &Value| node["metadata"]["labels"][POOL_LABEL].as_str().map(ToOwned::to_owned);
        let group_of: BTreeMap<String, String> =
            nodes.iter().filter_map(|node| Some((name(node).to_owned(), pool(node)?))).collect();
        let instances = |group: &Group| {
            let nodes = group_of.iter().filter(|(_, of)| **of == group.id).map(|(node, _)| node.clone());
            let booting = machines.booting.get(&group.id).into_iter().flatten().cloned();
            (group.id.clone(), booting.chain(nodes).collect())
        };
        let budget = |budget: &Arc<Value>| Budget {
            namespace: namespace(budget).to_owned(),
            selector: budget["spec"].get("selector").map(Selector::from_json),
            allowed: budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0),
        };
        let mut cluster = scheduler::cluster(&nodes, &self.pods, &age);
        for (state, node) in cluster.nodes.iter_mut().zip(&nodes) {
            state.node_mut().age_seconds = age(text(node, "/metadata/creationTimestamp"));
        }
        let pending = self.pods.iter().filter(|pod| scheduler::is_waiting(pod));
        World {
            instances: machines.groups.iter().map(instances).collect(),
            groups: machines.groups.clone(),
            group_of,
            pending: pending.map(|pod| Pod::from_json(pod, &age)).collect(),
            budgets: self.budgets.iter().map(budget).collect(),
            controllers: Some(self.controllers),
            deleting: machines.deleting.clone(),
            unix_s,
            cluster,
        }
    }
}

/// Who owns pods, by kind, namespace and name.
fn controllers(client: &Client) -> Controllers {
    let kinds = [("ReplicaSet", &REPLICASETS), ("DaemonSet", &DAEMONSETS), ("Job", &JOBS)];
    let of = |(kind, resource): (&str, &Resource)| {
        let objects = client.list(resource, "").0;
        let one = |object: &Arc<Value>| {
            let controller = Controller {
                spec_replicas: object["spec"]["replicas"].as_i64(),
                status_replicas: object["status"]["replicas"].as_i64().unwrap_or(0),
            };
            ((kind.to_owned(), namespace(object).to_owned(), name(object).to_owned()), controller)
        };
        objects.iter().map(one).collect::<Vec<_>>()
    };
    kinds.into_iter().flat_map(of).collect()
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
                    items(&object, "/spec/taints").filter(|taint| taint["key"] != TO_BE_DELETED).collect();
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
    taints.push(json!({ "key": TO_BE_DELETED, "value": now, "effect": "NoSchedule" }));
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
