//! Checks across sections: pods against nodes, queues against those who write them, servers against workloads.

use super::{
    model::{Pattern, Pool, Role, Trigger, Workload},
    resolve::Context,
};
use crate::{suggest, suite::Suite};

/// Runs all of them.
pub(super) fn check(pools: &[Pool], workloads: &[Workload], suite: Option<&Suite>, context: &mut Context<'_>) {
    for workload in workloads {
        fits_a_node(workload, pools, context);
        reads_what_is_written(workload, workloads, context);
        triggers(workload, workloads, context);
    }
    singletons(workloads, context);
    let serves = workloads.iter().any(|workload| matches!(workload.role, Role::Web(_)));
    if suite.is_some() && !serves {
        let message = "no workload has role `web`, so the suite has nothing to load";
        context.missing("workload", message, "add [workload.web]");
    }
}

fn fits_a_node(workload: &Workload, pools: &[Pool], context: &mut Context<'_>) {
    if pools.is_empty() || pools.iter().any(|pool| workload.requests.fits(&pool.allocatable())) {
        return;
    }
    let Some(largest) = pools.iter().max_by_key(|pool| pool.allocatable().cpu) else { return };
    let room = largest.allocatable();
    let cpu = workload.requests.cpu > room.cpu;
    let (key, request, offered) = if cpu {
        ("cpu", workload.requests.cpu.to_string(), room.cpu.to_string())
    } else {
        ("memory", workload.requests.memory.to_string(), format!("{:.1}Gi", room.memory.gib()))
    };
    let message = format!(
        "a pod of `{}` requests {key} {request}, a {} of pool `{}` offers {offered}",
        workload.name, largest.vm_size.name, largest.name
    );
    let hint = "AKS keeps a part of each node for itself: request less, or take a larger VM size";
    context.fail(&format!("workload.{}.requests.{key}", workload.name), "does_not_fit", message, hint);
}

/// Lists that some web workload writes; the direct pattern writes none.
fn written(workloads: &[Workload]) -> Vec<&str> {
    workloads
        .iter()
        .filter_map(|workload| match &workload.role {
            Role::Web(web) if web.pattern == Pattern::Async => Some(web.writes.as_str()),
            _ => None,
        })
        .collect()
}

fn queue_hint(list: &str, written: &[&str]) -> String {
    if written.is_empty() {
        "no web workload has pattern `async`, which alone writes a list".to_owned()
    } else {
        suggest::hint(list, written).unwrap_or_default()
    }
}

fn reads_what_is_written(workload: &Workload, workloads: &[Workload], context: &mut Context<'_>) {
    let needs_redis = matches!(workload.role, Role::Web(_) | Role::Worker(_));
    if needs_redis && !workloads.iter().any(|other| other.role == Role::Redis) {
        let message = format!("`{}` needs a Redis, and no workload has role `redis`", workload.name);
        context.missing(&format!("workload.{}", workload.name), message, "add [workload.redis]");
    }
    let Role::Worker(worker) = &workload.role else { return };
    let written = written(workloads);
    if !written.contains(&worker.reads.as_str()) {
        let message = format!("`{}` reads the list `{}`, which no workload writes", workload.name, worker.reads);
        let path = format!("workload.{}.reads", workload.name);
        context.fail(&path, "unknown_queue", message, queue_hint(&worker.reads, &written));
    }
}

fn triggers(workload: &Workload, workloads: &[Workload], context: &mut Context<'_>) {
    let Some(scaling) = &workload.scaling else { return };
    let written = written(workloads);
    for (index, trigger) in scaling.triggers.iter().enumerate() {
        let path = format!("workload.{}.scaling.trigger.{index}", workload.name);
        match trigger {
            Trigger::Redis { address, list, .. } => {
                if !written.contains(&list.as_str()) {
                    let message = format!("the trigger watches the list `{list}`, which no workload writes");
                    context.fail(&format!("{path}.list"), "unknown_queue", message, queue_hint(list, &written));
                }
                server(address, "redis", 6379, &format!("{path}.address"), workloads, context);
            }
            Trigger::Prometheus { server: url, .. } => {
                let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
                let host = host.split('/').next().unwrap_or(host);
                server(host, "prometheus", 9090, &format!("{path}.server"), workloads, context);
            }
            Trigger::Cron { desired, .. } if !(scaling.min..=scaling.max).contains(desired) => {
                let message =
                    format!("the trigger wants {desired} replicas, outside {} to {}", scaling.min, scaling.max);
                context.fail(&format!("{path}.desired"), "conflict", message, "the HPA would clip it");
            }
            Trigger::Cron { .. } | Trigger::Cpu { .. } | Trigger::Memory { .. } => {}
        }
    }
}

/// A host without dots is a Service of the profile: it must be there, with that role and port. Others are believed.
fn server(address: &str, role: &str, port: u16, path: &str, workloads: &[Workload], context: &mut Context<'_>) {
    let (host, given) = address.rsplit_once(':').unwrap_or((address, ""));
    let Ok(given) = given.parse::<u16>() else {
        let message = format!("`{address}` has no port");
        return context.fail(path, "bad_address", message, format!("such as {role}:{port}"));
    };
    if host.contains('.') {
        return;
    }
    let candidates: Vec<&str> =
        workloads.iter().filter(|workload| workload.role.name() == role).map(|w| w.name.as_str()).collect();
    if candidates.is_empty() {
        context.missing(path, format!("no workload has role `{role}`"), format!("add [workload.{role}]"));
    } else if !candidates.contains(&host) {
        let hint = suggest::hint(host, &candidates).unwrap_or_default();
        context.fail(path, "unknown_reference", format!("no {role} workload is called `{host}`"), hint);
    } else if given != port {
        let message = format!("`{host}` listens on port {port}, not {given}");
        context.fail(path, "bad_address", message, format!("{host}:{port}"));
    }
}

/// Of web, Redis and Prometheus there is one each: Services and addresses are by role.
fn singletons(workloads: &[Workload], context: &mut Context<'_>) {
    for role in ["web", "redis", "prometheus"] {
        for extra in workloads.iter().filter(|workload| workload.role.name() == role).skip(1) {
            let message = format!("`{}` is a second workload with role `{role}`", extra.name);
            context.fail(&format!("workload.{}", extra.name), "duplicate", message, "there is one each");
        }
    }
}
