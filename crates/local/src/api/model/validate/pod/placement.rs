//! Where pods may run: affinity, tolerations, spread.

use serde_json::{Value, json};

use super::super::{
    errors::{Errors, list, text},
    names, selector,
};

/// Node and pod affinity.
pub(super) fn affinity(affinity: &Value, path: &str, errors: &mut Errors) {
    let node = &affinity["nodeAffinity"];
    let required = &node["requiredDuringSchedulingIgnoredDuringExecution"];
    let at = format!("{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    if required.is_object() {
        node_selector(required, &at, errors);
    }
    let at = format!("{path}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in list(node, "preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
        weight(term, &format!("{at}[{index}].weight"), errors);
        node_term(&term["preference"], &format!("{at}[{index}].preference"), false, errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let rules = &affinity[kind];
        let at = format!("{path}.{kind}.requiredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in list(rules, "requiredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            pod_term(term, &format!("{at}[{index}]"), errors);
        }
        let at = format!("{path}.{kind}.preferredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in list(rules, "preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            weight(term, &format!("{at}[{index}].weight"), errors);
            pod_term(&term["podAffinityTerm"], &format!("{at}[{index}].podAffinityTerm"), errors);
        }
    }
}

/// Terms of which one must hold.
pub(in super::super) fn node_selector(selector: &Value, path: &str, errors: &mut Errors) {
    if list(selector, "nodeSelectorTerms").is_empty() {
        errors.required(path, "must have at least one node selector term");
    }
    for (index, term) in list(selector, "nodeSelectorTerms").iter().enumerate() {
        node_term(term, &format!("{path}[{index}]"), true, errors);
    }
}

fn weight(term: &Value, field: &str, errors: &mut Errors) {
    if !(1..=100).contains(&term["weight"].as_i64().unwrap_or(0)) {
        errors.invalid(field, &term["weight"], "must be in the range 1-100");
    }
}

/// Values of terms that are only preferred may be no labels.
fn node_term(term: &Value, path: &str, strict: bool, errors: &mut Errors) {
    for (index, expression) in list(term, "matchExpressions").iter().enumerate() {
        let at = format!("{path}.matchExpressions[{index}]");
        let values = list(expression, "values");
        match text(expression, "operator") {
            "In" | "NotIn" => {
                if values.is_empty() {
                    let why = "must be specified when `operator` is 'In' or 'NotIn'";
                    errors.required(&format!("{at}.values"), why);
                }
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    errors.forbidden(&format!("{at}.values"), why);
                }
            }
            "Gt" | "Lt" => {
                if values.len() != 1 {
                    let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                    errors.required(&format!("{at}.values"), why);
                }
            }
            other => errors.invalid(&format!("{at}.operator"), &json!(other), "not a valid selector operator"),
        }
        let key = text(expression, "key");
        errors.texts(&format!("{at}.key"), key, names::qualified(key));
        for (place, value) in values.iter().filter_map(Value::as_str).enumerate().filter(|_| strict) {
            errors.texts(&format!("{at}.values[{place}]"), value, names::label_value(value));
        }
    }
    for (index, expression) in list(term, "matchFields").iter().enumerate() {
        let at = format!("{path}.matchFields[{index}]");
        if !matches!(text(expression, "operator"), "In" | "NotIn") {
            errors.invalid(&format!("{at}.operator"), &expression["operator"], "not a valid selector operator");
        } else if list(expression, "values").len() != 1 {
            errors.required(
                &format!("{at}.values"),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            );
        }
        if text(expression, "key") == "metadata.name" {
            for (place, value) in list(expression, "values").iter().filter_map(Value::as_str).enumerate() {
                errors.texts(&format!("{at}.values[{place}]"), value, names::subdomain(value));
            }
        } else {
            errors.invalid(&format!("{at}.key"), &expression["key"], "not a valid field selector key");
        }
    }
}

fn pod_term(term: &Value, path: &str, errors: &mut Errors) {
    selector::label_selector(&term["labelSelector"], &format!("{path}.labelSelector"), errors);
    selector::label_selector(&term["namespaceSelector"], &format!("{path}.namespaceSelector"), errors);
    for name in list(term, "namespaces").iter().filter_map(Value::as_str) {
        errors.texts(&format!("{path}.namespace"), name, names::label(name));
    }
    let key = text(term, "topologyKey");
    let at = format!("{path}.topologyKey");
    if key.is_empty() {
        errors.required(&at, "can not be empty");
    }
    errors.texts(&at, key, names::qualified(key));
    for kind in ["matchLabelKeys", "mismatchLabelKeys"] {
        label_keys(term, kind, &format!("{path}.{kind}"), false, errors);
    }
    for (index, key) in list(term, "matchLabelKeys").iter().enumerate() {
        if list(term, "mismatchLabelKeys").contains(key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            errors.invalid(&format!("{path}.matchLabelKeys[{index}]"), key, why);
        }
    }
}

/// Keys whose values come from the pod itself: they need a selector, and may have to be none of its keys.
fn label_keys(of: &Value, kind: &str, path: &str, apart: bool, errors: &mut Errors) {
    let (keys, selector) = (list(of, kind), &of["labelSelector"]);
    if !keys.is_empty() && selector.is_null() {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        let (name, at) = (key.as_str().unwrap_or_default(), format!("{path}[{index}]"));
        errors.texts(&at, name, names::qualified(name));
        let selects = selector["matchLabels"].get(name).is_some()
            || list(selector, "matchExpressions").iter().any(|one| one["key"] == *key);
        if apart && selects {
            errors.invalid(&at, key, "exists in both matchLabelKeys and labelSelector");
        }
    }
}

/// Tolerations of taints.
pub(in super::super) fn tolerations(all: &[Value], path: &str, errors: &mut Errors) {
    for (index, toleration) in all.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        if !key.is_empty() {
            errors.texts(&format!("{at}.key"), key, names::qualified(key));
        }
        if key.is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&format!("{at}.operator"), &json!(operator), why);
        }
        if !toleration["tolerationSeconds"].is_null() && text(toleration, "effect") != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&format!("{at}.effect"), &toleration["effect"], why);
        }
        let value = text(toleration, "value");
        match operator {
            "" | "Equal" => errors.texts(&format!("{at}.operator"), value, names::label_value(value)),
            "Exists" => {
                if !value.is_empty() {
                    let why = "value must be empty when `operator` is 'Exists'";
                    errors.invalid(&format!("{at}.operator"), &json!(value), why);
                }
            }
            other => errors.unsupported(&format!("{at}.operator"), &json!(other), &["Equal", "Exists"]),
        }
        if !text(toleration, "effect").is_empty() {
            errors.one_of(toleration, "effect", &at, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
    }
}

/// Spread over failure domains.
pub(super) fn spread(all: &[Value], path: &str, errors: &mut Errors) {
    for (index, constraint) in all.iter().enumerate() {
        let at = format!("{path}[{index}]");
        if constraint["maxSkew"].as_i64().unwrap_or(0) <= 0 {
            errors.invalid(&format!("{at}.maxSkew"), &constraint["maxSkew"], "must be greater than zero");
        }
        if text(constraint, "topologyKey").is_empty() {
            errors.required(&format!("{at}.topologyKey"), "can not be empty");
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if !actions.contains(&text(constraint, "whenUnsatisfiable")) {
            errors.unsupported(&format!("{at}.whenUnsatisfiable"), &constraint["whenUnsatisfiable"], &actions);
        }
        let same =
            |other: &&Value| ["topologyKey", "whenUnsatisfiable"].iter().all(|key| other[*key] == constraint[*key]);
        if all[index + 1..].iter().find(same).is_some() {
            let pair = format!("{{{}, {}}}", text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
            errors.duplicate(&format!("{at}.{{topologyKey, whenUnsatisfiable}}"), &json!(pair));
        }
        let least = &constraint["minDomains"];
        if least.as_i64().is_some_and(|number| number <= 0) {
            errors.invalid(&format!("{at}.minDomains"), least, "must be greater than zero");
        }
        if !least.is_null() && constraint["whenUnsatisfiable"] != "DoNotSchedule" {
            let why = "can only use minDomains if whenUnsatisfiable=DoNotSchedule";
            errors.invalid(&format!("{at}.minDomains"), least, why);
        }
        for key in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            errors.one_of(constraint, key, &at, &["Honor", "Ignore"]);
        }
        label_keys(constraint, "matchLabelKeys", &format!("{at}.matchLabelKeys"), true, errors);
        selector::label_selector(&constraint["labelSelector"], &format!("{at}.labelSelector"), errors);
    }
}
