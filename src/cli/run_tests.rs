//! `democtl run-tests`: the suite against an environment; exit 99 when a threshold failed.

use std::path::PathBuf;

use clap::Args;
use democtl_core::verdict::Verdict;

use super::{NameArgs, Settings, session};
use crate::{
    failure::{Failure, Kind},
    load::{self, Engine},
    report::{human, junit},
    run::{self, Options},
};

#[derive(Debug, Args)]
pub(super) struct RunTestsArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Only this test; may be repeated
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// Which load engine
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Afterwards watch until pods and nodes are back at the baseline
    #[arg(long)]
    settle: bool,
    /// Write a `JUnit` report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(super) async fn run(args: RunTestsArgs, settings: &Settings) -> Result<(), Failure> {
    load::preflight(args.engine).await?;
    let environment = settings.home.pick(args.name.name.as_deref())?;
    let joined = session::join(&environment, settings).await?;
    let options = Options { engine: args.engine, tests: args.test, settle: args.settle, style: settings.style };
    let summary = run::run(&joined.session, &options, &settings.cancel).await?;
    // First to where it can be seen: a report that cannot be written does not hide the result.
    settings.result(&summary, || human::run(&summary, settings.style))?;
    if let Some(path) = &args.junit {
        junit::write(path, std::slice::from_ref(&summary))?;
    }
    match summary.verdict {
        Verdict::Pass => Ok(()),
        Verdict::Fail => {
            let failed = summary.tests.iter().filter(|test| test.verdict == Verdict::Fail);
            let names: Vec<_> = failed.map(|test| test.name.as_str()).collect();
            Err(Failure::msg(Kind::Threshold, format!("thresholds failed in {}", names.join(", "))))
        }
    }
}
