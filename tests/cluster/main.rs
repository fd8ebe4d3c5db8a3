//! kube-rs, unmodified, against the local cluster: watchers, reflectors, a controller, writes, streams of pods.

mod cluster;
mod controller;
mod streams;
mod watching;
mod writing;
