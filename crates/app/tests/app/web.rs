//! The HTTP API as a client sees it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::common::{Process, Redis, app, free_address, wait_for};

struct System {
    web: Process,
    address: SocketAddr,
    _redis: Process,
    redis_address: SocketAddr,
}

fn system(settings: &[(&str, &str)]) -> System {
    let (redis, redis_address) = Redis::Embedded.start();
    let address = free_address();
    let mut command = app("web");
    command
        .env("APP_BIND", address.to_string())
        .env("APP_REDIS_URL", format!("redis://{redis_address}"))
        .env("APP_WRITE_MS", "1")
        .env("APP_READ_ONE_MS", "1")
        .env("APP_READ_ALL_MS", "1")
        .envs(settings.iter().copied());
    let web = Process(command.spawn().expect("web starts"));
    wait_for("web to be ready", || TcpStream::connect(address).is_ok() && get(address, "/api/health/ready").0 == 200);
    System { web, address, _redis: redis, redis_address }
}

fn send(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("web listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer arrives");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("an HTTP status");
    (status, answer)
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    send(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
}

fn post(address: SocketAddr, body: &str) -> (u16, String) {
    let length = body.len();
    send(
        address,
        &format!(
            "POST /api/customers HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
    )
}

fn location(answer: &str) -> String {
    let line = answer.lines().find_map(|line| line.strip_prefix("location: ")).expect("a Location");
    line.trim().to_owned()
}

#[test]
fn a_write_is_accepted_pending_and_then_stored() {
    let system = system(&[]);
    let (status, answer) = post(system.address, r#"{"name":"Ann"}"#);
    assert_eq!(status, 202, "{answer}");
    let location = location(&answer);
    assert!(get(system.address, &location).1.contains(r#""status":"pending""#));
    let mut worker = app("worker");
    worker
        .env("APP_REDIS_URL", format!("redis://{}", system.redis_address))
        .env("APP_METRICS_BIND", free_address().to_string())
        .env("APP_BATCH_MS", "1");
    let _worker = Process(worker.spawn().expect("a worker starts"));
    wait_for("the customer to be stored", || get(system.address, &location).1.contains(r#""status":"stored""#));
    assert!(get(system.address, "/api/customers").1.contains("Ann"));
}

#[test]
fn the_direct_pattern_stores_before_it_answers() {
    let system = system(&[("APP_PATTERN", "direct")]);
    let (status, answer) = post(system.address, r#"{"name":"Bob"}"#);
    assert_eq!(status, 201, "{answer}");
    assert!(get(system.address, &location(&answer)).1.contains(r#""status":"stored""#));
}

#[test]
fn bad_requests_are_told_why() {
    let system = system(&[]);
    for (body, status, words) in [
        ("{", 400, "not a customer"),
        (r#"{"name":""}"#, 422, "1 to 200 characters"),
        (r#"{"email":"x"}"#, 400, "missing field `name`"),
    ] {
        let (got, answer) = post(system.address, body);
        assert_eq!(got, status, "{answer}");
        assert!(answer.contains(words) && answer.contains("application/problem+json"), "{answer}");
    }
    let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(post(system.address, &huge).0, 413);
    assert_eq!(get(system.address, "/api/customers/nobody").0, 404);
    assert_eq!(get(system.address, "/elsewhere").0, 404);
    assert_eq!(send(system.address, "PATCH /api/customers HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").0, 405);
}

#[test]
fn beyond_its_queue_a_pod_answers_503_and_closes_the_connection() {
    let system = system(&[("APP_CONCURRENCY", "1"), ("APP_QUEUE_LIMIT", "0"), ("APP_READ_ONE_MS", "60000")]);
    let mut busy = TcpStream::connect(system.address).expect("web listens");
    busy.write_all(b"GET /api/customers/a HTTP/1.1\r\nhost: x\r\n\r\n").expect("the request is sent");
    wait_for("the pod to be busy", || get(system.address, "/metrics").1.contains("http_requests_executing 1"));
    let (status, answer) = send(system.address, "GET /api/customers/b HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("retry-after: 1") && answer.contains("connection: close"), "{answer}");
}

#[test]
fn sigterm_finishes_what_is_in_flight() {
    let mut system = system(&[("APP_READ_ONE_MS", "300")]);
    let mut busy = TcpStream::connect(system.address).expect("web listens");
    busy.write_all(b"GET /api/customers/a HTTP/1.1\r\nhost: x\r\n\r\n").expect("the request is sent");
    wait_for("the request to execute", || get(system.address, "/metrics").1.contains("http_requests_executing 1"));
    let pid = rustix::process::Pid::from_child(&system.web.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let mut answer = String::new();
    busy.read_to_string(&mut answer).expect("the answer arrives");
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("connection: close"), "{answer}");
    assert!(system.web.0.wait().expect("it ends").success());
}
