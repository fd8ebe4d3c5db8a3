//! The built-in load engine: runs one test of a suite against a base address, with the semantics of k6 1.x.
//!
//! Owns executors, virtual users and figures; what a test is belongs to [`democtl_core::suite`]. Real HTTP/1.1 over TCP,
//! one keep-alive connection for each VU, as k6 has it. `speed` divides the durations of the executor, never a think
//! time or a request.

mod client;
mod figures;
mod vu;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use democtl_core::{draws::Pauses, suite::Test, verdict::TestResult};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use democtl_core::{
    figures::{Tally, evaluate},
    plan::Plan,
};

/// How to run a test.
#[derive(Debug)]
pub struct Options {
    /// `http://HOST:PORT`, without a path.
    pub base_url: String,
    /// Durations of stages are divided by this.
    pub speed: f64,
    /// Seed of think times.
    pub seed: u64,
    /// Where progress is told, a few times a second.
    pub progress: Option<watch::Sender<Progress>>,
    /// Ends the test early; what was measured by then is the result.
    pub cancel: CancellationToken,
}

/// Where a test stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Real time since its start.
    pub elapsed: Duration,
    /// Active VUs.
    pub vus: u32,
    /// Requests per second over the last second.
    pub rps: f64,
    /// Share of failed requests so far, 0 to 1.
    pub failed_rate: f64,
    /// 95th percentile so far, milliseconds.
    pub p95_ms: f64,
    /// Stage, such as `stage 2/5`; empty for a constant executor.
    pub stage: String,
}

/// Why a test could not be run. A server that answers badly or not at all is a finding, not an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base address is not one.
    #[error("{0:?} is not an address such as http://127.0.0.1:8080")]
    Address(String),
    /// The address does not resolve.
    #[error("{host} does not resolve")]
    Resolve {
        /// `HOST:PORT`.
        host: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs a test to its end and gives its figures.
pub async fn run(test: &Test, options: Options) -> Result<TestResult, Error> {
    let target = Arc::new(client::Target::resolve(&options.base_url).await?);
    let plan = Plan::new(&test.executor, options.speed);
    let recorder = Arc::new(figures::Recorder::new(test));
    let journey = Arc::new(test.journey.clone());
    let begun = Instant::now();
    let mut controls = Vec::new();
    let mut vus = JoinSet::new();
    let sequence = Arc::new(std::sync::atomic::AtomicU64::new(0));
    for number in 1..=plan.most_vus() {
        let (control, state) = watch::channel(vu::Phase::Idle);
        controls.push(control);
        let vu = vu::Vu {
            number,
            journey: Arc::clone(&journey),
            client: client::Client::new(Arc::clone(&target)),
            recorder: Arc::clone(&recorder),
            sequence: Arc::clone(&sequence),
            pauses: Pauses::new(options.seed, &test.name, number),
        };
        vus.spawn(vu.run(state));
    }
    let drive = drive(&plan, begun, &controls, &recorder, options.progress.as_ref());
    tokio::select! {
        () = drive => {
            let last = tokio::time::Instant::now() + test.graceful_stop.div_f64(options.speed);
            for control in &controls {
                vu::finish(control, last);
            }
        }
        () = options.cancel.cancelled() => {
            let now = tokio::time::Instant::now();
            for control in &controls {
                vu::finish(control, now);
            }
        }
    }
    drop(controls);
    while vus.join_next().await.is_some() {}
    Ok(recorder.result(test, begun.elapsed()))
}

/// Starts and stops VUs as the plan says until its end.
async fn drive(
    plan: &Plan,
    begun: Instant,
    controls: &[watch::Sender<vu::Phase>],
    recorder: &figures::Recorder,
    progress: Option<&watch::Sender<Progress>>,
) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut active = 0;
    let mut told = Duration::ZERO;
    loop {
        ticks.tick().await;
        let elapsed = begun.elapsed();
        if elapsed >= plan.length() {
            return;
        }
        let wanted = plan.vus_at(elapsed);
        if wanted != active {
            let last = tokio::time::Instant::now() + plan.graceful_ramp_down();
            for (index, control) in controls.iter().enumerate() {
                match (index < active as usize, index < wanted as usize) {
                    (false, true) => vu::start(control),
                    (true, false) => vu::finish(control, last),
                    _ => {}
                }
            }
            active = wanted;
        }
        recorder.active_vus(elapsed, active);
        if let Some(progress) = progress
            && elapsed >= told
        {
            told = elapsed + Duration::from_millis(200);
            progress.send_replace(recorder.progress(elapsed, active, plan.stage_at(elapsed)));
        }
    }
}
