//! Whether this machine is ready: tools, login, the home directory, and what earlier environments have left. Changes
//! nothing; whatever cannot be known is a line of its own.

mod home;
mod tools;

use std::path::Path;

use crate::{
    environment::Home,
    target::{
        Context, Target,
        azure::{
            arm::LoginMethod,
            preflight::{Check, Report, account},
        },
    },
};

/// What is looked at.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The target that is asked for.
    pub target: Target,
    /// Where environments are kept.
    pub home: &'a Home,
    /// The subscription, and ARM's address; only for azure.
    pub subscription: Option<(&'a str, &'a str)>,
    /// How to reach the target.
    pub context: &'a Context,
}

/// Looks at everything at once.
pub async fn examine(wanted: &Wanted<'_>) -> Report {
    let azure = wanted.target == Target::Azure;
    let method = wanted.context.azure.login.method();
    let terraform = &wanted.context.azure.terraform;
    let needed = tools::needed(terraform, azure, method == LoginMethod::AzureCli);
    let (tools, login, left) = tokio::join!(tools::look(&needed), login(wanted, method), home::environments(wanted));
    let mut checks = tools;
    checks.extend(login);
    checks.extend(home::directory(wanted.home.path(), wanted.target));
    checks.extend(left);
    Report::of(checks)
}

async fn login(wanted: &Wanted<'_>, method: LoginMethod) -> Vec<Check> {
    if wanted.target == Target::Local {
        return Vec::new();
    }
    let login = &wanted.context.azure.login;
    let tenant = login.tenant.as_ref().map_or_else(String::new, |tenant| format!(", tenant {tenant}"));
    let mut checks = vec![Check::ok("credential", format!("{method}{tenant}"))];
    if method == LoginMethod::AccessToken {
        let (found, remedy) = ("it is not renewed, and Terraform's provider and kubectl cannot use it", "az login");
        checks.push(Check::warning("credential", found, remedy));
    }
    let Some((subscription, endpoint)) = wanted.subscription else {
        let remedy = "--subscription ID, or AZURE_SUBSCRIPTION_ID; az account show --query id tells yours";
        checks.push(Check::refused("subscription", "none is named", remedy));
        return checks;
    };
    match wanted.context.azure.looking(endpoint) {
        Ok(arm) => match account(&arm, subscription).await {
            Ok(account) => checks.extend(account),
            Err(check) => checks.push(check),
        },
        Err(error) => checks.push(Check::refused("login", error.to_string(), "docs/azure.md tells the ways to log in")),
    }
    checks
}

/// The nearest directory above `path`, or itself, that is there.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.is_dir())
}
