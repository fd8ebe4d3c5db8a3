//! What a reader of a recording must know of how it came about: that it began off the baseline, or was not ended.

use std::time::Duration;

use crate::{
    capacity,
    event::Fact,
    explain::Recording,
    profile::Profile,
    timeline::{Counts, Moment},
    units::format_duration,
};

/// How a run began that found `now`; none where that is the baseline.
pub fn beginning(profile: &Profile, now: &Counts) -> Option<String> {
    let off = off_baseline(profile, now);
    let text = || format!("the run began off the baseline, with {}: what was before it shows in it", off.join(", "));
    (!off.is_empty()).then(text)
}

/// Everything that there is to know of a recording besides what it tells.
pub fn caveats(recording: &Recording<'_>) -> Vec<String> {
    let events = recording.events;
    let begun = events.iter().position(|event| matches!(event.fact, Fact::RunStarted { .. }));
    let before = begun.map(|begun| Moment::of(&events[..begun]).now);
    let beginning = before.and_then(|now| beginning(recording.profile, &now));
    beginning.into_iter().chain(ending(recording)).collect()
}

/// How what there is differs from a fresh environment, such as `10 pods of web (2 at the baseline)`; what is not known is
/// not compared.
fn off_baseline(profile: &Profile, now: &Counts) -> Vec<String> {
    let mut off = Vec::new();
    for workload in &profile.workloads {
        let Some(ready) = now.pods.get(&workload.name).copied() else { continue };
        if ready != workload.replicas as i32 {
            off.push(format!("{ready} ready pods of {} ({} at the baseline)", workload.name, workload.replicas));
        }
    }
    let sum = |count: fn(&crate::profile::Pool) -> u32| profile.pools.iter().map(count).sum::<u32>() as i32;
    let least = sum(|pool| pool.min);
    let most = sum(|pool| pool.count).max(capacity::needed(profile, capacity::least_replicas).total() as i32);
    if now.nodes > most || (1..least).contains(&now.nodes) {
        off.push(format!("{} ready nodes ({} at the baseline)", now.nodes, now.nodes.clamp(least, most)));
    }
    off
}

/// How a run ended that did not come to its end.
fn ending(recording: &Recording<'_>) -> Option<String> {
    let last = recording.events.last()?;
    if recording.events.iter().any(|event| matches!(event.fact, Fact::RunFinished { .. })) {
        return None;
    }
    let cancelled = recording.events.iter().any(|event| event.fact == Fact::RunCancelled);
    let how = if cancelled { "was cancelled" } else { "has no end (it still goes on, or was killed)" };
    let at = format_duration(Duration::from_secs(last.at_s as u64));
    let test = recording.events.iter().rev().find_map(|event| match &event.fact {
        Fact::TestStarted { test } => Some(format!(", in the test {test}, which is not judged")),
        Fact::TestFinished { test, .. } => Some(format!(", after the test {test}")),
        _ => None,
    });
    Some(format!(
        "the run {how}: it is recorded up to {at}{}",
        test.unwrap_or_else(|| ", before its first test".to_owned())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    fn profile() -> Profile {
        Profile::load_builtin("m3demo2", &[]).expect("built in").expect("valid")
    }

    fn caveats_of(facts: Vec<Fact>) -> Vec<String> {
        let event = |(id, fact)| Event { id, at_s: 10.0 * id as f64, time: String::new(), cause: None, fact };
        let events: Vec<_> = (1..).zip(facts).map(event).collect();
        caveats(&Recording { profile: &profile(), events: &events, tests: &[] })
    }

    fn pods(ready: i32) -> Fact {
        Fact::Pods { workload: "web".into(), ready, pending: 0, total: ready }
    }

    fn started() -> Fact {
        Fact::RunStarted { environment: "trial".into(), profile: "m3demo2".into(), speed: 1.0 }
    }

    #[test]
    fn what_a_run_found_is_compared_with_a_fresh_environment() {
        let finished = Fact::RunFinished { passed: true };
        assert_eq!(caveats_of(vec![pods(2), started(), pods(10), finished.clone()]), Vec::<String>::new());
        let off = "the run began off the baseline, with 10 ready pods of web (2 at the baseline): what was before it shows in it";
        assert_eq!(caveats_of(vec![pods(2), pods(10), started(), pods(2), finished]), [off]);
        let nodes = |nodes| off_baseline(&profile(), &Counts { nodes, ..Counts::default() });
        assert_eq!(nodes(4), ["4 ready nodes (2 at the baseline)"]);
        assert_eq!(nodes(1), ["1 ready nodes (2 at the baseline)"]);
        assert_eq!((nodes(2), nodes(0)), (vec![], vec![]), "0 is a number that is not known");
    }

    #[test]
    fn a_run_without_an_end_says_so() {
        let begun = |test: &str| Fact::TestStarted { test: test.into() };
        let ended = Fact::TestFinished { test: "soak".into(), passed: true };
        assert_eq!(
            caveats_of(vec![started(), begun("soak"), ended.clone(), begun("spike"), Fact::RunCancelled]),
            ["the run was cancelled: it is recorded up to 50s, in the test spike, which is not judged"]
        );
        assert_eq!(
            caveats_of(vec![started(), begun("soak"), ended]),
            ["the run has no end (it still goes on, or was killed): it is recorded up to 30s, after the test soak"]
        );
        let cancelled = Fact::RunFinished { passed: true };
        assert_eq!(caveats_of(vec![started(), cancelled, Fact::RunCancelled]), Vec::<String>::new());
    }
}
