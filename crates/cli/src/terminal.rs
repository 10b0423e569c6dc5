//! Output to the terminal: colours, lines and questions.

use crate::failure::Failure;
use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use tenancy_core::visible::is_hidden;

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

/// Codes that [`Colour::paint`] writes (ECMA-48, SGR).
const CODES: [&str; 7] = ["32", "33", "31", "36", "2", "1", "0"];

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

/// Replaces hidden characters, which could control the terminal or make a text look like another one. Names and reasons
/// are written by other users.
pub fn plain(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| is_hidden(c) && c != '\n' && c != '\t';
    if text.contains(is_bad) { Cow::Owned(text.replace(is_bad, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Like [`plain`], but keeps the colours of this program.
fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains('\x1b') {
        return plain(text);
    }
    let mut shown = String::with_capacity(text.len());
    for (index, piece) in text.split('\x1b').enumerate() {
        let rest = CODES.iter().find_map(|code| piece.strip_prefix('[')?.strip_prefix(code)?.strip_prefix('m'));
        match rest.filter(|_| index > 0) {
            Some(rest) => {
                shown.push('\x1b');
                shown.push_str(&piece[..piece.len() - rest.len()]);
                shown.push_str(&plain(rest));
            }
            None => {
                shown.push_str(if index > 0 { "\u{fffd}" } else { "" });
                shown.push_str(&plain(piece));
            }
        }
    }
    Cow::Owned(shown)
}

/// Writes a line to standard output. Unlike `println!`, it does not panic if the reader has closed the pipe.
///
/// # Errors
/// Fails if the output cannot be written.
pub fn say(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{}", shown(line))?;
    Ok(())
}

/// Writes text for people to standard output without a line end.
///
/// # Errors
/// Fails if the output cannot be written.
pub fn write(text: &str) -> Result<(), Failure> {
    put(&shown(text))
}

/// Writes a text for programs to standard output, exactly as it is. On a terminal, hidden characters are replaced.
///
/// # Errors
/// Fails if the output cannot be written.
pub fn write_data(text: &str) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() { put(&plain(text)) } else { put(text) }
}

fn put(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes a line to standard error, so that standard output contains only the result.
pub fn remark(line: &str) {
    // A failed write to standard error cannot be reported anywhere.
    let _ = writeln!(std::io::stderr().lock(), "{}", shown(line));
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
    write!(err, "{} ", shown(question))?;
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
    fn must_let_no_text_of_others_control_the_terminal_and_keep_its_own_colours() {
        let ours = Colour::Red.paint("Suspended", true);
        assert_eq!(shown(&ours), ours);
        for (text, expected) in [
            ("\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}"),
            ("\x1b[2J", "\u{fffd}[2J"),
            ("a\x1b[31", "a\u{fffd}[31"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("gpj\u{202e}exe", "gpj\u{fffd}exe"),
            ("ad\u{200b}min", "ad\u{fffd}min"),
        ] {
            assert_eq!(shown(text), expected);
            assert_eq!(plain(text), expected);
        }
        assert_eq!(shown(&format!("{ours}\x1b[H\n")), format!("{ours}\u{fffd}[H\n"));
        assert_eq!(plain(&ours), "\u{fffd}[31mSuspended\u{fffd}[0m");
    }

    #[test]
    fn must_paint_only_with_colours_enabled() {
        assert_eq!(Colour::Red.paint("x", false), "x");
        assert_eq!(Colour::Red.paint("x", true), "\x1b[31mx\x1b[0m");
    }
}
