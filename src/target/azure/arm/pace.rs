//! Time as the client sees it, so that tests need not wait.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;

/// A clock that one can wait on.
pub trait Pace: fmt::Debug + Send + Sync {
    /// Time since some beginning.
    fn now(&self) -> Duration;
    /// Waits.
    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()>;
}

/// The machine's own clock.
#[derive(Debug)]
pub struct RealTime(Instant);

impl Default for RealTime {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Pace for RealTime {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}
