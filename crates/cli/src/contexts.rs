//! Contexts: named servers with their keys, in `~/.config/tenancy/config.toml`.

use crate::failure::Failure;
use crate::private_file;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A server and its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// URL of the server.
    pub url: String,
    /// Token of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Contents of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// Name of the context that is used by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Contexts by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Returns the path: `$TENANCY_CONFIG`, else `$XDG_CONFIG_HOME/tenancy/config.toml`, else
    /// `~/.config/tenancy/config.toml`.
    ///
    /// # Errors
    /// Fails if none of the variables, including `HOME`, is set.
    pub fn path() -> Result<PathBuf, Failure> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("TENANCY_CONFIG")
            .or_else(|| set("XDG_CONFIG_HOME").map(|home| home.join("tenancy/config.toml")))
            .or_else(|| set("HOME").map(|home| home.join(".config/tenancy/config.toml")))
            .ok_or_else(|| {
                Failure::refused("HOME is not set: set TENANCY_CONFIG to the path of the configuration file")
            })
    }

    /// Reads the file. A missing file has no contexts.
    ///
    /// # Errors
    /// Fails if the file cannot be read or parsed.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        Ok(read_toml(path)?.unwrap_or_default())
    }

    /// Writes the file. Comments in the file are lost.
    ///
    /// # Errors
    /// Fails if the output cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        write_toml(path, self)
    }

    /// Returns a context by name.
    ///
    /// # Errors
    /// Fails if the context does not exist, and suggests the nearest name.
    pub fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let near = tenancy_core::nearest::nearest(name, self.contexts.keys().map(String::as_str));
            let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            Failure::new(crate::exit::Exit::NotFound, format!("no context named {name}{hint}")).and_type("context list")
        })
    }
}

/// Reads a TOML file; returns `None` if it does not exist. An error names the line but not its text, which can be a
/// key.
pub(crate) fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::refused(format!("cannot read {shown}: {error}"))),
    };
    toml::from_str(&text).map(Some).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        Failure::refused(format!("{shown}, line {line}: {}", error.message()))
    })
}

pub(crate) fn write_toml<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = toml::to_string(value).map_err(|error| Failure::refused(error.to_string()))?;
    private_file::write(path, &text)
        .map_err(|error| Failure::refused(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn context(url: &str) -> Context {
        Context { url: url.to_owned(), key: Some("tnc_secret".to_owned()) }
    }

    #[test]
    fn must_read_what_was_written_and_restrict_the_file_to_its_owner() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("tenancy/config.toml");
        assert_eq!(Contexts::load(&path).expect("empty"), Contexts::default());
        let contexts = Contexts {
            current: Some("dev".to_owned()),
            contexts: BTreeMap::from([("dev".to_owned(), context("http://127.0.0.1:7300"))]),
        };
        contexts.save(&path).expect("written");
        assert_eq!(Contexts::load(&path).expect("read"), contexts);
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn must_not_show_a_key_in_an_error() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("config.toml");
        std::fs::write(&path, "current = \"dev\"\n[contexts.dev]\nurl = \"u\"\nkey = \"tnc_secret\" oops\n")
            .expect("written");
        let failure = Contexts::load(&path).expect_err("broken");
        assert!(failure.message.contains("line 4") && !failure.message.contains("tnc_secret"), "{}", failure.message);
        assert!(!format!("{:?}", context("u")).contains("tnc_secret"));
    }

    #[test]
    fn must_suggest_the_nearest() {
        let contexts = Contexts { current: None, contexts: BTreeMap::from([("staging".to_owned(), context("u"))]) };
        let failure = contexts.named("stagnig").expect_err("none");
        assert_eq!(failure.message, "no context named stagnig; did you mean \"staging\"?");
    }
}
