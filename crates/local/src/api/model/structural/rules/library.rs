//! What Kubernetes adds to the language: lists, regular expressions, URLs, addresses, quantities.
//!
//! <https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries>

use std::{net::IpAddr, sync::Arc};

use cel::{Context, DeclarationError, Env, ExecutionError, Value, extractors::This};
use regex::Regex;

use super::super::{format::is_cidr, pattern::compiled};
use crate::api::typed;

type Result<T> = std::result::Result<T, ExecutionError>;

/// The language with its own extensions.
pub(super) fn environment() -> Env {
    let mut env = Env::stdlib();
    for extension in [cel::extensions::strings, cel::extensions::math, cel::extensions::encoders] {
        // Each is declared once, into an environment of its own.
        let _ = extension(&mut env);
    }
    env
}

/// Kubernetes' own functions.
pub(super) fn add(context: &mut Context<'_, '_>) -> std::result::Result<(), DeclarationError> {
    context.add_function("find", |This(text): This<Arc<String>>, pattern: Arc<String>| find(&text, &pattern))?;
    context.add_function("findAll", |This(text): This<Arc<String>>, pattern: Arc<String>| find_all(&text, &pattern))?;
    context.add_function("isSorted", |This(list): This<Arc<Vec<Value>>>| {
        list.windows(2).all(|pair| pair[0].partial_cmp(&pair[1]).is_some_and(std::cmp::Ordering::is_le))
    })?;
    context.add_function("sum", |This(list): This<Arc<Vec<Value>>>| sum(&list))?;
    for (name, least) in [("min", true), ("max", false)] {
        context.add_function(name, move |This(list): This<Arc<Vec<Value>>>| extreme(&list, name, least))?;
    }
    context.add_function("isURL", |text: Arc<String>| parse_url(&text).is_some())?;
    context.add_function("url", |text: Arc<String>| match parse_url(&text) {
        Some(_) => Ok(Value::String(text)),
        None => Err(ExecutionError::function_error("url", "the text is no absolute URL")),
    })?;
    for name in ["getScheme", "getHost", "getHostname", "getPort", "getEscapedPath"] {
        context.add_function(name, move |This(text): This<Arc<String>>| url_part(&text, name))?;
    }
    context.add_function("isIP", |text: Arc<String>| text.parse::<IpAddr>().is_ok())?;
    context.add_function("isCIDR", |text: Arc<String>| is_cidr(&text))?;
    context.add_function("isQuantity", |text: Arc<String>| typed::quantity(&text).is_some())?;
    context.add_function("quantity", |text: Arc<String>| {
        typed::amount_of(&text).ok_or_else(|| ExecutionError::function_error("quantity", "the text is no quantity"))
    })?;
    context.add_function("isGreaterThan", |This(one): This<f64>, other: f64| one > other)?;
    context.add_function("isLessThan", |This(one): This<f64>, other: f64| one < other)?;
    context.add_function("compareTo", |This(one): This<f64>, other: f64| {
        one.partial_cmp(&other).map_or(0_i64, |order| order as i64)
    })?;
    context.add_function("asApproximateFloat", |This(one): This<f64>| one)?;
    context.add_function("isInteger", |This(one): This<f64>| one.fract() == 0.0)?;
    Ok(())
}

/// A duration as Go writes it.
pub(super) fn duration(text: &str) -> Option<chrono::Duration> {
    let (mut rest, mut nanos) = (text.trim(), 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..][..rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits)];
        nanos += number
            * match unit {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 6e10,
                "h" => 3.6e12,
                _ => return None,
            };
        rest = &rest[digits + unit.len()..];
    }
    let length = std::time::Duration::try_from_secs_f64(nanos / 1e9).ok()?;
    chrono::Duration::from_std(length).ok()
}

fn pattern(text: &str) -> Result<Regex> {
    compiled(text).map_err(|error| ExecutionError::function_error("find", error))
}

fn find(text: &str, wanted: &str) -> Result<Value> {
    let found = pattern(wanted)?.find(text).map_or("", |found| found.as_str()).to_owned();
    Ok(Value::String(Arc::new(found)))
}

fn find_all(text: &str, wanted: &str) -> Result<Value> {
    let pattern = pattern(wanted)?;
    let found = pattern.find_iter(text).map(|found| Value::String(Arc::new(found.as_str().to_owned())));
    Ok(Value::List(Arc::new(found.collect())))
}

fn sum(list: &[Value]) -> Result<Value> {
    let mut all = Value::Int(0);
    for (index, item) in list.iter().enumerate() {
        all = match (all, item) {
            (_, item) if index == 0 => item.clone(),
            (Value::Int(one), Value::Int(other)) => one
                .checked_add(*other)
                .map(Value::Int)
                .ok_or_else(|| ExecutionError::function_error("sum", "integer overflow"))?,
            (Value::Float(one), Value::Float(other)) => Value::Float(one + other),
            (Value::Duration(one), Value::Duration(other)) => Value::Duration(one + *other),
            _ => return Err(ExecutionError::function_error("sum", "the items are no numbers of one kind")),
        };
    }
    Ok(all)
}

fn extreme(list: &[Value], name: &str, least: bool) -> Result<Value> {
    let better = |one: &Value, other: &Value| {
        let order = one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal);
        if least { order.is_lt() } else { order.is_gt() }
    };
    let mut best: Option<&Value> = None;
    for item in list {
        if best.is_none_or(|best| better(item, best)) {
            best = Some(item);
        }
    }
    best.cloned().ok_or_else(|| ExecutionError::function_error(name, "the list is empty"))
}

fn parse_url(text: &str) -> Option<reqwest::Url> {
    reqwest::Url::parse(text).ok().or_else(|| {
        // A path alone is a URL as well.
        text.starts_with('/').then(|| reqwest::Url::parse(&format!("none://none{text}")).ok()).flatten()
    })
}

fn url_part(text: &str, part: &str) -> Result<Value> {
    let url = parse_url(text).ok_or_else(|| ExecutionError::function_error(part, "the text is no URL"))?;
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| port.to_string()).unwrap_or_default();
    let text = match part {
        "getScheme" => url.scheme().to_owned(),
        "getHost" if port.is_empty() => host.to_owned(),
        "getHost" => format!("{host}:{port}"),
        "getHostname" => host.to_owned(),
        "getPort" => port,
        _ => url.path().to_owned(),
    };
    Ok(Value::String(Arc::new(text)))
}
