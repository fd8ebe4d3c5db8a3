//! The activity log, and machines that Azure does not have.
//! <https://learn.microsoft.com/rest/api/monitor/activity-logs/list>

use serde_json::{Value, json};

use crate::{
    wire::{Answer, Request},
    world::World,
};

/// An operation that failed.
#[derive(Debug, Clone)]
pub struct Activity {
    /// When, RFC 3339 in UTC without fractions.
    pub at: String,
    /// Id of the resource that it was done to.
    pub resource: String,
    /// Such as `AllocationFailed`.
    pub code: String,
    /// Azure's words.
    pub message: String,
}

impl World {
    /// A pool of a cluster cannot get machines: its scale set's write fails, and AKS says so of the pool.
    pub fn refuse_machines(&mut self, pool: &str, at: &str, code: &str, message: &str) {
        let key = pool.to_lowercase();
        let (cluster, name) = key.split_once("/agentpools/").unwrap_or((&key, ""));
        let group = self.node_group(cluster);
        let resource = format!("{group}/providers/Microsoft.Compute/virtualMachineScaleSets/aks-{name}-vmss");
        if let Some(mut body) = self.body(pool).cloned() {
            body["properties"]["provisioningState"] = json!("Failed");
            body["properties"]["status"] = json!({ "provisioningError": { "code": code, "message": message } });
            self.plant(pool, body);
        }
        let (code, message) = (code.to_owned(), message.to_owned());
        self.activity.push(Activity { at: at.to_owned(), resource, code, message });
    }

    pub(crate) fn activity_log(&self, request: &Request) -> Answer {
        let filter = request.query("$filter");
        let quoted = |after: &str| {
            let rest = filter.split_once(after)?.1.split_once('\'')?.1;
            Some(rest.split_once('\'')?.0.to_owned())
        };
        let Some(since) = quoted("eventTimestamp ge ") else {
            let message = "The filter must have eventTimestamp as a lower bound.";
            return Answer::error(http::StatusCode::BAD_REQUEST, "BadRequest", message);
        };
        let group = quoted("resourceGroupName eq ").map(|name| format!("/resourcegroups/{}/", name.to_lowercase()));
        let wanted = |entry: &&Activity| {
            entry.at >= since && group.as_ref().is_none_or(|group| entry.resource.to_lowercase().contains(group))
        };
        let entries: Vec<Value> = self
            .activity
            .iter()
            .enumerate()
            .filter(|(_, entry)| wanted(entry))
            .map(|(n, entry)| told(n, entry))
            .collect();
        self.page(request, &entries)
    }

    /// The machines of a scale set, which follow from its capacity.
    pub(crate) fn machines(&self, request: &Request) -> Answer {
        let set = request.path.trim_end_matches('/').rsplit_once('/').map_or("", |(set, _)| set);
        let Some(body) = self.body(set) else { return Answer::not_found(set) };
        let name = body["name"].as_str().unwrap_or_default();
        let made = body["properties"]["timeCreated"].as_str().unwrap_or_default();
        let made = chrono::DateTime::parse_from_rfc3339(made).unwrap_or_default();
        let seen = request.query("$expand") == "instanceView";
        let machine = |index: u64| {
            let ran = made + chrono::TimeDelta::seconds(70 + 5 * i64::try_from(index).unwrap_or(0));
            let view = json!({ "statuses": [
                { "code": "ProvisioningState/succeeded", "level": "Info", "time": ran.to_rfc3339() },
                { "code": "PowerState/running", "level": "Info" },
            ] });
            json!({
                "id": format!("{set}/virtualMachines/{index}"), "name": format!("{name}_{index}"),
                "instanceId": index.to_string(), "properties": {
                    "provisioningState": "Succeeded", "timeCreated": made.to_rfc3339(),
                    "instanceView": if seen { view } else { Value::Null },
                },
            })
        };
        let all: Vec<Value> = (0..body["sku"]["capacity"].as_u64().unwrap_or(0)).map(machine).collect();
        self.page(request, &all)
    }
}

fn told(number: usize, entry: &Activity) -> Value {
    let error = json!({ "status": "Failed", "error": {
        "code": "ResourceOperationFailure", "message": "The resource operation completed with terminal provisioning state 'Failed'.",
        "details": [{ "code": entry.code, "message": entry.message }],
    } });
    json!({
        "eventDataId": format!("event-{number}"), "eventTimestamp": entry.at, "resourceId": entry.resource,
        "status": { "value": "Failed" }, "operationName": { "value": "Microsoft.Compute/virtualMachineScaleSets/write" },
        "properties": { "statusCode": "Conflict", "statusMessage": error.to_string() },
    })
}
