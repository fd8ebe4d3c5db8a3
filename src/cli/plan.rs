//! `democtl plan`: what setup would make, and what it costs at list prices.

use std::fmt::Write as _;

use clap::Args;
use democtl_core::{
    cost::{NodeCount, PriceKind},
    profile::Profile,
};
use serde::Serialize;

use super::{ProfileArgs, Settings, azure::AzureArgs};
use crate::{
    environment::{Environment, Request},
    failure::{Failure, Kind},
    target::{
        Infra, Target,
        azure::{Prepared, preflight::Report, terraform},
    },
};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) profile: ProfileArgs,
    /// Where it would run; azure looks at the subscription and lets Terraform plan
    #[arg(long, value_enum, default_value_t)]
    pub(super) target: Target,
    /// The environment's name [default: the profile's name]
    #[arg(long, short, env = "DEMOCTL_NAME", value_name = "NAME")]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) azure: AzureArgs,
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
    price_kind: PriceKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    azure: Option<AzurePlan>,
}

#[derive(Debug, Serialize)]
struct AzurePlan {
    preflight: Report,
    terraform: terraform::Plan,
}

#[derive(Debug, Serialize)]
struct PoolPlan {
    name: String,
    vm_size: String,
    min: u32,
    max: u32,
}

pub(super) async fn run(args: PlanArgs, settings: &Settings) -> Result<(), Failure> {
    let (mut request, mut profile) =
        Request::resolve(&args.profile.profile, args.profile.sets.set.clone(), args.target, 1.0, 1)?;
    let mut azure = None;
    if args.target == Target::Azure {
        let name = args.name.unwrap_or_else(|| profile.name.clone());
        let environment = settings.home.environment(&name)?;
        request.azure = Some(args.azure.place(&environment)?);
        let planned = plan_azure(&environment, &request, settings).await?;
        profile.prices = planned.prices;
        azure = Some(AzurePlan { preflight: planned.preflight, terraform: planned.plan });
    }
    let plan = Plan { azure, ..plan(&profile) };
    settings.result(&plan, || human(&plan))
}

/// Preflight and Terraform's plan, by the state of an environment that exists.
async fn plan_azure(environment: &Environment, request: &Request, settings: &Settings) -> Result<Prepared, Failure> {
    let _lock = environment.dir.is_dir().then(|| environment.lock()).transpose()?;
    let Infra::Azure(azure) = Infra::of(environment, Some(request), &settings.context())? else {
        return Err(Failure::msg(Kind::Other, "the request names no subscription"));
    };
    azure.plan().await
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
        price_kind: profile.prices.kind,
        azure: None,
    }
}

/// `2-7`, or `5` where both ends are the same.
fn between(least: &str, most: &str) -> String {
    if least == most { least.to_owned() } else { format!("{least}-{most}") }
}

fn human(plan: &Plan) -> String {
    let mut text = format!("{} would make\n", plan.profile);
    for pool in &plan.pools {
        let nodes = between(&pool.min.to_string(), &pool.max.to_string());
        let _ = writeln!(text, "  pool {:12} {nodes} x {}", pool.name, pool.vm_size);
    }
    let _ = writeln!(text, "  workloads         {}", plan.workloads.join(", "));
    let hourly = between(&format!("{:.2}", plan.hourly_min_usd), &format!("{:.2}", plan.hourly_max_usd));
    let monthly = between(&format!("{:.0}", plan.monthly_min_usd), &format!("{:.0}", plan.monthly_max_usd));
    let nodes =
        if plan.pools.iter().all(|pool| pool.min == pool.max) { "" } else { " at the least and the most nodes" };
    let _ = writeln!(text, "  cost              ${hourly}/h, ${monthly} a month of 730 h{nodes}");
    let _ = writeln!(text, "  prices            {}", plan.prices);
    match &plan.azure {
        None => text.push_str("on the local target the nodes are virtual and cost nothing\n"),
        Some(azure) => {
            let _ = write!(text, "terraform would\n{}", azure.terraform.table());
        }
    }
    text
}
