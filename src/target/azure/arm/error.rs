//! What can go wrong between us and Azure Resource Manager, in ARM's own words.

use std::{fmt, time::Duration};

use serde_json::Value;

/// A request or an operation that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// ARM answered with an error.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// An operation that ARM had accepted failed or was cancelled.
    #[error("the operation of {0}")]
    Operation(Box<Refusal>),
    /// No whole answer came, as often as it was tried.
    #[error("{method} {path} got no answer in {attempts} attempts")]
    NoAnswer {
        /// Verb.
        method: String,
        /// Path of the address.
        path: String,
        /// How often it was tried.
        attempts: u32,
        /// The last cause.
        #[source]
        source: reqwest::Error,
    },
    /// An operation did not end in time.
    #[error("{path} is still {state} after {} s", waited.as_secs())]
    Deadline {
        /// Path of the resource.
        path: String,
        /// What was last seen.
        state: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// There is no token.
    #[error("no login to Azure: {0}")]
    Login(String),
    /// An answer that is not what the API documents.
    #[error("{path} answered something unexpected: {what}")]
    Unexpected {
        /// Path of the address.
        path: String,
        /// What was wrong.
        what: String,
    },
}

impl ArmError {
    /// ARM's code, where ARM gave one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) | Self::Operation(refusal) => Some(&refusal.code),
            _ => None,
        }
    }

    /// The HTTP status of a refused request.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Whether the resource was busy with another operation. `OperationNotAllowed` alone does not say so: an exceeded quota
    /// has the same code, and waiting does not help it.
    pub fn is_in_progress(&self) -> bool {
        let Self::Refused(refusal) = self else { return false };
        let says_so = refusal.message.to_lowercase().replace('-', " ").contains("in progress");
        refusal.status == 409
            && (refusal.code == "AnotherOperationInProgress" || (refusal.code == "OperationNotAllowed" && says_so))
    }
}

/// ARM's error: code, message, target, inner details, and how support finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Verb.
    pub method: String,
    /// Path of the address; never its query, which may carry a signature.
    pub path: String,
    /// HTTP status; that of the answer which told of it.
    pub status: u16,
    /// ARM's code, such as `ErrCode_InsufficientVCPUQuota`.
    pub code: String,
    /// ARM's message.
    pub message: String,
    /// What it is about, if ARM says so.
    pub target: Option<String>,
    /// Inner errors as `code: message`, outermost first.
    pub details: Vec<String>,
    /// `x-ms-request-id`.
    pub request_id: Option<String>,
}

impl Refusal {
    /// Takes an error body apart; `error` may be wrapped in `{"error": ...}` or not, or be anything at all.
    pub fn read(method: &str, path: &str, status: u16, request_id: Option<String>, body: &Value) -> Self {
        let error = if body["error"].is_object() { &body["error"] } else { body };
        let text = |name: &str| error[name].as_str().map(str::to_owned);
        let mut details = Vec::new();
        collect(error, &mut details, 0);
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            status,
            code: text("code").unwrap_or_else(|| "no code".to_owned()),
            message: text("message").unwrap_or_else(|| "no message".to_owned()),
            target: text("target"),
            details,
            request_id,
        }
    }
}

/// Inner errors of `details` and `innererror`, at most a few levels deep.
fn collect(error: &Value, into: &mut Vec<String>, depth: u8) {
    const DEEPEST: u8 = 4;
    let inner = error["details"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(error["innererror"].as_object().map(|_| &error["innererror"]));
    for inner in inner {
        let text = |name: &str| inner[name].as_str().unwrap_or_default();
        if !(text("code").is_empty() && text("message").is_empty()) {
            into.push(format!("{}: {}", text("code"), text("message")));
        }
        if depth < DEEPEST {
            collect(inner, into, depth + 1);
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} answered {} {}: {}", self.method, self.path, self.status, self.code, self.message)?;
        if let Some(target) = &self.target {
            write!(f, " (target {target})")?;
        }
        // ARM likes to say everything twice.
        for detail in self.details.iter().filter(|detail| !detail.ends_with(&self.message)) {
            write!(f, "; {detail}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " [request id {id}]")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ArmError, Refusal};

    #[test]
    fn only_a_busy_resource_is_waited_for() {
        let rows = [
            (409, "OperationNotAllowed", "Operation is not allowed because there's an in progress update.", true),
            (409, "AnotherOperationInProgress", "Another operation is running.", true),
            (
                409,
                "OperationNotAllowed",
                "Operation could not be completed as it results in exceeding approved quota.",
                false,
            ),
            (409, "ScopeLocked", "The scope is locked.", false),
            (400, "OperationNotAllowed", "An in-progress thing.", false),
        ];
        for (status, code, message, busy) in rows {
            let body = json!({ "error": { "code": code, "message": message } });
            let error = ArmError::Refused(Box::new(Refusal::read("PUT", "/x", status, None, &body)));
            assert_eq!(error.is_in_progress(), busy, "{status} {code} {message}");
        }
    }

    #[test]
    fn everything_that_arm_says_is_shown_once() {
        let body = json!({ "error": {
            "code": "DeploymentFailed", "message": "It failed.", "target": "aks",
            "details": [{ "code": "Quota", "message": "Only 4 left.", "innererror": { "code": "Family", "message": "DSv5" } },
                        { "code": "Again", "message": "It failed." }],
        } });
        let refusal = Refusal::read("PUT", "/subscriptions/s/aks", 400, Some("id-1".into()), &body);
        insta::assert_snapshot!(refusal, @"PUT /subscriptions/s/aks answered 400 DeploymentFailed: It failed. (target aks); Quota: Only 4 left.; Family: DSv5 [request id id-1]");
    }

    #[test]
    fn a_body_that_is_no_error_is_still_told() {
        let refusal = Refusal::read("GET", "/x", 502, None, &json!("<html>"));
        assert_eq!(refusal.to_string(), "GET /x answered 502 no code: no message");
    }
}
