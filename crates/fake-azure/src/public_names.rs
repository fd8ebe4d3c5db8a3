//! The login and the blobs under their public names: behind a proxy, over TLS, as programs without any other setting ask
//! for them. Set `HTTPS_PROXY` to the proxy and `SSL_CERT_FILE` to a file with the certificate.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::extract::Query;
use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    storage::{BlobRequest, CALLER},
    tls,
    world::World,
};

const LOGIN: &str = "login.microsoftonline.com";
const BLOBS: &str = ".blob.core.windows.net";
/// The longest head of a CONNECT request.
const LONGEST_HEAD: usize = 8192;

/// A proxy to them; it ends when this is dropped.
#[derive(Debug)]
pub struct PublicNames {
    /// `http://127.0.0.1:PORT`.
    pub proxy: String,
    /// What to trust, as PEM.
    pub certificate: String,
    task: JoinHandle<()>,
}

impl PublicNames {
    /// Puts a world behind its public names.
    pub async fn start(world: Arc<Mutex<World>>) -> io::Result<Self> {
        let names = [LOGIN, &format!("*{BLOBS}")];
        let (certificate, acceptor) = tls::identity("public names of the fake Azure", names)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let proxy = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away in the middle is no matter of the fake's.
                tokio::spawn(connection(stream, acceptor.clone(), world.clone()));
            }
        });
        Ok(Self { proxy, certificate, task })
    }
}

impl Drop for PublicNames {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(mut stream: TcpStream, acceptor: TlsAcceptor, world: Arc<Mutex<World>>) -> io::Result<()> {
    let host = asked_for(&mut stream).await?;
    let known = host == LOGIN || host.ends_with(BLOBS);
    let answer =
        if known { "HTTP/1.1 200 OK\r\n\r\n" } else { "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n" };
    stream.write_all(answer.as_bytes()).await?;
    if !known {
        return Ok(());
    }
    let stream = acceptor.accept(stream).await?;
    let service = service_fn(move |request| answer_one(host.clone(), request, world.clone()));
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
}

/// The host of a CONNECT request.
async fn asked_for(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head);
    let host = text.strip_prefix("CONNECT ").and_then(|rest| rest.split([':', ' ']).next());
    host.map(str::to_owned).ok_or_else(|| io::Error::other("no CONNECT request"))
}

async fn answer_one(
    host: String,
    request: http::Request<Incoming>,
    world: Arc<Mutex<World>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    if host == LOGIN {
        return Ok(world.log_in(&parts.method, parts.uri.path()));
    }
    let query = Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri).map(|query| query.0).unwrap_or_default();
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let answer = world.blob_request(&BlobRequest {
        method: parts.method,
        account: host.trim_end_matches(BLOBS).to_owned(),
        path: parts.uri.path().to_owned(),
        query,
        headers: parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body,
    });
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(answer.body)).unwrap_or_default())
}

impl World {
    /// The login of any application: <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>.
    fn log_in(&mut self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let (status, body) = if method == Method::POST && path.ends_with("/oauth2/v2.0/token") {
            let part =
                |value: &serde_json::Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
            let claims = json!({ "oid": CALLER, "idtyp": "app", "tid": self.facts.tenant, "jti": self.tokens.len() });
            let token = format!("{}.{}.fake", part(&json!({ "typ": "JWT", "alg": "none" })), part(&claims));
            self.tokens.insert(token.clone(), Duration::MAX);
            (StatusCode::OK, json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": token }))
        } else {
            (StatusCode::NOT_FOUND, json!({ "error": "not_found", "error_description": "the fake only gives tokens" }))
        };
        let response = Response::builder().status(status).header("content-type", "application/json");
        response.body(Full::new(Bytes::from(body.to_string()))).unwrap_or_default()
    }
}
