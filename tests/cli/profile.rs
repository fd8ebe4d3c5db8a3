//! `profile` and `plan`: what they write of a profile can be used again, and warnings are told.

use std::fs;

use serde_json::{Value, json};

use crate::environment::{TestEnvironment, finish};

#[test]
fn what_is_shown_is_a_profile_that_says_the_same() {
    let environment = TestEnvironment::new();
    let sets: [&[&str]; 4] = [
        &["m3demo1"],
        &["m3demo2"],
        &["m3demo2-as-written", "--set", "azure.kubernetes_version=1.33", "--set", "pool.main.max=9"],
        &["./tiny.toml"],
    ];
    for arguments in sets {
        let show = [&["profile", "show"], arguments].concat();
        let text = environment.expect(0, &show).stdout;
        fs::write(environment.path("shown.toml"), &text).expect("the directory is ours");
        let json = |arguments: &[&str]| environment.json(&[arguments, &["--output", "json"]].concat());
        assert_eq!(json(&["profile", "show", "./shown.toml"]), json(&show), "{text}");
        assert_eq!(environment.expect(0, &["profile", "show", "./shown.toml"]).stdout, text);
    }
    insta::assert_snapshot!(environment.expect(0, &["profile", "show", "m3demo2-as-written"]).stdout);
}

#[test]
fn a_check_warns_as_explain_does() {
    let environment = TestEnvironment::new();
    let check = ["profile", "check", "m3demo2-as-written"];
    let human = environment.expect(0, &check).stdout;
    let explained = environment.expect(0, &["explain", "m3demo2-as-written"]).stdout;
    assert!(human.starts_with("m3demo2-as-written is valid: 6 warnings\n"), "{human}");
    assert_eq!(human.lines().skip(1).collect::<Vec<_>>(), explained.lines().skip(1).collect::<Vec<_>>());
    let value = environment.json(&[&check[..], &["--output", "json"]].concat());
    assert_eq!((&value["valid"], value["lints"].as_array().map(Vec::len)), (&Value::from(true), Some(6)));
    assert_eq!(
        environment.expect(0, &["profile", "check", "./tiny.toml"]).stdout,
        "./tiny.toml is valid: no warnings\n"
    );
}

#[test]
fn a_profile_is_named_in_either_way() {
    let environment = TestEnvironment::new();
    let lints = environment.expect(0, &["explain", "m3demo1"]).stdout;
    assert_eq!(environment.expect(0, &["explain", "--profile", "m3demo1"]).stdout, lints);
    let of = |arguments: &[&str], default: &str| {
        let arguments = [&["forecast", "--test", "spike", "--speed", "15", "--output", "json"], arguments].concat();
        let mut command = environment.command(&arguments);
        command.env("DEMOCTL_PROFILE", default);
        let value: Value = serde_json::from_str(&finish(command).stdout).expect("it is JSON");
        value["profile"].clone()
    };
    assert_eq!(of(&[], ""), json!("m3demo2"));
    assert_eq!(of(&[], "m3demo1"), json!("m3demo1"));
    assert_eq!(of(&["m3demo2"], "m3demo1"), json!("m3demo2"));
    assert_eq!(of(&["--profile", "m3demo2"], "m3demo1"), json!("m3demo2"));
}

#[test]
fn a_plan_says_once_what_is_the_same_at_both_ends() {
    let environment = TestEnvironment::new();
    let fixed = environment.expect(0, &["plan", "--profile", "m3demo1"]).stdout;
    assert!(fixed.contains("  cost              $4.39/h, $3207 a month of 730 h\n"), "{fixed}");
    let scaled = environment.expect(0, &["plan", "--profile", "m3demo2"]).stdout;
    assert!(scaled.contains("a month of 730 h at the least and the most nodes\n"), "{scaled}");
}
