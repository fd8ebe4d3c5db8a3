//! One execution of a suite against an environment that is up: tests in order, observation beside them, a summary.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use democtl_core::{
    capacity, caveats,
    event::{Event, Fact},
    profile::Profile,
    sim,
    suite::Test,
    verdict::{TestResult, Verdict},
};
use tokio::sync::broadcast::Receiver;
use tokio_util::sync::CancellationToken;

use crate::{
    demo_app::DemoApp,
    environment::{Environment, Request, write_whole},
    failure::{Failure, Kind, OrFail as _},
    load::{self, Engine},
    observe::{Counts, Moment, Observer, Recorder, Subject},
    report::summary::{Cost, RunSummary, TestSummary},
    target::Target,
    ui::{self, Style, progress::TestProgress},
};

/// What is not measured on the local target.
const MODELLED: &str =
    "CPU and memory are modelled by request as the profile says; latencies and failures are measured";

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which load engine.
    pub engine: Engine,
    /// Only these tests; all when empty.
    pub tests: Vec<String>,
    /// Watch until everything has returned to the baseline.
    pub settle: bool,
    /// How progress looks.
    pub style: Style,
}

/// An environment that is up, with what a run needs to know of it.
#[derive(Debug)]
pub struct Session {
    /// The environment.
    pub environment: Environment,
    /// What was asked for at setup.
    pub request: Request,
    /// What is observed.
    pub subject: Subject,
}

/// Runs the suite; the run directory holds everything that a report needs.
pub async fn run(session: &Session, options: &Options, cancel: &CancellationToken) -> Result<RunSummary, Failure> {
    let profile = Arc::clone(&session.subject.profile);
    let tests = profile.suite.select(&options.tests)?;
    let dir = make_run_dir(&session.environment)?;
    // What was asked for lies beside what came of it: a run directory explains itself wherever it is taken.
    write_json(&dir.join(crate::environment::REQUEST_FILE), &session.request)?;
    let recorder = Recorder::new(Some(&dir), session.request.speed)
        .or_fail(Kind::Other, || format!("cannot write into {}", dir.display()))?;
    // A run counts its own customers: the store and the queue start empty.
    let app = DemoApp::default();
    let address = &session.subject.address;
    app.reset(address).await.or_fail(Kind::Infrastructure, || format!("the app at {address} does not take a reset"))?;
    let observer = Observer::start(&session.subject, &recorder);
    tokio::select! {
        () = wait_for_baseline(&recorder, &profile, session.request.speed) => {}
        () = cancel.cancelled() => return Err(cancelled(session, &recorder)),
    }
    recorder.record(Fact::RunStarted {
        environment: session.environment.name.clone(),
        profile: profile.name.clone(),
        speed: session.request.speed,
    });
    let before = recorder.moment();
    if let Some(begun) = caveats::beginning(&profile, &before.now) {
        ui::note(&format!(
            "warning: {begun}\nhint: run when it is back, which democtl status shows; --settle lets a run wait for that at its end"
        ));
    }
    let mut events = recorder.subscribe();
    let mut results = Vec::new();
    for test in tests {
        results.push(run_test(session, test, options, &recorder, &mut events, &dir, cancel).await?);
        write_json(&dir.join("tests.json"), &results)?;
        drain_queue(&app, session, &recorder, &mut events, cancel).await?;
    }
    let passed = results.iter().all(|result| result.verdict == Verdict::Pass);
    recorder.record(Fact::RunFinished { passed });
    let settled = if options.settle { settle(session, &recorder, &before.now, options, cancel).await? } else { None };
    let after = recorder.moment();
    observer.stop().await;
    let summary = summarise(session, &results, &before, &after, settled, options.engine, &dir);
    write_json(&dir.join("summary.json"), &summary)?;
    Ok(summary)
}

fn make_run_dir(environment: &Environment) -> Result<PathBuf, Failure> {
    let id = chrono::Utc::now().format("%Y%m%dT%H%M%S%.3fZ").to_string();
    let dir = environment.runs_dir().join(id);
    std::fs::create_dir_all(&dir).or_fail(Kind::Other, || format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(value).map_err(anyhow::Error::from)?;
    write_whole(path, &text).or_fail(Kind::Other, || format!("cannot write {}", path.display()))
}

/// How often what is waited for is looked at.
const TICK: Duration = Duration::from_millis(10);

/// The first lists of the watches have been taken in once nodes and pods are known.
pub async fn wait_until_known(recorder: &Recorder) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let known = |now: &Counts| now.nodes > 0 && !now.pods.is_empty();
    while Instant::now() < deadline && !known(&recorder.moment().now) {
        tokio::time::sleep(TICK).await;
    }
}

/// Every workload has the replicas that the profile starts with: an autoscaler raises a new Deployment to its minimum only
/// at its first sync, and what then fits on no node waits for a machine. Pods that none can hold are not waited for long.
async fn wait_for_baseline(recorder: &Recorder, profile: &Profile, speed: f64) {
    let patience = Duration::from_secs(5) + Duration::from_secs(45).div_f64(speed);
    // A machine becomes a node within this, or never.
    let boot = profile.autoscaler.as_ref().map_or(Duration::ZERO, |autoscaler| autoscaler.max_node_provision_time);
    let last = Instant::now() + patience + boot.div_f64(speed);
    let mut deadline = Instant::now() + patience;
    // Machines may have been asked for before anybody watched.
    let needed = capacity::needed(profile, |workload| workload.replicas).total();
    let mut told = false;
    loop {
        let moment = recorder.moment();
        let ready = |name: &str| moment.now.pods.get(name).copied().unwrap_or(0);
        let all = profile.workloads.iter().all(|workload| ready(&workload.name) >= workload.replicas as i32);
        if moment.now.nodes > 0 && all || Instant::now() >= deadline {
            return;
        }
        if moment.now.nodes > 0 && (moment.starting() > 0 || moment.now.nodes < needed as i32) {
            deadline = last.min(Instant::now() + patience);
            if !told {
                ui::note("  the least replicas do not fit yet: waiting for machines that boot");
                told = true;
            }
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn run_test(
    session: &Session,
    test: &Test,
    options: &Options,
    recorder: &Recorder,
    events: &mut Receiver<Event>,
    dir: &Path,
    cancel: &CancellationToken,
) -> Result<TestResult, Failure> {
    let speed = session.request.speed;
    let mut bar = TestProgress::new(options.style, &test.name, test.length().div_f64(speed));
    recorder.record(Fact::TestStarted { test: test.name.clone() });
    let (sender, mut progress) = tokio::sync::watch::channel(democtl_loadgen::Progress::default());
    let job = load::Job {
        test,
        address: &session.subject.address,
        speed,
        seed: session.request.seed,
        dir,
        progress: sender,
        cancel: cancel.clone(),
    };
    let load = load::run(options.engine, job);
    tokio::pin!(load);
    let result = loop {
        tokio::select! {
            result = &mut load => break result,
            Ok(()) = progress.changed() => bar.update(&progress.borrow_and_update()),
            Ok(event) = events.recv() => ui::progress::event(Some(&bar), &event),
        }
    };
    if cancel.is_cancelled() {
        bar.finish();
        return Err(cancelled(session, recorder));
    }
    let result = result?;
    recorder.record(Fact::TestFinished { test: test.name.clone(), passed: result.verdict == Verdict::Pass });
    while let Ok(event) = events.try_recv() {
        ui::progress::event(Some(&bar), &event);
    }
    bar.finish();
    ui::note(&crate::report::human::test_line(&TestSummary::of(&result), options.style));
    Ok(result)
}

fn cancelled(session: &Session, recorder: &Recorder) -> Failure {
    recorder.record(Fact::RunCancelled);
    Failure::msg(Kind::Cancelled, "cancelled").hint(format!(
        "environment {0} still runs: democtl run-tests --name {0}, or democtl cleanup --name {0}",
        session.environment.name
    ))
}

/// A run is over only when the queue is empty: what a test left behind belongs to it, not to the next one.
async fn drain_queue(
    app: &DemoApp,
    session: &Session,
    recorder: &Recorder,
    events: &mut Receiver<Event>,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let subject = &session.subject;
    let deadline = Instant::now() + Duration::from_secs(3600).div_f64(subject.speed);
    loop {
        let is_empty = app.status(&subject.address).await.is_ok_and(|status| status.unfinished() == 0);
        while let Ok(event) = events.try_recv() {
            ui::progress::event(None, &event);
        }
        if is_empty {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::msg(Kind::Infrastructure, "the queue did not empty within an hour after the test"));
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(cancelled(session, recorder)),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
}

/// Watches until nodes and pods are what they were before; yields the profile seconds that it took.
async fn settle(
    session: &Session,
    recorder: &Recorder,
    baseline: &Counts,
    options: &Options,
    cancel: &CancellationToken,
) -> Result<Option<f64>, Failure> {
    let begun = recorder.at_s();
    let limit = sim::settle_limit(&session.subject.profile).as_secs_f64();
    let mut events = recorder.subscribe();
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    if options.style.bars || recorder.moment().now != *baseline {
        ui::note("  back to the baseline:");
    }
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Err(cancelled(session, recorder)),
            Ok(event) = events.recv() => ui::progress::event(None, &event),
            _ = ticks.tick() => {
                let Moment { at_s, now, billed, .. } = recorder.moment();
                if now == *baseline && billed.values().sum::<u32>() as i32 == baseline.nodes {
                    return Ok(Some(at_s - begun));
                }
                if at_s - begun > limit {
                    return Ok(None);
                }
            }
        }
    }
}

fn summarise(
    session: &Session,
    results: &[TestResult],
    before: &Moment,
    after: &Moment,
    settled_s: Option<f64>,
    engine: Engine,
    dir: &Path,
) -> RunSummary {
    let profile = &session.subject.profile;
    let passed = results.iter().all(|result| result.verdict == Verdict::Pass);
    let modelled = (session.request.target == Target::Local).then(|| MODELLED.to_owned());
    RunSummary {
        environment: session.environment.name.clone(),
        profile: profile.name.clone(),
        target: session.request.target.to_string(),
        speed: session.request.speed,
        seed: session.request.seed,
        engine: engine.to_string(),
        verdict: if passed { Verdict::Pass } else { Verdict::Fail },
        tests: results.iter().map(TestSummary::of).collect(),
        baseline: before.now.clone(),
        peak: after.peak.clone(),
        r#final: after.now.clone(),
        settled_s,
        scaling_events: after.scaling_events,
        unschedulable: after.unschedulable.clone(),
        cost: Cost::of(profile, after),
        notes: caveats::beginning(profile, &before.now).into_iter().chain(modelled).collect(),
        directory: dir.display().to_string(),
    }
}
