//! Whatever goes wrong in Azure, through the binary and the real Terraform: each command ends done or with a reason, and a
//! cleanup leaves nothing that costs. The same at the level of ARM, for many more seeds, is in `leftovers`.

use std::time::Duration;

use democtl_fake_azure::{Faults, World};

use crate::end_to_end::{Outcome, SETUP, Stage};

/// A whole session takes some seconds: one of twenty of the seeds that CI tries at the level of ARM.
fn seeds() -> u64 {
    std::env::var("DEMOCTL_FAULT_SEEDS")
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .map_or(5, |seeds| (seeds / 20).max(1))
}

/// Done, or refused, or failed, and then in words: what failed, and what can be done or why it was.
fn ends_well(seed: u64, what: &str, outcome: &Outcome) {
    let said = &outcome.stderr;
    assert!(matches!(outcome.code, Some(0 | 3 | 4)), "seed {seed}: {what} ended with {:?}\n{said}", outcome.code);
    assert!(!said.contains("panicked"), "seed {seed}: {what}\n{said}");
    if outcome.code != Some(0) {
        let reason = said.contains("caused by: ") || said.contains("hint: ") || said.contains("REFUSED");
        assert!(said.contains("error: ") && reason, "seed {seed}: {what} does not say why\n{said}");
    }
}

/// Bad days from now on, of which so many come that most commands meet some.
fn break_it(stage: &Stage, seed: u64) {
    let mut faults = Faults::seeded(seed, 6);
    faults.longest_throttle = Duration::from_secs(1);
    stage.fake.world().faults = faults;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_schedule_of_faults_ends_in_words_and_costs_nothing_after_cleanup() {
    for seed in 0..seeds() {
        let mut world = World::default();
        world.style.gives_up = Some(Duration::from_secs(6 * 3600));
        let Some(stage) = Stage::new(world).await else { return };
        // Again: what was made is gone on with, what failed is made anew, what stands stays.
        for (index, what) in ["setup", "setup again"].into_iter().enumerate() {
            break_it(&stage, 3 * seed + index as u64);
            ends_well(seed, what, &stage.run(&SETUP).await);
        }
        let mut last = String::new();
        break_it(&stage, 3 * seed + 2);
        for _ in 0..6 {
            let outcome = stage.run(&["cleanup", "--all", "--yes"]).await;
            ends_well(seed, "cleanup", &outcome);
            let done = outcome.code == Some(0);
            last = outcome.stderr;
            if done {
                break;
            }
        }
        let world = stage.fake.world();
        assert_eq!(world.billed(), [], "seed {seed}: what costs money\n{last}");
        assert_eq!(world.ids(), Vec::<String>::new(), "seed {seed}\n{last}");
    }
}
