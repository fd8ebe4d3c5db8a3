//! A fake Azure in this process, and clients whose clock is the fake's own.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use democtl::target::azure::arm::{Arm, Given, Pace, Patience, Token};
use democtl_core::render::azure::Placement;
use democtl_fake_azure::{FakeAzure, World};
use futures::future::BoxFuture;
use serde_json::{Value, json};

/// The fake's subscription.
pub(crate) const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-4000-8000-000000000001";

/// Waiting on this clock lets time pass in the world; nothing sleeps.
#[derive(Debug)]
pub(crate) struct WorldTime(pub(crate) Arc<Mutex<World>>);

impl Pace for WorldTime {
    fn now(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).advance(time);
        Box::pin(tokio::task::yield_now())
    }
}

/// Installs the process's TLS provider, as `main` does.
pub(crate) fn tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A fake with a client on its clock.
pub(crate) async fn azure(world: World) -> (FakeAzure, Arm) {
    azure_with(world, Patience::default()).await
}

pub(crate) async fn azure_with(world: World, patience: Patience) -> (FakeAzure, Arm) {
    tls();
    let fake = FakeAzure::start(world).await.expect("loopback has a free port");
    let tokens = Box::new(Given(Token::new("fake-token", None)));
    let arm = Arm::new(&fake.url, tokens, Arc::new(WorldTime(fake.shared())), patience).expect("a usable address");
    (fake, arm)
}

/// An environment's id.
pub(crate) const ID: &str = "00000000-0000-4000-8000-00000000000a";

/// An environment in the fake's subscription.
pub(crate) fn placement(environment: &str) -> Placement<'_> {
    Placement {
        environment,
        id: ID,
        subscription: SUBSCRIPTION.trim_start_matches("/subscriptions/"),
        expires_at: "2026-11-26T00:00:00Z",
    }
}

/// Its tags, as far as they tell whose something is.
pub(crate) fn tags(environment: &str) -> Value {
    json!({ "democtl-environment": environment, "democtl-id": ID })
}

/// The path of a resource group.
pub(crate) fn group(name: &str) -> String {
    format!("{SUBSCRIPTION}/resourceGroups/{name}")
}

/// The path of a cluster in the group `demo`.
pub(crate) fn cluster() -> String {
    format!("{}/providers/Microsoft.ContainerService/managedClusters/aks", group("demo"))
}

/// A small cluster as ARM takes it.
pub(crate) fn small_cluster() -> Value {
    json!({
        "location": "westeurope", "identity": { "type": "SystemAssigned" }, "sku": { "name": "Base", "tier": "Standard" },
        "properties": { "agentPoolProfiles": [
            { "name": "main", "vmSize": "Standard_D4s_v5", "count": 2, "mode": "System",
              "enableAutoScaling": true, "minCount": 2, "maxCount": 7 },
        ] },
    })
}

/// A program on PATH; where there is none it is said, and `DEMOCTL_TEST_REQUIRE` can demand it.
pub(crate) fn found(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    let demanded = std::env::var("DEMOCTL_TEST_REQUIRE").unwrap_or_default();
    assert!(found.is_some() || !demanded.split(',').any(|name| name == program), "{program} is demanded and not there");
    #[expect(clippy::print_stderr, reason = "a test that is not run says so")]
    if found.is_none() {
        eprintln!("not run: {program} is not found");
    }
    found
}
