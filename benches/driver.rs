//! What the driver of Terraform adds to Terraform: the same module, applied by bare commands and through the driver.
//!
//! `cargo bench -p democtl --bench driver`; `DEMOCTL_BENCH_SECONDS` is the time that the module's resources take (60),
//! `DEMOCTL_BENCH_ROUNDS` how often each is done (3). Needs terraform on PATH, no network and no Azure.
#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use democtl::target::azure::terraform::Terraform;
use democtl_core::cost::Prices;
use tokio_util::sync::CancellationToken;

/// Resources one after another, as group, workspace and cluster are.
const RESOURCES: u64 = 3;

fn main() -> anyhow::Result<()> {
    // A test run of all targets comes here too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let number = |name: &str, default: u64| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let seconds = number("DEMOCTL_BENCH_SECONDS", 60).context("DEMOCTL_BENCH_SECONDS")?;
    let rounds = number("DEMOCTL_BENCH_ROUNDS", 3).context("DEMOCTL_BENCH_ROUNDS")?.max(1);
    let runtime = tokio::runtime::Runtime::new()?;
    let (mut bare, mut driven) = (Vec::new(), Vec::new());
    // The first start of a program is the slowest.
    timed(0, |dir| by_hand(&dir))?;
    for round in 1..=rounds {
        bare.push(timed(seconds, |dir| by_hand(&dir))?);
        driven.push(timed(seconds, |dir| runtime.block_on(by_driver(dir)))?);
        println!("round {round}: bare {:.2} s, driver {:.2} s", bare[bare.len() - 1], driven[driven.len() - 1]);
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    let (bare, driven) = (mean(&bare), mean(&driven));
    let added = driven - bare;
    println!(
        "means of {rounds}: bare {bare:.2} s, driver {driven:.2} s, {added:+.2} s, {:+.2} %",
        100.0 * added / bare
    );
    Ok(())
}

/// Seconds of `work` in a directory of its own with the module.
fn timed(seconds: u64, work: impl FnOnce(PathBuf) -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let root = tempfile::tempdir()?;
    let mut module = "terraform {\n  backend \"local\" {}\n}\n".to_owned();
    for number in 0..RESOURCES {
        let after = match number {
            0 => String::new(),
            number => format!("  depends_on = [terraform_data.part{}]\n", number - 1),
        };
        let each = seconds as f64 / RESOURCES as f64;
        write!(
            module,
            "\nresource \"terraform_data\" \"part{number}\" {{\n{after}  provisioner \"local-exec\" {{\n    \
             command = \"sleep {each:.3}\"\n  }}\n}}\n"
        )?;
    }
    fs::write(root.path().join("main.tf"), module)?;
    let begun = Instant::now();
    work(root.path().to_owned())?;
    Ok(begun.elapsed().as_secs_f64())
}

fn by_hand(dir: &Path) -> anyhow::Result<()> {
    let steps: [&[&str]; 3] =
        [&["init", "-input=false"], &["plan", "-input=false", "-out=plan"], &["apply", "-input=false", "plan"]];
    for step in steps {
        let status = Command::new("terraform")
            .args(step)
            .current_dir(dir)
            .env("CHECKPOINT_DISABLE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("terraform does not start")?;
        ensure!(status.success(), "terraform {} ends with {status}", step[0]);
    }
    Ok(())
}

async fn by_driver(dir: PathBuf) -> anyhow::Result<()> {
    let failed = |failure: democtl::failure::Failure| anyhow::anyhow!("{failure}");
    let quiet = Arc::new(|_: &str| {});
    let terraform = Terraform::new(PathBuf::from("terraform"), dir, Vec::new(), CancellationToken::new(), quiet);
    terraform.version().map_err(failed)?;
    terraform.init().await.map_err(failed)?;
    terraform.require_known_state().map_err(failed)?;
    let planned = terraform.plan(false, &Prices::committed()).await.map_err(failed)?;
    ensure!(planned.changes, "the plan makes nothing");
    terraform.apply().await.map_err(failed)
}
