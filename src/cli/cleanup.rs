//! `democtl cleanup`: remove environments and prove that nothing is left.

use clap::Args;
use serde::Serialize;

use super::{NameArgs, Settings, session::Ask};
use crate::{
    environment::Environment,
    failure::{Failure, Kind, OrFail as _},
    ledger::{Effect, Step},
    target::Infra,
    ui,
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
    let mut kinds = Vec::new();
    let mut result = CleanupResult { removed: Vec::new(), left: Vec::new() };
    for name in names {
        let environment = settings.home.pick(Some(&name))?;
        match remove(&environment, settings, Ask::unless(args.yes)).await {
            Ok(()) => result.removed.push(name),
            Err(failure) => {
                kinds.push(failure.kind());
                result.left.push(format!("{name}: {failure}"));
            }
        }
    }
    settings.result(&result, || match result.removed.as_slice() {
        [] if result.left.is_empty() => "nothing to remove: no environment is set up".to_owned(),
        [] => "nothing was removed".to_owned(),
        names => format!("removed {}: no process, port, file or cloud resource is left", names.join(", ")),
    })?;
    if result.left.is_empty() {
        return Ok(());
    }
    // What could not be removed weighs more than a person who did not agree.
    let declined = |kind: &Kind| matches!(kind, Kind::Usage | Kind::Cancelled);
    let kind = if kinds.iter().all(declined) { kinds[0] } else { Kind::Infrastructure };
    Err(Failure::msg(kind, format!("not removed: {}", result.left.join("; "))))
}

/// Ends the cluster, then removes the environment's directory.
pub(super) async fn remove(environment: &Environment, settings: &Settings, ask: Ask) -> Result<(), Failure> {
    if !environment.dir.exists() {
        return Ok(());
    }
    let lock = environment.lock()?;
    // What cannot be read any more does not keep a local cluster from being ended: the directory tells where it is.
    let request = environment.request().ok().flatten();
    if request.is_none()
        && let Some(group) = begun_in_azure(environment)
    {
        let what = format!("environment {} is damaged, and its ledger says that {group} was begun", environment.name);
        return Err(Failure::msg(Kind::Infrastructure, what).hint(format!(
            "{}, then remove {}",
            group_delete(&group),
            environment.dir.display()
        )));
    }
    let infra = Infra::of(environment, request.as_ref(), &settings.context())?;
    let inventory = infra.inventory().await?;
    if !inventory.is_empty() {
        ui::note(&format!("{} would lose\n  {}", environment.name, inventory.join("\n  ")));
        if !ask.consent("remove all of it?", settings.cancel.clone()).await? {
            return Err(Failure::msg(Kind::Cancelled, "nothing was removed"));
        }
    }
    let id = infra.id(environment);
    // From here on what was made may or may not exist. A ledger that cannot be read or written (damaged, disk full)
    // does not keep anything from being removed.
    let mut ledger = environment.ledger().ok();
    if let Some(ledger) = &mut ledger {
        let _ = ledger.begin(Effect::Delivery, &id).and_then(|()| ledger.begin(Effect::Cluster, &id));
    }
    let left = infra.destroy().await?;
    if let Some(first) = left.first() {
        let what = format!("{} things are left, first {first}", left.len());
        return Err(left[1..].iter().fold(Failure::msg(Kind::Infrastructure, what), Failure::hint));
    }
    if let Some(ledger) = &mut ledger {
        let _ = ledger.undone(Effect::Delivery, &id).and_then(|()| ledger.undone(Effect::Cluster, &id));
    }
    std::fs::remove_dir_all(&environment.dir)
        .or_fail(Kind::Infrastructure, || format!("cannot remove {}", environment.dir.display()))?;
    drop(lock);
    Ok(())
}

/// The command that removes a resource group, given ARM's id of it.
fn group_delete(id: &str) -> String {
    let parts: Vec<&str> = id.split('/').collect();
    let after = |name: &str| {
        let at = parts.iter().position(|part| part.eq_ignore_ascii_case(name))?;
        parts.get(at + 1).copied()
    };
    let (subscription, group) = (after("subscriptions"), after("resourceGroups"));
    format!("az group delete --subscription {} --name {}", subscription.unwrap_or("ID"), group.unwrap_or("NAME"))
}

/// The resource group of an environment whose cluster stands in Azure, as its ledger has it.
fn begun_in_azure(environment: &Environment) -> Option<String> {
    let ledger = environment.ledger().ok()?;
    let last = ledger.entries().iter().rfind(|entry| entry.effect == Effect::Cluster)?;
    (last.step != Step::Undone && last.id.starts_with("/subscriptions/")).then(|| last.id.clone())
}

#[cfg(test)]
mod tests {
    use super::group_delete;

    #[test]
    fn the_command_for_a_group_is_one_that_az_takes() {
        let told = group_delete("/subscriptions/s-1/resourceGroups/reliability-demo-demo-x");
        assert_eq!(told, "az group delete --subscription s-1 --name reliability-demo-demo-x");
    }
}
