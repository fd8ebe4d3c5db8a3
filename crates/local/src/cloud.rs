//! The local stand-in for VM scale sets: pools with targets, machines that take their time to boot, Node objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use democtl_core::{
    autoscale::nodes::Group,
    draws::Boots,
    profile::Resources,
    render::{NodePool, POOL_LABEL},
};
use serde_json::{Value, json};

use crate::{
    api::{Client, DeleteOptions, Status, resources::NODES},
    clock::Clock,
    config::Config,
};

/// Pools and their machines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cloud {
    client: Client,
    clock: Clock,
    config: Arc<Config>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    targets: BTreeMap<String, u32>,
    /// Numbers given to machines, by pool; never given twice.
    next: BTreeMap<String, u32>,
    /// Machines that boot, by pool.
    booting: BTreeMap<String, BTreeSet<String>>,
    deleting: BTreeSet<String>,
    boots: Boots,
}

impl Cloud {
    /// A cloud whose nodes are those that the API knows.
    pub fn new(client: &Client, clock: Clock, config: Arc<Config>) -> Self {
        let state = State {
            targets: BTreeMap::new(),
            next: BTreeMap::new(),
            booting: BTreeMap::new(),
            deleting: BTreeSet::new(),
            boots: Boots::new(config.seed),
        };
        Self { client: client.as_manager("cloud-provider"), clock, config, state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the nodes that every pool starts with, at once; those of an earlier life are kept.
    pub fn bootstrap(&self) -> Result<(), Status> {
        let existing = self.client.list(&NODES, "").0;
        for pool in &self.config.pools {
            let here: Vec<&str> = existing
                .iter()
                .filter(|node| node["metadata"]["labels"][POOL_LABEL] == pool.name)
                .filter_map(|node| node["metadata"]["name"].as_str())
                .collect();
            let greatest = here.iter().filter_map(|name| NodePool::number_of(name)).max();
            let count = (here.len() as u32).max(pool.count);
            {
                let mut state = self.lock();
                state.next.insert(pool.name.clone(), greatest.map_or(0, |greatest| greatest + 1));
                state.targets.insert(pool.name.clone(), count);
            }
            for _ in here.len() as u32..count {
                let number = self.lock().number(&pool.name);
                self.join(pool, number)?;
            }
        }
        Ok(())
    }

    /// The pools as the cluster autoscaler sees them.
    pub fn groups(&self) -> Vec<Group> {
        let state = self.lock();
        let target = |pool: &NodePool| state.targets.get(&pool.name).copied().unwrap_or(pool.count);
        self.config.pools.iter().filter_map(|pool| pool.group(target(pool))).collect()
    }

    /// Nodes that are being removed.
    pub fn deleting(&self) -> Vec<String> {
        self.lock().deleting.iter().cloned().collect()
    }

    /// Asks for machines; each joins after its own boot delay.
    pub fn resize(&self, pool: &str, to: u32) {
        let Some(pool) = self.config.pools.iter().find(|known| known.name == pool).cloned() else { return };
        let machines: Vec<(u32, Duration)> = {
            let mut state = self.lock();
            let from = state.targets.insert(pool.name.clone(), to).unwrap_or(0);
            let (least, most) = self.config.vm_delay;
            (from..to)
                .map(|_| {
                    let number = state.number(&pool.name);
                    state.booting.entry(pool.name.clone()).or_default().insert(pool.machine(number));
                    (number, state.boots.next(least, most))
                })
                .collect()
        };
        for (number, delay) in machines {
            let (cloud, pool) = (self.clone(), pool.clone());
            tokio::spawn(async move {
                cloud.clock.sleep(delay).await;
                // One that was given back meanwhile does not join.
                if !cloud.booting(&pool.name).contains(&pool.machine(number)) {
                    return;
                }
                if let Err(status) = cloud.join(&pool, number) {
                    tracing::warn!(%status, pool = pool.name, "node did not join");
                }
            });
        }
    }

    /// Machines of a pool that boot.
    pub fn booting(&self, pool: &str) -> BTreeSet<String> {
        self.lock().booting.get(pool).cloned().unwrap_or_default()
    }

    /// Gives back a machine that has not become a node.
    pub fn abandon(&self, pool: &str, machine: &str) {
        let mut state = self.lock();
        let was_booting = state.booting.get_mut(pool).is_some_and(|machines| machines.remove(machine));
        if let Some(target) = state.targets.get_mut(pool).filter(|_| was_booting) {
            *target = target.saturating_sub(1);
        }
    }

    /// A node is about to be removed.
    pub fn mark_deleting(&self, node: &str) {
        self.lock().deleting.insert(node.to_owned());
    }

    /// A node is not removed after all.
    pub fn keep(&self, node: &str) {
        self.lock().deleting.remove(node);
    }

    /// Gives a machine back and removes its node.
    pub fn delete(&self, node: &str) {
        let Ok(object) = self.client.get(&NODES, "", node) else { return };
        let pool = object["metadata"]["labels"][POOL_LABEL].as_str().unwrap_or_default().to_owned();
        if let Err(status) = self.client.delete(&NODES, "", node, &DeleteOptions::default()) {
            tracing::warn!(%status, node, "node not deleted");
        }
        let mut state = self.lock();
        state.deleting.remove(node);
        if let Some(target) = state.targets.get_mut(&pool) {
            *target = target.saturating_sub(1);
        }
    }

    fn join(&self, pool: &NodePool, number: u32) -> Result<(), Status> {
        let created = self.client.create(&NODES, "", node(pool, number))?;
        let name = created["metadata"]["name"].as_str().unwrap_or_default();
        if let Some(machines) = self.lock().booting.get_mut(&pool.name) {
            machines.remove(name);
        }
        let message = format!("Node {name} event: Registered Node {name} in Controller");
        self.client.record_event(&created, "Normal", "RegisteredNode", &message, "node-controller");
        Ok(())
    }
}

impl State {
    /// The next number of a pool's machine.
    fn number(&mut self, pool: &str) -> u32 {
        let next = self.next.entry(pool.to_owned()).or_default();
        *next += 1;
        *next - 1
    }
}

pub(crate) fn node(pool: &NodePool, number: u32) -> Value {
    let (name, labels) = (pool.machine(number), pool.node_labels(number));
    let list = |of: &Resources| {
        let (cpu, memory) = (format!("{}m", of.cpu.0), format!("{}Ki", of.memory.0 / 1024));
        json!({ "cpu": cpu, "memory": memory, "pods": pool.max_pods.to_string() })
    };
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    let taints: Vec<Value> = pool
        .node_taints()
        .into_iter()
        .map(|taint| json!({ "key": taint.key, "value": taint.value, "effect": taint.effect }))
        .collect();
    let mut spec = json!({ "providerID": format!("local:///{}/{name}", pool.name) });
    if !taints.is_empty() {
        spec["taints"] = json!(taints);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": labels },
        "spec": spec,
        "status": {
            "capacity": list(&pool.capacity),
            "allocatable": list(&pool.allocatable),
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "addresses": [{ "type": "Hostname", "address": name }],
            "nodeInfo": {
                "kubeletVersion": "v1.33.13", "kubeProxyVersion": "v1.33.13", "containerRuntimeVersion": "democtl://virtual",
                "operatingSystem": "linux", "architecture": "amd64", "osImage": "virtual node of democtl",
                "kernelVersion": "", "machineID": name, "systemUUID": name, "bootID": name,
            },
        },
    })
}
