//! Many operations at once, on a clock that all of them share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use democtl::target::azure::arm::{Arm, CONTAINER_SERVICE, Given, Pace, Patience, RESOURCES, Token};
use democtl_fake_azure::{FakeAzure, World};
use futures::future::{BoxFuture, join_all};
use http::Method;
use serde_json::json;
use tokio::sync::oneshot;

use crate::common::{group, small_cluster, tls};

const POLLERS: usize = 64;

/// A world in which time passes only when all members wait: to the moment for which the first of them waits.
#[derive(Debug)]
struct Together {
    world: Arc<Mutex<World>>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    members: usize,
    number: usize,
    until: BTreeMap<(Duration, usize), oneshot::Sender<()>>,
}

impl Together {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, waiting: &mut Waiting) {
        if waiting.until.len() == waiting.members
            && let Some(((until, _), wake)) = waiting.until.pop_first()
        {
            let mut world = self.world();
            let by = until.saturating_sub(world.now());
            world.advance(by);
            let _ = wake.send(());
        }
    }

    /// One member less.
    fn leave(&self) {
        let mut waiting = self.waiting();
        waiting.members -= 1;
        self.pass(&mut waiting);
    }
}

impl Pace for Together {
    fn now(&self) -> Duration {
        self.world().now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        let until = self.now() + time;
        let (wake, woken) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.number += 1;
        let number = waiting.number;
        waiting.until.insert((until, number), wake);
        self.pass(&mut waiting);
        Box::pin(async {
            let _ = woken.await;
        })
    }
}

/// Azure says "ask again after a second" to each of 64: together they would ask 64 times a second, and it lets one login
/// read 250 times and then 25 times a second.
#[tokio::test]
async fn many_operations_at_once_stay_within_the_rate_of_the_subscription() {
    tls();
    let mut world = World::default();
    world.style.make = Duration::from_secs(60);
    world.style.retry_after = Duration::from_secs(1);
    for usage in &mut world.facts.usages {
        usage.limit = 10_000;
    }
    let fake = FakeAzure::start(world).await.expect("loopback has a free port");
    let waiting = Mutex::new(Waiting { members: 1, ..Waiting::default() });
    let clock = Arc::new(Together { world: fake.shared(), waiting });
    let tokens = Box::new(Given(Token::new("fake-token", None)));
    let arm = Arm::new(&fake.url, tokens, clock.clone(), Patience::default()).expect("a usable address");
    arm.put(&group("demo"), RESOURCES, &json!({ "location": "westeurope" })).await.expect("it can be made");
    clock.waiting().members = POLLERS;
    let made = join_all((0..POLLERS).map(|number| {
        let (arm, clock) = (&arm, &clock);
        async move {
            let path = format!("{}/providers/Microsoft.ContainerService/managedClusters/aks{number}", group("demo"));
            let made = arm.put(&path, CONTAINER_SERVICE, &small_cluster()).await;
            clock.leave();
            made
        }
    }))
    .await;
    for cluster in made {
        assert_eq!(cluster.expect("it is made")["properties"]["provisioningState"], "Succeeded");
    }
    let world = fake.world();
    let (mut tokens, mut last, mut reads) = (250.0, Duration::ZERO, 0);
    for logged in &world.log {
        assert_ne!(logged.status, Some(429));
        if logged.method != Method::GET {
            continue;
        }
        tokens = f64::min(tokens + 25.0 * logged.at.saturating_sub(last).as_secs_f64(), 250.0) - 1.0;
        last = logged.at;
        reads += 1;
        assert!(tokens >= 0.0, "after {reads} reads at {:?} ARM would throttle", logged.at);
    }
    assert!(reads > POLLERS * 2, "they polled: {reads} reads");
    assert!(world.now() < Duration::from_secs(90), "and not much later than the operations end: {:?}", world.now());
}
