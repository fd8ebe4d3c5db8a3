//! Deployments, `ReplicaSet`s, `DaemonSet`s, `StatefulSet`s, jobs.

use serde_json::{Value, json};

use super::{errors::Errors, names, pod, selector};
use crate::api::LabelSelector;

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// A deployment.
pub(super) fn deployment(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    errors.not_negative(spec, "replicas", "spec");
    selected_template(spec, "deployment", errors);
    strategy(&spec["strategy"], errors);
    errors.not_negative(spec, "minReadySeconds", "spec");
    errors.not_negative(spec, "revisionHistoryLimit", "spec");
    errors.not_negative(spec, "progressDeadlineSeconds", "spec");
    let deadline = &spec["progressDeadlineSeconds"];
    if deadline.as_i64().is_some_and(|deadline| deadline <= spec["minReadySeconds"].as_i64().unwrap_or(0)) {
        errors.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds");
    }
}

/// A replica set.
pub(super) fn replica_set(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    errors.not_negative(spec, "replicas", "spec");
    errors.not_negative(spec, "minReadySeconds", "spec");
    selected_template(spec, "deployment", errors);
}

/// The selector, and a template that it selects.
fn selected_template(spec: &Value, kind: &str, errors: &mut Errors) {
    let own = &spec["selector"];
    if own.is_null() {
        errors.required("spec.selector", "");
    } else {
        selector::label_selector(own, "spec.selector", errors);
        if selector::is_empty(own) {
            errors.invalid("spec.selector", own, &format!("empty selector is invalid for {kind}"));
        }
    }
    if !selector::is_readable(own) {
        errors.invalid("spec.selector", own, "invalid label selector");
        return;
    }
    matching_template(spec, errors);
}

fn matching_template(spec: &Value, errors: &mut Errors) {
    let (own, template) = (&spec["selector"], &spec["template"]);
    let matches = LabelSelector::from_value(own).matches(template);
    if own.is_null() || !matches && !selector::is_empty(own) {
        let why = "`selector` does not match template `labels`";
        errors.invalid("spec.template.metadata.labels", &template["metadata"]["labels"], why);
    }
    pod::template(template, "spec.template", pod::Of::Always, errors);
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        errors.forbidden("spec.template.spec.activeDeadlineSeconds", "activeDeadlineSeconds is not supported here");
    }
}

fn strategy(strategy: &Value, errors: &mut Errors) {
    let rolling = &strategy["rollingUpdate"];
    let at = "spec.strategy.rollingUpdate";
    match text(strategy, "type") {
        "Recreate" => {
            if !rolling.is_null() {
                errors.forbidden(at, "may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" => {
            int_or_percent(&rolling["maxUnavailable"], &format!("{at}.maxUnavailable"), errors);
            int_or_percent(&rolling["maxSurge"], &format!("{at}.maxSurge"), errors);
            if amount(&rolling["maxUnavailable"]) == 0 && amount(&rolling["maxSurge"]) == 0 {
                let why = "may not be 0 when `maxSurge` is 0";
                errors.invalid(&format!("{at}.maxUnavailable"), &rolling["maxUnavailable"], why);
            }
            at_most_all(&rolling["maxUnavailable"], &format!("{at}.maxUnavailable"), errors);
        }
        _ => errors.unsupported("spec.strategy", strategy, &["Recreate", "RollingUpdate"]),
    }
}

fn percent(value: &Value) -> Option<i64> {
    let digits = value.as_str()?.strip_suffix('%')?;
    digits.chars().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// The number, or the number of percent; another text counts as its number, or as none.
fn amount(value: &Value) -> i64 {
    percent(value).or_else(|| value.as_i64()).or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

/// A number of at least 0, or a share.
pub(super) fn int_or_percent(value: &Value, field: &str, errors: &mut Errors) {
    match value {
        Value::String(_) if percent(value).is_none() => {
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            errors.invalid(field, value, why);
        }
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            errors.invalid(field, value, "must be greater than or equal to 0");
        }
        _ => {}
    }
}

/// A share of at most 100 %.
pub(super) fn at_most_all(value: &Value, field: &str, errors: &mut Errors) {
    if percent(value).is_some_and(|share| share > 100) {
        errors.invalid(field, value, "must not be greater than 100%");
    }
}

/// A daemon set.
pub(super) fn daemon_set(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let own = &spec["selector"];
    selector::label_selector(own, "spec.selector", errors);
    if selector::is_readable(own) {
        let empty = !own.is_null() && selector::is_empty(own);
        matching_template(spec, errors);
        if empty {
            errors.invalid("spec.selector", own, "empty selector is invalid for daemonset");
        }
    }
    errors.not_negative(spec, "minReadySeconds", "spec");
    let strategy = &spec["updateStrategy"];
    let at = "spec.updateStrategy";
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = &strategy["rollingUpdate"];
            for bound in ["maxUnavailable", "maxSurge"] {
                int_or_percent(&rolling[bound], &format!("{at}.rollingUpdate.{bound}"), errors);
            }
            for bound in ["maxUnavailable", "maxSurge"] {
                at_most_all(&rolling[bound], &format!("{at}.rollingUpdate.{bound}"), errors);
            }
            match (amount(&rolling["maxUnavailable"]) != 0, amount(&rolling["maxSurge"]) != 0) {
                (true, true) => {
                    let why = "may not be set when maxUnavailable is non-zero";
                    errors.invalid(&format!("{at}.rollingUpdate.maxSurge"), &rolling["maxSurge"], why);
                }
                (false, false) => {
                    errors.required(&format!("{at}.rollingUpdate.maxUnavailable"), "cannot be 0 when maxSurge is 0");
                }
                _ => {}
            }
        }
        _ => errors.unsupported(at, strategy, &["RollingUpdate", "OnDelete"]),
    }
    errors.not_negative(spec, "revisionHistoryLimit", "spec");
}

/// A stateful set.
pub(super) fn stateful_set(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if !matches!(text(spec, "podManagementPolicy"), "OrderedReady" | "Parallel") {
        let why = "must be 'OrderedReady' or 'Parallel'";
        errors.invalid("spec.podManagementPolicy", &spec["podManagementPolicy"], why);
    }
    let strategy = &spec["updateStrategy"];
    let rolling = &strategy["rollingUpdate"];
    match text(strategy, "type") {
        "OnDelete" => {
            if !rolling.is_null() {
                let why = "only allowed for updateStrategy 'RollingUpdate'";
                errors.invalid("spec.updateStrategy.rollingUpdate", rolling, why);
            }
        }
        "RollingUpdate" => errors.not_negative(rolling, "partition", "spec.updateStrategy.rollingUpdate"),
        _ => errors.invalid("spec.updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    for when in ["whenDeleted", "whenScaled"] {
        let at = "spec.persistentVolumeClaimRetentionPolicy";
        errors.one_of(&spec["persistentVolumeClaimRetentionPolicy"], when, at, &["Retain", "Delete"]);
    }
    errors.not_negative(spec, "replicas", "spec");
    errors.not_negative(spec, "minReadySeconds", "spec");
    let service = text(spec, "serviceName");
    if !service.is_empty() {
        errors.texts("spec.serviceName", service, names::label(service));
    }
    selected_template(spec, "statefulset", errors);
}

/// A controller revision.
pub(super) fn controller_revision(object: &Value, errors: &mut Errors) {
    if object["data"].is_null() {
        errors.required("data", "data is mandatory");
    }
    if object["revision"].as_i64().is_some_and(|revision| revision < 0) {
        errors.invalid("revision", &object["revision"], "must be greater than or equal to 0");
    }
}

/// A replication controller.
pub(super) fn replication_controller(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    errors.not_negative(spec, "minReadySeconds", "spec");
    if spec["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
        errors.required("spec.selector", "");
    }
    errors.not_negative(spec, "replicas", "spec");
    if spec["template"].is_null() {
        errors.required("spec.template", "");
        return;
    }
    let own = json!({ "matchLabels": spec["selector"] });
    if !LabelSelector::from_value(&own).matches(&spec["template"]) {
        let why = "`selector` does not match template `labels`";
        errors.invalid("spec.template.metadata.labels", &spec["template"]["metadata"]["labels"], why);
    }
    pod::template(&spec["template"], "spec.template", pod::Of::Always, errors);
}

/// A job that does not select its pods itself selects them by what it was given.
pub(super) fn generated_selector(object: &Value, errors: &mut Errors) {
    let selector = &object["spec"]["selector"];
    if object["spec"]["manualSelector"] == true || selector.is_null() {
        return;
    }
    let (uid, name) = (&object["metadata"]["uid"], &object["metadata"]["name"]);
    let labels = json!({ "batch.kubernetes.io/controller-uid": uid, "controller-uid": uid,
        "batch.kubernetes.io/job-name": name, "job-name": name });
    if !LabelSelector::from_value(selector).matches(&json!({ "metadata": { "labels": labels } })) {
        errors.invalid("spec.selector", selector, "`selector` not auto-generated");
    }
}

/// A job's spec.
pub(super) fn job(spec: &Value, path: &str, errors: &mut Errors) {
    for key in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.not_negative(spec, key, path);
    }
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        errors.required(&format!("{path}.backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    errors.one_of(spec, "completionMode", path, &["NonIndexed", "Indexed"]);
    let indexed = spec["completionMode"] == "Indexed";
    if indexed {
        if spec["completions"].is_null() {
            errors.required(&format!("{path}.completions"), "when completion mode is Indexed");
        }
        if spec["parallelism"].as_i64().is_some_and(|number| number > 100_000) {
            let why = "must be less than or equal to 100000 when completion mode is Indexed";
            errors.invalid(&format!("{path}.parallelism"), &spec["parallelism"], why);
        }
    } else {
        for key in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
            if !spec[key].is_null() {
                errors.invalid(&format!("{path}.{key}"), &spec[key], "requires indexed completion mode");
            }
        }
    }
    errors.one_of(spec, "podReplacementPolicy", path, &["Failed", "TerminatingOrFailed"]);
    pod::template(&spec["template"], &format!("{path}.template"), pod::Of::Job, errors);
    // The job of a CronJob gets its selector when it is made.
    let own = &spec["selector"];
    if own.is_null() && path == "spec" {
        errors.required("spec.selector", "");
    }
    selector::label_selector(own, &format!("{path}.selector"), errors);
    let selects = own.is_object() && LabelSelector::from_value(own).matches(&spec["template"]);
    if !selects && (own.is_object() || path == "spec") {
        let why = "`selector` does not match template `labels`";
        errors.invalid(&format!("{path}.template.metadata.labels"), &spec["template"]["metadata"]["labels"], why);
    }
}

/// A cron job.
pub(super) fn cron_job(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    schedule(text(spec, "schedule"), errors);
    errors.not_negative(spec, "startingDeadlineSeconds", "spec");
    let zone = &spec["timeZone"];
    if old.is_none_or(|old| old["spec"]["timeZone"] != *zone)
        && let Some(name) = zone.as_str()
    {
        if name.is_empty() {
            errors.invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string");
        } else if name.parse::<chrono_tz::Tz>().is_err() {
            errors.invalid("spec.timeZone", zone, &format!("unknown time zone {name}"));
        }
    }
    errors.one_of(spec, "concurrencyPolicy", "spec", &["Allow", "Forbid", "Replace"]);
    let job = &spec["jobTemplate"];
    if !job["spec"]["selector"].is_null() {
        errors.invalid("spec.jobTemplate.spec.selector", &job["spec"]["selector"], "`selector` will be auto-generated");
    }
    if job["spec"]["manualSelector"] == true {
        errors.unsupported("spec.jobTemplate.spec.manualSelector", &json!(true), &["nil", "false"]);
    }
    self::job(&job["spec"], "spec.jobTemplate.spec", errors);
    errors.not_negative(spec, "successfulJobsHistoryLimit", "spec");
    errors.not_negative(spec, "failedJobsHistoryLimit", "spec");
}

/// Five fields, or one of the names; no time zone.
fn schedule(schedule: &str, errors: &mut Errors) {
    let field = "spec.schedule";
    if schedule.is_empty() {
        errors.required(field, "");
        return;
    }
    if schedule.contains("TZ") {
        let rest = schedule.split_once(' ').map_or("", |(_, rest)| rest);
        if let Err(why) = read_schedule(rest) {
            errors.invalid(field, &json!(schedule), &why);
        }
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.invalid(field, &json!(schedule), why);
    } else if let Err(why) = read_schedule(schedule) {
        errors.invalid(field, &json!(schedule), &why);
    }
}

/// <https://pkg.go.dev/github.com/robfig/cron/v3#hdr-CRON_Expression_Format>
fn read_schedule(schedule: &str) -> Result<(), String> {
    const NAMES: [&str; 7] = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
    const MONTHS: &str = "jan feb mar apr may jun jul aug sep oct nov dec";
    const DAYS: &str = "sun mon tue wed thu fri sat";
    if let Some(name) = schedule.strip_prefix('@') {
        let every = name.strip_prefix("every ").is_some();
        return if every || NAMES.contains(&name) { Ok(()) } else { Err(format!("unrecognized descriptor: @{name}")) };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let bounds = [(0, 59, ""), (0, 23, ""), (1, 31, ""), (1, 12, MONTHS), (0, 6, DAYS)];
    for (field, (low, high, words)) in fields.iter().zip(bounds) {
        let number = |text: &str| -> Result<i64, String> {
            let word = text.to_lowercase();
            if let Some(at) = words.split(' ').position(|known| !known.is_empty() && known == word) {
                return Ok(low + i64::try_from(at).unwrap_or(0));
            }
            text.parse::<i64>().map_err(|_| format!("failed to parse int from {text}"))
        };
        for part in field.split(',') {
            let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
            if let Some(step) = step
                && number(step)? <= 0
            {
                return Err(format!("step of range should be a positive number: {part}"));
            }
            if matches!(range, "*" | "?") {
                continue;
            }
            let (from, to) = range.split_once('-').map_or((range, range), |pair| pair);
            let (from, to) = (number(from)?, number(to)?);
            if from < low {
                return Err(format!("beginning of range ({from}) below minimum ({low}): {part}"));
            }
            if to > high {
                return Err(format!("end of range ({to}) above maximum ({high}): {part}"));
            }
            if from > to {
                return Err(format!("beginning of range ({from}) beyond end of range ({to}): {part}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::read_schedule;

    #[test]
    fn schedules() {
        for right in ["5 4 * * *", "*/15 0-6,12 1 jan-mar mon", "@hourly", "@every 1h"] {
            assert_eq!(read_schedule(right), Ok(()), "{right}");
        }
        for wrong in ["sometimes", "60 * * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *", "x * * * *", "@never"] {
            assert!(read_schedule(wrong).is_err(), "{wrong}");
        }
    }
}
