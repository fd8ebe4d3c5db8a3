//! Raw to resolved: defaults, names, pools, autoscaler, traffic, prices. Workloads are in [`super::workload`], checks
//! across sections in [`super::cross`].

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;

use super::{
    model::{Autoscaler, Azure, Local, Period, Pool, PoolMode, SkuTier, Taint, Traffic},
    raw::{
        RawAutoscaler, RawExpander, RawLocal, RawMode, RawPool, RawPrices, RawProfile, RawSkuTier, RawTraffic, RawZone,
        SpanRange,
    },
    report::Report,
    structure::minute_of_day,
    tree::Node,
};
use crate::{catalog, cost::Prices, suggest, units::Span};

/// What the resolving functions share: the tree for places, and the report.
pub(super) struct Context<'a> {
    pub(super) tree: &'a Node,
    pub(super) report: &'a mut Report,
    /// Whether the structure was sound: if not, absence is no news.
    pub(super) sound: bool,
}

impl Context<'_> {
    /// Reports a problem at `path`.
    pub(super) fn fail(&mut self, path: &str, code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        let message = message.into();
        let label = label_of(code);
        self.report.on(self.tree, path, code, message, label, hint);
    }

    /// Reports that something is absent; silent when it may have been taken out as unreadable.
    pub(super) fn missing(&mut self, path: &str, message: impl Into<String>, hint: impl Into<String>) {
        if self.sound {
            self.fail(path, "missing_key", message, hint);
        }
    }

    /// The keys of a table in the order in which they were written.
    pub(super) fn keys(&self, table: &str) -> Vec<String> {
        self.tree.get(table).map_or(vec![], |entry| entry.node.entries().iter().map(|e| e.key.clone()).collect())
    }

    /// Checks a name that becomes a Kubernetes object's.
    pub(super) fn dns_label(&mut self, path: &str, what: &str, name: &str) {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let sound = (1..=40).contains(&name.len())
            && name.chars().all(legal)
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-');
        if !sound {
            let hint = "lowercase letters, digits and `-`, at most 40, starting with a letter";
            self.fail(path, "bad_name", format!("`{name}` cannot name a {what}"), hint);
        }
    }
}

fn label_of(code: &str) -> &'static str {
    match code {
        "missing_key" => "needs it here",
        "bad_name" => "not a valid name",
        "conflict" => "contradicts another setting",
        "does_not_fit" => "too large",
        "bad_query" => "this query",
        "unknown_reference" | "unknown_queue" => "nothing of this name",
        "not_for_role" => "belongs to another role",
        _ => "here",
    }
}

/// Azure's settings with the four tags of the facts.
pub(super) fn azure(raw: &RawProfile, name: &str, context: &mut Context<'_>) -> Azure {
    if let Some(version) = &raw.azure.kubernetes_version {
        let sound = version.split_once('.').is_some_and(|(major, minor)| {
            major == "1" && minor.parse::<u32>().is_ok_and(|minor| (24..100).contains(&minor))
        });
        if !sound {
            let message = format!("`{version}` is not a Kubernetes minor version");
            context.fail("azure.kubernetes_version", "bad_version", message, "such as \"1.33\"");
        }
    }
    let location = raw.azure.location.clone().unwrap_or_else(|| "westeurope".into());
    if location.is_empty() || !location.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        let message = format!("`{location}` is not a region's name");
        context.fail("azure.location", "bad_name", message, "such as \"westeurope\" (az account list-locations)");
    }
    let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
    let mut tags = BTreeMap::from([
        ("Environment".to_owned(), or(&raw.meta.environment, "demo")),
        ("Profile".to_owned(), name.to_owned()),
        ("Purpose".to_owned(), or(&raw.meta.purpose, "reliability-demo")),
        ("CostCenter".to_owned(), or(&raw.meta.cost_center, "demo")),
    ]);
    tags.extend(raw.azure.tags.clone());
    Azure {
        location,
        sku_tier: match raw.azure.sku_tier {
            Some(RawSkuTier::Free) => SkuTier::Free,
            Some(RawSkuTier::Standard) | None => SkuTier::Standard,
        },
        kubernetes_version: raw.azure.kubernetes_version.clone(),
        authorized_ip_ranges: ip_ranges(&raw.azure.authorized_ip_ranges, context),
        tags,
    }
}

/// The networks that may reach the API server, as AKS takes them: IPv4, and so many at most.
/// <https://learn.microsoft.com/azure/aks/api-server-authorized-ip-ranges>
fn ip_ranges(ranges: &[String], context: &mut Context<'_>) -> Vec<String> {
    const MOST: usize = 200;
    let path = "azure.authorized_ip_ranges";
    if ranges.len() > MOST {
        let message = format!("`authorized_ip_ranges` has {} networks, AKS takes at most {MOST}", ranges.len());
        context.fail(path, "out_of_range", message, "join neighbours into larger networks");
    }
    for (index, range) in ranges.iter().enumerate() {
        let wrong = match range.parse::<IpNet>() {
            Ok(IpNet::V4(network)) if network == network.trunc() => continue,
            Ok(IpNet::V4(network)) => {
                (format!("`{range}` is an address within a network"), format!("the network is \"{}\"", network.trunc()))
            }
            Ok(IpNet::V6(_)) => (format!("`{range}` is IPv6, which AKS does not take here"), CIDR.to_owned()),
            Err(_) => match range.parse::<std::net::Ipv4Addr>() {
                Ok(address) => (format!("`{range}` has no length"), format!("one address is \"{address}/32\"")),
                Err(_) => (format!("`{range}` is not an IPv4 network"), CIDR.to_owned()),
            },
        };
        context.fail(&format!("{path}.{index}"), "bad_network", wrong.0, wrong.1);
    }
    ranges.to_vec()
}

const CIDR: &str = "such as \"198.51.100.0/24\"";

/// The pools, in the order written.
pub(super) fn pools(raw: &BTreeMap<String, RawPool>, context: &mut Context<'_>) -> Vec<Pool> {
    let names = context.keys("pool");
    if names.is_empty() {
        context.missing(
            "pool",
            "the profile has no node pool",
            "add [pool.main] with vm_size and count, or min and max",
        );
    }
    let mut pools = Vec::new();
    for name in names {
        let Some(pool) = raw.get(&name) else { continue };
        let path = format!("pool.{name}");
        if !(1..=12).contains(&name.len())
            || !name.starts_with(|c: char| c.is_ascii_lowercase())
            || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        {
            let hint = "AKS: lowercase letters and digits, at most 12, starting with a letter";
            context.fail(&path, "bad_name", format!("`{name}` cannot name a pool"), hint);
        }
        pools.extend(one_pool(&name, pool, pools.is_empty(), context));
    }
    if !pools.is_empty() && pools.iter().all(|pool| pool.mode == PoolMode::User) {
        context.fail("pool", "conflict", "no pool has mode `System`", "AKS needs one system pool");
    }
    for pool in pools.iter().filter(|pool| pool.mode == PoolMode::System && pool.min == 0) {
        let message = format!("the system pool `{}` may shrink to 0 nodes", pool.name);
        context.fail(&format!("pool.{}.min", pool.name), "out_of_range", message, "AKS keeps at least 1 there");
    }
    pools
}

fn one_pool(name: &str, raw: &RawPool, first: bool, context: &mut Context<'_>) -> Option<Pool> {
    let path = format!("pool.{name}");
    let Some(wanted) = &raw.vm_size else {
        context.missing(&path, format!("`vm_size` is missing in `{path}`"), "such as \"Standard_D4s_v5\"");
        return None;
    };
    let Some(vm_size) = catalog::vm_size(wanted) else {
        let hint = suggest::hint(wanted, catalog::VM_SIZES.map(|size| size.name)).unwrap_or_default();
        context.fail(&format!("{path}.vm_size"), "unknown_reference", format!("unknown VM size `{wanted}`"), hint);
        return None;
    };
    let (count, min, max, autoscaled) = match (raw.count, raw.min, raw.max) {
        (Some(count), None, None) => (count, count, count, false),
        (count, Some(min), Some(max)) => (count.unwrap_or(min), min, max, true),
        (None, None, None) => {
            context.missing(&path, format!("`{path}` has no size"), "either count = 3, or min = 2 and max = 7");
            return None;
        }
        _ => {
            let hint = "a pool has either `count`, or `min` and `max`";
            context.missing(&path, format!("`{path}` has only one of `min` and `max`"), hint);
            return None;
        }
    };
    if min > max {
        let message = format!("`{path}` has min {min} above max {max}");
        context.fail(&format!("{path}.min"), "conflict", message, "min may be at most max");
    } else if !(min..=max).contains(&count) {
        let message = format!("`{path}` starts with {count} nodes, outside {min} to {max}");
        context.fail(&format!("{path}.count"), "conflict", message, "leave `count` out to start at `min`");
    }
    let mode = match raw.mode {
        Some(RawMode::System) => PoolMode::System,
        None if first => PoolMode::System,
        Some(RawMode::User) | None => PoolMode::User,
    };
    let taints = raw.taints.iter().enumerate().filter_map(|(index, text)| {
        taint(text).or_else(|| {
            let message = format!("`{text}` is not a taint");
            context.fail(
                &format!("{path}.taints.{index}"),
                "bad_taint",
                message,
                "such as \"dedicated=demo:NoSchedule\"",
            );
            None
        })
    });
    let taints = taints.collect();
    let zone = |zone: &RawZone| match zone {
        RawZone::One => "1".to_owned(),
        RawZone::Two => "2".to_owned(),
        RawZone::Three => "3".to_owned(),
    };
    let zones =
        raw.zones.as_deref().unwrap_or(&[RawZone::One, RawZone::Two, RawZone::Three]).iter().map(zone).collect();
    let max_pods = raw.max_pods.unwrap_or(catalog::DEFAULT_MAX_PODS);
    let labels = raw.labels.clone();
    Some(Pool { name: name.to_owned(), vm_size, count, min, max, autoscaled, zones, mode, labels, taints, max_pods })
}

fn taint(text: &str) -> Option<Taint> {
    let (pair, effect) = text.rsplit_once(':')?;
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let known = matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute");
    let taint = Taint { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() };
    (known && !key.is_empty()).then_some(taint)
}

/// A duration or its default.
pub(super) fn span(value: Option<Span>, default: Duration) -> Duration {
    value.map_or(default, Duration::from)
}

/// The cluster autoscaler, with AKS's defaults.
pub(super) fn autoscaler(raw: &RawAutoscaler, pools: &[Pool], context: &mut Context<'_>) -> Option<Autoscaler> {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let scan_interval = span(raw.scan_interval, Duration::from_secs(10));
    if scan_interval.is_zero() {
        context.fail("autoscaler.scan_interval", "out_of_range", "`scan_interval` is 0s, must be above 0", "AKS: 10s");
    }
    let autoscaler = Autoscaler {
        scan_interval,
        scale_down_delay_after_add: span(raw.scale_down_delay_after_add, minutes(10)),
        scale_down_unneeded_time: span(raw.scale_down_unneeded_time, minutes(10)),
        scale_down_utilization_threshold: raw.scale_down_utilization_threshold.unwrap_or(0.5),
        expander: match raw.expander {
            Some(RawExpander::LeastWaste) => "least-waste",
            Some(RawExpander::MostPods) => "most-pods",
            Some(RawExpander::Priority) => "priority",
            Some(RawExpander::Random) | None => "random",
        }
        .to_owned(),
        max_node_provision_time: span(raw.max_node_provision_time, minutes(15)),
    };
    pools.iter().any(|pool| pool.autoscaled).then_some(autoscaler)
}

/// The local target's imitation of Azure.
pub(super) fn local(raw: &RawLocal) -> Local {
    let two_to_five = SpanRange { min: Duration::from_secs(120), max: Duration::from_secs(300) };
    let delay = raw.vm_delay.unwrap_or(two_to_five);
    Local {
        vm_delay_min: delay.min,
        vm_delay_max: delay.max,
        image_pull: span(raw.image_pull, Duration::from_secs(5)),
        container_start: span(raw.container_start, Duration::from_secs(2)),
    }
}

/// The day's shape; default: an hour of full load, from nine to ten.
pub(super) fn traffic(raw: &RawTraffic, context: &mut Context<'_>) -> Traffic {
    let Some(periods) = &raw.day else {
        let period = |hour: u32, load: f64| Period { at_minute: hour * 60, load };
        return Traffic { day: vec![period(0, 0.0), period(9, 1.0), period(10, 0.0)] };
    };
    if periods.is_empty() {
        context.missing("traffic.day", "`traffic.day` is empty", "at least one { at = \"00:00\", load = 0 }");
    }
    let day: Vec<Period> = periods
        .iter()
        .map(|period| Period { at_minute: minute_of_day(&period.at).unwrap_or_default(), load: period.load })
        .collect();
    for (index, pair) in day.windows(2).enumerate() {
        if pair[1].at_minute <= pair[0].at_minute {
            let at = &periods[index + 1].at;
            let message = format!("`{at}` does not come after `{}`", periods[index].at);
            context.fail(&format!("traffic.day.{}.at", index + 1), "conflict", message, "times of a day ascend");
        }
    }
    Traffic { day }
}

/// The committed prices with the profile's overrides.
pub(super) fn prices(raw: &RawPrices, azure: &Azure, context: &mut Context<'_>) -> Prices {
    let mut prices = Prices::committed();
    if azure.location != catalog::PRICES_REGION {
        prices.origin = format!("{} (it has none for {})", prices.origin, azure.location);
    }
    for (name, price) in &raw.vm {
        let path = format!("prices.{name}");
        if !price.is_finite() || *price <= 0.0 {
            context.fail(&path, "out_of_range", format!("`{path}` is {price}, must be above 0"), "dollars per hour");
        } else if let Some(size) = catalog::vm_size(name) {
            prices.vm.insert(size.name.to_owned(), *price);
        } else {
            let lines = ["factor", "control_plane", "os_disk", "load_balancer", "public_ip", "log_gb"];
            let known = lines.into_iter().chain(catalog::VM_SIZES.iter().map(|size| size.name));
            let hint = suggest::hint(name, known).unwrap_or_default();
            context.fail(&path, "unknown_key", format!("there is no price `{name}`"), hint);
        }
    }
    if azure.sku_tier == SkuTier::Free {
        prices.control_plane = 0.0;
    }
    for (line, value) in [
        (&mut prices.control_plane, raw.control_plane),
        (&mut prices.os_disk, raw.os_disk),
        (&mut prices.load_balancer, raw.load_balancer),
        (&mut prices.public_ip, raw.public_ip),
        (&mut prices.log_gb, raw.log_gb),
    ] {
        *line = value.unwrap_or(*line);
    }
    if !raw.vm.is_empty() || raw.factor.is_some() {
        prices.origin = format!("{}, with the profile's overrides", prices.origin);
    }
    prices.scaled(raw.factor.unwrap_or(1.0))
}
