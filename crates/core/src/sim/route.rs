//! What the app answers to a request: how long its backend takes, the status, whether it writes.

use std::time::Duration;

use super::agenda::{Nanos, nanos};
use crate::{
    profile::{Pattern, Web},
    suite::{Request, Step, Test},
};

/// Between client and pod and back, outside the pod's bounds. Measured on loopback; a region's network takes about as long.
pub(crate) const NETWORK: Duration = Duration::from_micros(400);
/// What a request holds its place beyond the backend's time: the timer's millisecond, and the store's round trip.
pub(crate) const HANDLING: Duration = Duration::from_micros(1400);

/// Which setting of the app says how long a request executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// One customer.
    ReadOne,
    /// The list of customers.
    ReadAll,
    /// A customer is made, changed or removed.
    Write,
}

impl Backend {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::ReadOne, Self::ReadAll, Self::Write];

    /// Of a request; none for what the app answers at once.
    fn of(request: &Request) -> Option<Self> {
        let path = request.path.split('?').next().unwrap_or_default();
        match (request.method.as_str(), is_collection(path), member(path)) {
            ("GET", true, _) => Some(Self::ReadAll),
            ("GET", _, Some(_)) => Some(Self::ReadOne),
            ("POST", true, _) | ("PUT" | "DELETE", false, Some(_)) => Some(Self::Write),
            _ => None,
        }
    }

    /// Of a step of a journey.
    pub(crate) fn of_step(step: &Step) -> Option<Self> {
        match step {
            Step::Request(request) => Self::of(request),
            Step::PollUntil { .. } => Some(Self::ReadOne),
            Step::Think { .. } => None,
        }
    }

    /// How long that is.
    pub(crate) fn time(self, web: &Web) -> Duration {
        match self {
            Self::ReadOne => web.read_one,
            Self::ReadAll => web.read_all,
            Self::Write => web.write,
        }
    }

    /// The key of the profile.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::ReadOne => "read_one",
            Self::ReadAll => "read_all",
            Self::Write => "write",
        }
    }
}

fn is_collection(path: &str) -> bool {
    matches!(path, "/api/customers" | "/api/customers/")
}

/// The customer that a path names.
fn member(path: &str) -> Option<&str> {
    path.strip_prefix("/api/customers/").filter(|id| !id.is_empty() && !id.contains('/'))
}

/// A request's way through the app, worked out before the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// Time that it executes; none for what is answered at once, whatever else executes.
    pub(super) service: Option<Nanos>,
    /// What it puts into the store.
    pub(super) writes: Writes,
    /// Whether its usual answer is what the journey expects.
    pub(super) good: bool,
    /// Whether 502 and 503 are what the journey expects.
    pub(super) good_502: bool,
    /// See above.
    pub(super) good_503: bool,
    /// Counters of its usual answer, of 502 and of 503.
    pub(super) counters: [u32; 3],
    /// Figures of this step of the journey.
    pub(super) figures: u32,
}

/// What a request puts into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    /// Nothing.
    Nothing,
    /// A message into the queue.
    Message,
    /// A customer.
    Customer,
}

/// A step of a journey, ready to be simulated.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stride {
    /// A request.
    Request(Route),
    /// A pause between both ends.
    Think(Nanos, Nanos),
    /// Asks until the last message is stored; interval and timeout.
    Poll { route: Route, interval: Nanos, timeout: Nanos, awaited: bool },
}

/// Labels of `http_requests_total`: method, path, status.
pub(super) type Counter = (String, &'static str, u16);

/// The journey of a test; counters that it needs are added.
pub(super) fn journey(test: &Test, web: &Web, counters: &mut Vec<Counter>) -> Vec<Stride> {
    let stride = |(index, step): (usize, &Step)| match step {
        Step::Think { min, max } => Stride::Think(nanos(*min), nanos(*max)),
        Step::Request(request) => Stride::Request(route(request, index, web, counters)),
        Step::PollUntil { name, interval, timeout, field, equals } => {
            let path = "/api/customers/:id".to_owned();
            let request = Request { name: name.clone(), method: "GET".into(), path, body: None, expect: Vec::new() };
            let route = route(&request, index, web, counters);
            // The app's answers have this field; another one never gets the wanted value.
            let awaited = field == "status" && equals == "stored";
            Stride::Poll { route, interval: nanos(*interval), timeout: nanos(*timeout), awaited }
        }
    };
    test.journey.iter().enumerate().map(stride).collect()
}

fn route(request: &Request, figures: usize, web: &Web, counters: &mut Vec<Counter>) -> Route {
    let path = request.path.split('?').next().unwrap_or_default();
    let (collection, member) = (is_collection(path), member(path));
    let backend = Backend::of(request);
    let (writes, status) = match backend {
        Some(Backend::Write) => match web.pattern {
            Pattern::Async => (Writes::Message, 202),
            Pattern::Direct => (Writes::Customer, if request.method == "POST" { 201 } else { 200 }),
        },
        Some(Backend::ReadAll) => (Writes::Nothing, 200),
        Some(Backend::ReadOne) => (Writes::Nothing, if member == Some(":id") { 200 } else { 404 }),
        None if request.method == "GET" && matches!(path, "/api/health/live" | "/api/health/ready") => {
            (Writes::Nothing, 200)
        }
        None => (Writes::Nothing, if collection || member.is_some() { 405 } else { 404 }),
    };
    let service = backend.map(|backend| backend.time(web));
    let good = |status: u16| {
        if request.expect.is_empty() { (200..400).contains(&status) } else { request.expect.contains(&status) }
    };
    let label = if collection {
        "/api/customers"
    } else if member.is_some() {
        "/api/customers/:id"
    } else {
        "other"
    };
    let mut counter = |status: u16| {
        let wanted = (request.method.clone(), label, status);
        let known = counters.iter().position(|counter| *counter == wanted);
        known.unwrap_or_else(|| {
            counters.push(wanted);
            counters.len() - 1
        }) as u32
    };
    Route {
        service: service.map(|service| nanos(service + HANDLING)),
        writes,
        good: good(status),
        good_502: good(502),
        good_503: good(503),
        counters: [counter(status), counter(502), counter(503)],
        figures: figures as u32,
    }
}
