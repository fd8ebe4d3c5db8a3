//! The Infra seam: a target only makes a cluster and yields its kubeconfig; from there on all targets share one path.

pub mod azure;
pub mod local;

use std::{path::PathBuf, sync::Arc};

use democtl_core::profile::Profile;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    environment::{Environment, Request},
    failure::Failure,
    observe::Cloud,
};

/// Where an environment runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A cluster embedded in this binary, on this machine.
    #[default]
    Local,
    /// AKS, made by Terraform in a subscription of yours: it costs money.
    Azure,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Azure => "azure",
        })
    }
}

/// What a target tells of its cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It answers.
    Running {
        /// Address of its API.
        server: String,
        /// Process that owns it, where there is one.
        pid: Option<u32>,
    },
    /// It was made but does not answer.
    Down {
        /// What is known of why.
        reason: String,
    },
    /// There is none.
    Absent,
}

/// What reaching a target takes beside the environment; resolved by the command line.
#[derive(Clone)]
pub struct Context {
    /// For the azure target.
    pub azure: azure::Settings,
    /// Cancelled by the first Ctrl-C.
    pub cancel: CancellationToken,
    /// Where lines of progress go.
    pub progress: azure::terraform::Progress,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("azure", &self.azure).finish_non_exhaustive()
    }
}

/// What makes and removes clusters.
#[derive(Debug)]
pub enum Infra {
    /// The embedded cluster.
    Local(local::Local),
    /// AKS.
    Azure(Box<azure::Azure>),
}

/// What is ready to be made.
#[derive(Debug)]
pub enum Prepared {
    /// The local target makes no plans.
    Local,
    /// A plan that was agreed to.
    Azure(Box<azure::Prepared>),
}

impl Infra {
    /// The infrastructure of an environment; without a request (a damaged environment) whatever lies in its directory.
    pub fn of(environment: &Environment, request: Option<&Request>, context: &Context) -> Result<Self, Failure> {
        let Some(place) = request.and_then(|request| Some((request.azure.clone()?, request))) else {
            return Ok(Self::Local(local::Local::new(environment)));
        };
        let (place, request) = place;
        let profile = request.profile()?;
        Ok(Self::Azure(Box::new(azure::Azure::new(environment, place, profile, context.clone()))))
    }

    /// What the ledger calls it.
    pub fn id(&self, environment: &Environment) -> String {
        match self {
            Self::Local(_) => environment.dir.display().to_string(),
            Self::Azure(azure) => azure.id(),
        }
    }

    /// Looks before anything is made: preflight, plan, consent.
    pub async fn prepare(&self, consent: azure::Consent<'_>) -> Result<Prepared, Failure> {
        match self {
            Self::Local(_) => Ok(Prepared::Local),
            Self::Azure(azure) => azure.prepare(consent).await.map(|prepared| Prepared::Azure(Box::new(prepared))),
        }
    }

    /// Makes the cluster; yields the path of its kubeconfig.
    pub async fn make(&self, prepared: &Prepared, request: &Request, profile: &Profile) -> Result<PathBuf, Failure> {
        match (self, prepared) {
            (Self::Azure(azure), Prepared::Azure(prepared)) => azure.make(prepared).await,
            _ => self.join(request, profile).await,
        }
    }

    /// The kubeconfig's path of a cluster that is there; a local one that has died comes back.
    pub async fn join(&self, request: &Request, profile: &Profile) -> Result<PathBuf, Failure> {
        match self {
            Self::Local(local) => local.create(request, profile).await,
            Self::Azure(azure) => azure.join().await,
        }
    }

    /// How the cluster stands.
    pub async fn describe(&self) -> State {
        match self {
            Self::Local(local) => local.describe().await,
            Self::Azure(azure) => azure.describe().await,
        }
    }

    /// Says that it is needed for longer, where somebody may remove what is not.
    pub async fn push_out(&self) -> Result<(), Failure> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Azure(azure) => azure.push_out().await,
        }
    }

    /// Where the cluster is not as the profile has it; empty where that cannot be.
    pub async fn drift(&self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Local(_) => Ok(Vec::new()),
            Self::Azure(azure) => azure.drift().await,
        }
    }

    /// The node pools as the cloud has them; none: there is no cloud.
    pub async fn pools(&self) -> Result<Option<azure::pools::Pools>, Failure> {
        match self {
            Self::Local(_) => Ok(None),
            Self::Azure(azure) => azure.pools().await.map(Some),
        }
    }

    /// The cloud below the cluster, to be asked while somebody observes.
    pub fn cloud(&self) -> Result<Option<Arc<dyn Cloud>>, Failure> {
        match self {
            Self::Local(_) => Ok(None),
            Self::Azure(azure) => Ok(Some(Arc::new(azure.watch()?))),
        }
    }

    /// Lines of what cleanup would remove and what it costs, where a person should agree to that.
    pub async fn inventory(&self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Local(_) => Ok(Vec::new()),
            Self::Azure(azure) => azure.inventory().await,
        }
    }

    /// Removes the cluster and everything that it started; ends with a scan. Returns what is left, in words.
    pub async fn destroy(&self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Local(local) => local.destroy().await,
            Self::Azure(azure) => azure.destroy().await,
        }
    }
}
