//! The built binary as users run it: each test in an empty environment of its own, and nothing left afterwards.

mod bad_usage;
mod calibrate;
mod cancelled;
mod doctor;
mod environment;
mod explain;
mod forecast;
mod full_disk;
mod generated;
mod help;
mod killed;
mod lifecycle;
mod profile;
mod recorded;
mod rules;
mod taken;
mod tune;
mod verdicts;
mod workflows;
