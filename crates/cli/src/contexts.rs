//! The servers a person knows by name: `~/.config/tenancy/config.toml`.

use crate::failure::Failure;
use crate::private_file;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A server and the key for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Where it answers.
    pub url: String,
    /// The token of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that is used when nothing else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Where the file is: `$TENANCY_CONFIG`, else `$XDG_CONFIG_HOME/tenancy`, else `~/.config/tenancy`.
    ///
    /// # Errors
    /// When there is no home directory to find it in.
    pub fn path() -> Result<PathBuf, Failure> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("TENANCY_CONFIG")
            .or_else(|| set("XDG_CONFIG_HOME").map(|home| home.join("tenancy/config.toml")))
            .or_else(|| set("HOME").map(|home| home.join(".config/tenancy/config.toml")))
            .ok_or_else(|| Failure::refused("no place for the configuration: set TENANCY_CONFIG to a file"))
    }

    /// Reads the file; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read, or says something else.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        Ok(read_toml(path)?.unwrap_or_default())
    }

    /// Writes the file. Comments in it do not survive; the other contexts do.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        write_toml(path, self)
    }

    /// A context by name.
    ///
    /// # Errors
    /// When there is none, with the nearest.
    pub fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let near = tenancy_core::nearest::nearest(name, self.contexts.keys().map(String::as_str));
            let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            Failure::new(crate::exit::Exit::NotFound, format!("there is no context {name:?}{hint}"))
                .and_type("context list")
        })
    }
}

/// A TOML file, `None` when there is none. The error says the line and never what stands on it: it may be a key.
pub(crate) fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::refused(format!("{shown} cannot be read: {error}"))),
    };
    toml::from_str(&text).map(Some).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        Failure::refused(format!("{shown}, line {line}: {}", error.message()))
    })
}

pub(crate) fn write_toml<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = toml::to_string(value).map_err(|error| Failure::refused(error.to_string()))?;
    private_file::write(path, &text)
        .map_err(|error| Failure::refused(format!("{} cannot be written: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn context(url: &str) -> Context {
        Context { url: url.to_owned(), key: Some("tnc_secret".to_owned()) }
    }

    #[test]
    fn must_come_back_as_it_was_written_and_for_its_owner_alone() {
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
        assert_eq!(failure.message, "there is no context \"stagnig\"; did you mean \"staging\"?");
    }
}
