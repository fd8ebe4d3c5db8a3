//! k6 as the load engine: its process, from the script to the result.
//!
//! The script is [`democtl_core::render::k6`]'s. k6 writes every sample as CSV to its standard output, which gives
//! progress and figures; thresholds are judged by k6 and read from its summary. When democtl dies, k6's next sample
//! meets a closed pipe and k6 ends too.

mod samples;
mod summary;

use std::{
    ffi::OsStr,
    io::{self, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use democtl_core::{render::k6 as script, suite::Test, verdict::TestResult};
use democtl_loadgen::Plan;
use rustix::process::{Pid, Signal, kill_process_group};
use samples::Samples;
use tokio::task::JoinHandle;

use super::Job;
use crate::failure::{Failure, Kind, OrFail as _};

/// Looked up on PATH.
pub const PROGRAM: &str = "k6";

/// k6's exit code when a threshold failed: a finding, not an error.
const THRESHOLDS_FAILED: i32 = 99;
/// How long k6 may take to start, to end by itself after the last iteration, and to end when it is asked to.
const START_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How much of k6's standard error an error shows.
const TAIL_LINES: usize = 8;

/// Refuses when there is no k6.
pub async fn preflight(program: impl AsRef<OsStr>) -> Result<(), Failure> {
    let program = program.as_ref().to_owned();
    let version = duct::cmd(&program, ["version"]).stdin_null().stdout_capture().stderr_capture();
    let outcome = tokio::task::spawn_blocking(move || version.run()).await.map_err(anyhow::Error::from)?;
    outcome.map(drop).map_err(|error| missing(&program, error))
}

fn missing(program: &OsStr, error: io::Error) -> Failure {
    let what = format!("engine k6 needs the program {}, which does not run", program.display());
    Failure::new(Kind::Preflight, anyhow::Error::from(error).context(what))
        .hint("install k6 (https://grafana.com/docs/k6/latest/set-up/install-k6/), or use --engine builtin")
}

/// Runs one test by `program`.
pub async fn run(program: impl AsRef<OsStr>, job: Job<'_>) -> Result<TestResult, Failure> {
    let files = Files::write(&job)?;
    let mut process = Process::start(program.as_ref(), &files, &job)?;
    let ended = process.watch(&job).await;
    let status = ended.map_err(|failure| files.explain(failure))?;
    if job.cancel.is_cancelled() {
        return Err(Failure::msg(Kind::Cancelled, format!("test {} was cancelled", job.test.name)));
    }
    if !matches!(status.code(), Some(0 | THRESHOLDS_FAILED)) {
        let what = format!("k6 could not run test {} ({status})", job.test.name);
        return Err(files.explain(Failure::msg(Kind::Infrastructure, what)));
    }
    let text = std::fs::read(&files.summary)
        .or_fail(Kind::Infrastructure, || format!("k6 left no summary of test {}", job.test.name))
        .map_err(|failure| files.explain(failure))?;
    let samples = process.samples.lock().unwrap_or_else(PoisonError::into_inner);
    summary::result(job.test, &text, &samples, status.code() == Some(THRESHOLDS_FAILED))
        .or_fail(Kind::Infrastructure, || format!("k6's summary of test {} cannot be used", job.test.name))
}

/// What goes into k6 and comes out of it, in the run's directory.
struct Files {
    script: PathBuf,
    summary: PathBuf,
    log: PathBuf,
}

impl Files {
    fn write(job: &Job<'_>) -> Result<Self, Failure> {
        let of = |what: &str| job.dir.join(format!("k6-{}.{what}", job.test.name));
        let files = Self { script: of("js"), summary: of("json"), log: of("log") };
        std::fs::write(&files.script, script::script(job.test, job.speed))
            .or_fail(Kind::Other, || format!("cannot write {}", files.script.display()))?;
        Ok(files)
    }

    /// Adds what k6 said last.
    fn explain(&self, failure: Failure) -> Failure {
        let said = std::fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        if tail.is_empty() {
            return failure;
        }
        failure.hint(format!("k6 said, at the end of {}:\n  {}", self.log.display(), tail.join("\n  ")))
    }
}

/// k6 and what it has told so far.
struct Process {
    group: Option<Pid>,
    samples: Arc<Mutex<Samples>>,
    reading: JoinHandle<io::Result<ExitStatus>>,
}

impl Process {
    fn start(program: &OsStr, files: &Files, job: &Job<'_>) -> Result<Self, Failure> {
        let reader = command(program, files, job).reader().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => missing(program, error),
            _ => Failure::new(Kind::Infrastructure, anyhow::Error::from(error).context("cannot start k6")),
        })?;
        let group = reader.pids().first().and_then(|pid| Pid::from_raw(*pid as i32));
        let samples = Arc::new(Mutex::new(Samples::new(job.test.journey.len())));
        let shared = Arc::clone(&samples);
        let reading = tokio::task::spawn_blocking(move || {
            let read = samples::read(BufReader::new(&reader), &shared);
            if read.is_err() {
                reader.kill()?;
            }
            read?;
            let output = reader.try_wait()?.ok_or_else(|| io::Error::other("k6 closed its output and still runs"))?;
            Ok(output.status)
        });
        Ok(Self { group, samples, reading })
    }

    /// Tells progress until k6 has ended; cancels it, and ends one that does not end by itself.
    async fn watch(&mut self, job: &Job<'_>) -> Result<ExitStatus, Failure> {
        let begun = Instant::now();
        let plan = Plan::new(&job.test.executor, job.speed);
        let graceful = job.test.graceful_stop.div_f64(job.speed);
        let mut deadline = begun + plan.length() + graceful + START_DEADLINE;
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        let mut asked = false;
        loop {
            tokio::select! {
                ended = &mut self.reading => {
                    let ended = ended.map_err(anyhow::Error::from)?;
                    return ended.or_fail(Kind::Infrastructure, || unreadable(job.test));
                }
                () = job.cancel.cancelled(), if !asked => {
                    asked = true;
                    deadline = Instant::now() + STOP_DEADLINE;
                    self.signal(Signal::INT);
                }
                _ = ticks.tick() => {
                    if Instant::now() > deadline {
                        self.signal(Signal::KILL);
                    }
                    let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                    job.progress.send_replace(samples.progress(&plan, begun.elapsed()));
                }
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may have ended in between, which the reader tells.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reading.is_finished() {
            self.signal(Signal::KILL);
        }
    }
}

fn unreadable(test: &Test) -> String {
    format!("the samples of k6 in test {} cannot be read", test.name)
}

fn command(program: &OsStr, files: &Files, job: &Job<'_>) -> duct::Expression {
    let variable = |name: &str, value: &str| format!("{name}={value}");
    let summary = |path: &Path| variable(script::SUMMARY, &path.to_string_lossy());
    let arguments = [
        "run".into(),
        "--no-usage-report".into(),
        "--quiet".into(),
        "--out".into(),
        "csv=-".into(),
        // No control API: two runs would want the same port.
        "--address".into(),
        String::new(),
        "--env".into(),
        variable(script::BASE_URL, job.address.trim_end_matches('/')),
        "--env".into(),
        // JavaScript's numbers are exact up to 2^53.
        variable(script::SEED, &(job.seed as u32).to_string()),
        "--env".into(),
        summary(&files.summary),
        files.script.to_string_lossy().into_owned(),
    ];
    duct::cmd(program, arguments)
        .env("K6_CSV_TIME_FORMAT", "unix")
        .env("K6_CSV_SAVE_INTERVAL", "200ms")
        .stdin_null()
        .stderr_path(&files.log)
        .unchecked()
        .before_spawn(|command| {
            // Ctrl-C at the terminal is democtl's to pass on.
            command.process_group(0);
            Ok(())
        })
}
