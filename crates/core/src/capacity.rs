//! How many nodes a profile's pods need: bin packing by requests, the arithmetic that a README does not do.
//!
//! An estimate for `plan`, lints and the cost projection (first fit, largest first). What a scheduler and a cluster
//! autoscaler do over time is the scaling brain's.

use serde::Serialize;

use crate::{
    app::MEMORY_PER_REQUEST,
    cost::NodeCount,
    profile::{Pool, PoolMode, Profile, Resources, Role, Web, Workload},
    render::{daemon_overhead, platform_pods},
    units::{Bytes, Millicores},
};

/// Nodes of each pool, in the profile's order, and pods that fit nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Pool and nodes.
    pub pools: Vec<(String, u32)>,
    /// The same by VM size, as prices want it.
    pub nodes: Vec<NodeCount>,
    /// Pods that stay Pending.
    pub pending: u32,
}

impl Capacity {
    /// All nodes.
    pub fn total(&self) -> u32 {
        self.pools.iter().map(|(_, count)| count).sum()
    }
}

/// The nodes of these counts per pool (in the profile's order), by VM size.
pub fn by_vm_size(profile: &Profile, counts: &[u32]) -> Vec<NodeCount> {
    let pairs = profile.pools.iter().zip(counts);
    pairs.map(|(pool, count)| NodeCount { vm_size: pool.vm_size.name.to_owned(), count: *count }).collect()
}

/// So many nodes in all, spread over the pools: fixed pools have their count, the others their minimum, and what is
/// beyond that goes to the autoscaled pools in the profile's order, up to their maxima.
pub fn spread(profile: &Profile, total: u32) -> Vec<u32> {
    let mut counts: Vec<u32> = profile.pools.iter().map(|pool| pool.min).collect();
    let mut extra = total.saturating_sub(counts.iter().sum());
    for (count, pool) in counts.iter_mut().zip(&profile.pools) {
        let more = extra.min(pool.max - pool.min);
        *count += more;
        extra -= more;
    }
    counts
}

/// The most replicas that a workload may have.
pub fn most_replicas(workload: &Workload) -> u32 {
    workload.scaling.as_ref().map_or(workload.replicas, |scaling| scaling.max)
}

/// The least replicas that a workload has.
pub fn least_replicas(workload: &Workload) -> u32 {
    workload.scaling.as_ref().map_or(workload.replicas, |scaling| scaling.min)
}

/// Requests that one full pod answers in a second: its places over the time of the slowest write. None: writes take no time.
pub fn saturated_rate(web: &Web) -> Option<f64> {
    (!web.write.is_zero()).then(|| f64::from(web.concurrency) / web.write.as_secs_f64())
}

/// CPU of a pod that does as much as it can; none where that is not known.
pub fn full_use(workload: &Workload) -> Option<Millicores> {
    let cores = match &workload.role {
        Role::Web(web) => saturated_rate(web)? * web.cpu_per_request.as_secs_f64(),
        Role::Worker(worker) if !worker.batch_time.is_zero() => {
            f64::from(worker.batch) / worker.batch_time.as_secs_f64() * worker.cpu_per_message.as_secs_f64()
        }
        _ => return None,
    };
    Some(Millicores((cores * 1000.0).ceil() as i64))
}

/// Memory of a pod with as many requests as it takes in.
pub fn full_memory(workload: &Workload) -> Bytes {
    let requests = if let Role::Web(web) = &workload.role { web.concurrency + web.queue } else { 0 };
    workload.base_memory + Bytes(i64::from(requests) * i64::from(MEMORY_PER_REQUEST))
}

/// The nodes that are needed when every workload has so many replicas, platform pods included.
pub fn needed(profile: &Profile, replicas: fn(&Workload) -> u32) -> Capacity {
    let mut pods = platform_pods();
    for workload in &profile.workloads {
        pods.extend(std::iter::repeat_n(workload.requests, replicas(workload) as usize));
    }
    pods.sort_by_key(|pod| std::cmp::Reverse((pod.cpu, pod.memory)));
    // Without tolerations in profiles, tainted nodes take no pod.
    let open = |pool: &Pool| pool.taints.iter().all(|taint| taint.effect == "PreferNoSchedule");
    let mut rooms: Vec<(usize, Resources)> = Vec::new();
    let mut counts: Vec<u32> = profile.pools.iter().map(|pool| pool.min).collect();
    for (index, pool) in profile.pools.iter().enumerate() {
        let room = room(pool);
        rooms.extend((0..pool.min).filter(|_| open(pool)).map(|_| (index, room)));
    }
    let mut pending = 0;
    for pod in pods {
        if let Some((_, room)) = rooms.iter_mut().find(|(_, room)| pod.fits(room)) {
            *room = less(room, &pod);
            continue;
        }
        let grows = |(index, pool): &(usize, &Pool)| counts[*index] < pool.max && open(pool) && pod.fits(&room(pool));
        let candidate =
            profile.pools.iter().enumerate().filter(grows).max_by_key(|(_, pool)| pool.mode == PoolMode::User);
        if let Some((index, pool)) = candidate {
            counts[index] += 1;
            rooms.push((index, less(&room(pool), &pod)));
        } else {
            pending += 1;
        }
    }
    let pools = profile.pools.iter().zip(&counts).map(|(pool, count)| (pool.name.clone(), *count)).collect();
    Capacity { pools, nodes: by_vm_size(profile, &counts), pending }
}

/// Whether the greatest nodes hold the greatest replicas.
pub fn has_room(profile: &Profile) -> bool {
    needed(profile, most_replicas).pending == 0
}

/// What a fresh node of the pool offers to pods that are not daemons.
pub fn room(pool: &Pool) -> Resources {
    less(&pool.allocatable(), &daemon_overhead())
}

fn less(room: &Resources, pod: &Resources) -> Resources {
    Resources { cpu: room.cpu - pod.cpu, memory: room.memory - pod.memory }
}
