//! Figures that the demo app and its forecast share.

use std::time::Duration;

/// Bounds of the app's histograms, seconds.
pub const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Bytes that a request in flight adds to the modelled memory.
pub const MEMORY_PER_REQUEST: u32 = 256 << 10;
/// A worker that has not been heard of for so long is dead: others take what it had claimed.
pub const HEARTBEAT_TTL: Duration = Duration::from_secs(5);
