//! Terraform with its state in Azure: when it moves there, who holds it, and which lock may be taken off.

use std::sync::Arc;

use democtl_core::render::azure::{azure_names, azure_tags};
use futures::future::BoxFuture;

use super::{
    Azure,
    arm::LoginMethod,
    state::{self, Account, Lease, StateKind},
    terraform::Terraform,
};
use crate::{
    environment::write_whole,
    failure::{Failure, Kind, OrFail as _},
};

impl Azure {
    /// Terraform in the environment's directory, with its state where it lies.
    pub(super) fn terraform(&self) -> Result<Terraform, Failure> {
        let terraform = self.terraform_here();
        if !self.state_is_remote() {
            return Ok(terraform);
        }
        let (account, blobs) = (self.account(), self.blobs()?);
        let teller = move || {
            let blobs = blobs.clone();
            let asked = async move { blobs.lease().await.ok().flatten().and_then(|lease| lease.id) };
            Box::pin(asked) as BoxFuture<'static, Option<String>>
        };
        Ok(terraform.with_state_in(account.name, Arc::new(teller)))
    }

    /// Whether Terraform keeps its state in Azure by now.
    pub(super) fn state_is_remote(&self) -> bool {
        self.place.state == StateKind::Azurerm && self.terraform_here().dir().join(state::OVERRIDE).exists()
    }

    /// The text of Terraform's state, empty where there is none. One that cannot be read is an error: what was made is not
    /// taken for what was not.
    pub(super) async fn state_text(&self, remote: bool) -> Result<Vec<u8>, Failure> {
        let (place, read) = if remote {
            let read = self.blobs()?.read().await.map_err(anyhow::Error::from);
            (format!("the storage account {}", self.account().name), read)
        } else {
            let terraform = self.terraform_here();
            (terraform.dir().display().to_string(), terraform.local_state().map_err(anyhow::Error::from))
        };
        read.or_fail(Kind::Infrastructure, || format!("the state in {place} cannot be read"))
    }

    pub(super) fn account(&self) -> Account {
        Account::of(&azure_names(&self.profile, &self.environment.name), &self.placement())
    }

    pub(super) fn blobs(&self) -> Result<state::Blobs, Failure> {
        let account = self.account();
        if self.settings.login.method() == LoginMethod::AccessToken {
            let what = "--state azurerm needs a login that Terraform can use as well, and a given access token is none";
            return Err(
                Failure::msg(Kind::Preflight, what).hint("one of the other ways in docs/azure.md, such as az login")
            );
        }
        account
            .blobs(&self.settings.login)
            .or_fail(Kind::Preflight, || format!("cannot talk to the storage account {}", account.name))
    }

    /// Makes the place for the state, and moves Terraform there.
    pub(super) async fn make_state(&self) -> Result<Terraform, Failure> {
        let (arm, account) = (self.arm()?, self.account());
        (self.progress)(&format!("  storage account {} for Terraform's state", account.name));
        let tags = azure_tags(&self.profile, &self.placement());
        let blobs = self.blobs()?;
        tokio::select! {
            made = account.make(&arm, &blobs, &self.profile.azure.location, &tags) => made?,
            () = self.cancel.cancelled() => {
                let what = format!("cancelled while the storage account {} is being made", account.name);
                return Err(Failure::msg(Kind::Cancelled, what)
                    .hint("setup goes on where it stopped; cleanup removes it"));
            }
        }
        self.use_state(&account)?;
        self.terraform()
    }

    /// The account is not there, or not any more: nor is a state in it.
    pub(super) fn forget_state(&self) {
        // One that stays is overwritten with the next account, or ends with the environment's directory.
        let _ = std::fs::remove_file(self.terraform_here().dir().join(state::OVERRIDE));
    }

    pub(super) fn use_state(&self, account: &Account) -> Result<(), Failure> {
        let file = self.terraform_here().dir().join(state::OVERRIDE);
        write_whole(&file, account.backend().as_bytes())
            .or_fail(Kind::Infrastructure, || format!("cannot write {}", file.display()))
    }

    /// Who holds the state, and whether that is an apply of ours that is dead.
    async fn holder(&self) -> Result<Option<(Lease, bool)>, Failure> {
        if !self.state_is_remote() {
            return Ok(None);
        }
        let what = || format!("cannot look at the state in {}", self.account().name);
        let lease = self.blobs()?.lease().await.or_fail(Kind::Infrastructure, what)?;
        let dead = self.terraform_here().lock_of_dead_apply();
        Ok(lease.map(|lease| {
            let is_dead = dead.is_some() && lease.id == dead;
            (lease, is_dead)
        }))
    }

    /// Tells who holds the state; changes nothing.
    pub(super) async fn tell_lock(&self) -> Result<(), Failure> {
        match self.holder().await? {
            None => {}
            Some((_, true)) => (self.progress)("  the state's lock is that of an apply of ours, which is dead"),
            Some((Lease { who, since, operation, .. }, false)) => (self.progress)(&format!(
                "  {who} holds the state since {since} ({operation}): this is by what it has saved so far"
            )),
        }
        Ok(())
    }

    /// Tells who holds the state. A lock of an apply of ours that is dead is taken off; anybody else's is theirs.
    pub(super) async fn look_at_lock(&self, terraform: &Terraform) -> Result<(), Failure> {
        let Some((Lease { id, who, since, operation }, dead)) = self.holder().await? else { return Ok(()) };
        let id = id.as_deref().unwrap_or("ID");
        if dead {
            (self.progress)(&format!(
                "  the state's lock is that of an apply of ours, which is dead: {id} is taken off"
            ));
            return terraform.force_unlock(id).await;
        }
        (self.progress)(&format!(
            "  {who} holds the state since {since} ({operation}); it is waited for. If that run is certainly dead: \
             terraform -chdir={} force-unlock {id}",
            terraform.dir().display()
        ));
        Ok(())
    }
}
