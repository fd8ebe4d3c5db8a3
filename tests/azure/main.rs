//! The azure target against a fake of Azure: the ARM client, preflight, Terraform's driver, cleanup.

mod arm;
mod common;
mod preflight;
mod terraform;
