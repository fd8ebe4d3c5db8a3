//! What a run shows of its profile's durations, for people and for machines.

use std::fmt::Write as _;

use democtl_core::calibrate::Fit;
use serde::Serialize;

/// Durations of a run beside those that its profile assumes.
#[derive(Debug, Serialize)]
pub struct Calibration {
    /// The run's directory.
    pub run: String,
    /// Profile that ran.
    pub profile: String,
    /// Each duration.
    pub fits: Vec<Fit>,
    /// The profile that extends the one that ran.
    pub toml: String,
    /// Overrides of the run that the profile above cannot have.
    pub left: Vec<String>,
    /// What a reader must know besides.
    pub notes: Vec<String>,
}

fn line(fit: &Fit) -> String {
    let fitted = fit.fitted.as_deref().unwrap_or("-");
    let difference = fit.difference.map_or_else(String::new, |share| format!("{:+.1} %", 100.0 * share));
    format!("  {:32} {:>10} {fitted:>10} {difference:>9} {:>8}  {}", fit.path, fit.assumed, fit.samples, fit.basis)
}

/// For people: a table, then the profile's text where it is not written elsewhere.
pub fn human(calibration: &Calibration, with_toml: bool) -> String {
    let mut text = format!("{}, {}\n", calibration.profile, calibration.run);
    let _ = writeln!(text, "  {:32} {:>10} {:>10} {:>9} {:>8}", "", "assumed", "fitted", "by", "samples");
    for fit in &calibration.fits {
        let _ = writeln!(text, "{}", line(fit));
    }
    for set in &calibration.left {
        let _ = writeln!(text, "  note: --set {set} changes an item of a list; give it to what uses the new profile");
    }
    for note in &calibration.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    if with_toml {
        let _ = write!(text, "\n{}", calibration.toml);
    }
    text
}
