//! Setup, and setup again; two at once; other settings; a torn ledger.

use std::{fs, io::Write as _};

use crate::environment::{TestEnvironment, serves};

#[test]
fn a_second_setup_does_nothing_and_another_one_is_refused() {
    let environment = TestEnvironment::new();
    assert!(environment.setup().stdout.contains("tiny is up"));
    let cluster = environment.cluster_pid();
    let ledger = fs::read(environment.environment_dir().join("ledger.jsonl")).expect("setup wrote it");
    let again = environment.setup();
    assert!(again.stdout.contains("was up already: nothing changed"), "{}", again.stdout);
    assert_eq!(environment.cluster_pid(), cluster);
    assert_eq!(fs::read(environment.environment_dir().join("ledger.jsonl")).expect("it is there"), ledger);

    let other = environment.expect(3, &["setup", "--profile", "./tiny.toml", "--speed", "20", "--seed", "7"]);
    insta::assert_snapshot!(other.stderr, @r"
    error: environment tiny was set up otherwise: speed 10 (now 20), seed 1 (now 7)
    hint: democtl cleanup --name tiny, or choose another name with --name
    ");
    assert_eq!(environment.cluster_pid(), cluster);
}

#[test]
fn of_two_setups_at_once_one_is_refused() {
    let environment = TestEnvironment::new();
    let arguments = ["setup", "--profile", "./tiny.toml", "--speed", "10"];
    let children = [environment.start(&arguments), environment.start(&arguments)];
    let outcomes = children.map(|child| child.wait_with_output().expect("the process is ours"));
    let mut codes = outcomes.each_ref().map(|outcome| outcome.status.code());
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(3)]);
    let refused = outcomes.iter().find(|outcome| outcome.status.code() == Some(3)).expect("one is refused");
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("is working on environment tiny"), "{words}");
    let status = environment.json(&["status", "--output", "json"]);
    assert_eq!(status[0]["cluster"]["state"], "running");
    assert!(serves(status[0]["address"].as_str().expect("it has an address")));
}

#[test]
fn a_torn_ledger_is_read_up_to_its_last_whole_line() {
    let environment = TestEnvironment::new();
    environment.setup();
    let path = environment.environment_dir().join("ledger.jsonl");
    let mut file = fs::File::options().append(true).open(&path).expect("setup wrote it");
    file.write_all(b"{\"effect\":\"clu").expect("the directory is ours");
    assert!(environment.setup().stdout.contains("nothing changed"));
    let status = environment.json(&["status", "--output", "json"]);
    assert_eq!(status[0]["delivered"], true);
}
