//! Pods leave nodes that are gone, and nodes whose taints they do not tolerate.
//!
//! Upstream: `pkg/controller/podgc`, `pkg/controller/tainteviction`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use super::{
    Context,
    object::{find, is_deleting, items, name, namespace, text, unless_gone},
    work::{self, Source},
};
use crate::{
    api::{
        Client, DeleteOptions, Status,
        resources::{NODES, PODS},
    },
    clock::Clock,
};

const COMPONENT: &str = "taint-eviction-controller";
/// How long a node must be gone before its pods are removed, profile time. Upstream's quarantine.
const QUARANTINE: Duration = Duration::from_secs(40);

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    // A look at a node that is there and has no such taint costs one read.
    let bound = |pod: &Value| {
        let node = text(pod, "/spec/nodeName").to_owned();
        if node.is_empty() || is_deleting(pod) { Vec::new() } else { vec![(String::new(), node)] }
    };
    let sources = vec![Source::itself(NODES), Source { resource: PODS, keys: Box::new(bound) }];
    let mut lifecycle =
        Lifecycle { client: client.clone(), clock: context.clock, missing: BTreeMap::new(), tainted: BTreeMap::new() };
    work::run(client, sources, move |(_, node)| lifecycle.reconcile(node)).await;
}

struct Lifecycle {
    client: Client,
    clock: Clock,
    /// Since when a node is gone, profile time.
    missing: BTreeMap<String, Duration>,
    /// Since when a node has a taint (`key=value`) that evicts, profile time.
    tainted: BTreeMap<(String, String), Duration>,
}

impl Lifecycle {
    /// Looks at the pods of one node; yields the real time after which to look again.
    fn reconcile(&mut self, wanted: &str) -> Result<Option<Duration>, Status> {
        let node = find(&self.client, &NODES, "", wanted)?;
        let taints: Vec<&Value> =
            node.iter().flat_map(|node| items(node, "/spec/taints")).filter(|t| t["effect"] == "NoExecute").collect();
        let now = self.clock.now();
        let present: BTreeSet<String> = taints.iter().map(|taint| taint_name(taint)).collect();
        self.tainted.retain(|(on, taint), _| on != wanted || present.contains(taint));
        if node.is_some() {
            self.missing.remove(wanted);
            if taints.is_empty() {
                return Ok(None);
            }
        }
        let pods: Vec<Arc<Value>> = self.client.list(&PODS, "").0;
        let here = pods.iter().filter(|pod| text(pod, "/spec/nodeName") == wanted && !is_deleting(pod));
        if node.is_none() {
            return self.collect(wanted, here, now);
        }
        let mut next: Option<Duration> = None;
        for pod in here {
            for taint in &taints {
                let since = *self.tainted.entry((wanted.to_owned(), taint_name(taint))).or_insert(now);
                let Some(allowed) = tolerated_for(pod, taint) else { continue };
                let left = (since + allowed).saturating_sub(now);
                if left.is_zero() {
                    self.evict(pod)?;
                    break;
                }
                next = Some(next.map_or(left, |next| next.min(left)));
            }
        }
        Ok(next.map(|left| self.clock.real(left)))
    }

    fn collect<'a>(
        &mut self,
        node: &str,
        mut pods: impl Iterator<Item = &'a Arc<Value>>,
        now: Duration,
    ) -> Result<Option<Duration>, Status> {
        let left = (*self.missing.entry(node.to_owned()).or_insert(now) + QUARANTINE).saturating_sub(now);
        if !left.is_zero() {
            if pods.next().is_none() {
                self.missing.remove(node);
                return Ok(None);
            }
            return Ok(Some(self.clock.real(left).max(Duration::from_millis(1))));
        }
        self.missing.remove(node);
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        for pod in pods {
            tracing::info!(pod = name(pod), node, "the pod's node is gone");
            self.delete(pod, &options)?;
        }
        Ok(None)
    }

    fn evict(&self, pod: &Value) -> Result<(), Status> {
        let message = format!("Marking for deletion Pod {}/{}", namespace(pod), name(pod));
        self.client.record_event(pod, "Normal", "TaintManagerEviction", &message, COMPONENT);
        self.delete(pod, &DeleteOptions::default())
    }

    fn delete(&self, pod: &Value, options: &DeleteOptions) -> Result<(), Status> {
        unless_gone(self.client.delete(&PODS, namespace(pod), name(pod), options))
    }
}

fn taint_name(taint: &Value) -> String {
    format!("{}={}", text(taint, "/key"), text(taint, "/value"))
}

/// How long a pod may stay with a taint: none when for ever, zero when it does not tolerate it.
fn tolerated_for(pod: &Value, taint: &Value) -> Option<Duration> {
    let fits = |toleration: &&Value| {
        let word = |key: &str| toleration[key].as_str().unwrap_or_default();
        let (key, effect) = (word("key"), word("effect"));
        (effect.is_empty() || effect == "NoExecute")
            && (key.is_empty() || taint["key"] == key)
            && (word("operator") == "Exists" || text(taint, "/value") == word("value"))
    };
    let tolerations: Vec<&Value> = items(pod, "/spec/tolerations").filter(fits).collect();
    if tolerations.is_empty() {
        return Some(Duration::ZERO);
    }
    let seconds = tolerations.iter().filter_map(|toleration| toleration["tolerationSeconds"].as_i64()).min()?;
    Some(Duration::from_secs(seconds.clamp(0, i64::from(u32::MAX)) as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shortest_toleration_counts() {
        let taint = json!({ "key": "k", "value": "v", "effect": "NoExecute" });
        let stays = |tolerations: Value| tolerated_for(&json!({ "spec": { "tolerations": tolerations } }), &taint);
        assert_eq!(stays(json!([])), Some(Duration::ZERO));
        assert_eq!(stays(json!([{ "key": "k", "operator": "Exists" }])), None);
        assert_eq!(stays(json!([{ "key": "k", "value": "other" }])), Some(Duration::ZERO));
        assert_eq!(stays(json!([{ "key": "k", "operator": "Exists", "effect": "NoSchedule" }])), Some(Duration::ZERO));
        let seconds = |s: i64| json!({ "operator": "Exists", "tolerationSeconds": s });
        assert_eq!(stays(json!([seconds(300), seconds(30)])), Some(Duration::from_secs(30)));
        assert_eq!(stays(json!([seconds(-5)])), Some(Duration::ZERO));
    }
}
