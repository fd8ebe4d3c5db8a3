//! What the services fill in where a request is silent: clients read it back.
//!
//! <https://learn.microsoft.com/rest/api/aks/managed-clusters/get?view=rest-aks-2025-10-01>

use serde_json::{Map, Value, json};

use crate::{
    clusters::parent,
    world::{World, kind_of},
};

/// Who the agent of an add-on or the nodes are, when AKS makes their identities.
const AGENT: &str = "00000000-0000-4000-8000-0000000000c1";

impl World {
    /// Adds to `body` what the service says of a resource beyond what was asked for.
    pub(crate) fn decorate(&self, id: &str, body: &mut Value) {
        match kind_of(id).as_str() {
            "microsoft.containerservice/managedclusters" => self.decorate_cluster(id, body),
            "microsoft.containerservice/managedclusters/agentpools" => {
                let cluster =
                    self.body(parent(id)).map(|cluster| cluster["properties"]["currentKubernetesVersion"].clone());
                let version = self.version(&cluster.unwrap_or_default());
                fill(&mut body["properties"], &pool(&version));
            }
            "microsoft.operationalinsights/workspaces" => fill(&mut body["properties"], &workspace()),
            "microsoft.insights/datacollectionrules" => {
                let id = "dcr-00000000000000000000000000000001";
                fill(&mut body["properties"], &json!({ "immutableId": id }));
            }
            _ => {}
        }
    }

    fn decorate_cluster(&self, id: &str, body: &mut Value) {
        let name = id.rsplit('/').next().unwrap_or_default();
        let group = id.split('/').nth(4).unwrap_or_default();
        let location = &self.facts.location;
        let version = self.version(&body["properties"]["kubernetesVersion"]);
        let principal = json!({ "principalId": AGENT, "tenantId": self.facts.tenant });
        fill(&mut body["identity"], &principal);
        let properties = &mut body["properties"];
        fill(
            properties,
            &json!({
                "kubernetesVersion": version, "currentKubernetesVersion": version,
                "nodeResourceGroup": format!("MC_{group}_{name}_{location}"),
                "fqdn": format!("{name}-dns.hcp.{location}.azmk8s.io"), "enableRBAC": true, "supportPlan": "KubernetesOfficial",
            }),
        );
        properties["powerState"] = json!({ "code": "Running" });
        let nodes = properties["nodeResourceGroup"].as_str().unwrap_or_default();
        let subscription = &self.facts.subscription;
        let identities = format!(
            "/subscriptions/{subscription}/resourceGroups/{nodes}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
        );
        let address = format!(
            "/subscriptions/{subscription}/resourceGroups/{nodes}/providers/Microsoft.Network/publicIPAddresses/egress"
        );
        fill(
            &mut properties["identityProfile"],
            &json!({
                "kubeletidentity": identity(&format!("{identities}/{name}-agentpool")),
            }),
        );
        fill(
            &mut properties["networkProfile"],
            &json!({
                "networkPlugin": "azure", "networkDataplane": "azure", "networkPolicy": "none", "loadBalancerSku": "standard",
                "podCidr": "10.244.0.0/16", "podCidrs": ["10.244.0.0/16"], "serviceCidr": "10.0.0.0/16",
                "serviceCidrs": ["10.0.0.0/16"], "dnsServiceIP": "10.0.0.10", "outboundType": "loadBalancer",
                "ipFamilies": ["IPv4"],
                "loadBalancerProfile": {
                    "managedOutboundIPs": { "count": 1 }, "effectiveOutboundIPs": [{ "id": address }],
                    "backendPoolType": "nodeIPConfiguration",
                },
            }),
        );
        if properties["oidcIssuerProfile"]["enabled"] == true {
            let issuer = format!("https://{location}.oic.prod-aks.azure.com/{}/{AGENT}/", self.facts.tenant);
            fill(&mut properties["oidcIssuerProfile"], &json!({ "issuerURL": issuer }));
        }
        if properties["addonProfiles"]["omsagent"]["enabled"] == true {
            let agent = identity(&format!("{identities}/omsagent-{name}"));
            fill(&mut properties["addonProfiles"]["omsagent"], &json!({ "identity": agent }));
        }
        let pools = properties["agentPoolProfiles"].as_array_mut();
        let mut scaled = false;
        for profile in pools.into_iter().flatten() {
            fill(profile, &pool(&version));
            scaled |= profile["enableAutoScaling"] == true;
        }
        if scaled {
            fill(&mut properties["autoScalerProfile"], &autoscaler());
        }
    }

    /// The version that a cluster gets: the newest patch of what was asked for, or of the default.
    fn version(&self, asked: &Value) -> String {
        let asked = asked.as_str().unwrap_or_default();
        let minor = self.facts.versions.iter().find(|v| if asked.is_empty() { v.default } else { v.minor == asked });
        minor.and_then(|version| version.patches.last()).map_or_else(|| asked.to_owned(), Clone::clone)
    }
}

fn identity(resource: &str) -> Value {
    json!({ "resourceId": resource, "clientId": AGENT, "objectId": AGENT })
}

fn pool(version: &str) -> Value {
    json!({
        "orchestratorVersion": version, "currentOrchestratorVersion": version, "osDiskSizeGB": 128,
        "osDiskType": "Managed", "osType": "Linux", "osSKU": "Ubuntu", "kubeletDiskType": "OS", "maxPods": 110,
        "type": "VirtualMachineScaleSets", "mode": "User", "enableAutoScaling": false, "scaleDownMode": "Delete",
        "powerState": { "code": "Running" }, "nodeImageVersion": "AKSUbuntu-2204gen2containerd-202601.01.0",
        "upgradeSettings": { "maxSurge": "10%" },
    })
}

fn workspace() -> Value {
    json!({
        "customerId": "00000000-0000-4000-8000-0000000000b1", "retentionInDays": 30,
        "sku": { "name": "PerGB2018", "lastSkuUpdate": "2026-01-01T00:00:00Z" },
        "features": { "enableLogAccessUsingOnlyResourcePermissions": true },
        "publicNetworkAccessForIngestion": "Enabled", "publicNetworkAccessForQuery": "Enabled",
        "workspaceCapping": { "dailyQuotaGb": -1.0, "dataIngestionStatus": "RespectQuota" },
    })
}

/// <https://learn.microsoft.com/azure/aks/cluster-autoscaler#cluster-autoscaler-profile-settings>
fn autoscaler() -> Value {
    json!({
        "balance-similar-node-groups": "false", "daemonset-eviction-for-empty-nodes": false,
        "daemonset-eviction-for-occupied-nodes": true, "expander": "random", "ignore-daemonsets-utilization": false,
        "max-empty-bulk-delete": "10", "max-graceful-termination-sec": "600", "max-node-provision-time": "15m",
        "max-total-unready-percentage": "45", "new-pod-scale-up-delay": "0s", "ok-total-unready-count": "3",
        "scale-down-delay-after-add": "10m", "scale-down-delay-after-delete": "10s",
        "scale-down-delay-after-failure": "3m", "scale-down-unneeded-time": "10m", "scale-down-unready-time": "20m",
        "scale-down-utilization-threshold": "0.5", "scan-interval": "10s", "skip-nodes-with-local-storage": "false",
        "skip-nodes-with-system-pods": "true",
    })
}

/// Adds what is missing or null, at every depth of objects; what was asked for stays.
fn fill(into: &mut Value, from: &Value) {
    if into.is_null() {
        *into = Value::Object(Map::new());
    }
    for (name, value) in from.as_object().into_iter().flatten() {
        match &mut into[name] {
            known @ Value::Object(_) if value.is_object() => fill(known, value),
            known @ Value::Null => *known = value.clone(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fill;

    #[test]
    fn what_was_asked_for_stays() {
        let mut body = json!({ "a": { "b": 1 }, "c": null, "d": [1] });
        fill(&mut body, &json!({ "a": { "b": 2, "e": 3 }, "c": { "f": 4 }, "d": [5], "g": false }));
        assert_eq!(body, json!({ "a": { "b": 1, "e": 3 }, "c": { "f": 4 }, "d": [1], "g": false }));
    }
}
