//! Where Terraform's state lies: beside the ledger, or in a storage account of the environment's own.
//!
//! The account lies in a resource group of its own, with the environment's tags, so that cleanup finds it like all else and
//! removes it last. Nobody has its keys: who may read the state is a role's matter.
//! <https://developer.hashicorp.com/terraform/language/backend/azurerm>

mod blob;

use std::time::Duration;

pub use blob::{Blobs, Lease};
use democtl_core::render::azure::{ENVIRONMENT_TAG, ID_TAG, Names, Placement};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::arm::{AUTHORIZATION, Arm, ArmError, RESOURCES};
use crate::failure::{Failure, Kind, OrFail as _};

/// API version of storage accounts.
const STORAGE: &str = "2023-05-01";
/// <https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/storage#storage-blob-data-contributor>
const DATA_CONTRIBUTOR: &str = "ba92f5b4-2d11-453d-a403-e96b0029c9fe";
/// What a state needs of it.
const WRITE_BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write";

const CONTAINER: &str = "tfstate";
const BLOB: &str = "democtl.tfstate";
/// How long what was removed or overwritten can be brought back.
const KEPT_DAYS: u32 = 7;
/// A role that was given is not known everywhere at once.
const ROLE_WITHIN: Duration = Duration::from_secs(600);

/// Namespaces of what is made here.
pub const PROVIDERS: [&str; 1] = ["Microsoft.Storage"];

/// The file that puts another backend over the module's own:
/// <https://developer.hashicorp.com/terraform/language/files/override>.
pub const OVERRIDE: &str = "democtl_state_override.tf";

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StateKind {
    /// In the environment's directory on this machine.
    #[default]
    Local,
    /// In a storage account that is made for it.
    Azurerm,
}

/// The storage account of one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its resource group's id.
    group: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// The one of an environment.
    pub fn of(names: &Names, placement: &Placement<'_>) -> Self {
        let group = format!("/subscriptions/{}/resourceGroups/{}", placement.subscription, names.state_group());
        Self { group, name: placement.state_account() }
    }

    /// ARM's id.
    pub fn id(&self) -> String {
        format!("{}/providers/Microsoft.Storage/storageAccounts/{}", self.group, self.name)
    }

    fn container(&self) -> String {
        format!("{}/blobServices/default/containers/{CONTAINER}", self.id())
    }

    /// Whether there is a place for a state: account and container.
    pub async fn exists(&self, arm: &Arm) -> Result<bool, ArmError> {
        Ok(arm.get(&self.container(), STORAGE).await?.is_some())
    }

    /// The text of the override file.
    pub fn backend(&self) -> String {
        format!(
            "# Written by democtl: the state lies in Azure.\nterraform {{\n  backend \"azurerm\" {{\n    use_azuread_auth     \
             = true\n    storage_account_name = \"{}\"\n    container_name       = \"{CONTAINER}\"\n    key                  \
             = \"{BLOB}\"\n  }}\n}}\n",
            self.name
        )
    }

    /// The state in it, over the data plane.
    pub fn blobs(&self, login: &super::Login) -> Result<Blobs, ArmError> {
        Blobs::new(&format!("https://{}.blob.core.windows.net", self.name), CONTAINER, BLOB, login)
    }

    /// Makes what of it is missing; made twice it is as made once. Yields when the state can be written.
    pub async fn make(&self, arm: &Arm, blobs: &Blobs, location: &str, tags: &Value) -> Result<(), Failure> {
        let what = || format!("the storage account {} for Terraform's state could not be made", self.name);
        let there = arm.get(&self.group, RESOURCES).await.or_fail(Kind::Infrastructure, what)?;
        if there.is_some_and(|group| [ENVIRONMENT_TAG, ID_TAG].iter().any(|tag| group["tags"][tag] != tags[tag])) {
            return Err(Failure::msg(Kind::Preflight, format!("{} exists and is not this environment's", self.group))
                .hint("choose another name with --name"));
        }
        let made = async {
            arm.put(&self.group, RESOURCES, &json!({ "location": location, "tags": tags })).await?;
            arm.put(&self.id(), STORAGE, &account(location, tags)).await?;
            arm.put(&format!("{}/blobServices/default", self.id()), STORAGE, &service()).await?;
            arm.put(&self.container(), STORAGE, &json!({ "properties": { "publicAccess": "None" } })).await
        };
        made.await.or_fail(Kind::Infrastructure, what)?;
        self.allow(arm).await?;
        blobs.until_open(arm, ROLE_WITHIN).await.or_fail(Kind::Infrastructure, || {
            format!("the state in {} cannot be read, though the login has a role that lets it", self.name)
        })
    }

    /// Gives the login the role that lets it read and write the state, if none does.
    async fn allow(&self, arm: &Arm) -> Result<(), Failure> {
        let what = || format!("whether the login may write blobs in {} is not known", self.name);
        let path = format!("{}/providers/Microsoft.Authorization/permissions", self.id());
        let roles = arm.list(&path, AUTHORIZATION, &[]).await.or_fail(Kind::Infrastructure, what)?;
        if super::preflight::permits(&roles, "dataActions", WRITE_BLOBS) {
            return Ok(());
        }
        let by_hand = |who: &str| {
            format!("az role assignment create --assignee {who} --role {DATA_CONTRIBUTOR} --scope {}", self.id())
        };
        let caller = arm.caller().await.or_fail(Kind::Infrastructure, what)?;
        let Some(caller) = caller else {
            let what = format!("the login may not write blobs in {}, and its token does not tell who it is", self.name);
            return Err(Failure::msg(Kind::Preflight, what).hint(by_hand("WHO")));
        };
        let subscription = self.group.split('/').nth(2).unwrap_or_default();
        let role = format!(
            "/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{DATA_CONTRIBUTOR}"
        );
        let body = json!({ "properties": {
            "roleDefinitionId": role, "principalId": caller.id, "principalType": caller.kind,
        } });
        // Drawn from scope and principal, so that a second try is the same assignment and a colleague's is another.
        let name = assignment_name(&self.name, &caller.id);
        let path = format!("{}/providers/Microsoft.Authorization/roleAssignments/{name}", self.id());
        match arm.put(&path, AUTHORIZATION, &body).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("RoleAssignmentExists") => Ok(()),
            Err(error) => {
                let what = format!("the login may not write blobs in {}, and may not give itself a role", self.name);
                let failure = Failure::new(Kind::Preflight, anyhow::Error::from(error).context(what));
                Err(failure.hint(by_hand(&caller.id)).hint("then democtl setup again"))
            }
        }
    }
}

/// <https://learn.microsoft.com/rest/api/storagerp/storage-accounts/create>: no keys, no public blobs, TLS only.
fn account(location: &str, tags: &Value) -> Value {
    json!({
        "location": location, "tags": tags, "kind": "StorageV2", "sku": { "name": "Standard_LRS" },
        "properties": {
            "allowSharedKeyAccess": false, "allowBlobPublicAccess": false, "defaultToOAuthAuthentication": true,
            "minimumTlsVersion": "TLS1_2", "supportsHttpsTrafficOnly": true,
        },
    })
}

/// Versions and what was removed are kept for a while.
fn service() -> Value {
    let kept = json!({ "enabled": true, "days": KEPT_DAYS });
    json!({ "properties": {
        "isVersioningEnabled": true, "deleteRetentionPolicy": kept, "containerDeleteRetentionPolicy": kept,
    } })
}

/// A UUID of an account and who is let in: FNV-1a of 128 bits, <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn assignment_name(account: &str, principal: &str) -> String {
    let (basis, prime) = (0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, 0x0100_0000_0000_0000_0000_013b_u128);
    let text = format!("{account}/{principal}");
    let hash = text.bytes().fold(basis, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(prime));
    azure_core::Uuid::from_u128(hash).to_string()
}

#[cfg(test)]
mod tests {
    use democtl_core::{profile::Profile, render::azure::azure_names};

    use super::*;

    #[test]
    fn the_backend_names_an_account_that_azure_takes() {
        let profile = Profile::load_builtin("m3demo2", &[]).expect("built in").expect("valid");
        let placement = Placement {
            environment: "m3demo2",
            id: "01234567-89AB-4cde-8f01-23456789abcd",
            subscription: "s",
            expires_at: "2026-11-26T00:00:00Z",
        };
        let account = Account::of(&azure_names(&profile, "m3demo2"), &placement);
        assert!(account.name.len() <= 24 && account.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        insta::assert_snapshot!(account.backend(), @r#"
        # Written by democtl: the state lies in Azure.
        terraform {
          backend "azurerm" {
            use_azuread_auth     = true
            storage_account_name = "st0123456789ab4cde8f0123"
            container_name       = "tfstate"
            key                  = "democtl.tfstate"
          }
        }
        "#);
        let name = assignment_name(&account.name, "ann");
        assert_eq!(name, "b1399725-a785-d147-5a37-b156687ca6ee", "a second try is the same assignment");
        assert_ne!(name, assignment_name("st0123456789ab4cde8f0124", "ann"));
        assert_ne!(name, assignment_name(&account.name, "bob"));
    }
}
