//! One container's process: started with a pipe as its stdin, its output in a log, ended by signals.
//!
//! A process must not outlive the cluster, however that dies. The pipe on its stdin is held by the cluster only: when the
//! cluster is gone the kernel closes it and the process, which runs with `APP_EXIT_ON_STDIN_EOF=1` (or below
//! `app supervise`), ends itself. No death signal is needed, and so no unsafe code.

use std::{
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, ChildStdin, Command},
    task::JoinSet,
};

use super::logs::{LogWriter, copy_output};

/// Names the cluster's directory in the environment of everything that a cluster runs, so that a scan of the machine's
/// processes finds what a crash has left.
pub const CLUSTER_DIR: &str = "DEMOCTL_CLUSTER_DIR";
/// The app ends at the end of its stdin when this is `1`.
pub const EXIT_ON_STDIN_EOF: &str = "APP_EXIT_ON_STDIN_EOF";
/// Output that a grandchild keeps open is not waited for longer than this.
const OUTPUT_DRAIN: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment (nothing is inherited but `DEMOCTL_CLUSTER_DIR`).
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub dir: PathBuf,
}

/// A running process. Dropping it kills the process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Taken from the child, whose own `wait` would close it and so end the process.
    stdin: Option<ChildStdin>,
    output: JoinSet<()>,
    pid: Option<Pid>,
}

impl Process {
    /// Starts a process that logs to `log`.
    pub fn spawn(invocation: &Invocation, log: LogWriter) -> io::Result<Self> {
        let mut child = Command::new(&invocation.program)
            .args(&invocation.args)
            .env_clear()
            .envs(std::env::var_os(CLUSTER_DIR).map(|dir| (CLUSTER_DIR, dir)))
            .envs(invocation.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&invocation.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let log = Arc::new(Mutex::new(log));
        let mut output = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            output.spawn(copy_output(stdout, "stdout", log.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            output.spawn(copy_output(stderr, "stderr", log));
        }
        let pid = child.id().and_then(|pid| Pid::from_raw(pid as i32));
        Ok(Self { stdin: child.stdin.take(), child, output, pid })
    }

    /// Tells it to end by the end of its input, as it would see the cluster's own end.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The process's id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end and for the rest of its output. Cancel safe.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        let _ = tokio::time::timeout(OUTPUT_DRAIN, async { while self.output.join_next().await.is_some() {} }).await;
        Ok(status)
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it (SIGKILL).
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // `id` is none once it was waited for, so that a reused pid is never hit.
        if let (Some(pid), Some(_)) = (self.pid, self.child.id())
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(%error, pid = pid.as_raw_nonzero(), "signal not delivered");
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::runtime::logs::{LogKey, LogStore};

    fn spawn(store: &LogStore, script: &str) -> Process {
        let key = LogKey { namespace: "n".into(), pod: "p".into(), uid: "u".into(), container: "c".into() };
        let invocation = Invocation {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("GREETING".into(), "hello".into())],
            dir: "/".into(),
        };
        Process::spawn(&invocation, store.writer(&key, 0).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn output_is_logged_and_the_status_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = LogStore::new(dir.path().to_owned());
        let mut process = spawn(&store, "echo $GREETING; echo oops >&2; exit 3");
        assert_eq!(process.wait().await.unwrap().code(), Some(3));
        let log = std::fs::read_to_string(dir.path().join("n_p_u/c/0.log")).unwrap();
        assert!(log.contains(" stdout F hello\n") && log.contains(" stderr F oops\n"), "{log}");
    }

    #[tokio::test]
    async fn a_process_sees_the_end_of_stdin_only_when_its_holder_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let store = LogStore::new(dir.path().to_owned());
        let mut process = spawn(&store, "read line; exit 7");
        let early = tokio::time::timeout(Duration::from_millis(50), process.wait()).await;
        assert!(early.is_err(), "waiting does not close stdin");
        process.close_stdin();
        assert_eq!(process.wait().await.unwrap().code(), Some(7));
    }

    #[tokio::test]
    async fn kill_ends_what_ignores_terminate() {
        let dir = tempfile::tempdir().unwrap();
        let store = LogStore::new(dir.path().to_owned());
        let mut process = spawn(&store, "trap '' TERM; echo up; while :; do sleep 1; done");
        let log = dir.path().join("n_p_u/c/0.log");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("up")) {
            assert!(std::time::Instant::now() < deadline, "the script never started");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.terminate();
        process.kill();
        assert_eq!(process.wait().await.unwrap().signal(), Some(9));
        process.kill();
    }
}
