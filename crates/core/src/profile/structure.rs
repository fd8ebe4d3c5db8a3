//! Checks a tree against the JSON Schema of the raw types: unknown and missing keys, types, ranges, choices, units.
//!
//! Every problem is reported, and the offending value taken out, so that the rest can still be read and checked. The
//! schema is the one that is committed for editors: what they accept and what is accepted here cannot drift apart.

use serde_json::Value as Json;

use super::{
    raw::SpanRange,
    report::Report,
    tree::{Node, Value},
};
use crate::{
    suggest,
    suite::Threshold,
    units::{Bytes, Millicores, parse_duration},
};

/// Checks `root` and prunes what is wrong with it.
pub(super) fn check(root: &mut Node, schema: &Json, report: &mut Report) {
    Check { definitions: schema, report }.node(root, schema, "");
}

struct Check<'a> {
    definitions: &'a Json,
    report: &'a mut Report,
}

impl Check<'_> {
    /// Whether the value is fit to be read; `path` names it in messages.
    fn node(&mut self, node: &mut Node, schema: &Json, path: &str) -> bool {
        let schema = self.plain(schema).clone();
        if let Some(branches) = schema["oneOf"].as_array() {
            return self.choice(node, branches, path);
        }
        let types = type_names(&schema);
        self.coerce(node, &types);
        let fits = |name: &str| types.is_empty() || types.iter().any(|t| t == name);
        match &mut node.value {
            Value::Table(_) if fits("object") => self.table(node, &schema, path),
            Value::Array(items) if fits("array") => {
                let mut index = 0..;
                items.retain_mut(|item| {
                    let at = index.next().unwrap_or_default();
                    self.node(item, &schema["items"], &join(path, &at.to_string()))
                });
                true
            }
            Value::String(_) if fits("string") => self.string(node, &schema, path),
            Value::Integer(number) if fits("integer") || fits("number") => {
                let number = *number as f64;
                self.range(node, number, &schema, path)
            }
            Value::Float(number) if fits("number") => {
                let number = *number;
                self.range(node, number, &schema, path)
            }
            Value::Bool(_) if fits("boolean") => true,
            _ => self.wrong_type(node, &schema, &types, path),
        }
    }

    /// Follows `$ref` and takes the null out of `anyOf`.
    fn plain<'s>(&'s self, schema: &'s Json) -> &'s Json {
        let mut schema = schema;
        loop {
            if let Some(reference) = schema["$ref"].as_str() {
                let pointer = reference.trim_start_matches('#');
                schema = self.definitions.pointer(pointer).unwrap_or(&Json::Null);
            } else if let Some(branches) = schema["anyOf"].as_array() {
                schema = branches.iter().find(|branch| branch["type"] != "null").unwrap_or(&Json::Null);
            } else {
                return schema;
            }
        }
    }

    /// `--set` has no quotes: `kubernetes_version=1.33` is a string if a string is wanted.
    fn coerce(&self, node: &mut Node, types: &[String]) {
        let scalar = matches!(node.value, Value::Integer(_) | Value::Float(_) | Value::Bool(_));
        if scalar && types.iter().any(|t| t == "string") && self.report.is_override(node.at) {
            node.value = Value::String(self.report.text(node.at).to_owned());
        }
    }

    /// An enumeration of strings, or a table told apart by its `type`.
    fn choice(&mut self, node: &mut Node, branches: &[Json], path: &str) -> bool {
        let tag = |branch: &Json| branch["properties"]["type"]["const"].as_str().map(str::to_owned);
        if branches.iter().all(|branch| tag(branch).is_none()) {
            let names: Vec<String> = branches.iter().filter_map(|b| b["const"].as_str()).map(str::to_owned).collect();
            return self.one_of(node, &names, path);
        }
        let names: Vec<String> = branches.iter().filter_map(tag).collect();
        let Some(position) = node.entries().iter().position(|entry| entry.key == "type") else {
            let message = format!("`{path}` has no `type`");
            let hint = format!("one of: {}", names.join(", "));
            self.report.at("missing_key", node.at, message, "type is missing", Some(hint));
            return false;
        };
        let Value::Table(entries) = &mut node.value else { return false };
        if !self.one_of(&entries[position].node, &names, &join(path, "type")) {
            return false;
        }
        let Value::String(name) = &entries[position].node.value else { return false };
        let branch = branches.iter().find(|branch| tag(branch).as_ref() == Some(name)).cloned().unwrap_or_default();
        self.table(node, &branch, path)
    }

    fn one_of(&mut self, node: &Node, names: &[String], path: &str) -> bool {
        match &node.value {
            Value::String(text) if names.contains(text) => true,
            Value::String(text) => {
                let message = format!("`{path}` is `{text}`, must be one of {}", names.join(", "));
                self.report.at("unknown_value", node.at, message, "not one of these", suggest::near(text, names));
                false
            }
            other => {
                let message = format!("`{path}` is {}, must be one of {}", other.kind(), names.join(", "));
                self.report.at("wrong_type", node.at, message, "must be a string", None);
                false
            }
        }
    }

    fn table(&mut self, node: &mut Node, schema: &Json, path: &str) -> bool {
        let at = node.at;
        let Value::Table(entries) = &mut node.value else { return false };
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let absent: Vec<&str> =
            required.iter().filter(|key| !entries.iter().any(|e| e.key == **key)).copied().collect();
        for key in &absent {
            let inside = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
            let message = format!("`{key}` is missing{inside}");
            self.report.at("missing_key", at, message, format!("needs `{key}`"), None);
        }
        let mut sound = absent.is_empty();
        let properties = schema["properties"].as_object();
        entries.retain_mut(|entry| {
            let below = join(path, &entry.key);
            let other = &schema["additionalProperties"];
            let keep = match properties.and_then(|properties| properties.get(&entry.key)) {
                Some(property) => self.node(&mut entry.node, property, &below),
                None if other.is_object() || schema.get("properties").is_none() => {
                    self.node(&mut entry.node, other, &below)
                }
                None => {
                    let known = properties.into_iter().flatten().map(|(key, _)| key);
                    let inside = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
                    let message = format!("unknown key `{}`{inside}", entry.key);
                    let hint = suggest::hint(&entry.key, known);
                    self.report.at("unknown_key", entry.key_at, message, "unknown key", hint);
                    false
                }
            };
            sound &= keep || !required.contains(&entry.key.as_str());
            keep
        });
        sound
    }

    fn string(&mut self, node: &mut Node, schema: &Json, path: &str) -> bool {
        if let Some(names) = schema["enum"].as_array() {
            let names: Vec<String> = names.iter().filter_map(Json::as_str).map(str::to_owned).collect();
            return self.one_of(node, &names, path);
        }
        let Value::String(text) = &node.value else { return false };
        let Some((wrong, hint)) = schema["format"].as_str().and_then(|format| format_error(format, text)) else {
            return true;
        };
        self.report.at("bad_unit", node.at, format!("`{path}`: {wrong}"), "cannot be read", Some(hint.to_owned()));
        false
    }

    fn range(&mut self, node: &Node, number: f64, schema: &Json, path: &str) -> bool {
        let greatest = match schema["format"].as_str() {
            Some("uint32") => Some(f64::from(u32::MAX)),
            Some("uint16") => Some(f64::from(u16::MAX)),
            _ => None,
        };
        let (min, max) = (schema["minimum"].as_f64(), schema["maximum"].as_f64().or(greatest));
        if number.is_finite() && min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max) {
            return true;
        }
        let (limit, label) = match (min, max) {
            (Some(min), Some(max)) if max < f64::from(u32::MAX) => {
                (format!("between {min} and {max}"), format!("allowed: {min} to {max}"))
            }
            (Some(min), _) => (format!("at least {min}"), format!("allowed: {min} and above")),
            (None, Some(max)) => (format!("at most {max}"), format!("allowed: up to {max}")),
            (None, None) => ("finite".to_owned(), "not a finite number".to_owned()),
        };
        self.report.at("out_of_range", node.at, format!("`{path}` is {number}, must be {limit}"), label, None);
        false
    }

    fn wrong_type(&mut self, node: &Node, schema: &Json, types: &[String], path: &str) -> bool {
        let wanted = types.iter().map(|name| in_words(name)).collect::<Vec<_>>().join(" or ");
        let message = format!("`{path}` is {}, must be {wanted}", node.value.kind());
        let example = schema["examples"][0].as_str();
        let hint = match (&node.value, example) {
            (_, Some(example)) => Some(format!("write it with its unit, such as \"{example}\"")),
            (Value::String(text), None) if text.parse::<f64>().is_ok() => Some(format!("write {text} without quotes")),
            _ => None,
        };
        self.report.at("wrong_type", node.at, message, format!("must be {wanted}"), hint);
        false
    }
}

fn type_names(schema: &Json) -> Vec<String> {
    match &schema["type"] {
        Json::String(name) => vec![name.clone()],
        Json::Array(names) => {
            names.iter().filter_map(Json::as_str).filter(|name| *name != "null").map(str::to_owned).collect()
        }
        _ => vec![],
    }
}

fn in_words(name: &str) -> &str {
    match name {
        "object" => "a table",
        "array" => "a list",
        "string" => "a string",
        "integer" => "an integer",
        "boolean" => "a boolean",
        _ => "a number",
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What is wrong with a text of that format, and how it is written.
fn format_error(format: &str, text: &str) -> Option<(String, &'static str)> {
    match format {
        "cpu" => {
            let error = Millicores::parse(text).err()?;
            Some((error.to_string(), "CPU is written \"500m\" (thousandths) or \"2\""))
        }
        "memory" => {
            let error = Bytes::parse(text).err()?;
            Some((error.to_string(), "memory is written \"512Mi\", \"1Gi\" or \"1G\""))
        }
        "go-duration" => {
            let error = parse_duration(text).err()?;
            Some((error.to_string(), "durations are written \"500ms\", \"30s\", \"1m30s\" or \"2h\""))
        }
        "go-duration-range" => {
            let error = SpanRange::parse(text).err()?;
            Some((error, "a range of durations is written \"2m..5m\""))
        }
        "time-of-day" => {
            minute_of_day(text).is_none().then(|| (format!("`{text}` is not a time of the day"), "written \"09:30\""))
        }
        "threshold" => {
            let error = text.parse::<Threshold>().err()?;
            Some((error.to_string(), "k6's syntax: \"http_req_failed: rate<0.05\", \"http_req_duration: p(95)<500\""))
        }
        _ => None,
    }
}

/// Minutes after midnight of `HH:MM`.
pub(super) fn minute_of_day(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let number = |part: &str| if part.len() == 2 { part.parse::<u32>().ok() } else { None };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}
