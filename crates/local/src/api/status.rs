//! `metav1.Status`: how the API says that a request failed, with upstream's reasons and wording.
//!
//! Owns the shape and the usual messages; it does not know HTTP.
//! <https://pkg.go.dev/k8s.io/apimachinery/pkg/api/errors>

use serde_json::{Map, Value, json};

use super::resource::Resource;

/// One cause in a Status' details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable, such as `FieldValueInvalid`; may be empty.
    pub reason: String,
    /// For people.
    pub message: String,
    /// JSON path of the field; may be empty.
    pub field: String,
}

/// What a failure is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// API group; empty for core.
    pub group: String,
    /// Resource (plural), or the kind where upstream says the kind.
    pub kind: String,
    /// Object's name.
    pub name: String,
    /// Object's uid.
    pub uid: String,
    /// Single causes.
    pub causes: Vec<Cause>,
    /// Seconds after which the request may be repeated.
    pub retry_after_seconds: Option<u32>,
}

/// A failed request, as the API answers it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// CamelCase reason; empty for errors without one (500).
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// What it is about; none where upstream leaves it out.
    pub details: Option<Box<Details>>,
}

impl Status {
    /// A failure with a code and a reason, without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The same with one cause.
    #[must_use]
    pub fn with_cause(mut self, reason: &str, field: &str, message: impl Into<String>) -> Self {
        let cause = Cause { reason: reason.into(), message: message.into(), field: field.into() };
        self.details.get_or_insert_with(Box::default).causes.push(cause);
        self
    }

    /// 404: the object is not there.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).with_details(about(resource, name))
    }

    /// 404: the path is not served.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_details(Details::default())
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).with_details(about(resource, name))
    }

    /// 409: the object is not what the request took it for.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).with_details(about(resource, name))
    }

    /// 409: somebody else wrote the object since it was read.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 409: others own fields that were to be applied.
    pub fn apply_conflict(message: impl Into<String>, causes: Vec<Cause>) -> Self {
        Self::new(409, "Conflict", message).with_details(Details { causes, ..Details::default() })
    }

    /// 403: not allowed, by authorisation or admission.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let subject =
            if name.is_empty() { resource.qualified() } else { format!("{} \"{name}\"", resource.qualified()) };
        Self::new(403, "Forbidden", format!("{subject} is forbidden: {why}")).with_details(about(resource, name))
    }

    /// 422: the object breaks rules; causes are `(reason, field, message)`.
    pub fn invalid(resource: &Resource, name: &str, causes: Vec<Cause>) -> Self {
        let kind = if resource.group.is_empty() {
            resource.kind.to_string()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let texts: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let text = if texts.len() == 1 { texts[0].clone() } else { format!("[{}]", texts.join(", ")) };
        let details = Details {
            group: resource.group.to_string(),
            kind: resource.kind.to_string(),
            name: name.into(),
            causes,
            ..Details::default()
        };
        Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {text}")).with_details(details)
    }

    /// 422 about a patch that leads to no object.
    pub(crate) fn invalid_without_kind(field: &str, message: String) -> Self {
        let text = format!(" \"\" is invalid: {field}: {message}");
        Self::new(422, "Invalid", text).with_cause("FieldValueInvalid", field, message)
    }

    /// 422 about options of a request.
    pub(crate) fn invalid_options(kind: &str, causes: Vec<Cause>) -> Self {
        let texts: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let text = if texts.len() == 1 { texts[0].clone() } else { format!("[{}]", texts.join(", ")) };
        let details = Details { group: "meta.k8s.io".into(), kind: kind.into(), causes, ..Details::default() };
        Self::new(422, "Invalid", format!("{kind}.meta.k8s.io \"\" is invalid: {text}")).with_details(details)
    }

    /// 422 with one cause.
    pub fn invalid_field(
        resource: &Resource,
        name: &str,
        reason: &str,
        field: &str,
        message: impl Into<String>,
    ) -> Self {
        let cause = Cause { reason: reason.into(), field: field.into(), message: message.into() };
        Self::invalid(resource, name, vec![cause])
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 405: the resource does not take this method.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).with_details(Details::default())
    }

    /// 405: a custom resource does not take this verb.
    pub fn not_supported(resource: &Resource, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind {:?}", resource.qualified());
        Self::new(405, "MethodNotAllowed", message).with_details(about(resource, ""))
    }

    /// 410: the resource version is older than what is kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 500 without a reason, as plain Go errors come out of the original.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 500: the server cannot do what it should.
    pub(crate) fn internal(text: &str) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {text}")).with_cause("", "", text)
    }

    /// 507: the journal cannot be written; nothing was changed.
    pub fn storage(error: &std::io::Error) -> Self {
        Self::new(
            507,
            "InternalError",
            format!("the cluster's journal cannot be written, nothing was changed: {error}"),
        )
    }

    /// True for a 404.
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// True for a 409.
    pub fn is_conflict(&self) -> bool {
        self.code == 409
    }

    /// The JSON answer.
    pub fn to_value(&self) -> Value {
        let mut out =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message});
        if !self.reason.is_empty() {
            out["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            out["details"] = details.to_value();
        }
        out["code"] = json!(self.code);
        out
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, value) in [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)] {
            if !value.is_empty() {
                out.insert(key.into(), json!(value));
            }
        }
        if !self.causes.is_empty() {
            out.insert("causes".into(), self.causes.iter().map(Cause::to_value).collect());
        }
        if let Some(seconds) = self.retry_after_seconds {
            out.insert("retryAfterSeconds".into(), json!(seconds));
        }
        Value::Object(out)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, value) in [("reason", &self.reason), ("message", &self.message), ("field", &self.field)] {
            if !value.is_empty() {
                out.insert(key.into(), json!(value));
            }
        }
        Value::Object(out)
    }
}

fn about(resource: &Resource, name: &str) -> Details {
    Details {
        group: resource.group.to_string(),
        kind: resource.plural.to_string(),
        name: name.into(),
        ..Details::default()
    }
}
