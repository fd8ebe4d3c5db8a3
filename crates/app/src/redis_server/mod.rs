//! An embedded server of the Redis protocol, for machines without `redis-server`: the commands that the demo, KEDA's
//! redis trigger and people with `redis-cli` use. In memory, one thread, RESP2.
//!
//! Semantics and error texts follow <https://redis.io/docs/latest/commands/>; what is not here answers `ERR unknown command`.

mod command;
mod db;

use std::{net::SocketAddr, rc::Rc, time::Duration};

use futures::{FutureExt as _, SinkExt, StreamExt as _};
use redis_protocol::{
    codec::Resp2,
    resp2::types::{BytesFrame, Resp2Frame as _},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Framed;

use crate::{AppError, terminated};
use command::{Reply, Session};
use db::Server;

/// Serves on `address` until SIGTERM.
pub async fn run(address: SocketAddr) -> Result<(), AppError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| AppError::Io { what: format!("listening on {address}"), source })?;
    tracing::info!(%address, "embedded redis serves");
    tokio::task::LocalSet::new()
        .run_until(async {
            tokio::select! {
                () = serve(listener) => {}
                () = terminated() => {}
            }
        })
        .await;
    Ok(())
}

/// Serves connections of a listener for ever; must run inside a `LocalSet`.
pub async fn serve(listener: TcpListener) {
    let server = Rc::new(Server::default());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(connection(stream, Rc::clone(&server)));
            }
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn connection(stream: TcpStream, server: Rc<Server>) {
    // Small answers must not wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let mut framed = Framed::new(stream, Resp2::default());
    let mut session = Session::default();
    while let Some(Ok(frame)) = framed.next().await {
        if answer(&mut framed, &mut session, &server, frame).await.is_err() {
            return;
        }
        // Answers of a pipeline go out together.
        while let Some(Some(next)) = framed.next().now_or_never() {
            let Ok(frame) = next else { return };
            if answer(&mut framed, &mut session, &server, frame).await.is_err() {
                return;
            }
        }
        if SinkExt::<BytesFrame>::flush(&mut framed).await.is_err() || session.quit {
            return;
        }
    }
}

async fn answer(
    framed: &mut Framed<TcpStream, Resp2>,
    session: &mut Session,
    server: &Server,
    frame: BytesFrame,
) -> Result<(), ()> {
    let reply = match arguments(frame) {
        Some(arguments) => session.execute(server, arguments),
        None => Reply::error("ERR Protocol error: expected an array of bulk strings"),
    };
    let reply = match reply {
        Reply::Now(reply) => reply,
        Reply::Wait { again, timeout, empty } => {
            SinkExt::<BytesFrame>::flush(framed).await.map_err(|_| ())?;
            wait(session, server, &again, timeout).await.unwrap_or(empty)
        }
    };
    framed.feed(reply).await.map_err(|_| ())
}

/// Tries a blocking command again whenever a list has grown.
async fn wait(
    session: &mut Session,
    server: &Server,
    again: &[bytes::Bytes],
    timeout: Option<Duration>,
) -> Option<BytesFrame> {
    let tries = async {
        loop {
            let grown = server.grown.notified();
            if let Reply::Now(reply) = session.execute(server, again.to_vec()) {
                return reply;
            }
            grown.await;
        }
    };
    match timeout {
        Some(limit) => tokio::time::timeout(limit, tries).await.ok(),
        None => Some(tries.await),
    }
}

fn arguments(frame: BytesFrame) -> Option<Vec<bytes::Bytes>> {
    let BytesFrame::Array(items) = frame else { return None };
    items
        .into_iter()
        .map(|item| match item {
            BytesFrame::BulkString(bytes) | BytesFrame::SimpleString(bytes) => Some(bytes),
            other => other.as_str().map(|text| bytes::Bytes::copy_from_slice(text.as_bytes())),
        })
        .collect()
}
