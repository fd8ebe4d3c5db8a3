//! A run directory read back.

use std::{fs, io::ErrorKind, path::Path};

use democtl_core::{
    event::{Event, Fact},
    explain::Recording,
    profile::Profile,
    verdict::TestResult,
};

use crate::{
    environment::{REQUEST_FILE, Request},
    failure::{Failure, Kind, OrFail as _},
};

/// Events that come so long after a run's last test, in profile seconds, were watched for.
const WATCHED_S: f64 = 30.0;

/// What a run left behind, or a forecast.
#[derive(Debug)]
pub struct Recorded {
    /// The profile that ran.
    pub profile: Profile,
    /// The timeline.
    pub events: Vec<Event>,
    /// Tests that ended.
    pub tests: Vec<TestResult>,
}

impl Recorded {
    /// Reads a run directory.
    pub fn read(dir: &Path) -> Result<Self, Failure> {
        let profile = request(dir)?.profile()?;
        let path = dir.join("tests.json");
        let tests = match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).or_fail(Kind::Other, || format!("{} is damaged", path.display()))?
            }
            // The run ended before its first test did.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).or_fail(Kind::Other, || format!("cannot read {}", path.display())),
        };
        let path = dir.join("events.jsonl");
        Ok(Self { profile, events: events(&text(&path)?, &path)?, tests })
    }

    /// Whether it was watched after its last test.
    pub fn settled(&self) -> bool {
        let finished = self.events.iter().find(|event| matches!(event.fact, Fact::RunFinished { .. }));
        let end_s = self.events.last().map_or(0.0, |event| event.at_s);
        finished.is_some_and(|event| end_s - event.at_s > WATCHED_S)
    }

    /// As the core takes it.
    pub fn recording(&self) -> Recording<'_> {
        Recording { profile: &self.profile, events: &self.events, tests: &self.tests }
    }
}

/// One event a line; a run that was killed may have left half a line at the end.
fn events(text: &str, path: &Path) -> Result<Vec<Event>, Failure> {
    let lines: Vec<&str> = text.lines().collect();
    let mut events = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(event) => events.push(event),
            Err(_) if index + 1 == lines.len() && !text.ends_with('\n') => {}
            Err(error) => {
                return Err(error).or_fail(Kind::Other, || format!("{}:{} is no event", path.display(), index + 1));
            }
        }
    }
    Ok(events)
}

/// What was asked for when the run's environment was set up.
pub fn request(dir: &Path) -> Result<Request, Failure> {
    // Runs of before a request was kept beside them lie in the environment that has it.
    let places = [dir.join(REQUEST_FILE), dir.join("../..").join(REQUEST_FILE)];
    let path = places.iter().find(|path| path.is_file()).ok_or_else(|| {
        Failure::msg(Kind::Usage, format!("{} does not tell which profile ran", dir.display()))
            .hint(format!("{REQUEST_FILE} of its environment is missing"))
    })?;
    serde_json::from_str(&text(path)?).or_fail(Kind::Other, || format!("{} is damaged", path.display()))
}

fn text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).or_fail(Kind::Other, || format!("cannot read {}", path.display()))
}
