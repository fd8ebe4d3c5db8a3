//! Reads the sources of KEDA triggers: Prometheus over HTTP, a Redis list over TCP.

use std::time::Duration;

use democtl_core::autoscale::keda::{Prometheus, Source, Trigger, TriggerValue};

use crate::runtime::resolve::Directory;

/// KEDA's default timeout of an HTTP request.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Reads triggers' sources; keeps its connections.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    directory: Directory,
    http: reqwest::Client,
}

impl Readers {
    pub(super) fn new(directory: Directory) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap_or_default();
        Self { directory, http }
    }

    /// The value that a trigger has now, or why it cannot be had.
    pub(super) async fn read(&self, trigger: &Trigger, namespace: &str) -> Result<TriggerValue, String> {
        let number = match &trigger.source {
            Source::Prometheus(prometheus) => self.prometheus(prometheus, namespace).await?,
            Source::Redis(redis) => {
                let address = redis.address();
                let reading = self.redis(address, &redis.list_name, namespace);
                tokio::time::timeout(TIMEOUT, reading)
                    .await
                    .map_err(|_| format!("redis {address} does not answer"))??
            }
            // The time of day is the machine's: a divided clock has no dates.
            Source::Cron(cron) => {
                if cron.is_active(chrono::Utc::now())? {
                    cron.desired_replicas as f64
                } else {
                    0.0
                }
            }
            Source::Resource { name, .. } => return Err(format!("{name} is read by the autoscaler itself")),
        };
        Ok(trigger.value(number))
    }

    async fn prometheus(&self, trigger: &Prometheus, namespace: &str) -> Result<f64, String> {
        let host = trigger.server_address.trim_start_matches("http://").trim_end_matches('/');
        let address = self.directory.resolve(host, namespace).ok_or_else(|| format!("{host} does not resolve"))?;
        // KEDA sends whole seconds; at a speed of N those would be N seconds of profile time.
        let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let (path, query) = trigger.request(&time);
        let mut request = self.http.get(format!("http://{address}{path}")).query(&query);
        for (name, value) in &trigger.custom_headers {
            request = request.header(name, value);
        }
        let answer = request.timeout(trigger.timeout.unwrap_or(TIMEOUT)).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        trigger.read(status, &answer.text().await.map_err(|error| error.to_string())?)
    }

    async fn redis(&self, address: &str, list: &str, namespace: &str) -> Result<f64, String> {
        let found = self.directory.resolve(address, namespace).ok_or_else(|| format!("{address} does not resolve"))?;
        let client = redis::Client::open(format!("redis://{found}")).map_err(|error| error.to_string())?;
        let mut connection = client.get_multiplexed_async_connection().await.map_err(|error| error.to_string())?;
        let length: i64 =
            redis::cmd("LLEN").arg(list).query_async(&mut connection).await.map_err(|error| error.to_string())?;
        Ok(length as f64)
    }
}
