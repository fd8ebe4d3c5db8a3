//! How fast the client asks: within what ARM gives one login in one subscription, however much asks at once.
//!
//! ARM counts by token buckets, of reads and of writes:
//! <https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling>. Half of each is
//! ours; the person, Terraform and the cluster itself may ask as the same login.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::Method;

/// A token bucket as the moment from which it is full again (the generic cell rate algorithm).
#[derive(Debug)]
struct Bucket {
    /// Time in which one token comes back.
    each: Duration,
    /// Tokens of a full bucket.
    burst: u32,
    full_at: Duration,
}

impl Bucket {
    /// Takes a token; yields how long to wait for it.
    fn take(&mut self, now: Duration) -> Duration {
        self.full_at = self.full_at.max(now) + self.each;
        self.full_at.saturating_sub(now + self.each * self.burst)
    }
}

/// The buckets of one login.
#[derive(Debug)]
pub(super) struct Rate {
    reads: Mutex<Bucket>,
    writes: Mutex<Bucket>,
}

impl Default for Rate {
    fn default() -> Self {
        // ARM's: 250 reads and 25 a second, 200 writes (deletes likewise) and 10 a second.
        let reads = Bucket { each: Duration::from_millis(80), burst: 125, full_at: Duration::ZERO };
        let writes = Bucket { each: Duration::from_millis(200), burst: 100, full_at: Duration::ZERO };
        Self { reads: Mutex::new(reads), writes: Mutex::new(writes) }
    }
}

impl Rate {
    /// Takes the place of one request; yields how long to wait before it is sent.
    pub(super) fn take(&self, method: &Method, now: Duration) -> Duration {
        let bucket = if matches!(*method, Method::GET | Method::HEAD) { &self.reads } else { &self.writes };
        bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_requests_follow_at_the_rate() {
        let rate = Rate::default();
        let waits: Vec<Duration> = (0..135).map(|_| rate.take(&Method::GET, Duration::ZERO)).collect();
        assert!(waits[..125].iter().all(Duration::is_zero));
        assert_eq!((waits[125], waits[134]), (Duration::from_millis(80), Duration::from_millis(800)));
        assert_eq!(rate.take(&Method::PUT, Duration::ZERO), Duration::ZERO, "writes have a bucket of their own");
        let later = Duration::from_secs(3600);
        assert_eq!(rate.take(&Method::GET, later), Duration::ZERO, "it fills again, but not beyond its size");
        let waits: Vec<Duration> = (0..125).map(|_| rate.take(&Method::GET, later)).collect();
        assert_eq!((waits[123], waits[124]), (Duration::ZERO, Duration::from_millis(80)));
    }
}
