//! Resolves a workload's scaling: bounds, triggers, behaviour, by the rules of KEDA 2.21 and HPA v2.
//!
//! Upstream: <https://keda.sh/docs/2.21/reference/scaledobject-spec/>,
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior>.

use std::{collections::BTreeSet, time::Duration};

use super::{
    model::{Behavior, Policy, PolicyKind, Role, Scaling, ScalingRules, Select, Trigger},
    query,
    raw::{RawRules, RawScaling, RawSelect, RawTrigger},
    resolve::{Context, span},
    workload::CUSTOMER_OPERATIONS,
};

/// Resolves `workload.X.scaling`; none when it cannot stand.
pub(super) fn resolve(raw: &RawScaling, role: &Role, workload: &str, context: &mut Context<'_>) -> Option<Scaling> {
    let path = format!("{workload}.scaling");
    let min = raw.min.unwrap_or(1);
    let Some(max) = raw.max else {
        context.missing(&path, format!("`max` is missing in `{path}`"), "the most replicas, such as max = 10");
        return None;
    };
    if min > max {
        let message = format!("`{path}` has min {min} above max {max}");
        context.fail(&format!("{path}.min"), "conflict", message, "min may be at most max");
    }
    if raw.trigger.is_empty() {
        let hint = format!("add [[{path}.trigger]] with type = \"cpu\" and utilization = 60");
        context.missing(&path, format!("`{path}` has no trigger"), hint);
    }
    let resource_only = raw.trigger.iter().all(|t| matches!(t, RawTrigger::Cpu { .. } | RawTrigger::Memory { .. }));
    if min == 0 && resource_only && !raw.trigger.is_empty() {
        let message = format!("`{path}` scales to 0 on cpu and memory alone, from which nothing wakes it");
        context.fail(
            &format!("{path}.min"),
            "conflict",
            message,
            "min = 1, or add a prometheus, redis or cron trigger",
        );
    }
    let triggers: Vec<Trigger> = raw
        .trigger
        .iter()
        .enumerate()
        .map(|(index, raw)| trigger(raw, role, &format!("{path}.trigger.{index}"), context))
        .collect();
    unique(&triggers, &path, context);
    for (key, value) in [("polling", raw.polling), ("cooldown", raw.cooldown)] {
        if value.is_some_and(|value| value.0.subsec_nanos() != 0 || (key == "polling" && value.0.is_zero())) {
            let message = format!("`{key}` is in whole seconds above 0");
            context.fail(&format!("{path}.{key}"), "out_of_range", message, "KEDA counts seconds");
        }
    }
    let mut rules = |name: &str, raw: &Option<RawRules>| {
        raw.as_ref().map(|raw| rules(raw, &format!("{path}.behavior.{name}"), context))
    };
    let behavior = Behavior {
        scale_up: rules("scale_up", &raw.behavior.scale_up),
        scale_down: rules("scale_down", &raw.behavior.scale_down),
    };
    Some(Scaling {
        min,
        max,
        polling: span(raw.polling, Duration::from_secs(30)),
        cooldown: span(raw.cooldown, Duration::from_secs(300)),
        triggers,
        behavior,
    })
}

fn unique(triggers: &[Trigger], path: &str, context: &mut Context<'_>) {
    let mut names = BTreeSet::new();
    for (index, trigger) in triggers.iter().enumerate() {
        let (key, name) = match trigger {
            Trigger::Cpu { .. } => ("type", "cpu".to_owned()),
            Trigger::Memory { .. } => ("type", "memory".to_owned()),
            Trigger::Prometheus { name: Some(name), .. } => ("name", format!("prometheus trigger `{name}`")),
            _ => continue,
        };
        if !names.insert(name.clone()) {
            let message = format!("`{path}` has {name} twice");
            context.fail(&format!("{path}.trigger.{index}.{key}"), "duplicate", message, "keep one of them");
        }
    }
}

fn trigger(raw: &RawTrigger, role: &Role, path: &str, context: &mut Context<'_>) -> Trigger {
    match raw {
        RawTrigger::Cpu { utilization } => Trigger::Cpu { utilization: *utilization },
        RawTrigger::Memory { utilization } => Trigger::Memory { utilization: *utilization },
        RawTrigger::Prometheus { name, server, query: text, threshold, activation } => {
            if *threshold <= 0.0 {
                let message = format!("the threshold is {threshold}, must be above 0");
                context.fail(&format!("{path}.threshold"), "out_of_range", message, "the value that one replica bears");
            }
            for problem in query::check(text) {
                context.fail(&format!("{path}.query"), "bad_query", problem.message, problem.hint);
            }
            let server = server.clone().unwrap_or_else(|| "http://prometheus:9090".to_owned());
            if !server.starts_with("http://") && !server.starts_with("https://") {
                let message = format!("`{server}` is not an HTTP address");
                context.fail(&format!("{path}.server"), "bad_address", message, "such as http://prometheus:9090");
            }
            let activation = activation.unwrap_or(0.0);
            Trigger::Prometheus { name: name.clone(), server, query: text.clone(), threshold: *threshold, activation }
        }
        RawTrigger::Redis { address, list, length, activation } => {
            let reads = if let Role::Worker(worker) = role { worker.reads.as_str() } else { CUSTOMER_OPERATIONS };
            Trigger::Redis {
                address: address.clone().unwrap_or_else(|| "redis:6379".to_owned()),
                list: list.clone().unwrap_or_else(|| reads.to_owned()),
                length: length.unwrap_or(5),
                activation: activation.unwrap_or(0),
            }
        }
        RawTrigger::Cron { timezone, start, end, desired } => {
            cron(timezone, start, end, path, context);
            let (timezone, start, end) = (timezone.clone(), start.clone(), end.clone());
            Trigger::Cron { timezone, start, end, desired: *desired }
        }
    }
}

fn cron(timezone: &str, start: &str, end: &str, path: &str, context: &mut Context<'_>) {
    if timezone.parse::<chrono_tz::Tz>().is_err() {
        let message = format!("`{timezone}` is not an IANA time zone");
        context.fail(&format!("{path}.timezone"), "bad_cron", message, "such as Europe/Berlin or UTC");
    }
    for (key, text) in [("start", start), ("end", end)] {
        if let Err(message) = cron_fields(text) {
            let hint = "minute hour day-of-month month day-of-week, such as \"0 8 * * 1-5\"";
            context.fail(&format!("{path}.{key}"), "bad_cron", message, hint);
        }
    }
    if start == end {
        let message = "start and end are the same time";
        context.fail(&format!("{path}.end"), "bad_cron", message, "the trigger holds from start to end");
    }
}

/// Checks the five fields by KEDA's limits.
fn cron_fields(text: &str) -> Result<(), String> {
    const FIELDS: [(&str, u32, u32); 5] =
        [("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6)];
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("`{text}` has {} fields, must have 5", fields.len()));
    }
    for (field, (name, least, most)) in fields.into_iter().zip(FIELDS) {
        let number = |part: &str| -> Result<u32, String> {
            let lower = part.to_ascii_lowercase();
            let named = match name {
                "month" => MONTHS.iter().position(|month| *month == lower).map(|index| index as u32 + 1),
                "day of week" => DAYS.iter().position(|day| *day == lower).map(|index| index as u32),
                _ => None,
            };
            let value = named.or_else(|| part.parse().ok());
            value
                .filter(|value| (least..=most).contains(value))
                .ok_or_else(|| format!("`{part}` cannot be the {name} ({least} to {most})"))
        };
        for item in field.split(',') {
            let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
            if step.is_some_and(|step| step.parse::<u32>().ok().is_none_or(|step| step == 0)) {
                return Err(format!("`{item}` has no step above 0"));
            }
            if matches!(range, "*" | "?") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            if number(from)? > number(to)? {
                return Err(format!("`{range}` ends before it begins"));
            }
        }
    }
    Ok(())
}

fn rules(raw: &RawRules, path: &str, context: &mut Context<'_>) -> ScalingRules {
    let window = raw.window.map(|window| window.0);
    if window.is_some_and(|window| window.subsec_nanos() != 0 || window.as_secs() > 3600) {
        let message = "the stabilisation window is in whole seconds, at most 1h";
        context.fail(&format!("{path}.window"), "out_of_range", message, "such as \"0s\" or \"5m\"");
    }
    let mut policies = Vec::new();
    for (index, policy) in raw.policies.iter().enumerate() {
        let at = format!("{path}.policies.{index}");
        let period = span(policy.period, Duration::from_secs(15));
        if period.subsec_nanos() != 0 || !(1..=1800).contains(&period.as_secs()) {
            let message = "the period of a policy is in whole seconds, 1s to 30m";
            context.fail(&format!("{at}.period"), "out_of_range", message, "such as \"15s\"");
        }
        let (kind, value) = match (policy.pods, policy.percent) {
            (Some(pods), None) => (PolicyKind::Pods, pods),
            (None, Some(percent)) => (PolicyKind::Percent, percent),
            (given, _) => {
                let (message, hint) =
                    ("a policy has either `pods` or `percent`", "such as { percent = 400, period = \"15s\" }");
                if given.is_some() {
                    context.fail(&at, "conflict", message, hint);
                } else {
                    context.missing(&at, message, hint);
                }
                continue;
            }
        };
        policies.push(Policy { kind, value, period_seconds: period.as_secs() as u32 });
    }
    let select = raw.select.map(|select| match select {
        RawSelect::Max => Select::Max,
        RawSelect::Min => Select::Min,
        RawSelect::Disabled => Select::Disabled,
    });
    ScalingRules { window: window.map(|window| window.as_secs() as u32), select, policies }
}
