//! What happens when: a queue of events in virtual time.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Duration,
};

/// Nanoseconds since the world began, as requests live through them (the speed divides the profile's durations only).
pub(super) type Nanos = u64;

/// A moment that never comes.
pub(super) const NEVER: Nanos = Nanos::MAX;

/// A duration in nanoseconds; 584 years at most.
pub(super) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER / 4)
}

/// Something that happens at its time. Numbers are indices; an epoch tells whether it is still meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// A VU's pause is over: it goes on with its journey.
    Resume { vu: u32, epoch: u32 },
    /// The backend has answered a VU's request.
    Answered { vu: u32, epoch: u32 },
    /// A VU's last iteration has taken too long.
    Overdue { vu: u32, epoch: u32 },
    /// The executor looks how many VUs are to run.
    Drive,
    /// It is looked whether the queue is empty after a test.
    Drained,
    /// A worker looks for messages.
    Claim { pod: u32 },
    /// A worker has stored its batch.
    Stored { pod: u32, epoch: u32 },
    /// A pod's image has been pulled and its container started.
    Started { pod: u32 },
    /// A pod's process serves.
    Serving { pod: u32 },
    /// A pod's grace period is over.
    Killed { pod: u32 },
    /// The claims of a worker that died are given back.
    Reclaimed { pod: u32 },
    /// A machine of the pool has booted.
    Joined { pool: u32, number: u32 },
    /// A drain looks whether its pods are gone.
    Draining { node: u32 },
    /// Prometheus scrapes.
    Scrape,
    /// metrics-server scrapes.
    Metrics,
    /// The autoscaler of workloads syncs.
    Sync,
    /// KEDA polls for a workload.
    Poll { workload: u32 },
    /// The cluster autoscaler scans.
    Scan,
    /// Figures for people are sampled.
    Sample,
    /// It is looked whether everything is back at the baseline.
    Settled,
    /// The first test may begin.
    Begin,
    /// A fault begins, or the next part of it.
    Fault { index: u32, part: u32 },
    /// The rates of the traffic are worked out anew.
    Flow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    at: Nanos,
    /// Those of one moment happen in the order in which they were planned.
    number: u64,
    what: Happening,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<Entry>>,
    planned: u64,
}

impl Agenda {
    /// Plans something.
    pub(super) fn plan(&mut self, at: Nanos, what: Happening) {
        self.planned += 1;
        self.heap.push(Reverse(Entry { at, number: self.planned, what }));
    }

    /// What comes next.
    pub(super) fn pop(&mut self) -> Option<(Nanos, Happening)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_comes_first_and_ties_in_the_order_of_planning() {
        let mut agenda = Agenda::default();
        agenda.plan(5, Happening::Sync);
        agenda.plan(3, Happening::Scan);
        agenda.plan(5, Happening::Scrape);
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop()).collect();
        assert_eq!(order, [(3, Happening::Scan), (5, Happening::Sync), (5, Happening::Scrape)]);
    }
}
