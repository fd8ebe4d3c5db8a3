//! GitHub Actions: the workflow's own token is the application's assertion. It lasts for minutes, so it is fetched anew
//! for each login. <https://docs.github.com/actions/reference/security/oidc#methods-for-requesting-the-oidc-token>

use std::fmt;

use azure_core::{
    error::{Error, ErrorKind},
    http::ClientMethodOptions,
};
use azure_identity::ClientAssertion;
use reqwest::Url;
use serde::Deserialize;

use super::{ArmError, Patience, http_client, is_loopback};

/// What Entra ID expects the token to be made for.
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// Where a job asks for its token.
#[derive(Clone)]
pub(super) struct Workflow {
    http: reqwest::Client,
    url: Url,
    token: String,
}

impl fmt::Debug for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workflow").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer {
    value: String,
}

impl Workflow {
    /// Of `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    pub(super) fn new(url: &str, token: &str) -> Result<Self, ArmError> {
        let unusable = |what: String| ArmError::Login(format!("ACTIONS_ID_TOKEN_REQUEST_URL: {what}"));
        let mut url = Url::parse(url).map_err(|error| unusable(error.to_string()))?;
        let loopback = is_loopback(&url);
        if url.scheme() != "https" && !loopback {
            return Err(unusable("a token is sent over https only".to_owned()));
        }
        url.query_pairs_mut().append_pair("audience", AUDIENCE);
        let http = http_client(loopback, Patience::default().attempt).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { http, url, token: token.to_owned() })
    }

    async fn ask(&self) -> Result<String, reqwest::Error> {
        let answer = self.http.get(self.url.clone()).bearer_auth(&self.token).send().await?.error_for_status()?;
        Ok(answer.json::<Answer>().await?.value)
    }
}

#[async_trait::async_trait]
impl ClientAssertion for Workflow {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let failed = "GitHub gives no token (the job needs the permission id-token: write)";
        self.ask().await.map_err(|error| Error::with_error(ErrorKind::Credential, error.without_url(), failed))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn the_jobs_token_is_asked_for_each_time_and_for_entra() -> anyhow::Result<()> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/token?api-version=2.0", listener.local_addr()?);
        let serve = async move {
            let mut asked = Vec::new();
            for status in ["200 OK", "403 Forbidden"] {
                let (mut stream, _) = listener.accept().await?;
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await?;
                asked.push(String::from_utf8_lossy(&head[..length]).to_lowercase());
                let body = r#"{"count":1,"value":"assertion"}"#;
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await?;
            }
            anyhow::Ok(asked)
        };
        let ask = async {
            let workflow = Workflow::new(&url, "job-t0ken")?;
            assert!(!format!("{workflow:?}").contains("t0ken"));
            let first = workflow.secret(None).await?;
            let refused = workflow.secret(None).await.expect_err("GitHub refuses").to_string();
            anyhow::Ok((first, refused))
        };
        let (asked, told) = tokio::join!(serve, ask);
        let (first, refused) = told?;
        assert_eq!(first, "assertion");
        assert!(refused.contains("id-token: write") && !refused.contains("127.0.0.1"), "{refused}");
        for request in asked? {
            let line = "get /token?api-version=2.0&audience=api%3a%2f%2fazureadtokenexchange ";
            assert!(request.starts_with(line), "{request}");
            assert!(request.contains("authorization: bearer job-t0ken"), "{request}");
        }
        Ok(())
    }

    #[test]
    fn the_jobs_token_is_not_sent_in_the_clear() {
        let refused = Workflow::new("http://example.com/token", "job").expect_err("no https").to_string();
        assert!(refused.contains("over https only"), "{refused}");
    }
}
