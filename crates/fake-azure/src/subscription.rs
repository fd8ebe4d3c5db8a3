//! What a subscription is and may do: state, resource providers, permissions, sizes, quota, AKS versions.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    prices::parse_filter,
    wire::{Answer, Request},
    world::World,
};

/// One VM size in the region.
#[derive(Debug, Clone)]
pub struct Sku {
    /// `Standard_D4s_v5`.
    pub name: String,
    /// Quota family, `standardDSv5Family`.
    pub family: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Zones that have it.
    pub zones: Vec<String>,
    /// Zones in which this subscription may not use it.
    pub restricted_zones: Vec<String>,
    /// Why this subscription may not use it at all, such as `NotAvailableForSubscription`.
    pub restricted: Option<String>,
}

/// One line of the compute quota.
#[derive(Debug, Clone)]
pub struct Usage {
    /// `cores`, or a family.
    pub name: String,
    /// For people.
    pub label: String,
    /// In use by others than this world's clusters.
    pub used: u32,
    /// Most.
    pub limit: u32,
}

/// What a role lets the caller do.
#[derive(Debug, Clone)]
pub struct Permission {
    /// Patterns such as `*`, `*/read`, `Microsoft.ContainerService/*`.
    pub actions: Vec<String>,
    /// Patterns that are taken away.
    pub not_actions: Vec<String>,
}

/// One Kubernetes minor version of AKS.
#[derive(Debug, Clone)]
pub struct Version {
    /// `1.33`.
    pub minor: String,
    /// Whether it is what a cluster without a version gets.
    pub default: bool,
    /// Whether it is a preview.
    pub preview: bool,
    /// `1.33.5`, newest last.
    pub patches: Vec<String>,
}

/// What is true of the subscription and its region.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Id.
    pub subscription: String,
    /// Name for people.
    pub name: String,
    /// `Enabled`, `Disabled`, `Warned`, `PastDue`, `Deleted`.
    pub state: String,
    /// Tenant.
    pub tenant: String,
    /// The only region that sells anything.
    pub location: String,
    /// Registration states by namespace.
    pub providers: BTreeMap<String, String>,
    /// VM sizes.
    pub skus: Vec<Sku>,
    /// Quota.
    pub usages: Vec<Usage>,
    /// AKS versions.
    pub versions: Vec<Version>,
    /// The caller's permissions.
    pub permissions: Vec<Permission>,
    /// Locks as (scope, level).
    pub locks: Vec<(String, String)>,
}

impl Default for Facts {
    fn default() -> Self {
        let providers = [
            "Microsoft.Authorization",
            "Microsoft.Compute",
            "Microsoft.ContainerService",
            "Microsoft.Insights",
            "Microsoft.ManagedIdentity",
            "Microsoft.Network",
            "Microsoft.OperationalInsights",
            "Microsoft.OperationsManagement",
        ];
        let sku = |name: &str, vcpus| Sku {
            name: name.into(),
            family: "standardDSv5Family".into(),
            vcpus,
            zones: ["1", "2", "3"].map(String::from).into(),
            restricted_zones: Vec::new(),
            restricted: None,
        };
        let usage = |name: &str, label: &str, limit| Usage { name: name.into(), label: label.into(), used: 0, limit };
        let version = |minor: &str, default, preview, patches: &[&str]| Version {
            minor: minor.into(),
            default,
            preview,
            patches: patches.iter().map(ToString::to_string).collect(),
        };
        Self {
            subscription: "00000000-0000-4000-8000-000000000001".into(),
            name: "Demo subscription".into(),
            state: "Enabled".into(),
            tenant: "00000000-0000-4000-8000-0000000000aa".into(),
            location: "westeurope".into(),
            providers: providers.map(|name| (name.to_owned(), "Registered".to_owned())).into(),
            skus: vec![sku("Standard_D2s_v5", 2), sku("Standard_D4s_v5", 4), sku("Standard_D8s_v5", 8)],
            usages: vec![
                usage("cores", "Total Regional vCPUs", 200),
                usage("standardDSv5Family", "Standard DSv5 Family vCPUs", 100),
            ],
            versions: vec![
                version("1.32", false, false, &["1.32.9", "1.32.10"]),
                version("1.33", true, false, &["1.33.4", "1.33.5"]),
                version("1.34", false, false, &["1.34.1"]),
                version("1.35", false, true, &["1.35.0"]),
            ],
            permissions: vec![Permission { actions: vec!["*".into()], not_actions: Vec::new() }],
            locks: Vec::new(),
        }
    }
}

impl Facts {
    pub(crate) fn sku(&self, name: &str) -> Option<&Sku> {
        self.skus.iter().find(|sku| sku.name.eq_ignore_ascii_case(name))
    }

    /// Whether the caller may do `action`.
    pub(crate) fn permits(&self, action: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| covers(pattern, action));
        self.permissions.iter().any(|role| any(&role.actions) && !any(&role.not_actions))
    }
}

/// Azure's wildcard: `*` stands for any text.
fn covers(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_lowercase(), action.to_lowercase());
    let parts: Vec<&str> = pattern.split('*').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return pattern == action };
    let Some(mut rest) = action.strip_prefix(first) else { return false };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl World {
    /// Reads below the subscription that are no resources of a group.
    pub(crate) fn subscription_facts(&mut self, request: &Request, below: &[String]) -> Option<Answer> {
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        let get = request.method == Method::GET;
        Some(match below.as_slice() {
            [] if get => Answer::ok(json!({
                "id": format!("/subscriptions/{}", self.facts.subscription), "subscriptionId": self.facts.subscription,
                "displayName": self.facts.name, "state": self.facts.state, "tenantId": self.facts.tenant,
            })),
            ["providers", namespace] if get => self.provider(namespace),
            ["providers", namespace, "register"] if request.method == Method::POST => {
                let known = self.facts.providers.keys().find(|name| name.eq_ignore_ascii_case(namespace)).cloned();
                let Some(name) = known else { return Some(self.provider(namespace)) };
                self.facts.providers.insert(name, "Registered".into());
                self.provider(namespace)
            }
            ["providers", "microsoft.authorization", "permissions"] if get => self.permissions(),
            ["providers", "microsoft.authorization", "checkaccess"] if request.method == Method::POST => {
                self.check_access(request)
            }
            ["providers", "microsoft.authorization", "locks"] if get => self.locks(),
            ["providers", "microsoft.authorization", "roleassignments"] if get => Answer::ok(json!({ "value": [] })),
            ["providers", "microsoft.insights", "eventtypes", "management", "values"] if get => {
                self.activity_log(request)
            }
            ["providers", "microsoft.compute", "skus"] if get => self.skus(request),
            ["providers", "microsoft.compute", "locations", _, "usages"] if get => self.usages(),
            ["providers", "microsoft.containerservice", "locations", _, "kubernetesversions"] if get => self.versions(),
            ["providers", "microsoft.operationalinsights", "deletedworkspaces"] if get => {
                Answer::ok(json!({ "value": [] }))
            }
            _ => return None,
        })
    }

    fn provider(&self, namespace: &str) -> Answer {
        match self.facts.providers.iter().find(|(name, _)| name.eq_ignore_ascii_case(namespace)) {
            Some((name, state)) => Answer::ok(json!({
                "id": format!("/subscriptions/{}/providers/{name}", self.facts.subscription),
                "namespace": name, "registrationState": state,
            })),
            None => Answer::error(
                StatusCode::NOT_FOUND,
                "InvalidResourceNamespace",
                format!("The resource namespace '{namespace}' is invalid."),
            ),
        }
    }

    fn permissions(&self) -> Answer {
        let one = |role: &Permission| json!({ "actions": role.actions, "notActions": role.not_actions, "dataActions": [], "notDataActions": [] });
        Answer::ok(json!({ "value": self.facts.permissions.iter().map(one).collect::<Vec<_>>() }))
    }

    fn check_access(&self, request: &Request) -> Answer {
        let actions = request.body["Actions"].as_array().cloned().unwrap_or_default();
        let decide = |action: &Value| {
            let id = action["Id"].as_str().unwrap_or_default();
            let decision = if self.facts.permits(id) { "Allowed" } else { "NotAllowed" };
            json!({ "actionId": id, "accessDecision": decision, "isDataAction": false })
        };
        Answer::ok(Value::Array(actions.iter().map(decide).collect()))
    }

    fn locks(&self) -> Answer {
        let one = |(scope, level): &(String, String)| {
            json!({
                "id": format!("{scope}/providers/Microsoft.Authorization/locks/keep"), "name": "keep",
                "type": "Microsoft.Authorization/locks", "properties": { "level": level },
            })
        };
        Answer::ok(json!({ "value": self.facts.locks.iter().map(one).collect::<Vec<_>>() }))
    }

    fn skus(&self, request: &Request) -> Answer {
        let filter = parse_filter(request.query("$filter")).unwrap_or_default();
        let here = filter.iter().all(|(name, value)| name != "location" || *value == self.facts.location);
        let all: Vec<Value> =
            self.facts.skus.iter().filter(|_| here).map(|sku| sku_json(sku, &self.facts.location)).collect();
        self.page(request, &all)
    }

    fn usages(&self) -> Answer {
        let one = |usage: &Usage| {
            json!({
                "unit": "Count", "currentValue": usage.used + self.vcpus_in_use(&usage.name), "limit": usage.limit,
                "name": { "value": usage.name, "localizedValue": usage.label },
            })
        };
        Answer::ok(json!({ "value": self.facts.usages.iter().map(one).collect::<Vec<_>>() }))
    }

    fn versions(&self) -> Answer {
        let one = |version: &Version| {
            let patches: BTreeMap<_, _> =
                version.patches.iter().map(|patch| (patch.clone(), json!({ "upgrades": [] }))).collect();
            json!({
                "version": version.minor, "isDefault": version.default, "isPreview": version.preview,
                "capabilities": { "supportPlan": ["KubernetesOfficial"] }, "patchVersions": patches,
            })
        };
        Answer::ok(json!({ "values": self.facts.versions.iter().map(one).collect::<Vec<_>>() }))
    }

    /// A page of a list, with a `nextLink` when there is more.
    pub(crate) fn page(&self, request: &Request, all: &[Value]) -> Answer {
        let skip: usize = request.query("$skiptoken").parse().unwrap_or(0);
        let page: Vec<&Value> = all.iter().skip(skip).take(self.style.page).collect();
        let mut body = json!({ "value": page });
        if skip + page.len() < all.len() {
            let version = request.query("api-version");
            let next = skip + page.len();
            let filter = request.query("$filter").replace(' ', "%20").replace('\'', "%27");
            body["nextLink"] = json!(format!(
                "{}{}?api-version={version}&$filter={filter}&$skiptoken={next}",
                request.base, request.path
            ));
        }
        Answer::ok(body)
    }
}

fn sku_json(sku: &Sku, location: &str) -> Value {
    let mut restrictions = Vec::new();
    if let Some(reason) = &sku.restricted {
        restrictions.push(json!({
            "type": "Location", "values": [location], "reasonCode": reason,
            "restrictionInfo": { "locations": [location] },
        }));
    }
    if !sku.restricted_zones.is_empty() {
        restrictions.push(json!({
            "type": "Zone", "values": [location], "reasonCode": "NotAvailableForSubscription",
            "restrictionInfo": { "locations": [location], "zones": sku.restricted_zones },
        }));
    }
    json!({
        "resourceType": "virtualMachines", "name": sku.name, "family": sku.family, "tier": "Standard",
        "locations": [location], "locationInfo": [{ "location": location, "zones": sku.zones }],
        "capabilities": [{ "name": "vCPUs", "value": sku.vcpus.to_string() }], "restrictions": restrictions,
    })
}
