//! Pods and nodes as the scheduler and the cluster autoscaler see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Amounts by resource; one that is not stated is not zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// CPU, milli-units.
    pub cpu_milli: Option<i64>,
    /// Memory, bytes.
    pub memory_bytes: Option<i64>,
    /// Pods.
    pub pods: Option<i64>,
    /// Ephemeral storage, bytes.
    pub ephemeral_storage_bytes: Option<i64>,
    /// Extended resources and huge pages, by full name.
    pub other: BTreeMap<String, i64>,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Unique id; empty where only the name tells pods apart.
    pub uid: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The controller that owns it.
    pub owner: Option<Owner>,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// The node on which room is being made for it.
    pub nominated_node: Option<String>,
    /// Requests of regular containers.
    pub containers: Vec<Resources>,
    /// Init containers in order.
    pub init_containers: Vec<InitContainer>,
    /// What the runtime needs besides.
    pub overhead: Option<Resources>,
    /// Requests of the pod as a whole.
    pub pod_level_requests: Option<Resources>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Required node affinity; none when not given, an empty list matches nothing.
    pub node_affinity_required_terms: Option<Vec<Term>>,
    /// Topology spread constraints.
    pub topology_spread: Vec<TopologySpread>,
    /// Ports of the host.
    pub host_ports: Vec<i64>,
    /// Priority.
    pub priority: Option<i64>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// `Always`, `OnFailure`, `Never`.
    pub restart_policy: Option<String>,
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: Option<String>,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_period_seconds: Option<i64>,
    /// Seconds since the deletion timestamp.
    pub deletion_age_seconds: Option<f64>,
    /// Seconds since its creation.
    pub age_seconds: Option<f64>,
}

/// The controller that owns a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Kind.
    pub kind: String,
    /// API version.
    pub api_version: String,
    /// Name.
    pub name: String,
    /// Unique id.
    pub uid: String,
}

/// An init container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InitContainer {
    /// Requests.
    pub requests: Resources,
    /// A sidecar: it goes on beside the regular containers.
    pub restart_always: bool,
}

/// A volume, as far as draining cares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// `host_path`, `empty_dir` or another.
    pub kind: String,
    /// Medium of an `empty_dir`.
    pub medium: String,
}

/// A toleration; empty strings are those not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Toleration {
    /// Key; empty with `Exists` matches all.
    pub key: String,
    /// `Equal` or `Exists`.
    pub operator: String,
    /// Value.
    pub value: String,
    /// Effect; empty matches all.
    pub effect: String,
}

/// A taint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// A term of required node affinity: all of it must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Term {
    /// On labels.
    pub match_expressions: Vec<Expression>,
    /// On fields; only `metadata.name` is known.
    pub match_fields: Vec<Expression>,
}

/// A requirement on a label or field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expression {
    /// Key.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`.
    pub operator: String,
    /// Values.
    pub values: Vec<String>,
}

/// A label selector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selector {
    /// Labels that must be equal.
    pub match_labels: BTreeMap<String, String>,
    /// Requirements besides.
    pub match_expressions: Vec<Expression>,
}

/// A topology spread constraint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopologySpread {
    /// Greatest difference between domains.
    pub max_skew: i64,
    /// Node label that makes the domains.
    pub topology_key: String,
    /// `DoNotSchedule` or `ScheduleAnyway`.
    pub when_unsatisfiable: String,
    /// Pods that count; none counts nothing.
    pub selector: Option<Selector>,
    /// Least number of domains.
    pub min_domains: Option<i64>,
    /// `Honor` or `Ignore`; `Honor` when not given.
    pub node_affinity_policy: Option<String>,
    /// `Honor` or `Ignore`; `Ignore` when not given.
    pub node_taints_policy: Option<String>,
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Taints in order.
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub unschedulable: bool,
    /// What pods may use.
    pub allocatable: Resources,
    /// What the machine has; the allocatable where none is given.
    pub capacity: Option<Resources>,
    /// What the conditions say: Ready and without trouble; none where there is no Ready condition.
    pub ready: Option<bool>,
    /// Seconds since its creation.
    pub age_seconds: Option<f64>,
}

impl Resources {
    /// The amount of a resource by its Kubernetes name.
    pub fn get(&self, name: &str) -> Option<i64> {
        match name {
            "cpu" => self.cpu_milli,
            "memory" => self.memory_bytes,
            "pods" => self.pods,
            "ephemeral-storage" => self.ephemeral_storage_bytes,
            other => self.other.get(other).copied(),
        }
    }

    /// Applies `with` to each resource that either side states.
    fn merge(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        let both = |a: &mut Option<i64>, b: Option<i64>| {
            if a.is_some() || b.is_some() {
                *a = Some(with(a.unwrap_or(0), b.unwrap_or(0)));
            }
        };
        both(&mut self.cpu_milli, other.cpu_milli);
        both(&mut self.memory_bytes, other.memory_bytes);
        both(&mut self.pods, other.pods);
        both(&mut self.ephemeral_storage_bytes, other.ephemeral_storage_bytes);
        for (name, amount) in &other.other {
            let here = self.other.entry(name.clone()).or_default();
            *here = with(*here, *amount);
        }
    }

    /// Adds amounts.
    pub fn add(&mut self, other: &Self) {
        self.merge(other, |a, b| a + b);
    }

    /// Takes amounts away.
    pub fn subtract(&mut self, other: &Self) {
        self.merge(other, |a, b| a - b);
    }

    /// Raises amounts to at least those of `other`.
    fn raise(&mut self, other: &Self) {
        self.merge(other, i64::max);
    }

    /// Whether every amount is zero or not stated.
    pub fn is_zero(&self) -> bool {
        let plain = [self.cpu_milli, self.memory_bytes, self.ephemeral_storage_bytes];
        plain.iter().all(|amount| amount.unwrap_or(0) == 0) && self.other.values().all(|amount| *amount == 0)
    }
}

/// What is assumed for a container that states nothing, where scores want something.
const NON_ZERO_CPU: i64 = 100;
const NON_ZERO_MEMORY: i64 = 200 << 20;

impl Pod {
    /// What the scheduler counts: containers, sidecars, the greatest init step, overhead. Pod-level requests replace
    /// what they name when `pod_level` is on.
    pub fn requests(&self, pod_level: bool) -> Resources {
        self.sum(pod_level, false)
    }

    /// The same with an assumption for containers that state no CPU or memory.
    pub fn non_zero_requests(&self, pod_level: bool) -> Resources {
        self.sum(pod_level, true)
    }

    fn sum(&self, pod_level: bool, non_zero: bool) -> Resources {
        let stated = |resources: &Resources| {
            let mut resources = resources.clone();
            if non_zero {
                resources.cpu_milli.get_or_insert(NON_ZERO_CPU);
                resources.memory_bytes.get_or_insert(NON_ZERO_MEMORY);
            }
            resources
        };
        let mut total = Resources::default();
        for container in &self.containers {
            total.add(&stated(container));
        }
        let (mut sidecars, mut greatest) = (Resources::default(), Resources::default());
        for init in &self.init_containers {
            let own = stated(&init.requests);
            if init.restart_always {
                sidecars.add(&own);
                greatest.raise(&sidecars);
            } else {
                let mut step = sidecars.clone();
                step.add(&own);
                greatest.raise(&step);
            }
        }
        total.add(&sidecars);
        total.raise(&greatest);
        if let Some(whole) = self.pod_level_requests.as_ref().filter(|_| pod_level) {
            total.cpu_milli = whole.cpu_milli.or(total.cpu_milli);
            total.memory_bytes = whole.memory_bytes.or(total.memory_bytes);
            let huge = whole.other.iter().filter(|(name, _)| name.starts_with("hugepages-"));
            total.other.extend(huge.map(|(name, amount)| (name.clone(), *amount)));
        }
        if let Some(overhead) = &self.overhead {
            total.add(overhead);
        }
        total
    }
}
