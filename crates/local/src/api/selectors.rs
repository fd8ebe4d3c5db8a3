//! Label and field selectors: their grammar, and whether an object matches.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>

mod grammar;
mod labels;

use serde_json::Value;

use super::{registry::Definition, status::Status};

pub use labels::LabelSelector;

/// A parsed field selector; the default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    /// Parses `a=b,c!=d`; a backslash takes a comma, an equals sign or a backslash into a value.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut terms = terms(text);
        terms.sort_unstable();
        let mut out = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let operators = ["!=", "==", "="];
            let found = term.char_indices().find_map(|(at, _)| {
                let operator = operators.into_iter().find(|operator| term[at..].starts_with(operator))?;
                Some((&term[..at], operator, &term[at + operator.len()..]))
            });
            let Some((field, operator, value)) = found else {
                let why = format!("invalid selector: '{text}'; can't understand '{term}'");
                return Err(Status::bad_request(why));
            };
            out.push((field.to_owned(), operator != "!=", unescape(value)?));
        }
        Ok(Self(out))
    }

    /// The object of a name.
    pub(crate) fn of_name(name: &str) -> Self {
        Self(vec![("metadata.name".to_owned(), true, name.to_owned())])
    }

    /// The same in the names of the stored object's fields; refuses those that the resource cannot be selected by.
    pub(crate) fn resolve(self, definition: &Definition) -> Result<Self, Status> {
        let resolved = self.0.into_iter().map(|(label, equal, value)| {
            let field = field_of(definition, &label).map_err(Status::bad_request)?;
            Ok((field, equal, value))
        });
        Ok(Self(resolved.collect::<Result<_, Status>>()?))
    }

    /// True when it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name that it demands, if it does.
    pub fn name(&self) -> Option<&str> {
        self.0.iter().find(|(key, equal, _)| *equal && key == "metadata.name").map(|(_, _, value)| value.as_str())
    }

    /// Whether an object fits.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(key, equal, value)| (field(object, key) == *value) == *equal)
    }
}

/// The parts between commas that no backslash escapes.
fn terms(text: &str) -> Vec<&str> {
    let (mut escaped, mut start, mut terms) = (false, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn unescape(value: &str) -> Result<String, Status> {
    let mut out = String::new();
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    let why = format!("invalid field selector: invalid escape sequence: {sequence}");
                    return Err(Status::bad_request(why));
                }
            },
            ',' | '=' => {
                let why = format!("invalid field selector: unescaped character in value: {}", u32::from(c));
                return Err(Status::bad_request(why));
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

/// A field by its dotted path, as text; absent fields read as their zero.
fn field(object: &Value, path: &str) -> String {
    let at = |path: &str| path.split('.').try_fold(object, |at, part| at.get(part));
    let found = match path {
        "status.successful" => at("status.succeeded"),
        // What an Event comes from has an old and a new name.
        "source" => at("source.component").or_else(|| at("reportingComponent")),
        "status.podIP" => object.pointer("/status/podIPs/0/ip"),
        "status.podIPs" => None,
        _ => at(path),
    };
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => match path {
            "status.replicas" | "status.successful" => "0".into(),
            "spec.unschedulable" | "spec.hostNetwork" => "false".into(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

/// The stored field that a label of a field selector means.
fn field_of(definition: &Definition, label: &str) -> Result<String, String> {
    let unsupported = || format!("field label not supported: {label}");
    if let Some(custom) = &definition.custom {
        let mut selectable = custom.version["selectableFields"].as_array().into_iter().flatten();
        let known = label == "metadata.name"
            || label == "metadata.namespace" && definition.resource.namespaced
            || selectable
                .any(|field| field["jsonPath"].as_str().map(|path| path.trim_start_matches('.')) == Some(label));
        return if known { Ok(label.to_owned()) } else { Err(unsupported()) };
    }
    let Some(labels) = labels_of(&definition.table) else {
        return if matches!(label, "metadata.name" | "metadata.namespace") {
            Ok(label.to_owned())
        } else {
            Err(format!("\"{label}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""))
        };
    };
    let field = match (definition.table.as_str(), definition.resource.group.as_ref()) {
        ("/pods", _) if label == "spec.host" => "spec.nodeName".to_owned(),
        ("/events", "events.k8s.io") => match label.split_once('.') {
            Some(("regarding", field)) => format!("involvedObject.{field}"),
            None if label == "reportingController" => "reportingComponent".to_owned(),
            Some(("involvedObject", _)) => return Err(unsupported()),
            None if matches!(label, "reportingComponent" | "source") => return Err(unsupported()),
            _ => label.to_owned(),
        },
        _ => label.to_owned(),
    };
    if field == "metadata.name"
        || field == "metadata.namespace" && definition.resource.namespaced
        || labels.contains(&field.as_str())
    {
        return Ok(field);
    }
    if definition.table == "batch/jobs" {
        return Err(format!("field label \"{label}\" not supported for Job"));
    }
    Err(unsupported())
}

/// The labels of resources that have more than names, as their versions' `AddFieldLabelConversionFunc` lists them.
fn labels_of(table: &str) -> Option<&'static [&'static str]> {
    Some(match table {
        "/pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        "/nodes" => &["spec.unschedulable"],
        "/namespaces" => &["status.phase"],
        "/secrets" => &["type"],
        "/services" => &["spec.clusterIP", "spec.type"],
        "/replicationcontrollers" => &["status.replicas"],
        "batch/jobs" => &["status.successful"],
        "/events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;
    use crate::api::registry::Registry;

    #[test]
    fn values_may_have_escaped_characters() {
        let selector = FieldSelector::parse(r"b!=c,metadata.name=a\,b\=\\").unwrap();
        assert_eq!(selector.name(), Some(r"a,b=\"));
        for wrong in [r"a=b\x", r"a=b\", "a=b=c", "a"] {
            assert_eq!(FieldSelector::parse(wrong).unwrap_err().code, 400, "{wrong}");
        }
    }

    #[test]
    fn labels_are_those_of_the_version() {
        let registry = Registry::new();
        let rows = [
            ("", "v1", "events", "involvedObject.kind=Pod", true),
            ("events.k8s.io", "v1", "events", "regarding.kind=Pod,reportingController=x", true),
            ("events.k8s.io", "v1", "events", "involvedObject.kind=Pod", false),
            ("apps", "v1", "replicasets", "status.replicas=0", false),
            ("", "v1", "namespaces", "name=x", false),
            ("", "v1", "nodes", "metadata.namespace=x", false),
            ("", "v1", "persistentvolumes", "metadata.namespace=x", true),
            ("", "v1", "pods", "spec.host=a", true),
        ];
        for (group, version, plural, text, known) in rows {
            let definition = registry.find(group, version, plural).unwrap();
            assert_eq!(FieldSelector::parse(text).unwrap().resolve(&definition).is_ok(), known, "{plural} {text}");
        }
        let jobs = registry.find("batch", "v1", "jobs").unwrap();
        let one = FieldSelector::parse("status.successful=1").unwrap().resolve(&jobs).unwrap();
        assert!(one.matches(&json!({ "status": { "succeeded": 1 } })));
    }
}
