//! Label and field selectors: their grammar, and whether an object matches.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>

use serde_json::Value;

use super::status::Status;

/// One requirement of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

/// A parsed label selector; the default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// The one value that a label must have.
    pub fn value_of(&self, label: &str) -> Option<&str> {
        self.0.iter().find_map(|requirement| match requirement {
            Requirement::In(key, values) if key == label && values.len() == 1 => Some(values[0].as_str()),
            _ => None,
        })
    }

    /// Parses the string form: `a=b,c in (d,e),!f,g>5`.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut requirements = Vec::new();
        if text.trim().is_empty() {
            return Ok(Self(requirements));
        }
        for part in split_outside_brackets(text) {
            let requirement = requirement(part.trim())
                .map_err(|why| Status::bad_request(format!("unable to parse requirement: {why}")))?;
            requirements.push(requirement);
        }
        Ok(Self(requirements))
    }

    /// The selector of `matchLabels` and `matchExpressions` (`metav1.LabelSelector`).
    pub fn from_value(selector: &Value) -> Self {
        let mut out = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            out.push(Requirement::In(key.clone(), vec![value.as_str().unwrap_or_default().to_owned()]));
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|v| v.as_str().map(str::to_owned)).collect();
            out.push(match expression["operator"].as_str() {
                Some("In") => Requirement::In(key, values),
                Some("NotIn") => Requirement::NotIn(key, values),
                Some("DoesNotExist") => Requirement::Absent(key),
                _ => Requirement::Exists(key),
            });
        }
        Self(out)
    }

    /// True when it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object's labels fit.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|r| r.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &Value) -> bool {
        let label = |key: &String| labels.get(key).and_then(Value::as_str);
        let number = |key: &String| label(key).and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::In(key, values) => label(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Self::NotIn(key, values) => label(key).is_none_or(|v| values.iter().all(|w| w != v)),
            Self::Exists(key) => label(key).is_some(),
            Self::Absent(key) => label(key).is_none(),
            Self::Greater(key, bound) => number(key).is_some_and(|v| v > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|v| v < *bound),
        }
    }
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Result<Requirement, String> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(label_key(key.trim())?));
    }
    if let Some((left, values)) = part.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(|| format!("found '{part}', expected: ',' or ')'"))?;
        let values: Vec<String> = values.split(',').map(|v| v.trim().to_owned()).collect();
        for value in &values {
            label_value(value)?;
        }
        let mut words = left.split_whitespace();
        let key = label_key(words.next().unwrap_or_default())?;
        return match (words.next(), words.next()) {
            (Some("in"), None) => Ok(Requirement::In(key, values)),
            (Some("notin"), None) => Ok(Requirement::NotIn(key, values)),
            _ => Err(format!("found '{left}', expected: in, notin, =, ==, !=, gt, lt")),
        };
    }
    for (sign, sort) in [("!=", 0), ("==", 1), ("=", 1), (">", 2), ("<", 3)] {
        let Some((key, value)) = part.split_once(sign) else { continue };
        let (key, value) = (label_key(key.trim())?, value.trim().to_owned());
        let number =
            || value.parse::<i64>().map_err(|_| "for 'Gt', 'Lt' operators, the value must be an integer".to_owned());
        return match sort {
            0 => label_value(&value).map(|()| Requirement::NotIn(key, vec![value])),
            1 => label_value(&value).map(|()| Requirement::In(key, vec![value])),
            2 => Ok(Requirement::Greater(key, number()?)),
            _ => Ok(Requirement::Less(key, number()?)),
        };
    }
    if part.is_empty() {
        return Err("found '', expected: identifier after ','".into());
    }
    Ok(Requirement::Exists(label_key(part)?))
}

fn label_key(text: &str) -> Result<String, String> {
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if name.is_empty() || name.len() > 63 || !text.chars().all(plain) {
        return Err(format!(
            "<nil>: Invalid value: \"{text}\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        ));
    }
    Ok(text.to_owned())
}

fn label_value(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    if text.len() > 63 || !text.chars().all(plain) || !edge(text.chars().next()) || !edge(text.chars().last()) {
        return Err(format!(
            "<nil>: Invalid value: \"{text}\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        ));
    }
    Ok(())
}

/// A parsed field selector; the default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    /// Parses `a=b,c!=d` and refuses fields that the resource cannot be selected by.
    pub fn parse(text: &str, supported: &dyn Fn(&str) -> bool) -> Result<Self, Status> {
        let mut out = Vec::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (key, equal, value) = if let Some((key, value)) = part.split_once("!=") {
                (key, false, value)
            } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (key, true, value)
            } else {
                let why = format!("invalid selector: '{text}'; can't understand '{part}'");
                return Err(Status::bad_request(why));
            };
            if !supported(key) {
                return Err(Status::bad_request(format!("field label not supported: {key}")));
            }
            out.push((key.to_owned(), equal, value.to_owned()));
        }
        Ok(Self(out))
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

/// A field by its dotted path, as text; absent fields read as their zero.
fn field(object: &Value, path: &str) -> String {
    let found = path.split('.').try_fold(object, |at, part| at.get(part));
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

/// The field labels that a resource supports beside `metadata.name` and `metadata.namespace`.
pub(crate) fn builtin_fields(table: &str) -> &'static [&'static str] {
    match table {
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
        "/namespaces" => &["status.phase", "name"],
        "/secrets" => &["type"],
        "/services" => &["spec.clusterIP", "spec.type"],
        "/replicationcontrollers" | "apps/replicasets" => &["status.replicas"],
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
        _ => &[],
    }
}
