//! Options in queries, and what is refused of them.
//!
//! <https://github.com/kubernetes/apimachinery/blob/v0.33.0/pkg/apis/meta/v1/validation/validation.go>

use http::{Method, Request, header};
use hyper::body::Incoming;

use super::{Status, User, route::Query};
use crate::api::{
    Cause,
    write::{FieldValidation, PatchType, WriteOptions},
};

fn cause(reason: &str, field: &str, message: impl Into<String>) -> Cause {
    Cause { reason: reason.into(), message: message.into(), field: field.into() }
}

fn refuse(kind: &str, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid_options(kind, causes)) }
}

/// Options of a write.
pub(super) fn of_write(
    request: &Request<Incoming>,
    query: &Query,
    user: &User,
    patch: Option<PatchType>,
) -> Result<WriteOptions, Status> {
    let kind = match *request.method() {
        Method::POST => "CreateOptions",
        Method::PUT => "UpdateOptions",
        Method::PATCH => "PatchOptions",
        Method::DELETE => "DeleteOptions",
        _ => return Ok(WriteOptions::default()),
    };
    let mut causes = Vec::new();
    match patch {
        Some(PatchType::Apply) if query.get("fieldManager").is_none() => {
            causes.push(cause("FieldValueRequired", "fieldManager", "Required value: is required for apply patch"));
        }
        Some(PatchType::Apply) | None => {}
        Some(_) if query.all("force").next().is_some() => {
            causes.push(cause("FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch"));
        }
        Some(_) => {}
    }
    causes.extend(manager(query.get("fieldManager").unwrap_or_default()));
    causes.extend(dry_run(query));
    let field_validation = match query.get("fieldValidation") {
        None | Some("Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            let text =
                format!("Unsupported value: \"{other}\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
            causes.push(cause("FieldValueNotSupported", "fieldValidation", text));
            FieldValidation::Warn
        }
    };
    refuse(kind, causes)?;
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let default = agent.split('/').next().unwrap_or_default();
    let manager = query.get("fieldManager").unwrap_or(if default.is_empty() { &user.name } else { default });
    Ok(WriteOptions {
        manager: manager.to_owned(),
        dry_run: query.all("dryRun").next().is_some(),
        field_validation,
        force: query.flag("force"),
        ..WriteOptions::default()
    })
}

fn manager(name: &str) -> Option<Cause> {
    if name.len() > 128 {
        return Some(cause("FieldValueTooLong", "fieldManager", "Too long: may not be more than 128 bytes"));
    }
    let (at, strange) = name.char_indices().find(|(_, c)| c.is_control() || (c.is_whitespace() && *c != ' '))?;
    let text = format!("Invalid value: {name:?}: invalid character {strange:?} (at position {at})");
    Some(cause("FieldValueInvalid", "fieldManager", text))
}

fn dry_run(query: &Query) -> Option<Cause> {
    only_all(query.all("dryRun"))
}

fn only_all<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<Cause> {
    let wrong = values.find(|value| *value != "All")?;
    let text = format!("Unsupported value: []string{{\"{wrong}\"}}: supported values: \"All\"");
    Some(cause("FieldValueNotSupported", "dryRun", text))
}

/// Refuses options of a delete that are not understood.
pub(super) fn check_delete<'a>(
    query: &'a Query,
    dry_run: impl Iterator<Item = &'a str>,
    orphan: bool,
    propagation: Option<&str>,
) -> Result<(), Status> {
    let mut causes: Vec<Cause> = Vec::new();
    if let Some(policy) = propagation {
        if orphan {
            let text =
                format!("Invalid value: \"{policy}\": orphanDependents and deletionPropagation cannot be both set");
            causes.push(cause("FieldValueInvalid", "propagationPolicy", text));
        } else if !matches!(policy, "Orphan" | "Background" | "Foreground") {
            let text = format!(
                "Unsupported value: \"{policy}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
            );
            causes.push(cause("FieldValueNotSupported", "propagationPolicy", text));
        }
    }
    causes.extend(only_all(query.all("dryRun").chain(dry_run)));
    refuse("DeleteOptions", causes)
}

/// Refuses options of a list or watch that do not go together.
pub(super) fn check_list(query: &Query, watch: bool) -> Result<(), Status> {
    let mut causes = Vec::new();
    let version = query.get("resourceVersion");
    let forbidden = |field: &str, why: String| cause("FieldValueForbidden", field, format!("Forbidden: {why}"));
    let at = "resourceVersionMatch";
    let initial = query.all("sendInitialEvents").next().is_some();
    match query.get(at) {
        Some(_) if watch && !initial => causes.push(forbidden(
            at,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided".into(),
        )),
        Some(given) if !watch && !matches!(given, "Exact" | "NotOlderThan") => {
            let text = format!("Unsupported value: \"{given}\": supported values: \"Exact\", \"NotOlderThan\", \"\"");
            causes.push(cause("FieldValueNotSupported", at, text));
        }
        Some(_) if !watch && version.is_none() => {
            causes.push(forbidden(at, "resourceVersionMatch is forbidden unless resourceVersion is provided".into()));
        }
        Some(_) if !watch && query.get("continue").is_some() => {
            causes.push(forbidden(at, "resourceVersionMatch is forbidden when continue is provided".into()));
        }
        Some("Exact") if !watch && version == Some("0") => {
            causes.push(forbidden(at, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"".into()));
        }
        None if watch && initial => {
            causes
                .push(forbidden(at, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan".into()));
        }
        _ => {}
    }
    if initial {
        let why = if watch {
            "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
        } else {
            "sendInitialEvents is forbidden for list"
        };
        causes.push(forbidden("sendInitialEvents", why.into()));
    }
    refuse("ListOptions", causes)?;
    if !watch && query.get("continue").is_some() && version.is_some_and(|version| version != "0") {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    Ok(())
}
