//! Probes and hooks.

use serde_json::Value;

use super::{
    super::{
        errors::{Errors, list, text},
        names,
    },
    port_number,
};

/// All probes and hooks of a container.
pub(super) fn all(container: &Value, path: &str, grace: Option<i64>, errors: &mut Errors) {
    for hook in ["postStart", "preStop"] {
        let handler = &container["lifecycle"][hook];
        if handler.is_object() {
            self::handler(handler, &format!("{path}.lifecycle.{hook}"), grace, errors);
        }
    }
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &container[kind];
        if !probe.is_object() {
            continue;
        }
        let at = format!("{path}.{kind}");
        handler(probe, &at, grace, errors);
        for key in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
            errors.not_negative(probe, key, &at);
        }
        let grace = &probe["terminationGracePeriodSeconds"];
        if grace.as_i64().is_some_and(|seconds| seconds <= 0) {
            errors.invalid(&format!("{at}.terminationGracePeriodSeconds"), grace, "must be greater than 0");
        }
        let once = &probe["successThreshold"];
        if kind != "readinessProbe" && *once != 1 {
            errors.invalid(&format!("{at}.successThreshold"), once, "must be 1");
        }
        if kind == "readinessProbe" && !grace.is_null() {
            errors.invalid(
                &format!("{at}.terminationGracePeriodSeconds"),
                grace,
                "must not be set for readinessProbes",
            );
        }
    }
}

/// Exactly one way to ask.
fn handler(handler: &Value, path: &str, grace: Option<i64>, errors: &mut Errors) {
    let mut found = 0;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let action = &handler[kind];
        if !action.is_object() {
            continue;
        }
        found += 1;
        let at = format!("{path}.{kind}");
        if found > 1 {
            errors.forbidden(&at, "may not specify more than 1 handler type");
            continue;
        }
        match kind {
            "exec" if list(action, "command").is_empty() => errors.required(&format!("{at}.command"), ""),
            "httpGet" => {
                if text(action, "path").is_empty() {
                    errors.required(&format!("{at}.path"), "");
                }
                port_number_or_name(&action["port"], &format!("{at}.port"), errors);
                errors.one_of(action, "scheme", &at, &["HTTP", "HTTPS"]);
                for header in list(action, "httpHeaders") {
                    let name = text(header, "name");
                    errors.texts(&format!("{at}.httpHeaders"), name, names::header(name));
                }
            }
            "tcpSocket" => port_number_or_name(&action["port"], &format!("{at}.port"), errors),
            "grpc" => port_number(action["port"].as_i64().unwrap_or(0), &format!("{at}.port"), errors),
            "sleep" => {
                let seconds = action["seconds"].as_i64().unwrap_or(0);
                if let Some(grace) = grace.filter(|grace| !(0..=*grace).contains(&seconds)) {
                    let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                    errors.invalid(&at, &seconds.into(), &why);
                }
            }
            _ => {}
        }
    }
    if found == 0 {
        errors.required(path, "must specify a handler type");
    }
}

/// A port by its number or its name.
pub(in super::super) fn port_number_or_name(port: &Value, field: &str, errors: &mut Errors) {
    match port {
        Value::String(name) => errors.texts(field, name, names::port(name)),
        number => port_number(number.as_i64().unwrap_or(0), field, errors),
    }
}
