//! The client's side of PostgreSQL's protocol, parsed as far as needed to count and recognise messages.

use std::collections::HashMap;
use std::sync::Arc;

const PROTOCOL_MAJOR: u32 = 3;
const TLS_HANDSHAKE: u8 = 0x16;

/// A message from client to server. Start-up packets come before the protocol's messages and are not counted.
#[derive(Clone, Debug)]
pub struct Message {
    /// Number of the message through this proxy, from 1, over all connections.
    pub number: u64,
    /// Number of the connection through this proxy, from 1.
    pub connection: u64,
    /// The connection's `application_name`; empty if it has none.
    pub application: Arc<str>,
    /// Type byte of the protocol: `Q` query, `P` parse, `B` bind, `D` describe, `E` execute, `C` close, `S` sync, `d`
    /// copy data, `X` terminate, …
    pub kind: char,
    /// Text of the statement, also when the message names only a prepared statement or a portal.
    pub sql: Option<Arc<str>>,
    /// Size of the message with its header, in bytes.
    pub length_bytes: usize,
}

impl Message {
    /// Whether the server runs the statement because of this message: a simple query or an execute, not the parse and
    /// bind before it.
    #[must_use]
    pub fn executes(&self) -> bool {
        matches!(self.kind, 'Q' | 'E')
    }

    /// Whether the statement's text contains this text, ignoring case.
    #[must_use]
    pub fn sql_contains(&self, text: &str) -> bool {
        self.sql.as_ref().is_some_and(|sql| sql.to_ascii_lowercase().contains(&text.to_ascii_lowercase()))
    }

    /// Whether this message commits: it [`executes`](Self::executes), and its text has a statement that begins with
    /// COMMIT or END.
    #[must_use]
    pub fn is_commit(&self) -> bool {
        let commits = |sql: &Arc<str>| {
            sql.split(';').any(|statement| {
                let first = statement.split_whitespace().next().unwrap_or_default();
                first.eq_ignore_ascii_case("COMMIT") || first.eq_ignore_ascii_case("END")
            })
        };
        self.executes() && self.sql.as_ref().is_some_and(commits)
    }
}

/// Kind of the next bytes of a connection.
#[derive(Debug)]
pub(super) enum Piece {
    /// Forwarded without counting: a start-up packet, or encrypted bytes.
    Uncounted {
        length: usize,
    },
    Counted {
        length: usize,
        kind: char,
        sql: Option<Arc<str>>,
    },
}

#[derive(Debug)]
enum Phase {
    StartUp,
    Messages,
    Encrypted,
}

/// Parser of one connection's stream.
#[derive(Debug)]
pub(super) struct Frontend {
    phase: Phase,
    application: Arc<str>,
    statements: HashMap<Vec<u8>, Arc<str>>,
    portals: HashMap<Vec<u8>, Arc<str>>,
}

impl Frontend {
    pub(super) fn new() -> Self {
        Self { phase: Phase::StartUp, application: Arc::from(""), statements: HashMap::new(), portals: HashMap::new() }
    }

    pub(super) fn application(&self) -> Arc<str> {
        Arc::clone(&self.application)
    }

    /// Returns the first piece of `bytes`; `None` until all of it has arrived.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Option<Piece> {
        match self.phase {
            Phase::StartUp => self.next_of_start_up(bytes),
            Phase::Messages => self.next_message(bytes),
            Phase::Encrypted if bytes.is_empty() => None,
            Phase::Encrypted => Some(Piece::Uncounted { length: bytes.len() }),
        }
    }

    fn next_of_start_up(&mut self, bytes: &[u8]) -> Option<Piece> {
        if bytes.first() == Some(&TLS_HANDSHAKE) {
            self.phase = Phase::Encrypted;
            return self.next(bytes);
        }
        let length = number_at(bytes, 0)?;
        let packet = bytes.get(..length)?;
        let protocol = u32::try_from(number_at(packet, 4)?).unwrap_or_default();
        // Encryption and cancel requests have their own major numbers; another packet follows.
        if protocol >> 16 == PROTOCOL_MAJOR {
            let mut words = Words(packet.get(8..)?);
            while let Some(name) = words.next().filter(|name| !name.is_empty()) {
                let value = words.next()?;
                if name == b"application_name" {
                    self.application = text(value);
                }
            }
            self.phase = Phase::Messages;
        }
        Some(Piece::Uncounted { length })
    }

    fn next_message(&mut self, bytes: &[u8]) -> Option<Piece> {
        let kind = char::from(*bytes.first()?);
        let length = 1 + number_at(bytes, 1)?;
        let body = bytes.get(5..length.max(5)).filter(|_| bytes.len() >= length)?;
        let sql = self.read(kind, body);
        Some(Piece::Counted { length, kind, sql })
    }

    /// Tracks which name belongs to which statement. Returns `None` for messages without a statement.
    fn read(&mut self, kind: char, body: &[u8]) -> Option<Arc<str>> {
        match kind {
            'Q' => Words(body).next().map(text),
            'P' => {
                let mut words = Words(body);
                let (name, sql) = (words.next()?, text(words.next()?));
                self.statements.insert(name.to_vec(), Arc::clone(&sql));
                Some(sql)
            }
            'B' => {
                let mut words = Words(body);
                let (portal, statement) = (words.next()?, words.next()?);
                let sql = Arc::clone(self.statements.get(statement)?);
                self.portals.insert(portal.to_vec(), Arc::clone(&sql));
                Some(sql)
            }
            'E' => self.portals.get(Words(body).next()?).cloned(),
            'D' => self.named(body)?.get(Words(body.get(1..)?).next()?).cloned(),
            'C' => {
                let name = Words(body.get(1..)?).next()?;
                self.named(body)?.remove(name)
            }
            _ => None,
        }
    }

    /// The first byte of describe and close says whether a statement or a portal is named.
    fn named(&mut self, body: &[u8]) -> Option<&mut HashMap<Vec<u8>, Arc<str>>> {
        match body.first()? {
            b'S' => Some(&mut self.statements),
            b'P' => Some(&mut self.portals),
            _ => None,
        }
    }
}

/// Reads a length or code: four bytes, big-endian.
fn number_at(bytes: &[u8], offset: usize) -> Option<usize> {
    let bytes: [u8; 4] = bytes.get(offset..offset + 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

fn text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

/// Strings that each end with a zero byte.
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let word = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [kind.as_slice(), &length, body].concat()
    }

    fn started() -> Frontend {
        let mut frontend = Frontend::new();
        let ssl_request = packet(None, &80_877_103_u32.to_be_bytes());
        assert!(matches!(frontend.next(&ssl_request), Some(Piece::Uncounted { length: 8 })));
        let start = packet(None, b"\x00\x03\x00\x00user\0me\0application_name\0store\0\0");
        assert!(frontend.next(&start[..start.len() - 1]).is_none(), "incomplete");
        assert!(frontend.next(&start).is_some());
        assert_eq!(&*frontend.application(), "store");
        frontend
    }

    fn sql(frontend: &mut Frontend, kind: u8, body: &[u8]) -> Option<String> {
        match frontend.next(&packet(Some(kind), body)) {
            Some(Piece::Counted { sql, kind: found, length }) => {
                assert_eq!((found, length), (char::from(kind), body.len() + 5));
                sql.map(|sql| sql.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_prepared_statement_must_be_recognised_by_its_name() {
        let mut frontend = started();
        let commit = Some("COMMIT".to_owned());
        assert_eq!(sql(&mut frontend, b'P', b"s1\0COMMIT\0\0\0"), commit);
        assert_eq!(sql(&mut frontend, b'D', b"Ss1\0"), commit);
        assert_eq!(sql(&mut frontend, b'B', b"p\0s1\0\0\0\0\0\0\0"), commit);
        assert_eq!(sql(&mut frontend, b'E', b"p\0\0\0\0\0"), commit);
        assert_eq!(sql(&mut frontend, b'S', b""), None);
        assert_eq!(sql(&mut frontend, b'C', b"Ss1\0"), commit);
        assert_eq!(sql(&mut frontend, b'B', b"p\0s1\0\0\0\0\0\0\0"), None, "closed, so unknown");
    }

    #[test]
    fn only_what_runs_a_commit_must_be_the_commit() {
        let message = |kind, sql: &str| Message {
            number: 1,
            connection: 1,
            application: Arc::from(""),
            kind,
            sql: Some(Arc::from(sql)),
            length_bytes: 0,
        };
        assert!(message('Q', " commit ").is_commit());
        assert!(message('Q', "SELECT 1; COMMIT").is_commit());
        assert!(message('E', "COMMIT").is_commit());
        assert!(!message('B', "COMMIT").is_commit());
        assert!(!message('Q', "SELECT 'COMMIT'").is_commit());
        assert!(message('P', "SELECT 'Commit'").sql_contains("commit"));
    }

    #[test]
    fn what_is_encrypted_must_pass_uncounted() {
        let mut frontend = Frontend::new();
        assert!(matches!(frontend.next(&[TLS_HANDSHAKE, 3, 1]), Some(Piece::Uncounted { length: 3 })));
        assert!(matches!(frontend.next(b"rest"), Some(Piece::Uncounted { length: 4 })));
    }
}
