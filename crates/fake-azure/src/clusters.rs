//! Managed clusters and agent pools: validation of the fields that democtl sends, quota, node resource groups.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    operations::Told,
    wire::Answer,
    wire::Request,
    world::{Resource, World, kind_of, moment},
};

type Accepted = Result<Told, Answer>;

fn refuse(code: &str, message: impl Into<String>) -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, code, message)
}

impl World {
    pub(crate) fn put_cluster(&mut self, request: &Request, id: &str) -> Accepted {
        let body = &request.body;
        let properties = &body["properties"];
        if body["location"].as_str() != Some(&self.facts.location) {
            return Err(refuse("LocationNotAvailableForResourceType", "The provided location is not available."));
        }
        if body["identity"]["type"].as_str().is_none() {
            return Err(refuse(
                "InvalidParameter",
                "Required parameter identity or servicePrincipalProfile is missing.",
            ));
        }
        let version = properties["kubernetesVersion"].as_str().unwrap_or_default();
        let known = version.is_empty()
            || self.facts.versions.iter().any(|v| v.minor == version || v.patches.iter().any(|patch| patch == version));
        if !known {
            return Err(refuse(
                "AgentPoolK8sVersionNotSupported",
                format!("Version {version} is not supported in this region."),
            ));
        }
        let none = Vec::new();
        let pools = properties["agentPoolProfiles"].as_array().unwrap_or(&none);
        let system = |pool: &&Value| pool["mode"] == "System" && count(pool) > 0;
        if !pools.iter().any(|pool| system(&pool)) && !self.resources.contains_key(&id.to_lowercase()) {
            return Err(refuse("InvalidParameter", "There has to be at least one system agent pool."));
        }
        for pool in pools {
            self.check_pool(pool)?;
        }
        let needed: Vec<(String, u32)> = pools.iter().map(|pool| (vm_size(pool).to_owned(), count(pool))).collect();
        self.check_quota(&needed)?;
        Ok(Told::AsyncOperation)
    }

    pub(crate) fn put_pool(&mut self, request: &Request, id: &str) -> Accepted {
        let cluster = parent(id);
        if !self.resources.contains_key(&cluster.to_lowercase()) {
            return Err(Answer::not_found(cluster));
        }
        if self.busy(&cluster.to_lowercase()) {
            return Err(crate::resources::in_progress(cluster));
        }
        let pool = &request.body["properties"];
        self.check_pool(pool)?;
        if !self.resources.contains_key(&id.to_lowercase()) {
            self.check_quota(&[(vm_size(pool).to_owned(), count(pool))])?;
        }
        Ok(Told::AsyncOperation)
    }

    fn check_pool(&self, pool: &Value) -> Result<(), Answer> {
        let size = vm_size(pool);
        let Some(sku) = self.facts.sku(size) else {
            return Err(refuse(
                "VMSizeNotSupported",
                format!("The VM size of {size} is not allowed in your subscription."),
            ));
        };
        for zone in pool["availabilityZones"].as_array().unwrap_or(&Vec::new()) {
            let zone = zone.as_str().unwrap_or_default();
            let sold = sku.zones.iter().any(|known| known == zone);
            if !sold || sku.restricted_zones.iter().any(|known| known == zone) || sku.restricted.is_some() {
                let message = format!("The VM size {size} is not available in zone {zone}.");
                return Err(refuse("AvailabilityZoneNotSupported", message));
            }
        }
        let bounds = (pool["minCount"].as_u64(), pool["maxCount"].as_u64());
        match (pool["enableAutoScaling"].as_bool().unwrap_or(false), bounds) {
            (true, (Some(min), Some(max))) if min <= max => Ok(()),
            (false, (None, None)) => Ok(()),
            _ => Err(refuse("InvalidParameter", "minCount and maxCount go with enableAutoScaling, and min <= max.")),
        }
    }

    fn check_quota(&self, needed: &[(String, u32)]) -> Result<(), Answer> {
        for usage in &self.facts.usages {
            let belongs =
                |size: &str| self.facts.sku(size).filter(|sku| usage.name == "cores" || sku.family == usage.name);
            let more: u32 = needed.iter().filter_map(|(size, count)| Some(belongs(size)?.vcpus * count)).sum();
            let used = usage.used + self.vcpus_in_use(&usage.name);
            if more > 0 && used + more > usage.limit {
                let message = format!(
                    "Insufficient vcpu quota requested {more}, remaining {} for family {} for region {}.",
                    usage.limit.saturating_sub(used),
                    usage.name,
                    self.facts.location
                );
                return Err(refuse("ErrCode_InsufficientVCPUQuota", message));
            }
        }
        Ok(())
    }

    /// Virtual CPUs of this world's scale sets in a family, or in all (`cores`).
    pub(crate) fn vcpus_in_use(&self, family: &str) -> u32 {
        self.resources
            .values()
            .filter(|resource| kind_of(&resource.id) == "microsoft.compute/virtualmachinescalesets")
            .filter_map(|set| {
                let sku = self.facts.sku(set.body["sku"]["name"].as_str()?)?;
                let counts = family == "cores" || sku.family == family;
                counts.then(|| sku.vcpus * set.body["sku"]["capacity"].as_u64().unwrap_or(0) as u32)
            })
            .sum()
    }

    /// Making has ended: node resource group, scale sets, load balancer and address are there.
    pub(crate) fn made(&mut self, key: &str) {
        self.set_state(key, "Succeeded");
        let Some(resource) = self.resources.get(key).cloned() else { return };
        match kind_of(key).as_str() {
            "microsoft.containerservice/managedclusters" => self.cluster_made(&resource),
            "microsoft.containerservice/managedclusters/agentpools" => {
                let group = self.node_group(parent(&resource.id));
                self.scale_set(&group, &resource.body["name"], &resource.body["properties"]);
                self.tell_cluster(&resource.id, Some(&resource.body));
            }
            _ => {}
        }
    }

    fn cluster_made(&mut self, cluster: &Resource) {
        let group = self.node_group(&cluster.id);
        let tags = cluster.body["tags"].clone();
        let name = group.rsplit('/').next().unwrap_or_default().to_owned();
        self.plant(&group, json!({
            "id": group, "name": name, "type": "Microsoft.Resources/resourceGroups", "location": self.facts.location,
            "managedBy": cluster.id, "tags": tags, "properties": { "provisioningState": "Succeeded" },
        }));
        for (kind, name) in [("loadBalancers", "kubernetes"), ("publicIPAddresses", "egress")] {
            let id = format!("{group}/providers/Microsoft.Network/{kind}/{name}");
            let body = json!({
                "id": id, "name": name, "type": format!("Microsoft.Network/{kind}"), "location": self.facts.location,
                "tags": tags, "properties": { "provisioningState": "Succeeded" },
            });
            self.plant(&id, body);
        }
        let pools = cluster.body["properties"]["agentPoolProfiles"].as_array().cloned().unwrap_or_default();
        for pool in pools {
            self.scale_set(&group, &pool["name"], &pool);
            let id = format!("{}/agentPools/{}", cluster.id, pool["name"].as_str().unwrap_or_default());
            let mut properties = pool.clone();
            properties["provisioningState"] = json!("Succeeded");
            self.plant(
                &id,
                json!({
                    "id": id, "name": pool["name"], "type": "Microsoft.ContainerService/managedClusters/agentPools",
                    "properties": properties,
                }),
            );
        }
        self.clusters.made(&cluster.id, &cluster.body);
    }

    fn scale_set(&mut self, group: &str, name: &Value, pool: &Value) {
        let name = name.as_str().unwrap_or_default();
        let id = format!("{group}/providers/Microsoft.Compute/virtualMachineScaleSets/aks-{name}-vmss");
        let body = json!({
            "id": id, "name": format!("aks-{name}-vmss"), "type": "Microsoft.Compute/virtualMachineScaleSets",
            "location": self.facts.location, "sku": { "name": vm_size(pool), "capacity": count(pool) },
            "tags": { "aks-managed-poolName": name },
            "properties": { "provisioningState": "Succeeded", "timeCreated": moment(self.now).to_rfc3339() },
        });
        self.plant(&id, body);
    }

    pub(crate) fn node_group(&self, cluster: &str) -> String {
        let body = self.body(cluster);
        let name = body.and_then(|body| body["properties"]["nodeResourceGroup"].as_str()).unwrap_or("MC");
        format!("/subscriptions/{}/resourceGroups/{name}", self.facts.subscription)
    }

    /// A cluster is gone: its node resource group goes with it.
    pub(crate) fn cluster_removed(&mut self, cluster: &Resource) {
        let name = cluster.body["properties"]["nodeResourceGroup"].as_str().unwrap_or("MC");
        let group = self.group_id(name);
        self.clusters.removed(&cluster.id);
        self.removed(&group);
    }

    /// A cluster's own body lists its pools.
    fn tell_cluster(&mut self, pool: &str, body: Option<&Value>) {
        let name = pool.rsplit('/').next().unwrap_or_default();
        let Some(cluster) = self.resources.get_mut(&parent(pool).to_lowercase()) else { return };
        let Some(pools) = cluster.body["properties"]["agentPoolProfiles"].as_array_mut() else { return };
        let at = pools.iter().position(|known| known["name"].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)));
        let profile = body.map(|body| {
            let mut profile = body["properties"].clone();
            profile["name"] = body["name"].clone();
            profile
        });
        match (at, profile) {
            (Some(at), Some(profile)) => pools[at] = profile,
            (None, Some(profile)) => pools.push(profile),
            (Some(at), None) => drop(pools.remove(at)),
            (None, None) => {}
        }
    }

    pub(crate) fn pool_removed(&mut self, key: &str) {
        self.tell_cluster(key, None);
        let name = key.rsplit('/').next().unwrap_or_default();
        let group = self.node_group(parent(key)).to_lowercase();
        self.resources.remove(&format!("{group}/providers/microsoft.compute/virtualmachinescalesets/aks-{name}-vmss"));
    }

    pub(crate) fn user_credential(&mut self, cluster: &str) -> Answer {
        let action = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action";
        if let Some(refused) = self.not_permitted(action, cluster) {
            return refused;
        }
        let Some(body) = self.body(cluster) else { return Answer::not_found(cluster) };
        if body["properties"]["provisioningState"] != "Succeeded" {
            return crate::resources::in_progress(cluster);
        }
        match self.clusters.kubeconfig(cluster) {
            Ok(text) => {
                use base64::Engine as _;
                let value = base64::engine::general_purpose::STANDARD.encode(text);
                Answer::ok(json!({ "kubeconfigs": [{ "name": "clusterUser", "value": value }] }))
            }
            Err(why) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", why),
        }
    }
}

fn vm_size(pool: &Value) -> &str {
    pool["vmSize"].as_str().unwrap_or_default()
}

fn count(pool: &Value) -> u32 {
    pool["count"].as_u64().unwrap_or(0) as u32
}

/// The id without its last type and name.
pub(crate) fn parent(id: &str) -> &str {
    id.rsplit_once('/').and_then(|(rest, _)| rest.rsplit_once('/')).map_or("", |(parent, _)| parent)
}
