//! Ending with the parent: a process whose standard input ends has lost the one that held its other end.

use std::{
    io::Read as _,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use crate::AppError;

/// Ends this process at once when standard input does. The parent holds the other end and never writes, so this works
/// however the parent dies, SIGKILL included.
pub(crate) fn exit_on_stdin_eof() {
    std::thread::spawn(|| {
        wait_for_eof();
        #[expect(clippy::exit, reason = "the parent is gone: nobody waits for a graceful end")]
        std::process::exit(0);
    });
}

fn wait_for_eof() {
    let mut buffer = [0; 64];
    let mut stdin = std::io::stdin().lock();
    while stdin.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

/// Becomes a program that the kernel kills when the parent dies: the attribute survives `exec`, and nothing stands between
/// parent and program whose own death would leave the program behind.
///
/// <https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html>: the parent is the thread that started this
/// process, so it must be one that lives as long as its process, such as a worker of the runtime.
pub(crate) fn become_program(command: &[String]) -> AppError {
    let program = &command[0];
    let io_error = |what: &str, source| AppError::Io { what: format!("{what} {program}"), source };
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)) {
        return io_error("binding to the parent's life", error.into());
    }
    io_error("starting", Command::new(program).args(&command[1..]).stdin(Stdio::null()).exec())
}
