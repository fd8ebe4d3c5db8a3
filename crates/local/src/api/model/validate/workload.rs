//! Deployments, `ReplicaSet`s, `DaemonSet`s, `StatefulSet`s.

use serde_json::{Value, json};

use super::{
    errors::{Errors, text},
    names, pod, selector,
};
use crate::api::LabelSelector;

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
    own_selector(spec, kind, errors);
    if selector::is_readable(&spec["selector"]) {
        matching_template(spec, errors);
    } else {
        errors.invalid("spec.selector", &spec["selector"], "invalid label selector");
    }
}

fn own_selector(spec: &Value, kind: &str, errors: &mut Errors) {
    let own = &spec["selector"];
    if own.is_null() {
        errors.required("spec.selector", "");
        return;
    }
    selector::label_selector(own, "spec.selector", errors);
    if selector::is_empty(own) {
        errors.invalid("spec.selector", own, &format!("empty selector is invalid for {kind}"));
    }
}

fn matching_template(spec: &Value, errors: &mut Errors) {
    let template = &spec["template"];
    matching_labels(spec, errors);
    pod::template(template, "spec.template", errors);
    running_for_ever(template, errors);
}

/// A selector that is not there selects nothing, an empty one everything.
fn matching_labels(spec: &Value, errors: &mut Errors) {
    let (own, template) = (&spec["selector"], &spec["template"]);
    let matches = LabelSelector::from_value(own).matches(template);
    if own.is_null() || (!matches && !selector::is_empty(own)) {
        let why = "`selector` does not match template `labels`";
        errors.invalid("spec.template.metadata.labels", &template["metadata"]["labels"], why);
    }
}

fn running_for_ever(template: &Value, errors: &mut Errors) {
    let policy = &template["spec"]["restartPolicy"];
    if policy != "Always" {
        errors.unsupported("spec.template.spec.restartPolicy", policy, &["Always"]);
    }
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
    if spec["ordinals"]["start"].as_i64().is_some_and(|start| start < 0) {
        errors.invalid("spec.ordinals.start", &spec["ordinals"]["start"], "must be greater than or equal to 0");
    }
    let service = text(spec, "serviceName");
    if !service.is_empty() {
        errors.texts("spec.serviceName", service, names::label(service));
    }
    own_selector(spec, "statefulset", errors);
    let template = &spec["template"];
    if selector::is_readable(&spec["selector"]) {
        matching_labels(spec, errors);
        // Upstream looks at no more of this template.
        pod::template_metadata(template, "spec.template", errors);
    } else {
        errors.invalid("spec.selector", &spec["selector"], "");
    }
    running_for_ever(template, errors);
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
    pod::template(&spec["template"], "spec.template", errors);
    running_for_ever(&spec["template"], errors);
}
