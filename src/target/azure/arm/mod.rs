//! A thin client of Azure Resource Manager: one request with its retries, lists, and long-running operations.
//!
//! The rules are those of <https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations> and
//! `.../request-limits-and-throttling`. The token goes to the ARM host only: of an address in a header or a `nextLink`
//! only path and query are used. Bodies are JSON values, so that fields unknown to us survive.

mod credential;
mod error;
mod github;
mod operation;
mod pace;
mod rate;
mod retry;
mod token;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use credential::{Login, Method as LoginMethod};
pub use error::{ArmError, Refusal};
pub use pace::{Pace, RealTime};
use rate::Rate;
use reqwest::{Method, Url, header};
use serde_json::Value;
use token::Cached;
pub use token::{Caller, Given, Token, TokenSource};

/// API version of subscriptions, resource groups and generic resources.
pub const RESOURCES: &str = "2021-04-01";
/// API version of managed clusters and agent pools.
pub const CONTAINER_SERVICE: &str = "2025-10-01";

/// API version of Log Analytics workspaces.
pub const WORKSPACES: &str = "2023-09-01";
/// API version of roles and their assignments.
pub const AUTHORIZATION: &str = "2022-04-01";

/// Longest time until a connection stands: a network that swallows everything is told after seconds.
const CONNECT: Duration = Duration::from_secs(5);

/// How patient the client is.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Attempts of one request.
    pub attempts: u32,
    /// Longest time of one attempt, real time.
    pub attempt: Duration,
    /// Longest time of a long-running operation.
    pub operation: Duration,
    /// Time between two polls where ARM does not say.
    pub poll: Duration,
    /// How long a resource that was just made may answer 404.
    pub unseen: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 8,
            attempt: Duration::from_secs(100),
            operation: Duration::from_secs(45 * 60),
            poll: Duration::from_secs(10),
            unseen: Duration::from_secs(120),
        }
    }
}

/// A client of one ARM endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Arm(Arc<Inner>, Patience);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    endpoint: Url,
    tokens: Cached,
    pace: Arc<dyn Pace>,
    /// After a 429 nobody asks before this moment: throttling is the subscription's, not one request's.
    not_before: Mutex<Duration>,
    rate: Rate,
}

/// One request.
#[derive(Debug, Clone)]
struct Call<'a> {
    method: Method,
    url: Url,
    body: Option<&'a Value>,
    /// Whether doing it twice is as doing it once.
    repeatable: bool,
}

/// A whole answer.
#[derive(Debug, Clone)]
struct Reply {
    status: u16,
    headers: header::HeaderMap,
    body: Value,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Arm {
    /// A client for `endpoint`, such as `https://management.azure.com`.
    pub fn new(
        endpoint: &str,
        tokens: Box<dyn TokenSource>,
        pace: Arc<dyn Pace>,
        patience: Patience,
    ) -> Result<Self, ArmError> {
        let unusable = |what: String| ArmError::Unexpected { path: endpoint.to_owned(), what };
        let endpoint = Url::parse(endpoint).map_err(|error| unusable(error.to_string()))?;
        let loopback = is_loopback(&endpoint);
        if endpoint.scheme() != "https" && !loopback {
            return Err(unusable("a token is sent over https only".to_owned()));
        }
        let http = http_client(loopback, patience.attempt).map_err(|error| unusable(error.to_string()))?;
        let tokens = Cached::new(tokens);
        Ok(Self(
            Arc::new(Inner { http, endpoint, tokens, pace, not_before: Mutex::default(), rate: Rate::default() }),
            patience,
        ))
    }

    /// The same client, which gives up a request after so many attempts.
    #[must_use]
    pub fn with_attempts(&self, attempts: u32) -> Self {
        Self(self.0.clone(), Patience { attempts, ..self.1.clone() })
    }

    /// A resource, or none when ARM knows of none.
    pub async fn get(&self, path: &str, version: &str) -> Result<Option<Value>, ArmError> {
        let reply = self.send(&self.call(Method::GET, path, version, &[], None)).await?;
        if reply.status == 404 { Ok(None) } else { Self::accepted("GET", path, reply).map(|reply| Some(reply.body)) }
    }

    /// All pages of a list; `query` such as `("$filter", "location eq 'westeurope'")`. A group that is not there lists
    /// nothing.
    pub async fn list(&self, path: &str, version: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, ArmError> {
        let mut url = self.url(path, version, query);
        let mut all = Vec::new();
        loop {
            let reply =
                self.send(&Call { method: Method::GET, url: url.clone(), body: None, repeatable: true }).await?;
            if reply.status == 404 {
                return Ok(all);
            }
            let mut reply = Self::accepted("GET", path, reply)?;
            match reply.body["value"].take() {
                Value::Array(items) => all.extend(items),
                other => {
                    let what = format!("a list without a value: {other}");
                    return Err(ArmError::Unexpected { path: path.to_owned(), what });
                }
            }
            let Some(next) = reply.body["nextLink"].as_str().filter(|link| !link.is_empty()) else { return Ok(all) };
            let next = self.here(next, path)?;
            if next == url {
                return Err(ArmError::Unexpected { path: path.to_owned(), what: "a nextLink to itself".to_owned() });
            }
            url = next;
        }
    }

    /// A POST whose answer is its result. Sent again only when it certainly was not taken in.
    pub async fn post(&self, path: &str, version: &str, body: &Value) -> Result<Value, ArmError> {
        let reply = self.send(&self.call(Method::POST, path, version, &[], Some(body))).await?;
        Self::accepted("POST", path, reply).map(|reply| reply.body)
    }

    /// A POST that changes nothing, such as one that reads credentials: it is sent again like a GET.
    pub async fn post_to_read(&self, path: &str, version: &str) -> Result<Value, ArmError> {
        let call = Call { repeatable: true, ..self.call(Method::POST, path, version, &[], None) };
        let reply = self.send(&call).await?;
        Self::accepted("POST", path, reply).map(|reply| reply.body)
    }

    /// Makes or changes a resource and waits until ARM says that it is done; yields the resource.
    pub async fn put(&self, path: &str, version: &str, body: &Value) -> Result<Value, ArmError> {
        operation::put(self, path, version, body).await
    }

    /// Removes a resource and waits until it is gone; one that is not there is as wanted.
    pub async fn delete(&self, path: &str, version: &str) -> Result<(), ArmError> {
        operation::delete(self, path, version, &[]).await
    }

    /// The same with a query, such as `force=true`.
    pub async fn delete_with(&self, path: &str, version: &str, query: &[(&str, &str)]) -> Result<(), ArmError> {
        operation::delete(self, path, version, query).await
    }

    /// Waits until a resource is as wanted.
    pub async fn until(&self, path: &str, version: &str, done: impl Fn(&Value) -> bool) -> Result<(), ArmError> {
        operation::until(self, path, version, done).await
    }

    /// Looks again and again, as often as ARM is polled, until it is so; for what is not ARM's own.
    pub async fn poll<F>(&self, what: &str, within: Duration, mut look: impl FnMut() -> F) -> Result<(), ArmError>
    where
        F: Future<Output = Result<bool, ArmError>>,
    {
        let begun = self.0.pace.now();
        while !look().await? {
            let waited = self.0.pace.now().saturating_sub(begun);
            if waited >= within {
                let state = "not open".to_owned();
                return Err(ArmError::Deadline { path: what.to_owned(), state, waited });
            }
            self.0.pace.sleep(self.1.poll).await;
        }
        Ok(())
    }

    /// Who is logged in, as the token says; none: it does not.
    pub async fn caller(&self) -> Result<Option<Caller>, ArmError> {
        Ok(Caller::of(self.0.tokens.token(None).await?.secret()))
    }

    /// A resource when ARM is done with it, whoever asked for what is under way; none: ARM knows of none.
    pub async fn settled(
        &self,
        path: &str,
        version: &str,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<Option<Value>, ArmError> {
        operation::settled(self, path, version, tell).await
    }

    fn url(&self, path: &str, version: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.0.endpoint.clone();
        url.set_path(path);
        url.query_pairs_mut().append_pair("api-version", version).extend_pairs(query);
        url
    }

    fn call<'a>(
        &self,
        method: Method,
        path: &str,
        version: &str,
        query: &[(&str, &str)],
        body: Option<&'a Value>,
    ) -> Call<'a> {
        // ARM's PUT and DELETE name the whole resource.
        let repeatable = matches!(method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE);
        Call { method, url: self.url(path, version, query), body, repeatable }
    }

    /// An address that ARM told, asked of the ARM host whatever host it names.
    fn here(&self, address: &str, told_by: &str) -> Result<Url, ArmError> {
        let told = self.0.endpoint.join(address).map_err(|error| ArmError::Unexpected {
            path: told_by.to_owned(),
            what: format!("an address that is none ({error})"),
        })?;
        let mut url = self.0.endpoint.clone();
        url.set_path(told.path());
        url.set_query(told.query());
        Ok(url)
    }

    fn accepted(method: &str, path: &str, reply: Reply) -> Result<Reply, ArmError> {
        if (200..300).contains(&reply.status) {
            return Ok(reply);
        }
        let id = reply.header("x-ms-request-id").map(str::to_owned);
        Err(ArmError::Refused(Box::new(Refusal::read(method, path, reply.status, id, &reply.body))))
    }

    /// Sends until there is an answer that is not one of a bad moment.
    async fn send(&self, call: &Call<'_>) -> Result<Reply, ArmError> {
        let mut refused: Option<Token> = None;
        for attempt in 1.. {
            let pause = self.0.rate.take(&call.method, self.0.pace.now());
            if !pause.is_zero() {
                self.0.pace.sleep(pause).await;
            }
            self.wait_for_the_gate().await;
            let token = self.0.tokens.token(refused.as_ref()).await?;
            let last = attempt >= self.1.attempts;
            let pause = match self.attempt(call, &token).await {
                Ok(reply) if reply.status == 401 && refused.is_none() => {
                    refused = Some(token);
                    continue;
                }
                Ok(reply) => match retry::after_reply(call.repeatable, reply.status, &reply.headers, attempt) {
                    Some(pause) if !last => {
                        if reply.status == 429 {
                            self.close_the_gate(pause);
                        }
                        pause
                    }
                    _ => return Ok(reply),
                },
                Err(error) if !last && attempt < retry::most(&error) && retry::after_break(call.repeatable, &error) => {
                    retry::backoff(attempt)
                }
                Err(source) => {
                    return Err(ArmError::NoAnswer {
                        method: call.method.to_string(),
                        path: call.url.path().to_owned(),
                        attempts: attempt,
                        // Its address may carry a signature.
                        source: source.without_url(),
                    });
                }
            };
            tracing::debug!(method = %call.method, path = call.url.path(), attempt, ?pause, "asked again");
            self.0.pace.sleep(pause).await;
        }
        unreachable!("the last attempt returns")
    }

    async fn attempt(&self, call: &Call<'_>, token: &Token) -> Result<Reply, reqwest::Error> {
        let mut request = self.0.http.request(call.method.clone(), call.url.clone()).bearer_auth(token.secret());
        if let Some(body) = call.body {
            request = request.json(body);
        } else if call.method == Method::POST {
            request = request.header(header::CONTENT_LENGTH, 0);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.bytes().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let body = match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            Err(_) if bytes.is_empty() => Value::Null,
            Err(_) => Value::String(text(&bytes)),
        };
        Ok(Reply { status, headers, body })
    }

    async fn wait_for_the_gate(&self) {
        loop {
            let opens = *self.0.not_before.lock().unwrap_or_else(PoisonError::into_inner);
            match opens.checked_sub(self.0.pace.now()) {
                Some(left) if !left.is_zero() => self.0.pace.sleep(left).await,
                _ => return,
            }
        }
    }

    fn close_the_gate(&self, pause: Duration) {
        let mut opens = self.0.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        *opens = (*opens).max(self.0.pace.now() + pause);
    }
}

/// Whether an address is on this machine, where plain http is no risk and a proxy no help.
pub(in crate::target::azure) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

/// Whether tokens and Terraform's own requests go to the same cloud: Azure's public one, or a stand-in on this machine.
pub fn is_known_endpoint(endpoint: &str) -> bool {
    let public = super::PUBLIC_CLOUD;
    endpoint.trim_end_matches('/') == public || Url::parse(endpoint).is_ok_and(|url| is_loopback(&url))
}

/// The HTTP client of all that talks to Azure: no redirects, since a token must not follow one.
pub(in crate::target::azure) fn http_client(
    no_proxy: bool,
    timeout: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .connect_timeout(CONNECT)
        .user_agent(concat!("democtl/", env!("CARGO_PKG_VERSION")));
    if no_proxy { builder.no_proxy().build() } else { builder.build() }
}
