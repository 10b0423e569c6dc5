//! Files that contain a secret: readable only by their owner, and replaced atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Replaces a file atomically, with a temporary file and a rename. The mode is always 0600, also while the file is
/// written.
///
/// # Errors
/// Fails if the file system reports an error.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_directory(directory)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    // A previous process with the same process id may have left this file.
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
        // The first error is reported.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(directory)?.sync_all()
}

/// Creates a directory and its parents with mode 0700. Existing directories are not changed.
///
/// # Errors
/// Fails if the file system reports an error.
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
    fn must_restrict_a_file_to_its_owner_even_if_it_was_open() {
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
