//! Customers sent through web and stored by workers that are killed at random: each is stored exactly once, none is lost.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::common::{Process, Redis, app, free_address, wait_for};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use redis::Commands as _;

const SENDERS: usize = 16;
const WORKERS: usize = 4;

/// How many; `DEMOCTL_TEST_MESSAGES=200000` for the long one.
fn messages() -> usize {
    std::env::var("DEMOCTL_TEST_MESSAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

fn worker(redis: &str) -> Process {
    let mut command = app("worker");
    command.env("APP_REDIS_URL", redis).env("APP_METRICS_BIND", "127.0.0.1:0").env("APP_BATCH_MS", "20");
    Process(command.spawn().expect("a worker starts"))
}

fn web(redis: &str) -> (Process, SocketAddr) {
    let address = free_address();
    let mut command = app("web");
    command
        .env("APP_REDIS_URL", redis)
        .env("APP_BIND", address.to_string())
        .env("APP_WRITE_MS", "0")
        .env("APP_REQUESTS_PER_CONNECTION", "1000000");
    let process = Process(command.spawn().expect("web starts"));
    wait_for("web to listen", || std::net::TcpStream::connect(address).is_ok());
    (process, address)
}

/// Sends customers number `first`, `first + SENDERS`, ... and notes the id that each was accepted under.
async fn send(web: SocketAddr, first: usize, total: usize, accepted: &AtomicUsize) -> Vec<String> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut ids = Vec::new();
    for number in (first..total).step_by(SENDERS) {
        let request = http::Request::post(format!("http://{web}/api/customers"))
            .body(Full::from(format!(r#"{{"name":"n{number}"}}"#)))
            .expect("a valid request");
        let answer = client.request(request).await.expect("web answers");
        assert_eq!(answer.status(), 202);
        let body = answer.into_body().collect().await.expect("the answer arrives").to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).expect("the answer is JSON");
        ids.push(body["id"].as_str().expect("the answer has an id").to_owned());
        accepted.fetch_add(1, Ordering::Relaxed);
    }
    ids
}

/// Sends everything while workers are killed; yields the ids that were accepted and how many workers were killed.
fn send_and_kill(web: SocketAddr, redis: &str, total: usize) -> (Vec<String>, usize) {
    let accepted = Arc::new(AtomicUsize::new(0));
    let senders = {
        let accepted = Arc::clone(&accepted);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let sent = (0..SENDERS).map(|first| send(web, first, total, &accepted));
            runtime.block_on(futures::future::join_all(sent)).concat()
        })
    };
    let seed = rand::rng().random();
    eprintln!("victims are drawn with seed {seed}");
    let mut draw = StdRng::seed_from_u64(seed);
    let mut workers: Vec<_> = (0..WORKERS).map(|_| worker(redis)).collect();
    let mut kills = 0;
    let mut next = 0;
    while next < total {
        wait_for("customers to be accepted", || {
            accepted.load(Ordering::Relaxed) > next.min(total - 1) || senders.is_finished()
        });
        let victim = &mut workers[draw.random_range(0..WORKERS)];
        victim.0.kill().expect("it runs");
        victim.0.wait().expect("it ended");
        *victim = worker(redis);
        kills += 1;
        next += draw.random_range(1_000..6_000);
    }
    let ids = senders.join().expect("every customer was accepted");
    let mut connection = redis::Client::open(redis).and_then(|c| c.get_connection()).expect("redis answers");
    wait_for("nothing to be left in a list", || {
        let keys: Vec<String> = connection.keys("q*").expect("redis answers");
        !keys.iter().any(|key| key == "q" || key.contains(":processing:"))
    });
    (ids, kills)
}

fn exactly_once(kind: Redis) {
    if !kind.is_here() {
        return;
    }
    let total = messages();
    let (_redis, address) = kind.start();
    let url = format!("redis://{address}");
    let (_web, web) = web(&url);
    let (ids, kills) = send_and_kill(web, &url, total);
    let mut connection = redis::Client::open(url.as_str()).and_then(|c| c.get_connection()).expect("redis answers");
    let stored: Vec<(String, String)> = connection.hgetall("customers").expect("redis answers");
    let accepted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(accepted.len(), total, "every id is new");
    assert_eq!(stored.iter().map(|(id, _)| id.as_str()).collect::<BTreeSet<_>>(), accepted, "every id, and no other");
    let customers: BTreeSet<&str> = stored.iter().map(|(_, customer)| customer.as_str()).collect();
    assert_eq!(customers.len(), total, "every customer once");
    assert_eq!(connection.llen::<_, usize>("q:dead").expect("redis answers"), 0);
    assert_eq!(connection.hlen::<_, usize>("q:pending").expect("redis answers"), 0);
    eprintln!("{kind:?}: {total} customers, {kills} workers killed");
}

#[test]
fn each_customer_is_stored_exactly_once_on_the_embedded_redis() {
    exactly_once(Redis::Embedded);
}

#[test]
fn each_customer_is_stored_exactly_once_on_redis_server() {
    exactly_once(Redis::Real);
}

/// A claim of a worker that nobody knows would be returned by nobody.
#[test]
fn a_worker_that_cannot_say_that_it_lives_claims_nothing() {
    let (_redis, address) = Redis::Embedded.start();
    let url = format!("redis://{address}");
    let mut connection = redis::Client::open(url.as_str()).and_then(|c| c.get_connection()).expect("redis answers");
    let _: () = connection.set("q:workers", "no set").expect("redis answers");
    let _: usize = connection.lpush("q", "{}").expect("redis answers");
    let mut worker = worker(&url);
    let mut ended = None;
    wait_for("the worker to give up", || {
        ended = worker.0.try_wait().expect("it was started");
        ended.is_some()
    });
    assert!(ended.is_some_and(|status| !status.success()));
    assert_eq!(connection.llen::<_, usize>("q").expect("redis answers"), 1);
}
