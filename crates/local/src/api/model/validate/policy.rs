//! Autoscalers, disruption budgets, leases, roles and their bindings, priority classes.

use serde_json::{Value, json};

use super::{
    errors::{Errors, list, text},
    names, selector, workload,
};

/// An autoscaler.
pub(super) fn autoscaler(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let (min, max) = (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64().unwrap_or(0));
    if min.is_some_and(|min| min < 1) {
        errors.invalid("spec.minReplicas", &spec["minReplicas"], "must be greater than or equal to 1");
    }
    if max < 1 {
        errors.invalid("spec.maxReplicas", &json!(max), "must be greater than 0");
    }
    if min.is_some_and(|min| max < min) {
        errors.invalid("spec.maxReplicas", &json!(max), "must be greater than or equal to `minReplicas`");
    }
    target_reference(&spec["scaleTargetRef"], "spec.scaleTargetRef", errors);
    for (index, one) in list(spec, "metrics").iter().enumerate() {
        metric(one, &format!("spec.metrics[{index}]"), errors);
    }
    // The only metric of the old version, as the new one has it.
    let share = &spec["targetCPUUtilizationPercentage"];
    if share.as_i64().is_some_and(|share| share < 1) {
        let field = "spec.metrics[0].resource.target.averageUtilization";
        errors.invalid(field, share, "must be greater than 0");
    }
    let outside = list(spec, "metrics").iter().any(|metric| matches!(text(metric, "type"), "Object" | "External"));
    if min == Some(0) && !outside {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.forbidden("spec.metrics", why);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = &spec["behavior"][direction];
        if rules.is_object() {
            scaling_rules(rules, &format!("spec.behavior.{direction}"), errors);
        }
    }
}

fn target_reference(reference: &Value, path: &str, errors: &mut Errors) {
    for key in ["kind", "name"] {
        match text(reference, key) {
            "" => errors.required(&format!("{path}.{key}"), ""),
            value => errors.texts(&format!("{path}.{key}"), value, names::path_segment(value)),
        }
    }
}

fn metric(metric: &Value, path: &str, errors: &mut Errors) {
    const KINDS: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
    let kind = text(metric, "type");
    let at = format!("{path}.type");
    if kind.is_empty() {
        errors.required(&at, "must specify a metric source type");
    }
    if !KINDS.contains(&kind) {
        errors.unsupported(&at, &json!(kind), &KINDS);
    }
    let sources = ["object", "external", "pods", "resource", "containerResource"];
    let present: Vec<&str> = sources.into_iter().filter(|source| metric[*source].is_object()).collect();
    if let Some(first) = present.first() {
        source(first, &metric[*first], &format!("{path}.{first}"), errors);
    }
    let expected = sources.into_iter().find(|source| source.eq_ignore_ascii_case(kind));
    match expected {
        Some(expected) if !present.contains(&expected) => {
            errors.required(&format!("{path}.{expected}"), "must populate information for the given metric source");
        }
        Some(_) => {}
        None => errors.unsupported(&at, &json!(kind), &KINDS),
    }
    if present.len() != 1 {
        for other in present.iter().filter(|source| Some(**source) != expected) {
            errors.forbidden(&format!("{path}.{other}"), "must populate the given metric source only");
        }
    }
}

fn source(kind: &str, source: &Value, path: &str, errors: &mut Errors) {
    if kind == "object" {
        target_reference(&source["describedObject"], &format!("{path}.describedObject"), errors);
    }
    if matches!(kind, "object" | "external" | "pods") {
        match text(&source["metric"], "name") {
            "" => errors.required(&format!("{path}.metric.name"), "must specify a metric name"),
            name => errors.texts(&format!("{path}.metric.name"), name, names::path_segment(name)),
        }
    } else if text(source, "name").is_empty() {
        errors.required(&format!("{path}.name"), "must specify a resource name");
    }
    if kind == "containerResource" && text(source, "container").is_empty() {
        errors.required(&format!("{path}.container"), "must specify a container");
    }
    let target = &source["target"];
    let at = format!("{path}.target");
    match text(target, "type") {
        "Utilization" | "Value" | "AverageValue" => {}
        kind => {
            if kind.is_empty() {
                errors.required(&format!("{at}.type"), "must specify a metric target type");
            }
            let why = "must be either Utilization, Value, or AverageValue";
            errors.invalid(&format!("{at}.type"), &json!(kind), why);
        }
    }
    for key in ["value", "averageValue"] {
        if target[key].as_str().is_some_and(|amount| amount.starts_with('-') || amount == "0") {
            errors.invalid(&format!("{at}.{key}"), &target[key], "must be positive");
        }
    }
    if target["averageUtilization"].as_i64().is_some_and(|share| share < 1) {
        errors.invalid(&format!("{at}.averageUtilization"), &target["averageUtilization"], "must be greater than 0");
    }
    let has = |key: &str| !target[key].is_null();
    match kind {
        "pods" if !has("averageValue") => {
            errors.required(&format!("{at}.averageValue"), "must specify a positive target averageValue");
        }
        "object" | "external" if !has("value") && !has("averageValue") => {
            errors.required(&format!("{at}.averageValue"), "must set either a target value or averageValue");
        }
        "external" if has("value") && has("averageValue") => {
            let why = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(&format!("{at}.value"), why);
        }
        "resource" | "containerResource" if !has("averageUtilization") && !has("averageValue") => {
            let why = "must set either a target raw value or a target utilization";
            errors.required(&format!("{at}.averageUtilization"), why);
        }
        "resource" | "containerResource" if has("averageUtilization") && has("averageValue") => {
            let why = "may not set both a target raw value and a target utilization";
            errors.forbidden(&format!("{at}.averageValue"), why);
        }
        _ => {}
    }
}

fn scaling_rules(rules: &Value, path: &str, errors: &mut Errors) {
    let window = &rules["stabilizationWindowSeconds"];
    let at = format!("{path}.stabilizationWindowSeconds");
    match window.as_i64() {
        Some(seconds) if seconds < 0 => errors.invalid(&at, window, "must be greater than or equal to zero"),
        Some(seconds) if seconds > 3600 => errors.invalid(&at, window, "must be less than or equal to 3600"),
        _ => {}
    }
    if rules["selectPolicy"].is_string() {
        let known = ["Disabled", "Max", "Min"];
        if !known.contains(&text(rules, "selectPolicy")) {
            errors.unsupported(&format!("{path}.selectPolicy"), &rules["selectPolicy"], &known);
        }
    }
    if list(rules, "policies").is_empty() {
        errors.required(&format!("{path}.policies"), "must specify at least one Policy");
    }
    for (index, policy) in list(rules, "policies").iter().enumerate() {
        let at = format!("{path}.policies[{index}]");
        errors.one_of(policy, "type", &at, &["Percent", "Pods"]);
        for key in ["value", "periodSeconds"] {
            if policy[key].as_i64().unwrap_or(0) <= 0 {
                errors.invalid(&format!("{at}.{key}"), &policy[key], "must be greater than zero");
            }
        }
        if policy["periodSeconds"].as_i64().is_some_and(|seconds| seconds > 1800) {
            errors.invalid(
                &format!("{at}.periodSeconds"),
                &policy["periodSeconds"],
                "must be less than or equal to 1800",
            );
        }
    }
}

/// A disruption budget.
pub(super) fn disruption_budget(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        errors.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set");
    }
    for key in ["minAvailable", "maxUnavailable"] {
        let field = format!("spec.{key}");
        workload::int_or_percent(&spec[key], &field, errors);
        workload::at_most_all(&spec[key], &field, errors);
    }
    selector::label_selector(&spec["selector"], "spec.selector", errors);
    errors.one_of(spec, "unhealthyPodEvictionPolicy", "spec", &["AlwaysAllow", "IfHealthyBudget"]);
}

/// A lease.
pub(super) fn lease(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if spec["leaseDurationSeconds"].as_i64().is_some_and(|seconds| seconds <= 0) {
        errors.invalid("spec.leaseDurationSeconds", &spec["leaseDurationSeconds"], "must be greater than 0");
    }
    errors.not_negative(spec, "leaseTransitions", "spec");
}

/// A role's rules; only those of the cluster may speak of paths.
pub(super) fn role(object: &Value, namespaced: bool, errors: &mut Errors) {
    for (index, rule) in list(object, "rules").iter().enumerate() {
        let at = format!("rules[{index}]");
        if list(rule, "verbs").is_empty() {
            errors.required(&format!("{at}.verbs"), "verbs must contain at least one value");
        }
        let paths = list(rule, "nonResourceURLs");
        if !paths.is_empty() {
            if namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                errors.invalid(&format!("{at}.nonResourceURLs"), &rule["nonResourceURLs"], why);
            }
            let others = ["apiGroups", "resources", "resourceNames"];
            if others.iter().any(|key| !list(rule, key).is_empty()) {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(&format!("{at}.nonResourceURLs"), &rule["nonResourceURLs"], why);
            }
            continue;
        }
        if list(rule, "apiGroups").is_empty() {
            errors.required(&format!("{at}.apiGroups"), "resource rules must supply at least one api group");
        }
        if list(rule, "resources").is_empty() {
            errors.required(&format!("{at}.resources"), "resource rules must supply at least one resource");
        }
    }
}

/// Roles whose rules a role takes.
pub(super) fn cluster_role(object: &Value, errors: &mut Errors) {
    role(object, false, errors);
    let rule = &object["aggregationRule"];
    if !rule.is_object() {
        return;
    }
    let at = "aggregationRule.clusterRoleSelectors";
    if list(rule, "clusterRoleSelectors").is_empty() {
        errors.required(at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    for (index, one) in list(rule, "clusterRoleSelectors").iter().enumerate() {
        let at = format!("{at}[{index}]");
        selector::label_selector(one, &at, errors);
        if !selector::is_readable(one) {
            errors.invalid(&at, one, "invalid label selector");
        }
    }
}

/// Who is bound to which role.
pub(super) fn role_binding(object: &Value, namespaced: bool, errors: &mut Errors) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let role = &object["roleRef"];
    if text(role, "apiGroup") != GROUP {
        errors.unsupported("roleRef.apiGroup", &role["apiGroup"], &[GROUP]);
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&text(role, "kind")) {
        errors.unsupported("roleRef.kind", &role["kind"], kinds);
    }
    match text(role, "name") {
        "" => errors.required("roleRef.name", ""),
        name => errors.texts("roleRef.name", name, names::path_segment(name)),
    }
    for (index, subject) in list(object, "subjects").iter().enumerate() {
        let at = format!("subjects[{index}]");
        let name = text(subject, "name");
        if name.is_empty() {
            errors.required(&format!("{at}.name"), "");
        }
        match text(subject, "kind") {
            "ServiceAccount" => {
                if !name.is_empty() {
                    errors.texts(&format!("{at}.name"), name, names::subdomain(name));
                }
                if !text(subject, "apiGroup").is_empty() {
                    errors.unsupported(&format!("{at}.apiGroup"), &subject["apiGroup"], &[""]);
                }
                if !namespaced && text(subject, "namespace").is_empty() {
                    errors.required(&format!("{at}.namespace"), "");
                }
            }
            "User" | "Group" => {
                if text(subject, "apiGroup") != GROUP {
                    errors.unsupported(&format!("{at}.apiGroup"), &subject["apiGroup"], &[GROUP]);
                }
            }
            other => {
                errors.unsupported(&format!("{at}.kind"), &json!(other), &["ServiceAccount", "User", "Group"]);
            }
        }
    }
}

/// A priority class.
pub(super) fn priority_class(object: &Value, errors: &mut Errors) {
    let name = text(&object["metadata"], "name");
    let value = object["value"].as_i64().unwrap_or(0);
    let own = matches!(name, "system-cluster-critical" | "system-node-critical");
    if name.starts_with("system-") {
        if !own {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"
            );
            errors.forbidden("metadata.name", &why);
        }
    } else if value > 1_000_000_000 {
        errors.forbidden("value", "maximum allowed value of a user defined priority is 1000000000");
    }
    errors.one_of(object, "preemptionPolicy", "", &["Never", "PreemptLowerPriority"]);
}
