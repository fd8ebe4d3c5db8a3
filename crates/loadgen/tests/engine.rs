//! The engine against a server on loopback.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use democtl_core::{
    suite::{Executor, Request, Step, Test},
    verdict::Verdict,
};
use democtl_loadgen::{Options, run};
use http_body_util::Full;
use hyper::{Response, body::Bytes, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

/// A server that fails each `fail_every`-th request; yields its address and the number of connections that it took.
async fn server(fail_every: u64) -> (String, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    let connections = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&connections);
    let requests = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let requests = Arc::clone(&requests);
            let service = service_fn(move |_| {
                let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
                let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"stored\"}")));
                if number.is_multiple_of(fail_every) {
                    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                    response.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
                }
                response.headers_mut().insert("location", http::HeaderValue::from_static("/api/customers/1"));
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            tokio::spawn(async move {
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, connections)
}

fn test(vus: u32, milliseconds: u64, journey: Vec<Step>, thresholds: &[&str]) -> Test {
    Test {
        name: "t".into(),
        executor: Executor::ConstantVus { vus, duration: Duration::from_millis(milliseconds) },
        journey,
        thresholds: thresholds.iter().map(|text| text.parse().expect("a threshold")).collect(),
        graceful_stop: Duration::from_secs(30),
    }
}

fn request(name: &str) -> Step {
    Step::Request(Request {
        name: name.into(),
        method: "POST".into(),
        path: "/api/customers".into(),
        body: Some(r#"{"name":"${vu}-${iter}"}"#.into()),
        expect: vec![],
    })
}

fn think(milliseconds: u64) -> Step {
    let time = Duration::from_millis(milliseconds);
    Step::Think { min: time, max: time }
}

fn options(base_url: &str) -> Options {
    Options { base_url: base_url.into(), speed: 1.0, seed: 1, progress: None, cancel: CancellationToken::new() }
}

#[tokio::test]
async fn failures_are_counted_and_judged() {
    let (address, _) = server(4).await;
    let journey = vec![request("create"), think(5)];
    let test = test(4, 300, journey, &["http_req_failed: rate<0.1", "http_req_duration: p(95)<10000"]);
    let result = run(&test, options(&address)).await.expect("it runs");
    assert_eq!(result.verdict, Verdict::Fail);
    assert_eq!(result.thresholds[0].verdict, Verdict::Fail);
    assert_eq!(result.thresholds[1].verdict, Verdict::Pass);
    assert_eq!(result.total.failed, result.total.requests / 4);
    assert_eq!(result.steps[0].1.requests, result.total.requests);
    assert_eq!(result.seconds.iter().map(|second| second.requests).sum::<u64>(), result.total.requests);
    assert_eq!(result.iterations, result.total.requests, "each iteration is one request and none was cut off");
}

#[tokio::test]
async fn a_vu_keeps_its_connection() {
    let (address, connections) = server(u64::MAX).await;
    let result = run(&test(3, 200, vec![request("create"), think(2)], &[]), options(&address)).await.expect("it runs");
    assert!(result.total.requests > 3);
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn polling_ends_when_the_field_is_as_wanted() {
    let (address, _) = server(u64::MAX).await;
    let poll = Step::PollUntil {
        name: "stored".into(),
        field: "status".into(),
        equals: "stored".into(),
        interval: Duration::from_millis(1),
        timeout: Duration::from_secs(60),
    };
    let test = test(1, 50, vec![request("create"), poll, think(5)], &["checks: rate==1"]);
    let result = run(&test, options(&address)).await.expect("it runs");
    assert_eq!(result.verdict, Verdict::Pass);
    let names: Vec<_> = result.steps.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["create", "stored"]);
    assert_eq!(result.steps[0].1.requests, result.steps[1].1.requests);
}

#[tokio::test]
async fn nobody_listening_is_a_finding() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let test = test(1, 30, vec![request("create"), think(5)], &["http_req_failed: rate<0.05"]);
    let result = run(&test, options(&format!("http://{free}"))).await.expect("it runs");
    assert_eq!(result.verdict, Verdict::Fail);
    assert!(result.total.requests > 0 && result.total.failed == result.total.requests);
}

#[tokio::test]
async fn an_address_that_is_none_is_an_error() {
    for address in ["", "127.0.0.1:80", "ftp://x", "http://x/path"] {
        let error = run(&test(1, 1, vec![], &[]), options(address)).await.expect_err("not an address");
        assert_eq!(error.to_string(), format!("{address:?} is not an address such as http://127.0.0.1:8080"));
    }
}

#[tokio::test]
async fn an_iteration_that_does_not_end_is_interrupted() {
    let (address, _) = server(u64::MAX).await;
    let mut test = test(2, 50, vec![request("create"), think(3_600_000)], &[]);
    test.graceful_stop = Duration::from_millis(20);
    let result = run(&test, options(&address)).await.expect("it runs");
    assert_eq!((result.iterations, result.iterations_interrupted), (0, 2));
}
