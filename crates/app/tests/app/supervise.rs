//! A supervised program does not outlive the process that started it, even where that is killed.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use crate::common::{Process, app, wait_for};

#[test]
fn a_supervised_program_dies_with_its_parent() {
    let script = r#""$0" supervise -- sleep 600 & echo $!; wait"#;
    let shell = Command::new("sh")
        .args(["-c", script])
        .arg(app("supervise").get_program())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell starts");
    let mut shell = Process(shell);
    let mut line = String::new();
    let stdout = shell.0.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("it tells the program's pid");
    let proc = format!("/proc/{}", line.trim());
    wait_for("the program to take the process over", || {
        std::fs::read_to_string(format!("{proc}/comm")).is_ok_and(|name| name.trim() == "sleep")
    });
    shell.0.kill().expect("it runs");
    wait_for("the program to end", || {
        // Gone, or dead and waiting for somebody to ask for its status.
        std::fs::read_to_string(format!("{proc}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}
