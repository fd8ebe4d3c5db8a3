//! The lines of `terraform ... -json`: one object each, told as what they mean for people.
//!
//! <https://developer.hashicorp.com/terraform/internals/machine-readable-ui>

use serde::Deserialize;

/// A problem that Terraform or a provider tells of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub severity: String,
    /// What. A provider's whole error is here.
    pub summary: String,
    /// More of it; a lock's holder is here.
    #[serde(default)]
    pub detail: String,
    /// Which resource.
    #[serde(default)]
    pub address: Option<String>,
}

/// What one line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Work on a resource began.
    Started {
        /// Its address.
        address: String,
        /// `create`, `update`, `delete`, ...
        action: String,
    },
    /// It goes on.
    Going {
        /// Its address.
        address: String,
        /// `create`, `update`, `delete`, ...
        action: String,
        /// Seconds since it began.
        seconds: u64,
    },
    /// It is done.
    Done {
        /// Its address.
        address: String,
        /// `create`, `update`, `delete`, ...
        action: String,
        /// Seconds that it took.
        seconds: u64,
    },
    /// It failed; a diagnostic says why.
    Failed {
        /// Its address.
        address: String,
        /// `create`, `update`, `delete`, ...
        action: String,
    },
    /// A problem.
    Diagnostic(Diagnostic),
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    hook: Option<Hook>,
    #[serde(default)]
    diagnostic: Option<Diagnostic>,
}

#[derive(Deserialize)]
struct Hook {
    resource: Resource,
    #[serde(default)]
    action: String,
    #[serde(default)]
    elapsed_seconds: f64,
}

#[derive(Deserialize)]
struct Resource {
    addr: String,
}

/// Reads one line; none: it is of no interest, or no JSON (a crash's last words are not).
pub(super) fn read(line: &str) -> Option<Message> {
    let line: Line = serde_json::from_str(line).ok()?;
    match (line.kind.as_str(), line.hook) {
        ("diagnostic", _) => line.diagnostic.map(Message::Diagnostic),
        (kind, Some(Hook { resource: Resource { addr: address }, action, elapsed_seconds })) => {
            let seconds = elapsed_seconds.max(0.0) as u64;
            match kind {
                "apply_start" => Some(Message::Started { address, action }),
                "apply_progress" => Some(Message::Going { address, action, seconds }),
                "apply_complete" => Some(Message::Done { address, action, seconds }),
                "apply_errored" => Some(Message::Failed { address, action }),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A line of progress for people; none: not worth one.
pub(super) fn progress(message: &Message) -> Option<String> {
    match message {
        Message::Started { address, action } => Some(format!("  {address}: {action} ...")),
        Message::Going { address, action, seconds } => Some(format!("  {address}: {action}, {seconds} s so far")),
        Message::Done { address, action, seconds } => Some(format!("  {address}: {action} done after {seconds} s")),
        Message::Failed { address, action } => Some(format!("  {address}: {action} FAILED")),
        Message::Diagnostic(diagnostic) if diagnostic.severity == "warning" => {
            Some(format!("  warning: {}", diagnostic.summary.trim()))
        }
        Message::Diagnostic(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_unknown_ones_skipped() {
        let hook = |kind: &str, seconds: &str| {
            format!(
                r#"{{"@level":"info","type":"{kind}","hook":{{"resource":{{"addr":"azurerm_kubernetes_cluster.this","module":""}},"action":"create"{seconds}}}}}"#
            )
        };
        let address = || "azurerm_kubernetes_cluster.this".to_owned();
        let action = || "create".to_owned();
        let rows = [
            (hook("apply_start", ""), Some(Message::Started { address: address(), action: action() })),
            (
                hook("apply_progress", r#","elapsed_seconds":10"#),
                Some(Message::Going { address: address(), action: action(), seconds: 10 }),
            ),
            (
                hook("apply_complete", r#","elapsed_seconds":241.4"#),
                Some(Message::Done { address: address(), action: action(), seconds: 241 }),
            ),
            (hook("apply_errored", ""), Some(Message::Failed { address: address(), action: action() })),
            (hook("provision_start", ""), None),
            (r#"{"type":"version","terraform":"1.11.4"}"#.to_owned(), None),
            ("panic: runtime error".to_owned(), None),
            (String::new(), None),
        ];
        for (line, message) in rows {
            assert_eq!(read(&line), message, "{line}");
        }
        let line = r#"{"type":"diagnostic","diagnostic":{"severity":"error","summary":"no","detail":"why","address":"a.b","range":{}}}"#;
        let Some(Message::Diagnostic(diagnostic)) = read(line) else { panic!("it is one") };
        assert_eq!((diagnostic.summary.as_str(), diagnostic.address.as_deref()), ("no", Some("a.b")));
    }
}
