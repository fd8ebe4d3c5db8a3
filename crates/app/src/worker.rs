//! The queue's consumer: claim a batch, store it in one bulk write, acknowledge.
//!
//! A message is always in exactly one list: the queue, the claims of one worker, or the dead letters. It moves by one
//! atomic command, and is stored and acknowledged in one transaction, so a worker that is killed at any moment loses
//! nothing; storing the same message again changes nothing, so nothing is stored twice.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use bytes::Bytes;
use democtl_core::app::HEARTBEAT_TTL;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use redis::{AsyncCommands as _, Direction, RedisResult, aio::ConnectionManager};
use tokio::net::TcpListener;

use crate::{
    AppError, WorkerConfig,
    store::{Keys, Message, Operation, add_store_commands, connect},
    terminated,
    web::{METRICS_TYPE, listen, metrics::exposition},
};

const HEARTBEAT_PERIOD: Duration = Duration::from_secs(1);
/// Longest wait for a message.
const IDLE_WAIT: f64 = 1.0;

struct Worker {
    config: WorkerConfig,
    keys: Keys,
    id: String,
    processing: String,
    connection: ConnectionManager,
    metrics: Metrics,
}

#[derive(Clone)]
struct Metrics {
    processed: Counter,
    batches: Counter,
    retries: Counter,
    dead: Counter,
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
}

impl Metrics {
    fn new(base_memory: u64) -> (Self, Registry) {
        let metrics = Self {
            processed: Counter::default(),
            batches: Counter::default(),
            retries: Counter::default(),
            dead: Counter::default(),
            cpu: Counter::default(),
            memory: Gauge::default(),
        };
        metrics.memory.set(base_memory.cast_signed());
        let mut registry = Registry::default();
        registry.register("customers_processed", "Customers stored for the first time", metrics.processed.clone());
        registry.register("worker_batches", "Bulk writes", metrics.batches.clone());
        registry.register("worker_retries", "Messages tried again", metrics.retries.clone());
        registry.register("worker_dead_letters", "Messages given up", metrics.dead.clone());
        registry.register("app_cpu_seconds", "Modelled CPU time", metrics.cpu.clone());
        registry.register("app_memory_bytes", "Modelled memory", metrics.memory.clone());
        (metrics, registry)
    }
}

/// Consumes until SIGTERM; the batch at hand is finished first.
pub(crate) async fn run(config: WorkerConfig) -> Result<(), AppError> {
    let listener = listen(config.metrics_bind).await?;
    let connection = connect(&config.redis_url).await?;
    let keys = Keys::new(&config.queue);
    let id = uuid::Uuid::new_v4().simple().to_string();
    let (metrics, registry) = Metrics::new(config.base_memory);
    let worker = Worker { processing: keys.processing(&id), keys, id, connection, metrics, config };
    // Before the first claim: the others return the claims only of those whom they know.
    beat(&mut worker.connection.clone(), &worker.keys, &worker.id).await?;
    tracing::info!(worker = worker.id, queue = worker.keys.queue, "worker consumes");
    let _housekeeping = (
        AbortOnDrop(tokio::spawn(serve_metrics(listener, registry))),
        AbortOnDrop(tokio::spawn(beat_and_reap(worker.connection.clone(), worker.keys.clone(), worker.id.clone()))),
    );
    let mut ended = std::pin::pin!(terminated());
    loop {
        let claimed = tokio::select! {
            claimed = worker.claim() => claimed,
            () = &mut ended => break,
        };
        let outcome = match claimed {
            Ok(messages) if messages.is_empty() => continue,
            Ok(messages) => worker.store(&messages).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            // What is claimed stays claimed; the next round begins with it.
            tracing::warn!(%error, "redis");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    worker.leave().await;
    tracing::info!(worker = worker.id, "worker ends");
    Ok(())
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Worker {
    /// Up to a batch of messages: first those claimed before an error, else new ones; waits a while for the first.
    async fn claim(&self) -> RedisResult<Vec<String>> {
        let mut connection = self.connection.clone();
        let held: Vec<String> = connection.lrange(&self.processing, 0, -1).await?;
        if !held.is_empty() {
            return Ok(held);
        }
        let waiting: usize = connection.llen(&self.keys.queue).await?;
        if waiting == 0 {
            // The connection is shared with the heartbeat, which a blocking command would hold up: look again soon.
            tokio::time::sleep(Duration::from_secs_f64(IDLE_WAIT / 20.0)).await;
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for _ in 0..waiting.min(self.config.batch) {
            pipe.lmove(&self.keys.queue, &self.processing, Direction::Right, Direction::Left);
        }
        let moved: Vec<Option<String>> = pipe.query_async(&mut connection).await?;
        Ok(moved.into_iter().flatten().collect())
    }

    /// One bulk write: store all, acknowledge all, or neither.
    async fn store(&self, texts: &[String]) -> RedisResult<()> {
        tokio::time::sleep(self.config.batch_time).await;
        self.metrics.batches.inc();
        self.metrics.cpu.inc_by(self.config.cpu_per_message.as_secs_f64() * texts.len() as f64);
        let (messages, unreadable) = parse(texts);
        let mut pipe = redis::pipe();
        pipe.atomic();
        for message in &messages {
            add_store_commands(&mut pipe, message)?;
        }
        for message in &messages {
            pipe.hdel(&self.keys.pending, &message.id).ignore();
        }
        for text in &unreadable {
            pipe.lpush(&self.keys.dead, *text).ignore();
        }
        pipe.del(&self.processing).ignore();
        let outcome: RedisResult<Vec<u64>> = pipe.query_async(&mut self.connection.clone()).await;
        match outcome {
            Ok(changed) => {
                let created = messages.iter().zip(&changed).filter(|(message, _)| message.op == Operation::Create);
                self.metrics.processed.inc_by(created.map(|(_, changed)| changed).sum());
                self.metrics.dead.inc_by(unreadable.len() as u64);
                Ok(())
            }
            // Redis refused the batch itself (not the connection): each message is tried again, a few times.
            Err(error) if error.code().is_some() => self.retry(&messages, &error).await,
            Err(error) => Err(error),
        }
    }

    async fn retry(&self, messages: &[Message], error: &redis::RedisError) -> RedisResult<()> {
        tracing::warn!(%error, messages = messages.len(), "the batch was refused");
        let mut pipe = redis::pipe();
        pipe.atomic();
        for message in messages {
            let message = Message { attempts: message.attempts + 1, ..message.clone() };
            let text = serde_json::to_string(&message).map_err(std::io::Error::from)?;
            if message.attempts > self.config.max_retries {
                self.metrics.dead.inc();
                pipe.lpush(&self.keys.dead, text).ignore();
            } else {
                self.metrics.retries.inc();
                pipe.lpush(&self.keys.queue, text).ignore();
            }
        }
        pipe.del(&self.processing).ignore();
        pipe.query_async(&mut self.connection.clone()).await
    }

    /// Gives back what is claimed, so that nobody has to wait for the heartbeat to run out.
    async fn leave(&self) {
        let given_back = async {
            reclaim(&mut self.connection.clone(), &self.keys, &self.id).await?;
            self.connection.clone().del::<_, ()>(self.keys.alive(&self.id)).await
        };
        match tokio::time::timeout(self.config.grace, given_back).await {
            Ok(Ok(())) => {}
            failed => tracing::warn!(?failed, "claims are left to the others"),
        }
    }
}

/// Messages that can be read, and texts that cannot.
fn parse(texts: &[String]) -> (Vec<Message>, Vec<&str>) {
    let mut messages = Vec::with_capacity(texts.len());
    let mut unreadable = Vec::new();
    for text in texts {
        match serde_json::from_str(text) {
            Ok(message) => messages.push(message),
            Err(_) => unreadable.push(text.as_str()),
        }
    }
    (messages, unreadable)
}

/// Says that this worker lives.
async fn beat(connection: &mut ConnectionManager, keys: &Keys, id: &str) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    pipe.pset_ex(keys.alive(id), 1, HEARTBEAT_TTL.as_millis() as u64).ignore();
    pipe.sadd(&keys.workers, id).ignore();
    pipe.query_async(connection).await
}

/// Says again and again that this worker lives, and returns the claims of those that no longer do.
async fn beat_and_reap(mut connection: ConnectionManager, keys: Keys, id: String) {
    let mut ticks = tokio::time::interval(HEARTBEAT_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let begun = Instant::now();
        let result = async {
            beat(&mut connection, &keys, &id).await?;
            let workers: Vec<String> = connection.smembers(&keys.workers).await?;
            for worker in workers.iter().filter(|worker| **worker != id) {
                if !connection.exists::<_, bool>(keys.alive(worker)).await? {
                    tracing::warn!(worker, "a worker died; its claims go back to the queue");
                    reclaim(&mut connection, &keys, worker).await?;
                }
            }
            RedisResult::Ok(())
        };
        if let Err(error) = result.await {
            tracing::warn!(%error, after = ?begun.elapsed(), "heartbeat");
        }
    }
}

/// Moves a worker's claims back to where they are taken next, one atomic step each, then forgets the worker.
async fn reclaim(connection: &mut ConnectionManager, keys: &Keys, worker: &str) -> RedisResult<()> {
    let processing = keys.processing(worker);
    while connection
        .lmove::<_, _, Option<String>>(&processing, &keys.queue, Direction::Left, Direction::Right)
        .await?
        .is_some()
    {}
    connection.srem(&keys.workers, worker).await
}

async fn serve_metrics(listener: TcpListener, registry: Registry) {
    let registry = std::sync::Arc::new(registry);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let registry = std::sync::Arc::clone(&registry);
        let service = service_fn(move |request: Request<Incoming>| {
            let body = match request.uri().path() {
                "/metrics" => Some(exposition(&registry)),
                "/api/health/live" | "/api/health/ready" => Some("ok".to_owned()),
                _ => None,
            };
            let mut response = Response::new(Full::new(Bytes::from(body.clone().unwrap_or_default())));
            if body.is_none() {
                *response.status_mut() = http::StatusCode::NOT_FOUND;
            }
            let value = http::HeaderValue::from_static(METRICS_TYPE);
            response.headers_mut().insert(http::header::CONTENT_TYPE, value);
            async move { Ok::<_, std::convert::Infallible>(response) }
        });
        tokio::spawn(async move {
            // A scraper that goes away is no concern of the worker.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
