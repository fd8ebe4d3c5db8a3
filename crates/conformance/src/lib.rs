//! Runs rows of upstream's cases against `democtl_core::autoscale`: one loader for each kind of row.

mod hpa;
mod scheduler;

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_json::Value;

/// One case.
#[derive(Debug, Deserialize)]
pub struct Row {
    /// Name of the case.
    pub name: String,
    /// Kind, which chooses the loader.
    pub kind: String,
    /// Input.
    pub input: Value,
    /// What upstream answers.
    pub expect: Value,
    /// Why it lies outside what is modelled.
    #[serde(default)]
    pub skip: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct File {
    rows: Vec<Row>,
}

/// A row that came out otherwise.
#[derive(Debug)]
pub struct Failure {
    /// `kind/name`.
    pub row: String,
    /// What differed: expected and got.
    pub difference: String,
    /// The input.
    pub input: Value,
    /// The section of the algorithm's description that governs this kind.
    pub rule: &'static str,
}

/// What a file came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Passed and all rows, by kind.
    pub kinds: BTreeMap<String, (usize, usize)>,
    /// Rows that the file itself leaves out, with its reason.
    pub skipped: Vec<(String, String)>,
    /// Rows that failed.
    pub failures: Vec<Failure>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (passed, total)) in &self.kinds {
            writeln!(f, "  {kind} {passed}/{total}")?;
        }
        for (row, reason) in &self.skipped {
            writeln!(f, "  skipped {row}: {reason}")?;
        }
        for failure in &self.failures {
            writeln!(
                f,
                "  FAILED {} ({})\n    {}\n    input: {}",
                failure.row, failure.rule, failure.difference, failure.input
            )?;
        }
        Ok(())
    }
}

/// What a loader says of a row: nothing, or what differed.
pub(crate) type Judgement = Result<(), String>;

/// Judges all rows of a file.
pub fn judge(text: &str) -> Result<Report, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut report = Report::default();
    for row in file.rows {
        let name = format!("{}/{}", row.kind, row.name);
        if let Some(reason) = &row.skip {
            report.skipped.push((name, reason.to_string()));
            continue;
        }
        let (judgement, rule) = hpa::judge(&row)
            .or_else(|| scheduler::judge(&row))
            .unwrap_or_else(|| (Err(format!("no loader for kind {:?}", row.kind)), "none"));
        let (passed, total) = report.kinds.entry(row.kind).or_default();
        *total += 1;
        match judgement {
            Ok(()) => *passed += 1,
            Err(difference) => report.failures.push(Failure { row: name, difference, input: row.input, rule }),
        }
    }
    Ok(report)
}

/// Compares one figure.
pub(crate) fn same<T: PartialEq + fmt::Debug>(what: &str, expected: &T, got: &T) -> Judgement {
    if expected == got { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {got:?}")) }
}

/// Reads a part of a row.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("cannot read {value}: {error}"))
}
