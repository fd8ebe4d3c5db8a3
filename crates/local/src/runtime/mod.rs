//! What kubelet, kube-proxy, metrics-server and Prometheus do on a real cluster.
//!
//! Owns the pods' processes, their addresses, logs and probes, the Services' listeners, the modelled resource metrics
//! and the embedded Prometheus. It owns no object: everything it learns and tells goes through the API's client. It
//! decides nothing about scaling (`controllers` does).

pub mod balance;
pub mod env;
#[cfg(test)]
mod fake;
pub mod kubelet;
pub mod logs;
pub mod metrics;
pub mod network;
pub mod objects;
pub mod probe;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod resolve;
