//! The built binary as users run it: each test in an empty environment of its own, and nothing left afterwards.

mod bad_usage;
mod cancelled;
mod environment;
mod explain;
mod forecast;
mod full_disk;
mod generated;
mod help;
mod killed;
mod lifecycle;
mod taken;
mod tune;
mod verdicts;
