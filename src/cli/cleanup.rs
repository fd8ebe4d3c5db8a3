//! `democtl cleanup`: remove environments and prove that nothing is left.

use clap::Args;
use serde::Serialize;

use super::{NameArgs, Settings};
use crate::{
    environment::Environment,
    failure::{Failure, Kind, OrFail as _},
    ledger::Effect,
    target::{Infra, Target},
};

#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Every environment
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Do not ask (the local target never does)
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Serialize)]
struct CleanupResult {
    removed: Vec<String>,
    left: Vec<String>,
}

pub(super) async fn run(args: CleanupArgs, settings: &Settings) -> Result<(), Failure> {
    let names = if args.all {
        settings.home.names().or_fail(Kind::Other, || "cannot list the environments".to_owned())?
    } else {
        vec![settings.home.pick(args.name.name.as_deref())?.name]
    };
    let mut result = CleanupResult { removed: Vec::new(), left: Vec::new() };
    for name in names {
        let environment = settings.home.pick(Some(&name))?;
        match remove(&environment).await {
            Ok(()) => result.removed.push(name),
            Err(failure) => result.left.push(format!("{name}: {failure}")),
        }
    }
    settings.result(&result, || match result.removed.as_slice() {
        [] if result.left.is_empty() => "nothing to remove: no environment is set up".to_owned(),
        [] => "nothing was removed".to_owned(),
        names => format!("removed {}: no process, port or file is left", names.join(", ")),
    })?;
    if result.left.is_empty() {
        return Ok(());
    }
    Err(Failure::msg(Kind::Infrastructure, format!("not removed: {}", result.left.join("; "))))
}

/// Ends the cluster, then removes the environment's directory.
pub(super) async fn remove(environment: &Environment) -> Result<(), Failure> {
    if !environment.dir.exists() {
        return Ok(());
    }
    let lock = environment.lock()?;
    // What cannot be read any more does not keep the cluster from being ended: the directory tells where it is.
    let target = environment.request().ok().flatten().map_or(Target::Local, |request| request.target);
    let id = environment.dir.display().to_string();
    // From here on what was made may or may not exist. A ledger that cannot be read or written (damaged, disk full)
    // does not keep anything from being removed.
    let mut ledger = environment.ledger().ok();
    if let Some(ledger) = &mut ledger {
        let _ = ledger.begin(Effect::Delivery, &id).and_then(|()| ledger.begin(Effect::Cluster, &id));
    }
    let left = Infra::of(environment, target).destroy().await?;
    if let Some(first) = left.first() {
        return Err(Failure::msg(Kind::Infrastructure, format!("{} things are left, first {first}", left.len())));
    }
    if let Some(ledger) = &mut ledger {
        let _ = ledger.undone(Effect::Delivery, &id).and_then(|()| ledger.undone(Effect::Cluster, &id));
    }
    std::fs::remove_dir_all(&environment.dir)
        .or_fail(Kind::Infrastructure, || format!("cannot remove {}", environment.dir.display()))?;
    drop(lock);
    Ok(())
}
