//! Reads a load suite: the same steps as a profile, on a smaller tree.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Source,
    raw_suite::{RawStep, RawSuite, RawTest},
    report::Report,
    resolve::{Context, span},
    schema, structure,
    tree::Node,
};
use crate::{
    suggest,
    suite::{Executor, Request, Stage, Step, Suite, Test},
};

/// Reads the suite of that name; problems go to the report.
pub(super) fn load(source: &Source, name: &str, report: &mut Report) -> Option<Suite> {
    let index = report.add_source(source, false);
    let mut root = super::parse_source(index, source, report)?;
    let before = report.len();
    structure::check(&mut root, &schema::suite(), report);
    let sound = report.len() == before;
    let raw: RawSuite = match serde_json::from_value(root.to_json()) {
        Ok(raw) => raw,
        Err(error) => {
            if sound {
                report.at("unreadable", root.at, error.to_string(), "in this file", None);
            }
            return None;
        }
    };
    let mut context = Context { tree: &root, report, sound };
    if raw.test.is_empty() {
        context.missing("test", "the suite has no test", "add [[test]]");
    }
    let mut names = BTreeSet::new();
    let mut tests = Vec::new();
    for (position, raw) in raw.test.iter().enumerate() {
        let path = format!("test.{position}");
        context.dns_label(&format!("{path}.name"), "test", &raw.name);
        if !names.insert(raw.name.clone()) {
            context.fail(&format!("{path}.name"), "duplicate", format!("two tests are called `{}`", raw.name), "");
        }
        tests.extend(test(raw, &path, &mut context));
    }
    Some(Suite { name: raw.name.unwrap_or_else(|| name.to_owned()), tests })
}

fn test(raw: &RawTest, path: &str, context: &mut Context<'_>) -> Option<Test> {
    let thirty = Duration::from_secs(30);
    let executor = match (&raw.stages, raw.duration) {
        (Some(_), Some(_)) => {
            let message = format!("`{}` has both `duration` and `stages`", raw.name);
            context.fail(&format!("{path}.duration"), "conflict", message, "stages carry their own durations");
            return None;
        }
        (Some(stages), None) => {
            if stages.iter().all(|stage| stage.duration.0.is_zero()) {
                context.fail(&format!("{path}.stages"), "out_of_range", "the stages take no time", "");
            }
            let stages =
                stages.iter().map(|stage| Stage { duration: stage.duration.0, target: stage.target }).collect();
            let graceful_ramp_down = span(raw.graceful_ramp_down, thirty);
            Executor::RampingVus { start_vus: raw.vus.unwrap_or(1), stages, graceful_ramp_down }
        }
        (None, Some(duration)) => {
            if duration.0.is_zero() || raw.vus.unwrap_or(1) == 0 {
                let message = format!("`{}` has no load: `vus` and `duration` must be above 0", raw.name);
                context.fail(path, "out_of_range", message, "");
            }
            Executor::ConstantVus { vus: raw.vus.unwrap_or(1), duration: duration.0 }
        }
        (None, None) => {
            let message = format!("`{}` has neither `duration` nor `stages`", raw.name);
            context.missing(&format!("{path}.name"), message, "constant: vus and duration; ramping: stages");
            return None;
        }
    };
    if raw.journey.is_empty() {
        context.missing(&format!("{path}.journey"), "the journey has no step", "such as { get = \"/api/customers\" }");
    }
    let mut journey: Vec<Step> = Vec::new();
    for (index, raw) in raw.journey.iter().enumerate() {
        let at = format!("{path}.journey.{index}");
        if raw.poll.is_some() && !journey.iter().any(|step| matches!(step, Step::Request(_))) {
            context.fail(&at, "conflict", "a poll needs a request before it, whose Location it follows", "");
        }
        journey.extend(step(raw, &at, context));
    }
    Some(Test {
        name: raw.name.clone(),
        executor,
        journey,
        thresholds: raw.thresholds.iter().filter_map(|text| text.0.parse().ok()).collect(),
        graceful_stop: span(raw.graceful_stop, thirty),
    })
}

fn step(raw: &RawStep, path: &str, context: &mut Context<'_>) -> Option<Step> {
    let methods = [("GET", &raw.get), ("POST", &raw.post), ("PUT", &raw.put), ("DELETE", &raw.delete)];
    let given: Vec<(&str, &String)> = methods.iter().filter_map(|(m, path)| Some((*m, path.as_ref()?))).collect();
    let kinds = given.len() + usize::from(raw.think.is_some()) + usize::from(raw.poll.is_some());
    if kinds != 1 {
        let message = format!("a step is one of get, post, put, delete, think, poll; this has {kinds} of them");
        let hint = if kinds == 0 { "such as { get = \"/api/customers\" }" } else { "split it" };
        // A step whose only content could not be read has been told of already.
        if kinds > 0 || context.sound {
            context.fail(path, "conflict", message, hint);
        }
        return None;
    }
    if let Some(think) = raw.think {
        return Some(Step::Think { min: think.min, max: think.max });
    }
    if let Some(poll) = &raw.poll {
        let interval = span(poll.interval, Duration::from_millis(500));
        if interval.is_zero() {
            context.fail(&format!("{path}.poll.interval"), "out_of_range", "the interval must be above 0", "");
        }
        return Some(Step::PollUntil {
            name: raw.name.clone().unwrap_or_else(|| "poll".into()),
            field: poll.field.clone(),
            equals: poll.equals.clone(),
            interval,
            timeout: span(poll.timeout, Duration::from_secs(30)),
        });
    }
    let (method, target) = given[0];
    if !target.starts_with('/') {
        let message = format!("`{target}` is not a path");
        let key = method.to_lowercase();
        context.fail(
            &format!("{path}.{key}"),
            "bad_address",
            message,
            "paths start with `/`: the target gives the host",
        );
    }
    if let Some(body) = &raw.body {
        let plain = body.replace("${seq}", "1").replace("${vu}", "1").replace("${iter}", "1");
        if let Err(error) = serde_json::from_str::<serde_json::Value>(&plain) {
            context.fail(&format!("{path}.body"), "bad_body", format!("the body is not JSON: {error}"), "");
        }
    }
    Some(Step::Request(Request {
        name: raw.name.clone().unwrap_or_else(|| method.to_lowercase()),
        method: method.to_owned(),
        path: target.clone(),
        body: raw.body.clone(),
        expect: raw.expect.clone(),
    }))
}

/// Finds the suite that a profile names.
pub(super) fn find(
    name: &str,
    tree: &Node,
    resolve: &dyn Fn(&str) -> Option<Source>,
    report: &mut Report,
) -> Option<Suite> {
    let file = format!("suites/{name}");
    if let Some(source) = resolve(&file).or_else(|| super::builtin_suite(name)) {
        return load(&source, name, report);
    }
    let hint = suggest::hint(name, super::BUILTIN_SUITES.map(|(name, _)| name)).unwrap_or_default();
    report.on(tree, "suite", "unknown_reference", format!("there is no suite `{name}`"), "unknown suite", hint);
    None
}

#[cfg(test)]
mod tests {
    use super::super::builtin_suite;
    use super::{Report, load};

    #[test]
    fn the_standard_suite_reads() {
        let source = builtin_suite("standard").expect("built in");
        let mut report = Report::default();
        let suite = load(&source, "standard", &mut report).expect("reads");
        assert!(report.is_clean());
        assert_eq!(suite.tests.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["soak", "load", "spike"]);
    }
}
