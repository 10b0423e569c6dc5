//! One key file: records are appended, found, and erased.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::{self, Line};
use crate::KeyName;
use crate::erased::Erased;

/// Number of the file for keys that belong to no tenant.
pub(super) const PLATFORM: u32 = 0;
/// A file with this length is full: the next keys go to another one. Bounds what a lookup reads and a destruction
/// rewrites.
pub(super) const FULL_LENGTH_BYTES: u64 = 128 << 10;
/// A rewritten file before it replaces the old one.
const REWRITTEN: &str = "rewritten.tmp";

/// Returns the path of a key file.
pub(super) fn path(directory: &Path, shard: u32) -> PathBuf {
    let name = if shard == PLATFORM { "platform.keys".to_owned() } else { format!("tenants-{shard:06}.keys") };
    directory.join(name)
}

/// Returns the numbers of the key files of tenants, in order.
pub(super) fn of_tenants(directory: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("tenants-")?.strip_suffix(".keys")?.parse().ok());
        found.extend(number.filter(|number: &u32| *number != PLATFORM));
    }
    found.sort_unstable();
    Ok(found)
}

/// What a file says of a name.
pub(super) enum Found {
    Secret(Erased),
    Absent,
    Damaged,
}

/// Reads a file; `None` if there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Erased>> {
    match File::open(path) {
        Ok(mut file) => read_all(&mut file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the content of a file durable; there may be none.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn read_all(file: &mut File) -> io::Result<Erased> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    // One byte more than the length, so that the vector does not grow to notice the end of the file.
    let mut bytes = Erased::from(Vec::with_capacity(length + 1));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the complete lines of a file without their line breaks, each with its offset. What a crash left at the end
/// without a line break is no line.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut offset = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').filter_map(move |line| {
        let at = offset;
        offset += line.len();
        Some((at, line.strip_suffix(b"\n")?))
    })
}

/// Finds a key. A line is parsed only if it has the name, because the checksum is the expensive part.
pub(super) fn find(bytes: &[u8], name: &KeyName) -> Found {
    let mut found = Found::Absent;
    for (_, line) in lines(bytes).filter(|(_, line)| name_of(line) == Some(name.as_str().as_bytes())) {
        match record::parse(line) {
            Line::Live { secret, .. } => match record::decode(secret) {
                Some(secret) => return Found::Secret(secret),
                None => found = Found::Damaged,
            },
            Line::Damaged => found = Found::Damaged,
            Line::Destroyed => {}
        }
    }
    found
}

/// Returns what stands where a line has its name, also if the line is damaged.
fn name_of(line: &[u8]) -> Option<&[u8]> {
    line.split(|byte| *byte == b' ').nth(1)
}

/// Appends lines and makes them durable. If it fails, the file is as before.
pub(super) fn append(directory: &Path, shard: u32, lines: &[Erased]) -> io::Result<()> {
    let path = path(directory, shard);
    let is_new = !path.try_exists()?;
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
    let length = file.metadata()?.len();
    let complete = complete(&mut file, length)?;
    if complete < length {
        tracing::warn!(path = %path.display(), "removes an incomplete record that a crash left at the end of a key file");
        file.set_len(complete)?;
    }
    let mut text = Erased::from(Vec::with_capacity(lines.iter().map(|line| line.len()).sum()));
    for line in lines {
        text.extend_from_slice(line);
    }
    let written = file.write_all(&text).and_then(|()| file.sync_data());
    if let Err(error) = written {
        let _ = file.set_len(complete);
        return Err(error);
    }
    if is_new { sync_directory(directory) } else { Ok(()) }
}

/// Returns the length of a file up to its last line break.
fn complete(file: &mut File, length: u64) -> io::Result<u64> {
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    if last == [b'\n'] {
        return Ok(length);
    }
    let bytes = read_all(file)?;
    Ok(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1))
}

/// Destroys keys of one file: overwrites their records, then replaces the file by one without them, then overwrites the old
/// file. Returns whether the file had any of them. The caller holds the lock of the directory.
pub(super) fn erase(directory: &Path, shard: u32, names: &HashSet<&[u8]>) -> io::Result<bool> {
    let path = path(directory, shard);
    let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let bytes = read_all(&mut file)?;
    // A damaged record is overwritten too: it may show most of a secret.
    let is_named = |line: &[u8]| name_of(line).is_some_and(|name| names.contains(name));
    if !lines(&bytes).any(|(_, line)| is_named(line)) {
        return Ok(false);
    }
    let mut kept = Erased::from(Vec::with_capacity(bytes.len()));
    for (offset, line) in lines(&bytes) {
        if is_named(line) {
            file.write_all_at(&record::blank(line), offset as u64)?;
        } else if !matches!(record::parse(line), Line::Destroyed) {
            kept.extend_from_slice(&bytes[offset..=offset + line.len()]);
        }
    }
    // The keys are destroyed when this returns. What follows removes their names, and shortens the file.
    file.sync_data()?;
    if kept.is_empty() && shard != PLATFORM {
        fs::remove_file(&path)?;
        sync_directory(directory)?;
    } else {
        replace(directory, &path, &kept)?;
    }
    overwrite(&mut file, bytes.len())?;
    Ok(true)
}

fn replace(directory: &Path, path: &Path, kept: &[u8]) -> io::Result<()> {
    let rewritten = directory.join(REWRITTEN);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&rewritten)?;
    file.write_all(kept)?;
    file.sync_all()?;
    fs::rename(&rewritten, path)?;
    sync_directory(directory)
}

/// Overwrites a file that has no name any more: the blocks that the file system frees have no keys.
fn overwrite(file: &mut File, length: usize) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&vec![0; length])?;
    file.sync_data()
}

/// Removes what a process left that was killed while it rewrote a file. The caller holds the lock of the directory.
pub(super) fn remove_unfinished(directory: &Path) -> io::Result<()> {
    let rewritten = directory.join(REWRITTEN);
    let Ok(mut file) = OpenOptions::new().write(true).open(&rewritten) else { return Ok(()) };
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    overwrite(&mut file, length)?;
    fs::remove_file(&rewritten)?;
    sync_directory(directory)
}

/// Makes created, renamed and removed files durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
