//! Output to the terminal: colours, lines and questions.

use crate::failure::Failure;
use std::borrow::Cow;
use std::io::{IsTerminal, Write};

/// The colours. Each has the same meaning everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Success, added, in service.
    Green,
    /// In progress, changed, out of service.
    Yellow,
    /// Failed, removed.
    Red,
    /// Next step.
    Cyan,
    /// Less important.
    Dim,
    /// Name or title.
    Bold,
}

impl Colour {
    /// Returns the text in this colour if `colours` is set.
    pub fn paint(self, text: &str, colours: bool) -> Cow<'_, str> {
        let code = match self {
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Cyan => "36",
            Self::Dim => "2",
            Self::Bold => "1",
        };
        if colours && !text.is_empty() { Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m")) } else { Cow::Borrowed(text) }
    }
}

/// Returns whether standard output is coloured: it is a terminal and NO_COLOR is not set (<https://no-color.org>).
pub fn colours() -> bool {
    allowed() && std::io::stdout().is_terminal()
}

/// Returns whether standard error is coloured.
pub fn error_colours() -> bool {
    allowed() && std::io::stderr().is_terminal()
}

fn allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Replaces control characters, which could control the terminal. Names and reasons are written by other users.
pub fn plain(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(is_control) { Cow::Owned(text.replace(is_control, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Writes a line to standard output. Unlike `println!`, it does not panic if the reader has closed the pipe.
///
/// # Errors
/// Fails if the output cannot be written.
pub fn say(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}

/// Writes text to standard output without a line end.
///
/// # Errors
/// Fails if the output cannot be written.
pub fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes a line to standard error, so that standard output contains only the result.
pub fn remark(line: &str) {
    // A failed write to standard error cannot be reported anywhere.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Returns whether the command can ask questions: standard input and standard error are terminals.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a question on standard error and reads one line.
///
/// # Errors
/// Fails if standard input cannot be read.
pub fn ask(question: &str) -> Result<String, Failure> {
    let mut err = std::io::stderr().lock();
    write!(err, "{question} ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_replace_control_characters() {
        assert_eq!(plain("a\x1b[31mb\rc\nd"), "a\u{fffd}[31mb\u{fffd}c\nd");
        assert_eq!(plain("Größe 客户"), "Größe 客户");
    }

    #[test]
    fn must_paint_only_with_colours_enabled() {
        assert_eq!(Colour::Red.paint("x", false), "x");
        assert_eq!(Colour::Red.paint("x", true), "\x1b[31mx\x1b[0m");
    }
}
