//! Progress of load tests: an indicatif bar on a terminal, a plain line now and then elsewhere.

use std::time::{Duration, Instant};

use democtl_loadgen::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Style, note, timeline};

/// Shows how one test goes on.
#[derive(Debug)]
pub struct TestProgress {
    bar: Option<ProgressBar>,
    test: String,
    length: Duration,
    told: Instant,
}

/// Off a terminal, a line this often.
const PLAIN_PERIOD: Duration = Duration::from_secs(10);

impl TestProgress {
    /// A test that is to take `length` of real time.
    pub fn new(style: Style, test: &str, length: Duration) -> Self {
        let bar = style.bars.then(|| {
            let bar = ProgressBar::new(length.as_millis() as u64);
            let template = "  {prefix:8} {bar:28} {elapsed}/{eta} {msg}";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(test.to_owned());
            bar
        });
        Self { bar, test: test.to_owned(), length, told: Instant::now() }
    }

    /// Takes the newest figures.
    pub fn update(&mut self, progress: &Progress) {
        let text = format!(
            "{} VUs, {:.0}/s, {:.1} % failed, p95 {:.0} ms{}",
            progress.vus,
            progress.rps,
            100.0 * progress.failed_rate,
            progress.p95_ms,
            if progress.stage.is_empty() { String::new() } else { format!(", {}", progress.stage) },
        );
        if let Some(bar) = &self.bar {
            bar.set_position(progress.elapsed.min(self.length).as_millis() as u64);
            bar.set_message(text);
        } else if self.told.elapsed() >= PLAIN_PERIOD {
            self.told = Instant::now();
            let left = self.length.saturating_sub(progress.elapsed).as_secs();
            note(&format!("  {} {text}, {left} s left", self.test));
        }
    }

    /// Prints a line above the bar.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(text),
        }
    }

    /// The test is over.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Prints the line of an event, if it has one.
pub fn event(progress: Option<&TestProgress>, event: &democtl_core::event::Event) {
    let Some(line) = timeline::line(event) else { return };
    match progress {
        Some(progress) => progress.line(&format!("  {line}")),
        None => note(&format!("  {line}")),
    }
}
