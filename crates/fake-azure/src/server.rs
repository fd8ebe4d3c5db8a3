//! The fake behind a loopback port: plain HTTP, one task, ended when it is dropped.

use std::{
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
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    backing::Backing,
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
    task: JoinHandle<()>,
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
        Ok(Self { url, base, world, task })
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
        self.task.abort();
    }
}

async fn handle(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    query: Query<std::collections::BTreeMap<String, String>>,
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
        body: serde_json::from_slice(&body).unwrap_or_default(),
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

/// An answer whose body ends in an error: the connection is closed in the middle of it.
fn broken(builder: http::response::Builder, part: Vec<u8>) -> Response {
    let parts = stream::once(async move { Ok(Bytes::from(part)) })
        .chain(stream::once(async { Err(io::Error::other("the fake breaks the connection")) }));
    builder.body(Body::from_stream(parts)).unwrap_or_default()
}
