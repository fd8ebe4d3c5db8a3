//! Watches over HTTP: events as lines of JSON, each object's text shared by all readers.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Value, json};

use super::{
    Answer, Server, Status,
    reading::{too_old, version_of},
    respond::stream,
    route::Query,
    shaping::Shaper,
};
use crate::api::{
    EventKind,
    registry::Definition,
    store::Entry,
    watch::{Feed, Scope},
    write::Target,
};

/// A watch ends by itself after 30 to 60 minutes upstream.
const LONGEST: u64 = 1800;
/// How often a bookmark tells where the watch stands.
const BOOKMARK: Duration = Duration::from_secs(60);

/// Answers a watch.
pub(super) fn answer(
    server: &Server,
    target: &Target,
    query: &Query,
    scope: Scope,
    seconds: Option<u64>,
    shaper: Shaper,
) -> Result<Answer, Status> {
    let store = server.api.store.clone();
    let (initial, from) = if let Some(version) = version_of(query)? {
        (Vec::new(), version)
    } else {
        let (entries, version) = store.list(&scope.table, &scope.namespace);
        (entries.into_iter().filter(|entry| scope.matches(&entry.value)).collect(), version)
    };
    let feed = Feed::open(store.clone(), scope, from);
    let seconds = seconds.unwrap_or(LONGEST);
    let bookmarks = query.flag("allowWatchBookmarks");
    let mut lines = Lines { definition: Arc::clone(&target.definition), shaper, described: false };
    let chunks = async_stream::stream! {
        let mut buffer = BytesMut::new();
        let mut feed = match feed {
            Ok(feed) => feed,
            Err(compacted) => {
                Lines::error(&mut buffer, &too_old(from, compacted.oldest));
                yield Ok(buffer.split().freeze());
                return;
            }
        };
        for entry in &initial {
            lines.event(&mut buffer, EventKind::Added, entry);
        }
        if !buffer.is_empty() {
            yield Ok(buffer.split().freeze());
        }
        let end = tokio::time::Instant::now() + Duration::from_secs(seconds.min(u64::from(u32::MAX)));
        let mut next_bookmark = tokio::time::Instant::now() + BOOKMARK;
        loop {
            tokio::select! {
                events = feed.next() => match events {
                    Ok(events) => {
                        for (kind, entry) in &events {
                            lines.event(&mut buffer, *kind, entry);
                        }
                        yield Ok(buffer.split().freeze());
                    }
                    Err(compacted) => {
                        Lines::error(&mut buffer, &too_old(0, compacted.oldest));
                        yield Ok(buffer.split().freeze());
                        return;
                    }
                },
                () = tokio::time::sleep_until(next_bookmark), if bookmarks => {
                    next_bookmark += BOOKMARK;
                    lines.bookmark(&mut buffer, store.version());
                    yield Ok::<Bytes, std::io::Error>(buffer.split().freeze());
                },
                () = tokio::time::sleep_until(end) => {
                    if bookmarks {
                        lines.bookmark(&mut buffer, store.version());
                        yield Ok(buffer.split().freeze());
                    }
                    return;
                }
            }
        }
    };
    Ok(stream("application/json", SyncStream(std::sync::Mutex::new(Box::pin(chunks)))))
}

/// A body must be `Sync`; a stream that is polled by one task at a time is made so by a lock that nobody waits for.
struct SyncStream<S>(std::sync::Mutex<std::pin::Pin<Box<S>>>);

impl<S: futures::Stream> futures::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let stream = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        stream.as_mut().poll_next(context)
    }
}

struct Lines {
    definition: Arc<Definition>,
    shaper: Shaper,
    described: bool,
}

impl Lines {
    fn event(&mut self, buffer: &mut BytesMut, kind: EventKind, entry: &Arc<Entry>) {
        let word = match kind {
            EventKind::Added => "ADDED",
            EventKind::Modified => "MODIFIED",
            EventKind::Deleted => "DELETED",
        };
        let first = !std::mem::replace(&mut self.described, true);
        line(buffer, word, &self.shaper.event(entry, first));
    }

    fn bookmark(&self, buffer: &mut BytesMut, version: u64) {
        let object: Value = json!({
            "kind": self.definition.resource.kind,
            "apiVersion": self.definition.resource.api_version(),
            "metadata": { "resourceVersion": version.to_string(), "creationTimestamp": null },
        });
        line(buffer, "BOOKMARK", object.to_string().as_bytes());
    }

    fn error(buffer: &mut BytesMut, status: &Status) {
        line(buffer, "ERROR", status.to_value().to_string().as_bytes());
    }
}

fn line(buffer: &mut BytesMut, kind: &str, object: &[u8]) {
    buffer.reserve(object.len() + 40);
    buffer.put_slice(b"{\"type\":\"");
    buffer.put_slice(kind.as_bytes());
    buffer.put_slice(b"\",\"object\":");
    buffer.put_slice(object);
    buffer.put_slice(b"}\n");
}
