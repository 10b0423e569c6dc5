//! Location of the PostgreSQL server's programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Oldest release that the product supports.
const OLDEST_MAJOR: u32 = 15;

/// Directories with one subdirectory or sibling per release: Debian, Red Hat, Homebrew.
const RELEASES: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// Returns the directory of `postgres`, `initdb` and `pgbench`: `$TENANCY_PG_BINDIR`, else the newest installed
/// release, else the directory that `pg_config` reports.
pub(crate) fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        if let Some(chosen) = std::env::var_os("TENANCY_PG_BINDIR") {
            let chosen = PathBuf::from(chosen);
            assert!(is_server(&chosen), "TENANCY_PG_BINDIR={} has no `postgres` and `initdb`", chosen.display());
            return chosen;
        }
        newest(RELEASES.iter().flat_map(|&(root, prefix, bin)| releases(root, prefix, bin)))
            .or_else(from_pg_config)
            .unwrap_or_else(|| {
                panic!(
                    "no PostgreSQL server of release {OLDEST_MAJOR} or newer found: install one \
                     (Debian: apt-get install postgresql) or set TENANCY_PG_BINDIR to its bin directory"
                )
            })
    })
}

fn releases(root: &str, prefix: &str, bin: &str) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let major = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((major, entry.path().join(bin)))
        })
        .collect()
}

fn newest(found: impl Iterator<Item = (u32, PathBuf)>) -> Option<PathBuf> {
    found
        .filter(|(major, directory)| *major >= OLDEST_MAJOR && is_server(directory))
        .max_by_key(|(major, _)| *major)
        .map(|(_, directory)| directory)
}

fn from_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let directory = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    is_server(&directory).then_some(directory)
}

fn is_server(directory: &Path) -> bool {
    ["postgres", "initdb"].iter().all(|program| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_supported_release_with_a_server_must_be_taken() {
        let root = tempfile::tempdir().unwrap();
        for (release, programs) in [
            ("9", &["postgres", "initdb"][..]),
            ("14", &["postgres", "initdb"]),
            ("16", &["postgres", "initdb"]),
            ("17", &["psql"]),
        ] {
            let bin = root.path().join(release).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            for program in programs {
                std::fs::write(bin.join(program), "").unwrap();
            }
        }
        let found = |prefix| newest(releases(root.path().to_str().unwrap(), prefix, "bin").into_iter());
        assert_eq!(found(""), Some(root.path().join("16/bin")));
        assert_eq!(found("pgsql-"), None);
    }
}
