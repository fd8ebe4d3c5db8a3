//! Addresses that somebody else has.

use std::{fs, net::TcpListener};

use crate::environment::{TestEnvironment, kill, serves};

fn server(environment: &TestEnvironment) -> String {
    let text = fs::read_to_string(environment.environment_dir().join("kubeconfig")).expect("setup wrote it");
    let line = text.lines().find_map(|line| line.trim().strip_prefix("server: https://"));
    line.expect("it names a server").to_owned()
}

fn crash(environment: &TestEnvironment) {
    kill(environment.cluster_pid().expect("it runs"));
    environment.wait_until("the end of the pods with their cluster", |it| it.processes().is_empty());
}

#[test]
fn a_taken_port_is_replaced_by_another() {
    let environment = TestEnvironment::new();
    environment.setup();
    let before = server(&environment);
    crash(&environment);
    environment.setup();
    assert_eq!(server(&environment), before, "copies of the kubeconfig go on working");
    crash(&environment);
    let _taken = TcpListener::bind(&before).expect("the cluster has ended");
    environment.setup();
    assert_ne!(server(&environment), before);
    let status = environment.json(&["status", "--output", "json"]);
    assert!(serves(status[0]["address"].as_str().expect("it has an address")));
}

#[test]
fn a_taken_block_of_addresses_is_told() {
    let environment = TestEnvironment::new();
    environment.setup();
    crash(&environment);
    let block = fs::read_to_string(environment.environment_dir().join("cluster/network")).expect("it is there");
    let address = format!("127.{}.255.254:10250", block.trim());
    let taken = TcpListener::bind(&address).expect("the cluster has ended");
    let refused = environment.expect(4, &["setup", "--profile", "./tiny.toml", "--speed", "10"]);
    let words = format!("address {address} of this environment is held by another process");
    assert!(refused.stderr.contains(&words), "{}", refused.stderr);
    drop(taken);
    assert!(environment.setup().stdout.contains("tiny is up"));
}

#[test]
fn two_environments_at_once_do_not_meet() {
    let environment = TestEnvironment::new();
    let names = ["one", "two"];
    let children = names
        .map(|name| environment.start(&["setup", "--profile", "./tiny.toml", "--speed", "10", "--name", name]))
        .map(|child| child.wait_with_output().expect("the process is ours"));
    for child in children {
        assert_eq!(child.status.code(), Some(0), "{}", String::from_utf8_lossy(&child.stderr));
    }
    let status = environment.json(&["status", "--output", "json"]);
    let addresses: Vec<_> = (0..2).map(|n| status[n]["address"].as_str().expect("it has an address")).collect();
    assert!(addresses[0] != addresses[1] && addresses.iter().all(|address| serves(address)), "{addresses:?}");
}
