//! One VU's HTTP/1.1 client: one connection, kept alive until either side closes it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Error;

/// Longest wait for an answer; k6's default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Where requests go.
#[derive(Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    host: HeaderValue,
}

impl Target {
    pub(crate) async fn resolve(base_url: &str) -> Result<Self, Error> {
        let wrong = || Error::Address(base_url.to_owned());
        let uri: Uri = base_url.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http") && uri.path() == "/").ok_or_else(wrong)?;
        let pair = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        let resolve = |source| Error::Resolve { host: pair.clone(), source };
        let mut found = tokio::net::lookup_host(&pair).await.map_err(resolve)?;
        let address = found.next().ok_or_else(wrong)?;
        Ok(Self { address, host: HeaderValue::from_str(&pair).map_err(|_| wrong())? })
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None`: no answer at all.
    pub(crate) status: Option<StatusCode>,
    /// Sending, waiting and receiving, without connecting, as k6's `http_req_duration`.
    pub(crate) took: Duration,
    pub(crate) location: Option<String>,
    pub(crate) body: Bytes,
}

/// A connection that is made when it is needed.
#[derive(Debug)]
pub(crate) struct Client {
    target: Arc<Target>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { target, connection: None }
    }

    /// The same client without its connection.
    pub(crate) fn renewed(&self) -> Self {
        Self::new(Arc::clone(&self.target))
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, method: &http::Method, path: &str, body: Option<Bytes>) -> Answer {
        let begun = Instant::now();
        if let Ok(Ok(answer)) = tokio::time::timeout(REQUEST_TIMEOUT, self.exchange(method, path, body)).await {
            return answer;
        }
        self.connection = None;
        Answer { status: None, took: begun.elapsed(), location: None, body: Bytes::new() }
    }

    async fn exchange(
        &mut self,
        method: &http::Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut reused = true;
        loop {
            let mut connection = if let Some(connection) = self.connection.take() {
                connection
            } else {
                reused = false;
                self.connect().await?
            };
            if let Err(error) = connection.ready().await {
                // The server closed an idle connection: nothing was sent, so a new one may be tried.
                if reused {
                    continue;
                }
                return Err(error.into());
            }
            let request = self.request(method, path, body.clone())?;
            let begun = Instant::now();
            let response = match connection.send_request(request).await {
                Ok(response) => response,
                Err(error) if reused && error.is_canceled() => continue,
                Err(error) => return Err(error.into()),
            };
            let status = response.status();
            let headers = response.headers();
            let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
            let closes =
                headers.get(header::CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
            let body = response.into_body().collect().await?.to_bytes();
            let took = begun.elapsed();
            self.connection = (!closes).then_some(connection);
            return Ok(Answer { status: Some(status), took, location, body });
        }
    }

    fn request(&self, method: &http::Method, path: &str, body: Option<Bytes>) -> http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.target.host);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body.unwrap_or_default()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.target.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Its errors come back through the requests.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}
