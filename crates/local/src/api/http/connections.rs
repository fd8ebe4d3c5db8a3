//! Connections: how many, how long a client may take, and what a client's end of one must not cost the others.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Backend, Server, handle, openapi, table};
use crate::api::{Api, tls::Identity};

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once; further ones are closed.
    pub(super) connections: usize,
    /// For the TLS handshake.
    pub(super) handshake: Duration,
    /// For the head of an HTTP/1 request, from the end of the one before: also how long a connection may be idle.
    pub(super) head: Duration,
    /// For a request's body.
    pub(super) body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connections: 8192, handshake: seconds(30), head: seconds(60), body: seconds(30) }
    }
}

/// How often an HTTP/2 client that says nothing is asked whether it is there, and how long it may take to say so.
const ASKED_EVERY: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Requests at once on one HTTP/2 connection; upstream's.
const STREAMS: u32 = 250;
/// Largest head of an HTTP/2 request; of an HTTP/1 one it is what hyper buffers, 400 KiB.
const HTTP2_HEAD: u32 = 400 << 10;

/// Serves until the token is cancelled.
pub async fn serve(
    api: Arc<Api>,
    identity: Arc<Identity>,
    backend: Arc<dyn Backend>,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let usual = Limits::default();
    let limits = Limits { connections: usual.connections.min(descriptors() / 2), ..usual };
    serve_within(limits, api, identity, backend, listener, shutdown).await;
}

/// Descriptors that the process may have; the rest of them is for pods, Services and files.
fn descriptors() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// The same with other limits.
pub(super) async fn serve_within(
    limits: Limits,
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
        limits,
        openapi: openapi::Documents::default(),
        columns: table::Columns::load(),
    });
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                    tracing::debug!(%peer, limit = limits.connections, "too many connections: closed");
                    continue;
                };
                let served = connection(Arc::clone(&server), acceptor.clone(), stream, peer, shutdown.clone());
                tokio::spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Once: without descriptors this goes on until some are given back.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "connections cannot be accepted");
                }
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
    let limits = server.limits;
    // Small answers must not wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(limits.handshake, acceptor.accept(stream)).await else {
        tracing::debug!(%peer, "no handshake");
        return;
    };
    let session = stream.get_ref().1;
    let certificate = session.peer_certificates().and_then(|chain| chain.first().cloned());
    let user = certificate.and_then(|certificate| server.identity.user_of_certificate(&certificate));
    // Asked for in the handshake: what would be guessed from the first bytes could be waited for without end.
    let http2 = session.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, user) = (Arc::clone(&server), user.clone());
        async move { Ok::<_, Infallible>(handle(&server, user, request).await) }
    });
    let io = TokioIo::new(stream);
    let served = async {
        if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).keep_alive_interval(ASKED_EVERY).keep_alive_timeout(ANSWER_WITHIN);
            builder.max_concurrent_streams(STREAMS).max_header_list_size(HTTP2_HEAD);
            builder.serve_connection(io, service).await
        } else {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(limits.head);
            builder.serve_connection(io, service).with_upgrades().await
        }
    };
    tokio::select! {
        result = served => if let Err(error) = result {
            tracing::debug!(%peer, %error, "connection");
        },
        () = shutdown.cancelled() => {}
    }
}
