//! The help of every command is a promise: a change shows up in review.

use crate::environment::{TestEnvironment, finish};

#[test]
fn every_command_explains_itself() {
    let environment = TestEnvironment::new();
    let commands: [&[&str]; 19] = [
        &[],
        &["demo"],
        &["setup"],
        &["run-tests"],
        &["forecast"],
        &["explain"],
        &["status"],
        &["watch"],
        &["cleanup"],
        &["plan"],
        &["doctor"],
        &["kube-token"],
        &["render"],
        &["profile"],
        &["profile", "list"],
        &["profile", "show"],
        &["profile", "check"],
        &["kubeconfig"],
        &["completions"],
    ];
    for command in commands {
        let arguments: Vec<_> = command.iter().copied().chain(["--help"]).collect();
        let name = if command.is_empty() { "democtl".to_owned() } else { command.join("-") };
        let mut help = environment.command(&arguments);
        // Help tells the variables' values.
        help.env_remove("DEMOCTL_HOME");
        let outcome = finish(help);
        assert_eq!(outcome.code, Some(0), "{arguments:?}");
        insta::assert_snapshot!(name, outcome.stdout);
    }
}
