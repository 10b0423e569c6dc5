//! What a terminal gets and a pipe does not: colours, and questions.

use crate::failure::Failure;
use std::borrow::Cow;
use std::io::{IsTerminal, Write};

/// The few colours there are; each says one thing everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Good, added, in service.
    Green,
    /// Under way, changed, out of service.
    Yellow,
    /// Failed, removed.
    Red,
    /// What to do.
    Cyan,
    /// Beside the point.
    Dim,
    /// The name of a thing, a title.
    Bold,
}

impl Colour {
    /// The text in this colour, or as it is.
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

/// Whether standard output gets colours: a terminal, without NO_COLOR (<https://no-color.org>).
pub fn colours() -> bool {
    allowed() && std::io::stdout().is_terminal()
}

/// Whether standard error gets colours.
pub fn error_colours() -> bool {
    allowed() && std::io::stderr().is_terminal()
}

fn allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Text of others without what would steer the terminal: names and reasons come from whoever may write them.
pub fn plain(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(steers) { Cow::Owned(text.replace(steers, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Writes a line to standard output. Unlike `println!` it does not panic when the reader is gone.
///
/// # Errors
/// When it cannot be written.
pub fn say(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}

/// Writes text to standard output as it is.
///
/// # Errors
/// When it cannot be written.
pub fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// A remark beside the result: on standard error, so that a pipe gets the result alone.
pub fn remark(line: &str) {
    // Nothing depends on a remark, and there is no other place to complain.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether a person can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks on standard error, and reads one line.
///
/// # Errors
/// When nothing can be read.
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
    fn must_not_pass_on_what_steers_a_terminal() {
        assert_eq!(plain("a\x1b[31mb\rc\nd"), "a\u{fffd}[31mb\u{fffd}c\nd");
        assert_eq!(plain("Größe 客户"), "Größe 客户");
    }

    #[test]
    fn must_paint_only_when_asked() {
        assert_eq!(Colour::Red.paint("x", false), "x");
        assert_eq!(Colour::Red.paint("x", true), "\x1b[31mx\x1b[0m");
    }
}
