//! Port-forward over WebSocket channels: two for each port that the query names, data and error; the first byte of a
//! message is its channel, and the first message of each channel from here is its port (little-endian).

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_tungstenite::tungstenite::Message;

use super::{Pod, WAITING, WebSocket, copy};
use crate::api::Status;

/// Channels are numbered by a byte, two for each port.
const MOST_PORTS: usize = 128;

/// The ports of a query: `ports=80&ports=81` or `ports=80,81`.
pub(super) fn ports(query: &str) -> Result<Vec<u16>, Status> {
    let values = query.split('&').filter_map(|pair| pair.strip_prefix("ports="));
    let values: Vec<String> = values.map(|value| value.replace("%2C", ",").replace("%2c", ",")).collect();
    let words: Vec<&str> = values.iter().flat_map(|value| value.split(',')).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err(Status::bad_request("query parameter \"port\" is required"));
    }
    if words.len() > MOST_PORTS {
        return Err(Status::bad_request(format!("{} ports; the limit is {MOST_PORTS}", words.len())));
    }
    let read = |word: &&str| {
        let port = word.parse::<u16>().ok().filter(|port| *port > 0);
        port.ok_or_else(|| Status::bad_request(format!("port \"{word}\" must be 1 to 65535")))
    };
    words.iter().map(read).collect()
}

/// Forwards until every port has ended, or the client.
pub(super) async fn serve(socket: &mut WebSocket, pod: &Pod, ports: &[u16]) -> io::Result<()> {
    let (outgoing, mut messages) = mpsc::channel::<Bytes>(WAITING);
    let (mut inboxes, mut forwards) = (Vec::new(), JoinSet::new());
    for (index, port) in ports.iter().enumerate() {
        let channel = 2 * index as u8;
        for channel in [channel, channel + 1] {
            let first = message(channel, &port.to_le_bytes());
            socket.send(Message::Binary(first)).await.map_err(io::Error::other)?;
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        inboxes.push(sender);
        forwards.spawn(forward(pod.clone(), *port, channel, receiver, outgoing.clone()));
    }
    drop(outgoing);
    let (mut sink, mut source) = socket.split();
    let write = async {
        while let Some(bytes) = messages.recv().await {
            sink.send(Message::Binary(bytes)).await.map_err(io::Error::other)?;
        }
        Ok(())
    };
    let read = async {
        while let Some(next) = source.next().await {
            match next.map_err(io::Error::other)? {
                Message::Binary(bytes) => {
                    if let Some(channel) = bytes.first().filter(|channel| **channel % 2 == 0)
                        && let Some(inbox) = inboxes.get(usize::from(channel / 2))
                    {
                        let _ = inbox.send(bytes.slice(1..)).await;
                    }
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = write => ended,
        ended = read => ended,
    }
}

fn message(channel: u8, bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + bytes.len());
    out.put_u8(channel);
    out.put_slice(bytes);
    out.freeze()
}

async fn forward(pod: Pod, port: u16, channel: u8, incoming: mpsc::Receiver<Bytes>, outgoing: mpsc::Sender<Bytes>) {
    match pod.connect(port).await {
        Ok(connection) => {
            let say = |bytes: Bytes| {
                let outgoing = outgoing.clone();
                async move { outgoing.send(message(channel, &bytes)).await.is_ok() }
            };
            if let Err(broken) = copy(connection, incoming, say).await {
                tracing::debug!(%broken, port, "port-forward");
            }
        }
        Err(refused) => {
            let _ = outgoing.send(message(channel + 1, refused.as_bytes())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn ports_are_read_from_the_query() {
        assert_eq!(ports("ports=80&ports=8080").unwrap(), [80, 8080]);
        assert_eq!(ports("x=1&ports=80%2C81,82").unwrap(), [80, 81, 82]);
        for wrong in ["", "ports=", "ports=0", "ports=65536", "ports=http"] {
            assert_eq!(ports(wrong).unwrap_err().code, 400, "{wrong}");
        }
        let many: Vec<String> = (1..=129).map(|port| port.to_string()).collect();
        assert_eq!(ports(&format!("ports={}", many.join(","))).unwrap_err().code, 400);
    }
}
