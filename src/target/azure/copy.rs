//! What setup would do, told by a copy of the state: who only looks changes neither the state nor its lock, nor the module
//! and the variables by which it was made.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::Path,
    sync::OnceLock,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
};

use super::{Azure, Prepared, state::StateKind, terraform, unless_refused};
use crate::{
    environment::Environment,
    failure::{Failure, Kind, OrFail as _},
};

/// How often a state that another Terraform writes is looked at.
const LOOK: Duration = Duration::from_millis(100);

impl Azure {
    /// Preflight and plan; makes nothing and changes nothing.
    pub async fn plan(&self) -> Result<Prepared, Failure> {
        // A state holds secrets: its copy lies where it lies.
        let beside = self.environment.dir.is_dir().then_some(&self.environment.dir);
        let aside = beside.map_or_else(tempfile::tempdir, tempfile::tempdir_in)?;
        let mut copy = self.in_dir(aside.path());
        let report = copy.look().await?;
        unless_refused(&report)?;
        self.copy_state(copy.terraform_here().dir()).await?;
        copy.place.state = StateKind::Local;
        copy.plan_after(report).await
    }

    /// The same environment with another directory.
    fn in_dir(&self, dir: &Path) -> Self {
        Self {
            environment: Environment { name: self.environment.name.clone(), dir: dir.to_owned() },
            place: self.place.clone(),
            profile: self.profile.clone(),
            settings: self.settings.clone(),
            cancel: self.cancel.clone(),
            progress: self.progress.clone(),
            arm: self.arm.clone(),
            removal: OnceLock::new(),
        }
    }

    /// Copies the state, wherever it lies, and what says which providers it was made by.
    async fn copy_state(&self, to: &Path) -> Result<(), Failure> {
        let here = self.terraform_here().dir().to_owned();
        let what = || format!("cannot copy the state of {}", self.environment.name);
        let remote = self.place.state == StateKind::Azurerm
            && self.account().exists(&self.arm()?).await.or_fail(Kind::Infrastructure, what)?;
        let held = if remote {
            self.tell_lock().await?;
            None
        } else {
            self.until_free(&here.join(terraform::STATE)).await?
        };
        let text = self.state_text(remote).await?;
        drop(held);
        let copied = || {
            fs::create_dir_all(to)?;
            if !text.is_empty() {
                fs::write(to.join(terraform::STATE), &text)?;
            }
            for name in [terraform::ERRORED_STATE, ".terraform.lock.hcl"].iter().filter(|name| here.join(name).exists())
            {
                fs::copy(here.join(name), to.join(name))?;
            }
            // Providers are large, and those that are there are not changed by another `init`.
            let providers = here.join(".terraform/providers");
            if providers.is_dir() {
                fs::create_dir_all(to.join(".terraform"))?;
                symlink(&providers, to.join(".terraform/providers"))?;
            }
            io::Result::Ok(())
        };
        copied().or_fail(Kind::Infrastructure, what)
    }

    /// Waits until no Terraform works on a state here, and keeps others away while the file is held:
    /// Terraform has an fcntl lock on it as long as it works.
    async fn until_free(&self, state: &Path) -> Result<Option<File>, Failure> {
        let what = || format!("cannot look at {}", state.display());
        let file = match File::open(state) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.or_fail(Kind::Infrastructure, what)?,
        };
        let mut told = false;
        loop {
            match fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
                Ok(()) => return Ok(Some(file)),
                Err(Errno::AGAIN | Errno::ACCESS) => {}
                Err(error) => return Err(error).or_fail(Kind::Infrastructure, what),
            }
            if !told {
                told = true;
                (self.progress)("a terraform that still works here is waited for");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.cancel.cancelled() => return Err(Failure::msg(Kind::Cancelled, "cancelled: nothing was made")),
            }
        }
    }
}
