//! What only the azure target needs of the command line: subscription, module, login.

use std::{env, path::PathBuf};

use clap::Args;

use crate::{
    environment::{Environment, Home},
    failure::{Failure, Kind},
    target::azure::{
        PUBLIC_CLOUD, Place, Settings,
        arm::{Login, is_known_endpoint},
        expiry,
        prices::{PUBLIC_PRICES, PriceList},
        state::StateKind,
    },
};

/// Flags of `--target azure`.
#[derive(Debug, Clone, Args)]
pub(super) struct AzureArgs {
    /// Subscription that pays, with --target azure
    #[arg(long, env = "AZURE_SUBSCRIPTION_ID", value_name = "ID", help_heading = "Azure")]
    subscription: Option<String>,
    /// Terraform module of your own that takes the same variables, instead of the built-in one
    #[arg(long, env = "DEMOCTL_TERRAFORM_MODULE", value_name = "DIR", help_heading = "Azure")]
    module: Option<PathBuf>,
    /// Where Terraform's state lies: in the environment's directory, or in a storage account that is made for it
    #[arg(long, env = "DEMOCTL_STATE", value_enum, value_name = "WHERE", help_heading = "Azure")]
    state: Option<StateKind>,
}

impl AzureArgs {
    /// Where an environment lies: as remembered, else as the flags say.
    pub(super) fn place(&self, environment: &Environment) -> Result<Place, Failure> {
        let known = environment.request()?.and_then(|request| request.azure);
        let subscription = self.subscription.clone().or(known.as_ref().map(|place| place.subscription.clone()));
        let Some(subscription) = subscription else {
            return Err(Failure::msg(Kind::Usage, "--target azure needs a subscription")
                .hint("--subscription ID, or AZURE_SUBSCRIPTION_ID; az account show --query id tells yours"));
        };
        let module = match &self.module {
            Some(module) => Some(std::path::absolute(module)?),
            None => known.as_ref().and_then(|place| place.module.clone()),
        };
        let state = self.state.or(known.as_ref().map(|place| place.state)).unwrap_or_default();
        let endpoint = endpoint()?;
        let expires = || expiry::after(chrono::Utc::now());
        let draw = || azure_core::Uuid::new_v4().to_string();
        let (id, expires_at) = known.map_or_else(|| (draw(), expires()), |place| (place.id, place.expires_at));
        Ok(Place { id, subscription, endpoint, expires_at, module, state })
    }
}

/// Where Resource Manager is.
pub(super) fn endpoint() -> Result<String, Failure> {
    let endpoint = text("DEMOCTL_AZURE_ENDPOINT").unwrap_or_else(|| PUBLIC_CLOUD.to_owned());
    if !is_known_endpoint(&endpoint) {
        let what = format!("DEMOCTL_AZURE_ENDPOINT is {endpoint}: only Azure's public cloud is supported");
        return Err(Failure::msg(Kind::Usage, what).hint(format!("leave it unset, which is {PUBLIC_CLOUD}")));
    }
    Ok(endpoint)
}

/// The login, from the variables that Azure's own tools read.
pub(super) fn settings(home: &Home) -> Settings {
    let pipeline = text("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID").zip(text("SYSTEM_ACCESSTOKEN"));
    let workflow = text("ACTIONS_ID_TOKEN_REQUEST_URL").zip(text("ACTIONS_ID_TOKEN_REQUEST_TOKEN"));
    let either = |ours: &str, terraforms: &str| text(ours).or_else(|| text(terraforms));
    let login = Login {
        access_token: text("AZURE_ACCESS_TOKEN"),
        tenant: either("AZURE_TENANT_ID", "ARM_TENANT_ID"),
        client: either("AZURE_CLIENT_ID", "ARM_CLIENT_ID"),
        client_secret: either("AZURE_CLIENT_SECRET", "ARM_CLIENT_SECRET"),
        federated_token_file: either("AZURE_FEDERATED_TOKEN_FILE", "ARM_OIDC_TOKEN_FILE_PATH").map(PathBuf::from),
        pipeline,
        workflow,
        managed_identity: text("ARM_USE_MSI").is_some_and(|value| value == "true"),
    };
    let endpoint = text("DEMOCTL_PRICES_ENDPOINT").unwrap_or_else(|| PUBLIC_PRICES.to_owned());
    let prices = PriceList { endpoint, cache: home.cache() };
    Settings { login, terraform: PathBuf::from("terraform"), prices, register: false }
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
