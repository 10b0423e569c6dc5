//! How this process reaches placements.

use super::{BadConfig, Config};
use std::collections::BTreeSet;
use tenancy_core::ids::PlacementName;
use tenancy_core::placement::PlacementKind;

impl Config {
    /// Checks the names and the folders of placements.
    pub(super) fn check_placements(&self) -> Result<(), BadConfig> {
        let (mut folders, mut schemas) = (BTreeSet::new(), BTreeSet::new());
        for (name, settings) in &self.placements {
            let bad = |what: String| Err(BadConfig(format!("placements.{name}{what}")));
            let (folder, url_file) = (&settings.folder, &settings.url_file);
            if let Err(wrong) = PlacementName::parse(name) {
                return bad(format!(": {wrong}"));
            }
            match settings.kind() {
                PlacementKind::Sqlite if folder.as_os_str().is_empty() => {
                    return bad(": set folder (SQLite files) or url_file (PostgreSQL)".to_owned());
                }
                PlacementKind::Sqlite if !settings.database.is_empty() => {
                    return bad(".database: SQLite files have no database; set url_file for PostgreSQL".to_owned());
                }
                PlacementKind::Sqlite if !folder.is_absolute() => {
                    return bad(format!(".folder must be an absolute path, not {}", folder.display()));
                }
                PlacementKind::Sqlite if !folders.insert(folder) => {
                    return bad(format!(".folder: another placement has the folder {}", folder.display()));
                }
                PlacementKind::PostgresDatabase | PlacementKind::PostgresSchema if !url_file.is_absolute() => {
                    return bad(format!(".url_file must be an absolute path, not {}", url_file.display()));
                }
                PlacementKind::PostgresSchema if !schemas.insert((url_file, &settings.database)) => {
                    return bad(format!(".database: another placement has {} of the same server", settings.database));
                }
                PlacementKind::PostgresDatabase | PlacementKind::PostgresSchema if !folder.as_os_str().is_empty() => {
                    return bad(format!(": set only one of folder and url_file ({})", url_file.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Flags};

    fn refused(text: &str) -> String {
        Config::from_sources("a file", text, |_| None, Flags::default()).expect_err("refused").to_string()
    }

    #[test]
    fn must_refuse_a_folder_that_is_relative_or_of_another_placement() {
        let relative = refused("[placements.disk-1]\nfolder = 'disk'");
        assert_eq!(relative, "placements.disk-1.folder must be an absolute path, not disk");
        let twice = refused("[placements.a1]\nfolder = '/mnt'\n[placements.b1]\nfolder = '/mnt'");
        assert_eq!(twice, "placements.b1.folder: another placement has the folder /mnt");
        assert!(refused("[placements.'Disk 1']\nfolder = '/mnt'").starts_with("placements.Disk 1: "));
        let both = refused("[placements.a1]\nfolder = '/mnt'\nurl_file = '/etc/a1'");
        assert_eq!(both, "placements.a1: set only one of folder and url_file (/etc/a1)");
        let neither = refused("[placements.a1]");
        assert_eq!(neither, "placements.a1: set folder (SQLite files) or url_file (PostgreSQL)");
        assert!(refused("[placements.disk-1]\nfolders = '/mnt'").contains("unknown field `folders`"));
    }
}
