//! The keys that encrypt private data: where they are, and how many are kept in memory.

use super::{BadConfig, Config};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Where the keys are that encrypt private data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeySettings {
    /// Directory of the keys, outside the data directory. Empty: the directory that `dev` makes, if it exists.
    pub directory: PathBuf,
    /// Program and arguments of a key service. Empty: the directory.
    pub program: Vec<String>,
    /// Maximum time for an answer of the program, in seconds.
    pub program_timeout_seconds: u64,
    /// Maximum number of opened data keys in memory.
    pub max_cached_keys: usize,
}

impl Default for KeySettings {
    fn default() -> Self {
        Self { directory: PathBuf::new(), program: Vec::new(), program_timeout_seconds: 10, max_cached_keys: 20_000 }
    }
}

impl KeySettings {
    /// Whether a directory or a program is set.
    pub fn are_set(&self) -> bool {
        !self.directory.as_os_str().is_empty() || !self.program.is_empty()
    }
}

impl Config {
    /// Returns the directory of keys that `dev` makes: beside the data directory, so that a copy of the data directory
    /// contains no keys.
    pub fn keys_beside_data(&self) -> PathBuf {
        let data = lexical(&self.data_dir);
        let mut name = data.file_name().map_or_else(|| OsString::from("tenancy"), OsString::from);
        name.push("-keys");
        data.with_file_name(name)
    }

    /// Checks the settings of the keys.
    pub(super) fn check_keys(&self) -> Result<(), BadConfig> {
        let keys = &self.keys;
        if !keys.directory.as_os_str().is_empty() && !keys.program.is_empty() {
            return Err(BadConfig("set only one of keys.directory and keys.program".to_owned()));
        }
        if !keys.directory.as_os_str().is_empty() && lexical(&keys.directory).starts_with(lexical(&self.data_dir)) {
            return Err(BadConfig(format!(
                "keys.directory {} is inside the data directory {}: a copy of the data would contain the keys that \
                 protect it; name a directory outside it, such as {}",
                keys.directory.display(),
                self.data_dir.display(),
                self.keys_beside_data().display()
            )));
        }
        Ok(())
    }
}

/// Returns the absolute path without `.` and `..`, also if it does not exist.
fn lexical(path: &Path) -> PathBuf {
    let whole = path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in whole.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::Flags;
    use super::*;

    fn read(text: &str) -> Result<Config, BadConfig> {
        Config::from_sources("test.toml", text, |_| None, Flags::default())
    }

    #[test]
    fn must_refuse_keys_inside_the_data_directory_however_it_is_written() {
        for inside in ["/srv/t/keys", "/srv/t", "/srv/./t/a/../keys", "/srv/x/../t/keys"] {
            let refused = read(&format!("data_dir = '/srv/t'\n[keys]\ndirectory = '{inside}'")).expect_err(inside);
            assert!(refused.0.contains("outside") && refused.0.contains("/srv/t-keys"), "{refused}");
        }
        for outside in ["/srv/t-keys", "/srv/keys", "/srv/t/../keys"] {
            let config = read(&format!("data_dir = '/srv/t'\n[keys]\ndirectory = '{outside}'")).expect(outside);
            assert!(config.keys.are_set());
        }
        assert!(read("[keys]\ndirectory = '/k'\nprogram = ['kms']").is_err());
    }

    #[test]
    fn must_place_the_keys_of_dev_beside_the_data() {
        let config = Config { data_dir: "/srv/try/".into(), ..Config::default() };
        assert_eq!(config.keys_beside_data(), Path::new("/srv/try-keys"));
        assert!(Config::default().keys_beside_data().ends_with(".tenancy-keys"));
    }
}
