//! `democtl plan`: what setup would make, and what it costs at list prices.

use std::fmt::Write as _;

use clap::Args;
use democtl_core::{cost::NodeCount, profile::Profile};
use serde::Serialize;

use super::{ProfileArgs, Settings};
use crate::{environment::Request, failure::Failure, target::Target};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    profile: ProfileArgs,
}

#[derive(Debug, Serialize)]
struct Plan {
    profile: String,
    pools: Vec<PoolPlan>,
    workloads: Vec<String>,
    hourly_min_usd: f64,
    hourly_max_usd: f64,
    monthly_min_usd: f64,
    monthly_max_usd: f64,
    prices: String,
}

#[derive(Debug, Serialize)]
struct PoolPlan {
    name: String,
    vm_size: String,
    min: u32,
    max: u32,
}

pub(super) fn run(args: &PlanArgs, settings: &Settings) -> Result<(), Failure> {
    let (_, profile) = Request::resolve(&args.profile.profile, args.profile.sets.set.clone(), Target::Local, 1.0, 1)?;
    let plan = plan(&profile);
    settings.result(&plan, || human(&plan))
}

fn plan(profile: &Profile) -> Plan {
    let hourly = |count: fn(&democtl_core::profile::Pool) -> u32| {
        let nodes: Vec<_> = profile
            .pools
            .iter()
            .map(|pool| NodeCount { vm_size: pool.vm_size.name.to_owned(), count: count(pool) })
            .collect();
        profile.prices.per_hour(&nodes).unwrap_or(f64::NAN)
    };
    let (least, most) = (hourly(|pool| pool.min), hourly(|pool| pool.max));
    let month = democtl_core::catalog::HOURS_PER_MONTH;
    let workloads = profile.workloads.iter().map(|workload| match &workload.scaling {
        Some(scaling) => format!("{} {}-{}", workload.name, scaling.min, scaling.max),
        None => format!("{} {}", workload.name, workload.replicas),
    });
    let pools = profile.pools.iter().map(|pool| PoolPlan {
        name: pool.name.clone(),
        vm_size: pool.vm_size.name.to_owned(),
        min: pool.min,
        max: pool.max,
    });
    Plan {
        profile: profile.name.clone(),
        pools: pools.collect(),
        workloads: workloads.collect(),
        hourly_min_usd: least,
        hourly_max_usd: most,
        monthly_min_usd: least * month,
        monthly_max_usd: most * month,
        prices: format!("{} ({})", profile.prices.origin, profile.prices.as_of),
    }
}

fn human(plan: &Plan) -> String {
    let mut text = format!("{} would make\n", plan.profile);
    for pool in &plan.pools {
        let nodes = if pool.min == pool.max { pool.min.to_string() } else { format!("{}-{}", pool.min, pool.max) };
        let _ = writeln!(text, "  pool {:12} {nodes} x {}", pool.name, pool.vm_size);
    }
    let _ = writeln!(text, "  workloads         {}", plan.workloads.join(", "));
    let _ = writeln!(
        text,
        "  cost              ${:.2}-{:.2}/h, ${:.0}-{:.0} a month of 730 h at the least and the most nodes",
        plan.hourly_min_usd, plan.hourly_max_usd, plan.monthly_min_usd, plan.monthly_max_usd
    );
    let _ = writeln!(text, "  prices            {}", plan.prices);
    text.push_str("on the local target the nodes are virtual and cost nothing\n");
    text
}
