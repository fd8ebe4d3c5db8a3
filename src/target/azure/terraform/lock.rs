//! Which lock on a remote state an apply of this machine holds: written down while it holds it, so that after its death the
//! lock can be told from everybody else's.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::environment::write_whole;

/// A lock and the Terraform that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// The lock's id, as the backend has it.
    pub(super) id: String,
    pid: u32,
    /// When that process began, in the kernel's ticks: another may get its number.
    began: Option<u64>,
}

impl Held {
    /// A lock of a process that runs.
    pub(super) fn of(id: String, pid: u32) -> Self {
        Self { id, pid, began: began(pid) }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        write_whole(path, &serde_json::to_vec(self)?)
    }

    /// What was written down last; none: nothing that can be read.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Whether the process is certainly no more.
    pub(super) fn is_over(&self) -> bool {
        self.began.is_some() && began(self.pid) != self.began
    }
}

/// Field 22 of `/proc/PID/stat` (proc(5)); none: there is no such process, or it has ended and waits to be reaped.
fn began(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_lock_is_over_when_its_process_is() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("lock.json");
        assert_eq!(Held::read(&path), None);
        let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn()?;
        let held = Held::of("1-2".to_owned(), child.id());
        held.write(&path)?;
        assert_eq!(Held::read(&path).as_ref(), Some(&held));
        assert!(!held.is_over(), "it runs");
        drop(child.stdin.take());
        child.wait()?;
        assert!(held.is_over());
        let other = Held { began: Some(1), ..Held::of("1-2".to_owned(), std::process::id()) };
        assert!(other.is_over(), "another process has its number");
        assert!(!Held { began: None, ..other }.is_over(), "what is not known is no proof");
        Ok(())
    }
}
