//! `democtl-conformance [--at-least PERCENT] FILE.json...`: prints `kind passed/total` and the rows that fail; exits 1
//! when any does, or when fewer than the given share of a file's rows pass.

use std::{fs, io::Write as _, process::ExitCode};

use democtl_conformance::Report;

/// What must pass of a file, percent.
const ALL: f64 = 100.0;

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let (mut clean, mut least) = (true, ALL);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--at-least" {
            match arguments.next().and_then(|percent| percent.parse().ok()) {
                Some(percent) => least = percent,
                None => return ExitCode::from(2),
            }
            continue;
        }
        let report = fs::read_to_string(&argument)
            .map_err(|error| error.to_string())
            .and_then(|text| democtl_conformance::judge(&text));
        let written = match report {
            Ok(report) => {
                clean &= passes(&report, least);
                write!(out, "{argument}\n{report}")
            }
            Err(error) => {
                clean = false;
                writeln!(out, "{argument}: {error}")
            }
        };
        if written.is_err() {
            break;
        }
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes(report: &Report, least: f64) -> bool {
    let (passed, total) = report.total();
    passed as f64 >= least / 100.0 * total as f64
}
