//! How a command fails: a kind (which decides the exit code), causes, and hints. The only table of exit codes.

use std::fmt;

use democtl_core::{suggest, suite::UnknownTest};

/// Why a command did not do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything else.
    Other,
    /// Wrong usage or a wrong profile.
    Usage,
    /// Refused before anything was made.
    Preflight,
    /// The target could not be made, reached or removed.
    Infrastructure,
    /// What was delivered did not become healthy in time.
    Delivery,
    /// Ended by the user.
    Cancelled,
    /// A threshold failed.
    Threshold,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Other,
        Self::Usage,
        Self::Preflight,
        Self::Infrastructure,
        Self::Delivery,
        Self::Cancelled,
        Self::Threshold,
    ];

    /// The process's exit code. 0 is success; 99 is k6's code for a failed threshold.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Preflight => 3,
            Self::Infrastructure => 4,
            Self::Delivery => 5,
            Self::Cancelled => 6,
            Self::Threshold => 99,
        }
    }

    /// What it means, for the documentation.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Other => "anything else",
            Self::Usage => "wrong usage or profile",
            Self::Preflight => "preflight refused",
            Self::Infrastructure => "infrastructure failed",
            Self::Delivery => "delivery failed (not healthy in time)",
            Self::Cancelled => "cancelled",
            Self::Threshold => "a threshold failed (as k6)",
        }
    }
}

/// A failed command: what is shown to the user and the exit code.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: anyhow::Error,
    hints: Vec<String>,
    rendered: Option<String>,
}

impl Failure {
    /// A failure of a kind.
    pub fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self { kind, error: error.into(), hints: Vec::new(), rendered: None }
    }

    /// A failure in words.
    pub fn msg(kind: Kind, message: impl fmt::Display) -> Self {
        Self::new(kind, anyhow::anyhow!("{message}"))
    }

    /// A name that nothing has; where one of the known ones is near, it is offered.
    pub fn unknown<S: AsRef<str>>(message: impl fmt::Display, name: &str, known: &[S]) -> Self {
        let failure = Self::msg(Kind::Usage, message);
        match suggest::near(name, known) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// A failure whose full text (with source lines and carets) was already made, such as a profile's diagnostics.
    pub fn rendered(kind: Kind, summary: impl fmt::Display, text: String) -> Self {
        Self { rendered: Some(text), ..Self::msg(kind, summary) }
    }

    /// Adds a hint: what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// As the last words of a command; the alternate form (`{:#}`) leaves the label `error: ` to the sentence that it stands in.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.rendered {
            write!(f, "{}", text.trim_end())?;
        } else {
            let label = if f.alternate() { "" } else { "error: " };
            write!(f, "{label}{}", self.error)?;
            for cause in self.error.chain().skip(1) {
                write!(f, "\n  caused by: {cause}")?;
            }
        }
        for hint in &self.hints {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Kind::Other, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Kind::Other, error)
    }
}

impl From<UnknownTest> for Failure {
    fn from(error: UnknownTest) -> Self {
        let known = format!("its tests are {}", error.known.join(", "));
        Self::unknown(&error, &error.name, &error.known).hint(known)
    }
}

/// Gives an error its kind.
pub trait OrFail<T> {
    /// Fails with `kind`, the error as cause of `what`.
    fn or_fail(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrFail<T> for Result<T, E> {
    fn or_fail(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(kind, error.into().context(what())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let table: Vec<_> = Kind::ALL.iter().map(|kind| (kind.exit_code(), kind.meaning())).collect();
        insta::assert_debug_snapshot!(table);
    }

    #[test]
    fn causes_and_hints_are_shown_in_order() {
        let source = anyhow::anyhow!("connection refused");
        let failure = Err::<(), _>(source)
            .or_fail(Kind::Infrastructure, || "the cluster of m3demo1 does not answer".to_owned())
            .expect_err("it is an error")
            .hint("democtl status --name m3demo1");
        insta::assert_snapshot!(failure.to_string(), @r"
        error: the cluster of m3demo1 does not answer
          caused by: connection refused
        hint: democtl status --name m3demo1
        ");
        assert_eq!(failure.kind().exit_code(), 4);
    }
}
