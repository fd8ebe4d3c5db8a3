//! The azure target: AKS by Terraform, with Azure Resource Manager for everything around it.

pub mod arm;
pub mod terraform;
