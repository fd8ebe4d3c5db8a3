//! A small system of real processes: Redis (embedded or real), web, workers.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A process that is killed when the test ends, however it ends.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Which server plays Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redis {
    Embedded,
    Real,
}

impl Redis {
    /// Whether it can be run here; CI demands the real one by `DEMOCTL_TEST_REQUIRE`.
    pub(crate) fn is_here(self) -> bool {
        let found = self == Self::Embedded || Command::new("redis-server").arg("--version").output().is_ok();
        let demanded = std::env::var("DEMOCTL_TEST_REQUIRE").is_ok_and(|tools| tools.contains("redis-server"));
        assert!(found || !demanded, "redis-server is demanded and not found");
        if !found {
            eprintln!("not run: redis-server is not found");
        }
        found
    }

    pub(crate) fn start(self) -> (Process, SocketAddr) {
        let address = free_address();
        let child = match self {
            Self::Embedded => app("redis").env("APP_BIND", address.to_string()).spawn(),
            Self::Real => Command::new("redis-server")
                .args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port"])
                .arg(address.port().to_string())
                .stdout(Stdio::null())
                .spawn(),
        };
        let process = Process(child.expect("redis starts"));
        wait_for("redis to listen", || std::net::TcpStream::connect(address).is_ok());
        (process, address)
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback has a free port")
}

/// The test binary in a role, with a clean environment.
pub(crate) fn app(role: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_democtl-app"));
    command.arg(role).env_clear().env("APP_QUEUE", "q").stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits for a condition, with a deadline that only a hang can reach.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
