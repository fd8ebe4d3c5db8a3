//! The command line of democtl.
