//! What went wrong in Azure's own eyes: failed operations of the activity log.
//!
//! <https://learn.microsoft.com/rest/api/monitor/activity-logs/list>

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::{
    arm::{Arm, ArmError},
    pools::Trouble,
};

const INSIGHTS: &str = "2015-04-01";

/// An operation that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailedOperation {
    /// Azure's id of the entry.
    pub(super) id: String,
    /// What it was done to: type and name, such as `virtualMachineScaleSets/aks-main-1-vmss`.
    pub(super) resource: String,
    /// Why it failed.
    pub(super) trouble: Trouble,
}

/// Failed operations in a resource group since a moment.
pub(super) async fn failures(
    arm: &Arm,
    subscription: &str,
    group: &str,
    since: DateTime<Utc>,
) -> Result<Vec<FailedOperation>, ArmError> {
    let path = format!("/subscriptions/{subscription}/providers/Microsoft.Insights/eventtypes/management/values");
    let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
    let filter = format!("eventTimestamp ge '{since}' and resourceGroupName eq '{group}'");
    let entries = arm.list(&path, INSIGHTS, &[("$filter", &filter)]).await?;
    Ok(entries.iter().filter_map(failed).collect())
}

fn failed(entry: &Value) -> Option<FailedOperation> {
    if entry["status"]["value"] != "Failed" {
        return None;
    }
    let resource = entry["resourceId"].as_str().unwrap_or_default();
    let mut parts = resource.rsplit('/');
    let (name, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let operation = entry["operationName"]["value"].as_str().unwrap_or("an operation");
    let id = entry["eventDataId"].as_str().or(entry["id"].as_str()).unwrap_or(resource);
    let properties = &entry["properties"];
    let trouble = properties["statusMessage"].as_str().and_then(innermost).unwrap_or_else(|| Trouble {
        code: properties["statusCode"].as_str().unwrap_or("Failed").to_owned(),
        message: format!("{operation} failed"),
    });
    Some(FailedOperation { id: id.to_owned(), resource: format!("{kind}/{name}"), trouble })
}

/// The error in a status message, which is JSON in a text; the innermost tells the cause.
fn innermost(message: &str) -> Option<Trouble> {
    let message: Value = serde_json::from_str(message).ok()?;
    let mut error = &message["error"];
    while error["details"][0]["code"].is_string() {
        error = &error["details"][0];
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let code = error["code"].as_str()?.to_owned();
    Some(Trouble { code, message: text(&error["message"]) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_innermost_error_of_a_failed_entry_is_told() {
        let status = json!({ "status": "Failed", "error": {
            "code": "ResourceOperationFailure", "message": "outer",
            "details": [{ "code": "ZonalAllocationFailed", "message": "We do not have\r\n sufficient capacity." }],
        } });
        let entry = |status: &str, message: &str| {
            json!({
                "eventDataId": "e1", "status": { "value": status }, "operationName": { "value": "write" },
                "resourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/v",
                "properties": { "statusCode": "Conflict", "statusMessage": message },
            })
        };
        let told = failed(&entry("Failed", &status.to_string())).expect("it failed");
        assert_eq!((told.id.as_str(), told.resource.as_str()), ("e1", "virtualMachineScaleSets/v"));
        let trouble =
            Trouble { code: "ZonalAllocationFailed".into(), message: "We do not have sufficient capacity.".into() };
        assert_eq!(told.trouble, trouble);
        let bare = failed(&entry("Failed", "not JSON")).expect("it failed").trouble;
        assert_eq!(bare, Trouble { code: "Conflict".into(), message: "write failed".into() });
        assert_eq!(failed(&entry("Succeeded", "")), None);
        assert_eq!(failed(&json!({})), None);
    }
}
