//! When a job counts as failed or done before its pods say so.

use serde_json::{Value, json};

use super::super::{
    errors::{Errors, list, text},
    names,
};

/// `podFailurePolicy`.
pub(super) fn failure(spec: &Value, path: &str, errors: &mut Errors) {
    const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
    let rules = list(&spec["podFailurePolicy"], "rules");
    errors.too_many(path, rules.len(), 20);
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("{path}[{index}]");
        match text(rule, "action") {
            "" => errors.required(&format!("{at}.action"), &format!("valid values: {ACTIONS:?}")),
            "FailIndex" if spec["backoffLimitPerIndex"].is_null() => {
                let why = "requires the backoffLimitPerIndex to be set";
                errors.invalid(&format!("{at}.action"), &rule["action"], why);
            }
            _ => errors.one_of(rule, "action", &at, &ACTIONS),
        }
        let (codes, conditions) = (&rule["onExitCodes"], list(rule, "onPodConditions"));
        if codes.is_object() {
            exit_codes(spec, codes, &format!("{at}.onExitCodes"), errors);
        }
        let own = format!("{at}.onPodConditions");
        errors.too_many(&own, conditions.len(), 20);
        for (place, pattern) in conditions.iter().enumerate() {
            let at = format!("{own}[{place}]");
            errors.texts(&format!("{at}.type"), text(pattern, "type"), names::qualified(text(pattern, "type")));
            match text(pattern, "status") {
                "" => errors.required(&format!("{at}.status"), "valid values: [\"False\" \"True\" \"Unknown\"]"),
                _ => errors.one_of(pattern, "status", &at, &["False", "True", "Unknown"]),
            }
        }
        match (codes.is_object(), conditions.is_empty()) {
            (true, false) => {
                errors.invalid(&at, &json!(""), "specifying both OnExitCodes and OnPodConditions is not supported");
            }
            (false, true) => {
                errors.invalid(&at, &json!(""), "specifying one of OnExitCodes and OnPodConditions is required");
            }
            _ => {}
        }
    }
}

fn exit_codes(spec: &Value, codes: &Value, path: &str, errors: &mut Errors) {
    match text(codes, "operator") {
        "" => errors.required(&format!("{path}.operator"), "valid values: [\"In\" \"NotIn\"]"),
        _ => errors.one_of(codes, "operator", path, &["In", "NotIn"]),
    }
    let pod = &spec["template"]["spec"];
    let known = |name: &Value| {
        ["containers", "initContainers"].iter().any(|kind| list(pod, kind).iter().any(|one| one["name"] == *name))
    };
    let container = &codes["containerName"];
    if container.is_string() && !known(container) {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&format!("{path}.containerName"), container, why);
    }
    let (values, at) = (list(codes, "values"), format!("{path}.values"));
    if values.is_empty() {
        errors.invalid(&at, &codes["values"], "at least one value is required");
    }
    errors.too_many(&at, values.len(), 255);
    for (index, value) in values.iter().enumerate() {
        let at = format!("{at}[{index}]");
        if codes["operator"] == "In" && *value == 0 {
            errors.invalid(&at, value, "must not be 0 for the In operator");
        }
        if values[..index].contains(value) {
            errors.duplicate(&at, value);
        }
    }
    if !values.is_sorted_by_key(Value::as_i64) {
        errors.invalid(&at, &codes["values"], "must be ordered");
    }
}

/// `successPolicy` of an indexed job.
pub(super) fn success(spec: &Value, path: &str, errors: &mut Errors) {
    let rules = list(&spec["successPolicy"], "rules");
    if rules.is_empty() {
        errors.required(path, "at least one rules must be specified when the successPolicy is specified");
    }
    errors.too_many(path, rules.len(), 20);
    let completions = spec["completions"].as_i64().unwrap_or(0);
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let (count, all) = (&rule["succeededCount"], &rule["succeededIndexes"]);
        if count.is_null() && all.is_null() {
            errors.required(&at, "at least one of succeededCount or succeededIndexes must be specified");
        }
        let total = all.as_str().map(|text| indexes(text, completions));
        if let Some(Err(why)) = &total {
            let why = format!("error parsing succeededIndexes: {why}");
            errors.invalid(&format!("{at}.succeededIndexes"), all, &why);
        }
        errors.not_negative(rule, "succeededCount", &at);
        let field = format!("{at}.succeededCount");
        if count.as_i64().is_some_and(|count| count > completions) {
            let why = format!("must be less than or equal to {completions} (the number of specified completions)");
            errors.invalid(&field, count, &why);
        }
        let total = total.map(|total| total.unwrap_or(0));
        if let (Some(count), Some(total)) = (count.as_i64(), total)
            && count > total
        {
            let why = format!("must be less than or equal to {total} (the number of indexes in succeededIndexes)");
            errors.invalid(&field, &count.into(), &why);
        }
    }
}

/// How many indexes a list like `1,3-5` names.
pub(in super::super) fn indexes(text: &str, completions: i64) -> Result<i64, String> {
    let (mut last, mut total) = (None, 0);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            let number = text.parse::<i64>();
            number.map_err(|_| format!("cannot convert string to integer for index: {text:?}"))
        };
        let (from, to) = (number(from)?, number(to)?);
        if from > to || (part.contains('-') && from == to) {
            return Err(format!("non-increasing order, previous: {from}, current: {to}"));
        }
        if to >= completions {
            return Err(format!("too large index: {part:?}"));
        }
        if last.is_some_and(|last| last >= from) {
            return Err(format!("non-increasing order, previous: {}, current: {from}", last.unwrap_or(0)));
        }
        total += to - from + 1;
        last = Some(to);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_counted() {
        assert_eq!(indexes("", 3), Ok(0));
        assert_eq!(indexes("0,2-4", 5), Ok(4));
        for wrong in ["x", "5-2", "0-9", "1,1", "2-2"] {
            assert!(indexes(wrong, 5).is_err(), "{wrong}");
        }
    }

    #[test]
    fn failure_rules() {
        let rows = [
            (json!({ "action": "FailJob" }), "r[0]"),
            (
                json!({ "action": "Count", "onExitCodes": { "operator": "In", "values": [0, 3, 2] } }),
                "r[0].onExitCodes.values[0] r[0].onExitCodes.values",
            ),
            (json!({ "action": "Ignore", "onPodConditions": [{ "type": "X", "status": "True" }] }), ""),
        ];
        for (rule, wanted) in rows {
            let mut errors = Errors::default();
            failure(&json!({ "podFailurePolicy": { "rules": [rule] } }), "r", &mut errors);
            let fields: Vec<String> = errors.0.into_iter().map(|cause| cause.field).collect();
            assert_eq!(fields.join(" "), wanted);
        }
    }
}
