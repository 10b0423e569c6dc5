//! A file with the contents of an [`AccessCache`], from which a program starts while the server is away.
//!
//! The first line is a header of fixed length, then each line is the JSON of one [`Access`], and the last line has their
//! number. A save replaces the file; if only the time has changed, the header is overwritten in place.

use crate::cache::AccessCache;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tenancy_api::access::Access;

/// Length of the header with its line end, in bytes.
const HEADER_BYTES: usize = 1024;
/// Maximum length of a line, in bytes.
const MAX_LINE_BYTES: u64 = 4 * 1024 * 1024;
/// Format of the file. A file of another format is removed.
const FORMAT: u32 = 1;

/// The file. It is readable only by its owner (mode 0600), and belongs to one key: with another `binding` it is removed.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    path: PathBuf,
    binding: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// Digest of the server's URL and of the key.
    binding: String,
    /// Cursor from which the feed continues the contents. It contains the epoch of the log: after a restore of the
    /// server's database, the server refuses it.
    cursor: String,
    /// Time at which the contents were confirmed, in milliseconds since 1970.
    heard_at_millis: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Trailer {
    tenants: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// There is no file.
    Nothing,
    /// The cache has the contents of the file.
    Used,
    /// The file was removed, for this reason.
    Removed(String),
}

impl SnapshotFile {
    /// Names a file. `binding` is a digest of the key and of the URL of the server.
    pub fn new(path: PathBuf, binding: String) -> Self {
        Self { path, binding }
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file into an empty cache. A file that cannot be used is removed.
    ///
    /// # Errors
    /// Fails if a file that cannot be used cannot be removed.
    pub fn load(&self, cache: &AccessCache) -> io::Result<Loaded> {
        let found = match std::fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Nothing),
            Err(error) => return Err(error),
        };
        // What others can write must not decide on access.
        let read = match found.is_file() && found.mode() & 0o077 == 0 {
            true => self.read(cache),
            false => Err("other users can read or replace it".to_owned()),
        };
        match read {
            Ok(()) => Ok(Loaded::Used),
            Err(reason) => {
                self.remove()?;
                Ok(Loaded::Removed(reason))
            }
        }
    }

    fn read(&self, cache: &AccessCache) -> Result<(), String> {
        let broken = |error: io::Error| format!("it cannot be read: {error}");
        let mut file = BufReader::new(File::open(&self.path).map_err(broken)?);
        let mut line = String::new();
        let mut next = |line: &mut String| {
            line.clear();
            (&mut file).take(MAX_LINE_BYTES).read_line(line).map_err(broken)?;
            if line.ends_with('\n') { Ok(()) } else { Err("it is not complete".to_owned()) }
        };
        next(&mut line)?;
        let header: Header = serde_json::from_str(&line).map_err(|_| "its header cannot be read".to_owned())?;
        if header.format != FORMAT {
            return Err("it has the format of another release".to_owned());
        }
        if header.binding != self.binding {
            return Err("it was made with another key".to_owned());
        }
        // Everything is read before anything is used.
        let mut all = Vec::new();
        loop {
            next(&mut line)?;
            match serde_json::from_str::<Access>(&line) {
                Ok(access) => all.push(access),
                Err(_) => break,
            }
        }
        let trailer: Trailer = serde_json::from_str(&line).map_err(|_| "a line cannot be read".to_owned())?;
        if trailer.tenants != all.len() {
            return Err("it is not complete".to_owned());
        }
        for access in all {
            cache.put(access).map_err(|full| full.to_string())?;
        }
        let now = now_millis();
        cache.advance(&header.cursor);
        cache.hear(Duration::from_millis(now.saturating_sub(header.heard_at_millis)));
        Ok(())
    }

    /// Replaces the file with the contents of the cache. Returns `false` if they are not complete, so that there is nothing
    /// to save.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn save(&self, cache: &AccessCache) -> io::Result<bool> {
        let Some(header) = self.header(cache)? else { return Ok(false) };
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory.join(format!(".{name}.{}", std::process::id()));
        // A former process with the same process id may have left this file.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = write(&temporary, &header, cache).and_then(|()| std::fs::rename(&temporary, &self.path));
        if written.is_err() {
            // The first error is reported.
            let _ = std::fs::remove_file(&temporary);
        }
        written.map(|()| true)
    }

    /// Notes in the file that its contents are still right. The caller knows that the file has the contents of the cache.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn touch(&self, cache: &AccessCache) -> io::Result<()> {
        let Some(header) = self.header(cache)? else { return Ok(()) };
        OpenOptions::new().write(true).open(&self.path)?.write_all_at(&header, 0)
    }

    /// Removes the file.
    ///
    /// # Errors
    /// Fails if a file that exists cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the header; `None` if the contents of the cache are not complete.
    fn header(&self, cache: &AccessCache) -> io::Result<Option<Vec<u8>>> {
        // The cursor is read before the contents, so that none of the changes after it can be missing.
        let (Some(cursor), Some(age)) = (cache.cursor(), cache.age()) else { return Ok(None) };
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let heard_at_millis = now_millis().saturating_sub(age);
        let header = Header { format: FORMAT, binding: self.binding.clone(), cursor, heard_at_millis };
        let mut line = serde_json::to_vec(&header)?;
        if line.len() >= HEADER_BYTES {
            return Err(io::Error::other("the cursor of the server is too long"));
        }
        line.resize(HEADER_BYTES - 1, b' ');
        line.push(b'\n');
        Ok(Some(line))
    }
}

fn write(path: &Path, header: &[u8], cache: &AccessCache) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut file = BufWriter::with_capacity(256 * 1024, file);
    file.write_all(header)?;
    let mut tenants = 0;
    cache.each(|access| {
        tenants += 1;
        serde_json::to_writer(&mut file, access)?;
        file.write_all(b"\n")
    })?;
    serde_json::to_writer(&mut file, &Trailer { tenants })?;
    file.write_all(b"\n")?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
