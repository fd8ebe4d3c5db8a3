//! Liveness, readiness and startup probes: their settings, one attempt, and the counting of thresholds.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/>. Delays and
//! periods are profile time (the caller's clock waits them); an attempt's timeout is real, like a request's own time.

use std::{net::Ipv4Addr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longest status line that is waited for.
const STATUS_LINE: usize = 512;

/// What an attempt does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// GET; 200 to 399 is success.
    Http {
        /// Other than the pod's IP, when the probe names one.
        host: Option<String>,
        /// Port number.
        port: u16,
        /// Path with query.
        path: String,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// The port accepts a connection.
    Tcp {
        /// Port number.
        port: u16,
    },
    /// Not run here (`exec`, `grpc`); always fails with this message.
    Unsupported(&'static str),
}

/// One probe of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What an attempt does.
    pub check: Check,
    /// Wait before the first attempt, profile time.
    pub initial_delay: Duration,
    /// Between two attempts, profile time.
    pub period: Duration,
    /// An attempt's limit, real time.
    pub timeout: Duration,
    /// Successes in a row that make it succeed.
    pub success_threshold: u32,
    /// Failures in a row that make it fail.
    pub failure_threshold: u32,
}

impl Probe {
    /// The probe of that kind (`livenessProbe`, `readinessProbe`, `startupProbe`), if the container has one.
    pub fn of(container: &Value, kind: &str) -> Option<Self> {
        let probe = container.get(kind).filter(|probe| probe.is_object())?;
        let number = |field: &str, default: u64| probe[field].as_u64().unwrap_or(default);
        let check = if probe["httpGet"].is_object() {
            let get = &probe["httpGet"];
            let headers = get["httpHeaders"].as_array().into_iter().flatten();
            match port(container, &get["port"]) {
                _ if get["scheme"] == "HTTPS" => Check::Unsupported("HTTPS probes are not supported by this cluster"),
                None => Check::Unsupported("probe's port is not a port of the container"),
                Some(port) => Check::Http {
                    host: get["host"].as_str().filter(|host| !host.is_empty()).map(str::to_owned),
                    port,
                    path: format!("/{}", get["path"].as_str().unwrap_or("/").trim_start_matches('/')),
                    headers: headers
                        .filter_map(|header| Some((header["name"].as_str()?.into(), header["value"].as_str()?.into())))
                        .collect(),
                },
            }
        } else if probe["tcpSocket"].is_object() {
            match port(container, &probe["tcpSocket"]["port"]) {
                Some(port) => Check::Tcp { port },
                None => Check::Unsupported("probe's port is not a port of the container"),
            }
        } else {
            Check::Unsupported("exec and grpc probes are not supported by this cluster")
        };
        Some(Self {
            check,
            initial_delay: Duration::from_secs(number("initialDelaySeconds", 0)),
            period: Duration::from_secs(number("periodSeconds", 10).max(1)),
            timeout: Duration::from_secs(number("timeoutSeconds", 1).max(1)),
            success_threshold: number("successThreshold", 1).max(1) as u32,
            failure_threshold: number("failureThreshold", 3).max(1) as u32,
        })
    }

    /// One attempt against the pod; the error is the message of upstream's Unhealthy event.
    pub async fn attempt(&self, pod_ip: Ipv4Addr) -> Result<(), String> {
        let result = match &self.check {
            Check::Unsupported(message) => return Err((*message).to_owned()),
            Check::Tcp { port } => {
                let connect = TcpStream::connect((pod_ip, *port));
                tokio::time::timeout(self.timeout, connect).await.map(|done| {
                    done.map(drop).map_err(|error| format!("dial tcp {pod_ip}:{port}: connect: {}", reason(&error)))
                })
            }
            Check::Http { host, port, path, headers } => {
                let host = host.clone().unwrap_or_else(|| pod_ip.to_string());
                tokio::time::timeout(self.timeout, get(&host, *port, path, headers)).await
            }
        };
        match (result, &self.check) {
            (Ok(result), _) => result,
            (Err(_), Check::Http { port, path, .. }) => Err(format!(
                "Get \"http://{pod_ip}:{port}{path}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            )),
            (Err(_), _) => Err("i/o timeout".to_owned()),
        }
    }
}

/// Counts attempts against the thresholds.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    last: Option<bool>,
    in_a_row: u32,
}

impl Counter {
    /// Counts an attempt; tells the probe's result once a threshold is reached, none before.
    pub fn count(&mut self, probe: &Probe, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.in_a_row = self.in_a_row.saturating_add(1);
        } else {
            self.last = Some(success);
            self.in_a_row = 1;
        }
        let threshold = if success { probe.success_threshold } else { probe.failure_threshold };
        (self.in_a_row >= threshold).then_some(success)
    }
}

/// A port given as a number or as the name of one of the container's ports.
fn port(container: &Value, port: &Value) -> Option<u16> {
    let number = match port {
        Value::Number(number) => number.as_u64()?,
        Value::String(name) => match name.parse() {
            Ok(number) => number,
            Err(_) => {
                container["ports"].as_array()?.iter().find(|port| port["name"].as_str() == Some(name))?["containerPort"]
                    .as_u64()?
            }
        },
        _ => return None,
    };
    u16::try_from(number).ok()
}

async fn get(host: &str, port: u16, path: &str, headers: &[(String, String)]) -> Result<(), String> {
    let url = format!("http://{host}:{port}{path}");
    let failed = |error: std::io::Error| format!("Get \"{url}\": {}", reason(&error));
    let mut stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("Get \"{url}\": dial tcp {host}:{port}: connect: {}", reason(&error)))?;
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request.extend(["Host: ", host, ":", &port.to_string(), "\r\n"]);
    }
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request.push_str("User-Agent: kube-probe/1.33\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    while !head.contains(&b'\n') && head.len() < STATUS_LINE {
        if stream.read_buf(&mut head).await.map_err(failed)? == 0 {
            break;
        }
    }
    match status_code(&head) {
        Some(code) if (200..400).contains(&code) => Ok(()),
        Some(code) => Err(format!("HTTP probe failed with statuscode: {code}")),
        None => Err(format!("Get \"{url}\": malformed HTTP response")),
    }
}

fn status_code(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

/// The error in Go's words where it has its own.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    fn container(probe: &Value) -> Value {
        json!({"ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe})
    }

    #[test]
    fn defaults_and_named_ports_are_upstreams() {
        let probe = Probe::of(&container(&json!({"httpGet": {"path": "healthz", "port": "http"}})), "readinessProbe");
        let probe = probe.unwrap();
        assert!(matches!(&probe.check, Check::Http { port: 8080, path, .. } if path == "/healthz"));
        assert_eq!((probe.period, probe.timeout), (Duration::from_secs(10), Duration::from_secs(1)));
        assert_eq!((probe.success_threshold, probe.failure_threshold), (1, 3));
        let exec = Probe::of(&container(&json!({"exec": {"command": ["true"]}})), "readinessProbe").unwrap();
        assert!(matches!(exec.check, Check::Unsupported(_)));
        assert_eq!(Probe::of(&container(&json!({})), "livenessProbe"), None);
    }

    #[test]
    fn thresholds_count_attempts_in_a_row() {
        let probe = Probe::of(
            &container(&json!({"tcpSocket": {"port": 1}, "failureThreshold": 2, "successThreshold": 2})),
            "readinessProbe",
        )
        .unwrap();
        let mut counter = Counter::default();
        let told: Vec<_> = [true, false, true, true, false, false].map(|success| counter.count(&probe, success)).into();
        assert_eq!(told, [None, None, None, Some(true), None, Some(false)]);
    }

    #[tokio::test]
    async fn an_http_attempt_reads_the_status() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            for answer in
                ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n\r\n", "nonsense\r\n"]
            {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let probe = Probe::of(&container(&json!({"httpGet": {"port": port}})), "readinessProbe").unwrap();
        assert_eq!(probe.attempt(Ipv4Addr::LOCALHOST).await, Ok(()));
        let second = probe.attempt(Ipv4Addr::LOCALHOST).await.unwrap_err();
        assert_eq!(second, "HTTP probe failed with statuscode: 503");
        assert!(probe.attempt(Ipv4Addr::LOCALHOST).await.unwrap_err().ends_with("malformed HTTP response"));
        server.await.unwrap();
        let refused = probe.attempt(Ipv4Addr::LOCALHOST).await.unwrap_err();
        assert!(refused.ends_with("connect: connection refused"), "{refused}");
    }
}
