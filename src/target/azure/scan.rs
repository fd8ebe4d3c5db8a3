//! What of an environment is still there, by tag, by name and by what holds its nodes; and the way to make it go.
//!
//! Terraform removes what its state knows; this looks for everything else (`facts`: load balancers, addresses, disks in
//! the node resource group, a half-made cluster that no state has).

use democtl_core::{
    cost::Prices,
    profile::Profile,
    render::azure::{ENVIRONMENT_TAG, ID_TAG, Names, Placement, azure_names},
};
use serde::Serialize;
use serde_json::Value;

use super::arm::{Arm, ArmError, RESOURCES};

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

/// Looks for everything that belongs to the environment of `placement`, or bears its names.
pub async fn scan(arm: &Arm, profile: &Profile, placement: &Placement<'_>) -> Result<Vec<Found>, ArmError> {
    let environment = placement.environment;
    let names = azure_names(profile, environment);
    let base = format!("/subscriptions/{}", placement.subscription);
    let mut found: Vec<Found> = Vec::new();
    let mut add = |item: &Value, ours: bool| {
        let id = item["id"].as_str().unwrap_or_default();
        if !id.is_empty() && !found.iter().any(|known| known.id.eq_ignore_ascii_case(id)) {
            let kind = item["type"].as_str().unwrap_or("unknown").to_owned();
            let usd_per_month = monthly(&kind, item, &profile.prices);
            found.push(Found { id: id.to_owned(), kind, usd_per_month, ours });
        }
    };
    let groups = arm.list(&format!("{base}/resourcegroups"), RESOURCES, &[]).await?;
    // The cluster that manages a group is ours unless the group that it lies in is somebody else's.
    let of_others = groups.iter().any(|group| named(group, &names.resource_group) && !placement.owns(&group["tags"]));
    let is_ours = |group: &Value| {
        let tags = &group["tags"];
        placement.owns(tags) || (managed(group, &names) && tags[ID_TAG].is_null() && !of_others)
    };
    for group in groups.iter().filter(|group| concerns(group, &names) || is_ours(group)) {
        let ours = is_ours(group);
        add(group, ours);
        let name = group["name"].as_str().unwrap_or_default();
        for item in arm.list(&format!("{base}/resourceGroups/{name}/resources"), RESOURCES, &[]).await? {
            add(&item, ours);
        }
    }
    let filter = format!("tagName eq '{ENVIRONMENT_TAG}' and tagValue eq '{environment}'");
    for item in arm.list(&format!("{base}/resources"), RESOURCES, &[("$filter", &filter)]).await? {
        if placement.owns(&item["tags"]) {
            add(&item, true);
        }
    }
    Ok(found)
}

fn named(group: &Value, name: &str) -> bool {
    group["name"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name))
}

fn concerns(group: &Value, names: &Names) -> bool {
    named(group, &names.resource_group) || named(group, &names.node_resource_group)
}

/// Whether a cluster in the resource group of our name manages it.
fn managed(group: &Value, names: &Names) -> bool {
    let cluster = format!("/resourcegroups/{}/", names.resource_group.to_lowercase());
    group["managedBy"].as_str().is_some_and(|by| by.to_lowercase().contains(&cluster))
}

/// Removes every resource group of ours, the one with the cluster first: the nodes' group goes with it. A group that
/// only bears our name is left alone.
pub async fn remove(arm: &Arm, found: &[Found], progress: &(dyn Fn(&str) + Send + Sync)) -> Result<(), ArmError> {
    let groups =
        found.iter().filter(|item| item.ours && item.kind.eq_ignore_ascii_case("Microsoft.Resources/resourceGroups"));
    let (nodes, own): (Vec<_>, Vec<_>) = groups.partition(|group| group.id.to_lowercase().ends_with("-nodes"));
    for group in own.into_iter().chain(nodes) {
        progress(&format!("  removing {} through ARM", group.id));
        arm.delete(&group.id, RESOURCES).await?;
    }
    Ok(())
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
