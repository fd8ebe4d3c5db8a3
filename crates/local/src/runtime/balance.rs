//! One Service port: accepts connections and hands each to an endpoint, as kube-proxy does (layer 4, random choice).
//!
//! A connection stays with its endpoint until it closes, also when that endpoint leaves the Service meanwhile. An
//! endpoint that refuses is left out and another one tried, as long as no byte was sent; without any ready endpoint the
//! connection is reset (a real node rejects it).
//! <https://kubernetes.io/docs/reference/networking/virtual-ips/#proxy-modes>

use std::{
    io,
    net::{SocketAddr, SocketAddrV4},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How long an endpoint may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes buffered for each direction of a connection.
const BUFFER: usize = 8 * 1024;
/// Pause after a failed accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The ready endpoints of one Service port, shared by its listeners.
#[derive(Debug, Clone)]
pub struct Endpoints {
    ready: Arc<RwLock<Vec<SocketAddrV4>>>,
    draw: Arc<Mutex<StdRng>>,
}

impl Endpoints {
    /// No endpoint yet; `seed` fixes the choices.
    pub fn new(seed: u64) -> Self {
        Self { ready: Arc::default(), draw: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// Replaces the ready endpoints.
    pub fn set(&self, ready: Vec<SocketAddrV4>) {
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) = ready;
    }

    /// One of the ready endpoints that are not in `refused`.
    fn pick(&self, refused: &[SocketAddrV4]) -> Option<SocketAddrV4> {
        let ready = self.ready.read().unwrap_or_else(PoisonError::into_inner);
        let left = ready.iter().filter(|endpoint| !refused.contains(endpoint)).count();
        if left == 0 {
            return None;
        }
        let choice = self.draw.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..left);
        ready.iter().filter(|endpoint| !refused.contains(endpoint)).nth(choice).copied()
    }

    /// A connection to a ready endpoint, whichever accepts first in random order.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let mut refused = Vec::new();
        let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
        while let Some(endpoint) = self.pick(&refused) {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
            refused.push(endpoint);
        }
        Err(last)
    }
}

/// A listening Service port; closes when dropped, connections that exist go on.
#[derive(Debug)]
pub struct ServicePort {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl ServicePort {
    /// Listens on `address` (port 0: any free one) for the Service port with these endpoints.
    pub async fn bind(address: SocketAddrV4, endpoints: Endpoints) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, accepting: tokio::spawn(accept(listener, endpoints)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ServicePort {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, endpoints: Endpoints) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(forward(client, endpoints.clone()))),
            Err(error) => {
                tracing::warn!(%error, "service port cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn forward(mut client: TcpStream, endpoints: Endpoints) {
    let Ok(mut pod) = endpoints.connect().await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), pod.set_nodelay(true));
    let copied = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut pod, BUFFER, BUFFER).await;
    if copied.is_err() {
        // One side was reset: so is the other, rather than closed as if all had been said.
        let _ = (client.set_zero_linger(), pod.set_zero_linger());
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A server that answers each connection with its name and then echoes.
    async fn pod(name: u8) -> SocketAddrV4 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!("bound to IPv4") };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.write_all(&[name]).await;
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    async fn dead() -> SocketAddrV4 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!("bound to IPv4") };
        address
    }

    #[tokio::test]
    async fn connections_spread_and_dead_endpoints_are_passed_over() {
        let endpoints = Endpoints::new(7);
        endpoints.set(vec![pod(1).await, dead().await, pod(2).await]);
        let port = ServicePort::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), endpoints).await.unwrap();
        let mut counts = BTreeMap::new();
        for _ in 0..60 {
            let mut client = TcpStream::connect(port.address()).await.unwrap();
            *counts.entry(client.read_u8().await.unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts.values().sum::<i32>(), 60);
        assert!(counts.len() == 2 && counts.values().all(|count| *count > 15), "{counts:?}");
    }

    #[tokio::test]
    async fn no_endpoint_resets_and_old_connections_survive() {
        let endpoints = Endpoints::new(7);
        endpoints.set(vec![pod(1).await]);
        let port = ServicePort::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), endpoints.clone()).await.unwrap();
        let mut old = TcpStream::connect(port.address()).await.unwrap();
        assert_eq!(old.read_u8().await.unwrap(), 1);
        endpoints.set(Vec::new());
        let mut refused = TcpStream::connect(port.address()).await.unwrap();
        let error = refused.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        old.write_all(b"x").await.unwrap();
        assert_eq!(old.read_u8().await.unwrap(), b'x');
    }
}
