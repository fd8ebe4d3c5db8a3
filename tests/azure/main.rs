//! The azure target against a fake of Azure: the ARM client, preflight, Terraform's driver, cleanup.

mod arm;
mod azurerm;
mod backing;
mod commands;
mod common;
mod end_to_end;
mod expired;
mod leftovers;
mod looking;
mod module;
mod preflight;
mod prices;
mod rate;
mod removal;
mod schedules;
mod schema;
mod state;
mod terraform;
