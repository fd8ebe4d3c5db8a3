//! The cluster's clock: profile time runs `speed` times faster than real time.
//!
//! Controllers keep the durations of the profile (15 s syncs, 10 m timers) and live in profile time; only waiting is
//! divided. Requests and Prometheus samples live in real time, since a request's own time is never divided.

use std::time::{Duration, Instant};

/// Profile time since the cluster was first started.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    offset: Duration,
    speed: f64,
}

impl Clock {
    /// A clock that stands at `offset` (what an earlier life of the cluster had reached) and runs `speed` times real time.
    pub fn new(speed: f64, offset: Duration) -> Self {
        Self { origin: Instant::now(), offset, speed }
    }

    /// Profile time since the cluster was first started.
    pub fn now(&self) -> Duration {
        self.offset + self.origin.elapsed().mul_f64(self.speed)
    }

    /// How much faster than real time it runs.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// The real time that a profile duration takes.
    pub fn real(&self, profile: Duration) -> Duration {
        profile.div_f64(self.speed)
    }

    /// Waits for a profile duration.
    pub async fn sleep(&self, profile: Duration) {
        tokio::time::sleep(self.real(profile)).await;
    }

    /// Ticks every `period` of profile time, the first one at once; late ticks are not made up for.
    pub fn interval(&self, period: Duration) -> tokio::time::Interval {
        let mut ticks = tokio::time::interval(self.real(period).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks
    }
}
