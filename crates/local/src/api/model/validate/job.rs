//! Jobs and cron jobs.

mod policies;

use serde_json::{Value, json};

use super::{
    errors::{Errors, text},
    names, pod, selector,
};
use crate::api::LabelSelector;

pub(super) use policies::indexes;

/// What jobs and their templates have in common.
fn template_spec(spec: &Value, path: &str, errors: &mut Errors) {
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
    managed_by(&spec["managedBy"], &format!("{path}.managedBy"), errors);
    errors.one_of(spec, "completionMode", path, &["NonIndexed", "Indexed"]);
    let indexed = spec["completionMode"] == "Indexed";
    if indexed {
        indexed_limits(spec, path, errors);
    } else {
        for key in ["backoffLimitPerIndex", "maxFailedIndexes"].into_iter().filter(|key| !spec[*key].is_null()) {
            errors.invalid(&format!("{path}.{key}"), &spec[key], "requires indexed completion mode");
        }
    }
    if spec["podFailurePolicy"].is_object() {
        policies::failure(spec, &format!("{path}.podFailurePolicy.rules"), errors);
    }
    if spec["successPolicy"].is_object() {
        let at = format!("{path}.successPolicy");
        if indexed {
            policies::success(spec, &format!("{at}.rules"), errors);
        } else {
            errors.invalid(&at, &spec["successPolicy"], "requires indexed completion mode");
        }
    }
    let known: &[&str] =
        if spec["podFailurePolicy"].is_object() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    errors.one_of(spec, "podReplacementPolicy", path, known);
    pod::template(&spec["template"], &format!("{path}.template"), errors);
    restart_policy(spec, &format!("{path}.template.spec.restartPolicy"), errors);
}

fn restart_policy(spec: &Value, path: &str, errors: &mut Errors) {
    let policy = &spec["template"]["spec"]["restartPolicy"];
    match policy.as_str().unwrap_or_default() {
        "" | "Always" => errors.required(path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec["podFailurePolicy"].is_object() => {
            errors.invalid(path, policy, "only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" | "Never" => {}
        _ => errors.unsupported(path, policy, &["OnFailure", "Never"]),
    }
}

fn managed_by(manager: &Value, path: &str, errors: &mut Errors) {
    let Some(name) = manager.as_str() else { return };
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    errors.texts(path, name, names::domain_path(name));
    if name.len() > 63 {
        errors.too_long(path, 63);
    }
}

fn indexed_limits(spec: &Value, path: &str, errors: &mut Errors) {
    let number = |key: &str| spec[key].as_i64();
    let (parallelism, failed) = (number("parallelism"), number("maxFailedIndexes"));
    let mut at_most = |key: &str, most: i64, why: &str| {
        if number(key).is_some_and(|number| number > most) {
            errors.invalid(&format!("{path}.{key}"), &spec[key], &format!("must be less than or equal to {why}"));
        }
    };
    at_most("parallelism", 100_000, "100000 when completion mode is Indexed");
    if let Some(completions) = number("completions") {
        at_most("maxFailedIndexes", completions, "completions");
    }
    at_most("maxFailedIndexes", 100_000, "100000");
    let Some(completions) = number("completions") else {
        // Upstream asks for completions first.
        let text = format!("{path}.completions");
        errors.required(&text, "when completion mode is Indexed");
        return;
    };
    if completions > 100_000 && number("backoffLimitPerIndex").is_some() {
        if failed.is_none() {
            let why = "must be specified when completions is above 100000";
            errors.required(&format!("{path}.maxFailedIndexes"), why);
        }
        for (key, given, most) in [("parallelism", parallelism, 10_000), ("maxFailedIndexes", failed, 10_000)] {
            if given.is_some_and(|given| given > most) {
                let why = format!("must be less than or equal to {most} when completions are above 100000");
                errors.invalid(&format!("{path}.{key}"), &spec[key], &why);
            }
        }
    }
}

/// A job's spec.
fn spec(spec: &Value, path: &str, errors: &mut Errors) {
    template_spec(spec, path, errors);
    let own = &spec["selector"];
    if own.is_null() {
        errors.required(&format!("{path}.selector"), "");
    } else {
        selector::label_selector(own, &format!("{path}.selector"), errors);
    }
    if own.is_null() || (selector::is_readable(own) && !LabelSelector::from_value(own).matches(&spec["template"])) {
        let why = "`selector` does not match template `labels`";
        errors.invalid(&format!("{path}.template.metadata.labels"), &spec["template"]["metadata"]["labels"], why);
    }
}

/// A job's spec, and of a new job what goes with its name.
pub(super) fn job(object: &Value, new: bool, errors: &mut Errors) {
    if new {
        named(object, errors);
    }
    spec(&object["spec"], "spec", errors);
}

/// What goes with a job's name: its selector, and the names of its pods' hosts.
pub(super) fn named(object: &Value, errors: &mut Errors) {
    generated_selector(object, errors);
    let completions = object["spec"]["completions"].as_i64().filter(|completions| *completions > 0);
    if let (true, Some(completions)) = (object["spec"]["completionMode"] == "Indexed", completions) {
        let name = text(&object["metadata"], "name");
        let host = format!("{name}-{}", completions - 1);
        if !names::label(&host).is_empty() {
            let why = format!("will not able to create pod with invalid DNS label: {host}");
            errors.invalid("metadata.name", &json!(name), &why);
        }
    }
}

/// The labels by which a job finds its pods, and the selector that goes with them.
fn generated_selector(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if spec["manualSelector"] == true || spec["selector"].is_null() {
        return;
    }
    let (uid, name) = (text(&object["metadata"], "uid"), text(&object["metadata"], "name"));
    let wanted = [
        ("controller-uid", uid),
        ("job-name", name),
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
    ];
    let labels = &spec["template"]["metadata"]["labels"];
    for (key, value) in wanted {
        let at = format!("spec.template.metadata.labels[{key}]");
        match labels[key].as_str() {
            None => errors.required(&at, &format!("must be '{value}'")),
            Some(found) if found != value => errors.invalid(&at, &json!(found), &format!("must be '{value}'")),
            Some(_) => {}
        }
    }
    let expected: serde_json::Map<String, Value> =
        wanted.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let carrier = json!({ "metadata": { "labels": expected } });
    if selector::is_readable(&spec["selector"]) && !LabelSelector::from_value(&spec["selector"]).matches(&carrier) {
        errors.invalid("spec.selector", &spec["selector"], "`selector` not auto-generated");
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
        } else {
            if name.eq_ignore_ascii_case("local") {
                errors.invalid(
                    "spec.timeZone",
                    zone,
                    "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
                );
            }
            if name != "Local" && name.parse::<chrono_tz::Tz>().is_err() {
                errors.invalid("spec.timeZone", zone, &format!("unknown time zone {name}"));
            }
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
    template_spec(&job["spec"], "spec.jobTemplate.spec", errors);
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
        let (zone, rest) = schedule.split_once(' ').unwrap_or((schedule, ""));
        let zone = zone.split_once('=').map_or("", |(_, zone)| zone);
        let known = zone.is_empty() || zone == "Local" || zone.parse::<chrono_tz::Tz>().is_ok();
        let read = if known { read_schedule(rest) } else { Err(format!("provided bad location {zone}")) };
        if let Err(why) = read {
            errors.invalid(field, &json!(schedule), &why);
        }
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.invalid(field, &json!(schedule), why);
    } else if let Err(why) = read_schedule(schedule) {
        errors.invalid(field, &json!(schedule), &why);
    }
}

/// A duration as Go writes it.
fn is_duration(text: &str) -> bool {
    let mut rest = text.trim_start_matches(['-', '+']);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let unit = rest[digits..].chars().take_while(|c| !c.is_ascii_digit() && *c != '.').collect::<String>();
        if digits == 0 || !["ns", "us", "µs", "ms", "s", "m", "h"].contains(&unit.as_str()) {
            return false;
        }
        rest = &rest[digits + unit.len()..];
        parts += 1;
    }
    parts > 0
}

/// <https://pkg.go.dev/github.com/robfig/cron/v3#hdr-CRON_Expression_Format>
fn read_schedule(schedule: &str) -> Result<(), String> {
    const NAMES: [&str; 7] = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
    const MONTHS: &str = "jan feb mar apr may jun jul aug sep oct nov dec";
    const DAYS: &str = "sun mon tue wed thu fri sat";
    if let Some(name) = schedule.strip_prefix('@') {
        return match name.strip_prefix("every ") {
            Some(every) if !is_duration(every) => Err(format!("failed to parse duration @every {every}")),
            None if !NAMES.contains(&name) => Err(format!("unrecognized descriptor: @{name}")),
            _ => Ok(()),
        };
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
        for part in field.split(',').filter(|part| !part.is_empty()) {
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
