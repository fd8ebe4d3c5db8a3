//! `democtl cleanup`: remove environments and prove that nothing is left.

mod expired;

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{NameArgs, Settings, session::Ask};
use crate::{
    delivery::{self, withdraw},
    environment::Environment,
    failure::{Failure, Kind, OrFail as _},
    ledger::{Effect, Step},
    target::{Infra, State},
    ui,
};

#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Every environment
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Every environment on azure past its `expires-at`, also those that another machine made
    #[arg(long, conflicts_with_all = ["name", "all"])]
    expired: bool,
    /// Subscription to look through, with --expired [default: those of the environments known here]
    #[arg(long, env = "AZURE_SUBSCRIPTION_ID", value_name = "ID", help_heading = "Azure")]
    subscription: Option<String>,
    /// Do not ask (the local target never does)
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Default, Serialize)]
struct CleanupResult {
    removed: Vec<String>,
    left: Vec<String>,
    /// Kinds of the failures behind what is left.
    #[serde(skip)]
    kinds: Vec<Kind>,
}

impl CleanupResult {
    fn add(&mut self, name: &str, outcome: Result<(), Failure>) {
        match outcome {
            Ok(()) => self.removed.push(name.to_owned()),
            Err(failure) => {
                self.kinds.push(failure.kind());
                self.left.push(format!("{name}: {failure:#}"));
            }
        }
    }

    /// Tells it; an error where anything is left.
    fn tell(&self, settings: &Settings, nothing: &str) -> Result<(), Failure> {
        settings.result(self, || match self.removed.as_slice() {
            [] if self.left.is_empty() => nothing.to_owned(),
            [] => "nothing was removed".to_owned(),
            names => format!("removed {}: no process, port, file or cloud resource is left", names.join(", ")),
        })?;
        // What could not be removed weighs more than a person who did not agree.
        let declined = |kind: &Kind| matches!(kind, Kind::Usage | Kind::Cancelled);
        let kind = match self.kinds.first() {
            None => return Ok(()),
            Some(first) if self.kinds.iter().all(declined) => *first,
            Some(_) => Kind::Infrastructure,
        };
        Err(Failure::msg(kind, format!("not removed: {}", self.left.join("\nnot removed: "))))
    }
}

/// How long the API of a cluster may take to answer before its cloud resources are left to Azure.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// How long load balancers and disks may take to go.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(300);

pub(super) async fn run(args: CleanupArgs, settings: &Settings) -> Result<(), Failure> {
    let ask = Ask::unless(args.yes);
    if args.expired {
        return expired::run(args.subscription, ask, settings).await;
    }
    let names = if args.all {
        settings.home.names().or_fail(Kind::Other, || "cannot list the environments".to_owned())?
    } else {
        vec![settings.home.pick(args.name.name.as_deref())?.name]
    };
    let mut result = CleanupResult::default();
    for name in names {
        let environment = settings.home.pick(Some(&name))?;
        result.add(&name, remove(&environment, settings, ask).await);
    }
    result.tell(settings, "nothing to remove: no environment is set up")
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
            return Err(Failure::msg(Kind::Cancelled, "it was not agreed to"));
        }
    }
    let id = infra.id(environment);
    // From here on what was made may or may not exist. A ledger that cannot be read or written (damaged, disk full)
    // does not keep anything from being removed.
    let mut ledger = environment.ledger().ok();
    if let Some(ledger) = &mut ledger {
        let _ = ledger.begin(Effect::Delivery, &id).and_then(|()| ledger.begin(Effect::Cluster, &id));
    }
    withdraw(environment, &infra, settings).await?;
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

/// Takes back what the cluster itself had made in the cloud. What does not go in time is told: it goes with the nodes.
async fn withdraw(environment: &Environment, infra: &Infra, settings: &Settings) -> Result<(), Failure> {
    let kubeconfig = environment.kubeconfig();
    // The local cluster has nothing outside of itself, and one that is gone cannot be asked.
    if !matches!(infra, Infra::Azure(_)) || !kubeconfig.exists() || infra.describe().await == State::Absent {
        return Ok(());
    }
    let work = async {
        let client = delivery::connect(&kubeconfig).await?;
        if delivery::wait_until_ready(&client, ANSWERS_WITHIN).await.is_err() {
            let seconds = ANSWERS_WITHIN.as_secs();
            let what =
                format!("the cluster's API did not answer within {seconds} s: load balancers were not removed first");
            return Err(Failure::msg(Kind::Infrastructure, what));
        }
        ui::note("  removing the applications, then load balancers and disks");
        withdraw::withdraw(&client, WITHDRAWN_WITHIN).await
    };
    tokio::select! {
        done = work => match done {
            Ok(()) => ui::note("  no application, load balancer or disk is left in the cluster"),
            Err(failure) => ui::note(&format!("{failure}\n  going on: what is left goes with the cluster's own groups")),
        },
        () = settings.cancel.cancelled() => {
            return Err(Failure::msg(Kind::Cancelled, "cancelled: the applications may be gone, the cluster stands")
                .hint("democtl cleanup goes on; democtl setup brings them back"));
        }
    }
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
