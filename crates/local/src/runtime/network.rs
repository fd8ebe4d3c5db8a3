//! The cluster's addresses: one `127.x.0.0/16` block per environment, pods in its lower half, Services in its upper.
//!
//! On Linux every address of 127.0.0.0/8 is local without configuration, so that each pod and each Service has an
//! address of its own, as on a real cluster, and ports need no mapping. The block follows from the environment's
//! directory; a listener held for the cluster's life shows that no other cluster has it.

use std::{
    collections::HashSet,
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Port on which a cluster holds its block (the kubelet's own port on a real node).
const CLAIM_PORT: u16 = 10250;
/// Blocks that are given out: 127.2 to 127.249, so that the usual 127.0 and 127.1 stay free.
const FIRST_BLOCK: u8 = 2;
const BLOCKS: u8 = 248;
/// First host number of the Services' half.
const SERVICE_HALF: u16 = 0x8000;

/// Why no block could be had.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The file that remembers the block cannot be read or written.
    #[error("network block file {path}")]
    File {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A cluster that had run before finds its own block held.
    #[error("address 127.{block}.255.254:{CLAIM_PORT} of this environment is held by another process")]
    Taken {
        /// Second octet.
        block: u8,
    },
    /// Every block is held, or 127.0.0.0/8 is not local as a whole (it is on Linux only).
    #[error("no free block 127.x.0.0/16 on this machine (every address of 127.0.0.0/8 must be local, as on Linux)")]
    NoneFree,
}

/// An environment's block of loopback addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    block: u8,
}

/// Proof that this process has the block; released on drop.
#[derive(Debug)]
pub struct Claim {
    _listener: TcpListener,
}

impl Network {
    /// The block `127.<block>.0.0/16`, without a claim on it.
    pub fn new(block: u8) -> Self {
        Self { block }
    }

    /// Claims the block of the environment in `dir`: the one it had before (`dir/network`), else the first free one
    /// from where the directory's hash points.
    pub fn claim(dir: &Path) -> Result<(Self, Claim), NetworkError> {
        let path = dir.join("network");
        let file_error = |source| NetworkError::File { path: path.display().to_string(), source };
        if let Some(block) = remembered(&path).map_err(file_error)? {
            let claim = hold(block).ok_or(NetworkError::Taken { block })?;
            return Ok((Self { block }, claim));
        }
        let start = fnv1a(dir.as_os_str().as_encoded_bytes());
        for step in 0..u64::from(BLOCKS) {
            let block = FIRST_BLOCK + (start.wrapping_add(step) % u64::from(BLOCKS)) as u8;
            if let Some(claim) = hold(block) {
                fs::write(&path, format!("{block}\n")).map_err(file_error)?;
                return Ok((Self { block }, claim));
            }
        }
        Err(NetworkError::NoneFree)
    }

    /// The block's second octet.
    pub fn block(self) -> u8 {
        self.block
    }

    /// The pods' half in CIDR notation.
    pub fn pod_cidr(self) -> String {
        format!("127.{}.0.0/17", self.block)
    }

    /// The Services' half in CIDR notation.
    pub fn service_cidr(self) -> String {
        format!("127.{}.128.0/17", self.block)
    }

    /// The node address a cluster shows for its `index`th node.
    pub fn node_ip(self, index: u16) -> Ipv4Addr {
        self.address(0x7f00 | (index & 0xff))
    }

    /// Whether a Service of this cluster may have the address.
    pub fn is_service_ip(self, address: Ipv4Addr) -> bool {
        let [first, second, third, _] = address.octets();
        first == 127 && second == self.block && third >= 0x80
    }

    /// The `host`th address of the block.
    fn address(self, host: u16) -> Ipv4Addr {
        let [high, low] = host.to_be_bytes();
        Ipv4Addr::new(127, self.block, high, low)
    }
}

/// Gives out pod addresses (in turn, so that an address is not reused at once) or Service addresses.
#[derive(Debug, Clone)]
pub struct Addresses {
    network: Network,
    first: u16,
    count: u16,
    state: Arc<Mutex<Pool>>,
}

#[derive(Debug, Default)]
struct Pool {
    next: u16,
    used: HashSet<Ipv4Addr>,
}

impl Addresses {
    /// Addresses for pods (32,000 of them).
    pub fn for_pods(network: Network) -> Self {
        Self { network, first: 16, count: 0x7f00 - 16, state: Arc::default() }
    }

    /// Addresses for Services (32,000 of them).
    pub fn for_services(network: Network) -> Self {
        Self { network, first: SERVICE_HALF + 16, count: 0x7e00 - 16, state: Arc::default() }
    }

    /// An address that nobody has; none when all are used.
    pub fn take(&self) -> Option<Ipv4Addr> {
        let mut pool = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..self.count {
            let address = self.network.address(self.first + pool.next);
            pool.next = (pool.next + 1) % self.count;
            if pool.used.insert(address) {
                return Some(address);
            }
        }
        None
    }

    /// Marks an address from an earlier life as used; false when it is used already.
    pub fn reserve(&self, address: Ipv4Addr) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used.insert(address)
    }

    /// Gives an address back.
    pub fn release(&self, address: Ipv4Addr) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used.remove(&address);
    }
}

fn remembered(path: &Path) -> io::Result<Option<u8>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn hold(block: u8) -> Option<Claim> {
    let listener = TcpListener::bind((Ipv4Addr::new(127, block, 255, 254), CLAIM_PORT)).ok()?;
    Some(Claim { _listener: listener })
}

/// FNV-1a, 64 bits: stable over releases of the compiler, unlike the standard library's hasher.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn two_environments_never_share_a_block_and_one_keeps_its_own() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, claim) = Network::claim(first.path()).unwrap();
        let (two, _other) = Network::claim(second.path()).unwrap();
        assert_ne!(one, two);
        assert!(matches!(Network::claim(first.path()), Err(NetworkError::Taken { .. })), "a second claim is refused");
        drop(claim);
        // A child that another test forks at this moment holds the socket until it executes.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let again = loop {
            match Network::claim(first.path()) {
                Err(NetworkError::Taken { .. }) if std::time::Instant::now() < deadline => std::thread::yield_now(),
                other => break other.unwrap().0,
            }
        };
        assert_eq!(again, one);
    }

    #[test]
    fn addresses_are_not_reused_at_once_and_halves_do_not_meet() {
        let network = Network::new(9);
        let (pods, services) = (Addresses::for_pods(network), Addresses::for_services(network));
        let first = pods.take().unwrap();
        pods.release(first);
        assert_ne!(pods.take().unwrap(), first);
        assert_eq!(first, Ipv4Addr::new(127, 9, 0, 16));
        assert!(!network.is_service_ip(first));
        assert!(network.is_service_ip(services.take().unwrap()));
        assert!(!pods.reserve(pods.take().unwrap()), "a used address cannot be reserved");
    }
}
