//! Messages through web and workers while workers are killed: each customer is stored exactly once, none is lost.

use std::collections::BTreeSet;

use crate::common::{Process, Redis, app, wait_for};
use redis::Commands as _;

/// How many; `DEMOCTL_TEST_MESSAGES=200000` for the long one.
fn messages() -> usize {
    std::env::var("DEMOCTL_TEST_MESSAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

fn worker(redis: &str) -> Process {
    let mut command = app("worker");
    command.env("APP_REDIS_URL", redis).env("APP_METRICS_BIND", "127.0.0.1:0").env("APP_BATCH_MS", "20");
    Process(command.spawn().expect("a worker starts"))
}

fn exactly_once(kind: Redis) {
    if !kind.is_here() {
        return;
    }
    let total = messages();
    let (_redis, address) = kind.start();
    let url = format!("redis://{address}");
    let mut connection = redis::Client::open(url.as_str()).and_then(|c| c.get_connection()).expect("redis answers");
    let mut workers: Vec<_> = (0..4).map(|_| worker(&url)).collect();
    let mut sent = BTreeSet::new();
    let mut kills = 0;
    for chunk in 0..total.div_ceil(500) {
        let mut pipe = redis::pipe();
        for number in (chunk * 500..total).take(500) {
            let id = format!("customer-{number}");
            let message = format!(r#"{{"op":"create","id":"{id}","customer":{{"name":"n{number}"}}}}"#);
            pipe.lpush("q", message).ignore();
            sent.insert(id);
        }
        pipe.query::<()>(&mut connection).expect("messages are sent");
        // A worker is killed while it holds claims: after the first of them has appeared and before it is stored.
        if chunk % 8 == 3 {
            let victim = &mut workers[chunk % 4];
            victim.0.kill().expect("it runs");
            victim.0.wait().expect("it ended");
            *victim = worker(&url);
            kills += 1;
        }
    }
    wait_for("all customers to be stored", || {
        let stored: usize = connection.hlen("customers").expect("redis answers");
        stored == total
    });
    wait_for("nothing to be left in a list", || {
        let keys: Vec<String> = connection.keys("q*").expect("redis answers");
        !keys.iter().any(|key| key == "q" || key.contains(":processing:"))
    });
    let stored: BTreeSet<String> = connection.hkeys("customers").expect("redis answers");
    assert_eq!(stored, sent, "every customer, and no other");
    assert_eq!(connection.llen::<_, usize>("q:dead").expect("redis answers"), 0);
    assert!(kills > 0, "workers were killed");
    eprintln!("{kind:?}: {total} messages, {kills} workers killed");
}

#[test]
fn each_customer_is_stored_exactly_once_on_the_embedded_redis() {
    exactly_once(Redis::Embedded);
}

#[test]
fn each_customer_is_stored_exactly_once_on_redis_server() {
    exactly_once(Redis::Real);
}
