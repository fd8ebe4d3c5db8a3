//! `democtl demo`: the whole tour. Exits 0 when it did its work, whatever the verdicts: failing is what m3demo1 is for.

use std::{path::PathBuf, time::Instant};

use clap::Args;

use super::{HealthArgs, SetArgs, Settings, cleanup, session};
use crate::{
    environment::Request,
    failure::Failure,
    load::{self, Engine},
    report::{
        human, junit,
        summary::{Comparison, DemoSummary, RunSummary},
    },
    run::{self, Options},
    target::Target,
    ui,
};

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Profiles to show, by name or path
    #[arg(default_values_t = ["m3demo1".to_owned(), "m3demo2".to_owned()])]
    profiles: Vec<String>,
    #[command(flatten)]
    sets: SetArgs,
    /// Divide every duration of the suite and of the controllers by this; requests keep their own time
    #[arg(long, default_value_t = 15.0, value_name = "N")]
    speed: f64,
    /// Seed of every draw
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Which load engine
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Only this test; may be repeated
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    #[command(flatten)]
    health: HealthArgs,
    /// Leave the environments up, and the files of their runs
    #[arg(long)]
    keep: bool,
    /// Write a `JUnit` report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(super) async fn run(args: DemoArgs, settings: &Settings) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut requests = Vec::new();
    for profile in &args.profiles {
        let (request, profile) =
            Request::resolve(profile, args.sets.set.clone(), Target::Local, args.speed, args.seed)?;
        // Before anything is set up.
        profile.suite.select(&args.test)?;
        requests.push((request, profile));
    }
    ui::note(&format!(
        "one machine, real HTTP, a real queue; durations divided by {}, requests keep their own time",
        args.speed
    ));
    load::preflight(args.engine).await?;
    let mut runs = Vec::new();
    for (request, profile) in requests {
        let environment = settings.home.environment(&format!("demo-{}", profile.name))?;
        let outcome = show(&args, &environment, request, profile, settings).await;
        if args.keep {
            runs.push(outcome?);
        } else {
            let removed = cleanup::remove(&environment, settings, session::Ask::Never).await;
            // The run's files went with the environment.
            runs.push(RunSummary { directory: String::new(), ..outcome? });
            removed?;
        }
    }
    let comparison = Comparison::of(&runs);
    let summary = DemoSummary { environments: runs, comparison, duration_s: begun.elapsed().as_secs_f64() };
    settings.result(&summary, || human::demo(&summary, settings.style))?;
    if !args.keep {
        ui::note("the environments and their runs are removed; demo --keep keeps both");
    }
    if let Some(path) = &args.junit {
        junit::write(path, &summary.environments)?;
    }
    Ok(())
}

async fn show(
    args: &DemoArgs,
    environment: &crate::environment::Environment,
    request: Request,
    profile: democtl_core::profile::Profile,
    settings: &Settings,
) -> Result<RunSummary, Failure> {
    let ask = session::Ask::Never;
    let made = session::establish(environment, request, profile, ask, args.health.timeout, settings).await?;
    let options = Options { engine: args.engine, tests: args.test.clone(), settle: true, style: settings.style };
    run::run(&made.session, &options, &settings.cancel).await
}
