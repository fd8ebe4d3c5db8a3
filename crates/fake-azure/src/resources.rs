//! Resource groups and what lies in them: create, read, list, delete, with the rules that all kinds share.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    operations::{Effect, Told},
    prices::parse_filter,
    wire::{Answer, Request},
    world::{Resource, World, kind_of},
};

impl World {
    /// Requests for groups and resources; `below`: the path under the subscription, lower-case.
    pub(crate) fn resource(&mut self, request: &Request, below: &[String]) -> Answer {
        let id = request.path.trim_end_matches('/').to_owned();
        match below.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["resourcegroups"] => self.list(request, |id| kind_of(id) == "resourcegroups"),
            ["resources"] => self.list(request, is_listed),
            ["providers", namespace, kind] => {
                let kind = format!("{namespace}/{kind}");
                self.list(request, |id| kind_of(id) == kind)
            }
            ["resourcegroups", _] => self.group(request, &id),
            ["resourcegroups", group, ..] if !self.resources.contains_key(&self.group_id(group)) => Answer::error(
                StatusCode::NOT_FOUND,
                "ResourceGroupNotFound",
                format!("Resource group '{group}' could not be found."),
            ),
            ["resourcegroups", group, "resources"] => {
                let prefix = format!("{}/providers/", self.group_id(group));
                self.list(request, |id| is_listed(id) && id.to_lowercase().starts_with(&prefix))
            }
            ["resourcegroups", _, "providers", _, .., "listclusterusercredential"] => {
                self.user_credential(id.rsplit_once('/').map_or("", |(cluster, _)| cluster))
            }
            ["resourcegroups", _, "providers", _, "virtualmachinescalesets", _, "virtualmachines"] => {
                self.machines(request)
            }
            ["resourcegroups", _, "providers", "microsoft.operationalinsights", "workspaces", _, "sharedkeys"] => {
                self.shared_keys(id.rsplit_once('/').map_or("", |(workspace, _)| workspace))
            }
            ["resourcegroups", _, "providers", _, rest @ ..] if rest.len() % 2 == 1 => {
                let prefix = format!("{}/", id.to_lowercase());
                let depth = id.split('/').count() + 1;
                self.list(request, |id| id.to_lowercase().starts_with(&prefix) && id.split('/').count() == depth)
            }
            ["resourcegroups", _, "providers", ..] => self.one(request, &id),
            _ => Answer::not_found(&request.path),
        }
    }

    pub(crate) fn group_id(&self, name: &str) -> String {
        format!("/subscriptions/{}/resourcegroups/{}", self.facts.subscription, name).to_lowercase()
    }

    fn list(&self, request: &Request, belongs: impl Fn(&str) -> bool) -> Answer {
        let filter = parse_filter(request.query("$filter")).unwrap_or_default();
        let value = |name: &str| filter.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let tagged = |resource: &Resource| match (value("tagName"), value("tagValue")) {
            (Some(name), Some(value)) => resource.body["tags"][name] == value,
            (Some(name), None) => !resource.body["tags"][name].is_null(),
            (None, _) => true,
        };
        let found: Vec<Value> = self
            .resources
            .values()
            .filter(|resource| resource.seen_from <= self.now && belongs(&resource.id) && tagged(resource))
            .map(|resource| resource.body.clone())
            .collect();
        self.page(request, &found)
    }

    fn group(&mut self, request: &Request, id: &str) -> Answer {
        let name = id.rsplit('/').next().unwrap_or_default().to_owned();
        let key = id.to_lowercase();
        match request.method {
            Method::PUT => self.put_group(request, id, &name),
            Method::GET | Method::HEAD => match self.resources.get(&key) {
                Some(group) if request.method == Method::GET => Answer::ok(group.body.clone()),
                Some(_) => Answer::empty(StatusCode::NO_CONTENT),
                None => Answer::error(
                    StatusCode::NOT_FOUND,
                    "ResourceGroupNotFound",
                    format!("Resource group '{name}' could not be found."),
                ),
            },
            Method::DELETE => self.delete(request, id, Told::Location),
            _ => Answer::empty(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn put_group(&mut self, request: &Request, id: &str, name: &str) -> Answer {
        let key = id.to_lowercase();
        if self.busy(&key) {
            return Answer::error(
                StatusCode::CONFLICT,
                "ResourceGroupBeingDeleted",
                format!("The resource group '{name}' is in deprovisioning state and cannot perform this operation."),
            );
        }
        if let Some(refused) = self.not_permitted("Microsoft.Resources/subscriptions/resourceGroups/write", id) {
            return refused;
        }
        let location = request.body["location"].as_str().unwrap_or_default();
        if location != self.facts.location {
            return Answer::error(
                StatusCode::BAD_REQUEST,
                "LocationNotAvailableForResourceGroup",
                format!("The provided location '{location}' is not available for resource group."),
            );
        }
        let status = if self.resources.contains_key(&key) { StatusCode::OK } else { StatusCode::CREATED };
        let mut body = request.body.clone();
        body["id"] = json!(id);
        body["name"] = json!(name);
        body["type"] = json!("Microsoft.Resources/resourceGroups");
        body["properties"] = json!({ "provisioningState": "Succeeded" });
        self.plant(id, body.clone());
        Answer::new(status, body)
    }

    fn one(&mut self, request: &Request, id: &str) -> Answer {
        let key = id.to_lowercase();
        match request.method {
            Method::GET => match self.resources.get(&key) {
                Some(resource) if resource.seen_from <= self.now => Answer::ok(resource.body.clone()),
                _ => Answer::not_found(id),
            },
            Method::PUT => self.put(request, id),
            Method::DELETE if is_small(&kind_of(id)) => self.delete(request, id, Told::Done),
            Method::DELETE => self.delete(request, id, Told::AsyncOperation),
            _ => Answer::empty(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn shared_keys(&self, workspace: &str) -> Answer {
        match self.not_permitted("Microsoft.OperationalInsights/workspaces/sharedKeys/action", workspace) {
            Some(refused) => refused,
            None if self.body(workspace).is_none() => Answer::not_found(workspace),
            None => Answer::ok(json!({ "primarySharedKey": "Zmlyc3Q=", "secondarySharedKey": "c2Vjb25k" })),
        }
    }

    fn put(&mut self, request: &Request, id: &str) -> Answer {
        let key = id.to_lowercase();
        let kind = kind_of(id);
        if let Some(refused) = self.not_permitted(&format!("{kind}/write"), id) {
            return refused;
        }
        let namespace = kind.split('/').next().unwrap_or_default();
        let registered = self
            .facts
            .providers
            .iter()
            .any(|(name, state)| name.eq_ignore_ascii_case(namespace) && state == "Registered");
        if !registered {
            return Answer::error(
                StatusCode::CONFLICT,
                "MissingSubscriptionRegistration",
                format!("The subscription is not registered to use namespace '{namespace}'."),
            );
        }
        if self.busy(&key) {
            return in_progress(id);
        }
        let made = match kind.as_str() {
            "microsoft.containerservice/managedclusters" => self.put_cluster(request, id),
            "microsoft.containerservice/managedclusters/agentpools" => self.put_pool(request, id),
            "microsoft.operationalinsights/workspaces" => Ok(Told::Nothing),
            kind if is_small(kind) => match id.rsplit_once("/providers/") {
                // What is attached to a resource needs it.
                Some((scope, _)) if self.body(scope).is_none() => Err(Answer::not_found(scope)),
                _ => Ok(Told::Done),
            },
            _ => {
                return Answer::error(
                    StatusCode::BAD_REQUEST,
                    "NoRegisteredProviderFound",
                    format!("The fake makes no {kind}."),
                );
            }
        };
        let told = match made {
            Ok(told) => told,
            Err(refused) => return refused,
        };
        let new = !self.resources.contains_key(&key);
        let mut body = request.body.clone();
        body["id"] = json!(id);
        body["name"] = json!(id.rsplit('/').next());
        body["type"] = json!(kind);
        body["properties"]["provisioningState"] = json!(if new { "Creating" } else { "Updating" });
        self.decorate(id, &mut body);
        let seen_from = if new { self.now + self.faults.unseen_for } else { self.now };
        self.resources.insert(key, Resource { id: id.to_owned(), body: body.clone(), seen_from });
        let status = if new { StatusCode::CREATED } else { StatusCode::OK };
        if told == Told::Done {
            body["properties"]["provisioningState"] = json!("Succeeded");
        }
        self.begin(request, id, Effect::Make, told, Answer::new(status, body))
    }

    fn delete(&mut self, request: &Request, id: &str, told: Told) -> Answer {
        let key = id.to_lowercase();
        let Some(resource) = self.resources.get(&key) else {
            let group = kind_of(id) == "resourcegroups";
            return if group { Answer::not_found(id) } else { Answer::empty(StatusCode::NO_CONTENT) };
        };
        let id = resource.id.clone();
        let action = match kind_of(&id).as_str() {
            "resourcegroups" => "Microsoft.Resources/subscriptions/resourceGroups/delete".to_owned(),
            kind => format!("{kind}/delete"),
        };
        if let Some(refused) = self.not_permitted(&action, &id) {
            return refused;
        }
        let locked = self.facts.locks.iter().find(|(scope, _)| key.starts_with(&scope.to_lowercase()));
        if let Some((scope, _)) = locked {
            return Answer::error(
                StatusCode::CONFLICT,
                "ScopeLocked",
                format!(
                    "The scope '{id}' cannot perform delete operation because following scope(s) are locked: '{scope}'."
                ),
            );
        }
        if self.busy(&key) {
            // The group is being deleted already: asked again, it goes on.
            let answer = if told == Told::Location { Answer::empty(StatusCode::ACCEPTED) } else { in_progress(&id) };
            return answer;
        }
        self.set_state(&key, "Deleting");
        let status = if told == Told::Done { StatusCode::OK } else { StatusCode::ACCEPTED };
        self.begin(request, &id, Effect::Remove, told, Answer::empty(status))
    }

    pub(crate) fn not_permitted(&self, action: &str, scope: &str) -> Option<Answer> {
        (!self.facts.permits(action)).then(|| {
            Answer::error(
                StatusCode::FORBIDDEN,
                "AuthorizationFailed",
                format!("The client does not have authorization to perform action '{action}' over scope '{scope}'."),
            )
        })
    }

    /// A removal has ended: the resource and everything in it are gone.
    pub(crate) fn removed(&mut self, key: &str) {
        let below = format!("{key}/");
        let gone: Vec<String> =
            self.resources.keys().filter(|id| *id == key || id.starts_with(&below)).cloned().collect();
        for id in gone {
            let Some(resource) = self.resources.remove(&id) else { continue };
            if kind_of(&id) == "microsoft.containerservice/managedclusters" {
                self.cluster_removed(&resource);
            } else if kind_of(&id) == "microsoft.containerservice/managedclusters/agentpools" {
                self.pool_removed(&id);
            }
        }
    }
}

/// Lists of all resources leave out groups, parts of resources, such as agent pools, and what is attached to others.
fn is_listed(id: &str) -> bool {
    kind_of(id).matches('/').count() == 1 && id.to_lowercase().matches("/providers/").count() == 1
}

/// What is made and removed while one waits for the answer.
fn is_small(kind: &str) -> bool {
    matches!(
        kind,
        "microsoft.containerservice/managedclusters/maintenanceconfigurations"
            | "microsoft.insights/datacollectionrules"
            | "microsoft.insights/datacollectionruleassociations"
    )
}

pub(crate) fn in_progress(id: &str) -> Answer {
    Answer::error(
        StatusCode::CONFLICT,
        "OperationNotAllowed",
        format!("Operation is not allowed because there's an in progress operation on '{id}'. Please try again later."),
    )
}
