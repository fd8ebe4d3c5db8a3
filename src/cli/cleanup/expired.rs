//! `cleanup --expired`: what nobody needs any more, whoever made it; for a job that runs every night.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{CleanupResult, remove};
use crate::{
    cli::{Settings, azure::endpoint, session::Ask},
    failure::{Failure, Kind, OrFail as _},
    target::azure::{
        arm::Arm,
        expired::{Survey, Tagged, survey},
    },
    ui,
};

/// An environment of this machine.
struct Known {
    name: String,
    subscription: String,
    /// Whether its time is over, as was said at its setup; its tags know better.
    expired: bool,
}

pub(super) async fn run(subscription: Option<String>, ask: Ask, settings: &Settings) -> Result<(), Failure> {
    let now = Utc::now();
    let mut known = known(settings, now)?;
    if let Some(only) = &subscription {
        known.retain(|_, known| known.subscription.eq_ignore_ascii_case(only));
    }
    let here = known.values().map(|known| known.subscription.clone());
    let subscriptions: BTreeSet<String> = here.chain(subscription).map(|id| id.to_lowercase()).collect();
    if subscriptions.is_empty() {
        return Err(Failure::msg(Kind::Usage, "--expired needs a subscription: no environment here names one")
            .hint("--subscription ID, or AZURE_SUBSCRIPTION_ID; az account show --query id tells yours"));
    }
    let at = endpoint()?;
    let arm = settings.azure.arm(&at).or_fail(Kind::Preflight, || format!("cannot talk to Azure at {at}"))?;
    let mut result = CleanupResult::default();
    let mut others = Vec::new();
    for subscription in subscriptions {
        let survey = match surveyed(&arm, &subscription, settings).await {
            Ok(survey) => survey,
            Err(failure) if failure.kind() == Kind::Cancelled => return Err(failure),
            // The others are looked through all the same, and those of this machine as their setup said.
            Err(failure) => {
                result.add(&format!("subscription {subscription}"), Err(failure));
                continue;
            }
        };
        for line in &survey.unclear {
            ui::note(&format!("  {line}"));
        }
        for needed in &survey.needed {
            ui::note(&format!("  {} is needed until {}", needed.environment, needed.expires.to_rfc3339()));
            if let Some(known) = known.get_mut(&needed.id) {
                known.expired = false;
            }
        }
        for expired in survey.expired {
            match known.get_mut(&expired.id) {
                Some(known) => known.expired = true,
                None => others.push(expired),
            }
        }
    }
    // Those of this machine by their state, which knows more than any scan.
    for known in known.values().filter(|known| known.expired) {
        if settings.cancel.is_cancelled() {
            return Err(Failure::msg(Kind::Cancelled, "cancelled"));
        }
        let environment = settings.home.pick(Some(&known.name))?;
        result.add(&known.name, remove(&environment, settings, ask).await);
    }
    for expired in others {
        let removed = tokio::select! {
            removed = remove_tagged(&arm, &expired, ask, settings) => removed,
            () = settings.cancel.cancelled() => {
                let what = format!("cancelled: what Azure was told to remove of {} goes on", expired.environment);
                return Err(Failure::msg(Kind::Cancelled, what).hint("democtl cleanup --expired looks again"));
            }
        };
        result.add(&expired.environment, removed);
    }
    result.tell(settings, "nothing to remove: no environment is past its time")
}

async fn surveyed(arm: &Arm, subscription: &str, settings: &Settings) -> Result<Survey, Failure> {
    let what = || format!("cannot look through subscription {subscription}");
    tokio::select! {
        survey = survey(arm, subscription, Utc::now()) => survey.or_fail(Kind::Infrastructure, what),
        () = settings.cancel.cancelled() => Err(Failure::msg(Kind::Cancelled, "cancelled")),
    }
}

/// What of the azure target is set up here, by id. One that cannot be read is told: its subscription tells of it as well.
fn known(settings: &Settings, now: DateTime<Utc>) -> Result<BTreeMap<String, Known>, Failure> {
    let mut all = BTreeMap::new();
    for name in settings.home.names().or_fail(Kind::Other, || "cannot list the environments".to_owned())? {
        let place = match settings.home.pick(Some(&name))?.request() {
            Ok(request) => request.and_then(|request| request.azure),
            Err(failure) => {
                ui::note(&failure.to_string());
                None
            }
        };
        let Some(place) = place else { continue };
        let end = DateTime::parse_from_rfc3339(&place.expires_at);
        if end.is_err() {
            ui::note(&format!("  {name} expires at {:?}, which is no time: its tags decide", place.expires_at));
        }
        let expired = end.is_ok_and(|end| end <= now);
        all.insert(place.id, Known { name, subscription: place.subscription, expired });
    }
    Ok(all)
}

/// Removes one that another machine made, by its tags and without a state.
async fn remove_tagged(arm: &Arm, expired: &Tagged, ask: Ask, settings: &Settings) -> Result<(), Failure> {
    let progress = |line: &str| ui::note(line);
    let inventory = expired.inventory(arm, &progress).await?;
    ui::note(&format!(
        "{} expired at {} and would lose\n  {}",
        expired.environment,
        expired.expires.to_rfc3339(),
        inventory.lines.join("\n  ")
    ));
    if !ask.consent("remove all of it?", settings.cancel.clone()).await? {
        return Err(Failure::msg(Kind::Cancelled, "it was not agreed to"));
    }
    // A person may have thought about it for long, or the one before took its time.
    if !surveyed(arm, &expired.subscription, settings).await?.expired.contains(expired) {
        let what = format!("the tags of {} have changed meanwhile: it was left alone", expired.environment);
        return Err(Failure::msg(Kind::Infrastructure, what).hint("democtl cleanup --expired looks again"));
    }
    match expired.remove(arm, &inventory, &progress).await?.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] => {
            let what = format!("{} things are left, first {first}", rest.len() + 1);
            Err(rest.iter().fold(Failure::msg(Kind::Infrastructure, what), Failure::hint))
        }
    }
}
