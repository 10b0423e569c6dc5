//! Whether a data directory was made by this program for this user. A directory that came with a repository, or that
//! belongs to somebody else, can name a foreign server, and contain links to other files.

use crate::failure::Failure;
use crate::reach::CLIENT_FILE;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Names of the files of this program in a data directory, without what SQLite appends.
const FILES: [&str; 3] = [CLIENT_FILE, "tenancy.db", ".gitignore"];
/// What SQLite and this program append to the name of the database.
const BESIDE: [&str; 4] = ["-wal", "-shm", "-journal", ".lock"];
/// Maximum size of an index of git that is searched, in bytes.
const MAX_INDEX_BYTES: u64 = 256 * 1024 * 1024;

/// Checks an existing data directory. A directory that does not exist, or contains nothing of this program, passes.
///
/// # Errors
/// Fails with the reason why the directory is not trusted, and with the next step.
pub fn check(directory: &Path) -> Result<(), Failure> {
    let shown = directory.display();
    let refused = |why: String, next: &str| Err(Failure::refused(why).and(next));
    let named = "name the server with --url or --context, or another data directory with --data-dir";
    let Ok(found) = std::fs::metadata(directory) else { return Ok(()) };
    let files: Vec<_> = present(directory);
    if files.is_empty() {
        return Ok(());
    }
    let me = rustix::process::geteuid().as_raw();
    if found.uid() != me {
        return refused(format!("the data directory {shown} belongs to another user, so it is not trusted"), named);
    }
    for file in files {
        let Ok(entry) = std::fs::symlink_metadata(&file) else { continue };
        let file = file.display();
        if entry.file_type().is_symlink() {
            return refused(
                format!("{file} is a symbolic link, which this program does not follow"),
                "remove the link",
            );
        }
        if entry.uid() != me {
            return refused(format!("{file} belongs to another user, so it is not trusted"), named);
        }
    }
    if is_tracked_by_git(directory) {
        let why = format!("the data directory {shown} is tracked by git, so this program did not make it");
        return refused(why, &format!("remove it with `git rm -r --cached {shown}`, or {named}"));
    }
    Ok(())
}

/// Files of this program that exist, also as links to nothing.
fn present(directory: &Path) -> Vec<PathBuf> {
    let beside = BESIDE.iter().map(|end| format!("tenancy.db{end}"));
    let names = FILES.iter().map(|name| (*name).to_owned()).chain(beside);
    names.map(|name| directory.join(name)).filter(|path| std::fs::symlink_metadata(path).is_ok()).collect()
}

/// Whether the index of the repository around the directory names a file in it. The index lists paths relative to the
/// root of the repository (gitformat-index, versions 2 and 3; version 4 shortens some of them).
fn is_tracked_by_git(directory: &Path) -> bool {
    let Ok(directory) = directory.canonicalize() else { return false };
    let Some((root, index)) = directory.ancestors().skip(1).find_map(|root| Some((root, index_of(root)?))) else {
        return false;
    };
    let Ok(inside) = directory.strip_prefix(root) else { return false };
    let small = std::fs::metadata(&index).is_ok_and(|found| found.len() <= MAX_INDEX_BYTES);
    let Some(content) = small.then(|| std::fs::read(&index).ok()).flatten() else { return false };
    let wanted = format!("{}/", inside.display()).into_bytes();
    content.windows(wanted.len()).any(|bytes| bytes == wanted)
}

/// The index of the repository whose root this is. In a worktree, `.git` is a file that names the directory.
fn index_of(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git.join("index"));
    }
    let text = std::fs::read_to_string(&git).ok()?;
    let named = text.strip_prefix("gitdir:")?.trim();
    Some(root.join(named).join("index"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn must_trust_its_own_directory_and_follow_no_link() {
        let temp = tempfile::tempdir().expect("a directory");
        let directory = temp.path().join(".tenancy");
        check(&directory).expect("there is none");
        std::fs::create_dir(&directory).expect("made");
        check(&directory).expect("empty");
        std::fs::write(directory.join("client.toml"), "url = 'x'").expect("written");
        check(&directory).expect("its own");
        std::os::unix::fs::symlink("/etc/passwd", directory.join("tenancy.db-wal")).expect("linked");
        let refused = check(&directory).expect_err("a link").message;
        assert!(refused.contains("tenancy.db-wal is a symbolic link"), "{refused}");
    }

    #[test]
    fn must_not_trust_a_directory_that_came_with_a_repository() {
        let temp = tempfile::tempdir().expect("a directory");
        let git = |arguments: &[&str]| {
            let ran = Command::new("git").arg("-C").arg(temp.path()).args(arguments).output();
            ran.is_ok_and(|ran| ran.status.success())
        };
        let directory = temp.path().join("deploy/.tenancy");
        std::fs::create_dir_all(&directory).expect("made");
        std::fs::write(directory.join("client.toml"), "url = 'http://evil.example'").expect("written");
        // A machine without git has no repositories.
        if !git(&["init", "-q"]) {
            return;
        }
        check(&directory).expect("not tracked");
        assert!(git(&["add", "-f", "deploy"]));
        let refused = check(&directory).expect_err("tracked").message;
        assert!(refused.contains("tracked by git"), "{refused}");
    }
}
