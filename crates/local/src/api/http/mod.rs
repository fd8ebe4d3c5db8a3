//! The HTTPS face of the API: connections, identity, routing. What a request does to objects is `verbs`.

mod accept;
mod body;
mod discovery;
mod openapi;
mod options;
mod respond;
mod review;
mod route;
mod scale;
mod table;
mod verbs;
mod watching;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Api, Status, protobuf, tls::Identity};
use crate::runtime::logs::{LogOptions, LogStream};
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
}

/// Largest body; upstream's.
const BODY_LIMIT: usize = 3 << 20;
/// A client may take so long for its handshake and its body.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all connections share.
pub(crate) struct Server {
    pub(crate) api: Arc<Api>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) backend: Arc<dyn Backend>,
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

/// Serves until the token is cancelled.
pub async fn serve(
    api: Arc<Api>,
    identity: Arc<Identity>,
    backend: Arc<dyn Backend>,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(identity.server_config());
    let server = Arc::new(Server {
        api,
        identity,
        backend,
        openapi: openapi::Documents::default(),
        columns: table::Columns::load(),
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(connection(Arc::clone(&server), acceptor.clone(), stream, peer, shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn connection(
    server: Arc<Server>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: CancellationToken,
) {
    // Small answers must not wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else {
        tracing::debug!(%peer, "no handshake");
        return;
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
    let user = certificate.and_then(|certificate| server.identity.user_of_certificate(&certificate));
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, user) = (Arc::clone(&server), user.clone());
        async move { Ok::<_, Infallible>(handle(&server, user, request).await) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::select! {
        result = connection => if let Err(error) = result {
            tracing::debug!(%peer, %error, "connection");
        },
        () = shutdown.cancelled() => {}
    }
}

async fn handle(server: &Server, user: Option<User>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    if matches!(path.as_str(), "/healthz" | "/livez" | "/readyz") {
        return plain(StatusCode::OK, "ok");
    }
    let user = match authenticate(server, user, &request) {
        Ok(user) => user,
        Err(failure) => return status(&failure),
    };
    let accepted = verbs::accept(&request);
    match dispatch(server, &user, &path, request).await {
        Ok(answer) if accepted.starts_with("application/yaml") => respond::as_yaml(answer).await,
        Ok(answer) => answer,
        Err(failure) => status(&failure),
    }
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
    if route.group == "metrics.k8s.io" {
        return discovery::metrics(server, &route, request.method());
    }
    if matches!(route.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io")
        && request.method() == Method::POST
    {
        let body = read(request).await?;
        return review::answer(server, user, &route, &body);
    }
    verbs::handle(server, user, &route, &query, request).await
}

/// A request's body, which is JSON, YAML or protobuf.
pub(crate) async fn read(request: Request<Incoming>) -> Result<Value, Status> {
    Ok(read_parsed(request).await?.value)
}

/// The same, with the members that it has twice.
pub(crate) async fn read_parsed(request: Request<Incoming>) -> Result<body::Parsed, Status> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = content_type.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
    let media = media.unwrap_or_default();
    let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), BODY_LIMIT).collect());
    let bytes = match body.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let text = format!("Request entity too large: limit is {BODY_LIMIT}");
            return Err(Status::new(413, "RequestEntityTooLarge", text));
        }
        Ok(Err(_)) => return Err(Status::bad_request("unable to read the request body: unexpected EOF")),
        Err(_) => return Err(Status::new(408, "Timeout", "the request body did not arrive in time")),
    };
    if bytes.is_empty() {
        return Ok(body::Parsed::default());
    }
    if media.contains("protobuf") {
        let value = protobuf::decode(&bytes).map_err(|error| Status::bad_request(error.to_string()))?;
        return Ok(body::Parsed { value, duplicates: Vec::new() });
    }
    if media.contains("yaml") {
        return body::yaml(&bytes).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")));
    }
    if !media.is_empty() && !media.contains("json") {
        let text = "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        return Err(Status::new(415, "UnsupportedMediaType", text));
    }
    body::json(&bytes).map_err(|error| {
        Status::bad_request(format!("the object provided is unrecognized (must be of type json): {error}"))
    })
}
