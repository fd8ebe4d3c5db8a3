//! One local cluster for one test, in this process; its pods are processes of the built binary.

use std::{path::Path, time::Duration};

use democtl_core::{
    profile::Resources,
    render::NodePool,
    units::{Bytes, Millicores},
};
use democtl_local::{ServeError, config::Config, server::serve_until};
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// How long anything may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A cluster of one node.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
    _dir: TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        // The process has one provider; another test may have come first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a directory");
        let shutdown = CancellationToken::new();
        let mut serving = tokio::spawn(serve_until(config(dir.path()), shutdown.clone()));
        let kubeconfig = dir.path().join("cluster/kubeconfig");
        let written = eventually("the cluster's kubeconfig", || std::future::ready(kubeconfig.exists().then_some(())));
        tokio::select! {
            () = written => {}
            ended = &mut serving => panic!("the cluster ended: {ended:?}"),
        }
        let file = Kubeconfig::read_from(&kubeconfig).expect("it is whole");
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let mut config = config.expect("it is valid");
        // A 429 is an answer here, not a reason to ask again for a minute.
        config.default_retry = false;
        let client = Client::try_from(config).expect("a client");
        Self { client, shutdown, serving, _dir: dir }
    }

    /// Ends the cluster and its pods.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let ended = within("the end of the cluster", self.serving).await;
        ended.expect("it does not panic").expect("it ends well");
    }
}

fn config(dir: &Path) -> Config {
    let pool = NodePool {
        name: "main".into(),
        vm_size: "Standard_D4s_v5".into(),
        count: 1,
        min: 1,
        max: 1,
        zones: Vec::new(),
        location: "westeurope".into(),
        capacity: Resources { cpu: Millicores(4000), memory: Bytes(16 << 30) },
        allocatable: Resources { cpu: Millicores(3860), memory: Bytes(12 << 30) },
        max_pods: 110,
        labels: [].into(),
        taints: Vec::new(),
        mode: "System".into(),
    };
    Config {
        name: "test".into(),
        dir: dir.join("cluster"),
        speed: 10.0,
        seed: 1,
        pools: vec![pool],
        autoscaler: None,
        vm_delay: (Duration::from_secs(1), Duration::from_secs(1)),
        app_exe: env!("CARGO_BIN_EXE_democtl").into(),
    }
}

/// What a future yields; panics with `what` when it takes too long.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} took more than {DEADLINE:?}"))
}

/// Asks until there is something; panics with `what` when it takes too long.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(what, asking).await
}
