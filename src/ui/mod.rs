//! Reporters of events: how a run looks while it happens. Progress goes to stderr, results to stdout.

pub mod progress;
pub mod timeline;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// What the user's terminal and flags allow; resolved once.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Colours on standard error and output.
    pub color: bool,
    /// Bars that redraw themselves; plain lines otherwise.
    pub bars: bool,
}

impl Style {
    /// Bars only on a terminal; colours only there and without `NO_COLOR`.
    pub fn detect(no_color: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { color: terminal && !no_color && io::stdout().is_terminal(), bars: terminal }
    }

    /// Wraps `text` in an ANSI style when colours are on.
    pub fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Writes a result to standard output; a reader that went away is no error, a full disk is one.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Asks a question at the terminal; none: there is no person to ask. May be dropped before the answer comes.
pub async fn confirm(question: &str) -> io::Result<Option<bool>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    write!(io::stderr().lock(), "{question} [y/N] ")?;
    let answer = read_aside(io::stdin).await?;
    Ok(Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")))
}

/// Reads a line on a thread of its own. Not one of the runtime's: it would be waited for at the end of the program, and a
/// person who cancels would have to press Enter as well.
async fn read_aside<R: io::Read>(open: impl FnOnce() -> R + Send + 'static) -> io::Result<String> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::BufReader::new(open()).read_line(&mut line);
        // Nobody waits any more when it was cancelled.
        let _ = tell.send(read.map(|_| line));
    });
    told.await.map_err(|_| io::Error::other("the terminal cannot be read"))?
}

/// Writes a line of progress or a hint to standard error.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_and_one_that_does_not_come_is_not_waited_for() -> io::Result<()> {
        assert_eq!(read_aside(|| io::Cursor::new("yes\nmore\n")).await?, "yes\n");
        let (reader, mut writer) = io::pipe()?;
        tokio::select! {
            biased;
            answer = read_aside(move || reader) => panic!("nobody answered: {answer:?}"),
            () = std::future::ready(()) => {}
        }
        // The thread is still there and reads on; its answer is for nobody.
        writer.write_all(b"y\n")
    }
}
