//! k6 as the engine: fakes that write what k6 writes and ones that misbehave, then k6 itself where it is found.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use democtl::{
    failure::{Failure, Kind},
    load::{self, Engine, Job, k6},
};
use democtl_core::{
    suite::{Executor, Request, Stage, Step, Test},
    verdict::{TestResult, Verdict},
};
use democtl_loadgen::Progress;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

const HEADER: &str = "metric_name,timestamp,metric_value,expected_response,extra_tags,metadata";

fn test(executor: Executor, thresholds: &[&str]) -> Test {
    let create = Step::Request(Request {
        name: "create".into(),
        method: "POST".into(),
        path: "/api/customers".into(),
        body: Some(r#"{"name":"${vu}-${iter}-${seq}"}"#.into()),
        expect: vec![202],
    });
    let stored = Step::PollUntil {
        name: "stored".into(),
        field: "status".into(),
        equals: "stored".into(),
        interval: Duration::from_millis(5),
        timeout: Duration::from_secs(5),
    };
    let think = Step::Think { min: Duration::from_millis(10), max: Duration::from_millis(30) };
    Test {
        name: "t".into(),
        executor,
        journey: vec![create, stored, think],
        thresholds: thresholds.iter().map(|text| text.parse().expect("a threshold")).collect(),
        graceful_stop: Duration::from_secs(30),
    }
}

fn constant() -> Executor {
    Executor::ConstantVus { vus: 4, duration: Duration::from_secs(2) }
}

async fn run(program: &Path, test: &Test, address: &str, cancel: &CancellationToken) -> Result<TestResult, Failure> {
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job {
        test,
        address,
        speed: 1.0,
        seed: 1,
        dir: dir.path(),
        progress: watch::channel(Progress::default()).0,
        cancel: cancel.clone(),
    };
    k6::run(program, job).await
}

/// A program that does `body`, with the file of the summary in `$summary`.
fn fake(dir: &Path, body: &str) -> PathBuf {
    let path = dir.join("k6");
    let find = r#"for a in "$@"; do case $a in SUMMARY=*) summary=${a#SUMMARY=};; esac; done"#;
    std::fs::write(&path, format!("#!/bin/sh\n{find}\n{body}\n")).expect("it is written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it may be run");
    path
}

async fn faked(body: &str) -> Result<TestResult, Failure> {
    let dir = tempfile::tempdir().expect("a directory");
    let test = test(constant(), &["http_req_failed: rate<0.5"]);
    run(&fake(dir.path(), body), &test, "http://127.0.0.1:1", &CancellationToken::new()).await
}

fn writes(rows: &str, summary: &str, exit: i32) -> String {
    format!("cat <<'END'\n{HEADER}\n{rows}\nEND\ncat > \"$summary\" <<'END'\n{summary}\nEND\nexit {exit}")
}

const ROWS: &str = "vus,100,4.0,,,\nhttp_req_duration,100,10.0,true,step=0,\nhttp_req_duration,101,30.0,false,step=1,";

fn summary(requests: u32, ok: bool) -> String {
    format!(
        r#"{{"state":{{"testRunDurationMs":2000}},"metrics":{{
        "http_reqs":{{"values":{{"count":{requests},"rate":1}}}},
        "http_req_failed":{{"values":{{"rate":0.5}},"thresholds":{{"rate<0.5":{{"ok":{ok}}}}}}},
        "iterations":{{"values":{{"count":1}}}},"iterations_started":{{"values":{{"count":3}}}},
        "checks":{{"values":{{"passes":2,"fails":1}}}}}}}}"#
    )
}

#[tokio::test]
async fn a_failed_threshold_is_a_result() {
    let result = faked(&writes(ROWS, &summary(2, false), 99)).await.expect("99 is a finding");
    assert_eq!((result.verdict, result.thresholds[0].verdict), (Verdict::Fail, Verdict::Fail));
    assert_eq!((result.total.requests, result.total.failed, result.vus_max), (2, 1, 4));
    assert_eq!((result.iterations, result.iterations_interrupted), (1, 2));
    assert_eq!((result.checks_passed, result.checks_failed, result.seconds.len()), (2, 1, 2));
    let steps: Vec<_> = result.steps.iter().map(|(name, figures)| (name.as_str(), figures.failed)).collect();
    assert_eq!(steps, [("create", 0), ("stored", 1)]);
}

#[tokio::test]
async fn a_k6_that_misbehaves_is_an_error_that_says_how() {
    let cases = [
        ("echo 'level=error msg=\"no such option\"' >&2; exit 107".to_owned(), "no such option"),
        ("kill -9 $$".to_owned(), "signal: 9"),
        ("echo garbage; sleep 60".to_owned(), "\"garbage\" is not the header of k6's samples"),
        (writes("http_req_duration,100,fast,true,step=0,", "", 0), "is not a sample of k6"),
        (writes(ROWS, "not json", 0), "it is not JSON"),
        (format!("echo '{HEADER}'"), "k6 left no summary of test t"),
        (writes(ROWS, &summary(3, true), 0), "it counts 3 requests, but 2 were told of"),
        (writes(ROWS, &summary(2, true), 99), "its thresholds held, but k6's exit code says otherwise"),
    ];
    for (body, said) in cases {
        let failure = faked(&body).await.expect_err(said);
        assert_eq!(failure.kind(), Kind::Infrastructure, "{failure}");
        assert!(failure.to_string().contains(said), "{failure} does not say {said:?}");
    }
}

#[tokio::test]
async fn no_k6_is_refused_with_a_hint() {
    let dir = tempfile::tempdir().expect("a directory");
    let failure = k6::preflight(dir.path().join("k6")).await.expect_err("there is none");
    assert_eq!(failure.kind(), Kind::Preflight);
    assert!(failure.to_string().contains("--engine builtin"), "{failure}");
    let test = test(constant(), &[]);
    let failure = run(&dir.path().join("k6"), &test, "http://127.0.0.1:1", &CancellationToken::new()).await;
    assert_eq!(failure.expect_err("there is none").kind(), Kind::Preflight);
}

#[tokio::test]
async fn cancelling_interrupts_k6_and_waits_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (ready, mark) = (dir.path().join("ready"), dir.path().join("interrupted"));
    // Only what the shell does itself: a child that the signal also reaches may take the shell with it.
    let body = format!("trap ': >{}; exit 105' INT\n: >{}\nwhile :; do :; done", mark.display(), ready.display());
    let program = fake(dir.path(), &body);
    let cancel = CancellationToken::new();
    let stop = async {
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while !ready.exists() && std::time::Instant::now() < until {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let test = test(constant(), &[]);
    let (result, ()) = tokio::join!(run(&program, &test, "http://127.0.0.1:1", &cancel), stop);
    assert_eq!(result.expect_err("it was cancelled").kind(), Kind::Cancelled);
    assert!(mark.exists(), "k6 was told by SIGINT");
}

/// The k6 on PATH, or where `.ci/setup` puts it.
fn real() -> Option<PathBuf> {
    let cached = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/democtl-test/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).chain(cached).map(|dir| dir.join("k6")).find(|file| file.is_file());
    let required = std::env::var("DEMOCTL_TEST_REQUIRE").is_ok_and(|list| list.contains("k6"));
    assert!(found.is_some() || !required, "k6 is required and not found");
    #[expect(clippy::print_stderr, reason = "a test that is not run says so")]
    if found.is_none() {
        eprintln!("not run: k6 is not found");
    }
    found
}

/// Answers writes by 202 and a Location, reads by their state; after 20 ms. Each fourth write is refused.
async fn server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        let writes = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        while let Ok((mut stream, _)) = listener.accept().await {
            let writes = std::sync::Arc::clone(&writes);
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                // A request of these engines comes in one piece or two; its body, if any, ends in a brace.
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    let post = text.starts_with("POST");
                    if !post && !text.starts_with("GET") || post && !text.ends_with('}') {
                        continue;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let body = r#"{"status":"stored"}"#;
                    let refused = post && writes.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 4 == 3;
                    let status = if refused {
                        "503 Busy"
                    } else if post {
                        "202 Accepted"
                    } else {
                        "200 OK"
                    };
                    let place = if post && !refused { "Location: /api/customers/1\r\n" } else { "" };
                    let length = body.len();
                    let answer = format!("HTTP/1.1 {status}\r\n{place}Content-Length: {length}\r\n\r\n{body}");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn k6_itself_gives_what_the_builtin_engine_gives() {
    let Some(program) = real() else { return };
    k6::preflight(&program).await.expect("it runs");
    let address = server().await;
    let stages = [(500, 5), (1500, 5), (500, 0)];
    let stages = stages.map(|(millis, target)| Stage { duration: Duration::from_millis(millis), target });
    let thresholds = ["http_req_failed: rate<0.05", "http_req_duration: p(95)<1000", "checks: rate>0.5"];
    let executor =
        Executor::RampingVus { start_vus: 1, stages: stages.into(), graceful_ramp_down: Duration::from_secs(30) };
    let test = test(executor, &thresholds);
    let by_k6 = run(&program, &test, &address, &CancellationToken::new()).await.expect("k6 runs it");
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job {
        test: &test,
        address: &address,
        speed: 1.0,
        seed: 1,
        dir: dir.path(),
        progress: watch::channel(Progress::default()).0,
        cancel: CancellationToken::new(),
    };
    let builtin = load::run(Engine::Builtin, job).await.expect("it runs");
    let verdicts = |result: &TestResult| result.thresholds.iter().map(|t| t.verdict).collect::<Vec<_>>();
    assert_eq!(verdicts(&by_k6), [Verdict::Fail, Verdict::Pass, Verdict::Pass]);
    assert_eq!(verdicts(&builtin), verdicts(&by_k6));
    for result in [&by_k6, &builtin] {
        assert!(result.total.requests > 50, "{}: {}", result.engine, result.total.requests);
        assert!((0.1..0.2).contains(&result.total.failed_rate), "{}: {}", result.engine, result.total.failed_rate);
        assert_eq!(result.steps[1].1.failed, 0, "{}", result.engine);
        assert_eq!(result.steps[0].1.requests, result.iterations, "{}", result.engine);
        assert_eq!(result.seconds.iter().map(|second| second.requests).sum::<u64>(), result.total.requests);
        assert!((20.0..200.0).contains(&result.total.p50_ms), "{}: {}", result.engine, result.total.p50_ms);
    }
}
