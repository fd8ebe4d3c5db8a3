//! What must be true of a subscription before anything is planned: all problems at once, each with its remedy.

use std::{collections::BTreeMap, fmt::Write as _};

use democtl_core::{
    profile::Profile,
    render::azure::{ENVIRONMENT_TAG, ID_TAG, Names, Placement, azure_names},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    arm::{AUTHORIZATION, Arm, ArmError, CONTAINER_SERVICE, RESOURCES, WORKSPACES},
    locks,
    providers::{self, PROVIDERS},
};

const SUBSCRIPTIONS: &str = "2022-12-01";
const SKUS: &str = "2021-07-01";
const COMPUTE: &str = "2024-07-01";

/// Where quota is asked for.
const QUOTA_PAGE: &str = "https://portal.azure.com/#view/Microsoft_Azure_Capacity/QuotaMenuBlade/~/myQuotas";

/// What setup, status and cleanup do; the custom role of `docs/azure.md` holds exactly these.
pub const ACTIONS: [&str; 21] = [
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.Resources/subscriptions/resourceGroups/write",
    "Microsoft.Resources/subscriptions/resourceGroups/delete",
    "Microsoft.ContainerService/managedClusters/read",
    "Microsoft.ContainerService/managedClusters/write",
    "Microsoft.ContainerService/managedClusters/delete",
    "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action",
    "Microsoft.ContainerService/managedClusters/agentPools/read",
    "Microsoft.ContainerService/managedClusters/agentPools/write",
    "Microsoft.ContainerService/managedClusters/agentPools/delete",
    "Microsoft.ContainerService/managedClusters/maintenanceConfigurations/write",
    "Microsoft.OperationalInsights/workspaces/read",
    "Microsoft.OperationalInsights/workspaces/write",
    "Microsoft.OperationalInsights/workspaces/delete",
    "Microsoft.OperationalInsights/workspaces/sharedKeys/action",
    "Microsoft.Insights/dataCollectionRules/read",
    "Microsoft.Insights/dataCollectionRules/write",
    "Microsoft.Insights/dataCollectionRules/delete",
    "Microsoft.Insights/dataCollectionRuleAssociations/read",
    "Microsoft.Insights/dataCollectionRuleAssociations/write",
    "Microsoft.Insights/dataCollectionRuleAssociations/delete",
];

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// As it must be.
    Ok,
    /// It will do, but a person should know.
    Warning,
    /// Setup would fail, or could not be undone.
    Refused,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// How it stands.
    pub standing: Standing,
    /// What was found.
    pub found: String,
    /// What can be done about it.
    pub remedy: Option<String>,
}

impl Check {
    pub(crate) fn ok(what: &str, found: impl Into<String>) -> Self {
        Self { what: what.to_owned(), standing: Standing::Ok, found: found.into(), remedy: None }
    }

    pub(crate) fn warning(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { standing: Standing::Warning, remedy: Some(remedy.into()), ..Self::ok(what, found) }
    }

    pub(crate) fn refused(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { standing: Standing::Refused, remedy: Some(remedy.into()), ..Self::ok(what, found) }
    }

    fn unreadable(what: &str, error: &ArmError) -> Self {
        let remedy = match error.status() {
            Some(403) => "give the login the role of docs/azure.md",
            _ => "try again; https://status.azure.com tells of Azure's own troubles",
        };
        Self::refused(what, words(error), remedy)
    }
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its lines.
    pub checks: Vec<Check>,
    /// Resource providers that setup could register.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unregistered: Vec<&'static str>,
}

impl Report {
    /// A table of these lines.
    pub fn of(checks: Vec<Check>) -> Self {
        Self { checks, unregistered: Vec::new() }
    }

    /// Lines that keep setup from going on.
    pub fn refusals(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.standing == Standing::Refused)
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let width = self.checks.iter().map(|check| check.what.len()).max().unwrap_or(0);
        let mut text = String::new();
        for check in &self.checks {
            let standing = match check.standing {
                Standing::Ok => "ok",
                Standing::Warning => "warning",
                Standing::Refused => "REFUSED",
            };
            let _ = writeln!(text, "  {standing:8} {:width$}  {}", check.what, check.found);
            if let Some(remedy) = &check.remedy {
                let _ = writeln!(text, "  {:8} {:width$}  -> {remedy}", "", "");
            }
        }
        text
    }
}

/// What is looked for.
struct Wanted<'a> {
    arm: &'a Arm,
    subscription: String,
    profile: &'a Profile,
    placement: &'a Placement<'a>,
    names: Names,
}

/// Looks at everything; never fails: what cannot be read is a line of its own.
pub async fn inspect(arm: &Arm, profile: &Profile, placement: &Placement<'_>) -> Report {
    let names = azure_names(profile, placement.environment);
    let path = format!("/subscriptions/{}", placement.subscription);
    let wanted = Wanted { arm, subscription: path, profile, placement, names };
    let mut checks = match account(arm, placement.subscription).await {
        Ok(checks) => checks.to_vec(),
        // Without a subscription there is nothing more to look at.
        Err(check) => return Report::of(vec![check]),
    };
    let ((providers, unregistered), permissions, locks, sizes, version, leftovers) = tokio::join!(
        registered(arm, placement.subscription, &PROVIDERS),
        wanted.permissions(),
        wanted.locks(),
        wanted.sizes(),
        wanted.version(),
        wanted.leftovers(),
    );
    checks.push(providers);
    checks.push(permissions);
    checks.push(locks);
    checks.extend(sizes);
    checks.push(version);
    checks.extend(leftovers);
    Report { checks, unregistered }
}

/// Whether the login sees the subscription, and how that stands; else why not.
pub async fn account(arm: &Arm, subscription: &str) -> Result<[Check; 2], Check> {
    match arm.get(&format!("/subscriptions/{subscription}"), SUBSCRIPTIONS).await {
        Ok(Some(found)) => Ok([login(&found), state(&found)]),
        Ok(None) => Err(no_subscription(subscription)),
        Err(error) => Err(no_login(&error)),
    }
}

fn no_subscription(id: &str) -> Check {
    Check::refused(
        "subscription",
        format!("there is no subscription {id} that this login can see"),
        "az account list --output table shows those that it can see; --subscription chooses one",
    )
}

fn no_login(error: &ArmError) -> Check {
    let remedy = match error {
        ArmError::NoAnswer { .. } => "check the network and the proxy settings",
        _ => "az login, or one of the other ways in docs/azure.md",
    };
    Check::refused("login", words(error), remedy)
}

/// An error with its causes on one line.
fn words(error: &ArmError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn login(subscription: &Value) -> Check {
    let text = |name: &str| subscription[name].as_str().unwrap_or("unknown");
    Check::ok("login", format!("{} (tenant {})", text("displayName"), text("tenantId")))
}

/// <https://learn.microsoft.com/azure/cost-management-billing/manage/subscription-states>
fn state(subscription: &Value) -> Check {
    match subscription["state"].as_str().unwrap_or("unknown") {
        "Enabled" => Check::ok("subscription", "Enabled"),
        "PastDue" => {
            Check::warning("subscription", "PastDue: an invoice is not paid", "it may be disabled at any time")
        }
        other => Check::refused(
            "subscription",
            format!("{other}: nothing can be made in it"),
            "reactivate it, or use another",
        ),
    }
}

/// Whether these resource providers are registered: the line, and those that are not.
pub(super) async fn registered(arm: &Arm, subscription: &str, wanted: &[&'static str]) -> (Check, Vec<&'static str>) {
    let missing = match providers::missing(arm, subscription, wanted).await {
        Ok(missing) => missing,
        Err(error) => return (Check::unreadable("providers", &error), Vec::new()),
    };
    if missing.is_empty() {
        return (Check::ok("providers", format!("{} registered", wanted.len())), missing);
    }
    let commands: Vec<_> = missing.iter().map(|name| format!("az provider register --wait -n {name}")).collect();
    let remedy = format!("democtl setup --register, or {}", commands.join(" && "));
    (Check::refused("providers", format!("not registered: {}", missing.join(", ")), remedy), missing)
}

impl Wanted<'_> {
    fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.subscription)
    }

    async fn permissions(&self) -> Check {
        let path = self.path("providers/Microsoft.Authorization/permissions");
        let roles = match self.arm.list(&path, AUTHORIZATION, &[]).await {
            Ok(roles) => roles,
            Err(error) => return Check::unreadable("permissions", &error),
        };
        let missing: Vec<_> = ACTIONS.into_iter().filter(|action| !permits(&roles, "actions", action)).collect();
        match missing.as_slice() {
            [] => Check::ok("permissions", format!("all {} actions allowed", ACTIONS.len())),
            [first, rest @ ..] => {
                let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
                let remedy = "the role Contributor has them, and so has the custom role in docs/azure.md";
                Check::refused("permissions", format!("not allowed: {first}{more}"), remedy)
            }
        }
    }

    async fn locks(&self) -> Check {
        let state = self.names.state_group();
        let groups = [self.names.resource_group.as_str(), &self.names.node_resource_group, &state];
        let locks = match locks::on(self.arm, self.placement.subscription, &groups).await {
            Ok(locks) => locks,
            // Reading locks is a permission of its own that setup does not need.
            Err(error) => return Check::warning("locks", format!("not known: {error}"), "az lock list"),
        };
        match locks.first() {
            None => Check::ok("locks", "none that would keep cleanup from its work"),
            Some(lock) => {
                Check::refused("locks", format!("{}: cleanup could not remove anything", lock.line()), lock.remedy())
            }
        }
    }

    /// Sizes and quota, which need each other.
    async fn sizes(&self) -> Vec<Check> {
        let location = &self.profile.azure.location;
        let filter = format!("location eq '{location}'");
        let skus = self.path("providers/Microsoft.Compute/skus");
        let usages = self.path(&format!("providers/Microsoft.Compute/locations/{location}/usages"));
        let filters = [("$filter", filter.as_str())];
        let (skus, usages, running) =
            tokio::join!(self.arm.list(&skus, SKUS, &filters), self.arm.list(&usages, COMPUTE, &[]), self.running());
        let skus = match skus {
            Ok(skus) => skus,
            Err(error) => return vec![Check::unreadable("VM sizes", &error)],
        };
        let machines: Vec<&Value> = skus.iter().filter(|sku| sku["resourceType"] == "virtualMachines").collect();
        let mut checks = self.machine_checks(&machines);
        match (usages, running) {
            (Ok(usages), Ok(running)) => checks.extend(self.quota(&machines, &usages, &running)),
            (Err(error), _) | (_, Err(error)) => checks.push(Check::unreadable("quota", &error)),
        }
        checks
    }

    fn machine_checks(&self, machines: &[&Value]) -> Vec<Check> {
        let location = &self.profile.azure.location;
        let mut sizes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pool in &self.profile.pools {
            sizes.entry(pool.vm_size.name).or_default().extend(pool.zones.iter().map(String::as_str));
        }
        let check = |(size, zones): (&str, Vec<&str>)| {
            let what = "VM size";
            let Some(sku) = find(machines, size) else {
                return Check::refused(
                    what,
                    format!("{size} is not sold in {location}"),
                    instead(machines, size, &zones),
                );
            };
            if let Some(reason) = restriction(sku) {
                let found = format!("{size} is not open to this subscription in {location} ({reason})");
                return Check::refused(what, found, instead(machines, size, &zones));
            }
            let open = open_zones(sku);
            let mut closed: Vec<&str> = zones.iter().copied().filter(|zone| !open.contains(zone)).collect();
            closed.sort_unstable();
            closed.dedup();
            if closed.is_empty() {
                return Check::ok(what, format!("{size} in {location}, zones {}", open.join(", ")));
            }
            let remedy = match open.as_slice() {
                [] => instead(machines, size, &zones),
                open => format!("set the pool's zones to {open:?}, or {}", instead(machines, size, &zones)),
            };
            Check::refused(what, format!("{size} is not to be had in zone {}", closed.join(", ")), remedy)
        };
        sizes.into_iter().map(check).collect()
    }

    /// At the pools' most nodes: a demo that cannot scale out when it matters is refused before it costs anything.
    fn quota(&self, machines: &[&Value], usages: &[Value], running: &BTreeMap<String, u32>) -> Vec<Check> {
        let mut needed: BTreeMap<String, i64> = BTreeMap::new();
        for pool in &self.profile.pools {
            let Some(sku) = find(machines, pool.vm_size.name) else { continue };
            let here = i64::from(running.get(&pool.name).copied().unwrap_or(0));
            let more = i64::from(pool.vm_size.vcpu) * (i64::from(pool.max) - here).max(0);
            let family = sku["family"].as_str().unwrap_or_default().to_lowercase();
            for quota in [family, "cores".to_owned()] {
                *needed.entry(quota).or_default() += more;
            }
        }
        let check = |(quota, needed): (String, i64)| {
            let named =
                |usage: &&Value| usage["name"]["value"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(&quota));
            let Some(usage) = usages.iter().find(named) else {
                return Check::warning(
                    "quota",
                    format!("{quota} is not listed, {needed} vCPUs are needed"),
                    QUOTA_PAGE,
                );
            };
            let number = |name: &str| usage[name].as_i64().unwrap_or(0);
            let (used, limit) = (number("currentValue"), number("limit"));
            let label = usage["name"]["localizedValue"].as_str().unwrap_or(&quota);
            let free = (limit - used).max(0);
            let found =
                format!("{label}: {needed} needed at the pools' most nodes, {free} free ({used} of {limit} in use)");
            if needed <= free {
                return Check::ok("quota", found);
            }
            let remedy = format!("ask for {} more at {QUOTA_PAGE}, or lower the pools' max", needed - free);
            Check::refused("quota", format!("{found}: {} missing", needed - free), remedy)
        };
        needed.into_iter().map(check).collect()
    }

    /// Nodes that a cluster of an earlier try has already, by pool.
    async fn running(&self) -> Result<BTreeMap<String, u32>, ArmError> {
        let path = self.path(&format!(
            "resourceGroups/{}/providers/Microsoft.ContainerService/managedClusters/{}/agentPools",
            self.names.resource_group, self.names.cluster
        ));
        let pools = self.arm.list(&path, CONTAINER_SERVICE, &[]).await?;
        let one = |pool: &Value| {
            let count = pool["properties"]["count"].as_u64().unwrap_or(0);
            Some((pool["name"].as_str()?.to_owned(), u32::try_from(count).unwrap_or(u32::MAX)))
        };
        Ok(pools.iter().filter_map(one).collect())
    }

    async fn version(&self) -> Check {
        let location = &self.profile.azure.location;
        let path = self.path(&format!("providers/Microsoft.ContainerService/locations/{location}/kubernetesVersions"));
        let body = match self.arm.get(&path, CONTAINER_SERVICE).await {
            Ok(body) => body.unwrap_or_default(),
            Err(error) => return Check::unreadable("Kubernetes", &error),
        };
        let none = Vec::new();
        let versions = body["values"].as_array().unwrap_or(&none);
        let minor = |version: &Value| version["version"].as_str().unwrap_or_default().to_owned();
        let wanted = |version: &&Value| match &self.profile.azure.kubernetes_version {
            Some(wanted) => minor(version) == *wanted,
            None => version["isDefault"] == true,
        };
        let all: Vec<_> = versions.iter().filter(|version| version["isPreview"] != true).map(minor).collect();
        let remedy = match all.as_slice() {
            [] => "choose another region with azure.location".to_owned(),
            all => format!("set azure.kubernetes_version to one of {}", all.join(", ")),
        };
        match (versions.iter().find(wanted), &self.profile.azure.kubernetes_version) {
            (Some(version), _) if version["isPreview"] == true => {
                Check::warning("Kubernetes", format!("{} is a preview in {location}", minor(version)), remedy)
            }
            (Some(version), asked) => {
                let how = if asked.is_some() { "supported" } else { "AKS's default" };
                Check::ok("Kubernetes", format!("{} ({how}), newest patch {}", minor(version), newest_patch(version)))
            }
            (None, Some(asked)) => Check::refused("Kubernetes", format!("AKS has no {asked} in {location}"), remedy),
            (None, None) => Check::refused("Kubernetes", format!("AKS names no default version in {location}"), remedy),
        }
    }

    async fn leftovers(&self) -> Vec<Check> {
        if let Some(long) = self.names.too_long() {
            return vec![Check::refused("names", long, "choose a shorter name with --name")];
        }
        let state = self.names.state_group();
        let groups = [(&self.names.resource_group, false), (&self.names.node_resource_group, true), (&state, false)];
        let mut checks = Vec::new();
        for (name, of_nodes) in groups {
            match self.arm.get(&self.path(&format!("resourceGroups/{name}")), RESOURCES).await {
                Ok(None) => {}
                Ok(Some(group)) => checks.push(self.leftover(name, of_nodes, &group)),
                Err(error) => checks.push(Check::unreadable("names", &error)),
            }
        }
        let path = self.path("providers/Microsoft.OperationalInsights/deletedWorkspaces");
        if let Ok(deleted) = self.arm.list(&path, WORKSPACES, &[]).await
            && deleted.iter().any(|workspace| workspace["name"] == self.names.workspace.as_str())
        {
            let found =
                format!("workspace {} was deleted lately and will come back with its old logs", self.names.workspace);
            checks.push(Check::warning(
                "names",
                found,
                "az monitor log-analytics workspace delete --force removes it for good",
            ));
        }
        if checks.is_empty() {
            checks.push(Check::ok("names", format!("{} is free", self.names.resource_group)));
        }
        checks
    }

    fn leftover(&self, name: &str, of_nodes: bool, group: &Value) -> Check {
        let owner = group["tags"][ENVIRONMENT_TAG].as_str();
        if group["properties"]["provisioningState"] == "Deleting" {
            return Check::refused("names", format!("resource group {name} is being removed"), "wait until it is gone");
        }
        if self.placement.owns(&group["tags"]) {
            return Check::ok(
                "names",
                format!("resource group {name} is there from an earlier try: setup goes on with it"),
            );
        }
        let whose = match (owner, of_nodes) {
            (Some(same), _) if same == self.placement.environment => {
                format!("belongs to another environment {same}: its {ID_TAG} is not that of this one")
            }
            (Some(other), _) => format!("belongs to environment {other}"),
            (None, true) => "holds nodes of another cluster".to_owned(),
            (None, false) => "was not made by democtl".to_owned(),
        };
        Check::refused("names", format!("resource group {name} exists and {whose}"), "choose another name with --name")
    }
}

fn find<'a>(machines: &[&'a Value], size: &str) -> Option<&'a Value> {
    machines.iter().find(|sku| sku["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(size))).copied()
}

/// Why a size cannot be had anywhere in the region.
fn restriction(sku: &Value) -> Option<&str> {
    let restrictions = sku["restrictions"].as_array()?;
    restrictions
        .iter()
        .find(|one| one["type"] == "Location")
        .map(|one| one["reasonCode"].as_str().unwrap_or("restricted"))
}

/// Zones in which a size can be had.
fn open_zones(sku: &Value) -> Vec<&str> {
    fn texts(value: &Value) -> Vec<&str> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }
    let closed: Vec<&str> = sku["restrictions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| one["type"] == "Zone")
        .flat_map(|one| texts(&one["restrictionInfo"]["zones"]))
        .collect();
    let mut open: Vec<&str> =
        texts(&sku["locationInfo"][0]["zones"]).into_iter().filter(|zone| !closed.contains(zone)).collect();
    open.sort_unstable();
    open
}

/// The nearest size that can be had: as many vCPUs, else the next more, that democtl knows and the zones have.
fn instead(machines: &[&Value], size: &str, zones: &[&str]) -> String {
    let wanted = democtl_core::catalog::vm_size(size).map_or(0, |size| size.vcpu);
    let fits = |sku: &Value| {
        let open = open_zones(sku);
        restriction(sku).is_none() && zones.iter().all(|zone| open.contains(zone))
    };
    let known = machines
        .iter()
        .filter(|sku| fits(sku))
        .filter_map(|sku| democtl_core::catalog::vm_size(sku["name"].as_str()?))
        .filter(|candidate| candidate.vcpu >= wanted && !candidate.name.eq_ignore_ascii_case(size))
        .min_by_key(|candidate| (candidate.vcpu, candidate.memory.0));
    known.map_or_else(
        || "choose another region with azure.location".to_owned(),
        |size| format!("choose the nearest size that is to be had: {}", size.name),
    )
}

fn newest_patch(version: &Value) -> String {
    let number = |patch: &String| patch.rsplit('.').next().and_then(|last| last.parse::<u32>().ok()).unwrap_or(0);
    let patches = version["patchVersions"].as_object().into_iter().flatten().map(|(patch, _)| patch);
    patches.max_by_key(|patch| number(patch)).cloned().unwrap_or_else(|| "unknown".to_owned())
}

/// Whether any of the caller's roles allows `action`; `kind`: `actions` or `dataActions`.
pub(super) fn permits(roles: &[Value], kind: &str, action: &str) -> bool {
    let any = |patterns: &Value| {
        patterns.as_array().into_iter().flatten().filter_map(Value::as_str).any(|pattern| covers(pattern, action))
    };
    let not = if kind == "actions" { "notActions" } else { "notDataActions" };
    roles.iter().any(|role| any(&role[kind]) && !any(&role[not]))
}

/// Azure's wildcard: `*` stands for any text; case does not matter.
fn covers(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_lowercase(), action.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = action.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_star_stands_for_any_text() {
        let action = "Microsoft.ContainerService/managedClusters/agentPools/write";
        for pattern in ["*", "*/write", "Microsoft.ContainerService/*", "microsoft.containerservice/*/write", action] {
            assert!(covers(pattern, action), "{pattern}");
        }
        for pattern in ["*/read", "Microsoft.Compute/*", "Microsoft.ContainerService/managedClusters/write", ""] {
            assert!(!covers(pattern, action), "{pattern}");
        }
    }
}
