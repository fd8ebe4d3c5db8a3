//! What of an environment is still there, by tag, by name and by what holds its nodes; and the way to make it go.
//!
//! Terraform removes what its state knows; this looks for everything else: load balancers, addresses and disks in
//! the node resource group, a half-made cluster that no state has.

use democtl_core::{
    cost::Prices,
    profile::Profile,
    render::azure::{ENVIRONMENT_TAG, ID_TAG, Names, Placement, azure_names},
};
use serde::Serialize;
use serde_json::Value;

use super::arm::{Arm, ArmError, RESOURCES, WORKSPACES};

const WORKSPACE: &str = "Microsoft.OperationalInsights/workspaces";

/// Hours of a month, as everywhere.
use democtl_core::catalog::HOURS_PER_MONTH;

/// Something that is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// ARM's id.
    pub id: String,
    /// ARM's type.
    pub kind: String,
    /// Dollars a month; none: not known.
    pub usd_per_month: Option<f64>,
    /// Whether it is ours beyond doubt: by its tags' name and id, or because our cluster manages it.
    pub ours: bool,
}

impl Found {
    /// The last part of its id.
    pub fn name(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or_default()
    }
}

/// Looks for everything that belongs to the environment of `placement`, or bears its names.
pub async fn scan(arm: &Arm, profile: &Profile, placement: &Placement<'_>) -> Result<Vec<Found>, ArmError> {
    let names = azure_names(profile, placement.environment);
    look(arm, Some(&names), placement, &profile.prices).await
}

/// The same of an environment that is known by its tags only: another machine made it.
pub async fn scan_by_tags(arm: &Arm, placement: &Placement<'_>) -> Result<Vec<Found>, ArmError> {
    look(arm, None, placement, &Prices::committed()).await
}

async fn look(
    arm: &Arm,
    names: Option<&Names>,
    placement: &Placement<'_>,
    prices: &Prices,
) -> Result<Vec<Found>, ArmError> {
    let base = format!("/subscriptions/{}", placement.subscription);
    let mut found: Vec<Found> = Vec::new();
    let mut add = |item: &Value, ours: bool| {
        let id = item["id"].as_str().unwrap_or_default();
        if !id.is_empty() && !found.iter().any(|known| known.id.eq_ignore_ascii_case(id)) {
            let kind = item["type"].as_str().unwrap_or("unknown").to_owned();
            let usd_per_month = monthly(&kind, item, prices);
            found.push(Found { id: id.to_owned(), kind, usd_per_month, ours });
        }
    };
    let groups = arm.list(&format!("{base}/resourcegroups"), RESOURCES, &[]).await?;
    let own = owned(&groups, names, placement);
    let is_ours = |group: &Value| {
        let tags = &group["tags"];
        placement.owns(tags) || (tags[ID_TAG].is_null() && own.iter().any(|name| managed(group, name)))
    };
    let concerns = |group: &Value| names.is_some_and(|names| concerns(group, names));
    for group in groups.iter().filter(|group| concerns(group) || is_ours(group)) {
        let ours = is_ours(group);
        add(group, ours);
        let name = group["name"].as_str().unwrap_or_default();
        for item in arm.list(&format!("{base}/resourceGroups/{name}/resources"), RESOURCES, &[]).await? {
            add(&item, ours);
        }
    }
    let filter = format!("tagName eq '{ENVIRONMENT_TAG}' and tagValue eq '{}'", placement.environment);
    for item in arm.list(&format!("{base}/resources"), RESOURCES, &[("$filter", &filter)]).await? {
        if placement.owns(&item["tags"]) {
            add(&item, true);
        }
    }
    Ok(found)
}

/// Names of the groups whose clusters are ours: those with our tags, and the one of our name unless it is somebody else's
/// (it may be gone already, and its nodes' group be left).
fn owned<'a>(groups: &'a [Value], names: Option<&'a Names>, placement: &Placement<'_>) -> Vec<&'a str> {
    let owns = |group: &&Value| placement.owns(&group["tags"]);
    let mut own: Vec<&str> = groups.iter().filter(owns).filter_map(|group| group["name"].as_str()).collect();
    if let Some(names) = names {
        let of_others = groups.iter().any(|group| named(group, &names.resource_group) && !owns(&group));
        if !of_others {
            own.push(&names.resource_group);
        }
    }
    own
}

fn named(group: &Value, name: &str) -> bool {
    group["name"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name))
}

fn concerns(group: &Value, names: &Names) -> bool {
    [&names.resource_group, &names.node_resource_group, &names.state_group()].into_iter().any(|name| named(group, name))
}

/// Whether a cluster in the resource group `own` manages it.
fn managed(group: &Value, own: &str) -> bool {
    let cluster = format!("/resourcegroups/{}/", own.to_lowercase());
    group["managedBy"].as_str().is_some_and(|by| by.to_lowercase().contains(&cluster))
}

/// The groups of a scan that are ours, in the order in which they go: first the one with the cluster, with which
/// that of the nodes goes; the group of the state, which tells what was made, last. Theirs is the first one's name with
/// an ending.
pub fn groups(found: &[Found]) -> Vec<&Found> {
    let of_ours = |item: &&Found| item.ours && item.kind.eq_ignore_ascii_case("Microsoft.Resources/resourceGroups");
    let mut groups: Vec<&Found> = found.iter().filter(of_ours).collect();
    groups.sort_by_key(|group| (group.name().len(), group.name()));
    groups
}

/// Removes every resource group of ours. A group that only bears our name is left alone.
pub async fn remove(arm: &Arm, found: &[Found], progress: &(dyn Fn(&str) + Send + Sync)) -> Result<(), ArmError> {
    // One that goes with its group is kept by Azure for two weeks, with its logs:
    // <https://learn.microsoft.com/azure/azure-monitor/logs/delete-workspace>.
    for item in found.iter().filter(|item| item.ours && item.kind.eq_ignore_ascii_case(WORKSPACE)) {
        progress(&format!("  removing {} for good", item.id));
        arm.delete_with(&item.id, WORKSPACES, &[("force", "true")]).await?;
    }
    for group in groups(found) {
        progress(&format!("  removing {} through ARM", group.id));
        arm.delete(&group.id, RESOURCES).await?;
    }
    Ok(())
}

/// Workspaces of a group that were removed and that Azure still keeps, in words. They cost nothing.
pub async fn kept_workspaces(arm: &Arm, subscription: &str, group: &str) -> Result<Vec<String>, ArmError> {
    let path = format!("/subscriptions/{subscription}/providers/Microsoft.OperationalInsights/deletedWorkspaces");
    let within = format!("/resourcegroups/{}/", group.to_lowercase());
    let kept = arm.list(&path, WORKSPACES, &[]).await?;
    let ours = |workspace: &&Value| workspace["id"].as_str().is_some_and(|id| id.to_lowercase().contains(&within));
    let line = |workspace: &Value| {
        let id = workspace["id"].as_str().unwrap_or_default();
        format!(
            "Azure keeps {id} for 14 days after its removal, at no cost; a workspace of that name comes back with its logs"
        )
    };
    Ok(kept.iter().filter(ours).map(line).collect())
}

fn monthly(kind: &str, item: &Value, prices: &Prices) -> Option<f64> {
    let hourly = match kind.to_lowercase().as_str() {
        "microsoft.compute/virtualmachinescalesets" => {
            let each = prices.vm.get(item["sku"]["name"].as_str()?)? + prices.os_disk;
            each * item["sku"]["capacity"].as_f64()?
        }
        "microsoft.containerservice/managedclusters" if item["sku"]["tier"] == "Standard" => prices.control_plane,
        "microsoft.containerservice/managedclusters" | "microsoft.resources/resourcegroups" => 0.0,
        "microsoft.network/loadbalancers" => prices.load_balancer,
        "microsoft.network/publicipaddresses" => prices.public_ip,
        _ => return None,
    };
    Some(hourly * HOURS_PER_MONTH)
}

/// One line for people.
pub fn line(found: &Found) -> String {
    let cost = found.usd_per_month.map_or_else(|| "cost not known".to_owned(), |usd| format!("${usd:.2} a month"));
    let why = if found.ours { "" } else { ", only its name is ours: it was left alone" };
    format!("{} ({cost}{why})", found.id)
}
