//! The k6 script of each test of the standard suite.

use democtl_core::{profile::Profile, render::k6};

#[test]
fn scripts_are_as_recorded() {
    let profile = Profile::load_builtin("m3demo2", &[]).expect("built in").expect("sound");
    for test in &profile.suite.tests {
        insta::assert_snapshot!(format!("k6@{}", test.name), k6::script(test, 15.0));
    }
}
