//! What a real run draws by its seed, and its forecast with it: the same users pause as long, the same machines boot as
//! long; a scheduler breaks ties alike, as long as it is asked for the same pods. What else is left to chance (endpoints) a
//! run draws in an order that nobody can foresee.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// The scheduler's choices among nodes that are as good.
pub use crate::random::Random as Ties;

/// The choices of a seed.
pub fn ties(seed: u64) -> Ties {
    Ties::new(seed, "placement", 0)
}

/// The pauses of one virtual user of a test.
#[derive(Debug)]
pub struct Pauses(StdRng);

impl Pauses {
    /// Those of a seed, a test and a user's number.
    pub fn new(seed: u64, test: &str, vu: u32) -> Self {
        // FNV-1a: the same on every machine and release, which `Hash` does not promise.
        let bytes = seed.to_le_bytes().into_iter().chain(test.bytes()).chain(vu.to_le_bytes());
        let mixed =
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(StdRng::seed_from_u64(mixed))
    }

    /// The next one, between both ends.
    pub fn next(&mut self, least: Duration, most: Duration) -> Duration {
        if least < most { self.0.random_range(least..=most) } else { least }
    }
}

/// How long machines take from being asked for to a ready node.
#[derive(Debug)]
pub struct Boots(StdRng);

impl Boots {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// The next machine's, between both ends.
    pub fn next(&mut self, least: Duration, most: Duration) -> Duration {
        if least < most { self.0.random_range(least..=most) } else { least }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(3);

    #[test]
    fn pauses_depend_on_seed_test_and_user() {
        let draw = |seed, test: &str, vu| {
            let mut pauses = Pauses::new(seed, test, vu);
            [(); 8].map(|()| pauses.next(LEAST, MOST))
        };
        assert_eq!(draw(1, "soak", 1), draw(1, "soak", 1));
        for other in [draw(2, "soak", 1), draw(1, "soak", 2), draw(1, "load", 1)] {
            assert_ne!(draw(1, "soak", 1), other);
        }
        assert!(draw(3, "soak", 4).iter().all(|pause| (LEAST..=MOST).contains(pause)));
        assert_eq!(Pauses::new(1, "soak", 1).next(MOST, MOST), MOST);
    }

    #[test]
    fn boots_of_a_seed_are_the_same_and_within_their_range() {
        let draw = |seed| {
            let mut boots = Boots::new(seed);
            [(); 20].map(|()| boots.next(LEAST, MOST))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(3).iter().all(|delay| (LEAST..=MOST).contains(delay)));
    }
}
