//! The HTTP API: bounded concurrency and queue, connection turn-over, graceful drain.

mod admission;
mod api;
pub(crate) mod metrics;

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use http::{HeaderValue, header};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::{
    AppError, WebConfig,
    store::{Keys, Store, connect},
    terminated,
};
use admission::Admission;
use metrics::WebMetrics;

/// Content type of the metrics, as Prometheus negotiates it.
pub(crate) const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that requests share.
pub(crate) struct State {
    config: WebConfig,
    store: Store,
    admission: Admission,
    metrics: WebMetrics,
    list_cache: tokio::sync::Mutex<Option<api::CachedList>>,
    draining: AtomicBool,
}

/// Serves until SIGTERM, then drains: refuses new connections, finishes what is queued or executing, ends.
pub(crate) async fn run(config: WebConfig) -> Result<(), AppError> {
    let listener = listen(config.bind).await?;
    let store = Store::new(connect(&config.redis_url).await?, Keys::new(&config.queue));
    let metrics = WebMetrics::new(config.base_memory);
    let admission = Admission::new(config.concurrency, config.queue_limit);
    let state = Arc::new(State {
        store,
        admission,
        metrics,
        list_cache: tokio::sync::Mutex::default(),
        draining: AtomicBool::new(false),
        config,
    });
    tracing::info!(bind = %state.config.bind, pattern = ?state.config.pattern, "web serves");
    let connections = TaskTracker::new();
    let stop = tokio_util::sync::CancellationToken::new();
    let mut ended = std::pin::pin!(terminated());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors or a reset before accept: the next one may do.
                    tracing::warn!(%error, "accept");
                    tokio::task::yield_now().await;
                    continue;
                }
            },
            () = &mut ended => break,
        };
        connections.spawn(serve_connection(Arc::clone(&state), stream, stop.clone()));
    }
    drop(listener);
    state.draining.store(true, Ordering::Relaxed);
    tracing::info!(in_flight = state.admission.in_flight(), "draining");
    stop.cancel();
    connections.close();
    if tokio::time::timeout(state.config.grace, connections.wait()).await.is_err() {
        tracing::warn!(in_flight = state.admission.in_flight(), "grace is over");
    }
    tracing::info!("web ends");
    Ok(())
}

pub(crate) async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).await.map_err(|source| AppError::Io { what: format!("listening on {address}"), source })
}

async fn serve_connection(state: Arc<State>, stream: tokio::net::TcpStream, stop: tokio_util::sync::CancellationToken) {
    // Small answers must not wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let served = AtomicU32::new(0);
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        let count = served.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            let mut response = api::handle(&state, request).await;
            let last = count >= state.config.requests_per_connection || state.draining.load(Ordering::Relaxed);
            // A Service balances connections: while requests wait or are refused here, clients must be able to land
            // elsewhere.
            if last || state.admission.is_saturated() || response.status() == http::StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(std::time::Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result
        && !error.is_incomplete_message()
        && !error.is_timeout()
    {
        tracing::debug!(error = %io::Error::other(error), "connection");
    }
}
