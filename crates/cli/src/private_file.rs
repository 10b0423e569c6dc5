//! Files that hold a secret: readable by their owner alone, and never half written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Writes the whole file or leaves what was there: a temporary file beside it, then a rename. The mode is 0600 from
/// the first byte on, whatever it was before.
///
/// # Errors
/// What the file system says.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_directory(directory)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    // A leftover of a process of the same number that died here.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(directory)?.sync_all()
}

/// Makes a directory, and those above it, for their owner alone; one that is there stays as it is.
///
/// # Errors
/// What the file system says.
pub fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn must_be_for_its_owner_alone_even_where_it_was_open() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("a/b/config.toml");
        write(&path, "one").expect("written");
        assert_eq!((mode(&path), mode(&temp.path().join("a"))), (0o600, 0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        write(&path, "two").expect("written");
        assert_eq!((mode(&path), fs::read_to_string(&path).expect("read").as_str()), (0o600, "two"));
        assert_eq!(fs::read_dir(path.parent().expect("a parent")).expect("read").count(), 1);
    }
}
