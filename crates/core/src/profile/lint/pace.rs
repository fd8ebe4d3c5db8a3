//! Windows against the pace of what they look at: scrapes, and the tests that follow each other.

use std::time::Duration;

use super::{Lint, push, scrape_interval};
use crate::{
    profile::{Profile, Scaling, Trigger, Workload},
    suite::{Executor, Test},
    units::format_duration,
};

/// HPA's window of scaling down where a profile tells none.
const DOWN_WINDOW: Duration = Duration::from_secs(300);
/// A test's load is over when no more than this share of its greatest is left.
const OVER: f64 = 0.25;

pub(super) fn pace(workload: &Workload, scaling: &Scaling, profile: &Profile, lints: &mut Vec<Lint>) {
    let path = format!("workload.{}.scaling.behavior", workload.name);
    let behavior = &scaling.behavior;
    let window = |rules: &Option<crate::profile::ScalingRules>| {
        rules.as_ref().and_then(|rules| rules.window).map(|seconds| Duration::from_secs(u64::from(seconds)))
    };
    let (up, down) = (window(&behavior.scale_up), window(&behavior.scale_down));
    let scraped = scaling.triggers.iter().any(|trigger| matches!(trigger, Trigger::Prometheus { .. }));
    if let Some(scrape) = scrape_interval(profile).filter(|_| scraped) {
        // No window upwards is a choice: act at once. Downwards it flaps.
        let short = [("scale_up", up.filter(|up| !up.is_zero())), ("scale_down", down)];
        for (key, window) in short.into_iter().filter_map(|(key, window)| Some((key, window?))) {
            if window < scrape {
                let message = format!(
                    "a stabilisation window of {} is shorter than a scrape of {}: it sees one sample and steadies \
                     nothing",
                    format_duration(window),
                    format_duration(scrape)
                );
                let hint = "a window of several scrapes, or a shorter scrape_interval";
                push(lints, "window_shorter_than_scrape", format!("{path}.{key}.window"), message, hint);
            }
        }
    }
    let down = down.unwrap_or(DOWN_WINDOW);
    let pairs = profile.suite.tests.windows(2).filter(|pair| down > cool_off(&pair[0]));
    // The greater the load, the more it leaves behind.
    let Some([before, after]) = pairs.max_by_key(|pair| most_vus(&pair[0])) else { return };
    let message = format!(
        "replicas stay for {} after their load, and `{}` follows {} after that of `{}`: it may begin with what `{}` left",
        format_duration(down),
        after.name,
        format_duration(cool_off(before)),
        before.name,
        before.name
    );
    let hint = "a shorter scale_down window, a longer last stage, or judge the tests one by one (--test)";
    push(lints, "scale_down_outlasts_pause", format!("{path}.scale_down.window"), message, hint);
}

fn most_vus(test: &Test) -> u32 {
    match &test.executor {
        Executor::ConstantVus { vus, .. } => *vus,
        Executor::RampingVus { stages, .. } => stages.iter().map(|stage| stage.target).max().unwrap_or(0),
    }
}

/// How long a test goes on after its load is over.
fn cool_off(test: &Test) -> Duration {
    let Executor::RampingVus { stages, .. } = &test.executor else { return Duration::ZERO };
    let most = f64::from(most_vus(test));
    let over = stages.iter().rev().take_while(|stage| f64::from(stage.target) <= OVER * most);
    over.map(|stage| stage.duration).sum()
}
