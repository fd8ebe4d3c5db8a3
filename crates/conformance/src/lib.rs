//! Runs rows of upstream's cases against `democtl_core::autoscale`: one loader for each kind of row.

mod hpa;
mod keda;
mod loops;
mod nodes;
mod removal;
mod scale_down;
mod scale_up;
mod scheduler;
mod state;

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
    /// All that upstream answers.
    pub expected: Value,
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
    /// Rows of which a field was not compared, by field.
    pub unchecked: BTreeMap<&'static str, usize>,
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
        for (field, rows) in &self.unchecked {
            writeln!(f, "  not checked in {rows} rows: {field}")?;
        }
        let (passed, total) = self.total();
        writeln!(f, "  all {passed}/{total}, {} skipped", self.skipped.len())?;
        self.failures.iter().try_for_each(|failure| write!(f, "  FAILED {failure}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, difference, input, expected, rule } = self;
        writeln!(
            f,
            "{row} (rule: {rule}, see docs/semantics.md)\n    {difference}\n    input: {input}\n    expected: {expected}"
        )
    }
}

impl Report {
    /// Passed and all rows.
    pub fn total(&self) -> (usize, usize) {
        self.kinds.values().fold((0, 0), |(passed, total), (p, t)| (passed + p, total + t))
    }
}

/// Fields that say again what the row's input says: no function of ours computes them. Kind, field, and what it is.
const UNCHECKED: [(&str, &str, &str); 2] = [
    ("metric_value", "metricName", "the name of a metric value, which is the input's (metric_value)"),
    ("planner", "unremovable", "unremovable nodes that were not eligible, which are the input's (planner)"),
];

/// What a loader says of a row: nothing, or what differed.
pub(crate) type Judgement = Result<(), String>;

/// The rows of a file.
pub fn rows(text: &str) -> Result<Vec<Row>, String> {
    serde_json::from_str(text).map(|file: File| file.rows).map_err(|error| error.to_string())
}

/// Judges one row, whether the file skips it or not.
pub fn judge_row(row: &Row) -> Result<(), Box<Failure>> {
    let (judgement, rule) = hpa::judge(row)
        .or_else(|| keda::judge(row))
        .or_else(|| scheduler::judge(row))
        .or_else(|| nodes::judge(row))
        .unwrap_or_else(|| (Err(format!("no loader for kind {:?}", row.kind)), "none"));
    judgement.map_err(|difference| {
        let (input, expected) = (row.input.clone(), row.expect.clone());
        Box::new(Failure { row: row.full_name(), difference, input, expected, rule })
    })
}

/// Judges all rows of a file.
pub fn judge(text: &str) -> Result<Report, String> {
    let mut report = Report::default();
    for row in rows(text)? {
        if let Some(reason) = row.skip_reason() {
            report.skipped.push((row.full_name(), reason));
            continue;
        }
        let judgement = judge_row(&row);
        for (_, _, what) in
            UNCHECKED.iter().filter(|(kind, field, _)| row.kind == *kind && !row.expect[field].is_null())
        {
            *report.unchecked.entry(what).or_default() += 1;
        }
        let (passed, total) = report.kinds.entry(row.kind).or_default();
        *total += 1;
        match judgement {
            Ok(()) => *passed += 1,
            Err(failure) => report.failures.push(*failure),
        }
    }
    Ok(report)
}

impl Row {
    /// `kind/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// Why the file leaves it out.
    pub fn skip_reason(&self) -> Option<String> {
        let reason = self.skip.as_ref()?;
        Some(reason.as_str().map_or_else(|| reason.to_string(), ToOwned::to_owned))
    }
}

/// Compares one figure.
pub(crate) fn same<T: PartialEq + fmt::Debug>(what: &str, expected: &T, got: &T) -> Judgement {
    if expected == got { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {got:?}")) }
}

/// Reads a part of a row.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("cannot read {value}: {error}"))
}
