//! The app's own API, as an operator uses it: its status, and a reset before a run.

use std::time::Duration;

use serde::Deserialize;

/// What the app tells of itself at `/api/admin/status`.
#[derive(Debug, Clone, Deserialize)]
pub struct AppStatus {
    /// Messages that no worker has claimed.
    pub queue_depth: u64,
    /// Messages that a worker has claimed and not yet stored.
    #[serde(default)]
    pub processing: u64,
    /// Customers stored since the last reset.
    #[serde(default)]
    pub customers: u64,
    /// Messages given up after all retries.
    #[serde(default)]
    pub dead_letters: u64,
}

impl AppStatus {
    /// Messages that are not stored yet, claimed or not.
    pub fn unfinished(&self) -> u64 {
        self.queue_depth + self.processing
    }
}

/// A client of the app: no proxy, short deadlines.
#[derive(Debug, Clone)]
pub struct DemoApp(reqwest::Client);

impl Default for DemoApp {
    fn default() -> Self {
        let builder = reqwest::Client::builder().no_proxy();
        let builder = builder.connect_timeout(Duration::from_secs(2)).timeout(Duration::from_secs(5));
        Self(builder.build().unwrap_or_default())
    }
}

impl DemoApp {
    /// Asks the app at a base address (`http://HOST:PORT`) for its state, which includes the store's.
    pub async fn status(&self, address: &str) -> Result<AppStatus, reqwest::Error> {
        self.0.get(format!("{address}/api/admin/status")).send().await?.error_for_status()?.json().await
    }

    /// Empties the app's queue and store.
    pub async fn reset(&self, address: &str) -> Result<(), reqwest::Error> {
        self.0.post(format!("{address}/api/admin/reset")).send().await?.error_for_status()?;
        Ok(())
    }
}
