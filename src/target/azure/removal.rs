//! How an environment is taken out of Azure: Terraform's destroy, then a scan of the subscription, then whatever Terraform
//! did not know, and at last a scan that proves that nothing is left.

use democtl_core::render::azure::azure_names;

use super::{
    Azure,
    arm::{Arm, ArmError, RESOURCES},
    locks, roles, scan, state, terraform,
};
use crate::{
    environment::write_whole,
    failure::{Failure, Kind, OrFail as _},
    ledger::{Effect, Ledger},
};

/// Object ids of identities that a removal takes away, beside the ledger: once the cluster is gone nothing else tells them.
const IDENTITIES: &str = "identities.json";

/// Why the state of a module of the user's own is not given up.
const OWN_STATE: &str = "the state of your module knows what no scan finds: it is kept until Terraform works";

impl Azure {
    /// What is there now, one line each with its price. A Terraform that still works here is waited for first.
    pub async fn inventory(&self) -> Result<Vec<String>, Failure> {
        let arm = self.arm()?;
        let known = match self.plan_removal().await {
            Ok(known) => known,
            Err(failure) => self.go_on_without_terraform(failure).map(|()| Vec::new())?,
        };
        let found = self.scan(&arm).await?;
        // What a module of the user's own made may lie where no scan of the subscription looks.
        let mut lines = if found.is_empty() { known } else { found.iter().map(scan::line).collect() };
        let ([group, nodes], progress) = (self.groups(), self.progress.as_ref());
        match self.principals(&arm, &found).await {
            Ok(all) => {
                lines.extend(roles::lines(&arm, &self.place.subscription, &all, &[&group, &nodes], progress).await);
            }
            Err(error) => progress(&format!("  the cluster's identities are not known: {error}")),
        }
        if !lines.is_empty() {
            self.refuse_locked(&arm, &found).await?;
        }
        Ok(lines)
    }

    /// Object ids of the cluster's identities; remembered, since nothing tells them once the cluster is gone.
    async fn principals(&self, arm: &Arm, found: &[scan::Found]) -> Result<Vec<String>, ArmError> {
        let file = self.environment.dir.join(IDENTITIES);
        let known = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut all: Vec<String> = known.unwrap_or_default();
        let before = all.len();
        for principal in roles::principals_in(arm, found).await? {
            if !all.contains(&principal) {
                all.push(principal);
            }
        }
        if all.len() > before {
            // A full disk does not keep anything from being removed.
            let _ = serde_json::to_vec(&all).map(|text| write_whole(&file, &text));
        }
        Ok(all)
    }

    /// Names of the groups that hold everything.
    fn groups(&self) -> [String; 2] {
        let names = azure_names(&self.profile, &self.environment.name);
        [names.resource_group, names.node_resource_group]
    }

    /// A lock was put there by somebody who wanted something kept: it is told and never taken away here.
    async fn refuse_locked(&self, arm: &Arm, found: &[scan::Found]) -> Result<(), Failure> {
        let groups: Vec<&str> = scan::groups(found).into_iter().map(scan::Found::name).collect();
        locked(&locks::readable(arm, &self.place.subscription, &groups).await?, found)
    }

    async fn scan(&self, arm: &Arm) -> Result<Vec<scan::Found>, Failure> {
        let what = || format!("cannot look for what is left of {}", self.environment.name);
        scan::scan(arm, &self.profile, &self.placement()).await.or_fail(Kind::Infrastructure, what)
    }

    /// Removes everything, then looks for what is left.
    pub async fn destroy(&self) -> Result<Vec<String>, Failure> {
        let arm = self.arm()?;
        let failed = self.destroy_by_terraform().await.err();
        let again = failed.is_some() && self.place.module.is_some();
        if let Some(failure) = failed {
            self.go_on_without_terraform(failure)?;
        }
        let found = self.scan(&arm).await?;
        let what =
            |error: &ArmError| format!("not everything could be removed ({})", error.code().unwrap_or("no code"));
        if let Err(error) = scan::remove(&arm, &found, self.progress.as_ref()).await {
            let what = what(&error);
            let mut failure = Failure::new(Kind::Infrastructure, anyhow::Error::from(error).context(what));
            for item in self.scan(&arm).await?.iter().filter(|item| item.usd_per_month != Some(0.0)) {
                failure = failure.hint(format!("left: {}", scan::line(item)));
            }
            for group in scan::groups(&found) {
                let subscription = &self.place.subscription;
                failure =
                    failure.hint(format!("az group delete --subscription {subscription} --name {}", group.name()));
            }
            return Err(failure);
        }
        if again {
            self.empty_state().await.map_err(|failure| failure.hint(OWN_STATE))?;
        }
        if self.place.state == state::StateKind::Azurerm {
            self.forget_state();
        }
        let (ours, others): (Vec<_>, Vec<_>) = self.scan(&arm).await?.into_iter().partition(|item| item.ours);
        for item in &others {
            (self.progress)(&format!("  {}", scan::line(item)));
        }
        let mut left: Vec<String> = ours.iter().map(scan::line).collect();
        let [group, nodes] = self.groups();
        let swept = async {
            let principals = self.principals(&arm, &[]).await?;
            let progress = self.progress.as_ref();
            roles::sweep(&arm, &self.place.subscription, &principals, &found, &[&group, &nodes], progress).await
        };
        let what = || "the roles of an identity that is gone could not be removed".to_owned();
        left.extend(swept.await.or_fail(Kind::Infrastructure, what)?);
        let kept = scan::kept_workspaces(&arm, &self.place.subscription, &group).await;
        for line in kept.unwrap_or_default() {
            (self.progress)(&format!("  {line}"));
        }
        Ok(left)
    }

    /// Terraform once more, after ARM has removed what it finds: what else the state of a module of the user's own knows
    /// may lie where no scan looks.
    async fn empty_state(&self) -> Result<(), Failure> {
        if !self.plan_removal().await?.is_empty() {
            self.terraform()?.apply().await?;
        }
        Ok(())
    }

    async fn destroy_by_terraform(&self) -> Result<(), Failure> {
        if self.removal.get().is_none() {
            self.plan_removal().await?;
        }
        if self.removal.get() == Some(&true) {
            self.terraform()?.apply().await?;
        }
        Ok(())
    }

    /// Plans the removal of all that the state knows; yields its addresses. The state is looked at only when no other
    /// Terraform works on it: one that outlived its democtl writes nothing until its first resource is made.
    async fn plan_removal(&self) -> Result<Vec<String>, Failure> {
        let terraform = self.terraform()?;
        if !(self.was_begun() && terraform.has_module()) {
            return Ok(Vec::new());
        }
        // A state knows resources by their names: it would take the ones of another for its own.
        let [group, _] = self.groups();
        let path = format!("/subscriptions/{}/resourceGroups/{group}", self.place.subscription);
        let what = || format!("whose {group} is cannot be seen");
        let there = self.arm()?.get(&path, RESOURCES).await.or_fail(Kind::Infrastructure, what)?;
        if there.is_some_and(|there| self.is_anothers(&there)) {
            (self.progress)(&format!("{group} belongs to another environment now: terraform removes nothing"));
            return Ok(Vec::new());
        }
        terraform.forget_plan();
        terraform.version()?;
        (self.progress)("terraform plans the removal; one that still works here is waited for");
        terraform.init().await?;
        self.look_at_lock(&terraform).await?;
        let planned = terraform.plan(true, &self.profile.prices).await?;
        let _ = self.removal.set(planned.changes);
        Ok(planned.plan.changes.into_iter().map(|change| change.address).collect())
    }

    /// Whether anything was ever about to be made. A ledger that cannot be read says nothing against it.
    fn was_begun(&self) -> bool {
        let begun = |ledger: Ledger| ledger.entries().iter().any(|entry| entry.effect == Effect::Cluster);
        self.terraform_here().has_state() || self.environment.ledger().map_or(true, begun)
    }

    /// Tells why Terraform removes nothing; an error where it must not be passed over: the user's word, or a Terraform
    /// that still makes what a scan would miss.
    fn go_on_without_terraform(&self, failure: Failure) -> Result<(), Failure> {
        if failure.kind() == Kind::Cancelled || failure.to_string().contains(terraform::LOCKED) {
            return Err(failure);
        }
        // A state in Azure would go with what is ours.
        if self.place.module.is_some() && self.terraform_here().dir().join(state::OVERRIDE).exists() {
            return Err(failure.hint(OWN_STATE));
        }
        (self.progress)(&format!("{failure}\n  going on through ARM"));
        Ok(())
    }
}

/// An error where a lock holds anything.
pub(super) fn locked(locks: &[locks::Lock], found: &[scan::Found]) -> Result<(), Failure> {
    let Some(first) = locks.first() else { return Ok(()) };
    let more = if locks.len() == 1 { String::new() } else { format!(" and {} more", locks.len() - 1) };
    let what = format!("a lock keeps all of it: {}{more}", first.line());
    let mut failure = Failure::msg(Kind::Infrastructure, what);
    for item in found.iter().filter(|item| item.ours && item.usd_per_month != Some(0.0)) {
        failure = failure.hint(format!("left: {}", scan::line(item)));
    }
    let failure = locks.iter().fold(failure, |failure, lock| failure.hint(format!("if it may go: {}", lock.remedy())));
    Err(failure.hint("then democtl cleanup again"))
}
