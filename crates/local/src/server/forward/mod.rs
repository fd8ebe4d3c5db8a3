//! `portforward`: ports of a pod over an upgraded connection.
//!
//! Three ways, as clients choose: SPDY/3.1 (kubectl before 1.31), SPDY/3.1 inside a WebSocket (kubectl since), and
//! WebSocket channels (kube-rs and others). A pod's ports are those of its own loopback address.
//! <https://github.com/kubernetes/kubernetes/tree/v1.33.0/staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward>

mod channels;
mod spdy;
mod streams;

use std::{io, net::IpAddr};

use bytes::Bytes;
use futures::{SinkExt, StreamExt as _, future};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role, protocol::WebSocketConfig},
};
use tokio_util::{io::StreamReader, sync::CancellationToken};

use crate::api::{
    Status,
    http::{Answer, empty},
};

const SPDY: &str = "SPDY/3.1";
const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
const PROTOCOL_HEADER: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Largest WebSocket message that is taken.
const LARGEST_MESSAGE: usize = 4 << 20;
/// Pieces that wait on the way in or out of a stream; then its sender waits.
const WAITING: usize = 16;
/// Bytes of a piece.
const PIECE: usize = 32 << 10;

/// Where a pod's ports are.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) uid: String,
    pub(super) address: IpAddr,
}

impl Pod {
    async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let stream = TcpStream::connect((self.address, port)).await.map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                _ => error.to_string(),
            };
            format!(
                "error forwarding port {port} to pod {0}, uid : failed to connect to localhost:{port} inside namespace \"{0}\", IPv4: dial tcp4 {1}:{port}: connect: {why}",
                self.uid, self.address
            )
        })?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Takes the upgrade that a request asks for and forwards until either side has ended, or the cluster.
pub(super) fn answer(pod: Pod, mut request: Request<Incoming>, shutdown: CancellationToken) -> Result<Answer, Status> {
    let upgrade = tokens(request.headers(), &header::UPGRADE);
    let (mut answer, on) = (Response::new(empty()), hyper::upgrade::on(&mut request));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if upgrade.iter().any(|token| token.eq_ignore_ascii_case("websocket")) {
        let offered = tokens(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL);
        let chosen = choose(&offered, &[TUNNEL, CHANNELS])?;
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
        let key = key.ok_or_else(|| Status::bad_request("unable to upgrade: Sec-WebSocket-Key is missing"))?;
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.map_err(|error| Status::plain(error.to_string()))?);
        if chosen == TUNNEL {
            spawn(shutdown, async move {
                let mut socket = websocket(on).await?;
                let served = tunnel(&mut socket, pod).await;
                served.and(close(socket).await)
            });
        } else {
            let ports = channels::ports(request.uri().query().unwrap_or_default())?;
            spawn(shutdown, async move {
                let mut socket = websocket(on).await?;
                let served = channels::serve(&mut socket, &pod, &ports).await;
                served.and(close(socket).await)
            });
        }
    } else if upgrade.iter().any(|token| token.eq_ignore_ascii_case(SPDY)) && request.method() == Method::POST {
        let chosen = choose(&tokens(request.headers(), &PROTOCOL_HEADER), &[PROTOCOL])?;
        headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
        headers.insert(PROTOCOL_HEADER, HeaderValue::from_static(chosen));
        spawn(shutdown, plain(on, pod));
    } else {
        return Err(Status::bad_request("Upgrade request required"));
    }
    Ok(answer)
}

fn spawn(shutdown: CancellationToken, forwarding: impl Future<Output = io::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Some(Err(error)) = shutdown.run_until_cancelled(forwarding).await {
            tracing::debug!(%error, "port-forward");
        }
    });
}

/// The words of a header that is a list.
fn tokens(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|token| token.trim().to_owned()).collect()
}

/// The first protocol of the client's that is served.
fn choose(offered: &[String], served: &[&'static str]) -> Result<&'static str, Status> {
    let chosen = offered.iter().find_map(|offer| served.iter().find(|known| *known == offer));
    chosen.copied().ok_or_else(|| {
        let (offered, served) = (offered.join(" "), served.join(" "));
        let text = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{offered}], server accepts [{served}]"
        );
        Status::new(403, "Forbidden", text)
    })
}

async fn upgraded(on: OnUpgrade) -> io::Result<TokioIo<hyper::upgrade::Upgraded>> {
    on.await.map(TokioIo::new).map_err(io::Error::other)
}

type WebSocket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

async fn websocket(on: OnUpgrade) -> io::Result<WebSocket> {
    let config =
        WebSocketConfig::default().max_message_size(Some(LARGEST_MESSAGE)).max_frame_size(Some(LARGEST_MESSAGE));
    Ok(WebSocketStream::from_raw_socket(upgraded(on).await?, Role::Server, Some(config)).await)
}

/// SPDY on the connection itself.
async fn plain(on: OnUpgrade, pod: Pod) -> io::Result<()> {
    let (reader, mut writer) = tokio::io::split(upgraded(on).await?);
    let (frames, mut outgoing) = mpsc::channel::<Bytes>(WAITING);
    let write = async {
        while let Some(frame) = outgoing.recv().await {
            writer.write_all(&frame).await?;
        }
        writer.shutdown().await
    };
    both(streams::serve(reader, frames, pod), write).await
}

/// SPDY in binary messages of a WebSocket, cut anywhere.
async fn tunnel(socket: &mut WebSocket, pod: Pod) -> io::Result<()> {
    let (mut sink, messages) = socket.split();
    let bytes = messages.filter_map(|message| {
        future::ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    let (frames, mut outgoing) = mpsc::channel::<Bytes>(WAITING);
    let write = async {
        while let Some(frame) = outgoing.recv().await {
            sink.send(Message::Binary(frame)).await.map_err(io::Error::other)?;
        }
        Ok(())
    };
    both(streams::serve(StreamReader::new(bytes), frames, pod), write).await
}

/// Says that this side has ended, on the WebSocket and below it.
async fn close(mut socket: WebSocket) -> io::Result<()> {
    // As a sink: the socket's own `close` would not send the answer to a peer that closed first.
    let _ = SinkExt::close(&mut socket).await;
    socket.get_mut().shutdown().await
}

/// Until the reader has ended and what it left is written, or the writer has failed.
async fn both(
    read: impl Future<Output = io::Result<()>>,
    write: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio::pin!(read, write);
    tokio::select! {
        read = &mut read => read.and(write.await),
        write = &mut write => write,
    }
}

/// Copies between a port and its stream: what comes from `incoming` goes to the port, what the port says goes to `say`,
/// until the port has ended.
async fn copy<F: Future<Output = bool>>(
    port: TcpStream,
    mut incoming: mpsc::Receiver<Bytes>,
    mut say: impl FnMut(Bytes) -> F,
) -> io::Result<()> {
    let (mut reader, mut writer) = port.into_split();
    let to_port = async {
        while let Some(bytes) = incoming.recv().await {
            writer.write_all(&bytes).await?;
        }
        writer.shutdown().await?;
        future::pending().await
    };
    let from_port = async {
        loop {
            let mut buffer = bytes::BytesMut::with_capacity(PIECE);
            if reader.read_buf(&mut buffer).await? == 0 || !say(buffer.freeze()).await {
                return Ok(());
            }
        }
    };
    tokio::select! {
        ended = to_port => ended,
        ended = from_port => ended,
    }
}
