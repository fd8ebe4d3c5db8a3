//! Bad days: a seeded schedule of faults, and single ones that a test orders.

use std::{collections::VecDeque, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::wire::Request;

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 429 with `Retry-After`; nothing was done.
    Throttle {
        /// How long to wait.
        after: Duration,
        /// As a date instead of seconds.
        as_date: bool,
    },
    /// A 5xx status; nothing was done.
    Server(u16),
    /// The connection breaks before the request was taken in; nothing was done.
    ResetBefore,
    /// The request was done, then the connection broke.
    ResetAfter,
    /// The request was done, the connection breaks in the middle of the answer's body.
    CutBody,
    /// No answer ever comes; nothing was done.
    Hang,
}

/// What becomes of a long-running operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It succeeds.
    Succeeds,
    /// It fails with an ARM code and message.
    Fails {
        /// ARM's code, such as `AllocationFailed`.
        code: String,
        /// Message for people.
        message: String,
    },
    /// It was cancelled by somebody.
    Canceled,
    /// It stays in progress for ever.
    Hangs,
    /// It succeeds, but its status address answers 404.
    Lost,
}

/// A test's own order: the next request of this verb whose path contains the text.
#[derive(Debug, Clone)]
struct Ordered {
    method: http::Method,
    path: String,
    fault: Fault,
}

/// The schedule.
#[derive(Debug)]
pub struct Faults {
    random: StdRng,
    /// Share of requests that fail, 0..=1.
    request_rate: f64,
    /// Share of operations that do not simply succeed, 0..=1.
    operation_rate: f64,
    /// Faults that are left; a schedule without an end would never let anything finish.
    left: u32,
    ordered: Vec<Ordered>,
    fates: VecDeque<Fate>,
    /// How long a new resource is not seen by GET.
    pub unseen_for: Duration,
    /// No seeded throttling asks for more: a client on a real clock waits for it.
    pub longest_throttle: Duration,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            random: StdRng::seed_from_u64(0),
            request_rate: 0.0,
            operation_rate: 0.0,
            left: 0,
            ordered: Vec::new(),
            fates: VecDeque::new(),
            unseen_for: Duration::ZERO,
            longest_throttle: Duration::from_secs(20),
        }
    }
}

impl Faults {
    /// A schedule of at most `most` faults that `seed` decides.
    pub fn seeded(seed: u64, most: u32) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let unseen_for = Duration::from_secs(random.random_range(0..10));
        Self { random, request_rate: 0.25, operation_rate: 0.3, left: most, unseen_for, ..Self::default() }
    }

    /// Orders one fault for the next request of this verb whose path contains `path` (whatever the case).
    pub fn order(&mut self, method: http::Method, path: &str, fault: Fault) {
        self.ordered.push(Ordered { method, path: path.to_lowercase(), fault });
    }

    /// Orders what becomes of the next operation.
    pub fn order_fate(&mut self, fate: Fate) {
        self.fates.push_back(fate);
    }

    pub(crate) fn for_request(&mut self, request: &Request) -> Option<Fault> {
        let path = request.path.to_lowercase();
        let matches = |order: &Ordered| order.method == request.method && path.contains(&order.path);
        if let Some(index) = self.ordered.iter().position(matches) {
            return Some(self.ordered.remove(index).fault);
        }
        if self.left == 0 || !self.random.random_bool(self.request_rate) {
            return None;
        }
        self.left -= 1;
        Some(match self.random.random_range(0..7) {
            kind @ (0 | 1) => {
                let after = Duration::from_secs(self.random.random_range(1..20)).min(self.longest_throttle);
                Fault::Throttle { after, as_date: kind == 1 }
            }
            2 => Fault::Server([500, 502, 503, 504][self.random.random_range(0..4)]),
            3 => Fault::ResetBefore,
            4 | 5 => Fault::ResetAfter,
            _ => Fault::CutBody,
        })
    }

    pub(crate) fn for_operation(&mut self) -> Fate {
        if let Some(fate) = self.fates.pop_front() {
            return fate;
        }
        if self.left == 0 || !self.random.random_bool(self.operation_rate) {
            return Fate::Succeeds;
        }
        self.left -= 1;
        match self.random.random_range(0..5) {
            0 => Fate::Canceled,
            1 => Fate::Hangs,
            2 => Fate::Lost,
            3 => Fate::Fails {
                code: "SkuNotAvailable".to_owned(),
                message: "The requested VM size is currently not available in location 'westeurope' zones '1'."
                    .to_owned(),
            },
            _ => Fate::Fails {
                code: "AllocationFailed".to_owned(),
                message: "Allocation failed. We do not have sufficient capacity for the requested VM size.".to_owned(),
            },
        }
    }
}
