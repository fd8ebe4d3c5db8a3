//! The journal on disk: one JSON line for each change, compacted into a snapshot when most of it is past.
//!
//! A line that was cut by a crash is dropped at the next start; a line elsewhere that cannot be read is an error. The
//! page cache outlives a killed process, so nothing is synced for each write.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::store::Key;

/// Below this size a journal is never compacted.
const SMALL: u64 = 16 << 20;

/// The journal of one store, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    /// Length after the last compaction.
    base: u64,
}

/// What a journal held.
pub(crate) struct Replayed {
    pub(crate) journal: Journal,
    pub(crate) version: u64,
    pub(crate) objects: Vec<(String, Key, Value)>,
}

#[derive(Deserialize)]
struct OwnedLine {
    version: u64,
    #[serde(default)]
    table: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    object: Option<Value>,
}

impl Journal {
    /// Opens or creates a journal and reads what it holds.
    pub(crate) fn open(path: &Path) -> io::Result<Replayed> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut objects = std::collections::BTreeMap::new();
        let (mut version, mut good) = (1, 0);
        let mut reader = BufReader::new(&mut file);
        let mut text = Vec::new();
        loop {
            text.clear();
            let length = reader.read_until(b'\n', &mut text)? as u64;
            if length == 0 || text.last() != Some(&b'\n') {
                break;
            }
            let line: OwnedLine = match serde_json::from_slice(&text) {
                Ok(line) => line,
                Err(_) if reader.fill_buf()?.is_empty() => break,
                Err(error) => {
                    let text = format!("journal {} is damaged at byte {good}: {error}", path.display());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            };
            good += length;
            version = version.max(line.version);
            let key = (line.table, (line.namespace, line.name));
            match line.object {
                Some(object) => objects.insert(key, object),
                None => objects.remove(&key),
            };
        }
        drop(reader);
        file.set_len(good)?;
        let journal = Self { path: path.to_owned(), file, length: good, base: good };
        let objects = objects.into_iter().map(|((table, key), object)| (table, key, object)).collect();
        Ok(Replayed { journal, version, objects })
    }

    pub(crate) fn put(&mut self, version: u64, table: &str, key: &Key, json: &[u8]) -> io::Result<()> {
        self.append(&line(version, table, key, Some(json)))
    }

    pub(crate) fn remove(&mut self, version: u64, table: &str, key: &Key) -> io::Result<()> {
        self.append(&line(version, table, key, None))
    }

    /// Appends a whole line or, when that fails, leaves the file as it was.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(line) {
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::End(0))?;
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(())
    }

    pub(crate) fn wants_compaction(&self) -> bool {
        self.length > SMALL.max(self.base.saturating_mul(4))
    }

    /// Writes what there is to a new file and puts it in the place of the old one.
    pub(crate) fn compact<'a>(
        &mut self,
        version: u64,
        objects: impl Iterator<Item = (&'a str, &'a Key, &'a bytes::Bytes, u64)>,
    ) -> io::Result<()> {
        self.base = self.length;
        let next = self.path.with_extension("next");
        match snapshot(&next, version, objects).and_then(|written| fs::rename(&next, &self.path).map(|()| written)) {
            // The file that was written, not one opened anew: after the rename nothing may fail.
            Ok((file, length)) => {
                (self.file, self.length, self.base) = (file, length, length);
                Ok(())
            }
            Err(error) => {
                // On a full disk its room is wanted.
                let _ = fs::remove_file(&next);
                Err(error)
            }
        }
    }
}

/// A journal of present objects only, with its length.
fn snapshot<'a>(
    path: &Path,
    version: u64,
    objects: impl Iterator<Item = (&'a str, &'a Key, &'a bytes::Bytes, u64)>,
) -> io::Result<(File, u64)> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "{{\"version\":{version}}}")?;
    for (table, key, json, own) in objects {
        out.write_all(&line(own, table, key, Some(json)))?;
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn line(version: u64, table: &str, key: &Key, json: Option<&[u8]>) -> Vec<u8> {
    let mut out =
        json!({"version": version, "table": table, "namespace": key.0, "name": key.1}).to_string().into_bytes();
    if let Some(json) = json {
        out.pop();
        out.extend_from_slice(b",\"object\":");
        out.extend_from_slice(json);
        out.push(b'}');
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use bytes::Bytes;

    fn names(path: &Path) -> Vec<String> {
        Journal::open(path).unwrap().objects.into_iter().map(|(_, (_, name), _)| name).collect()
    }

    #[test]
    fn what_is_written_after_a_compaction_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path).unwrap().journal;
        let key = |name: &str| (String::new(), name.to_owned());
        journal.put(2, "things", &key("past"), b"{}").unwrap();
        journal.remove(3, "things", &key("past")).unwrap();
        let (kept, text) = (key("kept"), Bytes::from_static(b"{}"));
        journal.compact(4, std::iter::once(("things", &kept, &text, 4))).unwrap();
        journal.put(5, "things", &key("later"), b"{}").unwrap();
        assert_eq!(journal.length, fs::metadata(&path).unwrap().len());
        assert_eq!(names(&path), ["kept", "later"]);
    }

    #[test]
    fn a_compaction_that_fails_leaves_the_journal_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path).unwrap().journal;
        let key = |name: &str| (String::new(), name.to_owned());
        journal.put(2, "things", &key("first"), b"{}").unwrap();
        // Whatever is written there meets a full disk.
        std::os::unix::fs::symlink("/dev/full", path.with_extension("next")).unwrap();
        let (first, text) = (key("first"), Bytes::from_static(b"{}"));
        let failed = journal.compact(3, std::iter::once(("things", &first, &text, 2))).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
        assert!(!path.with_extension("next").is_symlink());
        journal.put(4, "things", &key("second"), b"{}").unwrap();
        assert_eq!(names(&path), ["first", "second"]);
    }
}
