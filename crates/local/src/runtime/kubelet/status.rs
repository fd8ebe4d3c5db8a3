//! A pod's status from its containers' states, by the kubelet's rules. Pure.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>

use std::net::Ipv4Addr;

use chrono::Utc;
use serde_json::{Value, json};

use super::state::{Snapshot, State, time};

/// What the status is made of.
pub(crate) struct Observed<'a> {
    /// The pod as last seen.
    pub(crate) pod: &'a Value,
    /// Its address.
    pub(crate) pod_ip: Ipv4Addr,
    /// Its node's address.
    pub(crate) host_ip: &'a str,
    /// Its init containers, in order.
    pub(crate) init: &'a [Snapshot],
    /// Its containers, in order.
    pub(crate) containers: &'a [Snapshot],
    /// Said in `status.message`: that a container is virtual.
    pub(crate) message: Option<&'a str>,
}

impl Observed<'_> {
    /// The whole status, with conditions of others (`PodScheduled`, readiness gates) kept.
    pub(crate) fn render(&self) -> Value {
        let spec = &self.pod["spec"];
        let old = &self.pod["status"];
        let now = time(Utc::now());
        let uid = self.pod["metadata"]["uid"].as_str().unwrap_or("");
        let phase = self.phase();
        let mut status = json!({
            "phase": phase,
            "conditions": self.conditions(phase, &now),
            "hostIP": self.host_ip,
            "hostIPs": [{"ip": self.host_ip}],
            "podIP": self.pod_ip.to_string(),
            "podIPs": [{"ip": self.pod_ip.to_string()}],
            "startTime": old["startTime"].as_str().unwrap_or(&now),
            "containerStatuses": render_all(&spec["containers"], self.containers, uid),
            "qosClass": old["qosClass"].as_str().unwrap_or_else(|| qos_class(spec)),
        });
        if !self.init.is_empty() {
            status["initContainerStatuses"] = render_all(&spec["initContainers"], self.init, uid);
        }
        if let Some(message) = self.message {
            status["message"] = json!(message);
        }
        status
    }

    fn phase(&self) -> &'static str {
        let policy = self.pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
        let failed = |snapshot: &&Snapshot| matches!(&snapshot.state, State::Terminated(ended) if ended.code != 0);
        if self.init.iter().any(|snapshot| failed(&snapshot)) {
            return "Failed";
        }
        if !self.is_initialized() {
            return "Pending";
        }
        if !self.containers.is_empty() && self.containers.iter().all(Snapshot::is_done) && policy != "Always" {
            return if self.containers.iter().any(|snapshot| failed(&snapshot)) { "Failed" } else { "Succeeded" };
        }
        let never_ran =
            |snapshot: &Snapshot| matches!(snapshot.state, State::Waiting { .. }) && snapshot.last.is_none();
        if self.containers.iter().any(never_ran) { "Pending" } else { "Running" }
    }

    fn is_initialized(&self) -> bool {
        self.init.iter().all(|snapshot| matches!(&snapshot.state, State::Terminated(ended) if ended.code == 0))
    }

    fn conditions(&self, phase: &str, now: &str) -> Value {
        let old: Vec<&Value> = self.pod["status"]["conditions"].as_array().into_iter().flatten().collect();
        let done = (phase == "Succeeded").then_some("PodCompleted");
        let names = self.pod["spec"]["containers"].as_array().into_iter().flatten();
        let unready: Vec<&str> = names
            .zip(self.containers)
            .filter(|(_, snapshot)| !snapshot.ready)
            .filter_map(|(container, _)| container["name"].as_str())
            .collect();
        let message = format!("containers with unready status: [{}]", unready.join(" "));
        let unready_reason = done.unwrap_or("ContainersNotReady");
        let containers_ready =
            if unready.is_empty() { Ok(()) } else { Err((unready_reason, if done.is_some() { "" } else { &message })) };
        let initialized = if self.is_initialized() {
            done.map_or(Ok(()), |_| Ok(()))
        } else {
            Err(("ContainersNotInitialized", "containers with incomplete status"))
        };
        let gates = self.pod["spec"]["readinessGates"].as_array().into_iter().flatten();
        let closed = gates
            .filter_map(|gate| gate["conditionType"].as_str())
            .find(|gate| !old.iter().any(|condition| condition["type"] == **gate && condition["status"] == "True"));
        let ready = match (containers_ready, closed) {
            (Ok(()), Some(_)) => Err(("ReadinessGatesNotReady", "the status of a readiness gate is not \"True\"")),
            (result, _) => result,
        };
        let ours = [
            ("PodReadyToStartContainers", Ok(())),
            ("Initialized", initialized),
            ("Ready", ready),
            ("ContainersReady", containers_ready),
        ];
        let mut conditions: Vec<Value> =
            ours.iter().map(|(kind, result)| condition(kind, *result, &old, now)).collect();
        conditions.extend(old.iter().filter(|c| ours.iter().all(|(kind, _)| c["type"] != *kind)).map(|c| (*c).clone()));
        if !conditions.iter().any(|condition| condition["type"] == "PodScheduled") {
            conditions.push(condition("PodScheduled", Ok(()), &old, now));
        }
        Value::Array(conditions)
    }
}

fn condition(kind: &str, result: Result<(), (&str, &str)>, old: &[&Value], now: &str) -> Value {
    let status = if result.is_ok() { "True" } else { "False" };
    let before = old.iter().find(|condition| condition["type"] == kind && condition["status"] == status);
    let since = before.and_then(|condition| condition["lastTransitionTime"].as_str()).unwrap_or(now);
    let mut condition = json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since});
    if let Err((reason, message)) = result {
        condition["reason"] = json!(reason);
        if !message.is_empty() {
            condition["message"] = json!(message);
        }
    }
    condition
}

fn render_all(containers: &Value, snapshots: &[Snapshot], uid: &str) -> Value {
    let containers = containers.as_array().into_iter().flatten();
    let rendered = containers.zip(snapshots).map(|(container, snapshot)| {
        let id = format!("{uid}/{}", container["name"].as_str().unwrap_or(""));
        snapshot.render(container, &id)
    });
    Value::Array(rendered.collect())
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
fn qos_class(spec: &Value) -> &'static str {
    let containers: Vec<&Value> = spec["containers"].as_array().into_iter().flatten().collect();
    let get = |container: &Value, list: &str, name: &str| container["resources"][list][name].clone();
    let names = ["cpu", "memory"];
    let none = |container: &&Value| {
        names.iter().all(|name| get(container, "requests", name).is_null() && get(container, "limits", name).is_null())
    };
    if containers.iter().all(none) {
        return "BestEffort";
    }
    let guaranteed = containers.iter().all(|container| {
        names.iter().all(|name| {
            let (request, limit) = (get(container, "requests", name), get(container, "limits", name));
            !limit.is_null() && (request.is_null() || request == limit)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::kubelet::state::Ended;

    fn running(ready: bool) -> Snapshot {
        let state = State::Running { since: Utc::now() };
        Snapshot { state, last: None, restarts: 0, ready, started: true }
    }

    fn ended(code: i32) -> Snapshot {
        let now = Utc::now();
        let state = State::Terminated(Ended { code, signal: None, reason: "Completed", started: now, finished: now });
        Snapshot { state, last: None, restarts: 0, ready: false, started: false }
    }

    fn status(pod: &Value, containers: &[Snapshot]) -> Value {
        let ip = Ipv4Addr::LOCALHOST;
        Observed { pod, pod_ip: ip, host_ip: "127.2.127.1", init: &[], containers, message: None }.render()
    }

    fn pod(policy: &str) -> Value {
        json!({"metadata": {"uid": "u"}, "spec": {"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
    }

    fn ready(status: &Value) -> Value {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.clone().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default()
    }

    #[test]
    fn phase_follows_the_containers_and_the_restart_policy() {
        let waiting = Snapshot::waiting("ContainerCreating", String::new());
        for (policy, containers, phase) in [
            ("Always", vec![running(true), waiting], "Pending"),
            ("Always", vec![running(true), running(true)], "Running"),
            ("Never", vec![running(true), ended(0)], "Running"),
            ("Never", vec![ended(0), ended(0)], "Succeeded"),
            ("OnFailure", vec![ended(0), ended(1)], "Failed"),
        ] {
            assert_eq!(status(&pod(policy), &containers)["phase"], phase, "{policy} {containers:?}");
        }
    }

    #[test]
    fn ready_names_what_is_not_and_keeps_its_transition() {
        let unready = ready(&status(&pod("Always"), &[running(true), running(false)]));
        assert_eq!(unready["message"], "containers with unready status: [b]");
        assert_eq!(unready["lastTransitionTime"], "2026-01-01T00:00:00Z");
        let all = status(&pod("Always"), &[running(true), running(true)]);
        assert_eq!(ready(&all)["status"], "True");
        assert_ne!(ready(&all)["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(all["conditions"].as_array().map(Vec::len), Some(5));
        assert_eq!(ready(&status(&pod("Never"), &[ended(0), ended(0)]))["reason"], "PodCompleted");
    }

    #[test]
    fn qos_classes() {
        let spec = |requests: Value, limits: Value| json!({"containers": [{"resources": {"requests": requests, "limits": limits}}]});
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(qos_class(&spec(json!({}), json!({}))), "BestEffort");
        assert_eq!(qos_class(&spec(json!({"cpu": "1"}), json!({}))), "Burstable");
        assert_eq!(qos_class(&spec(both.clone(), both)), "Guaranteed");
    }
}
