//! What a recorded run says of the durations that its profile assumes: backend times, CPU, start-up, batches, machines.
//!
//! Each is taken where the recording shows it by itself: backend times where no request waited for a place, CPU while the
//! number of pods stood still, batches while the queue was never empty. What the forecast adds to a duration (network,
//! timer, probe) is taken off again, so that a forecast's own recording gives its own profile back. What a run does not
//! show is not fitted and the reason told.

mod pods;
mod web;
mod work;

use std::time::Duration;

use serde::Serialize;

use crate::{
    explain::{Recording, track::Track},
    profile,
    units::format_duration,
};

/// A duration of the profile, as it is assumed and as a run shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// Where the profile has it, such as `workload.web.read_all`.
    pub path: String,
    /// What the profile says, as it is written there.
    pub assumed: String,
    /// What the run shows, as the profile would say it; none where it does not show it, or agrees.
    pub fitted: Option<String>,
    /// By how much that is above what is assumed, as a share of it.
    pub difference: Option<f64>,
    /// From how many observations.
    pub samples: u64,
    /// Of what, or why there is none.
    pub basis: String,
}

impl Fit {
    fn of(path: String, assumed: Duration, seen: Seen) -> Self {
        let fitted = seen.value.map(readable);
        let share = |fitted: Duration| fitted.as_secs_f64() / assumed.as_secs_f64() - 1.0;
        Self {
            path,
            assumed: format_duration(assumed),
            fitted: fitted.map(format_duration),
            difference: fitted.filter(|_| !assumed.is_zero()).map(share),
            samples: seen.samples,
            basis: seen.basis,
        }
    }
}

/// What a run shows of a duration.
struct Seen {
    value: Option<Duration>,
    samples: u64,
    basis: String,
}

impl Seen {
    fn nothing(why: &str) -> Self {
        Self { value: None, samples: 0, basis: why.to_owned() }
    }
}

/// Three digits are more than any of them is worth.
fn readable(duration: Duration) -> Duration {
    let nanos = duration.as_nanos() as f64;
    let step = 10_f64.powf((nanos.max(1.0).log10().floor() - 2.0).max(0.0));
    Duration::from_nanos(((nanos / step).round() * step) as u64)
}

/// A profile that extends another one: overrides first, then what was fitted. Yields the text, and those overrides that
/// change an item of a list, which such a text cannot have.
pub fn extending(profile: &str, sets: &[(String, String)], fits: &[Fit]) -> (String, Vec<String>) {
    let mut document = toml_edit::DocumentMut::new();
    document["extends"] = toml_edit::value(profile);
    let mut left = Vec::new();
    let fitted = fits.iter().filter_map(|fit| Some((fit.path.clone(), fit.fitted.clone()?, true)));
    let sets = sets.iter().map(|(path, value)| (path.clone(), value.clone(), false));
    for (path, value, is_text) in sets.chain(fitted) {
        let keys: Vec<&str> = path.split('.').collect();
        if keys.iter().any(|key| key.parse::<usize>().is_ok()) {
            left.push(format!("{path}={value}"));
            continue;
        }
        let parsed = value.parse::<toml_edit::Value>().ok().filter(|_| !is_text);
        profile::put(document.as_table_mut(), &keys, parsed.unwrap_or_else(|| value.into()));
    }
    (document.to_string(), left)
}

/// Everything that a recording shows, in the profile's order.
pub fn calibrate(recording: &Recording<'_>) -> Vec<Fit> {
    let track = Track::of(recording);
    let mut fits = web::fits(recording, &track);
    fits.extend(work::fits(recording, &track));
    fits.extend(pods::fits(recording, &track));
    fits
}
