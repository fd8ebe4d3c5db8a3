//! Port-forward over SPDY: each connection of the user is a pair of streams, one for data and one for an error's text.

use std::{collections::HashMap, io};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::{
    io::AsyncRead,
    sync::mpsc::{self, error::TrySendError},
    task::JoinSet,
};
use tokio_util::codec::FramedRead;

use super::{
    Pod, WAITING, copy,
    spdy::{self, Frame, Frames, HeaderBlock, Replies, Reset},
};

/// Streams of one connection at once.
const MOST_STREAMS: usize = 2_000;

/// Serves a connection until the peer has ended it.
pub(super) async fn serve(reader: impl AsyncRead + Send, frames: mpsc::Sender<Bytes>, pod: Pod) -> io::Result<()> {
    let incoming = FramedRead::new(reader, Frames::new());
    tokio::pin!(incoming);
    let mut session = Session {
        frames,
        pod,
        replies: Replies::new()?,
        streams: HashMap::new(),
        pairs: HashMap::new(),
        forwards: JoinSet::new(),
    };
    loop {
        tokio::select! {
            frame = incoming.next() => match frame.transpose()? {
                None | Some(Frame::GoAway) => return Ok(()),
                Some(frame) => session.heed(frame).await?,
            },
            Some(ended) = session.forwards.join_next() => if let Ok(ids) = ended {
                for id in ids {
                    session.streams.remove(&id);
                }
            },
        }
    }
}

/// What is known of a stream.
enum Stream {
    /// The peer says nothing on it.
    Error,
    Data {
        sender: Option<mpsc::Sender<Bytes>>,
        /// What moves the bytes, and the error stream that belongs to it.
        forward: Option<(tokio::task::AbortHandle, u32)>,
    },
}

/// Streams of one connection of the user, until both are there.
#[derive(Default)]
struct Pair {
    error: Option<u32>,
    data: Option<(u32, mpsc::Receiver<Bytes>)>,
}

struct Session {
    frames: mpsc::Sender<Bytes>,
    pod: Pod,
    replies: Replies,
    streams: HashMap<u32, Stream>,
    /// By the client's request id.
    pairs: HashMap<String, Pair>,
    forwards: JoinSet<[u32; 2]>,
}

impl Session {
    async fn heed(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::Open { id, headers, fin } => self.open(id, &headers, fin).await,
            Frame::Data { id, bytes, fin } => self.data(id, bytes, fin).await,
            Frame::Reset { id } => self.forget(id).await,
            // Those of odd numbers are the client's; others would answer pings that were never sent.
            Frame::Ping { id } if id % 2 == 1 => self.say(spdy::ping(id)).await,
            Frame::Ping { .. } | Frame::GoAway | Frame::Other => Ok(()),
        }
    }

    async fn say(&self, frame: Bytes) -> io::Result<()> {
        self.frames.send(frame).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn forget(&mut self, id: u32) -> io::Result<()> {
        let stream = self.streams.remove(&id);
        self.pairs.retain(|_, pair| pair.error != Some(id) && pair.data.as_ref().is_none_or(|(data, _)| *data != id));
        if let Some(Stream::Data { forward: Some((forward, error)), .. }) = stream {
            forward.abort();
            // The peer waits for an error, or for its absence.
            self.streams.remove(&error);
            self.say(spdy::data(error, &[], true)).await?;
        }
        Ok(())
    }

    async fn open(&mut self, id: u32, headers: &HeaderBlock, fin: bool) -> io::Result<()> {
        if id.is_multiple_of(2) || self.streams.contains_key(&id) {
            return self.say(spdy::reset(id, Reset::ProtocolError)).await;
        }
        if self.streams.len() >= MOST_STREAMS {
            return self.say(spdy::reset(id, Reset::Refused)).await;
        }
        let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
        let Some(port) = header("port").parse::<u16>().ok().filter(|port| *port > 0) else {
            return self.say(spdy::reset(id, Reset::ProtocolError)).await;
        };
        let kind = header("streamtype");
        if !matches!(kind, "error" | "data") {
            return self.say(spdy::reset(id, Reset::ProtocolError)).await;
        }
        let request = header("requestid").to_owned();
        let pair = self.pairs.entry(request.clone()).or_default();
        let stream = match kind {
            "error" if pair.error.is_none() => {
                pair.error = Some(id);
                Stream::Error
            }
            "data" if pair.data.is_none() => {
                let (sender, receiver) = mpsc::channel(WAITING);
                pair.data = Some((id, receiver));
                Stream::Data { sender: (!fin).then_some(sender), forward: None }
            }
            _ => return self.say(spdy::reset(id, Reset::ProtocolError)).await,
        };
        self.streams.insert(id, stream);
        let reply = self.replies.accept(id)?;
        self.say(reply).await?;
        if self.pairs.get(&request).is_some_and(|pair| pair.error.is_some() && pair.data.is_some())
            && let Some(Pair { error: Some(error), data: Some((data, receiver)) }) = self.pairs.remove(&request)
        {
            let work = forward(self.pod.clone(), port, [error, data], receiver, self.frames.clone());
            let handle = self.forwards.spawn(work);
            if let Some(Stream::Data { forward, .. }) = self.streams.get_mut(&data) {
                *forward = Some((handle, error));
            }
        }
        Ok(())
    }

    async fn data(&mut self, id: u32, bytes: Bytes, fin: bool) -> io::Result<()> {
        match self.streams.get_mut(&id) {
            None => return self.say(spdy::reset(id, Reset::InvalidStream)).await,
            Some(Stream::Error) => {}
            Some(Stream::Data { sender, forward }) => {
                let full = match sender.as_ref().filter(|_| !bytes.is_empty()) {
                    None => false,
                    // Nobody reads it yet: waiting here could last for ever.
                    Some(sender) if forward.is_none() => matches!(sender.try_send(bytes), Err(TrySendError::Full(_))),
                    Some(sender) => {
                        // A port that has ended takes nothing more; the peer is told so by the end of the stream.
                        let _ = sender.send(bytes).await;
                        false
                    }
                };
                if fin {
                    *sender = None;
                }
                if full {
                    self.forget(id).await?;
                    return self.say(spdy::reset(id, Reset::Refused)).await;
                }
            }
        }
        Ok(())
    }
}

/// Forwards one connection; yields its streams.
async fn forward(
    pod: Pod,
    port: u16,
    [error, data]: [u32; 2],
    incoming: mpsc::Receiver<Bytes>,
    frames: mpsc::Sender<Bytes>,
) -> [u32; 2] {
    let mut words = Bytes::new();
    match pod.connect(port).await {
        Ok(connection) => {
            let say = |bytes: Bytes| {
                let frames = frames.clone();
                async move { frames.send(spdy::data(data, &bytes, false)).await.is_ok() }
            };
            if let Err(broken) = copy(connection, incoming, say).await {
                tracing::debug!(%broken, port, "port-forward");
            }
        }
        Err(refused) => words = refused.into(),
    }
    // The error first: the client reads it when the data has ended.
    let _ = frames.send(spdy::data(error, &words, true)).await;
    let _ = frames.send(spdy::data(data, &[], true)).await;
    [error, data]
}
