//! Rows of the cluster autoscaler: what it knows of groups between loops.

use std::collections::BTreeMap;

use democtl_core::autoscale::nodes::{
    Backoff, BackoffOptions, ClusterState, Failure, GroupSize, IncorrectSize, RegisteredNode, StateOptions,
    incorrect_sizes, long_unregistered,
};
use serde_json::{Value, json};

use crate::{
    Judgement,
    nodes::{classes, list, texts},
    read, same,
};

fn backoff_options(value: &Value) -> BackoffOptions {
    let default = BackoffOptions::default();
    let seconds = |key: &str, default: f64| value[key].as_f64().unwrap_or(default);
    BackoffOptions {
        initial_s: seconds("initial_seconds", default.initial_s),
        max_s: seconds("max_seconds", default.max_s),
        reset_s: seconds("reset_seconds", default.reset_s),
    }
}

pub(crate) fn backoff(i: &Value, _: &Value) -> Judgement {
    let mut backoff = Backoff::new(backoff_options(i));
    for (number, step) in list(&i["steps"]).iter().enumerate() {
        let (group, now) = (step["group"].as_str().unwrap_or_default(), step["at_seconds"].as_f64().unwrap_or(0.0));
        match step["op"].as_str() {
            Some("backoff") => {
                let code = step["error_code"].as_str().unwrap_or_default().to_owned();
                backoff.failed(group, Failure { code, ..Failure::default() }, now);
            }
            Some("remove") => backoff.remove(group),
            Some("remove_stale") => backoff.remove_stale(now),
            _ => {}
        }
        let Some(expected) = step.get("expect").and_then(Value::as_object) else { continue };
        let status = backoff.status(group, now);
        for (key, value) in expected {
            let got = match key.as_str() {
                "backed_off" => json!(status.is_some()),
                "error_code" => json!(status.map(|failure| &failure.code)),
                "entries" => json!(backoff.len()),
                other => return Err(format!("step {number}: {other} is not known")),
            };
            same(&format!("step {number}, {key}"), value, &got)?;
        }
    }
    Ok(())
}

fn group(value: &Value) -> Result<GroupSize, String> {
    Ok(GroupSize {
        id: read(&value["id"])?,
        min: value["min"].as_i64().unwrap_or(0),
        target: read(&value["target"])?,
        instances: read::<Option<_>>(&value["instances"])?.unwrap_or_default(),
        max_node_provision_s: value["max_node_provision_seconds"].as_f64().unwrap_or(900.0),
    })
}

fn node(value: &Value) -> Result<RegisteredNode, String> {
    Ok(RegisteredNode {
        name: read(&value["name"])?,
        instance: read(&value["instance"])?,
        group: read(&value["group"])?,
        ready: value["ready"] == true,
        created_s: value["created_seconds"].as_f64(),
        in_cloud: value["exists_in_cloud"] != false,
    })
}

fn incorrect_told(sizes: &BTreeMap<String, IncorrectSize>) -> Value {
    let told = sizes.iter().map(|(group, size)| {
        let told = json!({
            "current": size.current,
            "expected": size.expected,
            "first_observed_seconds": size.first_observed_s,
        });
        (group.clone(), told)
    });
    Value::Object(told.collect())
}

pub(crate) fn registry(i: &Value) -> Judgement {
    let mut state = ClusterState::new(StateOptions {
        ok_total_unready: read(&i["ok_total_unready_count"])?,
        max_unready_percent: read(&i["max_total_unready_percentage"])?,
        backoff: backoff_options(&i["backoff"]),
    });
    for (number, step) in list(&i["steps"]).iter().enumerate() {
        let what = format!("step {number}, {}", step["op"].as_str().unwrap_or_default());
        let Some((expected, got)) = operate(&mut state, step)? else { continue };
        same(&what, &expected, &got)?;
    }
    Ok(())
}

/// Carries one step out; what it expects and what came.
fn operate(state: &mut ClusterState, step: &Value) -> Result<Option<(Value, Value)>, String> {
    let (id, now) = (step["group"].as_str().unwrap_or_default(), step["at_seconds"].as_f64().unwrap_or(0.0));
    let groups = || list(&step["groups"]).iter().map(group).collect::<Result<Vec<_>, _>>();
    let got = match step["op"].as_str().unwrap_or_default() {
        "update_nodes" => {
            let nodes = list(&step["nodes"]).iter().map(node).collect::<Result<Vec<_>, _>>()?;
            state.update_nodes(&groups()?, &nodes, now);
            json!({ "incorrect_sizes": incorrect_told(state.incorrect_sizes()) })
        }
        "register_scale_up" => {
            let provision = step["max_node_provision_seconds"].as_f64().unwrap_or(900.0);
            state.register_scale_up(id, read(&step["delta"])?, provision, now);
            let told = state.request(id).map(|request| {
                json!({
                    "at_seconds": request.at_s,
                    "expected_add_seconds": request.expected_s,
                    "increase": request.increase,
                })
            });
            json!({ "request": told })
        }
        "recalculate" => {
            state.recalculate(&groups()?);
            return Ok(None);
        }
        "register_failed_scale_up" => {
            let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
            state.fail(id, Failure { code: text("reason"), message: text("error_message") }, now);
            return Ok(None);
        }
        "cluster_healthy" => json!(state.is_cluster_healthy()),
        "group_healthy" => json!(state.is_group_healthy(id)),
        "scaling_up" => json!(state.is_scaling_up(id)),
        "started_scale_up" => json!(state.has_started_scale_up(id)),
        "failures" => {
            let mut told = json!({});
            for failed in state.failures() {
                let one = json!({ "at_seconds": failed.at_s, "reason": failed.failure.code });
                match told[&failed.group].as_array_mut() {
                    Some(list) => list.push(one),
                    None => told[&failed.group] = json!([one]),
                }
            }
            told
        }
        "readiness" => {
            let total = state.total();
            json!({
                "deleted": total.deleted,
                "not_started": total.not_started,
                "ready": total.ready,
                "unready": total.unready,
            })
        }
        "unregistered" => json!(state.unregistered().keys().collect::<Vec<_>>()),
        "upcoming" => {
            let upcoming = state.upcoming();
            let counts: BTreeMap<_, _> = upcoming.iter().map(|(group, (count, _))| (group, count)).collect();
            let registered: BTreeMap<_, _> = upcoming.iter().map(|(group, (_, names))| (group, names)).collect();
            json!({ "counts": counts, "registered": registered })
        }
        "autoscaled_count" => {
            let (current, target) = state.autoscaled_count();
            json!({ "current": current, "target": target })
        }
        "safety" => {
            let (healthy, failure) = (state.is_group_healthy(id), state.backoff.status(id, now));
            let mut told = json!({
                "backed_off": failure.is_some(),
                "healthy": healthy,
                "safe": healthy && failure.is_none(),
            });
            if let Some(failure) = failure {
                told["error_code"] = json!(failure.code);
                told["error_message"] = json!(failure.message);
            }
            told
        }
        other => return Err(format!("operation {other:?} is not known")),
    };
    Ok(step.get("expect").map(|expected| (expected.clone(), got)))
}

pub(crate) fn incorrect(i: &Value, e: &Value) -> Judgement {
    let before = i["before"].as_object().into_iter().flatten().map(|(group, size)| {
        let int = |key: &str| size[key].as_i64().unwrap_or(0);
        let age = size["first_observed_age_seconds"].as_f64().unwrap_or(0.0);
        let size = IncorrectSize { current: int("current"), expected: int("expected"), first_observed_s: -age };
        (group.clone(), size)
    });
    let readiness = i["readiness"].as_object().into_iter().flatten();
    let readiness = readiness.map(|(group, value)| (group.clone(), classes(value))).collect();
    let got = incorrect_sizes(&before.collect(), &readiness, &read(&i["targets"])?, 0.0);
    let told: BTreeMap<&String, Value> = got
        .iter()
        .map(|(group, size)| {
            let age = -size.first_observed_s;
            let told = json!({ "current": size.current, "expected": size.expected, "first_observed_age_seconds": age });
            (group, told)
        })
        .collect();
    let expected: BTreeMap<String, Value> = read(&e["after"])?;
    let expected: BTreeMap<&String, Value> = expected
        .iter()
        .map(|(group, value)| {
            let mut value = value.clone();
            value["first_observed_age_seconds"] = json!(value["first_observed_age_seconds"].as_f64().unwrap_or(0.0));
            (group, value)
        })
        .collect();
    let plus_zero = |sizes: BTreeMap<&String, Value>| {
        let told = sizes.into_iter().map(|(group, mut size)| {
            let age = size["first_observed_age_seconds"].as_f64().unwrap_or(0.0) + 0.0;
            size["first_observed_age_seconds"] = json!(age);
            (group.clone(), size)
        });
        told.collect::<BTreeMap<String, Value>>()
    };
    same("sizes", &plus_zero(expected), &plus_zero(told))
}

pub(crate) fn fix(i: &Value, e: &Value) -> Judgement {
    let size = IncorrectSize {
        current: read(&i["registered"])?,
        expected: read(&i["group"]["target"])?,
        first_observed_s: read(&i["first_observed_seconds"])?,
    };
    let got = size.fix(read(&i["max_node_provision_seconds"])?, read(&i["now_seconds"])?);
    same("change", &e["target_change"], &json!(got))
}

pub(crate) fn unregistered(i: &Value, e: &Value) -> Judgement {
    let mut size = group(&i["group"])?;
    size.max_node_provision_s = read(&i["max_node_provision_seconds"])?;
    let since = read(&i["unregistered_since_seconds"])?;
    let mut got = long_unregistered(&size, &since, i["group"]["zero_or_max"] == true, read(&i["now_seconds"])?);
    got.sort();
    same("deleted", &texts(&e["deleted"])?, &got)
}
