//! Ending with the parent: a process whose standard input ends has lost the one that held its other end.

use std::{io::Read as _, process::Stdio};

use crate::{AppError, terminated};

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

/// Runs a program, passes SIGTERM on to it, and kills it when standard input ends.
pub(crate) async fn run(command: &[String]) -> Result<(), AppError> {
    let program = &command[0];
    let io_error = |what: &str, source| AppError::Io { what: format!("{what} {program}"), source };
    let mut child = tokio::process::Command::new(program)
        .args(&command[1..])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| io_error("starting", error))?;
    let eof = tokio::task::spawn_blocking(wait_for_eof);
    let status = tokio::select! {
        status = child.wait() => status,
        _ = eof => {
            child.start_kill().map_err(|error| io_error("killing", error))?;
            child.wait().await
        }
        () = terminated() => {
            if let Some(pid) = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
                // It may have ended just now, which is what is wanted.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            child.wait().await
        }
    };
    let status = status.map_err(|error| io_error("waiting for", error))?;
    // The runtime would wait for the thread that reads standard input, which ends only with the parent.
    if status.success() {
        #[expect(clippy::exit, reason = "a blocking read cannot be cancelled")]
        std::process::exit(0);
    }
    Err(AppError::Supervised { program: program.clone(), status })
}
