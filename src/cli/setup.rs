//! `democtl setup`: make an environment. Twice does nothing the second time; one that was killed goes on.

use clap::Args;
use serde::Serialize;

use super::{
    HealthArgs, ProfileArgs, Settings,
    azure::AzureArgs,
    plan::{self, PlanArgs},
    session::{self, Ask},
};
use crate::{environment::Request, failure::Failure, target::Target, ui};

#[derive(Debug, Args)]
pub(super) struct SetupArgs {
    #[command(flatten)]
    profile: ProfileArgs,
    /// The environment's name [default: the profile's name]
    #[arg(long, short, env = "DEMOCTL_NAME", value_name = "NAME")]
    name: Option<String>,
    /// Where it runs
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// Divide every duration of the suite and of the controllers by this; requests keep their own time
    #[arg(long, default_value_t = 1.0, value_name = "N")]
    speed: f64,
    /// Seed of every draw
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    #[command(flatten)]
    health: HealthArgs,
    /// Do not ask (the local target never does)
    #[arg(long, short)]
    yes: bool,
    /// Show what would be made and make nothing, as `plan` does
    #[arg(long)]
    plan_only: bool,
    /// Register the resource providers that the subscription lacks; without it a person is asked
    #[arg(long, help_heading = "Azure")]
    register: bool,
    #[command(flatten)]
    azure: AzureArgs,
}

#[derive(Debug, Serialize)]
struct SetupResult {
    environment: String,
    profile: String,
    target: String,
    address: String,
    kubeconfig: String,
    seconds: f64,
}

pub(super) async fn run(args: SetupArgs, settings: &Settings) -> Result<(), Failure> {
    if args.plan_only {
        let plan = PlanArgs { profile: args.profile, target: args.target, name: args.name, azure: args.azure };
        return plan::run(plan, settings).await;
    }
    let (mut request, profile) =
        Request::resolve(&args.profile.profile, args.profile.sets.set, args.target, args.speed, args.seed)?;
    let name = args.name.unwrap_or_else(|| profile.name.clone());
    let environment = settings.home.environment(&name)?;
    if request.target == Target::Azure {
        request.azure = Some(args.azure.place(&environment)?);
    }
    let mut settings = settings.clone();
    settings.azure.register = args.register;
    let settings = &settings;
    let begun = std::time::Instant::now();
    let ask = Ask::unless(args.yes);
    let made = session::establish(&environment, request, profile, ask, args.health.timeout, settings).await?;
    let session = made.session;
    let result = SetupResult {
        environment: name.clone(),
        profile: session.subject.profile.name.clone(),
        target: session.request.target.to_string(),
        address: session.subject.address.clone(),
        kubeconfig: environment.kubeconfig().display().to_string(),
        seconds: begun.elapsed().as_secs_f64(),
    };
    settings.result(&result, || {
        let how = if made.changed { "is up" } else { "was up already: nothing changed" };
        format!(
            "{name} {how} ({:.1} s)\n  web         {}\n  kubeconfig  {}",
            result.seconds, result.address, result.kubeconfig
        )
    })?;
    ui::note(&format!("hint: democtl run-tests --name {name}"));
    Ok(())
}
