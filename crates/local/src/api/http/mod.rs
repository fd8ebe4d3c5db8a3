//! The HTTPS face of the API: identity, routing, bodies. What a request does to objects is `verbs`.

mod accept;
mod body;
mod connections;
mod deleting;
mod discovery;
mod metrics;
mod openapi;
mod options;
mod reading;
mod respond;
mod review;
mod route;
mod scale;
mod shaping;
mod subresources;
mod table;
mod verbs;
mod watching;

#[cfg(test)]
mod hostile;

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use serde_json::Value;

use super::{Api, Status, protobuf, tls::Identity};
use crate::runtime::logs::{LogOptions, LogStream};
use connections::Limits;
pub use connections::serve;
pub use respond::empty;
use respond::{plain, status};
use route::{Query, Route};

/// Body of an answer.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
/// An answer.
pub type Answer = Response<Body>;

/// What the API asks of those who run pods, and of those who measure them.
pub trait Backend: Send + Sync + 'static {
    /// The log of a pod's container; of its only one, or the one that it names as its default, when none is given.
    fn log(&self, pod: &Value, container: Option<&str>, options: LogOptions) -> Result<LogStream, Status>;
    /// Ports of a pod over an upgraded connection.
    fn port_forward(&self, pod: Arc<Value>, request: Request<Incoming>) -> BoxFuture<'_, Result<Answer, Status>>;
    /// `PodMetrics` of a namespace (empty: of all).
    fn pod_metrics(&self, namespace: &str) -> Vec<Value>;
    /// `NodeMetrics` of a node.
    fn node_metrics(&self, node: &Value) -> Option<Value>;
    /// `ExternalMetricValue`s of a metric in a namespace; the label selector names its `ScaledObject`.
    fn external_metric<'a>(
        &'a self,
        namespace: &'a str,
        metric: &'a str,
        selector: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Value>, Status>>;
}

/// Largest body; upstream's.
const BODY_LIMIT: usize = 3 << 20;
/// What all connections share.
pub(crate) struct Server {
    pub(crate) api: Arc<Api>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) backend: Arc<dyn Backend>,
    limits: Limits,
    openapi: openapi::Documents,
    columns: table::Columns,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

impl User {
    pub(crate) fn is_admin(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }
}

/// Answers a request; one that makes the server panic is answered too, and touches no other of its connection.
async fn handle(server: &Server, user: Option<User>, mut request: Request<Incoming>) -> Answer {
    request.extensions_mut().insert(server.limits);
    let answer = std::panic::AssertUnwindSafe(answer(server, user, request)).catch_unwind().await;
    answer.unwrap_or_else(|_| {
        let text = "This request caused apiserver to panic. Look in the logs for details.";
        status(&Status::new(500, "InternalError", text))
    })
}

async fn answer(server: &Server, user: Option<User>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    if matches!(path.as_str(), "/healthz" | "/livez" | "/readyz") {
        return plain(StatusCode::OK, "ok");
    }
    let user = match authenticate(server, user, &request) {
        Ok(user) => user,
        Err(failure) => return status(&failure),
    };
    let yaml = accept::parse(&accept::header(&request), accept::By::Custom).is_ok_and(|form| form.yaml);
    let answer = dispatch(server, &user, &path, request).await.unwrap_or_else(|failure| status(&failure));
    if yaml { respond::as_yaml(answer).await } else { answer }
}

fn authenticate(server: &Server, user: Option<User>, request: &Request<Incoming>) -> Result<User, Status> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let user = user.or_else(|| server.identity.user_of_token(bearer?));
    let user = user.ok_or_else(|| Status::new(401, "Unauthorized", "Unauthorized"))?;
    match header("impersonate-user") {
        Some(name) if user.is_admin() => {
            let groups = request.headers().get_all("impersonate-group").iter();
            let groups = groups.filter_map(|value| value.to_str().ok()).map(ToOwned::to_owned);
            Ok(User { name: name.to_owned(), groups: groups.chain(["system:authenticated".to_owned()]).collect() })
        }
        _ => Ok(user),
    }
}

async fn dispatch(server: &Server, user: &User, path: &str, request: Request<Incoming>) -> Result<Answer, Status> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    if let Some(answer) = discovery::answer(server, path, &request)? {
        return Ok(answer);
    }
    if let Some(answer) = openapi::answer(server, path) {
        return Ok(answer);
    }
    let Some(route) = Route::parse(path) else {
        review::allow_path(server, user, request.method(), path)?;
        return Ok(plain(StatusCode::NOT_FOUND, "404 page not found\n"));
    };
    review::allow(server, user, request.method(), &route, &query)?;
    if let Some(answer) = metrics::answer(server, &route, &query, request.method()).await {
        return answer;
    }
    if matches!(route.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io")
        && request.method() == Method::POST
    {
        let body = read(request).await?;
        return review::answer(server, user, &route, &body);
    }
    verbs::handle(server, user, &route, &query, request).await
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Yaml,
    Protobuf,
}

impl Media {
    /// By the content type; JSON when there is none.
    fn of(request: &Request<Incoming>) -> Option<Self> {
        let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return Some(Self::Json) };
        let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        if parts.any(|parameter| !parameter.is_empty() && !parameter.contains('=')) {
            return None;
        }
        match kind.as_str() {
            "" | "application/json" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Self::Protobuf),
            // Patches: which of them are taken was asked before.
            patch if *request.method() == Method::PATCH && patch.ends_with("+json") => Some(Self::Json),
            patch if *request.method() == Method::PATCH && patch.ends_with("+yaml") => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// Reads a body as a kind that is no resource, in one of its versions; an absent kind is taken for it.
pub(crate) fn typed_body(body: &mut Value, versions: &[&str], kind: &str) -> Result<(), Status> {
    if body.is_null() {
        *body = Value::Object(serde_json::Map::new());
    }
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let (version, given) = (text("apiVersion"), text("kind"));
    let about = |why: String| {
        let kind_of_body = if given.is_empty() { kind } else { given };
        format!("{kind_of_body} in version \"v1\" cannot be handled as a {kind}: {why}")
    };
    if !(given.is_empty() || given == kind) || !(version.is_empty() || versions.contains(&version)) {
        let why = format!("no kind \"{given}\" is registered for version \"{version}\"");
        return Err(Status::bad_request(about(why)));
    }
    let Some(shape) = super::typed::of_kind(versions[0], kind) else { return Ok(()) };
    let mut read = body.clone();
    super::typed::canonical(shape, &mut read, &mut Vec::new())
        .map_err(|error| Status::bad_request(about(error.to_string())))
}

/// A request's body, which is JSON, YAML or protobuf.
pub(crate) async fn read(request: Request<Incoming>) -> Result<Value, Status> {
    Ok(read_parsed(request).await?.value)
}

/// The same, with the members that it has twice.
pub(crate) async fn read_parsed(request: Request<Incoming>) -> Result<body::Parsed, Status> {
    let patience = request.extensions().get::<Limits>().copied().unwrap_or_default().body;
    let media = Media::of(&request);
    // An object that says nothing; a patch has to say something.
    let whole = matches!(*request.method(), Method::POST | Method::PUT);
    let body = tokio::time::timeout(patience, Limited::new(request.into_body(), BODY_LIMIT).collect());
    let bytes = match body.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let text = format!("Request entity too large: limit is {BODY_LIMIT}");
            return Err(Status::new(413, "RequestEntityTooLarge", text));
        }
        Ok(Err(_)) => return Err(Status::bad_request("unable to read the request body: unexpected EOF")),
        Err(_) => return Err(Status::new(408, "Timeout", "the request body did not arrive in time")),
    };
    if bytes.is_empty() && !(whole && media == Some(Media::Yaml)) {
        return Ok(body::Parsed::default());
    }
    let mut parsed = parse(media, &bytes)?;
    if whole && parsed.value.is_null() {
        parsed.value = Value::Object(serde_json::Map::new());
    }
    Ok(parsed)
}

fn parse(media: Option<Media>, bytes: &[u8]) -> Result<body::Parsed, Status> {
    match media {
        Some(Media::Json) => body::json(bytes).map_err(|error| {
            Status::bad_request(format!("the object provided is unrecognized (must be of type json): {error}"))
        }),
        Some(Media::Yaml) => {
            body::yaml(bytes).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
        }
        Some(Media::Protobuf) => {
            let value = protobuf::decode(bytes).map_err(|error| Status::bad_request(error.to_string()))?;
            Ok(body::Parsed { value, duplicates: Vec::new(), given: true })
        }
        None => {
            let text = "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf";
            Err(Status::new(415, "UnsupportedMediaType", text))
        }
    }
}
