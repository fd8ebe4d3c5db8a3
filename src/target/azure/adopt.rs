//! Resources that are ours and there, and that no state knows: an apply that was killed made them.
//!
//! Terraform would refuse to make them a second time ("already exists ... needs to be imported"), so it is told to take
//! them over: <https://developer.hashicorp.com/terraform/language/import>.

use std::fmt::Write as _;

use democtl_core::{
    profile::Profile,
    render::azure::{Placement, azure_names, tfvars_pools},
};
use serde_json::Value;

use super::arm::{Arm, ArmError, CONTAINER_SERVICE, RESOURCES};

const WORKSPACES: &str = "2023-09-01";
const INSIGHTS: &str = "2023-03-11";

/// A resource of the built-in module: its address, ARM's id, and the API version to ask with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Terraform's address.
    pub address: String,
    /// ARM's id.
    pub id: String,
    version: &'static str,
}

/// Everything that the built-in module makes, outermost first.
pub fn candidates(subscription: &str, profile: &Profile, environment: &str) -> Vec<Candidate> {
    let names = azure_names(profile, environment);
    let group = format!("/subscriptions/{subscription}/resourceGroups/{}", names.resource_group);
    let cluster = format!("{group}/providers/Microsoft.ContainerService/managedClusters/{}", names.cluster);
    let workspace = format!("{group}/providers/Microsoft.OperationalInsights/workspaces/{}", names.workspace);
    let rule = format!("{group}/providers/Microsoft.Insights/dataCollectionRules/{}", names.data_collection_rule);
    // The name that the agent looks for, as in `terraform/monitoring.tf`.
    let association =
        format!("{cluster}/providers/Microsoft.Insights/dataCollectionRuleAssociations/ContainerInsightsExtension");
    let one = |address: &str, id: &str, version| Candidate { address: address.to_owned(), id: id.to_owned(), version };
    let mut all = vec![
        one("azurerm_resource_group.this", &group, RESOURCES),
        one("azurerm_log_analytics_workspace.this", &workspace, WORKSPACES),
        one("azurerm_monitor_data_collection_rule.this", &rule, INSIGHTS),
        one("azurerm_kubernetes_cluster.this", &cluster, CONTAINER_SERVICE),
        one("azurerm_monitor_data_collection_rule_association.this", &association, INSIGHTS),
    ];
    // The first pool is the cluster's own.
    for pool in tfvars_pools(profile).iter().skip(1).filter_map(|pool| pool["name"].as_str().map(str::to_owned)) {
        let address = format!("azurerm_kubernetes_cluster_node_pool.this[\"{pool}\"]");
        all.push(one(&address, &format!("{cluster}/agentPools/{pool}"), CONTAINER_SERVICE));
    }
    all
}

/// Waits until ARM is done with each of them: a Terraform that was killed may have begun what still goes on, and of a
/// cluster in the making no provider can read the credentials.
pub async fn wait_until_settled(
    arm: &Arm,
    candidates: &[Candidate],
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), ArmError> {
    for Candidate { address, id, version } in candidates {
        let tell = |state: &str| progress(&format!("  {address}: Azure says {state}; it is waited for"));
        arm.settled(id, version, &tell).await?;
    }
    Ok(())
}

/// Which of them are there, in a group of ours, and in no state.
pub async fn strays(
    arm: &Arm,
    candidates: &[Candidate],
    placement: &Placement<'_>,
    state: Option<&Value>,
) -> Result<Vec<Candidate>, ArmError> {
    let Some(outermost) = candidates.first() else { return Ok(Vec::new()) };
    match arm.get(&outermost.id, outermost.version).await? {
        Some(group) if placement.owns(&group["tags"]) => {}
        _ => return Ok(Vec::new()),
    }
    let mut strays = Vec::new();
    for candidate in candidates {
        if !knows(state, &candidate.address) && arm.get(&candidate.id, candidate.version).await?.is_some() {
            strays.push(candidate.clone());
        }
    }
    Ok(strays)
}

/// Which of them a state holds as tainted though ARM has them whole, or will: a Terraform that was asked to stop while ARM
/// was at work marks what it did not see end. Left so, the next apply would remove and make it again.
pub async fn tainted_in_vain(
    arm: &Arm,
    candidates: &[Candidate],
    state: Option<&Value>,
) -> Result<Vec<String>, ArmError> {
    let mut whole = Vec::new();
    for candidate in candidates.iter().filter(|candidate| tainted(state, &candidate.address)) {
        let Some(found) = arm.get(&candidate.id, candidate.version).await? else { continue };
        let standing = found["properties"]["provisioningState"].as_str().unwrap_or_default();
        if !matches!(standing, "Failed" | "Canceled" | "Deleting") {
            whole.push(candidate.address.clone());
        }
    }
    Ok(whole)
}

/// Whether a state (version 4) has a resource of that address.
fn knows(state: Option<&Value>, address: &str) -> bool {
    instance(state, address).is_some()
}

fn tainted(state: Option<&Value>, address: &str) -> bool {
    instance(state, address).is_some_and(|instance| instance["status"] == "tainted")
}

/// The instance of an address in a state.
fn instance<'a>(state: Option<&'a Value>, address: &str) -> Option<&'a Value> {
    let resources = state.and_then(|state| state["resources"].as_array()).into_iter().flatten();
    resources.filter(|resource| resource["mode"] == "managed").find_map(|resource| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = format!("{}.{}", text(&resource["type"]), text(&resource["name"]));
        resource["instances"].as_array().into_iter().flatten().find(|instance| match instance["index_key"].as_str() {
            Some(key) => address == format!("{name}[\"{key}\"]"),
            None => address == name,
        })
    })
}

/// The import blocks.
pub fn import_blocks(strays: &[Candidate]) -> String {
    let mut text = String::from("# Written by democtl: what an apply that was killed has made.\n");
    for stray in strays {
        let _ = write!(text, "\nimport {{\n  to = {}\n  id = \"{}\"\n}}\n", stray.address, stray.id);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_knows_what_it_holds() {
        let state = json!({ "version": 4, "resources": [
            { "mode": "managed", "type": "azurerm_resource_group", "name": "this", "instances": [{ "attributes": {} }] },
            { "mode": "data", "type": "azurerm_kubernetes_cluster", "name": "this", "instances": [{}] },
            { "mode": "managed", "type": "azurerm_kubernetes_cluster_node_pool", "name": "this",
              "instances": [{ "index_key": "apps" }] },
        ] });
        for (address, known) in [
            ("azurerm_resource_group.this", true),
            ("azurerm_kubernetes_cluster.this", false),
            ("azurerm_kubernetes_cluster_node_pool.this[\"apps\"]", true),
            ("azurerm_kubernetes_cluster_node_pool.this[\"data\"]", false),
        ] {
            assert_eq!(knows(Some(&state), address), known, "{address}");
            assert!(!knows(None, address));
            assert!(!tainted(Some(&state), address));
        }
    }
}
