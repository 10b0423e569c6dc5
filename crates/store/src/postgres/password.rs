//! The password of a connection that has none in its URL: from `PGPASSWORD`, or from a password file. The format is that
//! of PostgreSQL's client library (documentation of libpq, "The Password File").

use std::path::{Path, PathBuf};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// Finds the password. A file that other users can read is ignored, as PostgreSQL's own programs do.
pub fn find(config: &Config, file: Option<&Path>) -> Option<Vec<u8>> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(password) = set("PGPASSWORD") {
        return Some(std::os::unix::ffi::OsStringExt::into_vec(password));
    }
    let named = file.map(Path::to_owned).or_else(|| set("PGPASSFILE").map(PathBuf::from));
    let path = named.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".pgpass")))?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).ok()?.permissions());
    if mode & 0o077 != 0 {
        tracing::warn!(
            "the password file {} is ignored because other users can read it: run chmod 600",
            path.display()
        );
        return None;
    }
    in_text(&std::fs::read_to_string(path).ok()?, config).map(String::into_bytes)
}

/// Returns the password of the first line whose host, port, database and user match.
fn in_text(text: &str, config: &Config) -> Option<String> {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        // PostgreSQL writes the default socket directory as `localhost`.
        _ => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    let user = config.get_user().unwrap_or_default();
    let wanted = [&host, &port, config.get_dbname().unwrap_or(user), user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let (password, keys) = fields.split_last()?;
        let matches =
            keys.len() == wanted.len() && keys.iter().zip(wanted).all(|(key, wanted)| key == "*" || key == wanted);
        matches.then(|| password.clone())
    })
}

/// Splits a line at colons. A backslash keeps the character after it.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' => fields.push(String::new()),
            '\\' => fields.iter_mut().last().into_iter().for_each(|field| field.extend(characters.next())),
            other => fields.iter_mut().last().into_iter().for_each(|field| field.push(other)),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn must_find_the_password_of_the_first_line_that_matches() {
        let text = "# comment\nother:5432:d:u:wrong\nh:5432:d:u:se\\:c\\\\ret\n*:*:*:*:any\n";
        let found = |url: &str| in_text(text, &url.parse().expect("a URL"));
        assert_eq!(found("postgres://u@h/d").as_deref(), Some("se:c\\ret"));
        assert_eq!(found("postgres://u@h:1/d").as_deref(), Some("any"));
        assert_eq!(in_text("h:5432:d:u:x", &"postgres://v@h/d".parse().expect("a URL")), None);
        assert_eq!(in_text("h:5432\n\n", &"postgres://u@h/d".parse().expect("a URL")), None);
    }

    #[test]
    fn must_ignore_a_password_file_that_others_can_read() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("pass");
        std::fs::write(&file, "*:*:*:*:secret").expect("written");
        let found = |mode: u32| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("set");
            find(&"postgres://u@h/d".parse().expect("a URL"), Some(&file))
        };
        assert_eq!(found(0o644), None);
        assert_eq!(found(0o600).as_deref(), Some(b"secret".as_slice()));
    }
}
