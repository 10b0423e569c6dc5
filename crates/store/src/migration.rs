//! Our own migrations: ordered, embedded, checksummed. A migration expands the schema first; a later release contracts
//! it.

use crate::database::Migrated;
use crate::normal_forms::{PASSES, Pass};
use crate::rows::Dialect;
use std::collections::BTreeMap;
use tenancy_core::json::sha256_hex;
use tenancy_core::{Error, Timestamp};

/// One migration.
#[derive(Clone, Copy)]
pub struct Migration {
    /// Name with its order and its purpose, such as `0001_record`.
    pub name: &'static str,
    /// Oldest release that can still run on the resulting schema.
    pub oldest_release: &'static str,
    /// SQL for SQLite.
    pub sqlite: &'static str,
    /// SQL for PostgreSQL.
    pub postgres: &'static str,
    /// Rewrites by the program, after the SQL. They are not part of the printed script, and neither is the row of this
    /// migration: a script that was run by hand leaves it to `tenancy db migrate`.
    pub passes: &'static [Pass],
}

/// All migrations, in order. A migration that has been released is never changed.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "0001_record",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0001_record.sqlite.sql"),
        postgres: include_str!("../migrations/0001_record.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0002_assertions",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0002_assertions.sqlite.sql"),
        postgres: include_str!("../migrations/0002_assertions.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0003_key_scopes",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0003_key_scopes.sqlite.sql"),
        postgres: include_str!("../migrations/0003_key_scopes.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0004_search",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0004_search.sqlite.sql"),
        postgres: include_str!("../migrations/0004_search.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0005_normal_forms",
        oldest_release: "0.1.0",
        sqlite: "-- Display names, labels and aliases get their normal forms.",
        postgres: "-- Display names, labels and aliases get their normal forms.",
        passes: PASSES,
    },
    Migration {
        name: "0006_log_seals",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0006_log_seals.sqlite.sql"),
        postgres: include_str!("../migrations/0006_log_seals.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0007_erasable_answers",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0007_erasable_answers.sqlite.sql"),
        postgres: include_str!("../migrations/0007_erasable_answers.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0008_follows_and_counts",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0008_follows_and_counts.sqlite.sql"),
        postgres: include_str!("../migrations/0008_follows_and_counts.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0009_log_epochs",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0009_log_epochs.sqlite.sql"),
        postgres: include_str!("../migrations/0009_log_epochs.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0010_data_keys",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0010_data_keys.sqlite.sql"),
        postgres: include_str!("../migrations/0010_data_keys.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0011_webhook_endpoints",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0011_webhook_endpoints.sqlite.sql"),
        postgres: include_str!("../migrations/0011_webhook_endpoints.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0012_deliveries",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0012_deliveries.sqlite.sql"),
        postgres: include_str!("../migrations/0012_deliveries.postgres.sql"),
        passes: &[],
    },
    Migration {
        name: "0013_placements",
        oldest_release: "0.1.0",
        sqlite: include_str!("../migrations/0013_placements.sqlite.sql"),
        postgres: include_str!("../migrations/0013_placements.postgres.sql"),
        passes: &[],
    },
];

/// Migration as recorded in `schema_migrations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Digest of its SQL.
    pub checksum: String,
    /// Oldest release that can still run.
    pub oldest_release: String,
}

impl Migration {
    /// Returns its SQL.
    pub fn sql(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }

    /// Returns the digest of its SQL, in hexadecimal.
    pub fn checksum(&self, dialect: Dialect) -> String {
        sha256_hex(&[self.sql(dialect).as_bytes()])
    }

    /// Returns the script of the migration as it is printed. What the program rewrites is named in it; in a new database,
    /// that is nothing.
    pub fn printed(&self, dialect: Dialect, now: Timestamp, is_new: bool) -> String {
        if self.passes.is_empty() || is_new {
            return self.script(dialect, now);
        }
        let sql = self.sql(dialect).trim_end();
        format!("-- {0}\n{sql}\n-- {0} is done by the program: run `tenancy db migrate` after this script.", self.name)
    }

    /// Returns the script of the migration: its SQL and the INSERT of its row in `schema_migrations`. The values are
    /// literals, so that the printed script is the script that runs.
    pub fn script(&self, dialect: Dialect, now: Timestamp) -> String {
        let applied_at = match dialect {
            Dialect::Sqlite => now.as_microsecond().to_string(),
            Dialect::Postgres => quoted(&now.to_string()),
        };
        format!(
            "-- {}\n{}\nINSERT INTO schema_migrations (name, checksum, oldest_release, applied_at) VALUES ({}, {}, {}, {applied_at});",
            self.name,
            self.sql(dialect).trim_end(),
            quoted(self.name),
            quoted(&self.checksum(dialect)),
            quoted(self.oldest_release)
        )
    }
}

/// Whether a database that lacks these migrations is new.
pub fn is_new(missing: &[&Migration]) -> bool {
    missing.first().is_some_and(|first| MIGRATIONS.first().is_some_and(|all| all.name == first.name))
}

/// Quotes a text as a SQL literal.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns the migrations of `all` that a database with these rows lacks.
///
/// # Errors
/// [`Error::NotNow`] when a migration was changed after it ran, or when the database is ahead and this release cannot
/// run on it.
pub fn missing<'a>(
    all: &'a [Migration],
    dialect: Dialect,
    applied: &BTreeMap<String, Applied>,
) -> Result<Vec<&'a Migration>, Error> {
    for migration in all {
        if applied.get(migration.name).is_some_and(|row| row.checksum != migration.checksum(dialect)) {
            return Err(Error::NotNow(format!(
                "migration {} differs from the one that ran on this database: it belongs to another build; use that build",
                migration.name
            )));
        }
    }
    let ahead = applied.iter().filter(|(name, _)| !all.iter().any(|migration| migration.name == **name));
    for (name, row) in ahead {
        if older(env!("CARGO_PKG_VERSION"), &row.oldest_release) {
            return Err(Error::NotNow(format!(
                "the database is newer than this release: migration {name} needs release {} or newer; upgrade tenancy",
                row.oldest_release
            )));
        }
    }
    Ok(all.iter().filter(|migration| !applied.contains_key(migration.name)).collect())
}

/// Reports migrations that ran, or would run, with their SQL.
pub fn report(migrations: &[&Migration], sql: Vec<String>) -> Migrated {
    Migrated { applied: migrations.iter().map(|migration| migration.name.to_owned()).collect(), sql }
}

/// Fails if the database is behind.
pub fn behind(missing: &[&Migration]) -> Result<(), Error> {
    match missing {
        [] => Ok(()),
        missing => {
            let names: Vec<_> = missing.iter().map(|migration| migration.name).collect();
            let what = names.join(", ");
            Err(Error::NotNow(format!(
                "the database lacks migrations {what}: run `tenancy db migrate` with the same --database, as the owner \
                 of its tables"
            )))
        }
    }
}

fn older(release: &str, than: &str) -> bool {
    let parts = |text: &str| text.split('.').map(|part| part.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>();
    parts(release) < parts(than)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(name: &str, checksum: String, oldest: &str) -> BTreeMap<String, Applied> {
        BTreeMap::from([(name.to_owned(), Applied { checksum, oldest_release: oldest.to_owned() })])
    }

    #[test]
    fn must_refuse_a_migration_that_was_changed_after_it_ran() {
        let changed = applied("0001_record", "other".to_owned(), "0.1.0");
        assert!(missing(MIGRATIONS, Dialect::Sqlite, &changed).is_err());
    }

    #[test]
    fn must_quote_what_stands_in_its_script() {
        let odd = Migration { name: "it's", oldest_release: "0.1.0", sqlite: "SELECT 1;\n", postgres: "", passes: &[] };
        let now = "2026-02-03T04:05:06.000007Z".parse().expect("a time");
        let row = format!("VALUES ('it''s', '{}', '0.1.0', 1770091506000007);", odd.checksum(Dialect::Sqlite));
        let script = odd.script(Dialect::Sqlite, now);
        assert!(script.starts_with("-- it's\nSELECT 1;\nINSERT INTO") && script.ends_with(&row), "{script}");
        let script = odd.script(Dialect::Postgres, now);
        assert!(script.ends_with("'0.1.0', '2026-02-03T04:05:06.000007Z');"), "{script}");
    }

    #[test]
    fn must_serve_a_database_that_is_ahead_while_it_is_allowed_to() {
        let mut rows = applied("0001_record", MIGRATIONS[0].checksum(Dialect::Postgres), "0.1.0");
        rows.extend(applied("9999_next", "x".to_owned(), "0.1.0"));
        assert_eq!(
            missing(MIGRATIONS, Dialect::Postgres, &rows).map(|missing| missing.len()),
            Ok(MIGRATIONS.len() - 1)
        );
        rows.extend(applied("9999_next", "x".to_owned(), "99.0.0"));
        assert!(missing(MIGRATIONS, Dialect::Postgres, &rows).is_err());
    }
}
