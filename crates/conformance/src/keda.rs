//! Rows of KEDA.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use democtl_core::autoscale::keda::{
    Admission, Annotations, Bounds, Cron, Fallback, Metric, Object, Observation, Parameters, Prometheus, Quantity,
    Reading, Redis, Replicas, State, Trigger, admit, apply_fallback, check_bounds, check_fallback, check_triggers,
    execute, external_target, fallback_condition, hpa, hpa_health, is_polling_relevant, judge as judge_state,
    metric_names, metric_target_type, normalize, prune_health, read_health, remove_index, resource_target, serve,
    triggers_activity, uses_cached_metrics, uses_hpa_observations, uses_modifiers, warnings, write_health,
};
use serde_json::{Value, json};

use crate::{Judgement, Row, read, same};

/// Judges a row of this family and names the rule; `None` for other families.
pub(crate) fn judge(row: &Row) -> Option<(Judgement, &'static str)> {
    let (i, e) = (&row.input, &row.expect);
    Some(match row.kind.as_str() {
        "redis_metadata" => (redis(i, e), "KEDA P1-P5, R1-R4"),
        "prometheus_metadata" => (prometheus(i, e), "KEDA P1-P5, M1, M2"),
        "cron_metadata" => (cron(i, e), "KEDA C1"),
        "cpu_memory_metadata" => (resource(i, e), "KEDA U1"),
        "cpu_memory_spec" => (resource_spec(i, e), "KEDA U2"),
        "redis_metric_name" | "prometheus_metric_name" | "cron_metric_name" => {
            (metric_name(&row.kind, i, e), "KEDA N1, N3, R5, M3, C2")
        }
        "redis_activity" => (redis_activity(i, e), "KEDA R5"),
        "prometheus_activity" | "prometheus_result" => (prometheus_reading(&row.kind, i, e), "KEDA M4-M6"),
        "cron_active" => (cron_active(i, e), "KEDA C3"),
        "metric_target" | "metric_value" => (quantities(&row.kind, i, e), "KEDA P6, P7"),
        "metric_target_type" | "remove_index" | "normalize" => (names(&row.kind, i, e), "KEDA N1-N3"),
        "bounds" | "hpa_replicas" | "idle_or_min" => (bounds(&row.kind, i, e), "KEDA V1, V2"),
        "validate_triggers" => (failed(&check_triggers(i), e), "KEDA V3"),
        "fallback_valid" => (failed(&check_fallback(i), e), "KEDA V4"),
        "webhook" => (webhook(i, e), "KEDA V2-V7"),
        "pause_annotations" => (annotations(i, e), "KEDA L2"),
        "uses_modifiers" => (same("uses", &e["usesModifiers"], &json!(uses_modifiers(i))), "KEDA L6"),
        "polling_relevant" => (polling(i, e), "KEDA L6"),
        "hpa_spec" => (hpa_spec(i, e), "KEDA H1-H4"),
        "executor" => (executor(i, e), "KEDA L3-L6"),
        "hpa_health" => (health(i, e), "KEDA L6"),
        "triggers_activity" => (activity(i, e), "KEDA L8"),
        "state" => (state(i, e), "KEDA L1, F1"),
        "hpa_metrics" => (hpa_metrics(i, e), "KEDA L7"),
        "fallback" => (fallback(i, e), "KEDA F1-F3"),
        "health_prune" => (prune(i, e), "KEDA H2"),
        _ => return None,
    })
}

/// Whether it fails, and with which words.
fn failed<T>(got: &Result<T, String>, e: &Value) -> Judgement {
    same("error", &e["error"].as_bool().unwrap_or(false), &got.is_err())?;
    let Err(error) = got else { return Ok(()) };
    let parts = e["error_contains"].as_array().into_iter().flatten().filter_map(Value::as_str);
    parts.into_iter().try_for_each(|part| {
        if error.contains(part) { Ok(()) } else { Err(format!("error: expected {part:?}, got {error:?}")) }
    })
}

fn strings(value: &Value) -> Result<BTreeMap<String, String>, String> {
    read::<Option<_>>(value).map(Option::unwrap_or_default)
}

fn parameters(i: &Value) -> Result<Parameters, String> {
    Ok(Parameters {
        metadata: strings(&i["metadata"])?,
        auth: strings(&i["authParams"])?,
        env: strings(&i["resolvedEnv"])?,
    })
}

/// Each expected member, whatever else there is.
fn members(expected: &Value, got: &Value) -> Judgement {
    expected.as_object().into_iter().flatten().try_for_each(|(key, value)| match (value.as_f64(), got[key].as_f64()) {
        (Some(expected), Some(got)) => same(key, &expected, &got),
        _ => same(key, value, &got[key]),
    })
}

fn redis(i: &Value, e: &Value) -> Judgement {
    let got = Redis::parse(&parameters(i)?);
    failed(&got, e)?;
    let Ok(redis) = got else { return Ok(()) };
    let got = json!({
        "activationListLength": redis.activation_list_length, "addresses": redis.addresses, "ca": redis.ca,
        "cert": redis.cert, "databaseIndex": redis.database_index, "enableTLS": redis.enable_tls, "hosts": redis.hosts,
        "key": redis.key, "keyPassword": redis.key_password, "listLength": redis.list_length,
        "listName": redis.list_name, "password": redis.password, "ports": redis.ports,
        "sentinelMaster": redis.sentinel_master, "sentinelPassword": redis.sentinel_password,
        "sentinelUsername": redis.sentinel_username, "unsafeSsl": redis.unsafe_ssl, "username": redis.username,
    });
    members(&e["meta"], &got)
}

fn prometheus(i: &Value, e: &Value) -> Judgement {
    let got = Prometheus::parse(&parameters(i)?, i["podIdentity"].as_str().unwrap_or_default());
    failed(&got, e)?;
    let Ok(prometheus) = got else { return Ok(()) };
    let got = json!({
        "activationThreshold": prometheus.activation_threshold, "authModes": prometheus.auth_modes,
        "awsRegion": prometheus.aws_region, "customHeaders": prometheus.custom_headers,
        "ignoreNullValues": prometheus.ignore_null_values, "namespace": prometheus.namespace,
        "query": prometheus.query, "queryParameters": prometheus.query_parameters,
        "serverAddress": prometheus.server_address, "threshold": prometheus.threshold,
        "timeoutSeconds": prometheus.timeout.map_or(0.0, |timeout| timeout.as_secs_f64()),
        "unsafeSsl": prometheus.unsafe_ssl,
    });
    members(&e["meta"], &got)
}

fn cron(i: &Value, e: &Value) -> Judgement {
    let got = Cron::parse(&parameters(i)?);
    failed(&got, e)?;
    got.map_or(Ok(()), |cron| same("desired replicas", &e["desiredReplicas"], &json!(cron.desired_replicas)))
}

fn cron_active(i: &Value, e: &Value) -> Judgement {
    let keys = ["timezone", "start", "end", "desiredReplicas"];
    let text = |key: &str| i[key].as_str().map_or_else(|| i[key].to_string(), ToOwned::to_owned);
    let metadata = keys.map(|key| (key.to_owned(), text(key))).into();
    let cron = Cron::parse(&Parameters { metadata, ..Parameters::default() })?;
    let now: DateTime<Utc> = read(&i["now"])?;
    let got = cron.is_active(now);
    failed(&got, e)?;
    let Ok(active) = got else { return Ok(()) };
    same("active", &e["active"], &json!(active))?;
    let value = if active { cron.desired_replicas as f64 } else { 0.0 };
    quantity("value", &e["value"], Some(Quantity::from_float(value)))
}

/// Quantities are compared by value.
fn quantity(what: &str, expected: &Value, got: Option<Quantity>) -> Judgement {
    let expected = expected.as_str().map(|text| text.parse::<Quantity>().map_err(|error| error.to_string()));
    same(what, &expected.transpose()?, &got)
}

/// A metric target, with its quantities by value.
fn target(expected: &Value, got: &Value) -> Judgement {
    same("target type", &expected["type"], &got["type"])?;
    same("averageUtilization", &expected["averageUtilization"], &got["averageUtilization"])?;
    ["averageValue", "value"].iter().try_for_each(|key| {
        let parsed = got[key].as_str().map(|text| text.parse().map_err(|error| format!("{error}"))).transpose()?;
        quantity(key, &expected[key], parsed)
    })
}

fn resource(i: &Value, e: &Value) -> Judgement {
    let metric_type = i["metricType"].as_str().unwrap_or_default();
    let got = resource_target(i["resource"].as_str().unwrap_or_default(), metric_type, &parameters(i)?);
    failed(&got, e)?;
    got.map_or(Ok(()), |(got, _)| target(&e["target"], &got))
}

fn trigger(kind: &str, i: &Value) -> Result<Trigger, String> {
    let index = i["triggerIndex"].as_u64().unwrap_or(0) as usize;
    let metric_type = i["metricType"].as_str().unwrap_or_default();
    Trigger::read(index, kind, metric_type, &parameters(i)?).map_err(|error| error.to_string())
}

fn resource_spec(i: &Value, e: &Value) -> Judgement {
    let trigger = trigger(i["resource"].as_str().unwrap_or_default(), i)?;
    same("spec", &e["spec"], &trigger.metric_spec("so"))
}

fn metric_name(kind: &str, i: &Value, e: &Value) -> Judgement {
    let trigger = trigger(kind.split('_').next().unwrap_or_default(), i);
    failed(&trigger, e)?;
    let Ok(trigger) = trigger else { return Ok(()) };
    let spec = trigger.metric_spec("so");
    same("name", &e["name"], &spec["external"]["metric"]["name"])?;
    same("type", &e["type"], &spec["type"])?;
    e.get("target").map_or(Ok(()), |expected| target(expected, &spec["external"]["target"]))
}

fn redis_activity(i: &Value, e: &Value) -> Judgement {
    let redis = Redis { activation_list_length: read(&i["activationListLength"])?, ..Redis::default() };
    let length: i64 = read(&i["length"])?;
    same("active", &e["active"], &json!(redis.is_active(length)))?;
    quantity("metric", &e["metric"], Some(Quantity::from_int(length)))
}

fn prometheus_reading(kind: &str, i: &Value, e: &Value) -> Judgement {
    let text = |key: &str| i[key].as_str().unwrap_or_default().to_owned();
    let trigger = Prometheus {
        query: text("query"),
        namespace: text("namespace"),
        query_parameters: strings(&i["queryParameters"])?,
        custom_headers: strings(&i["customHeaders"])?,
        ignore_null_values: read(&i["ignoreNullValues"])?,
        activation_threshold: i["activationThreshold"].as_f64().unwrap_or(0.0),
        ..Prometheus::default()
    };
    let got = trigger.read(read(&i["status"])?, i["body"].as_str().unwrap_or_default());
    failed(&got, e)?;
    if kind == "prometheus_activity" {
        let value = got.ok();
        let active = value.is_some_and(|value| trigger.is_active(value));
        same("active", &e["active"], &json!(active))?;
        return quantity("metric", &e["metric"], value.map(Quantity::from_float));
    }
    same("value", &e["value"].as_f64(), &Some(got.unwrap_or(-1.0)))?;
    let (path, pairs) = trigger.request("NOW");
    if let Some(expected) = e.get("path") {
        same("path", expected, &json!(path))?;
    }
    if let Some(expected) = e.get("query") {
        let pairs: BTreeMap<String, String> = pairs.into_iter().collect();
        same("query", expected, &json!(pairs))?;
    }
    members(&e["headers"], &json!(trigger.custom_headers))
}

fn float(value: &Value) -> f64 {
    let text = || match value.as_str() {
        Some("+Inf") => f64::INFINITY,
        Some("-Inf") => f64::NEG_INFINITY,
        _ => f64::NAN,
    };
    value.as_f64().unwrap_or_else(text)
}

fn quantities(kind: &str, i: &Value, e: &Value) -> Judgement {
    let value = &i["value"];
    if kind == "metric_value" {
        return quantity("value", &e["value"], Some(Quantity::from_float(float(value))));
    }
    let of = if i["milli"] == true { Quantity::from_float(float(value)) } else { Quantity::from_int(read(value)?) };
    target(&e["target"], &external_target(i["metricType"].as_str().unwrap_or_default(), &of))
}

fn names(kind: &str, i: &Value, e: &Value) -> Judgement {
    let text = |key: &str| i[key].as_str().unwrap_or_default();
    match kind {
        "normalize" => same("text", &e["s"], &json!(normalize(text("s")))),
        "metric_target_type" => {
            let got = metric_target_type(text("metricType")).map(ToOwned::to_owned);
            failed(&got, e)?;
            same("type", &e["metricType"].as_str().unwrap_or_default(), &got.unwrap_or_default().as_str())
        }
        _ => {
            let index = i["triggerIndex"].as_u64().unwrap_or(0) as usize;
            let got = remove_index(index, text("metricName")).map(ToOwned::to_owned);
            failed(&got, e)?;
            same("name", &e["name"].as_str().unwrap_or_default(), &got.unwrap_or_default().as_str())
        }
    }
}

fn bounds(kind: &str, i: &Value, e: &Value) -> Judgement {
    let bounds = Bounds::read(i);
    match kind {
        "bounds" => failed(&check_bounds(i), e),
        "hpa_replicas" => {
            same("replicas", e, &json!({ "maxReplicas": bounds.hpa_max(), "minReplicas": bounds.hpa_min() }))
        }
        _ => {
            let (replicas, idle) = Object::read(&json!({ "spec": i }), String::new()).idle_or_min();
            same("replicas", e, &json!({ "isIdle": idle, "replicas": replicas }))
        }
    }
}

/// The row's fields as a Kubernetes object.
fn object(i: &Value) -> Value {
    json!({
        "metadata": { "name": i["name"], "namespace": i["namespace"], "annotations": i["annotations"] },
        "spec": i,
    })
}

fn webhook(i: &Value, e: &Value) -> Judgement {
    let others: Vec<Value> = i["scaledObjects"].as_array().into_iter().flatten().map(object).collect();
    let hpas = i["hpas"].as_array().into_iter().flatten();
    let hpas: Vec<Value> = hpas
        .map(|hpa| {
            let metadata =
                json!({ "name": hpa["name"], "annotations": hpa["annotations"], "ownerReferences": hpa["owners"] });
            json!({ "metadata": metadata, "spec": hpa })
        })
        .collect();
    let ranges = i["limitRanges"].as_array().into_iter().flatten();
    let ranges: Vec<Value> = ranges
        .map(|range| match (range.get("spec"), range.get("limits")) {
            (Some(_), _) => range.clone(),
            (None, Some(limits)) => json!({ "spec": { "limits": limits } }),
            (None, None) => {
                let mut limit = range.clone();
                limit["type"] = range.get("type").cloned().unwrap_or_else(|| json!("Container"));
                json!({ "spec": { "limits": [limit] } })
            }
        })
        .collect();
    let reference = &i["scaleTargetRef"];
    let kind = reference["kind"].as_str().unwrap_or("Deployment");
    let key = format!("{kind}/{}", reference["name"].as_str().unwrap_or_default());
    let seen = Admission {
        target: i["pods"].get(key),
        limit_ranges: &ranges,
        hpas: &hpas,
        scaled_objects: &others,
        dry_run: i["dryRun"] == true,
    };
    failed(&admit(&object(i), &seen), e)?;
    same("warnings", &e["warnings"], &json!(warnings(i)))
}

fn annotations(i: &Value, e: &Value) -> Judgement {
    let got = Annotations::read(&json!({ "metadata": { "annotations": i["annotations"] } }));
    let checks = [
        ("hasPausedAnnotation", json!(got.has_pause)),
        ("paused", json!(got.paused)),
        ("pausedScaleIn", json!(got.paused_in)),
        ("pausedScaleOut", json!(got.paused_out)),
        ("forceActivation", json!(got.forced)),
        ("error", json!(matches!(got.paused_replicas, Some(Err(_))))),
        ("pausedReplicas", json!(got.paused_replicas.and_then(Result::ok))),
    ];
    for (key, expected) in e.as_object().into_iter().flatten() {
        let Some((_, got)) = checks.iter().find(|(known, _)| known == key) else {
            return Err(format!("{key} is not known"));
        };
        same(key, expected, got)?;
    }
    Ok(())
}

fn polling(i: &Value, e: &Value) -> Judgement {
    let checks =
        [("pollingIntervalRelevant", is_polling_relevant(i)), ("usesHPAObservations", uses_hpa_observations(i))];
    checks.iter().try_for_each(|(key, got)| e.get(key).map_or(Ok(()), |expected| same(key, expected, &json!(got))))
}

fn hpa_spec(i: &Value, e: &Value) -> Judgement {
    let object = &i["scaledObject"];
    let triggers = object["spec"]["triggers"].as_array().into_iter().flatten().enumerate();
    let triggers: Result<Vec<Trigger>, String> =
        triggers.map(|(index, trigger)| Trigger::parse(index, trigger).map_err(|error| error.to_string())).collect();
    let got = triggers.and_then(|triggers| Ok((hpa(object, &triggers)?, metric_names(&triggers))));
    failed(&got, e)?;
    let Ok(((name, hpa), (external, resource))) = got else { return Ok(()) };
    let expected = &e["hpa"];
    same("name", &expected["name"], &json!(name))?;
    let mut labels = hpa["metadata"]["labels"].clone();
    if let Some(labels) = labels.as_object_mut() {
        labels.remove("app.kubernetes.io/version");
    }
    same("labels", &expected["labels"], &labels)?;
    same("annotations", &expected["annotations"], &hpa["metadata"]["annotations"])?;
    same("spec", &expected["spec"], &hpa["spec"])?;
    same("external", &e["externalMetricNames"], &json!(external))?;
    same("resource", &e["resourceMetricNames"], &json!(resource))
}

fn executor(i: &Value, e: &Value) -> Judgement {
    let text = |key: &str| i["so"][key].as_str().unwrap_or_default();
    let target = format!("{} {}/{}", text("scaleTargetKind"), text("namespace"), text("scaleTargetName"));
    let mut so = object(&i["so"]);
    so["spec"] = i["so"].clone();
    let active: Vec<String> = read(&i["activeTriggers"])?;
    let seen = Observation {
        current: read(&i["currentReplicas"])?,
        active: read(&i["isActive"])?,
        error: read(&i["isError"])?,
        active_triggers: active.clone(),
        age_s: read(&i["secondsSinceCreation"])?,
        scale_error: (i["scaleUpdateFails"] == true).then(|| "boom".to_owned()),
        hpa_conditions: Some(i["hpaConditions"].clone()).filter(Value::is_array),
    };
    let last_active_s = i["secondsSinceLastActive"].as_f64().map(|ago| -ago);
    let got = execute(&Object::read(&so, target), &seen, &mut State { last_active_s }, 0.0);
    same("scaled to", &e["scaledTo"], &json!(got.scale_to))?;
    let conditions: BTreeMap<&str, Value> = got
        .conditions
        .iter()
        .map(|c| (c.kind, json!({ "message": c.message, "reason": c.reason, "status": c.status })))
        .collect();
    same("conditions", &e["conditions"], &json!(conditions))?;
    let events: Vec<Value> = got
        .events
        .iter()
        .map(|event| {
            let kind = if event.warning { "Warning" } else { "Normal" };
            json!({ "message": event.message, "reason": event.reason, "type": kind })
        })
        .collect();
    same("events", &e["events"], &json!(events))?;
    same("last active time", &e["lastActiveTimeSet"], &json!(got.touched))?;
    same("error", &e["error_text"].as_str(), &got.error.as_deref())?;
    let external: Vec<String> = read(&i["externalMetricNames"])?;
    let got = triggers_activity(&BTreeMap::new(), &external, &active, None);
    same("activity", &e["triggersActivity"], &json!(got))
}

fn health(i: &Value, e: &Value) -> Judgement {
    let named = i["hpaName"].as_str().is_some_and(|name| !name.is_empty());
    let got = Some(&i["hpaConditions"]).filter(|_| named).and_then(hpa_health);
    let got = got.map_or_else(
        || json!({ "message": "", "reason": "", "status": "" }),
        |c| json!({ "message": c.message, "reason": c.reason, "status": c.status }),
    );
    same("health", e, &got)
}

fn activity(i: &Value, e: &Value) -> Judgement {
    let pushed = i["forPushScalerMetric"].as_str().filter(|name| !name.is_empty());
    let (before, external): (BTreeMap<String, bool>, Vec<String>) =
        (read(&i["triggersActivity"])?, read(&i["externalMetricNames"])?);
    let active: Vec<String> = read::<Option<_>>(&i["activeTriggers"])?.unwrap_or_default();
    same("activity", e, &json!(triggers_activity(&before, &external, &active, pushed)))
}

fn metrics(value: &Value) -> Result<Vec<Metric>, String> {
    let list = value.as_array().into_iter().flatten();
    list.map(|metric| {
        let text = |key: &str| metric[key].as_str().unwrap_or_default();
        Ok((text("metricName").to_owned(), text("value").parse().map_err(|error| format!("{error}"))?))
    })
    .collect()
}

fn state(i: &Value, e: &Value) -> Judgement {
    let readings = i["readings"].as_array().into_iter().flatten();
    let readings: Result<Vec<Reading>, String> = readings
        .map(|reading| {
            let outcome = match reading["error"].as_str() {
                Some(error) => Err(error.to_owned()),
                None => Ok((metrics(&reading["metrics"])?, reading["active"] == true)),
            };
            let observed = reading["fromHPAObservation"] == true;
            Ok(Reading {
                metric: reading["metricName"].as_str().unwrap_or_default().to_owned(),
                outcome,
                fallback_active: observed.then(|| reading["fallbackActive"] == true),
                target: reading["target"].clone(),
            })
        })
        .collect();
    let got = judge_state(i, readings?, &mut BTreeMap::new(), Replicas::default());
    let sorted = |value: &Value| {
        let mut names: Vec<String> = read(value)?;
        names.sort();
        Ok::<_, String>(names)
    };
    same("active", &e["active"], &json!(got.active))?;
    same("error", &e["error"], &json!(got.error))?;
    same("fallback", &e["fallbackActive"], &json!(got.fallback_active))?;
    same("active triggers", &sorted(&e["activeTriggers"])?, &sorted(&json!(got.active_triggers))?)
}

fn hpa_metrics(i: &Value, e: &Value) -> Judgement {
    let reading = |value: &Value| match value["error"].as_str() {
        Some(error) => Ok::<_, String>(Err(error.to_owned())),
        None => Ok(Ok(metrics(&value["metrics"])?)),
    };
    let record = Some(&i["record"]).filter(|record| !record.is_null() && uses_cached_metrics(i));
    let record = record.map(reading).transpose()?;
    let now = Some(&i["reading"]).filter(|reading| !reading.is_null()).map(reading).transpose()?;
    let name = i["metricName"].as_str().unwrap_or_default();
    let got = serve(i, name, record.as_ref(), || now.as_ref());
    same("error", &e["error"], &json!(got.metrics.is_err()))?;
    same("error text", &e["error_text"].as_str(), &got.metrics.as_ref().err().map(String::as_str))?;
    same("metrics", &metrics(&e["metrics"])?, &got.metrics.unwrap_or_default())?;
    same("reads", &e["readsTrigger"], &json!(got.reads_trigger))?;
    same("stored", &e["stored"], &json!(got.stored))
}

fn fallback(i: &Value, e: &Value) -> Judgement {
    let configured = Fallback::read(i);
    let mut health = read_health(i);
    let reading = match i["scalerError"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(metrics(&i["metrics"])?),
    };
    let int = |key: &str| i[key].as_i64().unwrap_or(0);
    let replicas = Replicas { current: int("currentReplicas"), ready: int("readyReplicas") };
    let name = i["metricName"].as_str().unwrap_or_default();
    let stand_in = |quantity| vec![(name.to_owned(), quantity)];
    let got = apply_fallback(configured.as_ref(), &mut health, name, reading, &i["target"], replicas, stand_in);
    same("error", &e["error_text"].as_str(), &got.reading.as_ref().err().map(String::as_str))?;
    same("metrics", &metrics(&e["metrics"])?, &got.reading.unwrap_or_default())?;
    same("active", &e["fallbackActive"], &json!(got.fallback_active))?;
    same("health", &e["health"], &write_health(&health))?;
    let condition = fallback_condition(configured.as_ref(), &health);
    let (status, reason, message) =
        condition.map_or(("Unknown", String::new(), String::new()), |c| (c.status, c.reason, c.message));
    same("condition", &e["fallbackCondition"], &json!({ "message": message, "reason": reason, "status": status }))
}

fn prune(i: &Value, e: &Value) -> Judgement {
    let mut health = read_health(i);
    prune_health(&mut health, &read::<Vec<String>>(&i["externalMetricNames"])?);
    same("health", &e["health"], &write_health(&health))
}
