//! What the target's cloud tells beside the cluster, where there is a cloud.

use std::{sync::Arc, time::Duration};

use democtl_core::event::Fact;
use futures::future::BoxFuture;

use super::Recorder;

/// How often it is asked; clouds count requests.
const PERIOD: Duration = Duration::from_secs(15);

/// A cloud that can be asked.
pub trait Cloud: Send + Sync {
    /// What is new since the last look; everything at the first.
    fn look(&self) -> BoxFuture<'_, Vec<Fact>>;
}

pub(super) async fn run(cloud: Arc<dyn Cloud>, recorder: Recorder) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for fact in cloud.look().await {
            recorder.record(fact);
        }
    }
}
