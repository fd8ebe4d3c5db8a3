//! The ledger: an append-only journal of every external effect, written before the act and confirmed after it.
//!
//! `setup` resumes from it, `cleanup` empties it. A line that was cut off by a crash is not an entry.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// What kind of thing was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A cluster with everything that it starts.
    Cluster,
    /// The application and what it needs, inside the cluster.
    Delivery,
}

/// How far an effect has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// About to be made: may or may not exist.
    Begun,
    /// Made.
    Done,
    /// Removed again.
    Undone,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What.
    pub effect: Effect,
    /// How far.
    pub step: Step,
    /// Which one: a path, a name, an id.
    pub id: String,
    /// When, RFC 3339.
    pub at: String,
}

/// An environment's ledger on disk.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    /// Length of the whole lines; what follows was cut off by a crash.
    whole: u64,
    entries: Vec<Entry>,
}

impl Ledger {
    /// Reads the ledger at `path`; a missing file is an empty ledger, a torn last line is dropped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let entries = whole
            .lines()
            .map(|line| serde_json::from_str(line).map_err(|e| io::Error::other(format!("{}: {e}", path.display()))))
            .collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), whole: whole.len() as u64, entries })
    }

    /// Writes that `effect` is about to be made.
    pub fn begin(&mut self, effect: Effect, id: &str) -> io::Result<()> {
        if self.standing(effect) == Some(Step::Begun) {
            return Ok(());
        }
        self.append(effect, Step::Begun, id)
    }

    /// Writes that `effect` was made.
    pub fn done(&mut self, effect: Effect, id: &str) -> io::Result<()> {
        self.append(effect, Step::Done, id)
    }

    /// Writes that `effect` is gone.
    pub fn undone(&mut self, effect: Effect, id: &str) -> io::Result<()> {
        self.append(effect, Step::Undone, id)
    }

    /// How far an effect stands; `None` when it was never begun or is undone.
    pub fn standing(&self, effect: Effect) -> Option<Step> {
        let last = self.entries.iter().rfind(|entry| entry.effect == effect)?;
        (last.step != Step::Undone).then_some(last.step)
    }

    /// All lines.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn append(&mut self, effect: Effect, step: Step, id: &str) -> io::Result<()> {
        let entry = Entry { effect, step, id: id.to_owned(), at: chrono::Utc::now().to_rfc3339() };
        let mut line = serde_json::to_string(&entry)?;
        line.push('\n');
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        // Here and not on opening: who only reads holds no lock, and may see a line that is just being written.
        file.set_len(self.whole)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        self.whole += line.len() as u64;
        self.entries.push(entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_stands_until_it_is_undone() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path)?;
        assert_eq!(ledger.standing(Effect::Cluster), None);
        ledger.begin(Effect::Cluster, "c")?;
        assert_eq!(Ledger::open(&path)?.standing(Effect::Cluster), Some(Step::Begun));
        ledger.done(Effect::Cluster, "c")?;
        assert_eq!(Ledger::open(&path)?.standing(Effect::Cluster), Some(Step::Done));
        ledger.undone(Effect::Cluster, "c")?;
        assert_eq!(Ledger::open(&path)?.standing(Effect::Cluster), None);
        Ok(())
    }

    #[test]
    fn a_torn_last_line_is_dropped() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path)?;
        ledger.begin(Effect::Cluster, "c")?;
        OpenOptions::new().append(true).open(&path)?.write_all(b"{\"effect\":\"clu")?;
        let mut again = Ledger::open(&path)?;
        assert_eq!(again.entries().len(), 1);
        again.done(Effect::Cluster, "c")?;
        assert_eq!(Ledger::open(&path)?.standing(Effect::Cluster), Some(Step::Done));
        Ok(())
    }
}
