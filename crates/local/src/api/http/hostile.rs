//! Requests that are cut, huge, malformed or slow, byte by byte over TLS.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject as _};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Answer, BODY_LIMIT, Incoming, Limits, LogOptions, LogStream, Request, Status, Value, connections::serve_within,
};
use crate::api::{Api, Client, Settings, resources::CONFIGMAPS, tls::Identity};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// There are no pods.
struct Nobody;

impl super::Backend for Nobody {
    fn log(&self, _: &Value, _: Option<&str>, _: LogOptions) -> Result<LogStream, Status> {
        Err(Status::plain("there are no pods"))
    }
    fn port_forward(&self, _: Arc<Value>, _: Request<Incoming>) -> BoxFuture<'_, Result<Answer, Status>> {
        ready(Err(Status::plain("there are no pods"))).boxed()
    }
    fn pod_metrics(&self, _: &str) -> Vec<Value> {
        Vec::new()
    }
    fn node_metrics(&self, _: &Value) -> Option<Value> {
        None
    }
    fn external_metric<'a>(&'a self, _: &'a str, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<Value>, Status>> {
        ready(Err(Status::plain("there are no metrics"))).boxed()
    }
}

struct Server {
    address: SocketAddr,
    client: Client,
    tls: TlsConnector,
    http2: TlsConnector,
    token: String,
    _dir: TempDir,
    _shutdown: DropGuard,
}

impl Server {
    async fn start() -> Self {
        Self::within(Limits::default()).await
    }

    async fn within(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = Arc::new(Identity::open(dir.path()).unwrap());
        let api = Api::in_memory(Settings { block: 9, ca_pem: identity.ca_pem().to_owned() }).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(identity.ca_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let mut http2 = config.clone();
        http2.alpn_protocols = vec![b"h2".to_vec()];
        let token = std::fs::read_to_string(dir.path().join("token")).unwrap();
        let client = api.client();
        tokio::spawn(serve_within(limits, api, identity, Arc::new(Nobody), listener, shutdown.clone()));
        Self {
            address,
            client,
            tls: TlsConnector::from(Arc::new(config)),
            http2: TlsConnector::from(Arc::new(http2)),
            token,
            _dir: dir,
            _shutdown: shutdown.drop_guard(),
        }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        self.tls.connect("localhost".try_into().unwrap(), stream).await.unwrap()
    }

    /// The head of a request with a token.
    fn head(&self, line: &str, headers: &str) -> String {
        format!("{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n{headers}", self.token)
    }

    /// Sends bytes and reads what comes back until the end.
    async fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect().await;
        // The server may have answered and gone before it has all.
        let _ = stream.write_all(bytes).await;
        reply(stream).await
    }

    /// The code that an HTTP/2 request with a header of so many bytes is answered with; none when there is no answer.
    async fn http2(&self, header: usize) -> Option<u16> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let stream = self.http2.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("https://{}/healthz", self.address)).header("x-long", "x".repeat(header));
        let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
        let answer = tokio::time::timeout(DEADLINE, answer).await.expect("an end in time");
        answer.ok().map(|answer| answer.status().as_u16())
    }

    async fn send(&self, line: &str, kind: &str, body: &[u8]) -> Reply {
        let headers = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        self.raw(&[self.head(line, &headers).as_bytes(), body].concat()).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.raw(self.head(&format!("GET {path}"), "\r\n").as_bytes()).await
    }

    /// Whether the server does its work.
    async fn works(&self) {
        let reply = self.get("/api/v1/namespaces/default").await;
        assert_eq!((reply.code, &reply.body["metadata"]["name"]), (200, &json!("default")));
    }

    fn names(&self) -> Vec<String> {
        let (maps, _) = self.client.list(&CONFIGMAPS, "default");
        let names = maps.iter().filter_map(|map| map["metadata"]["name"].as_str());
        names.filter(|name| *name != "kube-root-ca.crt").map(ToOwned::to_owned).collect()
    }
}

#[derive(Debug)]
struct Reply {
    /// 0 when there was none.
    code: u16,
    body: Value,
}

impl Reply {
    /// A refusal is a whole Status.
    fn refused(&self, code: u16, reason: &str, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        let is = |key: &str| self.body[key].as_str().unwrap_or_default();
        assert_eq!((is("kind"), is("status"), is("reason")), ("Status", "Failure", reason), "{self:?}");
        assert_eq!(self.body["code"], code);
        assert!(is("message").contains(words), "{self:?}");
    }
}

async fn reply(mut stream: TlsStream<TcpStream>) -> Reply {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("an end in time");
    if let Err(error) = read {
        let ended = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(ended.contains(&error.kind()), "{error}");
    }
    let text = String::from_utf8_lossy(&bytes);
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Reply { code, body: serde_json::from_str(body).unwrap_or(Value::Null) }
}

fn map(name: &str) -> Vec<u8> {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } }).to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_changes_nothing() {
    let server = Server::start().await;
    let head = server.head(&format!("POST {MAPS}"), "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n");
    // The client says that it is done; then it is answered.
    let mut stream = server.connect().await;
    stream.write_all(&[head.as_bytes(), &map("half")[..]].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    reply(stream).await.refused(400, "BadRequest", "unexpected EOF");
    // The connection goes, in the body, in the head, in the handshake.
    for part in [&[head.as_bytes(), b"{\"kind\":"].concat()[..], &head.as_bytes()[..30]] {
        let mut stream = server.connect().await;
        stream.write_all(part).await.unwrap();
        drop(stream);
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252]).await.unwrap();
    drop(stream);
    // A chunk that is shorter than it says.
    let chunked = server.head(&format!("POST {MAPS}"), "Transfer-Encoding: chunked\r\n\r\nff\r\n{\"kind\":");
    let mut stream = server.connect().await;
    stream.write_all(chunked.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    reply(stream).await.refused(400, "BadRequest", "unexpected EOF");
    server.works().await;
    assert!(server.names().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_huge_is_refused_with_its_limit() {
    let server = Server::start().await;
    let object = |bytes: usize| {
        let mut object: Value = serde_json::from_slice(&map("big")).unwrap();
        object["data"] = json!({ "text": "x".repeat(bytes) });
        object.to_string().into_bytes()
    };
    for bytes in [BODY_LIMIT, 4 * BODY_LIMIT] {
        let reply = server.send(&format!("POST {MAPS}"), "application/json", &object(bytes)).await;
        reply.refused(413, "RequestEntityTooLarge", "limit is 3145728");
    }
    let mut chunked = server.head(&format!("POST {MAPS}"), "Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..=BODY_LIMIT >> 16 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&vec![b' '; 1 << 16]);
        chunked.extend_from_slice(b"\r\n");
    }
    server.raw(&chunked).await.refused(413, "RequestEntityTooLarge", "limit is 3145728");
    let long = format!("X-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    assert_eq!(server.raw(server.head("GET /api", &long).as_bytes()).await.code, 431);
    let many = "X-Many: x\r\n".repeat(1000) + "\r\n";
    assert_eq!(server.raw(server.head("GET /api", &many).as_bytes()).await.code, 431);
    assert_eq!(server.http2(100_000).await, Some(200));
    assert!(matches!(server.http2(1 << 20).await, None | Some(431)));
    let path = format!("{MAPS}/{}", "x".repeat(100_000));
    assert!(matches!(server.get(&path).await.code, 404 | 414 | 431));
    server.works().await;
    assert!(server.names().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_nested_deeply_is_refused() {
    let server = Server::start().await;
    for levels in [128, 1_000_000] {
        let lists = "[".repeat(levels) + &"]".repeat(levels);
        let body = format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"deep"}},"data":{lists}}}"#);
        let reply = server.send(&format!("POST {MAPS}"), "application/json", body.as_bytes()).await;
        reply.refused(400, "BadRequest", "recursion limit exceeded");
        let reply = server.send(&format!("POST {MAPS}"), "application/yaml", lists.as_bytes()).await;
        reply.refused(400, "BadRequest", "");
        let kind = "application/merge-patch+json";
        let reply = server.send(&format!("PATCH {MAPS}/kube-root-ca.crt"), kind, body.as_bytes()).await;
        reply.refused(400, "BadRequest", "recursion limit exceeded");
    }
    // Aliases of aliases: ten thousand million words.
    let level = |n: usize| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
    let first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let bomb: String = std::iter::once(first).chain((1..10).map(level)).collect();
    let reply = server.send(&format!("POST {MAPS}"), "application/yaml", bomb.as_bytes()).await;
    reply.refused(400, "BadRequest", "error decoding YAML");
    server.works().await;
    assert!(server.names().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_is_refused_with_the_reason() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 2"), "no plain HTTP");
    for garbage in [&b"\x00\x01\x02\x03\r\n\r\n"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        assert!(matches!(server.raw(garbage).await.code, 400 | 505 | 0));
    }
    let create = format!("POST {MAPS}");
    let json = "application/json";
    for body in [&b"{"[..], b"{]", b"nonsense", b"\xff\xfe", b"{\"kind\":\"\xc3\x28\"}"] {
        server.send(&create, json, body).await.refused(400, "BadRequest", "");
    }
    server.send(&create, json, b"[]").await.refused(400, "BadRequest", "");
    server.send(&create, "application/vnd.kubernetes.protobuf", b"k8s\0\x0a\x7f").await.refused(
        400,
        "BadRequest",
        "EOF",
    );
    let time = b"k8s\0\x0a\x0a\x0a\x02v1\x12\x04Time";
    let reply = server.send(&create, "application/vnd.kubernetes.protobuf", time).await;
    reply.refused(400, "BadRequest", "no kind \"Time\"");
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/cbor", "*/*", ";"] {
        let reply = server.send(&create, kind, &map("typed")).await;
        if kind == ";" {
            assert_eq!(reply.code, 201, "no type is JSON");
            continue;
        }
        reply.refused(415, "UnsupportedMediaType", "accepted media types include: application/json");
    }
    let reply = server.send(&format!("PATCH {MAPS}/typed"), json, b"{}").await;
    reply.refused(415, "UnsupportedMediaType", "415: Unsupported Media Type");
    for name in ["Upper", "under_score", "-", "a..b", "sl/ash", &"x".repeat(254)] {
        server.send(&create, json, &map(name)).await.refused(422, "Invalid", "metadata.name: Invalid value");
    }
    let reply = server.get("/api/v1/namespaces/default/nothings").await;
    reply.refused(404, "NotFound", "could not find the requested resource");
    // Of groups that it does not know, a real server says so in plain words.
    for path in ["/apis/none/v1/things", "/api/v9/pods"] {
        assert_eq!(server.get(path).await.code, 404, "{path}");
    }
    for name in ["%00", "%zz", "%2e%2e%2f", "%ff"] {
        let reply = server.get(&format!("{MAPS}/{name}")).await;
        assert!(matches!(reply.code, 400 | 404) && reply.body["kind"] == "Status", "{name}: {reply:?}");
    }
    for verb in ["BREW", "TRACE", "LINK"] {
        let reply = server.raw(server.head(&format!("{verb} {MAPS}/typed"), "\r\n").as_bytes()).await;
        reply.refused(405, "MethodNotAllowed", "does not allow this method");
    }
    server.send(&format!("PUT {MAPS}"), json, &map("typed")).await.refused(405, "MethodNotAllowed", "");
    server.send(&format!("POST {MAPS}/typed"), json, &map("typed")).await.refused(405, "MethodNotAllowed", "");
    // Of what cannot be listed or deleted as a whole, nothing is.
    let reply = server.raw(server.head("DELETE /api/v1/namespaces", "\r\n").as_bytes()).await;
    reply.refused(405, "MethodNotAllowed", "");
    let reply = server.raw(server.head("DELETE /api/v1/namespaces/default", "\r\n").as_bytes()).await;
    reply.refused(403, "Forbidden", "this namespace may not be deleted");
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    server.get(reviews).await.refused(405, "MethodNotAllowed", "");
    server.get(&format!("{MAPS}?limit=many")).await.refused(400, "BadRequest", "");
    server.get(&format!("{MAPS}?continue=%ff")).await.refused(400, "BadRequest", "continue key is not valid");
    server.get(&format!("{MAPS}?watch=1&resourceVersion=-1")).await.refused(500, "", "resourceVersion");
    server.get(&format!("{MAPS}?labelSelector=!!!")).await.refused(400, "BadRequest", "");
    let reply =
        server.raw(b"GET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer no\r\n\r\n").await;
    reply.refused(401, "Unauthorized", "Unauthorized");
    server.works().await;
    assert_eq!(server.names(), ["typed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_delays_nobody_and_is_dropped() {
    let server = Server::start().await;
    let head = server.head(&format!("POST {MAPS}"), "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n");
    let mut stalled = Vec::new();
    for part in [&head.as_bytes()[..20], head.as_bytes(), b""].into_iter().cycle().take(60) {
        let mut stream = server.connect().await;
        stream.write_all(part).await.unwrap();
        stalled.push(stream);
    }
    server.works().await;
    drop(stalled);

    let soon = Duration::from_millis(100);
    let hasty = Server::within(Limits { head: soon, body: soon, ..Limits::default() }).await;
    let head = hasty.head(&format!("POST {MAPS}"), "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n");
    for part in [&b""[..], &head.as_bytes()[..20]] {
        let mut stream = hasty.connect().await;
        stream.write_all(part).await.unwrap();
        assert_eq!(reply(stream).await.code, 0, "closed without an answer");
    }
    let mut stream = hasty.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    reply(stream).await.refused(408, "Timeout", "did not arrive in time");

    let wordless = Server::within(Limits { handshake: soon, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(wordless.address).await.unwrap();
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut [0])).await.expect("it is closed");
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_not_read_costs_nothing_and_is_told_that_it_fell_behind() {
    let server = Server::start().await;
    let (_, version) = server.client.list(&CONFIGMAPS, "default");
    let mut slow = server.connect().await;
    let path = format!("GET {MAPS}?watch=1&resourceVersion={version}");
    slow.write_all(server.head(&path, "\r\n").as_bytes()).await.unwrap();
    // The answer has begun: from here on nothing is read until the history is full twice over.
    assert_eq!(slow.read_u8().await.unwrap(), b'H');
    // As much as a ConfigMap may hold, and its number.
    let text = "x".repeat((1 << 20) - 16);
    let mut object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "big" }, "data": {} });
    object["data"]["text"] = json!(text);
    server.client.create(&CONFIGMAPS, "default", object.clone()).unwrap();
    for n in 0..140 {
        object["data"]["n"] = json!(n.to_string());
        server.client.update(&CONFIGMAPS, "default", "big", &object).unwrap();
        if n % 20 == 0 {
            server.works().await;
        }
    }
    assert!(server.client.watch(&CONFIGMAPS, "default", version).next().await.is_none(), "the history is bounded");
    let (mut bytes, mut end) = (0, Vec::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = tokio::time::timeout(DEADLINE, slow.read(&mut buffer)).await.expect("more in time").unwrap_or(0);
        if read == 0 {
            break;
        }
        bytes += read;
        end.extend_from_slice(&buffer[..read]);
        end.drain(..end.len().saturating_sub(4096));
    }
    assert!(bytes < 100 << 20, "{bytes} bytes waited for the reader");
    let end = String::from_utf8_lossy(&end);
    assert!(end.contains("\"type\":\"ERROR\"") && end.contains("too old resource version"), "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_by_the_thousand_leave_room() {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(most), maximum: Some(most) },
    )
    .unwrap();
    // Both ends are in this process.
    let idle = (most / 4).min(3000) as usize;
    let server = Server::within(Limits { connections: idle + 2, ..Limits::default() }).await;
    let mut connections = Vec::with_capacity(idle);
    for n in 0..idle {
        let stream = TcpStream::connect(server.address).await.unwrap();
        if n % 10 == 0 {
            let tls = server.tls.connect("localhost".try_into().unwrap(), stream).await.unwrap();
            connections.push((None, Some(tls)));
        } else {
            connections.push((Some(stream), None));
        }
    }
    server.works().await;
    // Those beyond the limit are closed at once.
    let (_first, _second) = (server.connect().await, server.connect().await);
    let mut third = TcpStream::connect(server.address).await.unwrap();
    let read = tokio::time::timeout(DEADLINE, third.read(&mut [0])).await.expect("it is closed");
    assert!(matches!(read, Ok(0) | Err(_)));
    drop(connections);
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        let stream = TcpStream::connect(server.address).await.unwrap();
        if server.tls.connect("localhost".try_into().unwrap(), stream).await.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "room that was given back is used again");
        tokio::task::yield_now().await;
    }
}
