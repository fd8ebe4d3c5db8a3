//! Requests and answers as values, and ARM's error bodies.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Value, json};

/// One request, taken apart.
#[derive(Debug, Clone)]
pub struct Request {
    /// Verb.
    pub method: Method,
    /// Path as it came, without the query.
    pub path: String,
    /// Query, decoded.
    pub query: BTreeMap<String, String>,
    /// The bearer token, if one came.
    pub token: Option<String>,
    /// Body; null when there was none or it was not JSON.
    pub body: Value,
    /// Base of addresses in answers, `http://127.0.0.1:PORT`.
    pub base: String,
}

impl Request {
    /// Parts of the path between its slashes.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }

    /// A value of the query, such as `$filter`.
    pub(crate) fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// What goes back.
#[derive(Debug, Clone)]
pub enum Answer {
    /// An answer; `cut`: the connection breaks in the middle of its body.
    Reply {
        /// Status.
        status: StatusCode,
        /// Headers.
        headers: Vec<(&'static str, String)>,
        /// Body; null: none.
        body: Value,
        /// Whether the connection breaks in the middle of the body.
        cut: bool,
    },
    /// The connection breaks before a word of an answer.
    Reset,
    /// Nothing ever comes.
    Hang,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: Value) -> Self {
        Self::Reply { status, headers: Vec::new(), body, cut: false }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self::new(status, Value::Null)
    }

    pub(crate) fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::new(status, error_body(code, &message.into()))
    }

    pub(crate) fn not_found(path: &str) -> Self {
        Self::error(
            StatusCode::NOT_FOUND,
            "ResourceNotFound",
            format!("The Resource '{path}' under resource group was not found."),
        )
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }

    #[must_use]
    pub(crate) fn cut_short(mut self) -> Self {
        match &mut self {
            // A body that is not there cannot break: the connection does.
            Self::Reply { body: Value::Null, .. } => return Self::Reset,
            Self::Reply { cut, .. } => *cut = true,
            Self::Reset | Self::Hang => {}
        }
        self
    }

    /// The status, where there is one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Reply { status, .. } => Some(*status),
            Self::Reset | Self::Hang => None,
        }
    }
}

/// ARM's error envelope.
pub(crate) fn error_body(code: &str, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message } })
}
