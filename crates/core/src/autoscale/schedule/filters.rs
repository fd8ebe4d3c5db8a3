//! Filters: a pod fits a node if all of them pass.

use super::{
    model::{Expression, Node, Pod, Resources, Taint, Term, Toleration},
    selector::{holds, well_formed},
};

/// What a filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It passes.
    Success,
    /// It does not; other pods leaving might help.
    Unschedulable,
    /// It does not, whatever pods leave.
    UnschedulableAndUnresolvable,
}

/// Why a node cannot hold a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whether other pods leaving might help.
    pub code: Code,
    /// Reasons, as told to people.
    pub reasons: Vec<String>,
    /// Shortfalls in figures.
    pub insufficient: Vec<Insufficient>,
}

impl Refusal {
    fn unresolvable(reason: impl Into<String>) -> Self {
        Self { code: Code::UnschedulableAndUnresolvable, reasons: vec![reason.into()], insufficient: Vec::new() }
    }
}

/// One shortfall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insufficient {
    /// Resource.
    pub resource: String,
    /// What the pod asks for.
    pub requested: i64,
    /// What is in use.
    pub used: i64,
    /// What there is in all.
    pub capacity: i64,
}

/// Settings of the resource filter.
#[derive(Debug, Clone)]
pub struct FitOptions {
    /// Extended resources that are not checked.
    pub ignored_resources: Vec<String>,
    /// Prefixes of extended resources that are not checked.
    pub ignored_resource_groups: Vec<String>,
    /// Requests of pods as a whole count.
    pub pod_level_resources: bool,
    /// Sidecars are known.
    pub sidecars: bool,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { ignored_resources: vec![], ignored_resource_groups: vec![], pod_level_resources: true, sidecars: true }
    }
}

/// Whether the node's free resources hold the pod. `used` are the requests, `count` the number of pods there.
pub fn fits(pod: &Pod, node: &Node, used: &Resources, count: i64, options: &FitOptions) -> Result<(), Refusal> {
    fits_request(pod, &pod.requests(options.pod_level_resources), node, used, count, options)
}

/// The same where what the pod requests is known.
pub(super) fn fits_request(
    pod: &Pod,
    request: &Resources,
    node: &Node,
    used: &Resources,
    count: i64,
    options: &FitOptions,
) -> Result<(), Refusal> {
    if !options.sidecars && pod.init_containers.iter().any(|init| init.restart_always) {
        return Err(Refusal::unresolvable(
            "Pod has a restartable init container and the SidecarContainers feature is disabled",
        ));
    }
    let mut refusal = Refusal { code: Code::Unschedulable, reasons: Vec::new(), insufficient: Vec::new() };
    let room = |name: &str| node.allocatable.get(name).unwrap_or(0);
    if count + 1 > room("pods") {
        refusal.reasons.push("Too many pods".to_owned());
        let capacity = room("pods");
        refusal.insufficient.push(Insufficient { resource: "pods".to_owned(), requested: 1, used: count, capacity });
    }
    if !request.is_zero() {
        let plain = ["cpu", "memory", "ephemeral-storage"];
        let ignored = |name: &str| is_extended(name) && options.ignores(name);
        let others = request.other.keys().map(String::as_str).filter(|name| is_counted(name) && !ignored(name));
        for name in plain.into_iter().chain(others) {
            let (requested, used, capacity) = (request.get(name).unwrap_or(0), used.get(name).unwrap_or(0), room(name));
            if requested > 0 && requested > capacity - used {
                refusal.reasons.push(format!("Insufficient {name}"));
                refusal.insufficient.push(Insufficient { resource: name.to_owned(), requested, used, capacity });
            }
        }
    }
    if refusal.reasons.is_empty() { Ok(()) } else { Err(refusal) }
}

impl FitOptions {
    fn ignores(&self, name: &str) -> bool {
        let group = name.split_once('/').map_or("", |(group, _)| group);
        self.ignored_resources.iter().any(|ignored| ignored == name)
            || self.ignored_resource_groups.iter().any(|ignored| ignored == group)
    }
}

fn is_native(group: &str) -> bool {
    group == "kubernetes.io" || group.ends_with(".kubernetes.io")
}

fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(group, _)| !is_native(group) && !name.starts_with("requests."))
}

/// Whether the scheduler keeps account of a resource besides its own.
fn is_counted(name: &str) -> bool {
    is_extended(name)
        || name.split_once('/').is_some_and(|(group, _)| is_native(group))
        || name.starts_with("hugepages-")
        || name.starts_with("attachable-volumes-")
}

/// Whether a toleration matches a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.is_empty() || toleration.effect == taint.effect;
    let key = toleration.key.is_empty() || toleration.key == taint.key;
    let value = match toleration.operator.as_str() {
        "Exists" => true,
        "" | "Equal" => toleration.value == taint.value,
        _ => false,
    };
    effect && key && value
}

fn tolerated(pod: &Pod, taint: &Taint) -> bool {
    pod.tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// A cordoned node.
pub fn unschedulable(pod: &Pod, node: &Node) -> Result<(), Refusal> {
    if !node.unschedulable {
        return Ok(());
    }
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        value: String::new(),
        effect: "NoSchedule".to_owned(),
    };
    if !tolerated(pod, &taint) {
        return Err(Refusal::unresolvable("node(s) were unschedulable"));
    }
    Ok(())
}

/// Taints that keep pods away.
pub fn taints(pod: &Pod, node: &Node) -> Result<(), Refusal> {
    let hard = node.taints.iter().filter(|taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute");
    match hard.into_iter().find(|taint| !tolerated(pod, taint)) {
        Some(Taint { key, value, .. }) => {
            Err(Refusal::unresolvable(format!("node(s) had untolerated taint {{{key}: {value}}}")))
        }
        None => Ok(()),
    }
}

/// Node selector and required node affinity.
pub fn node_affinity(pod: &Pod, node: &Node) -> Result<(), Refusal> {
    if matches_affinity(pod, node) {
        return Ok(());
    }
    Err(Refusal::unresolvable("node(s) didn't match Pod's node affinity/selector"))
}

/// Whether node selector and required node affinity hold.
pub fn matches_affinity(pod: &Pod, node: &Node) -> bool {
    pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && pod.node_affinity_required_terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term_holds(term, node)))
}

fn term_holds(term: &Term, node: &Node) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    let labels = |expression| well_formed(expression) && holds(expression, node.labels.get(&expression.key));
    term.match_expressions.iter().all(labels) && term.match_fields.iter().all(|field| field_holds(field, node))
}

/// Nodes have one field, their name; another one counts as empty.
fn field_holds(field: &Expression, node: &Node) -> bool {
    let [wanted] = field.values.as_slice() else { return false };
    let value = if field.key == "metadata.name" { node.name.as_str() } else { "" };
    match field.operator.as_str() {
        "In" => wanted == value,
        "NotIn" => wanted != value,
        _ => false,
    }
}
