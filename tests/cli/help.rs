//! The help of every command is a promise: a change shows up in review.

use crate::environment::TestEnvironment;

#[test]
fn every_command_explains_itself() {
    let environment = TestEnvironment::new();
    let commands: [&[&str]; 15] = [
        &[],
        &["demo"],
        &["setup"],
        &["run-tests"],
        &["status"],
        &["watch"],
        &["cleanup"],
        &["plan"],
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
        insta::assert_snapshot!(name, environment.expect(0, &arguments).stdout);
    }
}
