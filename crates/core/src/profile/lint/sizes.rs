//! Requests against use: what is paid for and never used, and memory that no pod can give back.

use super::{Lint, push};
use crate::{
    capacity::full_use,
    profile::{Scaling, Trigger, Workload},
};

/// A request of more than so many times the use of a full pod is far over it.
const FAR_OVER: i64 = 4;

pub(super) fn sizes(workload: &Workload, lints: &mut Vec<Lint>) {
    if let Some(scaling) = &workload.scaling {
        idle_memory(workload, scaling, lints);
    }
    let Some(full) = full_use(workload) else { return };
    let request = workload.requests.cpu;
    if full.0 > 0 && request.0 > full.0 * FAR_OVER {
        let message = format!(
            "a full pod uses {full} CPU and requests {request}, {} times as much: the rest is paid for and never used",
            request.0 / full.0
        );
        let path = format!("workload.{}.requests.cpu", workload.name);
        push(lints, "request_over_use", path, message, "request what a full pod uses, with some room");
    }
}

/// What an idle pod uses counts too, and more pods do not lower it.
fn idle_memory(workload: &Workload, scaling: &Scaling, lints: &mut Vec<Lint>) {
    let idle = 100.0 * workload.base_memory.0 as f64 / workload.requests.memory.0 as f64;
    for (index, trigger) in scaling.triggers.iter().enumerate() {
        let Trigger::Memory { utilization } = trigger else { continue };
        if idle > f64::from(*utilization) {
            let message = format!(
                "an idle pod uses {} of its request, {idle:.0} %, above {utilization} %: more pods change nothing, and \
                 replicas go to {} and stay",
                workload.base_memory, scaling.max
            );
            let path = format!("workload.{}.scaling.trigger.{index}", workload.name);
            let hint = "a larger request, a higher utilization, or no such trigger";
            push(lints, "idle_above_threshold", path, message, hint);
        }
    }
}
