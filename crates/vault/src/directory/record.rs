//! One line of a key file: `key NAME SECRET CHECK`, or `del NAME ----- CHECK` after the key was destroyed.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::KeyName;
use crate::erased::Erased;

const LIVE: &str = "key";
const DESTROYED: &str = "del";

/// Length of a secret in base64 for the capacity of a line.
const SECRET_LENGTH_BYTES: usize = 88;
/// Digits of the checksum.
const CHECK_LENGTH_BYTES: usize = 16;

/// What a line says.
pub(super) enum Line<'a> {
    /// A key with its secret in base64.
    Live { name: &'a str, secret: &'a str },
    /// A key that was destroyed; its file is not rewritten yet.
    Destroyed,
    /// A line whose checksum is wrong.
    Damaged,
}

/// Returns the line of a key, with its line break.
pub(super) fn line(name: &KeyName, secret: &[u8]) -> Erased {
    let capacity = LIVE.len() + name.as_str().len() + SECRET_LENGTH_BYTES + CHECK_LENGTH_BYTES + 4;
    let mut text = Vec::with_capacity(capacity);
    text.extend_from_slice(format!("{LIVE} {name} ").as_bytes());
    let secret = Erased::from(STANDARD.encode(secret).into_bytes());
    text.extend_from_slice(&secret);
    with_check(text)
}

/// Returns a line of the same length without the secret, which overwrites the line of a key.
pub(super) fn blank(line: &[u8]) -> Vec<u8> {
    let mut text = line.strip_suffix(b"\n").unwrap_or(line).to_vec();
    let name_ends = fields(&text).map_or(0, |[_, name, ..]| LIVE.len() + 1 + name.len());
    text.truncate(text.len().saturating_sub(CHECK_LENGTH_BYTES + 1));
    for byte in text.iter_mut().skip(name_ends + 1) {
        *byte = b'-';
    }
    if text.len() >= DESTROYED.len() {
        text[..DESTROYED.len()].copy_from_slice(DESTROYED.as_bytes());
    }
    let mut blank = std::mem::take(&mut *with_check(text));
    blank.resize(line.len(), b'-');
    blank
}

fn with_check(mut text: Vec<u8>) -> Erased {
    let check = check(&text);
    text.push(b' ');
    text.extend_from_slice(check.as_bytes());
    text.push(b'\n');
    Erased::from(text)
}

/// Reads a line without its line break.
pub(super) fn parse(line: &[u8]) -> Line<'_> {
    let Some([kind, name, secret, found]) = fields(line) else { return Line::Damaged };
    let covered = &line[..line.len() - found.len() - 1];
    if check(covered).as_bytes() != found {
        return Line::Damaged;
    }
    match (kind, std::str::from_utf8(name), std::str::from_utf8(secret)) {
        (b"key", Ok(name), Ok(secret)) => Line::Live { name, secret },
        (b"del", ..) => Line::Destroyed,
        _ => Line::Damaged,
    }
}

/// Decodes the secret of a line.
pub(super) fn decode(secret: &str) -> Option<Erased> {
    STANDARD.decode(secret).ok().map(Erased::from)
}

fn fields(line: &[u8]) -> Option<[&[u8]; 4]> {
    let mut fields = line.split(|byte| *byte == b' ');
    let found = [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
    fields.next().is_none().then_some(found)
}

/// The first 8 bytes of SHA-256 in hexadecimal digits. It finds damage; it does not protect against forgery.
fn check(text: &[u8]) -> String {
    digest(&SHA256, text).as_ref().iter().take(CHECK_LENGTH_BYTES / 2).map(|byte| format!("{byte:02x}")).collect()
}
