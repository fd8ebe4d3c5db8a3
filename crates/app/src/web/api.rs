//! Routes and what they do.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::State;
use crate::{
    Pattern,
    store::{Customer, Message, Operation, Standing},
};

type Answer = Response<Full<Bytes>>;

/// A list that was read not long ago.
pub(super) struct CachedList {
    at: Instant,
    body: Bytes,
}

/// Largest body that is read.
const BODY_LIMIT: usize = 64 << 10;

/// Answers one request.
pub(super) async fn handle(state: &State, request: Request<Incoming>) -> Answer {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let (route, answer) = match (method.as_str(), path.as_str()) {
        ("GET", "/api/health/live") => return text(StatusCode::OK, "alive"),
        ("GET", "/api/health/ready") => return ready(state).await,
        ("GET", "/metrics") => return metrics(state).await,
        ("GET", "/api/admin/status") => return admin_status(state).await,
        ("POST", "/api/admin/reset") => return admin_reset(state).await,
        (_, "/api/customers" | "/api/customers/") => ("/api/customers", collection(state, request).await),
        (_, path) => match path.strip_prefix("/api/customers/") {
            Some(id) if !id.contains('/') => ("/api/customers/:id", member(state, request, id).await),
            _ => ("other", problem(StatusCode::NOT_FOUND, "there is nothing at this path")),
        },
    };
    state.metrics.answered(&method, route, answer.status().as_u16(), begun.elapsed());
    answer
}

async fn collection(state: &State, request: Request<Incoming>) -> Answer {
    match *request.method() {
        Method::GET => within_bounds(state, state.config.read_all, list(state)).await,
        Method::POST => {
            let customer = match body(request).await {
                Ok(customer) => customer,
                Err(answer) => return answer,
            };
            let id = uuid::Uuid::new_v4().simple().to_string();
            write(state, Operation::Create, id, Some(customer)).await
        }
        _ => not_allowed("GET, POST"),
    }
}

async fn member(state: &State, request: Request<Incoming>, id: &str) -> Answer {
    match *request.method() {
        Method::GET => within_bounds(state, state.config.read_one, read(state, id)).await,
        Method::PUT => match body(request).await {
            Ok(customer) => write(state, Operation::Update, id.to_owned(), Some(customer)).await,
            Err(answer) => answer,
        },
        Method::DELETE => write(state, Operation::Delete, id.to_owned(), None).await,
        _ => not_allowed("GET, PUT, DELETE"),
    }
}

/// Runs `work` after the simulated `backend` time, when there is a place for it.
async fn within_bounds(state: &State, backend: Duration, work: impl Future<Output = Answer>) -> Answer {
    let arrived = Instant::now();
    let Some(_place) = state.admission.enter().await else {
        let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait in this pod");
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return answer;
    };
    state.metrics.admitted(arrived.elapsed(), state.config.cpu_per_request);
    tokio::time::sleep(backend).await;
    work.await
}

async fn list(state: &State) -> Answer {
    let mut cache = state.list_cache.lock().await;
    if let Some(cached) = cache.as_ref().filter(|cached| cached.at.elapsed() < state.config.cache_ttl) {
        return json_bytes(StatusCode::OK, cached.body.clone());
    }
    match state.store.page().await {
        Ok(page) => {
            let customers: Vec<Value> = page.iter().map(|(id, customer)| stored(id, customer)).collect();
            let body = Bytes::from(json!({ "customers": customers }).to_string());
            *cache = Some(CachedList { at: Instant::now(), body: body.clone() });
            json_bytes(StatusCode::OK, body)
        }
        Err(error) => store_failed(&error),
    }
}

async fn read(state: &State, id: &str) -> Answer {
    match state.store.standing(id).await {
        Ok(Standing::Stored(customer)) => json_answer(StatusCode::OK, &stored(id, &customer)),
        Ok(Standing::Pending) => json_answer(StatusCode::OK, &json!({ "id": id, "status": "pending" })),
        Ok(Standing::Unknown) => problem(StatusCode::NOT_FOUND, "there is no such customer"),
        Err(error) => store_failed(&error),
    }
}

async fn write(state: &State, op: Operation, id: String, customer: Option<Customer>) -> Answer {
    let message = Message { op, id, customer, attempts: 0 };
    within_bounds(state, state.config.write, async {
        let location = format!("/api/customers/{}", message.id);
        let (done, status, standing) = match state.config.pattern {
            Pattern::Async => (state.store.enqueue(&message).await, StatusCode::ACCEPTED, "pending"),
            Pattern::Direct => {
                let status = if op == Operation::Create { StatusCode::CREATED } else { StatusCode::OK };
                (state.store.store(&message).await, status, if op == Operation::Delete { "deleted" } else { "stored" })
            }
        };
        if let Err(error) = done {
            return store_failed(&error);
        }
        let mut answer = json_answer(status, &json!({ "id": message.id, "status": standing }));
        if let Ok(location) = HeaderValue::from_str(&location) {
            answer.headers_mut().insert(header::LOCATION, location);
        }
        answer
    })
    .await
}

async fn body(request: Request<Incoming>) -> Result<Customer, Answer> {
    let collected = Limited::new(request.into_body(), BODY_LIMIT).collect().await;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "a body may have 65536 bytes"));
        }
        Err(_) => return Err(problem(StatusCode::BAD_REQUEST, "the body did not arrive whole")),
    };
    let customer: Customer = serde_json::from_slice(&bytes)
        .map_err(|error| problem(StatusCode::BAD_REQUEST, &format!("the body is not a customer: {error}")))?;
    if customer.name.trim().is_empty() || customer.name.len() > 200 {
        return Err(problem(StatusCode::UNPROCESSABLE_ENTITY, "name must have 1 to 200 characters"));
    }
    Ok(customer)
}

fn stored(id: &str, customer: &str) -> Value {
    let mut value: Value = serde_json::from_str(customer).unwrap_or_default();
    value["id"] = json!(id);
    value["status"] = json!("stored");
    value
}

async fn ready(state: &State) -> Answer {
    if state.draining.load(Ordering::Relaxed) {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining");
    }
    match tokio::time::timeout(Duration::from_secs(1), state.store.ping()).await {
        Ok(Ok(())) => text(StatusCode::OK, "ready"),
        _ => text(StatusCode::SERVICE_UNAVAILABLE, "redis does not answer"),
    }
}

async fn metrics(state: &State) -> Answer {
    let depths = tokio::time::timeout(Duration::from_secs(1), state.store.depths()).await;
    let depth = depths.ok().and_then(Result::ok).map(|depths| depths.queue_depth);
    let body = state.metrics.text(state.admission.in_flight(), state.admission.executing(), depth);
    let mut answer = text(StatusCode::OK, "");
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(crate::web::METRICS_TYPE));
    *answer.body_mut() = Full::new(Bytes::from(body));
    answer
}

async fn admin_status(state: &State) -> Answer {
    match state.store.depths().await {
        Ok(depths) => {
            let mut value = json!(depths);
            value["in_flight"] = json!(state.admission.in_flight());
            value["executing"] = json!(state.admission.executing());
            json_answer(StatusCode::OK, &value)
        }
        Err(error) => store_failed(&error),
    }
}

async fn admin_reset(state: &State) -> Answer {
    *state.list_cache.lock().await = None;
    match state.store.reset().await {
        Ok(()) => json_answer(StatusCode::OK, &json!({ "status": "reset" })),
        Err(error) => store_failed(&error),
    }
}

fn store_failed(error: &redis::RedisError) -> Answer {
    tracing::warn!(%error, "store");
    problem(StatusCode::BAD_GATEWAY, "the store does not answer")
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, &format!("allowed are {methods}"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

/// RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    let value = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    let mut answer = json_answer(status, &value);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    answer
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    json_bytes(status, Bytes::from(value.to_string()))
}

fn json_bytes(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
