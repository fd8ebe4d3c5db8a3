//! A fake of Azure: Resource Manager, the Retail Prices API, and their bad days.
//!
//! Owns one [`World`] that answers requests as a pure function of its state, its own clock and a seeded schedule of
//! faults; [`FakeAzure`] puts it behind a loopback port. Time passes only when a test says so ([`World::advance`]) or by
//! [`Style::tick`] a request, so nothing here sleeps. Shapes follow
//! <https://learn.microsoft.com/rest/api/aks/managed-clusters?view=rest-aks-2025-10-01> and
//! <https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations>.

mod activity;
mod backing;
mod clusters;
mod defaults;
mod faults;
mod login;
mod operations;
mod prices;
mod resources;
mod server;
mod subscription;
mod tls;
mod wire;
mod world;

pub use activity::Activity;
pub use backing::Backing;
pub use faults::{Fate, Fault, Faults};
pub use prices::Price;
pub use server::{FakeAzure, OverTls};
pub use subscription::{Facts, Permission, Sku, Usage, Version};
pub use wire::{Answer, Request};
pub use world::{Billed, Logged, Style, World};
