//! `cleanup --expired`: what nobody needs any more, whoever made it; for a job that runs every night.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{CleanupResult, remove};
use crate::{
    cli::{Settings, azure::endpoint, session::Ask},
    failure::{Failure, Kind, OrFail as _},
    target::azure::{
        arm::Arm,
        expired::{Tagged, survey},
    },
    ui,
};

/// Environments of this machine.
#[derive(Default)]
struct Known {
    ids: BTreeSet<String>,
    subscriptions: BTreeSet<String>,
    expired: Vec<String>,
}

pub(super) async fn run(subscription: Option<String>, ask: Ask, settings: &Settings) -> Result<(), Failure> {
    let now = Utc::now();
    let known = known(settings, now)?;
    let subscriptions = match subscription {
        Some(subscription) => BTreeSet::from([subscription]),
        None => known.subscriptions.clone(),
    };
    if subscriptions.is_empty() {
        return Err(Failure::msg(Kind::Usage, "--expired needs a subscription: no environment here names one")
            .hint("--subscription ID, or AZURE_SUBSCRIPTION_ID; az account show --query id tells yours"));
    }
    let mut result = CleanupResult::default();
    // Those of this machine by their state, which knows more than any scan.
    for name in &known.expired {
        let environment = settings.home.pick(Some(name))?;
        result.add(name, remove(&environment, settings, ask).await);
    }
    let at = endpoint()?;
    let arm = settings.azure.arm(&at).or_fail(Kind::Preflight, || format!("cannot talk to Azure at {at}"))?;
    for subscription in subscriptions {
        let what = || format!("cannot look through subscription {subscription}");
        let survey = tokio::select! {
            survey = survey(&arm, &subscription, now) => survey.or_fail(Kind::Infrastructure, what)?,
            () = settings.cancel.cancelled() => return Err(Failure::msg(Kind::Cancelled, "cancelled")),
        };
        for line in &survey.unclear {
            ui::note(&format!("  {line}"));
        }
        for needed in &survey.needed {
            ui::note(&format!("  {} is needed until {}", needed.environment, needed.expires.to_rfc3339()));
        }
        // One of this machine that could not be removed above is not removed behind its back.
        for expired in survey.expired.iter().filter(|expired| !known.ids.contains(&expired.id)) {
            result.add(&expired.environment, remove_tagged(&arm, expired, ask, settings).await);
        }
    }
    result.tell(settings, "nothing to remove: no environment is past its time")
}

/// What of the azure target is set up here. One that cannot be read is told: its subscription tells of it as well.
fn known(settings: &Settings, now: DateTime<Utc>) -> Result<Known, Failure> {
    let mut known = Known::default();
    for name in settings.home.names().or_fail(Kind::Other, || "cannot list the environments".to_owned())? {
        let place = match settings.home.pick(Some(&name))?.request() {
            Ok(request) => request.and_then(|request| request.azure),
            Err(failure) => {
                ui::note(&failure.to_string());
                None
            }
        };
        let Some(place) = place else { continue };
        match DateTime::parse_from_rfc3339(&place.expires_at) {
            Ok(end) if end <= now => known.expired.push(name),
            Ok(_) => {}
            Err(error) => {
                ui::note(&format!(
                    "  {name} expires at {:?}, which is no time ({error}): left alone",
                    place.expires_at
                ));
            }
        }
        known.ids.insert(place.id);
        known.subscriptions.insert(place.subscription);
    }
    Ok(known)
}

/// Removes one that another machine made, by its tags and without a state.
async fn remove_tagged(arm: &Arm, expired: &Tagged, ask: Ask, settings: &Settings) -> Result<(), Failure> {
    let inventory = expired.inventory(arm).await?;
    let lines = inventory.lines();
    ui::note(&format!(
        "{} expired at {} and would lose\n  {}",
        expired.environment,
        expired.expires.to_rfc3339(),
        lines.join("\n  ")
    ));
    if !ask.consent("remove all of it?", settings.cancel.clone()).await? {
        return Err(Failure::msg(Kind::Cancelled, "nothing was removed"));
    }
    match expired.remove(arm, &inventory, &|line: &str| ui::note(line)).await?.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] => {
            let what = format!("{} things are left, first {first}", rest.len() + 1);
            Err(rest.iter().fold(Failure::msg(Kind::Infrastructure, what), Failure::hint))
        }
    }
}
