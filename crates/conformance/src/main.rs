//! `democtl-conformance FILE.json...`: prints `kind passed/total` and the rows that fail; exits 1 when any does.

use std::{fs, io::Write as _, process::ExitCode};

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let mut clean = true;
    for path in std::env::args().skip(1) {
        let report = fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| democtl_conformance::judge(&text));
        let written = match report {
            Ok(report) => {
                clean &= report.failures.is_empty();
                write!(out, "{path}\n{report}")
            }
            Err(error) => {
                clean = false;
                writeln!(out, "{path}: {error}")
            }
        };
        if written.is_err() {
            break;
        }
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
