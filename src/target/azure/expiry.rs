//! How long an environment is said to be needed: the tag `expires-at`, by which `cleanup --expired` goes. The latest of an
//! environment's groups counts, so that it is pushed out on one.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use democtl_core::render::azure::EXPIRES_TAG;
use serde_json::json;

use super::{Azure, LOOKING_ATTEMPTS, arm::RESOURCES};
use crate::failure::{Failure, Kind, OrFail as _};

/// How long from its setup, or its last run, an environment is needed.
const NEEDED_FOR: TimeDelta = TimeDelta::hours(24);

/// An end that is only so much too early stays.
const CLOSE: TimeDelta = TimeDelta::hours(1);

/// The end of what is needed at `now`.
pub fn after(now: DateTime<Utc>) -> String {
    (now + NEEDED_FOR).to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Azure {
    /// Pushes the tag of the resource group out to the environment's end. A later one is somebody's wish, and so is one that
    /// is no time, or none.
    pub async fn push_out(&self) -> Result<(), Failure> {
        let id = self.id();
        let what = || format!("the tag {EXPIRES_TAG} of {id} could not be pushed out to {}", self.place.expires_at);
        let arm = self.arm()?.with_attempts(LOOKING_ATTEMPTS);
        let Some(group) = arm.get(&id, RESOURCES).await.or_fail(Kind::Infrastructure, what)? else { return Ok(()) };
        let mut tags = group["tags"].clone();
        let time = |text: &str| DateTime::parse_from_rfc3339(text).ok();
        let (is, wanted) = (tags[EXPIRES_TAG].as_str().and_then(time), time(&self.place.expires_at));
        let early = is.zip(wanted).is_some_and(|(is, wanted)| is + CLOSE < wanted);
        if !early || !self.placement().owns(&tags) {
            return Ok(());
        }
        tags[EXPIRES_TAG] = json!(self.place.expires_at);
        let body = json!({ "location": group["location"], "tags": tags });
        arm.put(&id, RESOURCES, &body).await.or_fail(Kind::Infrastructure, what).map(|_| ())
    }
}
