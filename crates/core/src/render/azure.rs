//! A profile as the variables of the Terraform module in `terraform/`, and the names of what it makes.
//!
//! Owns every Azure name and tag; limits are those of
//! <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules>.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::profile::{PoolMode, Profile, SkuTier};

/// Tag that carries the environment's name: what has it, democtl made.
pub const ENVIRONMENT_TAG: &str = "democtl-environment";
/// Tag that carries the environment's id: names are chosen by people and may be chosen twice, an id is drawn.
pub const ID_TAG: &str = "democtl-id";
/// Tag that carries the time (RFC 3339) after which the environment may be removed.
pub const EXPIRES_TAG: &str = "expires-at";

/// Longest name of a cluster, and longest DNS prefix.
const CLUSTER_NAME_MAX: usize = 63;
const DNS_PREFIX_MAX: usize = 54;
/// Longest name of the resource group of the nodes.
const NODE_GROUP_MAX: usize = 80;

/// Where one environment lies in Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement<'a> {
    /// The environment's name.
    pub environment: &'a str,
    /// The environment's id, for the tag `democtl-id`; unlike its name nobody else's.
    pub id: &'a str,
    /// Subscription id.
    pub subscription: &'a str,
    /// RFC 3339, for the tag `expires-at`.
    pub expires_at: &'a str,
}

impl Placement<'_> {
    /// Whether tags say that this environment made what bears them: by name and by id.
    pub fn owns(&self, tags: &Value) -> bool {
        !self.id.is_empty() && tags[ENVIRONMENT_TAG] == self.environment && tags[ID_TAG] == self.id
    }
}

/// Names of an environment's resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Names {
    /// Resource group that holds everything.
    pub resource_group: String,
    /// Resource group of the nodes.
    pub node_resource_group: String,
    /// AKS cluster.
    pub cluster: String,
    /// Log Analytics workspace.
    pub workspace: String,
    /// Rule that says which logs are collected.
    pub data_collection_rule: String,
    /// DNS prefix of the API server.
    pub dns_prefix: String,
}

/// The names: `reliability-demo-<Environment>-<environment's name>`, which by default is the profile's name.
pub fn azure_names(profile: &Profile, environment: &str) -> Names {
    let base = format!("reliability-demo-{}-{environment}", profile.environment);
    let cluster = format!("aks-{base}");
    Names {
        node_resource_group: format!("{base}-nodes"),
        workspace: format!("log-{base}"),
        data_collection_rule: format!("dcr-{base}"),
        dns_prefix: cluster.chars().take(DNS_PREFIX_MAX).collect::<String>().trim_end_matches('-').to_owned(),
        resource_group: base,
        cluster,
    }
}

impl Names {
    /// What is too long for Azure, in words.
    pub fn too_long(&self) -> Option<String> {
        let name = |what: &str, text: &str, most: usize| {
            (text.len() > most).then(|| format!("{what} {text} has {} characters, Azure takes {most}", text.len()))
        };
        name("cluster", &self.cluster, CLUSTER_NAME_MAX)
            .or_else(|| name("workspace", &self.workspace, CLUSTER_NAME_MAX))
            .or_else(|| name("node resource group", &self.node_resource_group, NODE_GROUP_MAX))
    }
}

/// The module's variables, as the content of a `terraform.tfvars.json`.
pub fn tfvars(profile: &Profile, placement: &Placement<'_>) -> Value {
    let names = azure_names(profile, placement.environment);
    let mut tags = json!(profile.azure.tags);
    tags[ENVIRONMENT_TAG] = json!(placement.environment);
    tags[ID_TAG] = json!(placement.id);
    tags[EXPIRES_TAG] = json!(placement.expires_at);
    json!({
        "subscription_id": placement.subscription,
        "location": profile.azure.location,
        "resource_group": names.resource_group,
        "node_resource_group": names.node_resource_group,
        "cluster": {
            "name": names.cluster,
            "dns_prefix": names.dns_prefix,
            "sku_tier": match profile.azure.sku_tier { SkuTier::Free => "Free", SkuTier::Standard => "Standard" },
            "kubernetes_version": profile.azure.kubernetes_version,
        },
        "workspace": { "name": names.workspace, "retention_days": 30, "daily_quota_gb": 1 },
        "data_collection_rule": names.data_collection_rule,
        "pools": tfvars_pools(profile),
        "autoscaler": profile.autoscaler.as_ref().map(|settings| json!({
            "scan_interval": seconds(settings.scan_interval),
            "scale_down_delay_after_add": minutes(settings.scale_down_delay_after_add),
            "scale_down_unneeded": minutes(settings.scale_down_unneeded_time),
            "scale_down_utilization_threshold": settings.scale_down_utilization_threshold,
            "expander": settings.expander,
            "max_node_provisioning_time": minutes(settings.max_node_provision_time),
        })),
        "authorized_ip_ranges": profile.azure.authorized_ip_ranges,
        "tags": tags,
    })
}

/// The pools as the module takes them. AKS's own pool comes first: the first untainted system pool.
pub fn tfvars_pools(profile: &Profile) -> Vec<Value> {
    let mut pools: Vec<_> = profile.pools.iter().collect();
    let own = |pool: &&crate::profile::Pool| pool.mode == PoolMode::System && pool.taints.is_empty();
    if let Some(first) = pools.iter().position(own) {
        pools[..=first].rotate_right(1);
    }
    pools
        .into_iter()
        .map(|pool| {
            json!({
                "name": pool.name,
                "vm_size": pool.vm_size.name,
                "mode": if pool.mode == PoolMode::System { "System" } else { "User" },
                "count": pool.count,
                "min": pool.min,
                "max": pool.max,
                "autoscaled": pool.autoscaled,
                "zones": pool.zones,
                "max_pods": pool.max_pods,
                "labels": pool.labels,
                "taints": pool.taints.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect()
}

/// AKS takes the scan interval in seconds only.
fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs().max(1))
}

/// AKS takes the other times in whole minutes only.
fn minutes(duration: Duration) -> String {
    format!("{}m", duration.as_secs().div_ceil(60).max(1))
}
