//! The Load seam: one suite, two engines, one summary type.

pub mod k6;

use std::path::Path;

use democtl_core::{suite::Test, verdict::TestResult};
use democtl_loadgen::Progress;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Kind, OrFail as _};

/// Which engine makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Engine {
    /// The one in this binary.
    #[default]
    Builtin,
    /// The k6 on PATH, with a script rendered from the same suite.
    K6,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Builtin => "builtin",
            Self::K6 => "k6",
        })
    }
}

/// One test to be run.
#[derive(Debug)]
pub struct Job<'a> {
    /// The test.
    pub test: &'a Test,
    /// Base address, `http://HOST:PORT`.
    pub address: &'a str,
    /// Durations of stages are divided by this; think times are not.
    pub speed: f64,
    /// Seed of think times.
    pub seed: u64,
    /// Directory of the run, for samples.
    pub dir: &'a Path,
    /// Where progress is told.
    pub progress: watch::Sender<Progress>,
    /// Ends the test early.
    pub cancel: CancellationToken,
}

/// Refuses an engine that cannot run here, before anything is set up for it.
pub async fn preflight(engine: Engine) -> Result<(), Failure> {
    match engine {
        Engine::Builtin => Ok(()),
        Engine::K6 => k6::preflight(k6::PROGRAM).await,
    }
}

/// Runs one test.
pub async fn run(engine: Engine, job: Job<'_>) -> Result<TestResult, Failure> {
    match engine {
        Engine::K6 => k6::run(k6::PROGRAM, job).await,
        Engine::Builtin => {
            let options = democtl_loadgen::Options {
                base_url: job.address.to_owned(),
                speed: job.speed,
                seed: job.seed,
                progress: Some(job.progress),
                cancel: job.cancel,
            };
            democtl_loadgen::run(job.test, options)
                .await
                .or_fail(Kind::Infrastructure, || format!("test {} could not be run", job.test.name))
        }
    }
}
