//! Profiles: TOML text to raw values to a resolved [`Profile`]. A half-checked profile cannot exist.
//!
//! Owns parsing, inheritance, overrides and every check that needs no cluster. Does not read files: texts come in.
//! The way of a text: [`tree`] (spans, merging, `--set`), [`structure`] (keys, types, units, by the schema), [`raw`]
//! (serde), [`resolve`], [`workload`] and [`scaling`] (defaults, limits), [`cross`] (one section against another).

mod builtin;
mod cross;
mod error;
mod extending;
mod lint;
mod load_suite;
mod model;
mod query;
mod raw;
mod raw_suite;
mod report;
mod resolve;
mod scaling;
pub mod schema;
mod structure;
mod tree;
mod workload;

pub use builtin::{BUILTIN_PROFILES, BUILTIN_SUITES, builtin, builtin_suite};
pub use error::{Problem, ProfileErrors};
pub(crate) use extending::{put, spread};
pub use lint::{Lint, lint};
pub use model::{
    Autoscaler, Azure, Behavior, Local, Pattern, Period, Policy, PolicyKind, Pool, PoolMode, Probe, Probes, Profile,
    Prometheus, Resources, Role, Scaling, ScalingRules, Select, SkuTier, Taint, Traffic, Trigger, Web, Worker,
    Workload,
};
pub use query::EXPOSED_METRICS;
use raw::RawProfile;
use report::Report;
use resolve::Context;
use tree::{At, Node, Value};
pub use workload::CUSTOMER_OPERATIONS;

use crate::suggest;

/// A text with the name that errors give it, such as `profiles/m3demo2.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name.
    pub name: String,
    /// Text.
    pub text: String,
}

impl Profile {
    /// Reads a profile: `sets` are `path`, `value` of `--set path=value`, in order; `resolve` finds other texts by name:
    /// a profile for `extends` (`m3demo2`), a suite (`suites/standard`); what it does not know is looked for among the
    /// built-in ones.
    ///
    /// # Errors
    /// Every problem found, each with its place.
    pub fn load(
        source: &Source,
        sets: &[(String, String)],
        resolve: &dyn Fn(&str) -> Option<Source>,
    ) -> Result<Self, ProfileErrors> {
        Ok(Self::load_tree(source, sets, resolve)?.0)
    }

    /// Reads a profile as [`Profile::load`] does; yields it as one text, with all that it extends and every override.
    ///
    /// # Errors
    /// As [`Profile::load`].
    pub fn merged(
        source: &Source,
        sets: &[(String, String)],
        resolve: &dyn Fn(&str) -> Option<Source>,
    ) -> Result<String, ProfileErrors> {
        let (profile, tree) = Self::load_tree(source, sets, resolve)?;
        Ok(extending::merged(&tree, &profile.name))
    }

    fn load_tree(
        source: &Source,
        sets: &[(String, String)],
        resolve: &dyn Fn(&str) -> Option<Source>,
    ) -> Result<(Self, Node), ProfileErrors> {
        let mut report = Report::default();
        let name = stem(&source.name).to_owned();
        let mut chain = vec![name.clone()];
        let read = inherited(source, &mut chain, resolve, &mut report).and_then(|mut tree| {
            override_with(&mut tree, sets, &mut report);
            Some((read(&mut tree, &name, resolve, &mut report)?, tree))
        });
        report.finish(&name, read)
    }

    /// Reads a built-in profile with overrides.
    ///
    /// # Errors
    /// As [`Profile::load`]. None: there is no such profile.
    pub fn load_builtin(name: &str, sets: &[(String, String)]) -> Option<Result<Self, ProfileErrors>> {
        builtin(name).map(|source| Self::load(&source, sets, &|_| None))
    }

    /// The workload of that name.
    pub fn workload(&self, name: &str) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.name == name)
    }
}

/// The file's name without directories and `.toml`.
fn stem(name: &str) -> &str {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    file.strip_suffix(".toml").unwrap_or(file)
}

/// Parses a source; syntax errors go to the report.
fn parse_source(index: usize, source: &Source, report: &mut Report) -> Option<Node> {
    match tree::parse(index, &source.text) {
        Ok(node) => Some(node),
        Err(errors) => {
            for error in errors {
                let at = At::new(index, error.range);
                report.at("syntax", at, format!("not TOML: {}", error.message), "here", None);
            }
            None
        }
    }
}

/// The profile merged over those that it extends.
fn inherited(
    source: &Source,
    chain: &mut Vec<String>,
    resolve: &dyn Fn(&str) -> Option<Source>,
    report: &mut Report,
) -> Option<Node> {
    let index = report.add_source(source, false);
    let node = parse_source(index, source, report)?;
    let Some(entry) = node.get("extends") else { return Some(node) };
    let Value::String(parent) = &entry.node.value else { return Some(node) };
    let at = entry.node.at;
    if chain.contains(parent) {
        let way = chain.iter().chain([parent]).map(String::as_str).collect::<Vec<_>>().join(" -> ");
        let hint = Some(format!("the way: {way}"));
        report.at("cycle", at, format!("`{parent}` extends itself"), "closes the circle", hint);
        return None;
    }
    let Some(base) = resolve(parent).or_else(|| builtin(parent)) else {
        let hint = suggest::hint(parent, BUILTIN_PROFILES.map(|(name, _)| name));
        report.at("unknown_reference", at, format!("there is no profile `{parent}`"), "unknown profile", hint);
        return None;
    };
    chain.push(parent.clone());
    let mut merged = inherited(&base, chain, resolve, report)?;
    // A name is never inherited: two profiles of one name would be one environment.
    if let Value::Table(entries) = &mut merged.value {
        for entry in entries.iter_mut().filter(|entry| entry.key == "meta") {
            if let Value::Table(meta) = &mut entry.node.value {
                meta.retain(|entry| entry.key != "name");
            }
        }
    }
    merged.merge(node);
    Some(merged)
}

/// Applies `--set path=value`; what cannot be applied goes to the report.
fn override_with(tree: &mut Node, sets: &[(String, String)], report: &mut Report) {
    for (path, value) in sets {
        let source = Source { name: "--set".into(), text: format!("{path}={value}") };
        let index = report.add_source(&source, true);
        if let Err(bad) = tree::set(tree, index, path, value, &["workload", "pool"]) {
            let hint = if bad.known.is_empty() { None } else { suggest::hint(&bad.wanted, &bad.known) };
            report.at("bad_set", bad.at, bad.message, "in this path", hint);
        }
    }
}

/// From the merged tree to the resolved profile; none only with a problem in the report.
fn read(tree: &mut Node, file: &str, resolve: &dyn Fn(&str) -> Option<Source>, report: &mut Report) -> Option<Profile> {
    structure::check(tree, &schema::profile(), report);
    let raw: RawProfile = match serde_json::from_value(tree.to_json()) {
        Ok(raw) => raw,
        Err(error) => {
            if report.is_clean() {
                report.at("unreadable", tree.at, error.to_string(), "in this file", None);
            }
            return None;
        }
    };
    let suite = load_suite::find(raw.suite.as_deref().unwrap_or("standard"), tree, resolve, report);
    let sound = report.is_clean();
    let mut context = Context { tree, report, sound };
    let name = raw.meta.name.clone().unwrap_or_else(|| file.to_owned());
    context.dns_label("meta.name", "profile", &name);
    let azure = resolve::azure(&raw, &name, &mut context);
    let pools = resolve::pools(&raw.pool, &mut context);
    let mut workloads = Vec::new();
    for key in context.keys("workload") {
        if let Some(one) = raw.workload.get(&key) {
            workloads.extend(workload::resolve(&key, one, &mut context));
        }
    }
    let autoscaler = resolve::autoscaler(&raw.autoscaler, &pools, &mut context);
    let traffic = resolve::traffic(&raw.traffic, &mut context);
    let prices = resolve::prices(&raw.prices, &azure, &mut context);
    cross::check(&pools, &workloads, suite.as_ref(), &mut context);
    let tag = |key: &str| azure.tags.get(key).cloned().unwrap_or_default();
    Some(Profile {
        name,
        description: raw.meta.description.clone().unwrap_or_default(),
        environment: tag("Environment"),
        purpose: tag("Purpose"),
        cost_center: tag("CostCenter"),
        azure,
        pools,
        autoscaler,
        local: resolve::local(&raw.local),
        workloads,
        suite: suite?,
        traffic,
        prices,
    })
}
