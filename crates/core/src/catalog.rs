//! What Azure sells: VM sizes with what AKS leaves of them for pods, and list prices with their date and origin.
//!
//! Owns the committed fallback table; live prices (Retail Prices API) and overrides arrive as [`crate::cost::Prices`].
//! Reservations follow <https://learn.microsoft.com/azure/aks/node-resource-reservations>.

use crate::units::{Bytes, Millicores};

/// One VM size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VmSize {
    /// Azure's name, such as `Standard_D4s_v5`.
    pub name: &'static str,
    /// Virtual CPUs.
    pub vcpu: u32,
    /// Memory.
    pub memory: Bytes,
    /// Linux, pay-as-you-go, West Europe, dollars per hour. See [`PRICES_AS_OF`].
    pub usd_per_hour: f64,
}

/// Region of the committed prices.
pub const PRICES_REGION: &str = "westeurope";

/// Date of the committed prices.
pub const PRICES_AS_OF: &str = "2026-11";

/// Where the committed prices come from: they were not fetched, and every output that uses them says so, with their date.
pub const PRICES_ORIGIN: &str = "list prices for westeurope, Linux, pay-as-you-go, from democtl's own table";

/// AKS control plane of the standard tier (uptime SLA), dollars per hour.
pub const CONTROL_PLANE_STANDARD: f64 = 0.10;
/// One 128 GiB Standard SSD (E10) OS disk, dollars per month.
pub const OS_DISK_MONTH: f64 = 9.60;
/// Standard load balancer with up to five rules, dollars per hour.
pub const LOAD_BALANCER: f64 = 0.025;
/// One static standard public IPv4 address, dollars per hour.
pub const PUBLIC_IP: f64 = 0.005;
/// Log Analytics ingestion, pay-as-you-go, dollars per GB.
pub const LOG_ANALYTICS_GB: f64 = 2.99;

/// Hours in a month, as Azure's calculator has it.
pub const HOURS_PER_MONTH: f64 = 730.0;

const fn size(name: &'static str, vcpu: u32, gib: i64, usd_per_hour: f64) -> VmSize {
    VmSize { name, vcpu, memory: Bytes(gib << 30), usd_per_hour }
}

/// The sizes that a profile may name.
pub const VM_SIZES: [VmSize; 14] = [
    size("Standard_B2s", 2, 4, 0.048),
    size("Standard_B2ms", 2, 8, 0.096),
    size("Standard_B4ms", 4, 16, 0.192),
    size("Standard_D2s_v5", 2, 8, 0.115),
    size("Standard_D4s_v5", 4, 16, 0.23),
    size("Standard_D8s_v5", 8, 32, 0.46),
    size("Standard_D16s_v5", 16, 64, 0.92),
    size("Standard_D32s_v5", 32, 128, 1.84),
    size("Standard_E2s_v5", 2, 16, 0.152),
    size("Standard_E4s_v5", 4, 32, 0.304),
    size("Standard_E8s_v5", 8, 64, 0.608),
    size("Standard_F2s_v2", 2, 4, 0.097),
    size("Standard_F4s_v2", 4, 8, 0.194),
    size("Standard_F8s_v2", 8, 16, 0.388),
];

/// The size of that name, whatever the case (Azure compares SKU names without it).
pub fn vm_size(name: &str) -> Option<VmSize> {
    VM_SIZES.iter().find(|size| size.name.eq_ignore_ascii_case(name)).copied()
}

/// Pods a node holds where the pool does not say: AKS's default for kubenet, and a common choice for Azure CNI.
pub const DEFAULT_MAX_PODS: u32 = 110;

impl VmSize {
    /// Capacity in milli CPU.
    pub fn cpu(&self) -> Millicores {
        Millicores(i64::from(self.vcpu) * 1000)
    }

    /// What AKS leaves of the CPUs for pods: capacity less kube-reserved, by the documented table.
    pub fn allocatable_cpu(&self) -> Millicores {
        const RESERVED: [(u32, i64); 7] = [(1, 60), (2, 100), (4, 140), (8, 180), (16, 260), (32, 420), (64, 740)];
        let reserved = RESERVED.iter().rev().find(|(cores, _)| *cores <= self.vcpu).map_or(60, |(_, milli)| *milli);
        self.cpu() - Millicores(reserved)
    }

    /// What AKS (1.29 and later) leaves of the memory: capacity less the smaller of 20 MB a pod + 50 MB and a quarter,
    /// less the hard eviction threshold of 100 Mi.
    pub fn allocatable_memory(&self, max_pods: u32) -> Bytes {
        let by_pods = Bytes(20_000_000 * i64::from(max_pods) + 50_000_000);
        let quarter = Bytes(self.memory.0 / 4);
        self.memory - by_pods.min(quarter) - Bytes(100 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Millicores, VM_SIZES, vm_size};

    #[test]
    fn allocatable_is_what_aks_documents() {
        let d4 = vm_size("standard_d4s_V5").expect("listed");
        assert_eq!(d4.allocatable_cpu(), Millicores(3860));
        assert_eq!(vm_size("Standard_D8s_v5").expect("listed").allocatable_cpu(), Millicores(7820));
        // The documentation's example: 8 GB and 30 pods lose 650 MB and 100 MiB.
        let d2 = vm_size("Standard_D2s_v5").expect("listed");
        assert_eq!(d2.allocatable_memory(30), Bytes((8 << 30) - 650_000_000 - (100 << 20)));
        assert_eq!(d2.allocatable_memory(250), Bytes((6 << 30) - (100 << 20)), "never more than a quarter");
    }

    #[test]
    fn every_size_is_positive_and_unique() {
        for (index, size) in VM_SIZES.iter().enumerate() {
            assert!(size.usd_per_hour > 0.0 && size.allocatable_cpu().0 > 0, "{}", size.name);
            assert!(VM_SIZES[index + 1..].iter().all(|other| other.name != size.name), "{} twice", size.name);
        }
    }
}
