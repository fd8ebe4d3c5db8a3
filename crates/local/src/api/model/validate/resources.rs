//! Names and amounts of resources.

use serde_json::{Value, json};

use super::{
    errors::{Errors, list},
    names,
};
use crate::api::typed;

/// Names without a domain that upstream knows.
const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
    "storage",
];

/// Those of them that are counted.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.split('/').next().is_some_and(|domain| domain.ends_with("kubernetes.io"))
}

fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified(&format!("requests.{name}")).is_empty()
}

/// Whether more of a resource may be promised than there is.
fn overcommits(name: &str) -> bool {
    is_native(name) && !is_huge(name)
}

/// A name that is known, or has a domain.
pub(super) fn name(name: &str, field: &str, errors: &mut Errors) {
    let wrong = names::qualified(name);
    let huge = is_huge(name) || name.starts_with("requests.hugepages-");
    if !wrong.is_empty() {
        errors.texts(field, name, wrong);
    } else if !name.contains('/') && !STANDARD.contains(&name) && !huge {
        errors.invalid(field, &json!(name), "must be a standard resource type or fully qualified");
    }
}

/// A name that a container can ask for.
pub(super) fn of_container(name: &str, field: &str, errors: &mut Errors) {
    self::name(name, field, errors);
    if !name.contains('/') {
        if !["cpu", "memory", "ephemeral-storage"].contains(&name) && !is_huge(name) {
            errors.invalid(field, &json!(name), "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(field, &json!(name), "doesn't follow extended resource name standard");
    }
}

/// A name that a quota can limit.
pub(super) fn of_quota(name: &str, field: &str, errors: &mut Errors) {
    self::name(name, field, errors);
    if !name.contains('/') && !is_standard_for_quota(name) {
        errors.invalid(field, &json!(name), "must be a standard resource for quota");
    }
}

/// Whether a quota knows a name without a domain.
pub(super) fn is_standard_for_quota(name: &str) -> bool {
    STANDARD[..19].contains(&name) || is_huge(name) || name.starts_with("requests.hugepages-")
}

/// An amount of at least zero.
pub(super) fn not_negative(amount: &Value, field: &str, errors: &mut Errors) {
    if amount.as_str().is_some_and(|text| text.starts_with('-')) {
        errors.invalid(field, amount, "must be greater than or equal to 0");
    }
}

/// An amount of a resource: what is counted comes in wholes.
pub(super) fn amount(name: &str, amount: &Value, field: &str, errors: &mut Errors) {
    not_negative(amount, field, errors);
    let whole = amount.as_str().is_some_and(|text| !text.ends_with(['m', 'u', 'n']));
    if (COUNTED.contains(&name) || is_extended(name)) && !whole {
        errors.invalid(field, amount, "must be an integer");
    }
}

/// Huge pages come in wholes of their size.
fn pages(name: &str, amount: &Value, field: &str, errors: &mut Errors) {
    let page = name.strip_prefix("hugepages-").and_then(|page| typed::amount(&json!(page)));
    if let (Some(page), Some(size)) = (page, typed::amount(amount))
        && (page <= 0.0 || size % page != 0.0)
    {
        let why = format!("is not positive integer multiple of {}", name.trim_start_matches("hugepages-"));
        errors.invalid(field, amount, &why);
    }
}

/// Requests and limits.
pub(super) fn requirements(resources: &Value, path: &str, errors: &mut Errors) {
    let (limits, requests) = (&resources["limits"], &resources["requests"]);
    for (name, size) in limits.as_object().into_iter().flatten() {
        let field = format!("{path}.limits[{name}]");
        of_container(name, &field, errors);
        amount(name, size, &field, errors);
        pages(name, size, &field, errors);
    }
    for (name, size) in requests.as_object().into_iter().flatten() {
        let field = format!("{path}.requests[{name}]");
        of_container(name, &field, errors);
        amount(name, size, &field, errors);
        pages(name, size, &field, errors);
        let field = format!("{path}.requests");
        let request = typed::amount(size);
        match limits.get(name).map(|limit| (limit, typed::amount(limit))) {
            Some((limit, most)) if !overcommits(name) && most != request => {
                let shown = limit.as_str().unwrap_or_default();
                errors.invalid(&field, size, &format!("must be equal to {name} limit of {shown}"));
            }
            Some((limit, most)) if request > most => {
                let shown = limit.as_str().unwrap_or_default();
                errors.invalid(&field, size, &format!("must be less than or equal to {name} limit of {shown}"));
            }
            None if !overcommits(name) => {
                errors.required(&format!("{path}.limits"), "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
    }
    let asked = |wanted: &dyn Fn(&str) -> bool| {
        let all = [limits, requests].into_iter().filter_map(Value::as_object).flatten();
        all.into_iter().any(|(name, _)| wanted(name))
    };
    if asked(&is_huge) && !asked(&|name| matches!(name, "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

/// Hard limits, and what they hold for.
pub(super) fn quota(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    hard(&spec["hard"], "spec.hard", errors);
    let scopes = list(spec, "scopes");
    let names: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
    for scope in &names {
        if !SCOPES.contains(scope) {
            errors.invalid("spec.scopes", &spec["scopes"], "unsupported scope");
        }
        misfits(spec, scope, "spec.scopes", errors);
    }
    conflicts(&names, "spec.scopes", spec, errors);
    let at = "spec.scopeSelector.matchExpressions";
    let requirements = list(&spec["scopeSelector"], "matchExpressions");
    let mut names = Vec::new();
    for requirement in requirements {
        let scope = requirement["scopeName"].as_str().unwrap_or_default();
        if !SCOPES.contains(&scope) {
            errors.invalid(&format!("{at}.scopeName"), &json!(scope), "unsupported scope");
        }
        misfits(spec, scope, at, errors);
        scope_operator(requirement, scope, at, errors);
        names.push(scope);
    }
    conflicts(&names, at, spec, errors);
}

/// Amounts of a quota, in its spec and in its status.
pub(super) fn hard(amounts: &Value, path: &str, errors: &mut Errors) {
    for (name, size) in amounts.as_object().into_iter().flatten() {
        let field = format!("{path}[{name}]");
        of_quota(name, &field, errors);
        amount(name, size, &field, errors);
    }
}

const SCOPES: [&str; 6] =
    ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"];

fn misfits(spec: &Value, scope: &str, path: &str, errors: &mut Errors) {
    for name in spec["hard"].as_object().into_iter().flat_map(serde_json::Map::keys) {
        let fits = match scope {
            "BestEffort" => name == "pods",
            "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
                let parts = ["cpu", "memory", "ephemeral-storage"];
                let bare = name.trim_start_matches("requests.").trim_start_matches("limits.");
                name == "pods" || parts.contains(&bare)
            }
            _ => true,
        };
        if is_standard_for_quota(name) && !fits {
            errors.invalid(path, &spec["scopes"], "unsupported scope applied to resource");
        }
    }
}

fn conflicts(scopes: &[&str], path: &str, spec: &Value, errors: &mut Errors) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.invalid(path, &spec["scopes"], "conflicting scopes");
        }
    }
}

fn scope_operator(requirement: &Value, scope: &str, path: &str, errors: &mut Errors) {
    let operator = requirement["operator"].as_str().unwrap_or_default();
    if SCOPES.contains(&scope) && scope != "PriorityClass" && operator != "Exists" {
        let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.invalid(&format!("{path}.operator"), &json!(operator), why);
    }
    let values = list(requirement, "values");
    match operator {
        "In" | "NotIn" => {
            if values.is_empty() {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.required(&format!("{path}.values"), why);
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.invalid(&format!("{path}.values"), &requirement["values"], why);
            }
        }
        other => errors.invalid(&format!("{path}.operator"), &json!(other), "not a valid selector operator"),
    }
}

/// Minimum, default request, default and maximum stand in this order.
pub(super) fn limit_range(object: &Value, errors: &mut Errors) {
    let mut kinds: Vec<&Value> = Vec::new();
    for (index, limit) in list(&object["spec"], "limits").iter().enumerate() {
        let at = format!("spec.limits[{index}]");
        let kind = limit["type"].as_str().unwrap_or_default();
        let plain = ["Pod", "Container", "PersistentVolumeClaim"].contains(&kind);
        if !names::qualified(kind).is_empty() {
            errors.texts(&format!("{at}.type"), kind, names::qualified(kind));
        } else if !kind.contains('/') && !plain {
            let why = "must be a standard limit type or fully qualified";
            errors.invalid(&format!("{at}.type"), &json!(kind), why);
        }
        if kinds.contains(&&limit["type"]) {
            errors.duplicate(&format!("{at}.type"), &limit["type"]);
        }
        kinds.push(&limit["type"]);
        for part in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            let amounts = limit[part].as_object().into_iter().flatten();
            if kind == "Pod" && part.starts_with("default") {
                if amounts.count() > 0 {
                    errors.forbidden(&format!("{at}.{part}"), "may not be specified when `type` is 'Pod'");
                }
                continue;
            }
            if part == "maxLimitRequestRatio" && kind == "PersistentVolumeClaim" {
                let given = ["min", "max"].iter().any(|part| limit[*part].get("storage").is_some());
                if !given {
                    let why = "either minimum or maximum storage value is required, but neither was provided";
                    errors.required(&format!("{at}.limits"), why);
                }
            }
            for (resource, _) in amounts {
                let field = format!("{at}.{part}[{resource}]");
                match kind {
                    "Pod" | "Container" => of_container(resource, &field, errors),
                    _ => name(resource, &field, errors),
                }
            }
        }
        order(limit, &at, errors);
    }
}

fn order(limit: &Value, at: &str, errors: &mut Errors) {
    let parts = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    let mut names: Vec<&String> =
        parts.iter().flat_map(|part| limit[*part].as_object().into_iter().flatten().map(|(name, _)| name)).collect();
    names.sort();
    names.dedup();
    for name in names {
        let amount = |part: &str| limit[part].get(name).and_then(typed::amount);
        let (max, min) = (amount("max"), amount("min"));
        let (default, request) = (amount("default"), amount("defaultRequest"));
        let above =
            |one: Option<f64>, other: Option<f64>| matches!((one, other), (Some(one), Some(other)) if one > other);
        let mut wrong =
            |part: &str, why: &str| errors.invalid(&format!("{at}.{part}[{name}]"), &limit[part][name], why);
        for (less, more, part, why) in [
            (min, max, "min", "min value is greater than max value"),
            (min, request, "defaultRequest", "min value is greater than default request value"),
            (request, max, "defaultRequest", "default request value is greater than max value"),
            (request, default, "defaultRequest", "default request value is greater than default limit value"),
            (min, default, "default", "min value is greater than default value"),
            (default, max, "default", "default value is greater than max value"),
        ] {
            if above(less, more) {
                wrong(part, why);
            }
        }
        let ratio = amount("maxLimitRequestRatio");
        if above(Some(1.0), ratio) {
            wrong("maxLimitRequestRatio", "ratio is less than 1");
        }
        if let (Some(min), Some(max)) = (min, max)
            && above(ratio, Some(max / min))
        {
            wrong("maxLimitRequestRatio", "ratio is greater than max/min");
        }
        if let (false, Some(default), Some(request)) = (overcommits(name), default, request)
            && default.total_cmp(&request).is_ne()
        {
            wrong("defaultRequest", "default value must equal to defaultRequest value");
        }
    }
}
