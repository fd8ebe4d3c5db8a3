//! An empty environment for one test: its own home, nothing inherited, and proof at the end that nothing is left.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A profile of one small node and a single web pod, with a suite of well under a second at speed 10.
const PROFILE: &str = r#"suite = "tiny"

[meta]
description = "One node, one pod"

[pool.main]
vm_size = "Standard_D4s_v5"
count = 1

[workload.web]
replicas = 1
requests = { cpu = "500m", memory = "1Gi" }

[workload.redis]

[workload.prometheus]
"#;

const SUITE: &str = r#"name = "tiny"
description = "One fair test and one that cannot pass."

[[test]]
name = "calm"
vus = 2
duration = "5s"
thresholds = ["http_req_failed: rate<0.02"]
journey = [{ name = "list", get = "/api/customers" }, { think = "100ms" }]

[[test]]
name = "hopeless"
vus = 1
duration = "5s"
thresholds = ["http_req_duration: p(95)<0.001"]
journey = [{ name = "list", get = "/api/customers" }, { think = "100ms" }]

[[test]]
name = "long"
vus = 1
duration = "10m"
thresholds = ["http_req_failed: rate<0.02"]
journey = [{ name = "list", get = "/api/customers" }, { think = "100ms" }]
"#;

/// One test's world.
pub(crate) struct TestEnvironment {
    root: TempDir,
}

/// What a finished command left: its code and its words.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl TestEnvironment {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        fs::write(root.path().join("tiny.toml"), PROFILE).expect("the directory is ours");
        fs::create_dir(root.path().join("suites")).expect("the directory is ours");
        fs::write(root.path().join("suites/tiny.toml"), SUITE).expect("the directory is ours");
        Self { root }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// A command in the cleared environment, not run yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_democtl"));
        command
            .args(arguments)
            .current_dir(self.root.path())
            .env_clear()
            .env("HOME", self.root.path())
            .env("DEMOCTL_HOME", self.path("home"))
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        finish(self.command(arguments))
    }

    /// Runs and demands an exit code.
    pub(crate) fn expect(&self, code: i32, arguments: &[&str]) -> Outcome {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(code), "{arguments:?}\n{}\n{}", outcome.stdout, outcome.stderr);
        outcome
    }

    pub(crate) fn setup(&self) -> Outcome {
        self.expect(0, &["setup", "--profile", "./tiny.toml", "--speed", "10"])
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.expect(0, arguments).stdout).expect("--output json writes JSON")
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("the binary starts")
    }

    pub(crate) fn environment_dir(&self) -> PathBuf {
        self.path("home/environments/tiny")
    }

    /// The background process.
    pub(crate) fn cluster_pid(&self) -> Option<u32> {
        fs::read_to_string(self.environment_dir().join("cluster/pid")).ok()?.trim().parse().ok()
    }

    /// Live processes that belong to a cluster of this test, with their command lines.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let mark = format!("DEMOCTL_CLUSTER_DIR={}", self.root.path().display());
        let entries = fs::read_dir("/proc").expect("/proc can be read");
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environ.split(|byte| *byte == 0).any(|pair| pair.starts_with(mark.as_bytes()))
            })
            .map(|pid| (pid, fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")))
            .collect()
    }

    /// Waits for `condition`; panics with `what` when the deadline passes.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !condition(self) {
            assert!(Instant::now() < end, "{what} did not happen; processes: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The text with this test's directory and pids left out.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&self.root.path().display().to_string(), "[ROOT]")
    }
}

impl Drop for TestEnvironment {
    fn drop(&mut self) {
        let outcome = self.run(&["cleanup", "--all", "--yes"]);
        let left = self.processes();
        for (pid, _) in &left {
            kill(*pid);
        }
        if std::thread::panicking() {
            return;
        }
        assert_eq!(outcome.code, Some(0), "cleanup: {}", outcome.stderr);
        assert!(left.is_empty(), "processes are left: {left:?}");
        let names = fs::read_dir(self.path("home/environments")).map_or(0, Iterator::count);
        assert_eq!(names, 0, "environments are left");
    }
}

/// Ends a process as a crash would.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Ends a started command as a crash would.
pub(crate) fn kill_child(child: &mut Child) {
    child.kill().expect("the process is ours");
    child.wait().expect("the process is ours");
}

pub(crate) fn finish(mut command: Command) -> Outcome {
    let output = command.output().expect("the binary starts");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Whether the app at an address answers.
pub(crate) fn serves(address: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let host = Path::new(address.trim_start_matches("http://")).display().to_string();
    let Ok(mut stream) = std::net::TcpStream::connect(&host) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let request = format!("GET /api/customers HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}
