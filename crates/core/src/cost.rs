//! What a system costs: dollars per hour of a set of nodes, of a run, of a month.
//!
//! Owns the arithmetic only; node counts come from a run or a forecast, prices from [`crate::catalog`], overrides or
//! Azure's Retail Prices API. Nothing here is a constant of a profile.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    capacity, catalog,
    profile::{Pool, Profile},
};

/// How far a price can be trusted; every output that shows one says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceKind {
    /// The price list of now.
    List,
    /// The price list of some time ago.
    Cached,
    /// The table in this crate, with the profile's overrides.
    #[default]
    Fallback,
}

/// One item of Azure's Retail Prices API.
/// <https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices>
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetailPrice {
    /// `Virtual Machines Dsv5 Series`; Windows has products of its own.
    pub product_name: String,
    /// `D4s v5`, `D4s v5 Spot`, `D4s v5 Low Priority`.
    pub sku_name: String,
    /// Name of the meter.
    pub meter_name: String,
    /// `Standard_D4s_v5`.
    #[serde(default)]
    pub arm_sku_name: String,
    /// Dollars per unit.
    pub retail_price: f64,
    /// `1 Hour`.
    pub unit_of_measure: String,
    /// `Consumption`, `Reservation`, `DevTestConsumption`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Dollars per hour of a Linux VM that is paid as it goes; none: the list has no such price (never $0.00).
pub fn linux_vm_price(list: &[RetailPrice], vm_size: &str) -> Option<f64> {
    let reduced = |name: &str| name.ends_with(" Spot") || name.ends_with(" Low Priority");
    list.iter()
        .filter(|item| item.arm_sku_name.eq_ignore_ascii_case(vm_size))
        .filter(|item| item.kind == "Consumption" && item.unit_of_measure == "1 Hour")
        .filter(|item| !item.product_name.contains("Windows") && !item.product_name.contains("CloudServices"))
        .filter(|item| !reduced(&item.sku_name) && !reduced(&item.meter_name))
        .map(|item| item.retail_price)
        .find(|price| *price > 0.0)
}

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
    /// How far those of the VMs can be trusted.
    pub kind: PriceKind,
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
            kind: PriceKind::Fallback,
        }
    }

    /// Takes the VM prices of a list for those sizes that the profile does not price itself. `as_of`: the list's date. A
    /// list that lacks any of `sizes` changes nothing: two origins in one sum would hide which is which.
    #[must_use]
    pub fn with_list(
        mut self,
        list: &[RetailPrice],
        sizes: &[&str],
        region: &str,
        as_of: &str,
        kind: PriceKind,
    ) -> Self {
        let mut found = Vec::new();
        for size in sizes {
            let committed = catalog::vm_size(size).map(|size| size.usd_per_hour);
            let overridden = self.vm.get(*size).copied() != committed;
            match linux_vm_price(list, size) {
                _ if overridden => {}
                Some(price) => found.push(((*size).to_owned(), price)),
                None => return self,
            }
        }
        self.vm.extend(found);
        let which = if kind == PriceKind::List { "list prices" } else { "cached list prices" };
        self.origin = format!("{which} of VMs for {region}, Linux, pay-as-you-go; the rest from democtl's own table");
        as_of.clone_into(&mut self.as_of);
        self.kind = kind;
        self
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

/// What a run cost, and what the cluster costs an hour around it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunCost {
    /// Dollars per hour when the run began.
    pub before_per_hour: f64,
    /// Greatest dollars per hour during the run.
    pub peak_per_hour: f64,
    /// Dollars per hour when it ended.
    pub after_per_hour: f64,
    /// Node-hours of the run, profile time.
    pub node_hours: f64,
    /// Dollars of the run, profile time.
    pub run_usd: f64,
}

/// The cost of `start..end` on a node timeline (ascending). None: a size has no price, or no step lies before `end`.
pub fn run(prices: &Prices, timeline: &[NodeStep], start: Duration, end: Duration) -> Option<RunCost> {
    let at = |moment: Duration| timeline.iter().rev().find(|step| step.at <= moment).or(timeline.first());
    let during = timeline.iter().filter(|step| step.at > start && step.at < end).chain(at(start));
    let rates: Option<Vec<f64>> = during.map(|step| prices.per_hour(&step.nodes)).collect();
    let mut node_hours = 0.0;
    for (index, step) in timeline.iter().enumerate() {
        let until = timeline.get(index + 1).map_or(end, |next| next.at).min(end);
        let nodes: u32 = step.nodes.iter().map(|node| node.count).sum();
        node_hours += until.saturating_sub(step.at.max(start)).as_secs_f64() / 3600.0 * f64::from(nodes);
    }
    Some(RunCost {
        before_per_hour: prices.per_hour(&at(start)?.nodes)?,
        peak_per_hour: rates?.into_iter().fold(0.0, f64::max),
        after_per_hour: prices.per_hour(&at(end)?.nodes)?,
        node_hours,
        run_usd: prices.between(timeline, start, end)?,
    })
}

/// A month's cost, projected from the profile's traffic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Projection {
    /// Dollars per month of 730 hours.
    pub monthly_usd: f64,
    /// Mean number of nodes.
    pub mean_nodes: f64,
    /// Lines that sum to the month: `VMs`, `OS disks`, `control plane`, `load balancer`, `public IPs`.
    pub lines: Vec<(String, f64)>,
    /// What was assumed, in words.
    pub assumption: String,
}

/// Projects a month: at load 0 every pool at what the least replicas need, at load 1 at `peak` nodes per pool (in the profile's order),
/// rounded up in between. `peak` is what a run measured; none: what the workloads need at their greatest replicas.
/// None: a VM size has no price.
pub fn project(profile: &Profile, peak: Option<&[u32]>) -> Option<Projection> {
    let estimated: Vec<u32> =
        capacity::needed(profile, capacity::most_replicas).pools.iter().map(|(_, count)| *count).collect();
    let peak_counts = peak.unwrap_or(&estimated);
    let least = capacity::needed(profile, capacity::least_replicas).pools;
    let prices = &profile.prices;
    let (mut vms, mut node_hours, mut spans) = (0.0, 0.0, Vec::new());
    for (load, hours) in profile.traffic.hours() {
        let grow = |((pool, (_, least)), peak): ((&Pool, &(String, u32)), &u32)| {
            let extra = f64::from(peak.saturating_sub(*least)) * load;
            if pool.autoscaled { least + extra.ceil() as u32 } else { pool.count }
        };
        let counts: Vec<u32> = profile.pools.iter().zip(&least).zip(peak_counts).map(grow).collect();
        let total: u32 = counts.iter().sum();
        for node in capacity::by_vm_size(profile, &counts) {
            vms += prices.vm.get(&node.vm_size)? * f64::from(node.count) * hours;
        }
        node_hours += f64::from(total) * hours;
        match spans.iter_mut().find(|(nodes, _)| *nodes == total) {
            Some((_, sum)) => *sum += hours,
            None => spans.push((total, hours)),
        }
    }
    let month = catalog::HOURS_PER_MONTH;
    let lines = vec![
        ("VMs".to_owned(), vms / 24.0 * month),
        ("OS disks".to_owned(), node_hours / 24.0 * month * prices.os_disk),
        ("control plane".to_owned(), prices.control_plane * month),
        ("load balancer".to_owned(), prices.load_balancer * month),
        ("public IPs".to_owned(), 2.0 * prices.public_ip * month),
    ];
    Some(Projection {
        monthly_usd: lines.iter().map(|(_, usd)| usd).sum(),
        mean_nodes: node_hours / 24.0,
        lines,
        assumption: assumption(&spans, peak.is_some(), profile),
    })
}

fn assumption(spans: &[(u32, f64)], measured: bool, profile: &Profile) -> String {
    let day: Vec<String> = spans.iter().map(|(nodes, hours)| format!("{hours} h at {nodes} nodes")).collect();
    let peak = match (profile.pools.iter().any(|pool| pool.autoscaled), measured) {
        (false, _) => "fixed pools",
        (true, true) => "peak as measured in the run",
        (true, false) => "peak as the greatest replicas need it",
    };
    let prices = &profile.prices;
    format!(
        "a day of {} ({peak}), {} h a month; {} ({})",
        day.join(" and "),
        catalog::HOURS_PER_MONTH,
        prices.origin,
        prices.as_of
    )
}

/// Two monthly costs beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The first month.
    pub from_usd: f64,
    /// The second month.
    pub to_usd: f64,
    /// Dollars saved a month; negative when the second costs more.
    pub saved_usd: f64,
    /// Share saved; 0 when the first costs nothing.
    pub saved_share: f64,
}

/// Compares a month of one system with a month of another.
pub fn compare(from: &Projection, to: &Projection) -> Comparison {
    let saved_usd = from.monthly_usd - to.monthly_usd;
    let saved_share = if from.monthly_usd > 0.0 { saved_usd / from.monthly_usd } else { 0.0 };
    Comparison { from_usd: from.monthly_usd, to_usd: to.monthly_usd, saved_usd, saved_share }
}
