//! Resource locks: they keep cleanup from its work, and only who put them there may take them away.
//!
//! A lock on a group holds all that is in it; one on something in a group holds the group as well:
//! <https://learn.microsoft.com/azure/azure-resource-manager/management/lock-resources>.

use std::fmt::Write as _;

use serde_json::Value;

use super::arm::{Arm, ArmError};
use crate::failure::{Failure, Kind, OrFail as _};

const LOCKS: &str = "2020-05-01";

/// One lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// ARM's id.
    pub id: String,
    /// `CanNotDelete` or `ReadOnly`.
    pub level: String,
    /// Who put it there, where ARM says so.
    pub by: Option<String>,
    /// When, RFC 3339.
    pub since: Option<String>,
    /// What they say of it.
    pub notes: Option<String>,
}

impl Lock {
    fn read(lock: &Value) -> Self {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            id: text(&lock["id"]).unwrap_or_default(),
            level: text(&lock["properties"]["level"]).unwrap_or_else(|| "unknown".to_owned()),
            by: text(&lock["systemData"]["createdBy"]),
            since: text(&lock["systemData"]["createdAt"]),
            notes: text(&lock["properties"]["notes"]),
        }
    }

    /// Whether it holds one of these groups (lower-case names), or something in them.
    fn concerns(&self, groups: &[String]) -> bool {
        let id = self.id.to_lowercase();
        match id.split_once("/resourcegroups/") {
            // On the subscription, or above it.
            None => true,
            Some((_, below)) => below.split('/').next().is_some_and(|name| groups.iter().any(|group| group == name)),
        }
    }

    /// The lock in words.
    pub fn line(&self) -> String {
        let mut text = format!("{} {}", self.level, self.id);
        if let Some(by) = &self.by {
            let _ = write!(text, ", put there by {by}");
        }
        if let Some(since) = &self.since {
            let _ = write!(text, " on {}", since.split('T').next().unwrap_or(since));
        }
        if let Some(notes) = &self.notes {
            let _ = write!(text, ": \"{notes}\"");
        }
        text
    }

    /// How its owner takes it away.
    pub fn remedy(&self) -> String {
        format!("az lock delete --ids {}", self.id)
    }
}

/// Those on groups; none where the login may not read locks, which learns of them when Azure refuses.
pub async fn readable(arm: &Arm, subscription: &str, groups: &[&str]) -> Result<Vec<Lock>, Failure> {
    match on(arm, subscription, groups).await {
        Err(error) if error.status() == Some(403) => Ok(Vec::new()),
        locks => locks.or_fail(Kind::Infrastructure, || "whether a lock keeps anything is not known".to_owned()),
    }
}

/// Locks of a subscription that hold one of these groups, whatever the case of their names.
pub async fn on(arm: &Arm, subscription: &str, groups: &[&str]) -> Result<Vec<Lock>, ArmError> {
    let groups: Vec<String> = groups.iter().map(|name| name.to_lowercase()).collect();
    let path = format!("/subscriptions/{subscription}/providers/Microsoft.Authorization/locks");
    let all = arm.list(&path, LOCKS, &[]).await?;
    Ok(all.iter().map(Lock::read).filter(|lock| lock.concerns(&groups)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Lock;

    #[test]
    fn a_lock_holds_what_it_lies_on_and_what_it_lies_in() {
        let lock = |scope: &str| {
            let id = format!("{scope}/providers/Microsoft.Authorization/locks/keep");
            Lock::read(&json!({ "id": id, "properties": { "level": "CanNotDelete" } }))
        };
        let ours = ["demo".to_owned(), "demo-nodes".to_owned()];
        let rows = [
            ("/subscriptions/s", true),
            ("/subscriptions/s/resourceGroups/Demo", true),
            ("/subscriptions/s/resourceGroups/demo/providers/Microsoft.Network/loadBalancers/x", true),
            ("/subscriptions/s/resourceGroups/demo-nodes", true),
            ("/subscriptions/s/resourceGroups/demo2", false),
            ("/subscriptions/s/resourceGroups/other/providers/Microsoft.Network/loadBalancers/demo", false),
        ];
        for (scope, held) in rows {
            assert_eq!(lock(scope).concerns(&ours), held, "{scope}");
        }
    }

    #[test]
    fn who_put_it_there_is_told() {
        let lock = json!({
            "id": "/s/locks/keep", "properties": { "level": "ReadOnly", "notes": "audit" },
            "systemData": { "createdBy": "ann@example.com", "createdAt": "2026-01-02T03:04:05Z" },
        });
        let line = Lock::read(&lock).line();
        assert_eq!(line, "ReadOnly /s/locks/keep, put there by ann@example.com on 2026-01-02: \"audit\"");
        let bare = Lock::read(&json!({ "id": "/s/locks/keep" })).line();
        assert_eq!(bare, "unknown /s/locks/keep");
    }
}
