//! The one struct that is Azure: what exists, what is under way, what it costs, and who may ask.

use std::{collections::BTreeMap, time::Duration};

use http::StatusCode;
use serde_json::Value;

use crate::{
    activity::Activity,
    backing::Clusters,
    faults::{Fault, Faults},
    operations::Operation,
    prices::{self, Price},
    subscription::Facts,
    wire::{Answer, Request},
};

/// How the fake behaves on a good day.
#[derive(Debug, Clone)]
pub struct Style {
    /// World time that passes with each request.
    pub tick: Duration,
    /// `Retry-After` of operations under way; whole seconds.
    pub retry_after: Duration,
    /// How long making a cluster or a pool takes.
    pub make: Duration,
    /// How long removing takes.
    pub remove: Duration,
    /// How long a login lasts.
    pub login: Duration,
    /// Items on one page of a list.
    pub page: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            tick: Duration::ZERO,
            retry_after: Duration::from_secs(10),
            make: Duration::from_secs(240),
            remove: Duration::from_secs(180),
            login: Duration::from_secs(3600),
            page: 2,
        }
    }
}

/// One resource or resource group.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// Id as it was first written.
    pub(crate) id: String,
    pub(crate) body: Value,
    /// World time from which GET sees it.
    pub(crate) seen_from: Duration,
}

/// One request as it was seen.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Verb.
    pub method: http::Method,
    /// Path.
    pub path: String,
    /// Whether a bearer token came with it.
    pub with_token: bool,
    /// Status of the answer; none: the connection broke or hung.
    pub status: Option<u16>,
    /// World time.
    pub at: Duration,
}

/// Something that costs money.
#[derive(Debug, Clone, PartialEq)]
pub struct Billed {
    /// Its id.
    pub id: String,
    /// Dollars per hour.
    pub usd_per_hour: f64,
}

/// The whole of the fake's Azure.
#[derive(Debug)]
pub struct World {
    /// The subscription.
    pub facts: Facts,
    /// The price list.
    pub prices: Vec<Price>,
    /// Manners.
    pub style: Style,
    /// Bad days.
    pub faults: Faults,
    /// Tokens that are taken, and the world time at which each expires.
    pub tokens: BTreeMap<String, Duration>,
    /// Operations that failed, as the activity log has them.
    pub activity: Vec<Activity>,
    /// Applications that may log in, and the secret of each.
    pub applications: BTreeMap<String, String>,
    /// Every request so far.
    pub log: Vec<Logged>,
    pub(crate) resources: BTreeMap<String, Resource>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) now: Duration,
    pub(crate) clusters: Clusters,
    requests: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            facts: Facts::default(),
            prices: prices::defaults(),
            style: Style::default(),
            faults: Faults::default(),
            tokens: BTreeMap::from([("fake-token".to_owned(), Duration::MAX)]),
            activity: Vec::new(),
            applications: BTreeMap::new(),
            log: Vec::new(),
            resources: BTreeMap::new(),
            operations: Vec::new(),
            now: Duration::ZERO,
            clusters: Clusters::default(),
            requests: 0,
        }
    }
}

impl World {
    /// World time since its beginning.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        self.settle();
    }

    /// Ids of everything that exists, sorted.
    pub fn ids(&self) -> Vec<String> {
        self.resources.values().map(|resource| resource.id.clone()).collect()
    }

    /// The body of a resource.
    pub fn body(&self, id: &str) -> Option<&Value> {
        self.resources.get(&id.to_lowercase()).map(|resource| &resource.body)
    }

    /// Puts a resource there without anybody having asked for it.
    pub fn plant(&mut self, id: &str, body: Value) {
        let resource = Resource { id: id.to_owned(), body, seen_from: Duration::ZERO };
        self.resources.insert(id.to_lowercase(), resource);
    }

    /// What costs money now.
    pub fn billed(&self) -> Vec<Billed> {
        let hourly = |resource: &Resource| {
            let kind = kind_of(&resource.id);
            let body = &resource.body;
            match kind.as_str() {
                "microsoft.compute/virtualmachinescalesets" => {
                    let size = body["sku"]["name"].as_str().unwrap_or_default();
                    let price = self.vm_price(size);
                    price * body["sku"]["capacity"].as_f64().unwrap_or(0.0)
                }
                "microsoft.containerservice/managedclusters" if body["sku"]["tier"] == "Standard" => 0.10,
                "microsoft.network/loadbalancers" => 0.025,
                "microsoft.network/publicipaddresses" => 0.005,
                "microsoft.compute/disks" => 9.60 / 730.0,
                _ => 0.0,
            }
        };
        self.resources
            .values()
            .map(|resource| Billed { id: resource.id.clone(), usd_per_hour: hourly(resource) })
            .filter(|billed| billed.usd_per_hour > 0.0)
            .collect()
    }

    fn vm_price(&self, size: &str) -> f64 {
        let linux = |price: &&Price| {
            price.arm_sku == size
                && !price.product.ends_with("Windows")
                && price.meter == price.sku
                && !price.sku.ends_with("Spot")
                && !price.sku.ends_with("Low Priority")
        };
        self.prices.iter().find(linux).map_or(0.5, |price| price.usd)
    }

    /// Answers a request: a pure function of the state, the clock and the schedule of faults.
    pub fn answer(&mut self, request: &Request) -> Answer {
        self.advance(self.style.tick);
        self.requests += 1;
        let answer = match self.faults.for_request(request) {
            None => self.serve(request),
            Some(Fault::Throttle { after, as_date }) => self.throttled(after, as_date),
            Some(Fault::Server(status)) => Answer::error(
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                "InternalServerError",
                "Encountered internal server error.",
            ),
            Some(Fault::ResetBefore) => Answer::Reset,
            Some(Fault::ResetAfter) => {
                self.serve(request);
                Answer::Reset
            }
            Some(Fault::CutBody) => self.serve(request).cut_short(),
            Some(Fault::Hang) => Answer::Hang,
        };
        let mut answer =
            answer.header("x-ms-request-id", format!("request-{}", self.requests)).header("date", self.date(self.now));
        if self.style.retry_after.is_zero() {
            // A client on Azure's Go SDK would wait its own ten seconds; its own tests tell it so.
            answer = answer.header("x-go-azure-sdk-skip-polling-delay", "true");
        }
        self.log.push(Logged {
            method: request.method.clone(),
            path: request.path.clone(),
            with_token: request.token.is_some(),
            status: answer.status().map(|status| status.as_u16()),
            at: self.now,
        });
        answer
    }

    fn throttled(&self, after: Duration, as_date: bool) -> Answer {
        let value = if as_date { self.date(self.now + after) } else { after.as_secs().to_string() };
        Answer::error(
            StatusCode::TOO_MANY_REQUESTS,
            "SubscriptionRequestsThrottled",
            "Number of requests for subscription exceeded the limit. Please try again later.",
        )
        .header("retry-after", value)
    }

    /// World time as an HTTP date; the world begins with the year 2026.
    #[expect(clippy::unused_self, reason = "the epoch belongs to the world")]
    fn date(&self, at: Duration) -> String {
        moment(at).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    fn serve(&mut self, request: &Request) -> Answer {
        if request.path == "/api/retail/prices" {
            return self.retail_prices(request);
        }
        if let Some(answer) = self.before_arm(request) {
            return answer;
        }
        if let Some(refused) = self.refuse(request) {
            return refused;
        }
        let segments: Vec<String> = request.segments().into_iter().map(str::to_lowercase).collect();
        let [_, _, below @ ..] = segments.as_slice() else { return Answer::not_found(&request.path) };
        match below {
            [kind, id] if kind == "operations" || kind == "operationresults" => {
                self.operation(id, kind == "operationresults")
            }
            _ => match self.subscription_facts(request, below) {
                Some(answer) => answer,
                None => self.resource(request, below),
            },
        }
    }

    /// Login, api-version, subscription.
    fn refuse(&self, request: &Request) -> Option<Answer> {
        let unauthorized = |code, message: &str| {
            Some(
                Answer::error(StatusCode::UNAUTHORIZED, code, message)
                    .header("www-authenticate", "Bearer authorization_uri=\"https://login.windows.net/\""),
            )
        };
        let Some(token) = &request.token else {
            return unauthorized(
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            );
        };
        match self.tokens.get(token) {
            None => return unauthorized("InvalidAuthenticationToken", "The access token is invalid."),
            Some(end) if *end <= self.now => {
                return unauthorized("ExpiredAuthenticationToken", "The access token expiry UTC time is in the past.");
            }
            Some(_) => {}
        }
        if request.query("api-version").is_empty() {
            return Some(Answer::error(
                StatusCode::BAD_REQUEST,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            ));
        }
        match request.segments().as_slice() {
            ["subscriptions", id, ..] if id.eq_ignore_ascii_case(&self.facts.subscription) => None,
            ["subscriptions", id, ..] => Some(Answer::error(
                StatusCode::NOT_FOUND,
                "SubscriptionNotFound",
                format!("The subscription '{id}' could not be found."),
            )),
            _ => Some(Answer::not_found(&request.path)),
        }
    }
}

/// A moment of world time.
pub(crate) fn moment(at: Duration) -> chrono::DateTime<chrono::Utc> {
    let epoch = 1_767_225_600 + i64::try_from(at.as_secs()).unwrap_or(0);
    chrono::DateTime::from_timestamp(epoch, 0).unwrap_or_default()
}

/// `microsoft.x/type` or `microsoft.x/type/subtype` of an id; `resourcegroups` for a group.
pub(crate) fn kind_of(id: &str) -> String {
    let lower = id.to_lowercase();
    let Some((_, provider)) = lower.rsplit_once("/providers/") else { return "resourcegroups".to_owned() };
    let parts: Vec<&str> = provider.split('/').collect();
    let types: Vec<&str> = parts.iter().skip(1).step_by(2).copied().collect();
    format!("{}/{}", parts[0], types.join("/"))
}
