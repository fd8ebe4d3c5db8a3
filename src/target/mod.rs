//! The Infra seam: a target only makes a cluster and yields its kubeconfig; from there on all targets share one path.

pub mod azure;
pub mod local;

use std::path::PathBuf;

use democtl_core::profile::Profile;
use serde::{Deserialize, Serialize};

use crate::{
    environment::{Environment, Request},
    failure::Failure,
};

/// Where an environment runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A cluster embedded in this binary, on this machine.
    #[default]
    Local,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
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

/// What makes and removes clusters.
#[derive(Debug)]
pub enum Infra {
    /// The embedded cluster.
    Local(local::Local),
}

impl Infra {
    /// The infrastructure of an environment.
    pub fn of(environment: &Environment, target: Target) -> Self {
        match target {
            Target::Local => Self::Local(local::Local::new(environment)),
        }
    }

    /// Makes the cluster, or does nothing when it is there already; yields the path of its kubeconfig.
    pub async fn create(&self, request: &Request, profile: &Profile) -> Result<PathBuf, Failure> {
        match self {
            Self::Local(local) => local.create(request, profile).await,
        }
    }

    /// How the cluster stands.
    pub async fn describe(&self) -> State {
        match self {
            Self::Local(local) => local.describe().await,
        }
    }

    /// Removes the cluster and everything that it started; ends with a scan. Returns what is left, in words.
    pub async fn destroy(&self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Local(local) => local.destroy().await,
        }
    }
}
