//! The name under which this program was started, so that printed commands can be pasted into a shell.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Returns `tenancy` if the shell finds this program under that name, and the path of the program otherwise.
pub fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories: Vec<_> = std::env::split_paths(&path).collect();
        match (std::env::current_exe(), std::env::current_dir()) {
            (Ok(program), Ok(here)) => called(&program, &here, &directories),
            _ => "tenancy".to_owned(),
        }
    })
}

/// Returns a command line of this program that can be pasted into a shell.
pub fn command(arguments: &str) -> String {
    format!("{} {arguments}", name())
}

fn called(program: &Path, here: &Path, directories: &[PathBuf]) -> String {
    let real = |path: &Path| path.canonicalize().ok();
    // The shell runs the first `tenancy` on the path, so only that one counts.
    let found = directories.iter().map(|directory| directory.join("tenancy")).find(|path| path.is_file());
    if found.is_some_and(|found| real(&found).is_some() && real(&found) == real(program)) {
        return "tenancy".to_owned();
    }
    let shown = match program.strip_prefix(here) {
        Ok(inside) if inside.components().count() > 1 => inside.to_path_buf(),
        Ok(inside) => Path::new(".").join(inside),
        Err(_) => program.to_path_buf(),
    };
    quoted(&shown.to_string_lossy()).into_owned()
}

/// Returns one word of a shell command, quoted if necessary.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_quote_only_what_a_shell_would_split_or_expand() {
        for (word, shown) in [
            ("acme-eu", "acme-eu"),
            ("host:acme.example.com", "host:acme.example.com"),
            ("", "''"),
            ("not paid", "'not paid'"),
            ("it's", r"'it'\''s'"),
            ("$(rm -rf ~)", "'$(rm -rf ~)'"),
            ("~/x", "'~/x'"),
            ("a\nb", "'a\nb'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn must_print_the_path_unless_the_shell_finds_this_program() {
        let temp = tempfile::tempdir().expect("a directory");
        let here = temp.path().canonicalize().expect("a path");
        let build = here.join("target/release");
        let other = here.join("bin");
        for directory in [&build, &other] {
            std::fs::create_dir_all(directory).expect("made");
            std::fs::write(directory.join("tenancy"), "").expect("written");
        }
        let program = build.join("tenancy");
        assert_eq!(called(&program, &here, &[]), "target/release/tenancy");
        assert_eq!(called(&program, &build, &[]), "./tenancy");
        assert_eq!(called(&program, &other, &[]), program.to_string_lossy());
        assert_eq!(called(&program, &here, std::slice::from_ref(&build)), "tenancy");
        assert_eq!(called(&program, &here, &[other, build]), "target/release/tenancy");
    }
}
