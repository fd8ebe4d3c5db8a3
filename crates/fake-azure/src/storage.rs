//! Storage accounts: what ARM knows of them, and the blobs in them with their leases.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/lease-blob>; of blobs only what the azurerm backend of Terraform
//! and democtl ask.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    wire::{Answer, Request},
    world::{Resource, World, kind_of},
};

/// Who is logged in, in the directory's terms.
pub(crate) const CALLER: &str = "00000000-0000-4000-8000-0000000000bb";

/// The role that lets its holder read and write blobs.
const DATA_CONTRIBUTOR: &str = "ba92f5b4-2d11-453d-a403-e96b0029c9fe";

/// A blob as it lies in its container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blob {
    data: Bytes,
    metadata: BTreeMap<String, String>,
    lease: Option<String>,
}

/// A request of the data plane.
#[derive(Debug, Clone)]
pub(crate) struct BlobRequest {
    pub(crate) method: Method,
    pub(crate) account: String,
    /// `/container/name`.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// Headers, names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

/// An answer of the data plane.
#[derive(Debug, Clone)]
pub(crate) struct BlobAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl BlobAnswer {
    fn new(status: StatusCode) -> Self {
        let headers =
            [("etag", "\"1\""), ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"), ("x-ms-version", "2023-11-03")];
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { status, headers, body: Bytes::new() }
    }

    fn error(status: StatusCode, code: &str) -> Self {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        );
        Self { body: text.into(), ..Self::new(status) }
            .with("content-type", "application/xml")
            .with("x-ms-error-code", code)
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What is there as soon as it was asked for.
pub(crate) fn is_made_at_once(kind: &str) -> bool {
    kind == "microsoft.authorization/roleassignments" || kind.starts_with("microsoft.storage/storageaccounts")
}

impl World {
    /// The content of a blob; `path`: `container/name`.
    pub fn blob(&self, account: &str, path: &str) -> Option<&[u8]> {
        self.blobs.get(&format!("{account}/{path}")).map(|blob| blob.data.as_ref())
    }

    /// The lease that holds a blob.
    pub fn lease(&self, account: &str, path: &str) -> Option<&str> {
        self.blobs.get(&format!("{account}/{path}"))?.lease.as_deref()
    }

    /// Somebody else holds a blob, as Terraform's backend does: `info` is what it writes of itself.
    pub fn hold(&mut self, account: &str, path: &str, lease: &str, info: &str) {
        use base64::Engine as _;
        let blob = self.blobs.entry(format!("{account}/{path}")).or_default();
        blob.lease = Some(lease.to_owned());
        let encoded = base64::engine::general_purpose::STANDARD.encode(info);
        blob.metadata.insert("terraformlockid".to_owned(), encoded);
    }

    /// They let it go.
    pub fn let_go(&mut self, account: &str, path: &str) {
        if let Some(blob) = self.blobs.get_mut(&format!("{account}/{path}")) {
            blob.lease = None;
            blob.metadata.clear();
        }
    }

    pub(crate) fn put_at_once(&mut self, request: &Request, id: &str) -> Answer {
        let kind = kind_of(id);
        if let Some(refused) = self.not_permitted(&format!("{kind}/write"), id) {
            return refused;
        }
        let registered = |state: &String| state == "Registered";
        if kind.starts_with("microsoft.storage/")
            && !self.facts.providers.get("Microsoft.Storage").is_some_and(registered)
        {
            let message = "The subscription is not registered to use namespace 'Microsoft.Storage'.";
            return Answer::error(StatusCode::CONFLICT, "MissingSubscriptionRegistration", message);
        }
        let name = id.rsplit('/').next().unwrap_or_default();
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if kind == "microsoft.storage/storageaccounts" && !(plain && (3..=24).contains(&name.len())) {
            let message = format!("{name} is not a valid storage account name.");
            return Answer::error(StatusCode::BAD_REQUEST, "AccountNameInvalid", message);
        }
        let mut body = request.body.clone();
        body["id"] = json!(id);
        body["name"] = json!(name);
        body["type"] = json!(kind);
        if kind == "microsoft.storage/storageaccounts" {
            body["properties"]["provisioningState"] = json!("Succeeded");
            body["properties"]["primaryEndpoints"] =
                json!({ "blob": format!("https://{name}.blob.core.windows.net/") });
        }
        let resource = Resource { id: id.to_owned(), body: body.clone(), seen_from: self.now, forced: false };
        let new = self.resources.insert(id.to_lowercase(), resource).is_none();
        Answer::new(if new { StatusCode::CREATED } else { StatusCode::OK }, body)
    }

    /// The caller's roles at a scope: those of the subscription, and what was assigned at the scope.
    pub(crate) fn permissions_at(&self, scope: &str) -> Answer {
        let mut roles: Vec<Value> = self.facts.permissions.iter().map(crate::subscription::permission_json).collect();
        if self.may_write_blobs(scope) {
            let data = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/*";
            roles.push(json!({ "actions": [], "notActions": [], "dataActions": [data], "notDataActions": [] }));
        }
        Answer::ok(json!({ "value": roles }))
    }

    fn may_write_blobs(&self, scope: &str) -> bool {
        let below = format!("{}/providers/microsoft.authorization/roleassignments/", scope.to_lowercase());
        self.resources.iter().any(|(key, resource)| {
            let properties = &resource.body["properties"];
            let role = properties["roleDefinitionId"].as_str().unwrap_or_default();
            key.starts_with(&below) && properties["principalId"] == CALLER && role.ends_with(DATA_CONTRIBUTOR)
        })
    }

    /// A storage account is gone, with all that was in it.
    pub(crate) fn account_removed(&mut self, account: &str) {
        let within = format!("{account}/");
        self.blobs.retain(|key, _| !key.starts_with(&within));
    }

    /// Answers a request of the data plane.
    pub(crate) fn blob_request(&mut self, request: &BlobRequest) -> BlobAnswer {
        let token = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if token.is_none_or(|token| !self.tokens.contains_key(token)) {
            return BlobAnswer::error(StatusCode::UNAUTHORIZED, "InvalidAuthenticationInfo");
        }
        let within = format!("/providers/microsoft.storage/storageaccounts/{}", request.account);
        let Some(account) = self.resources.keys().find(|key| key.ends_with(&within)).cloned() else {
            return BlobAnswer::error(StatusCode::NOT_FOUND, "ResourceNotFound");
        };
        if !self.may_write_blobs(&account) {
            return BlobAnswer::error(StatusCode::FORBIDDEN, "AuthorizationPermissionMismatch");
        }
        let container = request.path.split('/').nth(1).unwrap_or_default();
        if !self.resources.contains_key(&format!("{account}/blobservices/default/containers/{container}")) {
            return BlobAnswer::error(StatusCode::NOT_FOUND, "ContainerNotFound");
        }
        let operation = |name: &str| request.query.get(name).map_or("", String::as_str);
        let key = format!("{}{}", request.account, request.path);
        match (&request.method, operation("restype"), operation("comp")) {
            (&Method::GET, "container", "list") => {
                let text = "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs/><NextMarker/></EnumerationResults>";
                BlobAnswer { body: text.into(), ..BlobAnswer::new(StatusCode::OK) }
                    .with("content-type", "application/xml")
            }
            (_, "container", _) => BlobAnswer::new(StatusCode::OK),
            (&Method::PUT, _, "") => self.put_blob(request, key),
            (method, _, operation) => match self.blobs.get_mut(&key) {
                None => BlobAnswer::error(StatusCode::NOT_FOUND, "BlobNotFound"),
                Some(blob) => blob.answer(method, operation, request),
            },
        }
    }

    fn put_blob(&mut self, request: &BlobRequest, key: String) -> BlobAnswer {
        let blob = self.blobs.entry(key).or_default();
        if let Some(refused) = blob.held_by_another(request) {
            return refused;
        }
        blob.data = request.body.clone();
        blob.metadata = metadata(request);
        BlobAnswer::new(StatusCode::CREATED)
    }
}

fn metadata(request: &BlobRequest) -> BTreeMap<String, String> {
    let one = |(name, value): (&String, &String)| Some((name.strip_prefix("x-ms-meta-")?.to_owned(), value.clone()));
    request.headers.iter().filter_map(one).collect()
}

impl Blob {
    /// A write needs the lease's id.
    fn held_by_another(&self, request: &BlobRequest) -> Option<BlobAnswer> {
        let held = self.lease.as_ref()?;
        match request.headers.get("x-ms-lease-id") {
            Some(id) if id == held => None,
            Some(_) => Some(BlobAnswer::error(StatusCode::PRECONDITION_FAILED, "LeaseIdMismatchWithBlobOperation")),
            None => Some(BlobAnswer::error(StatusCode::PRECONDITION_FAILED, "LeaseIdMissing")),
        }
    }

    fn answer(&mut self, method: &Method, operation: &str, request: &BlobRequest) -> BlobAnswer {
        match (method, operation) {
            (&Method::GET | &Method::HEAD, _) => {
                let (state, status) =
                    if self.lease.is_some() { ("leased", "locked") } else { ("available", "unlocked") };
                let answer = BlobAnswer { body: self.data.clone(), ..BlobAnswer::new(StatusCode::OK) }
                    .with("x-ms-blob-type", "BlockBlob")
                    .with("x-ms-lease-state", state)
                    .with("x-ms-lease-status", status);
                self.metadata
                    .iter()
                    .fold(answer, |answer, (name, value)| answer.with(&format!("x-ms-meta-{name}"), value))
            }
            (&Method::PUT, "lease") => self.lease(request),
            (&Method::PUT, "metadata") => self.held_by_another(request).unwrap_or_else(|| {
                self.metadata = metadata(request);
                BlobAnswer::new(StatusCode::OK)
            }),
            _ => BlobAnswer::error(StatusCode::BAD_REQUEST, "UnsupportedHttpVerb"),
        }
    }

    fn lease(&mut self, request: &BlobRequest) -> BlobAnswer {
        let header = |name: &str| request.headers.get(name).cloned();
        match header("x-ms-lease-action").as_deref() {
            Some("acquire") => {
                let proposed = header("x-ms-proposed-lease-id");
                if self.lease.is_some() && self.lease != proposed {
                    return BlobAnswer::error(StatusCode::CONFLICT, "LeaseAlreadyPresent");
                }
                let id = proposed.unwrap_or_else(|| CALLER.to_owned());
                self.lease = Some(id.clone());
                BlobAnswer::new(StatusCode::CREATED).with("x-ms-lease-id", &id)
            }
            Some("release") if self.lease.is_some() && header("x-ms-lease-id") == self.lease => {
                self.lease = None;
                BlobAnswer::new(StatusCode::OK)
            }
            Some("release") => BlobAnswer::error(StatusCode::CONFLICT, "LeaseIdMismatchWithLeaseOperation"),
            _ => BlobAnswer::error(StatusCode::BAD_REQUEST, "InvalidHeaderValue"),
        }
    }
}
