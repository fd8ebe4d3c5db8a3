//! The embedded Kubernetes cluster: its API server, its controllers, its pods.
//!
//! `api` is the server and its storage; `controllers` drive the state machines of `democtl_core::autoscale` and own no
//! scaling rule; `runtime` is what a kubelet, kube-proxy, metrics-server and Prometheus do on a real cluster.

pub mod api;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod controllers;
pub mod runtime;
pub mod server;

pub use server::{ServeError, serve};
