//! Reads the sources of KEDA triggers: Prometheus over HTTP, a Redis list over TCP.

use std::time::Duration;

use democtl_core::autoscale::keda::{Source, Trigger, TriggerValue};
use serde_json::Value;

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
            Source::Prometheus { server, query, ignore_null, .. } => {
                self.prometheus(server, query, *ignore_null, namespace).await?
            }
            Source::Redis { address, list, .. } => {
                let reading = self.redis(address, list, namespace);
                tokio::time::timeout(TIMEOUT, reading)
                    .await
                    .map_err(|_| format!("redis {address} does not answer"))??
            }
            Source::Resource { name, .. } => return Err(format!("{name} is read by the autoscaler itself")),
        };
        Ok(trigger.value(number))
    }

    async fn prometheus(&self, server: &str, query: &str, ignore_null: bool, namespace: &str) -> Result<f64, String> {
        let host = server.trim_start_matches("http://").trim_end_matches('/');
        let address = self.directory.resolve(host, namespace).ok_or_else(|| format!("{host} does not resolve"))?;
        // KEDA sends whole seconds; at a speed of N those would be N seconds of profile time.
        let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let url = format!("http://{address}/api/v1/query");
        let answer = self.http.get(url).query(&[("query", query), ("time", &time)]).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("prometheus query api returned error. status: {}", answer.status().as_u16()));
        }
        let body: Value = answer.json().await.map_err(|error| error.to_string())?;
        prometheus_value(&body, query, ignore_null)
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

/// The one number of an answer, as KEDA reads it.
fn prometheus_value(body: &Value, query: &str, ignore_null: bool) -> Result<f64, String> {
    let lost = |what: &str| {
        if ignore_null { Ok(0.0) } else { Err(format!("prometheus metrics 'prometheus' target may be lost, {what}")) }
    };
    let results = match body.pointer("/data/result") {
        None => return lost("the result is empty"),
        Some(Value::Array(results)) => results,
        Some(_) => return Err("the result is not a list".to_owned()),
    };
    let result = match results.as_slice() {
        [] => return lost("the result is empty"),
        [one] => one,
        _ => return Err(format!("prometheus query {query} returned multiple elements")),
    };
    let value = match result["value"].as_array().map(Vec::as_slice) {
        None | Some([]) => return lost("the value list is empty"),
        Some([_]) => return Err(format!("prometheus query {query} didn't return enough values")),
        Some([_, value, ..]) => value,
    };
    let Some(text) = value.as_str() else { return Ok(-1.0) };
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if number.is_finite() {
        return Ok(number);
    }
    if ignore_null { Ok(0.0) } else { Err(format!("prometheus query returns {text}")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_read_as_keda_reads_them() {
        let answer = |result: Value| json!({ "data": { "result": result } });
        let read = |result: Value, ignore| prometheus_value(&answer(result), "q", ignore);
        assert_eq!(read(json!([{ "value": [1, "2.5"] }]), true), Ok(2.5));
        assert_eq!(read(json!([]), true), Ok(0.0));
        assert!(read(json!([]), false).is_err_and(|error| error.contains("the result is empty")));
        assert_eq!(read(json!([{ "value": [1, "+Inf"] }]), true), Ok(0.0));
        assert!(read(json!([{}, {}]), true).is_err_and(|error| error.contains("multiple elements")));
        assert!(read(json!([1, "2"]), true).is_err_and(|error| error.contains("multiple elements")));
    }
}
