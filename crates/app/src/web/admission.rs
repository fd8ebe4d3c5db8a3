//! Bounded concurrency with a bounded first-in first-out queue in front of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Admits at most `concurrency` requests at once and keeps at most `queue` waiting.
#[derive(Debug)]
pub(super) struct Admission {
    permits: Semaphore,
    in_flight: AtomicUsize,
    concurrency: usize,
    limit: usize,
}

/// A place among those that execute.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    admission: &'a Admission,
    _permit: SemaphorePermit<'a>,
}

impl Admission {
    pub(super) fn new(concurrency: usize, queue: usize) -> Self {
        Self {
            permits: Semaphore::new(concurrency),
            in_flight: AtomicUsize::new(0),
            concurrency,
            limit: concurrency + queue,
        }
    }

    /// Waits for a place; `None` at once when the queue is full.
    pub(super) async fn enter(&self) -> Option<Admitted<'_>> {
        let here = Waiting::new(self)?;
        // The semaphore is never closed and is fair: waiters are served in the order of their arrival.
        let permit = self.permits.acquire().await.ok()?;
        std::mem::forget(here);
        Some(Admitted { admission: self, _permit: permit })
    }

    /// Executing and waiting requests.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether requests wait for a place.
    pub(super) fn is_saturated(&self) -> bool {
        self.in_flight() > self.concurrency
    }

    /// Executing requests.
    pub(super) fn executing(&self) -> usize {
        self.concurrency - self.permits.available_permits()
    }
}

/// Counts a request whose client may go away while it waits.
struct Waiting<'a>(&'a Admission);

impl<'a> Waiting<'a> {
    fn new(admission: &'a Admission) -> Option<Self> {
        let before = admission.in_flight.fetch_add(1, Ordering::Relaxed);
        let here = Self(admission);
        (before < admission.limit).then_some(here)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.admission.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, poll};

    use super::*;

    #[tokio::test]
    async fn beyond_concurrency_and_queue_nothing_is_admitted() {
        let admission = Admission::new(1, 1);
        let first = admission.enter().now_or_never().flatten().expect("a free place");
        let mut second = std::pin::pin!(admission.enter());
        assert!(poll!(&mut second).is_pending(), "one waits");
        assert!(admission.enter().now_or_never().expect("no wait").is_none(), "the queue is full");
        assert_eq!((admission.in_flight(), admission.executing()), (2, 1));
        drop(first);
        assert!(second.await.is_some());
        assert_eq!(admission.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_client_that_goes_away_frees_its_place_in_the_queue() {
        let admission = Admission::new(1, 1);
        let _first = admission.enter().await;
        {
            let mut second = Box::pin(admission.enter());
            assert!(poll!(&mut second).is_pending());
        }
        assert_eq!(admission.in_flight(), 1);
    }
}
