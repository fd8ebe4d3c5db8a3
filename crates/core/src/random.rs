//! Random numbers that are the same on every machine and in every release: `SplitMix64`.
//!
//! `rand`'s own `StdRng` may be another generator in its next version; what a seed gave would change with it.

use std::convert::Infallible;

use rand::{Rng, TryRng};

/// A stream of numbers.
///
/// <https://prng.di.unimi.it/splitmix64.c>: 8 bytes of state, which a virtual user can afford.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed, for one purpose and one of its users.
    pub(crate) fn new(seed: u64, purpose: &str, number: u64) -> Self {
        let bytes = seed.to_le_bytes().into_iter().chain(purpose.bytes()).chain(number.to_le_bytes());
        // FNV-1a.
        let hash =
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(hash)
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..n`; `n` is above 0. Its bias is below `n / 2^64`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        below(self, n)
    }

    /// One of `least..=most`.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// One of `0..n` from any generator, by a rule of our own: that of `rand` may change; `n` is above 0.
pub(crate) fn below(random: &mut impl Rng, n: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(n)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_apart_and_stay_in_their_range() {
        let mut random = Random::new(1, "vu", 7);
        let mut other = Random::new(1, "vu", 8);
        assert_ne!(random.next(), other.next());
        let draws: Vec<u64> = (0..1000).map(|_| random.between(3, 5)).collect();
        assert!(draws.iter().all(|draw| (3..=5).contains(draw)));
        assert!((3..=5).all(|wanted| draws.iter().filter(|draw| **draw == wanted).count() > 250), "about a third each");
        // The reference implementation's first output for the seed 0.
        assert_eq!(Random(0).next(), 0xe220_a839_7b1d_cdaf);
    }
}
