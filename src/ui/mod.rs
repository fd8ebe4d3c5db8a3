//! Reporters of events: how a run looks while it happens. Progress goes to stderr, results to stdout.

pub mod progress;
pub mod timeline;

use std::io::{self, IsTerminal as _, Write as _};

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

/// Asks a question at the terminal; none: there is no person to ask.
pub fn confirm(question: &str) -> io::Result<Option<bool>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    write!(io::stderr().lock(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")))
}

/// Writes a line of progress or a hint to standard error.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
