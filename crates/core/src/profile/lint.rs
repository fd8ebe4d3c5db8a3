//! Warnings about a sound profile: settings that are legal and will not do what they seem to say.
//!
//! Owns the arithmetic that can be done on paper: saturation, packing, windows. What needs time is the forecast's.

mod pace;
mod sizes;

use std::time::Duration;

use promql_parser::{
    parser::{self, Expr},
    util::{ExprVisitor, walk_expr},
};
use serde::Serialize;

use super::model::{Profile, Role, Scaling, Trigger, Web, Workload};
use crate::{
    capacity::{self, saturated_rate},
    units::{Millicores, format_duration},
};

/// HPA's sync period (<https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>).
const SYNC: Duration = Duration::from_secs(15);
/// HPA's tolerance: a ratio within 10 % of 1 changes nothing.
const TOLERANCE: f64 = 0.1;

/// One warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lint {
    /// Kind, such as `threshold_never_crossed`.
    pub code: &'static str,
    /// Where in the profile, as `--set` would name it.
    pub path: String,
    /// What will happen, with the figures.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// All warnings about a profile, workloads first.
pub fn lint(profile: &Profile) -> Vec<Lint> {
    let mut lints = Vec::new();
    for workload in &profile.workloads {
        if let Some(scaling) = &workload.scaling {
            bounds(workload, scaling, &mut lints);
            triggers(workload, scaling, profile, &mut lints);
            pace::pace(workload, scaling, profile, &mut lints);
        }
        sizes::sizes(workload, &mut lints);
        fits_once(workload, profile, &mut lints);
    }
    drain(profile, &mut lints);
    nodes(profile, &mut lints);
    lints
}

fn push(lints: &mut Vec<Lint>, code: &'static str, path: String, message: String, hint: &str) {
    lints.push(Lint { code, path, message, hint: hint.to_owned() });
}

fn bounds(workload: &Workload, scaling: &Scaling, lints: &mut Vec<Lint>) {
    let path = format!("workload.{}.scaling", workload.name);
    if scaling.min == scaling.max {
        let message = format!("min and max are both {}: nothing can scale", scaling.min);
        push(
            lints,
            "min_equals_max",
            format!("{path}.max"),
            message,
            "raise max, or write replicas instead of scaling",
        );
    }
    let defaults = [("polling", scaling.polling, 30), ("cooldown", scaling.cooldown, 300)];
    for (key, value, default) in defaults {
        if scaling.min > 0 && value != Duration::from_secs(default) {
            let message = format!("`{key}` has no effect with min {}: it governs the way from and to 0", scaling.min);
            push(
                lints,
                "no_effect",
                format!("{path}.{key}"),
                message,
                "use behavior.scale_down.window to slow a scale-down",
            );
        }
    }
}

fn triggers(workload: &Workload, scaling: &Scaling, profile: &Profile, lints: &mut Vec<Lint>) {
    for (index, trigger) in scaling.triggers.iter().enumerate() {
        let path = format!("workload.{}.scaling.trigger.{index}", workload.name);
        let instead = hint_instead(scaling, index, &workload.role);
        match (trigger, &workload.role) {
            (Trigger::Cpu { utilization }, Role::Web(web)) => cpu(workload, web, *utilization, path, instead, lints),
            (Trigger::Prometheus { query, threshold, .. }, role) => {
                let Ok(expr) = parser::parse(query) else { continue };
                let mut reads = Reads::default();
                if walk_expr(&mut reads, &expr).is_err() {
                    continue;
                }
                if let Role::Web(web) = role {
                    rate(web, &reads, *threshold, &path, instead, lints);
                    in_flight(web, &reads, *threshold, &path, lints);
                }
                windows(&reads, profile, &path, lints);
                fights(scaling, index, (query, *threshold), &expr, &path, lints);
            }
            _ => {}
        }
    }
}

/// What to do about a trigger that load never raises.
fn hint_instead(scaling: &Scaling, index: usize, role: &Role) -> &'static str {
    let most = if let Role::Web(web) = role { full(web) } else { f64::INFINITY };
    let crossed = |trigger: &Trigger| matches!(trigger, Trigger::Prometheus { threshold, .. } if threshold * (1.0 + TOLERANCE) < most);
    let other = |(at, trigger): (usize, &Trigger)| at != index && trigger.sees_waiting() && crossed(trigger);
    if scaling.triggers.iter().enumerate().any(other) {
        "harmless beside the trigger on requests in flight, which counts those that wait; it may go"
    } else {
        "scale on saturation: sum(http_requests_in_flight) with a threshold below concurrency"
    }
}

/// Requests that a pod holds at most.
fn full(web: &Web) -> f64 {
    f64::from(web.concurrency) + f64::from(web.queue)
}

fn cpu(workload: &Workload, web: &Web, utilization: u32, path: String, hint: &str, lints: &mut Vec<Lint>) {
    let Some(rate) = saturated_rate(web) else { return };
    let milli = rate * web.cpu_per_request.as_secs_f64() * 1000.0;
    let percent = 100.0 * milli / workload.requests.cpu.0 as f64;
    if percent <= f64::from(utilization) * (1.0 + TOLERANCE) {
        let message = format!(
            "a saturated pod answers {rate:.0} requests/s on {milli:.0}m CPU, {percent:.0} % of its request {}: \
             {utilization} % is never crossed by load",
            workload.requests.cpu
        );
        push(lints, "threshold_never_crossed", path, message, hint);
    }
}

fn rate(web: &Web, reads: &Reads, threshold: f64, path: &str, hint: &str, lints: &mut Vec<Lint>) {
    let Some(rate) = saturated_rate(web) else { return };
    let only_rate = !reads.windows.is_empty() && reads.metrics.iter().all(|metric| metric == "http_requests_total");
    if only_rate && rate <= threshold * (1.0 + TOLERANCE) {
        let message = format!(
            "a saturated pod answers {rate:.0} requests/s, the threshold is {threshold} per pod: with the HPA's \
             tolerance of 10 % the rate never asks for more pods, however many requests wait; only refusals raise it"
        );
        push(lints, "threshold_never_crossed", path.to_owned(), message, hint);
    }
}

fn in_flight(web: &Web, reads: &Reads, threshold: f64, path: &str, lints: &mut Vec<Lint>) {
    let most = full(web);
    let alone = reads.metrics.iter().all(|metric| metric == "http_requests_in_flight") && reads.windows.is_empty();
    if alone && !reads.metrics.is_empty() && most <= threshold * (1.0 + TOLERANCE) {
        let message = format!(
            "a pod holds at most {most} requests (concurrency and queue), the threshold is {threshold} per pod: with \
             the HPA's tolerance of 10 % it never asks for more pods, however many are refused"
        );
        push(lints, "threshold_never_crossed", path.to_owned(), message, "a threshold below concurrency");
    }
}

/// Time between two scrapes, where there is a metrics server.
fn scrape_interval(profile: &Profile) -> Option<Duration> {
    profile.workloads.iter().find_map(|workload| match &workload.role {
        Role::Prometheus(settings) => Some(settings.scrape_interval),
        _ => None,
    })
}

/// Triggers that undo or hide each other: a mean that is divided by the replicas again, and one query twice.
fn fights(
    scaling: &Scaling,
    index: usize,
    (query, threshold): (&str, f64),
    expr: &Expr,
    path: &str,
    lints: &mut Vec<Lint>,
) {
    if let Expr::Aggregate(aggregate) = expr
        && aggregate.op.to_string() == "avg"
    {
        let message = format!(
            "`{query}` is a mean already and is divided by the replicas again: each pod that is added lowers it twice, \
             and the replicas swing"
        );
        push(lints, "averaged_twice", path.to_owned(), message, "sum() instead of avg()");
    }
    for (other, trigger) in scaling.triggers.iter().enumerate() {
        let Trigger::Prometheus { query: same, threshold: lower, .. } = trigger else { continue };
        if other != index && same == query && (*lower, other) < (threshold, index) {
            let message = format!(
                "trigger {other} reads the same query with {lower} for each replica: it always asks for as many or more, \
                 and {threshold} never decides"
            );
            push(lints, "triggers_fight", path.to_owned(), message, "keep one of the two");
        }
    }
}

fn windows(reads: &Reads, profile: &Profile, path: &str, lints: &mut Vec<Lint>) {
    let scrape = scrape_interval(profile);
    for window in &reads.windows {
        let text = format_duration(*window);
        if scrape.is_some_and(|scrape| *window < scrape * 2) {
            let message = format!("a window of {text} holds fewer than two scrapes: the rate is empty");
            push(lints, "window_too_short", path.to_owned(), message, "at least four scrape intervals");
        } else if *window >= SYNC * 4 {
            let syncs = window.as_secs() / SYNC.as_secs();
            let message =
                format!("a window of {text} spans {syncs} HPA syncs: a sudden step is seen in full only after {text}");
            push(
                lints,
                "window_too_long",
                path.to_owned(),
                message,
                "30s follows a spike, with a scale-down window against flapping",
            );
        }
    }
}

fn fits_once(workload: &Workload, profile: &Profile, lints: &mut Vec<Lint>) {
    let Some(pool) = profile.pools.iter().max_by_key(|pool| pool.allocatable().cpu) else { return };
    let room = capacity::room(pool);
    let request = workload.requests;
    if !request.fits(&room) || request.cpu + request.cpu <= room.cpu && request.memory + request.memory <= room.memory {
        return;
    }
    let idle = room.cpu - request.cpu;
    let (nodes, replicas) = (profile.pools.iter().map(|pool| pool.max).sum::<u32>(), capacity::most_replicas(workload));
    let message = format!(
        "a pod that requests {} CPU fits once on a {} ({} left by AKS and its daemons): {idle} CPU of every node stay \
         idle, and {nodes} nodes hold {nodes} pods at most ({replicas} wanted)",
        request.cpu, pool.vm_size.name, room.cpu
    );
    if idle > Millicores(room.cpu.0 / 4) {
        let path = format!("workload.{}.requests.cpu", workload.name);
        push(lints, "fits_once", path, message, "request what a pod uses at its concurrency, not what a node has");
    }
}

/// Whether the workers can keep up with what the web pods accept at their greatest replicas.
fn drain(profile: &Profile, lints: &mut Vec<Lint>) {
    let accepted: f64 = profile
        .workloads
        .iter()
        .filter_map(|workload| match &workload.role {
            Role::Web(web) => Some(saturated_rate(web)? * f64::from(capacity::most_replicas(workload))),
            _ => None,
        })
        .sum();
    for workload in &profile.workloads {
        let Role::Worker(worker) = &workload.role else { continue };
        if worker.batch_time.is_zero() {
            continue;
        }
        let each = f64::from(worker.batch) / worker.batch_time.as_secs_f64();
        let stored = each * f64::from(capacity::most_replicas(workload));
        if stored < accepted {
            let message = format!(
                "{} workers store at most {stored:.0} messages/s, the web pods accept up to {accepted:.0}/s: the queue \
                 grows while that lasts",
                capacity::most_replicas(workload)
            );
            let path = format!("workload.{}.batch", workload.name);
            push(lints, "queue_outgrows_workers", path, message, "larger batches, or more workers");
        }
    }
}

fn nodes(profile: &Profile, lints: &mut Vec<Lint>) {
    let most = capacity::needed(profile, capacity::most_replicas);
    if most.pending > 0 {
        let message = format!("at the greatest replicas {} pods fit on no node and stay Pending", most.pending);
        push(lints, "pods_fit_nowhere", "pool".into(), message, "smaller requests, or more or larger nodes");
    }
    for (pool, (name, needed)) in profile.pools.iter().zip(&most.pools) {
        if pool.autoscaled && *needed < pool.max && most.pending == 0 {
            let message = format!("{needed} nodes of `{name}` hold the greatest replicas, its max is {}", pool.max);
            push(
                lints,
                "max_never_needed",
                format!("pool.{name}.max"),
                message,
                "harmless: more come only while pods lie unevenly, and the cost counts what is used",
            );
        }
    }
}

/// Metrics and windows that a query reads.
#[derive(Default)]
struct Reads {
    metrics: Vec<String>,
    windows: Vec<Duration>,
}

impl ExprVisitor for Reads {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.metrics.extend(selector.name.clone()),
            Expr::MatrixSelector(selector) => {
                self.metrics.extend(selector.vs.name.clone());
                self.windows.push(selector.range);
            }
            _ => {}
        }
        Ok(true)
    }
}
