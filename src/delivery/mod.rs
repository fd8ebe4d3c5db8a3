//! What goes into the cluster, and whether it became healthy: the same code for every target, through the Kubernetes API.

pub mod apply;
pub mod health;
pub mod withdraw;

use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::failure::{Failure, Kind, OrFail as _};

/// Namespace of the demo's workloads.
pub const NAMESPACE: &str = democtl_core::render::DEMO_NAMESPACE;

/// A client for the cluster of a kubeconfig file.
pub async fn connect(kubeconfig: &Path) -> Result<Client, Failure> {
    let what = || format!("cannot use the kubeconfig {}", kubeconfig.display());
    let file = Kubeconfig::read_from(kubeconfig).or_fail(Kind::Infrastructure, what)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .or_fail(Kind::Infrastructure, what)?;
    // No proxy of the environment leads to this machine.
    if matches!(config.cluster_url.host(), Some("127.0.0.1" | "localhost" | "[::1]")) {
        config.proxy_url = None;
    }
    Client::try_from(config).or_fail(Kind::Infrastructure, what)
}

/// Whether the API server says that it is ready.
pub async fn ready(client: &Client) -> bool {
    let request = http_get("/readyz");
    client.request_text(request).await.is_ok()
}

/// Waits until the API server answers: that of a managed cluster may take a moment after the cluster was made.
pub async fn wait_until_ready(client: &Client, deadline: Duration) -> Result<(), Failure> {
    let ready = async {
        while !ready(client).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(deadline, ready).await.map_err(|_| {
        let seconds = deadline.as_secs();
        Failure::msg(Kind::Infrastructure, format!("the cluster's API did not answer within {seconds} s"))
            .hint("democtl setup goes on where it stopped")
    })
}

/// A bare GET of a path.
pub(crate) fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).expect("a literal path makes a valid request")
}
