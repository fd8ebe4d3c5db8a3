//! The app as real processes, seen from outside.

#![expect(clippy::print_stderr, reason = "tests")]

mod common;
mod exactly_once;
mod supervise;
mod web;
