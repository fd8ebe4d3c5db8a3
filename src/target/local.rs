//! The local target: a background process (`democtl local-cluster`) that is the whole cluster.
//!
//! The process is known by the lock that it holds on its directory and by the pid it wrote there; its children carry
//! the directory in their environment, so that a scan of `/proc` finds what a crash has left.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use democtl_core::{profile::Profile, render};
use rustix::process::{Pid, Signal, kill_process};

use super::State;
use crate::{
    environment::{Environment, Request, write_whole},
    failure::{Failure, Kind, OrFail as _},
};

/// Names the cluster's directory in the environment of everything that the cluster starts.
pub const CLUSTER_DIR_VARIABLE: &str = "DEMOCTL_CLUSTER_DIR";

/// How long the background process may take to answer, and to end.
const START_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// The embedded cluster of one environment.
#[derive(Debug)]
pub struct Local {
    environment: Environment,
    dir: PathBuf,
}

impl Local {
    /// The local cluster that belongs to `environment`.
    pub fn new(environment: &Environment) -> Self {
        Self { environment: environment.clone(), dir: environment.dir.join("cluster") }
    }

    /// Starts the cluster unless it runs; yields the kubeconfig's path.
    pub async fn create(&self, request: &Request, profile: &Profile) -> Result<PathBuf, Failure> {
        let kubeconfig = self.environment.kubeconfig();
        if self.answers().await {
            return self.publish_kubeconfig(&kubeconfig);
        }
        self.end_leftovers().await?;
        fs::create_dir_all(&self.dir)
            .or_fail(Kind::Infrastructure, || format!("cannot make {}", self.dir.display()))?;
        let exe = std::env::current_exe().or_fail(Kind::Infrastructure, || "cannot find democtl itself".to_owned())?;
        let config = cluster_config(&self.environment.name, &self.dir, request, profile, exe.clone());
        let text = serde_json::to_vec_pretty(&config).map_err(anyhow::Error::from)?;
        write_whole(&self.dir.join("cluster.json"), &text)
            .or_fail(Kind::Infrastructure, || format!("cannot write into {}", self.dir.display()))?;
        let log_path = self.dir.join("cluster.log");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&log_path)
            .or_fail(Kind::Infrastructure, || format!("cannot write {}", log_path.display()))?;
        let mut child = background(&exe, &self.dir, log)
            .spawn()
            .or_fail(Kind::Infrastructure, || format!("cannot start {}", exe.display()))?;
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if self.answers().await {
                return self.publish_kubeconfig(&kubeconfig);
            }
            if let Some(status) = child.try_wait()? {
                return Err(self.died(&format!("the local cluster ended at its start ({status})"), &log_path));
            }
            if Instant::now() > deadline {
                let seconds = START_DEADLINE.as_secs();
                return Err(self.died(&format!("the local cluster did not answer within {seconds} s"), &log_path));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How the cluster stands.
    pub async fn describe(&self) -> State {
        if self.answers().await {
            let server = self.server().unwrap_or_default();
            return State::Running { server, pid: self.pid() };
        }
        if !self.dir.exists() {
            return State::Absent;
        }
        let reason = match self.pid() {
            Some(pid) if is_ours(pid, &self.dir) => format!("process {pid} runs but does not answer"),
            Some(pid) => format!("process {pid} has ended"),
            None => "it was never started fully".to_owned(),
        };
        State::Down { reason }
    }

    /// Ends the cluster and all that it started, then looks for what is left.
    pub async fn destroy(&self) -> Result<Vec<String>, Failure> {
        self.end_leftovers().await?;
        match fs::remove_dir_all(&self.dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).or_fail(Kind::Infrastructure, || format!("cannot remove {}", self.dir.display()));
            }
        }
        let mut left: Vec<String> =
            processes_of(&self.dir).into_iter().map(|pid| format!("process {pid} of {}", self.dir.display())).collect();
        if self.dir.exists() {
            left.push(format!("directory {}", self.dir.display()));
        }
        Ok(left)
    }

    async fn end_leftovers(&self) -> Result<(), Failure> {
        if let Some(pid) = self.pid().filter(|pid| is_ours(*pid, &self.dir)) {
            signal(pid, Signal::TERM);
            wait_until(STOP_DEADLINE, || !is_ours(pid, &self.dir)).await;
        }
        for pid in processes_of(&self.dir) {
            signal(pid, Signal::KILL);
        }
        if !wait_until(STOP_DEADLINE, || processes_of(&self.dir).is_empty()).await {
            return Err(Failure::msg(
                Kind::Infrastructure,
                format!("processes {:?} of {} do not end", processes_of(&self.dir), self.dir.display()),
            ));
        }
        Ok(())
    }

    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()
    }

    fn server(&self) -> Option<String> {
        let text = fs::read_to_string(self.dir.join("kubeconfig")).ok()?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("server:"))?;
        Some(line.trim().trim_matches('"').to_owned())
    }

    async fn answers(&self) -> bool {
        if !self.pid().is_some_and(|pid| is_ours(pid, &self.dir)) {
            return false;
        }
        let Ok(client) = crate::delivery::connect(&self.dir.join("kubeconfig")).await else { return false };
        tokio::time::timeout(Duration::from_secs(2), crate::delivery::ready(&client)).await.unwrap_or(false)
    }

    fn publish_kubeconfig(&self, to: &Path) -> Result<PathBuf, Failure> {
        let from = self.dir.join("kubeconfig");
        let content = fs::read(&from).or_fail(Kind::Infrastructure, || format!("cannot read {}", from.display()))?;
        if fs::read(to).ok().as_deref() != Some(&content) {
            write_whole(to, &content).or_fail(Kind::Infrastructure, || format!("cannot write {}", to.display()))?;
        }
        Ok(to.to_owned())
    }

    fn died(&self, what: &str, log: &Path) -> Failure {
        let text = fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<_> = text.lines().rev().take(5).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n    ");
        Failure::new(
            Kind::Infrastructure,
            anyhow::anyhow!("the last lines of its log:\n    {tail}").context(what.to_owned()),
        )
        .hint(format!("the whole log is {}", log.display()))
        .hint(format!("democtl cleanup --name {}", self.environment.name))
    }
}

fn background(exe: &Path, dir: &Path, log: fs::File) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(exe);
    command
        .arg("local-cluster")
        .arg("--dir")
        .arg(dir)
        .env(CLUSTER_DIR_VARIABLE, dir)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0);
    command
}

fn signal(pid: u32, signal: Signal) {
    // A process that has ended in the meantime is what was wanted.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

async fn wait_until(deadline: Duration, condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + deadline;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

/// Whether `pid` is a live process that belongs to the cluster in `dir`: a pid alone may be somebody else's by now.
fn is_ours(pid: u32, dir: &Path) -> bool {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let alive = fs::read_to_string(proc.join("stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')));
    if !alive {
        return false;
    }
    let wanted = format!("{CLUSTER_DIR_VARIABLE}={}", dir.display());
    fs::read(proc.join("environ"))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes()))
}

/// Every live process of any local cluster that can be seen, with the cluster's directory.
pub fn processes() -> Vec<(u32, PathBuf)> {
    use std::os::unix::ffi::OsStrExt as _;
    let mark = format!("{CLUSTER_DIR_VARIABLE}=");
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of = |pid: u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let dir = environ.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(mark.as_bytes()))?;
        let dir = PathBuf::from(std::ffi::OsStr::from_bytes(dir));
        is_ours(pid, &dir).then_some((pid, dir))
    };
    pids.filter_map(of).collect()
}

/// Every live process that belongs to the cluster in `dir`.
fn processes_of(dir: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id() && is_ours(*pid, dir))
        .collect()
}

fn cluster_config(
    name: &str,
    dir: &Path,
    request: &Request,
    profile: &Profile,
    exe: PathBuf,
) -> democtl_local::config::Config {
    democtl_local::config::Config {
        name: name.to_owned(),
        dir: dir.to_owned(),
        speed: request.speed,
        seed: request.seed,
        pools: render::node_pools(profile),
        autoscaler: profile.autoscaler.clone(),
        vm_delay: (profile.local.vm_delay_min, profile.local.vm_delay_max),
        app_exe: exe,
    }
}
