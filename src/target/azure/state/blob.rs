//! The state's blob over the data plane, as far as democtl looks at it itself: can it be reached, and who holds its lock.
//!
//! The backend's lock is an infinite lease on the blob; who holds it is in the blob's metadata, base64 of Terraform's JSON.
//! <https://learn.microsoft.com/rest/api/storageservices/get-blob-properties>

use std::{sync::Arc, time::Duration};

use base64::Engine as _;
use reqwest::{Method, Url};
use serde_json::Value;

use crate::target::azure::{
    Login,
    arm::{Arm, ArmError, Patience, TokenSource, http_client},
};

/// The audience of tokens for every storage account.
const AUDIENCE: &str = "https://storage.azure.com";
const VERSION: &str = "2023-11-03";
/// Attempts of one request, and the time between two.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);
const METADATA: &str = "x-ms-meta-terraformlockid";

/// One state's blob.
#[derive(Debug, Clone)]
pub struct Blobs {
    http: reqwest::Client,
    tokens: Arc<dyn TokenSource>,
    container: Url,
    blob: Url,
}

/// Who holds the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The lock's id; none: it is not told.
    pub id: Option<String>,
    /// `user@host`.
    pub who: String,
    /// Since when.
    pub since: String,
    /// What they do.
    pub operation: String,
}

impl Lease {
    /// Reads the lock's info.
    fn read(encoded: Option<&str>) -> Self {
        let decoded = encoded.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
        let info: Value = decoded.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let text = |name: &str| info[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let known = |name: &str| text(name).unwrap_or_else(|| "unknown".to_owned());
        let operation = known("Operation").replace("OperationType", "").to_lowercase();
        Self { id: text("ID"), who: known("Who"), since: known("Created"), operation }
    }
}

impl Blobs {
    /// The blob `name` in `container` of the account at `endpoint`.
    pub fn new(endpoint: &str, container: &str, name: &str, login: &Login) -> Result<Self, ArmError> {
        let unusable = |error: String| ArmError::Unexpected { path: endpoint.to_owned(), what: error };
        let container = Url::parse(&format!("{endpoint}/{container}")).map_err(|error| unusable(error.to_string()))?;
        let blob = Url::parse(&format!("{container}/{name}")).map_err(|error| unusable(error.to_string()))?;
        let http = http_client(false, Patience::default().attempt).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { http, tokens: login.source(AUDIENCE)?.into(), container, blob })
    }

    /// Asks, and again when no answer comes or the server has a bad moment.
    async fn ask(&self, method: Method, url: &Url, query: &str) -> Result<reqwest::Response, ArmError> {
        let mut url = url.clone();
        url.set_query((!query.is_empty()).then_some(query));
        for attempt in 1.. {
            let token = self.tokens.fetch().await?;
            let request = self.http.request(method.clone(), url.clone()).bearer_auth(token.secret());
            let sent = request.header("x-ms-version", VERSION).send().await;
            let bad_moment = sent.as_ref().map_or(true, |answer| matches!(answer.status().as_u16(), 429 | 500..));
            if !bad_moment || attempt >= ATTEMPTS {
                let (method, path) = (method.to_string(), url.path().to_owned());
                return sent.map_err(|source| ArmError::NoAnswer {
                    method,
                    path,
                    attempts: attempt,
                    source: source.without_url(),
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!("the last attempt returns")
    }

    /// The text of the state, empty where there is none.
    pub async fn read(&self) -> Result<Vec<u8>, ArmError> {
        let answer = self.ask(Method::GET, &self.blob, "").await?;
        match answer.status().as_u16() {
            200 => Ok(answer.bytes().await.map_err(|error| self.unexpected(error.without_url()))?.into()),
            404 => Ok(Vec::new()),
            status => Err(self.unexpected(format_args!("status {status}"))),
        }
    }

    /// Who holds the state; none: nobody, or there is no state.
    pub async fn lease(&self) -> Result<Option<Lease>, ArmError> {
        let answer = self.ask(Method::HEAD, &self.blob, "").await?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        match answer.status().as_u16() {
            200 if header("x-ms-lease-state") == Some("leased") => Ok(Some(Lease::read(header(METADATA)))),
            200 | 404 => Ok(None),
            status => Err(self.unexpected(format_args!("status {status}"))),
        }
    }

    /// Waits until the login may use the container: a role that was just given takes some minutes.
    pub(super) async fn until_open(&self, arm: &Arm, within: Duration) -> Result<(), ArmError> {
        let look = || async {
            match self.ask(Method::GET, &self.container, "restype=container").await {
                Ok(answer) => match answer.status().as_u16() {
                    200 => Ok(true),
                    // Not yet let in, or not yet known.
                    403 | 404 => Ok(false),
                    status => Err(self.unexpected(format_args!("status {status}"))),
                },
                // The name of a new account is not known everywhere at once.
                Err(ArmError::NoAnswer { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        arm.poll(self.container.path(), within, look).await
    }

    fn unexpected(&self, what: impl std::fmt::Display) -> ArmError {
        let host = self.blob.host_str().unwrap_or_default();
        ArmError::Unexpected { path: format!("{host}{}", self.blob.path()), what: what.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_told_as_far_as_it_says_who_it_is() {
        let info = r#"{"ID":"1-2","Operation":"OperationTypeApply","Info":"","Who":"ann@laptop","Created":"2026-11-26T01:02:03Z"}"#;
        let encoded = base64::engine::general_purpose::STANDARD.encode(info);
        let lease = Lease::read(Some(&encoded));
        assert_eq!(lease.id.as_deref(), Some("1-2"));
        assert_eq!((lease.who.as_str(), lease.operation.as_str()), ("ann@laptop", "apply"));
        for none in [None, Some("%"), Some("e30=")] {
            let lease = Lease::read(none);
            assert_eq!((lease.id, lease.who.as_str()), (None, "unknown"));
        }
    }
}
