//! A status that is written: the rules that hold for all writers.

use serde_json::{Value, json};

use super::{
    errors::{Errors, list, text},
    job, names, resources,
};
use crate::api::registry::Definition;

/// Counts that cannot be negative, in upstream's order, and those that cannot be above `replicas`.
fn counts(table: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match table {
        "apps/deployments" => (
            &[
                "observedGeneration",
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas",
                "collisionCount",
            ],
            &["updatedReplicas", "readyReplicas", "availableReplicas"],
        ),
        "apps/replicasets" | "/replicationcontrollers" => (
            &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"],
            &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
        ),
        "apps/statefulsets" => (
            &[
                "replicas",
                "readyReplicas",
                "currentReplicas",
                "updatedReplicas",
                "availableReplicas",
                "observedGeneration",
                "collisionCount",
            ],
            &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
        ),
        "apps/daemonsets" => (
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "observedGeneration",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
                "collisionCount",
            ],
            &[],
        ),
        "autoscaling/horizontalpodautoscalers" => (&["currentReplicas", "desiredReplicas"], &[]),
        "batch/jobs" => (&["active", "succeeded", "failed", "ready", "terminating"], &[]),
        "policy/poddisruptionbudgets" => {
            (&["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"], &[])
        }
        _ => (&[], &[]),
    }
}

/// A status beside the one before it.
pub(super) fn check(definition: &Definition, old: &Value, new: &Value, errors: &mut Errors) {
    let status = &new["status"];
    let number = |key: &str| status[key].as_i64().unwrap_or(0);
    let (counted, bounded) = counts(&definition.table);
    for key in counted {
        errors.not_negative(status, key, "status");
    }
    for key in bounded.iter().filter(|key| number(key) > number("replicas")) {
        errors.invalid(&format!("status.{key}"), &status[*key], "cannot be greater than status.replicas");
    }
    if !bounded.is_empty() && number("availableReplicas") > number("readyReplicas") {
        let why = "cannot be greater than readyReplicas";
        errors.invalid("status.availableReplicas", &status["availableReplicas"], why);
    }
    let collisions = |object: &Value| object["status"]["collisionCount"].as_i64();
    if counted.contains(&"collisionCount") && collisions(old).is_some_and(|was| collisions(new).unwrap_or(0) < was) {
        errors.invalid("status.collisionCount", &status["collisionCount"], "cannot be decremented");
    }
    match definition.table.as_str() {
        "/pods" => of_pod(old, new, errors),
        "/nodes" => super::core::node(new, false, errors),
        "/services" => load_balancer(new, errors),
        "/resourcequotas" => {
            resources::hard(&status["hard"], "status.hard", errors);
            resources::hard(&status["used"], "status.used", errors);
        }
        "/persistentvolumeclaims" => {
            for (name, amount) in status["capacity"].as_object().into_iter().flatten() {
                resources::amount(name, amount, &format!("status.capacity[{name}]"), errors);
            }
        }
        "batch/jobs" => of_job(old, new, errors),
        _ => {}
    }
}

fn of_pod(old: &Value, new: &Value, errors: &mut Errors) {
    let (was, status) = (&old["status"], &new["status"]);
    for (index, condition) in list(status, "conditions").iter().enumerate() {
        let kind = text(condition, "type");
        if !["PodScheduled", "Ready", "Initialized"].contains(&kind) {
            errors.texts(&format!("status.conditions[{index}].Type"), kind, names::qualified(kind));
        }
    }
    let node = text(status, "nominatedNodeName");
    if !node.is_empty() && text(was, "nominatedNodeName") != node {
        errors.texts("status.nominatedNodeName", node, names::subdomain(node));
    }
    if status["qosClass"] != was["qosClass"] {
        errors.invalid("status.qosClass", &status["qosClass"], "field is immutable");
    }
    for kind in ["containerStatuses", "initContainerStatuses"] {
        not_alive_again(&old["spec"], list(was, kind), list(status, kind), kind, errors);
    }
    addresses(status, "podIP", "podIPs", errors);
    addresses(status, "hostIP", "hostIPs", errors);
}

/// A container that ended for good stays ended.
fn not_alive_again(spec: &Value, was: &[Value], is: &[Value], kind: &str, errors: &mut Errors) {
    let policy = text(spec, "restartPolicy");
    if policy == "Always" {
        return;
    }
    // What runs beside the others starts anew.
    let beside = |name: &Value| {
        list(spec, "initContainers").iter().any(|one| one["name"] == *name && one["restartPolicy"] == "Always")
    };
    for (index, before) in was.iter().enumerate().filter(|(_, before)| !beside(&before["name"])) {
        let ended = &before["state"]["terminated"];
        let again = ended["exitCode"].as_i64() != Some(0) && policy == "OnFailure";
        let alive = |now: &Value| now["name"] == before["name"] && now["state"]["terminated"].is_null();
        if ended.is_object() && !again && is.iter().any(alive) {
            let why = "may not be transitioned to non-terminated state";
            errors.forbidden(&format!("status.{kind}[{index}].state"), why);
        }
    }
}

/// One address, or one of each family; without a list the single one is it.
fn addresses(status: &Value, single: &str, several: &str, errors: &mut Errors) {
    let listed: Vec<&str> = list(status, several).iter().map(|one| text(one, "ip")).collect();
    let one = text(status, single);
    let all = if listed.is_empty() && !one.is_empty() { vec![one] } else { listed };
    for (index, given) in all.iter().enumerate() {
        if names::ip(given).is_none() {
            errors.invalid(&format!("status.{several}[{index}]"), &json!(given), "must be a valid IP address");
        }
    }
    let old = all.iter().filter(|given| names::ip(given).is_some_and(|ip| ip.is_ipv4())).count();
    if all.len() > 2 || (all.len() == 2 && old != 1 && all.iter().all(|given| names::ip(given).is_some())) {
        let why = "may specify no more than one IP for each IP family";
        errors.invalid(&format!("status.{several}"), &json!(all), why);
    }
}

fn load_balancer(service: &Value, errors: &mut Errors) {
    for (index, ingress) in list(&service["status"]["loadBalancer"], "ingress").iter().enumerate() {
        let at = format!("status.loadBalancer.ingress[{index}]");
        let (ip, host) = (text(ingress, "ip"), text(ingress, "hostname"));
        if !ip.is_empty() && names::ip(ip).is_none() {
            errors.invalid(&format!("{at}.ip"), &json!(ip), "must be a valid IP address");
        }
        if !host.is_empty() {
            errors.texts(&format!("{at}.hostname"), host, names::subdomain(host));
            if names::ip(host).is_some() {
                errors.invalid(&format!("{at}.hostname"), &json!(host), "must be a DNS name, not an IP address");
            }
        }
    }
}

fn of_job(old: &Value, new: &Value, errors: &mut Errors) {
    let status = &new["status"];
    let uncounted = &status["uncountedTerminatedPods"];
    let mut seen: Vec<&Value> = Vec::new();
    for key in ["succeeded", "failed"] {
        for (index, uid) in list(uncounted, key).iter().enumerate() {
            let at = format!("status.uncountedTerminatedPods.{key}[{index}]");
            if *uid == "" {
                errors.invalid(&at, uid, "must not be empty");
            } else if seen.contains(&uid) {
                errors.duplicate(&at, uid);
            }
            seen.push(uid);
        }
    }
    let is = |kind: &str| list(status, "conditions").iter().any(|one| one["type"] == kind && one["status"] == "True");
    let changed = |key: &str| old["status"][key] != status[key];
    let (complete, failed) = (is("Complete"), is("Failed"));
    let mut conditions = |wrong: bool, why: &str| {
        if wrong {
            errors.invalid("status.conditions", &json!(""), why);
        }
    };
    conditions(complete && failed, "cannot set Complete=True and Failed=true conditions");
    conditions(complete && is("FailureTarget"), "cannot set Complete=True and FailureTarget=true conditions");
    let completion = &status["completionTime"];
    if complete && completion.is_null() {
        errors.required("status.completionTime", "completionTime is required for Complete jobs");
    }
    if !complete && !completion.is_null() && changed("completionTime") {
        let why = "cannot set completionTime when there is no Complete=True condition";
        errors.invalid("status.completionTime", completion, why);
    }
    let targeted = [
        (failed && !is("FailureTarget"), "cannot set Failed=True condition without the FailureTarget=true condition"),
        (
            complete && !is("SuccessCriteriaMet"),
            "cannot set Complete=True without the SuccessCriteriaMet=true condition",
        ),
    ];
    for (wrong, why) in targeted {
        if wrong && changed("conditions") {
            errors.invalid("status.conditions", &json!(""), why);
        }
    }
    if (complete || failed) && status["startTime"].is_null() {
        errors.required("status.startTime", "startTime is required for finished job");
    }
    // Times in this form sort as texts.
    if let (Some(start), Some(end)) = (status["startTime"].as_str(), completion.as_str())
        && end < start
    {
        errors.invalid("status.completionTime", completion, "completionTime cannot be set before startTime");
    }
    job_indexes(new, errors);
    if status["ready"].as_i64().unwrap_or(0) > status["active"].as_i64().unwrap_or(0) {
        errors.invalid("status.ready", &status["ready"], "cannot set more ready pods than active");
    }
    for (one, other) in [("SuccessCriteriaMet", "Failed"), ("SuccessCriteriaMet", "FailureTarget")] {
        if is(one) && is(other) {
            errors.invalid(
                "status.conditions",
                &json!(""),
                &format!("cannot set {one}=True and {other}=true conditions"),
            );
        }
    }
    for key in ["failed", "succeeded"] {
        let (was, now) = (old["status"][key].as_i64().unwrap_or(0), status[key].as_i64().unwrap_or(0));
        if now < was || now < 0 {
            errors.invalid(&format!("status.{key}"), &status[key], "cannot decrease");
        }
    }
}

fn job_indexes(new: &Value, errors: &mut Errors) {
    let (spec, status) = (&new["spec"], &new["status"]);
    let completed = text(status, "completedIndexes");
    let at = "status.completedIndexes";
    if let Err(why) = job::indexes(completed, spec["completions"].as_i64().unwrap_or(0)) {
        errors.invalid(at, &json!(completed), &format!("error parsing completedIndexes: {why}"));
    }
    if !completed.is_empty() && spec["completionMode"] != "Indexed" {
        let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid(at, &json!(completed), why);
    }
    if spec["backoffLimitPerIndex"].is_null() && !status["failedIndexes"].is_null() {
        let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.invalid("status.failedIndexes", &status["failedIndexes"], why);
    }
}
