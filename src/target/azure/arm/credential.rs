//! Logging in: which credential is used, in one documented order, and how the Azure SDK gets its tokens.
//!
//! The order is that of `docs/azure.md`: a given token, a client secret, workload identity, a pipeline's service
//! connection, a workflow's token, managed identity, and at last the Azure CLI. The first one that is configured is used; nothing is tried
//! in vain.

use std::{fmt, path::PathBuf, sync::Arc, time::SystemTime};

use azure_core::{
    credentials::{Secret, TokenCredential},
    error::{Error as SdkError, ErrorKind},
    http::{AsyncRawResponse, Body, ClientOptions, HttpClient, Transport, headers::Headers},
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzurePipelinesCredential, AzurePipelinesCredentialOptions,
    ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use futures::future::BoxFuture;

use super::{ArmError, Given, Patience, Token, TokenSource, github::Workflow, http_client};

/// What the user's flags and environment say of the login; resolved by the command line.
#[derive(Clone, Default)]
pub struct Login {
    /// A token that was fetched elsewhere (`AZURE_ACCESS_TOKEN`).
    pub access_token: Option<String>,
    /// Tenant (`AZURE_TENANT_ID`).
    pub tenant: Option<String>,
    /// Application (`AZURE_CLIENT_ID`).
    pub client: Option<String>,
    /// Its secret (`AZURE_CLIENT_SECRET`).
    pub client_secret: Option<String>,
    /// File with a federated token (`AZURE_FEDERATED_TOKEN_FILE`).
    pub federated_token_file: Option<PathBuf>,
    /// Azure Pipelines: service connection and the job's token (`SYSTEM_ACCESSTOKEN`).
    pub pipeline: Option<(String, String)>,
    /// GitHub Actions: where a job asks for its token, and by which (`ACTIONS_ID_TOKEN_REQUEST_URL`, `..._TOKEN`).
    pub workflow: Option<(String, String)>,
    /// Use the machine's managed identity (`ARM_USE_MSI=true`).
    pub managed_identity: bool,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("method", &self.method()).field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// How it is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// With a token from elsewhere.
    AccessToken,
    /// As an application with a secret.
    ClientSecret,
    /// By a federated token in a file.
    WorkloadIdentity,
    /// By a pipeline's service connection.
    Pipeline,
    /// By the token of a workflow of GitHub Actions.
    Workflow,
    /// As the machine.
    ManagedIdentity,
    /// As the Azure CLI is logged in.
    AzureCli,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessToken => "a given access token",
            Self::ClientSecret => "a client secret",
            Self::WorkloadIdentity => "workload identity",
            Self::Pipeline => "the pipeline's service connection",
            Self::Workflow => "the workflow's token",
            Self::ManagedIdentity => "managed identity",
            Self::AzureCli => "the Azure CLI",
        })
    }
}

impl Login {
    /// Which credential it comes to.
    pub fn method(&self) -> Method {
        let application = self.tenant.is_some() && self.client.is_some();
        match () {
            () if self.access_token.is_some() => Method::AccessToken,
            () if application && self.client_secret.is_some() => Method::ClientSecret,
            () if application && self.federated_token_file.is_some() => Method::WorkloadIdentity,
            () if application && self.pipeline.is_some() => Method::Pipeline,
            () if application && self.workflow.is_some() => Method::Workflow,
            () if self.managed_identity => Method::ManagedIdentity,
            () => Method::AzureCli,
        }
    }

    /// The same login for the azurerm provider, as environment variables of its process; the last may be a secret. A given
    /// token it cannot take, and the Azure CLI it asks by itself.
    ///
    /// <https://registry.terraform.io/providers/hashicorp/azurerm/latest/docs#argument-reference>
    pub fn for_terraform(&self) -> Vec<(String, String)> {
        let file = self.federated_token_file.as_ref().map(|file| file.display().to_string());
        let yes = || Some("true".to_owned());
        let connection = self.pipeline.as_ref().map(|(connection, _)| connection.clone());
        let job = self.pipeline.as_ref().map(|(_, token)| token.clone());
        let (url, token) = self.workflow.clone().unzip();
        let own = match self.method() {
            Method::AccessToken | Method::AzureCli => Vec::new(),
            Method::ClientSecret => {
                vec![("ARM_CLIENT_ID", self.client.clone()), ("ARM_CLIENT_SECRET", self.client_secret.clone())]
            }
            Method::WorkloadIdentity => vec![
                ("ARM_CLIENT_ID", self.client.clone()),
                ("ARM_USE_OIDC", yes()),
                ("ARM_OIDC_TOKEN_FILE_PATH", file),
            ],
            Method::Pipeline => vec![
                ("ARM_CLIENT_ID", self.client.clone()),
                ("ARM_USE_OIDC", yes()),
                ("ARM_OIDC_AZURE_SERVICE_CONNECTION_ID", connection),
                ("SYSTEM_ACCESSTOKEN", job),
            ],
            Method::Workflow => vec![
                ("ARM_CLIENT_ID", self.client.clone()),
                ("ARM_USE_OIDC", yes()),
                ("ARM_OIDC_REQUEST_URL", url),
                ("ARM_OIDC_REQUEST_TOKEN", token),
            ],
            Method::ManagedIdentity => vec![("ARM_CLIENT_ID", self.client.clone()), ("ARM_USE_MSI", yes())],
        };
        let all = std::iter::once(("ARM_TENANT_ID", self.tenant.clone())).chain(own);
        all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// The source of tokens for the ARM endpoint.
    pub fn source(&self, endpoint: &str) -> Result<Box<dyn TokenSource>, ArmError> {
        self.source_for(format!("{}/.default", endpoint.trim_end_matches('/')))
    }

    /// The source of tokens for a scope, `AUDIENCE/.default`. A given token has the audience that it has.
    pub fn source_for(&self, scope: String) -> Result<Box<dyn TokenSource>, ArmError> {
        let method = self.method();
        let failed = |error: SdkError| ArmError::Login(format!("{method}: {error}"));
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let assertion = || -> Result<ClientAssertionCredentialOptions, ArmError> {
            Ok(ClientAssertionCredentialOptions { client_options: options()? })
        };
        let credential: Arc<dyn TokenCredential> = match method {
            Method::AccessToken => return Ok(Box::new(Given(Token::new(text(&self.access_token), None)))),
            Method::ClientSecret => {
                let secret = Secret::new(text(&self.client_secret));
                let with = ClientSecretCredentialOptions { client_options: options()? };
                ClientSecretCredential::new(&text(&self.tenant), text(&self.client), secret, Some(with))
                    .map_err(failed)?
            }
            Method::WorkloadIdentity => {
                let with = WorkloadIdentityCredentialOptions {
                    credential_options: assertion()?,
                    client_id: self.client.clone(),
                    tenant_id: self.tenant.clone(),
                    token_file_path: self.federated_token_file.clone(),
                };
                WorkloadIdentityCredential::new(Some(with)).map_err(failed)?
            }
            Method::Pipeline => {
                let (connection, token) = self.pipeline.clone().unwrap_or_default();
                let with = AzurePipelinesCredentialOptions { credential_options: assertion()? };
                AzurePipelinesCredential::new(text(&self.tenant), text(&self.client), &connection, token, Some(with))
                    .map_err(failed)?
            }
            Method::Workflow => {
                let (url, token) = self.workflow.clone().unwrap_or_default();
                let job = Workflow::new(&url, &token)?;
                ClientAssertionCredential::new(text(&self.tenant), text(&self.client), job, Some(assertion()?))
                    .map_err(failed)?
            }
            Method::ManagedIdentity => {
                // It is asked of an address of the machine itself, which no proxy can reach.
                let with = ManagedIdentityCredentialOptions {
                    client_options: client_options(true)?,
                    user_assigned_id: self.client.clone().map(UserAssignedId::ClientId),
                };
                ManagedIdentityCredential::new(Some(with)).map_err(failed)?
            }
            Method::AzureCli => {
                let with = AzureCliCredentialOptions { tenant_id: self.tenant.clone(), ..Default::default() };
                AzureCliCredential::new(Some(with)).map_err(failed)?
            }
        };
        Ok(Box::new(Sdk { method, credential, scope }))
    }
}

/// A credential of the Azure SDK.
#[derive(Debug)]
struct Sdk {
    method: Method,
    credential: Arc<dyn TokenCredential>,
    scope: String,
}

impl TokenSource for Sdk {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, ArmError>> {
        Box::pin(async {
            let token = self.credential.get_token(&[&self.scope], None).await;
            let token = token.map_err(|error| ArmError::Login(format!("{}: {error}", self.method)))?;
            Ok(Token::new(token.token.secret().to_owned(), Some(SystemTime::from(token.expires_on))))
        })
    }
}

fn options() -> Result<ClientOptions, ArmError> {
    client_options(false)
}

fn client_options(no_proxy: bool) -> Result<ClientOptions, ArmError> {
    let http =
        http_client(no_proxy, Patience::default().attempt).map_err(|error| ArmError::Login(error.to_string()))?;
    Ok(ClientOptions { transport: Some(Transport::new(Arc::new(Http(http)))), ..ClientOptions::default() })
}

/// Our own HTTP client as the SDK's, so that there is one TLS stack.
#[derive(Debug)]
struct Http(reqwest::Client);

#[async_trait::async_trait]
impl HttpClient for Http {
    async fn execute_request(&self, request: &azure_core::http::Request) -> azure_core::Result<AsyncRawResponse> {
        let io =
            |error: reqwest::Error| SdkError::with_error(ErrorKind::Io, error.without_url(), "cannot reach the login");
        let method = request.method().to_string().parse().unwrap_or(reqwest::Method::GET);
        let mut call = self.0.request(method, request.url().clone());
        for (name, value) in request.headers().iter() {
            call = call.header(name.as_str(), value.as_str());
        }
        if let Body::Bytes(bytes) = request.body() {
            call = call.body(bytes.clone());
        }
        let answer = call.send().await.map_err(io)?;
        let status = answer.status().as_u16();
        let mut headers = Headers::new();
        for (name, value) in answer.headers() {
            if let Ok(value) = value.to_str() {
                headers.insert(name.as_str().to_owned(), value.to_owned());
            }
        }
        let bytes = answer.bytes().await.map_err(io)?;
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_configured_is_used() {
        let full = Login {
            access_token: Some("t".into()),
            tenant: Some("tenant".into()),
            client: Some("client".into()),
            client_secret: Some("s3cret".into()),
            federated_token_file: Some("token".into()),
            pipeline: Some(("connection".into(), "job".into())),
            workflow: Some(("https://example.com/token".into(), "job".into())),
            managed_identity: true,
        };
        let names = |login: &Login| {
            let all = login.for_terraform();
            all.into_iter().map(|(name, _)| name.trim_start_matches("ARM_").to_owned()).collect::<Vec<_>>().join(" ")
        };
        let mut login = full.clone();
        let mut told = vec![names(&login)];
        let mut order = vec![login.method()];
        login.access_token = None;
        order.push(login.method());
        told.push(names(&login));
        login.client_secret = None;
        order.push(login.method());
        told.push(names(&login));
        login.federated_token_file = None;
        order.push(login.method());
        told.push(names(&login));
        login.pipeline = None;
        order.push(login.method());
        told.push(names(&login));
        login.workflow = None;
        order.push(login.method());
        told.push(names(&login));
        login.managed_identity = false;
        order.push(login.method());
        told.push(names(&login));
        assert_eq!(
            order,
            [
                Method::AccessToken,
                Method::ClientSecret,
                Method::WorkloadIdentity,
                Method::Pipeline,
                Method::Workflow,
                Method::ManagedIdentity,
                Method::AzureCli
            ]
        );
        assert_eq!(
            told,
            [
                "TENANT_ID",
                "TENANT_ID CLIENT_ID CLIENT_SECRET",
                "TENANT_ID CLIENT_ID USE_OIDC OIDC_TOKEN_FILE_PATH",
                "TENANT_ID CLIENT_ID USE_OIDC OIDC_AZURE_SERVICE_CONNECTION_ID SYSTEM_ACCESSTOKEN",
                "TENANT_ID CLIENT_ID USE_OIDC OIDC_REQUEST_URL OIDC_REQUEST_TOKEN",
                "TENANT_ID CLIENT_ID USE_MSI",
                "TENANT_ID",
            ],
            "Terraform logs in as democtl does"
        );
        assert!(!format!("{full:?}").contains("s3cret"));
        let no_tenant = Login { tenant: None, access_token: None, managed_identity: false, ..full };
        assert_eq!(no_tenant.method(), Method::AzureCli, "an application without a tenant is none");
    }
}
