//! Options in queries, and what is refused of them.
//!
//! <https://github.com/kubernetes/apimachinery/blob/v0.33.0/pkg/apis/meta/v1/validation/validation.go>

use http::{Method, Request, header};
use hyper::body::Incoming;

use super::{Status, User, route::Query};
use crate::api::{
    Cause, FieldSelector, LabelSelector,
    watch::Scope,
    write::{FieldValidation, PatchType, Target, WriteOptions},
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
    causes.extend(not_all(&query.all("dryRun").collect::<Vec<_>>()));
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

fn not_all(dry_run: &[&str]) -> Option<Cause> {
    dry_run.iter().find(|value| **value != "All")?;
    let given = dry_run.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ");
    let text = format!("Unsupported value: []string{{{given}}}: supported values: \"All\"");
    Some(cause("FieldValueNotSupported", "dryRun", text))
}

/// Refuses options of a delete that are not understood.
pub(super) fn check_delete(orphan: bool, propagation: Option<&str>, dry_run: &[&str]) -> Result<(), Status> {
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
    causes.extend(not_all(dry_run));
    refuse("DeleteOptions", causes)
}

/// A whole number of a query, as Go reads it.
pub(super) fn whole(query: &Query, name: &str) -> Result<Option<i64>, Status> {
    let Some(text) = query.all(name).next() else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let digits = text.trim_start_matches(['-', '+']);
        let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let why = if number { "value out of range" } else { "invalid syntax" };
        Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
    })
}

/// `metav1.ListOptions`, as far as they are understood without the resource.
#[derive(Debug)]
pub(super) struct ListOptions {
    /// None is all.
    pub(super) limit: usize,
    /// After which a watch ends.
    pub(super) seconds: Option<u64>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl ListOptions {
    /// Reads a query and refuses what does not go together.
    pub(super) fn read(query: &Query, watch: bool) -> Result<Self, Status> {
        let seconds = whole(query, "timeoutSeconds")?;
        let limit = whole(query, "limit")?.unwrap_or(0);
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())?;
        check_list(query, watch)?;
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or(0),
            seconds: seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0),
            labels,
            fields,
        })
    }

    /// What they select of a resource's objects, or of the one that has the target's name.
    pub(super) fn scope(self, target: &Target) -> Result<Scope, Status> {
        let definition = &target.definition;
        let mut fields = self.fields.resolve(definition)?;
        if !target.name.is_empty() {
            if !fields.is_empty() && fields.name() != Some(&target.name) {
                return Err(Status::bad_request("fieldSelector metadata.name doesn't match requested name"));
            }
            fields = FieldSelector::of_name(&target.name);
        }
        Ok(Scope { table: definition.table.clone(), namespace: target.namespace.clone(), labels: self.labels, fields })
    }
}

/// Refuses options of a list or watch that do not go together.
fn check_list(query: &Query, watch: bool) -> Result<(), Status> {
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
