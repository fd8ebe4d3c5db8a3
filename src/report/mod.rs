//! Reports: what a run's figures look like, for people and for machines.

pub mod against;
pub mod calibrate;
pub mod explain;
pub mod forecast;
pub mod human;
pub mod junit;
pub mod recorded;
pub mod summary;
