//! Reads Server-Sent Events (the HTML standard, "event stream interpretation") from the pieces of a response.

use std::collections::VecDeque;

/// Maximum size of one event or line, in bytes. A stream with a larger one is not of a Tenancy server.
pub const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// What a stream contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An event.
    Event(Event),
    /// A comment line. The server sends one when there is nothing else to send, so the connection is alive.
    Comment,
}

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Cursor, if the event has one.
    pub id: Option<String>,
    /// Name of the event.
    pub event: String,
    /// Data of the event; its lines are joined by line ends.
    pub data: String,
}

/// The stream is not an event stream of a Tenancy server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event stream is malformed: {0}")]
pub struct Malformed(&'static str);

/// Splits the bytes of a stream into frames. The bytes of unfinished lines wait for the next piece.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    event: Event,
    has_fields: bool,
    has_data: bool,
    ready: VecDeque<Frame>,
}

impl Reader {
    /// Adds a piece of the response.
    ///
    /// # Errors
    /// Fails if a line or an event is too large, or is not UTF-8.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), Malformed> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (before, rest) = piece.split_at(end);
            piece = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                self.line(before)?;
            } else {
                self.extend(before)?;
                let line = std::mem::take(&mut self.line);
                self.line(&line)?;
            }
        }
        self.extend(piece)
    }

    /// Returns the next complete frame.
    pub fn take(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    fn extend(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        if self.line.len() + piece.len() > MAX_EVENT_BYTES {
            return Err(Malformed("a line is too long"));
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let line = std::str::from_utf8(line).map_err(|_| Malformed("a line is not UTF-8"))?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if self.has_fields {
                self.ready.push_back(Frame::Event(event));
            }
            (self.has_fields, self.has_data) = (false, false);
            return Ok(());
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => self.ready.push_back(Frame::Comment),
            // The server's cursors contain no NUL, with which the standard ignores an id.
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.event),
            "data" => {
                if self.event.data.len() + value.len() > MAX_EVENT_BYTES {
                    return Err(Malformed("an event is too large"));
                }
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Other fields, such as `retry`, are ignored as the standard says.
            _ => return Ok(()),
        }
        self.has_fields |= !name.is_empty();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nevent: tenant\ndata: {\"a\":1}\n\nid: 4.7\r\nevent: position\r\ndata: x\r\ndata:  y\r\n\r\n\
                          retry: 5\n\n\nid: 4.8\nevent: caught-up\n\n";

    fn frames(pieces: &[&[u8]]) -> Vec<Frame> {
        let mut reader = Reader::default();
        let mut found = Vec::new();
        for piece in pieces {
            reader.push(piece).expect("well-formed");
            found.extend(std::iter::from_fn(|| reader.take()));
        }
        found
    }

    fn event(id: Option<&str>, event: &str, data: &str) -> Frame {
        Frame::Event(Event { id: id.map(str::to_owned), event: event.to_owned(), data: data.to_owned() })
    }

    #[test]
    fn must_read_events_however_the_stream_is_cut() {
        let expected = vec![
            Frame::Comment,
            event(None, "tenant", "{\"a\":1}"),
            event(Some("4.7"), "position", "x\n y"),
            event(Some("4.8"), "caught-up", ""),
        ];
        assert_eq!(frames(&[STREAM.as_bytes()]), expected);
        for at in 0..STREAM.len() {
            let (before, after) = STREAM.as_bytes().split_at(at);
            assert_eq!(frames(&[before, after]), expected, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = STREAM.as_bytes().chunks(1).collect();
        assert_eq!(frames(&bytes), expected);
    }

    #[test]
    fn must_not_keep_an_unfinished_event_and_refuse_what_is_too_large() {
        assert_eq!(frames(&[b"event: tenant\ndata: {}\n"]), []);
        let mut reader = Reader::default();
        let piece = vec![b'x'; MAX_EVENT_BYTES / 2 + 1];
        reader.push(&piece).expect("within the limit");
        reader.push(&piece).expect_err("above the limit");
        let mut reader = Reader::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        reader.push(&line).expect("within the limit");
        reader.push(&line).expect_err("above the limit");
        Reader::default().push(b"data: \xff\n").expect_err("not UTF-8");
    }
}
