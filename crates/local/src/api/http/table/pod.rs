//! Cells of pods. Upstream: `printPod`.

use serde_json::{Value, json};

use super::text::{age, list, number, or_none, text};
use crate::api::registry::Definition;

pub(super) fn cell(column: &str, pod: &Value) -> Value {
    match column {
        "Ready" => {
            let shown = Shown::of(pod);
            json!(format!("{}/{}", shown.ready, shown.containers))
        }
        "Status" => json!(Shown::of(pod).reason),
        "Restarts" => {
            let shown = Shown::of(pod);
            match shown.last_restart {
                Some(time) if shown.restarts != 0 => json!(format!("{} ({} ago)", shown.restarts, age(time))),
                _ => json!(shown.restarts.to_string()),
            }
        }
        "IP" => json!(or_none(text(pod, "/status/podIPs/0/ip"))),
        "Node" => json!(or_none(text(pod, "/spec/nodeName"))),
        "Nominated Node" => json!(or_none(text(pod, "/status/nominatedNodeName"))),
        "Readiness Gates" => {
            let all = list(pod, "/spec/readinessGates").count();
            let met = list(pod, "/spec/readinessGates").filter(|gate| holds(pod, &text(gate, "/conditionType")));
            json!(if all == 0 { "<none>".to_owned() } else { format!("{}/{all}", met.count()) })
        }
        _ => Value::Null,
    }
}

/// A row of a pod that ended says so.
pub(super) fn conditions(definition: &Definition, pod: &Value) -> Option<Value> {
    if definition.table != "/pods" {
        return None;
    }
    let (reason, message) = match pod["status"]["phase"].as_str()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
}

fn holds(pod: &Value, condition: &str) -> bool {
    let found = list(pod, "/status/conditions").find(|known| known["type"] == condition);
    found.is_some_and(|known| known["status"] == "True")
}

/// What is shown of a pod's containers.
struct Shown<'a> {
    ready: usize,
    containers: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(pod: &'a Value) -> Self {
        let sidecars = list(pod, "/spec/initContainers").filter(|container| is_sidecar(container)).count();
        let mut reason = text(pod, "/status/reason");
        if reason.is_empty() {
            reason = text(pod, "/status/phase");
        }
        let gated = |known: &Value| known["type"] == "PodScheduled" && known["reason"] == "SchedulingGated";
        if list(pod, "/status/conditions").any(gated) {
            "SchedulingGated".clone_into(&mut reason);
        }
        let containers = list(pod, "/spec/containers").count() + sidecars;
        let mut shown = Self { ready: 0, containers, reason, restarts: 0, last_restart: None };
        let initializing = shown.init_containers(pod);
        if !initializing || holds(pod, "Initialized") {
            shown.main_containers(pod);
        }
        let phase = pod["status"]["phase"].as_str();
        if pod["metadata"]["deletionTimestamp"].is_string() {
            if pod["status"]["reason"] == "NodeLost" {
                "Unknown".clone_into(&mut shown.reason);
            } else if !matches!(phase, Some("Succeeded" | "Failed")) {
                "Terminating".clone_into(&mut shown.reason);
            }
        }
        shown
    }

    fn restarted(&mut self, status: &'a Value) {
        self.restarts += number(status, "/restartCount");
        let last = status.pointer("/lastState/terminated/finishedAt").and_then(Value::as_str);
        self.last_restart = self.last_restart.max(last);
    }

    /// Whether containers are awaited that run before the others.
    fn init_containers(&mut self, pod: &'a Value) -> bool {
        let all = list(pod, "/spec/initContainers").count();
        for (index, status) in list(pod, "/status/initContainerStatuses").enumerate() {
            self.restarted(status);
            let state = &status["state"];
            let terminated = state["terminated"].is_object();
            if terminated && number(state, "/terminated/exitCode") == 0 {
                continue;
            }
            if is_sidecar(spec_of(pod, status)) && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            let waiting = text(state, "/waiting/reason");
            let why = if terminated {
                ended(state)
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                waiting
            } else {
                format!("{index}/{all}")
            };
            self.reason = format!("Init:{why}");
            return true;
        }
        false
    }

    fn main_containers(&mut self, pod: &'a Value) {
        (self.restarts, self.last_restart) = (0, None);
        for status in list(pod, "/status/initContainerStatuses").filter(|status| is_sidecar(spec_of(pod, status))) {
            self.restarted(status);
        }
        let mut running = false;
        let statuses: Vec<&Value> = list(pod, "/status/containerStatuses").collect();
        for status in statuses.into_iter().rev() {
            self.restarted(status);
            let state = &status["state"];
            let waiting = text(state, "/waiting/reason");
            if !waiting.is_empty() {
                self.reason = waiting;
            } else if state["terminated"].is_object() {
                self.reason = ended(state);
            } else if status["ready"] == true && state["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        // Others run on.
        if self.reason == "Completed" && running {
            let reason = if holds(pod, "Ready") { "Running" } else { "NotReady" };
            reason.clone_into(&mut self.reason);
        }
    }
}

fn spec_of<'a>(pod: &'a Value, status: &Value) -> &'a Value {
    list(pod, "/spec/initContainers").find(|container| container["name"] == status["name"]).unwrap_or(&Value::Null)
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// How a container ended.
fn ended(state: &Value) -> String {
    let reason = text(state, "/terminated/reason");
    let signal = number(state, "/terminated/signal");
    match (reason.is_empty(), signal) {
        (false, _) => reason,
        (true, 0) => format!("ExitCode:{}", number(state, "/terminated/exitCode")),
        (true, signal) => format!("Signal:{signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_is_said_to_be() {
        let init =
            |state: Value| json!({ "initContainerStatuses": [{ "name": "i", "restartCount": 2, "state": state }] });
        let main = |state: Value| {
            json!({ "phase": "Running", "containerStatuses": [
            { "name": "a", "ready": true, "restartCount": 1, "state": { "running": {} } },
            { "name": "b", "state": state },
        ] })
        };
        let rows = [
            (json!({ "phase": "Pending" }), "Pending", "0/2", "0"),
            (
                json!({ "conditions": [{ "type": "PodScheduled", "reason": "SchedulingGated" }] }),
                "SchedulingGated",
                "0/2",
                "0",
            ),
            (init(json!({ "terminated": { "exitCode": 3 } })), "Init:ExitCode:3", "0/2", "2"),
            (init(json!({ "waiting": { "reason": "PodInitializing" } })), "Init:0/1", "0/2", "2"),
            (init(json!({ "waiting": { "reason": "ErrImagePull" } })), "Init:ErrImagePull", "0/2", "2"),
            (init(json!({ "terminated": { "exitCode": 0 } })), "", "0/2", "0"),
            (main(json!({ "waiting": { "reason": "CrashLoopBackOff" } })), "CrashLoopBackOff", "1/2", "1"),
            (main(json!({ "terminated": { "exitCode": 9, "signal": 9 } })), "Signal:9", "1/2", "1"),
            (main(json!({ "terminated": { "reason": "Completed" } })), "NotReady", "1/2", "1"),
        ];
        for (status, reason, ready, restarts) in rows {
            let pod = json!({
                "metadata": {},
                "spec": { "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "i" }] },
                "status": status,
            });
            let cells = ["Status", "Ready", "Restarts"].map(|column| cell(column, &pod));
            assert_eq!(cells, [json!(reason), json!(ready), json!(restarts)], "{pod}");
        }
    }
}
