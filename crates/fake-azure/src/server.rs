//! The fake behind loopback ports: plain HTTP, and TLS for clients that speak nothing else. It ends when it is dropped.

use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    response::Response,
};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, Method, Uri, header};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    backing::Backing,
    tls,
    wire::{Answer, Request},
    world::World,
};

/// A running fake.
#[derive(Debug)]
pub struct FakeAzure {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    base: Arc<Mutex<String>>,
    world: Arc<Mutex<World>>,
    tasks: Vec<JoinHandle<()>>,
}

/// The same fake over TLS.
#[derive(Debug)]
pub struct OverTls {
    /// `localhost:PORT`.
    pub host: String,
    /// The authority to trust, as PEM.
    pub certificate: String,
}

#[derive(Clone)]
struct Shared {
    base: Arc<Mutex<String>>,
    world: Arc<Mutex<World>>,
}

impl FakeAzure {
    /// Puts a world behind a free port.
    pub async fn start(world: World) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let world = Arc::new(Mutex::new(world));
        let base = Arc::new(Mutex::new(url.clone()));
        let shared = Shared { base: base.clone(), world: world.clone() };
        let router = Router::new().fallback(handle).with_state(shared);
        let task = tokio::spawn(async move {
            // It serves until it is aborted; an accept error ends only the test that waits for it.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, base, world, tasks: vec![task] })
    }

    /// Puts the world behind a second port as well, which speaks TLS.
    pub async fn over_tls(&mut self) -> io::Result<OverTls> {
        let (certificate, acceptor) = tls::identity("fake Azure", ["localhost", "127.0.0.1"])?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let host = format!("localhost:{}", tcp.local_addr()?.port());
        let base = Arc::new(Mutex::new(format!("https://{host}")));
        let router = Router::new().fallback(handle).with_state(Shared { base, world: self.world.clone() });
        self.tasks.push(tokio::spawn(async move {
            let _ = axum::serve(tls::Listener { tcp, acceptor }, router).await;
        }));
        Ok(OverTls { host, certificate })
    }

    /// The world, to question it or to change it.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world, to be kept.
    pub fn shared(&self) -> Arc<Mutex<World>> {
        self.world.clone()
    }

    /// From now on addresses in answers begin with `base` instead of the fake's own address.
    pub fn answer_as(&self, base: &str) {
        base.clone_into(&mut self.base.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Puts real clusters behind the managed ones.
    pub fn back(&self, backing: impl Backing + 'static) {
        self.world().clusters.backing = Some(Box::new(backing));
    }
}

impl Drop for FakeAzure {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn handle(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    query: Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::to_owned);
    let request = Request {
        method,
        path: uri.path().to_owned(),
        query: query.0,
        token,
        body: read(&headers, &body),
        base: shared.base.lock().unwrap_or_else(PoisonError::into_inner).clone(),
    };
    let answer = shared.world.lock().unwrap_or_else(PoisonError::into_inner).answer(&request);
    match answer {
        Answer::Hang => std::future::pending().await,
        Answer::Reset => broken(Response::builder(), Vec::new()),
        Answer::Reply { status, headers, body, cut } => {
            let mut builder = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
            for (name, value) in headers {
                builder = builder.header(name, value);
            }
            let text = if body.is_null() { String::new() } else { body.to_string() };
            if cut {
                return broken(
                    builder.header(header::CONTENT_LENGTH, text.len()),
                    text.as_bytes()[..text.len() / 2].into(),
                );
            }
            builder.body(Body::from(text)).unwrap_or_default()
        }
    }
}

/// A body as a value: JSON, or the fields of a form.
fn read(headers: &HeaderMap, body: &[u8]) -> Value {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/x-www-form-urlencoded") {
        let uri = format!("/?{}", String::from_utf8_lossy(body)).parse::<Uri>().unwrap_or_default();
        let fields = Query::<BTreeMap<String, String>>::try_from_uri(&uri).map(|query| query.0).unwrap_or_default();
        return serde_json::to_value(fields).unwrap_or_default();
    }
    serde_json::from_slice(body).unwrap_or_default()
}

/// An answer whose body ends in an error: the connection is closed in the middle of it.
fn broken(builder: http::response::Builder, part: Vec<u8>) -> Response {
    let parts = stream::once(async move { Ok(Bytes::from(part)) })
        .chain(stream::once(async { Err(io::Error::other("the fake breaks the connection")) }));
    builder.body(Body::from_stream(parts)).unwrap_or_default()
}
