//! `democtl kube-token`: a token for the API of a cluster with Entra ID, as kubectl asks a credential plugin for it.

use clap::Args;

use super::Settings;
use crate::{failure::Failure, target::azure::entra, ui};

#[derive(Debug, Args)]
pub(super) struct KubeTokenArgs {
    /// Application that the cluster's API is
    #[arg(long, default_value = entra::AKS_SERVER, value_name = "ID")]
    server_id: String,
    /// Tenant to log in to, where the environment names none
    #[arg(long, value_name = "ID")]
    tenant_id: Option<String>,
}

pub(super) async fn run(args: KubeTokenArgs, settings: &Settings) -> Result<(), Failure> {
    let version = entra::asked_version(settings.exec_info.as_deref())?;
    let mut login = settings.azure.login.clone();
    login.tenant = login.tenant.or(args.tenant_id);
    // Nothing but the answer: kubectl reads it, whatever --output says.
    Ok(ui::print(&entra::credential(&login, &args.server_id, version).await?)?)
}
