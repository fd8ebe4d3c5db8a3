//! Environments of a subscription that nobody needs any more, as their tags say: for a job that runs every night, on a
//! machine that never saw them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use democtl_core::render::azure::{ENVIRONMENT_TAG, EXPIRES_TAG, ID_TAG, Placement};
use serde_json::Value;

use super::{
    arm::{Arm, ArmError, RESOURCES},
    locks, removal, roles, scan,
};
use crate::failure::{Failure, Kind, OrFail as _};

/// One environment as its tags tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// Its name.
    pub environment: String,
    /// Its id.
    pub id: String,
    /// The subscription that it lies in.
    pub subscription: String,
    /// When it may be removed.
    pub expires: DateTime<Utc>,
}

/// What there is in a subscription.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Past their time.
    pub expired: Vec<Tagged>,
    /// Still needed.
    pub needed: Vec<Tagged>,
    /// Groups whose tags do not say enough, in words: they are left alone.
    pub unclear: Vec<String>,
}

/// Looks through all resource groups that democtl has tagged.
pub async fn survey(arm: &Arm, subscription: &str, now: DateTime<Utc>) -> Result<Survey, ArmError> {
    let path = format!("/subscriptions/{subscription}/resourcegroups");
    let filter = format!("tagName eq '{ENVIRONMENT_TAG}'");
    let groups = arm.list(&path, RESOURCES, &[("$filter", &filter)]).await?;
    Ok(sort(&groups, subscription, now))
}

fn sort(groups: &[Value], subscription: &str, now: DateTime<Utc>) -> Survey {
    let mut survey = Survey::default();
    let mut known: BTreeMap<(String, String), DateTime<Utc>> = BTreeMap::new();
    let mut unclear = BTreeSet::new();
    for group in groups {
        match read(group) {
            // A group whose tag a person has prolonged keeps the others of its environment.
            Ok((key, expires)) => {
                let latest = known.entry(key).or_insert(expires);
                *latest = (*latest).max(expires);
            }
            Err(why) => {
                let tag = |tag: &str| group["tags"][tag].as_str().filter(|text| !text.is_empty());
                unclear.extend(tag(ENVIRONMENT_TAG).map(|environment| (environment, tag(ID_TAG))));
                survey.unclear.push(why);
            }
        }
    }
    // One group that says nothing keeps all of its environment; without an id, of each that has the name.
    let clear = known.into_iter().filter(|((environment, id), _)| {
        !unclear.contains(&(environment.as_str(), None))
            && !unclear.contains(&(environment.as_str(), Some(id.as_str())))
    });
    for ((environment, id), expires) in clear {
        let tagged = Tagged { environment, id, subscription: subscription.to_owned(), expires };
        let of = if expires <= now { &mut survey.expired } else { &mut survey.needed };
        of.push(tagged);
    }
    survey
}

/// Name, id and end, as the tags of a group say.
fn read(group: &Value) -> Result<((String, String), DateTime<Utc>), String> {
    let name = group["name"].as_str().unwrap_or("without a name");
    let tag = |tag: &str| {
        let text = group["tags"][tag].as_str().unwrap_or_default();
        if text.is_empty() {
            Err(format!("resource group {name} has no tag {tag}: its environment is left alone"))
        } else {
            Ok(text)
        }
    };
    let (environment, id, expires) = (tag(ENVIRONMENT_TAG)?, tag(ID_TAG)?, tag(EXPIRES_TAG)?);
    let end = DateTime::parse_from_rfc3339(expires).map_err(|_| {
        format!("resource group {name} has the tag {EXPIRES_TAG} {expires:?}, which is no time: its environment is left alone")
    })?;
    Ok(((environment.to_owned(), id.to_owned()), end.to_utc()))
}

/// What of an expired environment is there.
#[derive(Debug)]
pub struct Inventory {
    found: Vec<scan::Found>,
    principals: Vec<String>,
    /// One for each thing that would go, with its price.
    pub lines: Vec<String>,
}

fn group_names(found: &[scan::Found]) -> Vec<&str> {
    scan::groups(found).into_iter().map(scan::Found::name).collect()
}

impl Tagged {
    async fn scan(&self, arm: &Arm) -> Result<Vec<scan::Found>, Failure> {
        let placement = Placement {
            environment: &self.environment,
            id: &self.id,
            subscription: &self.subscription,
            expires_at: &self.expires.to_rfc3339(),
        };
        let what = || format!("cannot look for what is there of {}", self.environment);
        scan::scan_by_tags(arm, &placement).await.or_fail(Kind::Infrastructure, what)
    }

    /// Looks at what would go; refused where a lock holds it.
    pub async fn inventory(&self, arm: &Arm, progress: &(dyn Fn(&str) + Send + Sync)) -> Result<Inventory, Failure> {
        let found = self.scan(arm).await?;
        let groups = group_names(&found);
        removal::locked(&locks::readable(arm, &self.subscription, &groups).await?, &found)?;
        let what = || format!("cannot look at the cluster of {}", self.environment);
        let principals = roles::principals_in(arm, &found).await.or_fail(Kind::Infrastructure, what)?;
        let mut lines: Vec<String> = found.iter().map(scan::line).collect();
        lines.extend(roles::lines(arm, &self.subscription, &principals, &groups, progress).await);
        Ok(Inventory { found, principals, lines })
    }

    /// Removes it through ARM; yields what is left, in words.
    pub async fn remove(
        &self,
        arm: &Arm,
        inventory: &Inventory,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Vec<String>, Failure> {
        let what = || format!("not everything of {} could be removed", self.environment);
        let removed = scan::remove(arm, &inventory.found, progress).await;
        // Before anything is given up: once the cluster is gone nobody knows its identities.
        let Inventory { found, principals, .. } = inventory;
        let roles = roles::sweep(arm, &self.subscription, principals, found, &group_names(found), progress).await;
        removed.or_fail(Kind::Infrastructure, what)?;
        let mut left: Vec<String> = self.scan(arm).await?.iter().map(scan::line).collect();
        left.extend(roles.or_fail(Kind::Infrastructure, what)?);
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(name: &str, tags: &Value) -> Value {
        json!({ "name": name, "tags": tags })
    }

    fn tags(environment: &str, id: &str, expires: &str) -> Value {
        json!({ "democtl-environment": environment, "democtl-id": id, "expires-at": expires })
    }

    #[test]
    fn only_what_says_clearly_that_it_has_expired_has() {
        let now: DateTime<Utc> = "2026-11-26T12:00:00Z".parse().expect("a time");
        let groups = [
            group("past", &tags("past", "1", "2026-11-26T11:59:59Z")),
            group("past-nodes", &tags("past", "1", "2026-11-26T11:59:59Z")),
            group("now", &tags("now", "2", "2026-11-26T13:00:00+01:00")),
            group("future", &tags("future", "3", "2026-11-26T12:00:01Z")),
            group("prolonged", &tags("prolonged", "4", "2026-11-27T00:00:00Z")),
            group("prolonged-nodes", &tags("prolonged", "4", "2026-11-25T00:00:00Z")),
            group("no-date", &json!({ "democtl-environment": "x", "democtl-id": "5" })),
            group("no-id", &json!({ "democtl-environment": "x", "expires-at": "2020-01-01T00:00:00Z" })),
            group("wrong", &tags("wrong", "6", "yesterday")),
            group("wrong-nodes", &tags("wrong", "6", "2020-01-01T00:00:00Z")),
            group("namesake", &tags("wrong", "7", "2020-01-01T00:00:00Z")),
            group("namesake-of-no-id", &tags("x", "8", "2020-01-01T00:00:00Z")),
        ];
        let survey = sort(&groups, "s", now);
        let names = |all: &[Tagged]| all.iter().map(|one| one.environment.clone()).collect::<Vec<_>>();
        assert_eq!(names(&survey.expired), ["now", "past", "wrong"]);
        assert_eq!(survey.expired[2].id, "7", "another environment of the name");
        assert_eq!(names(&survey.needed), ["future", "prolonged"]);
        insta::assert_snapshot!(survey.unclear.join("\n"), @r#"
        resource group no-date has no tag expires-at: its environment is left alone
        resource group no-id has no tag democtl-id: its environment is left alone
        resource group wrong has the tag expires-at "yesterday", which is no time: its environment is left alone
        "#);
    }
}
