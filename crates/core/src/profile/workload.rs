//! Resolves one workload: role, resources, probes, and the settings that only its role has.

use std::time::Duration;

use super::{
    model::{Pattern, Probe, Probes, Prometheus, Resources, Role, Web, Worker, Workload},
    raw::{RawPattern, RawProbe, RawRole, RawWorkload},
    resolve::{Context, span},
    scaling,
};
use crate::{
    suggest,
    units::{Bytes, Millicores},
};

/// The Redis list of the demo, written once.
pub const CUSTOMER_OPERATIONS: &str = "customer_operations";

const ROLES: [(&str, RawRole); 4] = [
    ("web", RawRole::Web),
    ("worker", RawRole::Worker),
    ("redis", RawRole::Redis),
    ("prometheus", RawRole::Prometheus),
];

/// Settings that one role alone has, with whether they were given.
fn role_settings(raw: &RawWorkload) -> [(&'static str, RawRole, bool); 16] {
    use RawRole::{Prometheus, Web, Worker};
    [
        ("pattern", Web, raw.pattern.is_some()),
        ("concurrency", Web, raw.concurrency.is_some()),
        ("queue", Web, raw.queue.is_some()),
        ("read_one", Web, raw.read_one.is_some()),
        ("read_all", Web, raw.read_all.is_some()),
        ("write", Web, raw.write.is_some()),
        ("cache_ttl", Web, raw.cache_ttl.is_some()),
        ("cpu_per_request", Web, raw.cpu_per_request.is_some()),
        ("requests_per_connection", Web, raw.requests_per_connection.is_some()),
        ("writes", Web, raw.writes.is_some()),
        ("reads", Worker, raw.reads.is_some()),
        ("batch", Worker, raw.batch.is_some()),
        ("batch_time", Worker, raw.batch_time.is_some()),
        ("cpu_per_message", Worker, raw.cpu_per_message.is_some()),
        ("max_retries", Worker, raw.max_retries.is_some()),
        ("scrape_interval", Prometheus, raw.scrape_interval.is_some()),
    ]
}

/// Resolves the workload of that name.
pub(super) fn resolve(name: &str, raw: &RawWorkload, context: &mut Context<'_>) -> Option<Workload> {
    let path = format!("workload.{name}");
    context.dns_label(&path, "workload", name);
    let kind = raw.role.or_else(|| ROLES.iter().find(|(role, _)| *role == name).map(|(_, role)| *role));
    if kind.is_none() && raw.image.is_none() {
        let hint = suggest::hint(name, ROLES.map(|(role, _)| role)).unwrap_or_default();
        context.missing(&path, format!("`{path}` has neither `role` nor `image`"), hint);
        return None;
    }
    for (key, owner, given) in role_settings(raw) {
        if given && kind != Some(owner) {
            let owner = ROLES.iter().find(|(_, role)| *role == owner).map_or("", |(name, _)| *name);
            let message = format!("`{key}` is a setting of role `{owner}`, not of `{name}`");
            context.fail(&format!("{path}.{key}"), "not_for_role", message, format!("move it to a {owner} workload"));
        }
    }
    let role = role(kind, raw, &path, context);
    let (requests, limits) = resources(kind, raw, &path, context);
    let scaling = raw.scaling.as_ref().and_then(|scaling| scaling::resolve(scaling, &role, &path, context));
    if raw.scaling.is_some() && raw.replicas.is_some() {
        let hint = "leave `replicas` out, or the scaling";
        let message = format!("`{path}` has both `replicas` and a scaling that owns them");
        context.fail(&format!("{path}.replicas"), "conflict", message, hint);
    }
    if matches!(role, Role::Redis | Role::Prometheus(_)) && (raw.replicas.unwrap_or(1) > 1 || raw.scaling.is_some()) {
        let message = format!("`{path}` is a {}, which has one replica here", role.name());
        context.fail(&path, "conflict", message, "leave `replicas` and `scaling` out");
    }
    let base_memory = raw.base_memory.unwrap_or(Bytes(128 << 20).min(Bytes(requests.memory.0 / 2)));
    if base_memory > limits.memory {
        let message = format!("an idle pod of `{name}` uses {base_memory}, its limit is {}", limits.memory);
        context.fail(&format!("{path}.base_memory"), "conflict", message, "it would be killed at once");
    }
    Some(Workload {
        name: name.to_owned(),
        image: raw.image.clone(),
        priority: priority(raw, &path, context),
        replicas: scaling.as_ref().map_or(raw.replicas.unwrap_or(1), |scaling| scaling.min),
        requests,
        limits,
        base_memory,
        grace: span(raw.grace, Duration::from_secs(30)),
        probes: probes(raw, &path, context),
        scaling,
        role,
    })
}

/// Those above are Kubernetes' own (`system-node-critical`).
const HIGHEST_PRIORITY: i32 = 1_000_000_000;

fn priority(raw: &RawWorkload, path: &str, context: &mut Context<'_>) -> i32 {
    let priority = raw.priority.unwrap_or(0);
    if !(0..=HIGHEST_PRIORITY).contains(&priority) {
        let message = format!("`{path}.priority` is {priority}, it must be 0 to {HIGHEST_PRIORITY}");
        context.fail(&format!("{path}.priority"), "out_of_range", message, "usual: 1000 for what must not wait");
    }
    priority
}

fn role(kind: Option<RawRole>, raw: &RawWorkload, path: &str, context: &mut Context<'_>) -> Role {
    let millis = Duration::from_millis;
    match kind {
        Some(RawRole::Web) => Role::Web(Web {
            pattern: match raw.pattern {
                Some(RawPattern::Direct) => Pattern::Direct,
                Some(RawPattern::Async) | None => Pattern::Async,
            },
            concurrency: raw.concurrency.unwrap_or(10),
            queue: raw.queue.unwrap_or(100),
            read_one: span(raw.read_one, millis(50)),
            read_all: span(raw.read_all, millis(200)),
            write: span(raw.write, millis(100)),
            cache_ttl: span(raw.cache_ttl, Duration::ZERO),
            cpu_per_request: span(raw.cpu_per_request, millis(2)),
            requests_per_connection: raw.requests_per_connection.unwrap_or(10),
            writes: list(raw.writes.as_deref(), &format!("{path}.writes"), context),
        }),
        Some(RawRole::Worker) => Role::Worker(Worker {
            reads: list(raw.reads.as_deref(), &format!("{path}.reads"), context),
            batch: raw.batch.unwrap_or(100),
            batch_time: span(raw.batch_time, millis(400)),
            cpu_per_message: span(raw.cpu_per_message, millis(1)),
            max_retries: raw.max_retries.unwrap_or(3),
        }),
        Some(RawRole::Redis) => Role::Redis,
        Some(RawRole::Prometheus) => {
            let scrape_interval = span(raw.scrape_interval, Duration::from_secs(5));
            if scrape_interval < Duration::from_secs(1) {
                let message = "`scrape_interval` must be at least 1s";
                context.fail(&format!("{path}.scrape_interval"), "out_of_range", message, "usual: 5s to 30s");
            }
            Role::Prometheus(Prometheus { scrape_interval })
        }
        None => Role::Image,
    }
}

fn list(given: Option<&str>, path: &str, context: &mut Context<'_>) -> String {
    let name = given.unwrap_or(CUSTOMER_OPERATIONS);
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        context.fail(path, "bad_name", format!("`{name}` cannot name a Redis list"), "such as \"customer_operations\"");
    }
    name.to_owned()
}

fn resources(
    kind: Option<RawRole>,
    raw: &RawWorkload,
    path: &str,
    context: &mut Context<'_>,
) -> (Resources, Resources) {
    let (cpu, mib) = match kind {
        Some(RawRole::Prometheus) => (100, 512),
        _ => (100, 128),
    };
    let requests = Resources {
        cpu: raw.requests.cpu.unwrap_or(Millicores(cpu)),
        memory: raw.requests.memory.unwrap_or(Bytes(mib << 20)),
    };
    let limits =
        Resources { cpu: raw.limits.cpu.unwrap_or(requests.cpu), memory: raw.limits.memory.unwrap_or(requests.memory) };
    let mut compare = |what: &str, request: String, limit: String, exceeds: bool, zero: bool| {
        if exceeds {
            let message = format!("`{path}` requests {what} {request}, above its limit {limit}");
            context.fail(&format!("{path}.requests.{what}"), "conflict", message, "a request is at most its limit");
        }
        if zero {
            let message = format!("`{path}` requests no {what}");
            context.fail(&format!("{path}.requests.{what}"), "out_of_range", message, "a request is above 0");
        }
    };
    let (cpu, memory) = (requests.cpu, requests.memory);
    compare("cpu", cpu.to_string(), limits.cpu.to_string(), cpu > limits.cpu, cpu.0 == 0);
    compare("memory", memory.to_string(), limits.memory.to_string(), memory > limits.memory, memory.0 == 0);
    if (1..Bytes::MIB.0).contains(&memory.0) {
        let message = format!("`{path}` requests {memory} bytes of memory, less than 1Mi");
        let hint = "write 512Mi for mebibytes; `m` is a thousandth of a byte";
        context.fail(&format!("{path}.requests.memory"), "out_of_range", message, hint);
    }
    (requests, limits)
}

fn probes(raw: &RawWorkload, path: &str, context: &mut Context<'_>) -> Probes {
    let mut one = |name: &str, raw: &RawProbe, period: u64| {
        let probe = Probe {
            initial_delay: span(raw.initial_delay, Duration::ZERO),
            period: span(raw.period, Duration::from_secs(period)),
            timeout: span(raw.timeout, Duration::from_secs(1)),
            failure_threshold: raw.failures.unwrap_or(3),
        };
        for (key, value, least) in
            [("initial_delay", probe.initial_delay, 0), ("period", probe.period, 1), ("timeout", probe.timeout, 1)]
        {
            if value.subsec_nanos() != 0 || value.as_secs() < least {
                let message = format!("`{key}` of a probe is in whole seconds, at least {least}");
                context.fail(
                    &format!("{path}.probes.{name}.{key}"),
                    "out_of_range",
                    message,
                    "the kubelet's resolution",
                );
            }
        }
        probe
    };
    Probes {
        readiness: one("readiness", &raw.probes.readiness, 1),
        liveness: one("liveness", &raw.probes.liveness, 10),
    }
}
