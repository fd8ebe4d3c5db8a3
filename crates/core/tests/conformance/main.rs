//! Upstream's own cases against the scaling brain: every row is a test, named `FILE::KIND/NAME`.
//!
//! The rows and the loaders are one crate's (`democtl-conformance`), which judges files from anywhere too; this test has
//! the copied files. A row that its file marks `skip` is ignored, with the file's reason as its kind.

use std::process::ExitCode;

use democtl_conformance::{judge_row, rows};
use libtest_mimic::{Arguments, Failed, Trial};

const FILES: [(&str, &str); 6] = [
    ("hpa_replica_calculator", include_str!("hpa_replica_calculator.json")),
    ("hpa_behavior", include_str!("hpa_behavior.json")),
    ("hpa_derived", include_str!("hpa_derived.json")),
    ("keda", include_str!("keda.json")),
    ("scheduler", include_str!("scheduler.json")),
    ("computed", include_str!("computed.json")),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, FILES.into_iter().flat_map(trials).collect()).exit_code()
}

fn trials((file, text): (&'static str, &str)) -> Vec<Trial> {
    let rows = rows(text).expect("a copied file can be read");
    assert!(!rows.is_empty(), "{file} has rows");
    let trial = |row: democtl_conformance::Row| {
        let (name, skipped) = (format!("{file}::{}", row.full_name()), row.skip_reason());
        let trial = Trial::test(name, move || judge_row(&row).map_err(|failure| Failed::from(failure.to_string())));
        match skipped {
            Some(reason) => trial.with_kind(format!("skip: {reason}")).with_ignored_flag(true),
            None => trial,
        }
    };
    rows.into_iter().map(trial).collect()
}
