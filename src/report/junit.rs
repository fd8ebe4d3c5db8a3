//! `JUnit` XML: one suite for each test, one case for each threshold, for CI systems.

use std::path::Path;

use democtl_core::verdict::Verdict;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::summary::RunSummary;
use crate::failure::{Failure, Kind, OrFail as _};

/// Writes the report of runs.
pub fn write(path: &Path, runs: &[RunSummary]) -> Result<(), Failure> {
    let what = || format!("cannot write {}", path.display());
    let text = report(runs).to_string().or_fail(Kind::Other, what)?;
    std::fs::write(path, text).or_fail(Kind::Other, what)
}

fn report(runs: &[RunSummary]) -> Report {
    let mut report = Report::new("democtl");
    for run in runs {
        for test in &run.tests {
            let mut suite = TestSuite::new(format!("{}.{}", run.profile, test.name));
            for result in &test.thresholds {
                let mut status = TestCaseStatus::success();
                if result.verdict == Verdict::Fail {
                    status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(format!("{} was {}", result.threshold, result.value));
                }
                let mut case = TestCase::new(result.threshold.to_string(), status);
                case.set_classname(format!("{}.{}", run.profile, test.name));
                suite.add_test_case(case);
            }
            report.add_test_suite(suite);
        }
    }
    report
}
