//! What a system costs: dollars per hour of a set of nodes, of a run, of a month.
//!
//! Owns the arithmetic only; node counts come from a run or a forecast, prices from [`crate::catalog`], overrides or
//! Azure's Retail Prices API. Nothing here is a constant of a profile.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::catalog;

/// Prices in dollars.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prices {
    /// Per VM and hour, by size.
    pub vm: BTreeMap<String, f64>,
    /// Control plane per hour (0 for the free tier).
    pub control_plane: f64,
    /// One node's OS disk per hour.
    pub os_disk: f64,
    /// Load balancer per hour.
    pub load_balancer: f64,
    /// Public IP addresses per hour.
    pub public_ip: f64,
    /// Log ingestion per GB; only used where a volume is known.
    pub log_gb: f64,
    /// Date of the prices.
    pub as_of: String,
    /// Where they come from, in words.
    pub origin: String,
}

/// So many nodes of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeCount {
    /// VM size.
    pub vm_size: String,
    /// How many.
    pub count: u32,
}

/// From this moment on (profile time since the run began), these nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStep {
    /// Profile time.
    pub at: Duration,
    /// All nodes that are paid for, those starting included.
    pub nodes: Vec<NodeCount>,
}

impl Prices {
    /// The committed fallback table.
    pub fn committed() -> Self {
        Self {
            vm: catalog::VM_SIZES.iter().map(|size| (size.name.to_owned(), size.usd_per_hour)).collect(),
            control_plane: catalog::CONTROL_PLANE_STANDARD,
            os_disk: catalog::OS_DISK_MONTH / catalog::HOURS_PER_MONTH,
            load_balancer: catalog::LOAD_BALANCER,
            public_ip: catalog::PUBLIC_IP,
            log_gb: catalog::LOG_ANALYTICS_GB,
            as_of: catalog::PRICES_AS_OF.to_owned(),
            origin: catalog::PRICES_ORIGIN.to_owned(),
        }
    }

    /// Every price times `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.vm.values_mut().for_each(|price| *price *= factor);
        for price in
            [&mut self.control_plane, &mut self.os_disk, &mut self.load_balancer, &mut self.public_ip, &mut self.log_gb]
        {
            *price *= factor;
        }
        self
    }

    /// Dollars per hour of these nodes with their disks, without the cluster's fixed lines. None: a size has no price
    /// (never $0.00).
    pub fn nodes_per_hour(&self, nodes: &[NodeCount]) -> Option<f64> {
        nodes.iter().map(|n| Some(f64::from(n.count) * (self.vm.get(&n.vm_size)? + self.os_disk))).sum()
    }

    /// Dollars per hour of the cluster itself: control plane, load balancer, and two addresses (egress and web).
    pub fn fixed_per_hour(&self) -> f64 {
        self.control_plane + self.load_balancer + 2.0 * self.public_ip
    }

    /// Dollars per hour of a cluster with these nodes.
    pub fn per_hour(&self, nodes: &[NodeCount]) -> Option<f64> {
        Some(self.nodes_per_hour(nodes)? + self.fixed_per_hour())
    }

    /// Dollars of the time `from..to` on this timeline (ascending; before its first step nothing is paid for).
    pub fn between(&self, timeline: &[NodeStep], from: Duration, to: Duration) -> Option<f64> {
        let mut total = 0.0;
        for (index, step) in timeline.iter().enumerate() {
            let end = timeline.get(index + 1).map_or(to, |next| next.at).min(to);
            let hours = end.saturating_sub(step.at.max(from)).as_secs_f64() / 3600.0;
            total += self.per_hour(&step.nodes)? * hours;
        }
        Some(total)
    }
}
