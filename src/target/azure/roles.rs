//! Role assignments of a cluster's identities outside of its groups: once the cluster is gone they give rights to nobody
//! (the portal shows "Identity not found"), and nothing removes them by itself.
//!
//! <https://learn.microsoft.com/azure/role-based-access-control/troubleshooting#role-assignments-with-identity-not-found>

use serde_json::Value;

use super::{
    arm::{AUTHORIZATION, Arm, ArmError, CONTAINER_SERVICE},
    scan::Found,
};

/// Object ids of the identities that end with a managed cluster: its own, and those that AKS made in the group of its
/// nodes. One that somebody else made, and the cluster only uses, outlives it with its roles.
pub fn principals(cluster: &Value) -> Vec<String> {
    let own = std::iter::once(&cluster["identity"]["principalId"]);
    let profiles = cluster["properties"]["identityProfile"].as_object().into_iter().flatten();
    let nodes = cluster["properties"]["nodeResourceGroup"].as_str().unwrap_or_default().to_lowercase();
    let within = format!("/resourcegroups/{nodes}/");
    let made = |profile: &&Value| {
        profile["resourceId"].as_str().is_some_and(|id| id.to_lowercase().contains(&within)) && !nodes.is_empty()
    };
    let all = own.chain(profiles.map(|(_, profile)| profile).filter(made).map(|profile| &profile["objectId"]));
    all.filter_map(|id| Some(id.as_str()?.to_owned())).filter(|id| !id.is_empty()).collect()
}

/// Those of all clusters of ours in a scan.
pub async fn principals_in(arm: &Arm, found: &[Found]) -> Result<Vec<String>, ArmError> {
    let mut all = Vec::new();
    let is_cluster = |kind: &str| kind.eq_ignore_ascii_case("Microsoft.ContainerService/managedClusters");
    for cluster in found.iter().filter(|item| item.ours && is_cluster(&item.kind)) {
        if let Some(body) = arm.get(&cluster.id, CONTAINER_SERVICE).await? {
            all.extend(principals(&body));
        }
    }
    Ok(all)
}

/// Ids of what these principals were assigned in a subscription, save what goes with one of the groups.
pub async fn assignments(
    arm: &Arm,
    subscription: &str,
    principals: &[String],
    groups: &[&str],
) -> Result<Vec<String>, ArmError> {
    let path = format!("/subscriptions/{subscription}/providers/Microsoft.Authorization/roleAssignments");
    let within = |id: &str| {
        let id = id.to_lowercase();
        groups.iter().any(|group| id.contains(&format!("/resourcegroups/{}/", group.to_lowercase())))
    };
    let mut all: Vec<String> = Vec::new();
    for principal in principals {
        let filter = format!("principalId eq '{principal}'");
        for assignment in arm.list(&path, AUTHORIZATION, &[("$filter", &filter)]).await? {
            let Some(id) = assignment["id"].as_str() else { continue };
            // Azure lists those of groups that the principal belongs to as well.
            if assignment["properties"]["principalId"] == principal.as_str() && !within(id) {
                all.push(id.to_owned());
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Takes them away; yields those that the caller may not touch, in words.
async fn remove(arm: &Arm, assignments: &[String]) -> Result<Vec<String>, ArmError> {
    let mut left = Vec::new();
    for id in assignments {
        match arm.delete(id, AUTHORIZATION).await {
            Ok(()) => {}
            Err(error) if error.status() == Some(403) => left.push(format!(
                "role assignment {id} of an identity that is gone; the login may not remove it: az role assignment \
                 delete --ids {id}"
            )),
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

/// What of them would go, one line each. A login that may not read them may remove the rest all the same.
pub async fn lines(
    arm: &Arm,
    subscription: &str,
    principals: &[String],
    groups: &[&str],
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Vec<String> {
    match assignments(arm, subscription, principals, groups).await {
        Ok(all) => all.iter().map(|id| format!("{id} (a role of the cluster's identity)")).collect(),
        Err(error) => {
            progress(&format!("  roles of the cluster's identity are not known: {error}"));
            Vec::new()
        }
    }
}

/// Finds and takes them away once the cluster is gone: of a cluster in `found` that still stands the identities keep their
/// roles. Reading them is a permission of its own: who lacks it is told.
pub async fn sweep(
    arm: &Arm,
    subscription: &str,
    principals: &[String],
    found: &[Found],
    groups: &[&str],
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<Vec<String>, ArmError> {
    let alive = principals_in(arm, found).await?;
    let gone: Vec<String> = principals.iter().filter(|principal| !alive.contains(principal)).cloned().collect();
    match assignments(arm, subscription, &gone, groups).await {
        Ok(all) => remove(arm, &all).await,
        Err(error) if error.status() == Some(403) => {
            progress(&format!("  roles of the cluster's identity are not known: {error}"));
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::principals;

    #[test]
    fn a_cluster_has_an_identity_of_its_own_and_one_of_its_nodes() {
        let cluster = json!({
            "identity": { "type": "SystemAssigned", "principalId": "a" },
            "properties": { "nodeResourceGroup": "Nodes", "identityProfile": {
                "kubeletidentity": { "objectId": "b", "resourceId": "/subscriptions/s/resourcegroups/nodes/providers/p/b" },
                "shared": { "objectId": "c", "resourceId": "/subscriptions/s/resourcegroups/theirs/providers/p/c" },
                "other": {},
            } },
        });
        assert_eq!(principals(&cluster), ["a", "b"]);
        assert_eq!(principals(&json!({ "identity": { "type": "UserAssigned" } })), Vec::<String>::new());
    }
}
