//! Container logs in the CRI format (`<RFC 3339 time> stdout F <line>`), one directory per pod, and their reader.
//!
//! Layout and rotation follow the kubelet (`/var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log`): a file
//! that passes its size is renamed to `.1`, and only the current and the previous life of a container are kept.
//! <https://kubernetes.io/docs/concepts/cluster-administration/logging/#log-rotation>

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures::Stream;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader as AsyncBufReader};

/// A file is rotated when it passes this many bytes.
const ROTATE_AT: u64 = 10 * 1024 * 1024;
/// A longer line is cut (partial lines are flagged `P` by container runtimes; here the rest is the next line).
const LONGEST_LINE: usize = 16 * 1024;
/// How often a followed log is looked at again.
const FOLLOW_POLL: Duration = Duration::from_millis(100);

/// What `kubectl logs` may ask for; the names are those of `PodLogOptions`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOptions {
    /// Go on as lines come, until the container has ended.
    pub follow: bool,
    /// The container's previous life.
    pub previous: bool,
    /// Put the time in front of each line.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<usize>,
    /// Only lines since then.
    pub since: Option<DateTime<Utc>>,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The container has not started yet (upstream: 400 `BadRequest`).
    #[error("container {container:?} in pod {pod:?} is waiting to start")]
    NotStarted {
        /// Container's name.
        container: String,
        /// Pod's name.
        pod: String,
    },
    /// `previous` of a container that was never restarted (upstream: 400 `BadRequest`).
    #[error("previous terminated container {container:?} in pod {pod:?} not found")]
    NoPrevious {
        /// Container's name.
        container: String,
        /// Pod's name.
        pod: String,
    },
    /// The file cannot be read.
    #[error("log of container {container:?}")]
    Io {
        /// Container's name.
        container: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Lines of a log as they come.
pub type LogStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Where the pods' logs are.
#[derive(Debug, Clone)]
pub struct LogStore {
    root: PathBuf,
}

/// Which container's log.
#[derive(Debug, Clone)]
pub struct LogKey {
    /// Pod's namespace.
    pub namespace: String,
    /// Pod's name.
    pub pod: String,
    /// Pod's uid.
    pub uid: String,
    /// Container's name.
    pub container: String,
}

impl LogStore {
    /// Logs below `root` (made when first written).
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// A writer for the container's life number `restart`; lives before the previous one are removed.
    pub fn writer(&self, key: &LogKey, restart: u32) -> io::Result<LogWriter> {
        let dir = self.dir(key);
        fs::create_dir_all(&dir)?;
        for old in restarts(&dir).into_iter().filter(|old| old + 1 < restart) {
            remove_if_there(&dir.join(format!("{old}.log")))?;
            remove_if_there(&dir.join(format!("{old}.log.1")))?;
        }
        let path = dir.join(format!("{restart}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let written = file.metadata()?.len();
        Ok(LogWriter { path, file, written })
    }

    /// Removes a pod's logs; what is not there is no error.
    pub fn remove_pod(&self, namespace: &str, pod: &str, uid: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.root.join(format!("{namespace}_{pod}_{uid}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The log as a stream of lines; with `follow` it ends when `ended` says that the container has ended and
    /// everything written was sent.
    pub fn read(
        &self,
        key: &LogKey,
        options: LogOptions,
        ended: impl Fn() -> bool + Send + 'static,
    ) -> Result<LogStream, LogError> {
        let dir = self.dir(key);
        let lives = restarts(&dir);
        let names = || (key.container.clone(), key.pod.clone());
        let life = if options.previous {
            let (container, pod) = names();
            lives.iter().rev().nth(1).ok_or(LogError::NoPrevious { container, pod })?
        } else {
            let (container, pod) = names();
            lives.last().ok_or(LogError::NotStarted { container, pod })?
        };
        let path = dir.join(format!("{life}.log"));
        let io_error = |source| LogError::Io { container: key.container.clone(), source };
        let mut records = Vec::new();
        let rotated = dir.join(format!("{life}.log.1"));
        if rotated.exists() {
            read_lines(&mut File::open(&rotated).map_err(io_error)?, &mut records).map_err(io_error)?;
        }
        let mut file = File::open(&path).map_err(io_error)?;
        read_lines(&mut file, &mut records).map_err(io_error)?;
        Ok(Box::pin(stream(path, file, records, options, ended)))
    }

    fn dir(&self, key: &LogKey) -> PathBuf {
        self.root.join(format!("{}_{}_{}", key.namespace, key.pod, key.uid)).join(&key.container)
    }
}

/// Appends lines to one log file and rotates it.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    written: u64,
}

impl LogWriter {
    /// Writes one line of `stream` (`stdout` or `stderr`).
    pub fn line(&mut self, stream: &str, line: &[u8]) -> io::Result<()> {
        if self.written > ROTATE_AT {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.written = 0;
        }
        let mut record = Vec::with_capacity(line.len() + 48);
        write!(record, "{} {stream} F ", Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true))?;
        record.extend_from_slice(line);
        record.push(b'\n');
        self.written += record.len() as u64;
        self.file.write_all(&record)
    }
}

/// Copies the lines of a process's output into its log until the output ends.
pub async fn copy_output(
    output: impl AsyncRead + Unpin,
    stream: &'static str,
    log: std::sync::Arc<std::sync::Mutex<LogWriter>>,
) {
    let mut output = AsyncBufReader::with_capacity(LONGEST_LINE, output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match output.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let mut log = log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for part in text.chunks(LONGEST_LINE).chain(text.is_empty().then_some(text)) {
            if let Err(error) = log.line(stream, part) {
                tracing::warn!(%error, "container log cannot be written");
            }
        }
    }
}

/// One line of a log file.
struct Line {
    time: String,
    text: String,
}

impl Line {
    fn parse(record: &str) -> Option<Self> {
        let mut fields = record.splitn(4, ' ');
        let (time, _stream, _flag, text) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some(Self { time: time.to_owned(), text: text.to_owned() })
    }

    fn render(&self, timestamps: bool) -> Bytes {
        Bytes::from(if timestamps { format!("{} {}\n", self.time, self.text) } else { format!("{}\n", self.text) })
    }

    fn is_since(&self, since: Option<DateTime<Utc>>) -> bool {
        since.is_none_or(|since| {
            DateTime::parse_from_rfc3339(&self.time).is_ok_and(|time| time.with_timezone(&Utc) >= since)
        })
    }
}

/// Reads whole lines up to the file's end and leaves the position behind the last whole one.
fn read_lines(file: &mut File, lines: &mut Vec<Line>) -> io::Result<()> {
    let start = file.stream_position()?;
    let mut reader = BufReader::new(Read::by_ref(file));
    let (mut consumed, mut record) = (0_u64, Vec::new());
    loop {
        record.clear();
        let length = reader.read_until(b'\n', &mut record)?;
        if length == 0 || record.last() != Some(&b'\n') {
            break;
        }
        consumed += length as u64;
        lines.extend(Line::parse(String::from_utf8_lossy(&record).trim_end_matches('\n')));
    }
    file.seek(SeekFrom::Start(start + consumed))?;
    Ok(())
}

fn stream(
    path: PathBuf,
    mut file: File,
    lines: Vec<Line>,
    options: LogOptions,
    ended: impl Fn() -> bool + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    async_stream::try_stream! {
        let mut left = options.limit_bytes.unwrap_or(u64::MAX);
        let mut lines: Vec<Line> = lines.into_iter().filter(|line| line.is_since(options.since)).collect();
        if let Some(tail) = options.tail_lines {
            lines.drain(..lines.len().saturating_sub(tail));
        }
        loop {
            for line in lines.drain(..) {
                let mut bytes = line.render(options.timestamps);
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                left -= bytes.len() as u64;
                yield bytes;
                if left == 0 {
                    return;
                }
            }
            if !options.follow || options.previous {
                return;
            }
            // Asked before the read, so that what was written before the end is still sent.
            let last = ended();
            read_lines(&mut file, &mut lines)?;
            if lines.is_empty() {
                if last {
                    return;
                }
                if is_rotated(&path, &file) {
                    file = File::open(&path)?;
                    continue;
                }
                tokio::time::sleep(FOLLOW_POLL).await;
            }
        }
    }
}

/// Whether the path now leads to another file than the open one.
fn is_rotated(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(path), file.metadata()) {
        (Ok(now), Ok(open)) => now.ino() != open.ino(),
        _ => false,
    }
}

fn restarts(dir: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut lives: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".log")?.parse().ok()).collect();
    lives.sort_unstable();
    lives
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use futures::{StreamExt, TryStreamExt};

    use super::*;

    fn key() -> LogKey {
        LogKey { namespace: "default".into(), pod: "web-0".into(), uid: "1".into(), container: "web".into() }
    }

    async fn text(store: &LogStore, options: LogOptions) -> String {
        let chunks: Vec<Bytes> = store.read(&key(), options, || true).unwrap().try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }

    #[tokio::test]
    async fn tail_limit_timestamps_and_previous() {
        let dir = tempfile::tempdir().unwrap();
        let store = LogStore::new(dir.path().to_owned());
        assert!(matches!(store.read(&key(), LogOptions::default(), || true), Err(LogError::NotStarted { .. })));
        let mut log = store.writer(&key(), 0).unwrap();
        for line in ["one", "two", "three"] {
            log.line("stdout", line.as_bytes()).unwrap();
        }
        assert_eq!(text(&store, LogOptions::default()).await, "one\ntwo\nthree\n");
        assert_eq!(text(&store, LogOptions { tail_lines: Some(1), ..Default::default() }).await, "three\n");
        assert_eq!(text(&store, LogOptions { limit_bytes: Some(5), ..Default::default() }).await, "one\nt");
        let stamped = text(&store, LogOptions { timestamps: true, ..Default::default() }).await;
        let time = stamped.split(' ').next().unwrap();
        assert!(DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
        let later = Utc::now() + chrono::TimeDelta::hours(1);
        assert_eq!(text(&store, LogOptions { since: Some(later), ..Default::default() }).await, "");
        let previous = LogOptions { previous: true, ..Default::default() };
        assert!(matches!(store.read(&key(), previous, || true), Err(LogError::NoPrevious { .. })));
        store.writer(&key(), 1).unwrap().line("stdout", b"reborn").unwrap();
        assert_eq!(text(&store, previous).await, "one\ntwo\nthree\n");
        assert_eq!(text(&store, LogOptions::default()).await, "reborn\n");
    }

    #[tokio::test]
    async fn follow_sends_what_comes_and_ends_with_the_container() {
        let dir = tempfile::tempdir().unwrap();
        let store = LogStore::new(dir.path().to_owned());
        let mut log = store.writer(&key(), 0).unwrap();
        log.line("stdout", b"first").unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let options = LogOptions { follow: true, ..Default::default() };
        let watch = ended.clone();
        let mut lines = std::pin::pin!(store.read(&key(), options, move || watch.load(Ordering::SeqCst)).unwrap());
        assert_eq!(lines.next().await.unwrap().unwrap(), "first\n");
        log.line("stderr", b"second").unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "second\n");
        ended.store(true, Ordering::SeqCst);
        assert!(lines.next().await.is_none());
    }
}
