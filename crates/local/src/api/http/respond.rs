//! Answers.

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;

use super::{Answer, Body, Status};

/// A body that is there.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body of nothing.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// An answer of JSON text.
pub(crate) fn json_bytes(code: StatusCode, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(full(bytes));
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// An answer of JSON.
pub(crate) fn json(code: StatusCode, value: &Value) -> Answer {
    json_bytes(code, value.to_string())
}

/// The same answer as YAML; a stream stays what it is.
pub(crate) async fn as_yaml(answer: Answer) -> Answer {
    use hyper::body::Body as _;
    let (mut parts, body) = answer.into_parts();
    let json = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    // Only a whole body knows its length.
    if !json || body.size_hint().exact().is_none() {
        return Response::from_parts(parts, body);
    }
    let Ok(collected) = body.collect().await else { return Response::from_parts(parts, full(Bytes::new())) };
    let bytes = collected.to_bytes();
    let value: Option<Value> = serde_json::from_slice(&bytes).ok();
    match value.and_then(|mut value| {
        value.sort_all_objects();
        serde_yaml_ng::to_string(&value).ok()
    }) {
        Some(text) => {
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
            Response::from_parts(parts, full(text))
        }
        None => Response::from_parts(parts, full(bytes)),
    }
}

/// A failure.
pub(crate) fn status(failure: &Status) -> Answer {
    let code = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if failure.reason.is_empty() && failure.code == 404 {
        return plain(code, "404 page not found\n");
    }
    let mut answer = json(code, &failure.to_value());
    let seconds = failure.details.as_ref().and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = seconds {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// An answer of plain text.
pub(crate) fn plain(code: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(full(text));
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

/// An answer whose body comes bit by bit.
pub(crate) fn stream(
    content_type: &'static str,
    chunks: impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Answer {
    let body = StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data)));
    let mut answer = Response::new(BodyExt::boxed_unsync(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Adds warnings as the API does: `Warning: 299 - "text"`.
pub(crate) fn warn(mut answer: Answer, warnings: &[String]) -> Answer {
    for warning in warnings {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            answer.headers_mut().append(header::WARNING, value);
        }
    }
    answer
}
