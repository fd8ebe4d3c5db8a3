//! What a client asks before it asks ARM: where the cloud's parts are, and for a token.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use base64::Engine as _;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    wire::{Answer, Request},
    world::World,
};

impl World {
    /// Answers requests that are none of ARM's; none: it is one of ARM's.
    pub(crate) fn before_arm(&mut self, request: &Request) -> Option<Answer> {
        match (&request.method, request.segments().as_slice()) {
            (&Method::GET, ["metadata", "endpoints"]) => Some(Answer::ok(cloud(&request.base))),
            (&Method::POST, [tenant, "oauth2", "v2.0", "token"]) => Some(self.token(tenant, &request.body)),
            _ => None,
        }
    }

    fn token(&mut self, tenant: &str, form: &Value) -> Answer {
        let text = |name: &str| form[name].as_str().unwrap_or_default();
        let refused = |error: &str, code: u32, words: &str| {
            let body =
                json!({ "error": error, "error_description": format!("AADSTS{code}: {words}"), "error_codes": [code] });
            Answer::new(StatusCode::UNAUTHORIZED, body)
        };
        if tenant != self.facts.tenant {
            return refused("invalid_request", 90002, "Tenant not found.");
        }
        let client = text("client_id").to_owned();
        let Some(secret) = self.applications.get(&client) else {
            return refused("unauthorized_client", 700_016, "Application was not found in the directory.");
        };
        if text("grant_type") != "client_credentials" || text("client_secret") != secret {
            return refused("invalid_client", 7_000_215, "Invalid client secret provided.");
        }
        let token = self.signed(&client);
        self.tokens.insert(token.clone(), self.now.saturating_add(self.style.login));
        Answer::ok(json!({ "token_type": "Bearer", "expires_in": self.style.login.as_secs(), "access_token": token }))
    }

    /// A token whose claims can be read and whose signature is none.
    fn signed(&self, client: &str) -> String {
        let part = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({
            "aud": "https://management.azure.com/", "appid": client, "oid": client, "tid": self.facts.tenant,
            "idtyp": "app", "jti": self.tokens.len(),
        });
        format!("{}.{}.fake", part(&json!({ "typ": "JWT", "alg": "none" })), part(&claims))
    }
}

/// The parts of the cloud that the fake plays; suffixes of others lead nowhere.
fn cloud(base: &str) -> Value {
    let suffix = |service: &str| format!("{service}.fake.invalid");
    json!({
        "name": "AzureCloud", "resourceManager": base, "portal": base,
        "authentication": {
            "loginEndpoint": base, "tenant": "common", "identityProvider": "AAD",
            "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
        },
        "microsoftGraphResourceId": "https://graph.microsoft.com/",
        "logAnalyticsResourceId": "https://api.loganalytics.io",
        "suffixes": { "keyVaultDns": suffix("vault"), "storage": suffix("storage"), "mhsmDns": suffix("managedhsm") },
    })
}
