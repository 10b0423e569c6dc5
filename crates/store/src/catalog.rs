//! Compares the table descriptions and the specification with the live catalogs of both databases.

use crate::database::Database;
use crate::rows::Type;
use crate::tables::TABLES;
use crate::write_kind::WRITES;
use std::collections::{BTreeMap, BTreeSet};
use tenancy_core::delivery::DeliveryState;
use tenancy_core::environment::IsolationLevel;
use tenancy_core::job::JobState;
use tenancy_core::tenant::{DesiredState, Profile, State};
use tenancy_core::webhook::Format;

/// Columns of the specification, with their PostgreSQL types.
const SPECIFICATION: &[(&str, &[(&str, &str)])] = &[
    (
        "tenants",
        &[
            ("tenant_id", "character varying(64)"),
            ("organization_id", "character varying(64)"),
            ("profile", "character varying(32)"),
            ("state", "character varying(32)"),
            ("region", "character varying(64)"),
            ("quotas", "jsonb"),
            ("policies", "jsonb"),
            ("billing", "jsonb"),
            ("created_at", "timestamp with time zone"),
            ("updated_at", "timestamp with time zone"),
            ("version", "integer"),
        ],
    ),
    (
        "environments",
        &[
            ("env_id", "character varying(64)"),
            ("tenant_id", "character varying(64)"),
            ("name", "character varying(32)"),
            ("region", "character varying(64)"),
            ("isolation_level", "character varying(32)"),
            ("quotas", "jsonb"),
            ("retention_days", "integer"),
            ("created_at", "timestamp with time zone"),
            ("updated_at", "timestamp with time zone"),
        ],
    ),
    (
        "tenant_audit",
        &[
            ("audit_id", "character varying(64)"),
            ("tenant_id", "character varying(64)"),
            ("event_type", "character varying(64)"),
            ("actor", "character varying(64)"),
            ("payload", "jsonb"),
            ("correlation_id", "character varying(64)"),
            ("occurred_at", "timestamp with time zone"),
        ],
    ),
    (
        "tenant_jobs",
        &[
            ("job_id", "character varying(64)"),
            ("tenant_id", "character varying(64)"),
            ("action", "character varying(64)"),
            ("state", "character varying(32)"),
            ("progress", "double precision"),
            ("logs", "text"),
            ("created_at", "timestamp with time zone"),
            ("updated_at", "timestamp with time zone"),
        ],
    ),
    (
        "tenant_webhooks",
        &[
            ("webhook_id", "character varying(64)"),
            ("tenant_id", "character varying(64)"),
            ("url", "text"),
            ("events", "jsonb"),
            ("secret", "text"),
            ("retry_policy", "jsonb"),
            ("created_at", "timestamp with time zone"),
            ("updated_at", "timestamp with time zone"),
        ],
    ),
];

/// Indexes of the specification with their uniqueness, including primary keys, and the indexes that the lists of the
/// log need.
const INDEXES: &[(&str, &str, bool)] = &[
    ("tenants", "tenant_id", true),
    ("tenants", "organization_id", false),
    ("tenants", "state", false),
    ("tenants", "region", false),
    ("environments", "env_id", true),
    ("environments", "tenant_id,name", true),
    ("tenant_audit", "audit_id", true),
    ("tenant_audit", "event_type", false),
    ("tenant_audit", "occurred_at", false),
    ("tenant_audit", "tenant_id,position", false),
    ("tenant_audit", "position", false),
    ("platform_audit", "audit_id", true),
    ("platform_audit", "position", false),
    ("tenant_jobs", "job_id", true),
    ("tenant_jobs", "tenant_id,state", false),
    ("tenant_webhooks", "webhook_id", true),
    ("platform_webhooks", "webhook_id", true),
    ("platform_webhooks", "full_name", true),
];

/// Foreign keys of the specification, and ours to organizations.
const FOREIGN_KEYS: &[(&str, &str, &str)] = &[
    ("environments", "tenant_id", "tenants"),
    ("tenant_audit", "tenant_id", "tenants"),
    ("tenant_webhooks", "tenant_id", "tenants"),
    ("platform_webhooks", "organization_id", "organizations"),
    ("tenants", "organization_id", "organizations"),
];

/// Contents of a database catalog.
#[derive(Debug, Default, PartialEq, Eq)]
struct Catalog {
    /// Table to column to type and whether the column is nullable.
    columns: BTreeMap<String, BTreeMap<String, (String, bool)>>,
    /// Table, columns, whether the index is unique.
    indexes: BTreeSet<(String, String, bool)>,
    /// Table and columns of partial indexes.
    partial: BTreeSet<(String, String)>,
    /// Table, column, referenced table.
    foreign_keys: BTreeSet<(String, String, String)>,
}

fn text(row: &[Option<String>], index: usize) -> String {
    row[index].clone().unwrap_or_default()
}

async fn postgres() -> Catalog {
    let database = tenancy_testkit::Postgres::shared().database("catalog");
    Database::Postgres(database.url().to_owned()).migrate(false).await.expect("migrated");
    let mut catalog = Catalog::default();
    let columns = "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull \
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
        AND a.attnum > 0 AND NOT a.attisdropped";
    for row in database.rows(columns) {
        let column = (text(&row, 2), text(&row, 3) == "t" || text(&row, 3) == "true");
        catalog.columns.entry(text(&row, 0)).or_default().insert(text(&row, 1), column);
    }
    let indexes = "SELECT t.relname, string_agg(a.attname, ',' ORDER BY array_position(i.indkey::int2[], a.attnum)), \
        i.indisunique, i.indpred IS NOT NULL FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = any(i.indkey::int2[]) \
        WHERE t.relnamespace = 'public'::regnamespace AND NOT t.relispartition GROUP BY t.relname, i.indexrelid, i.indisunique, i.indpred";
    for row in database.rows(indexes) {
        if text(&row, 3).starts_with('t') {
            catalog.partial.insert((text(&row, 0), text(&row, 1)));
        }
        catalog.indexes.insert((text(&row, 0), text(&row, 1), text(&row, 2).starts_with('t')));
    }
    let keys = "SELECT t.relname, a.attname, r.relname FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid \
        JOIN pg_class r ON r.oid = k.confrelid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.conkey[1] \
        WHERE k.contype = 'f' AND NOT t.relispartition";
    for row in database.rows(keys) {
        catalog.foreign_keys.insert((text(&row, 0), text(&row, 1), text(&row, 2)));
    }
    catalog
}

async fn sqlite() -> Catalog {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("catalog.db");
    Database::Sqlite(path.clone()).migrate(false).await.expect("migrated");
    let connection = rusqlite::Connection::open(path).expect("open");
    let rows = |sql: &str| {
        let mut statement = connection.prepare(sql).expect("sql");
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            (0..columns)
                .map(|index| {
                    Ok(match row.get_ref(index)? {
                        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                        other => other.as_str().unwrap_or_default().to_owned(),
                    })
                })
                .collect::<rusqlite::Result<Vec<String>>>()
        };
        statement.query_map([], row).expect("rows").collect::<rusqlite::Result<Vec<_>>>().expect("rows")
    };
    let mut catalog = Catalog::default();
    for table in rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'") {
        let table = table[0].clone();
        for column in rows(&format!("SELECT name, type, \"notnull\", pk FROM pragma_table_info('{table}')")) {
            let null = column[2] == "0" && column[3] == "0";
            let columns = catalog.columns.entry(table.clone()).or_default();
            columns.insert(column[0].clone(), (column[1].to_lowercase(), null));
        }
        for index in rows(&format!("SELECT name, \"unique\", partial FROM pragma_index_list('{table}')")) {
            let names = rows(&format!("SELECT name FROM pragma_index_info('{}')", index[0]));
            let names: Vec<_> = names.into_iter().map(|name| name[0].clone()).collect();
            catalog.indexes.insert((table.clone(), names.join(","), index[1] == "1"));
            if index[2] == "1" {
                catalog.partial.insert((table.clone(), names.join(",")));
            }
        }
        for pk in rows(&format!("SELECT name FROM pragma_table_info('{table}') WHERE pk = 1")) {
            // An integer primary key is the table itself in SQLite and has no separate index.
            let pks = rows(&format!("SELECT count(*) FROM pragma_table_info('{table}') WHERE pk > 0"));
            if pks[0][0] == "1" {
                catalog.indexes.insert((table.clone(), pk[0].clone(), true));
            }
        }
        for key in rows(&format!("SELECT \"from\", \"table\" FROM pragma_foreign_key_list('{table}')")) {
            catalog.foreign_keys.insert((table.clone(), key[0].clone(), key[1].clone()));
        }
    }
    catalog
}

/// The SQLite type that corresponds to a PostgreSQL type.
fn in_sqlite(postgres: &str) -> &'static str {
    match postgres {
        "integer" | "bigint" | "boolean" | "timestamp with time zone" => "integer",
        "double precision" => "real",
        _ => "text",
    }
}

/// Types that a description may use for a PostgreSQL type. A column that is only written and read whole may hold JSON
/// as text.
fn described(postgres: &str) -> &'static [Type] {
    match postgres {
        "integer" | "bigint" => &[Type::Int],
        "boolean" => &[Type::Bool],
        "timestamp with time zone" => &[Type::Time],
        "double precision" => &[Type::Float],
        "jsonb" => &[Type::Json],
        "text" => &[Type::Text, Type::Json],
        _ => &[Type::Text],
    }
}

#[tokio::test]
async fn must_have_the_specifications_tables_on_postgresql() {
    let catalog = postgres().await;
    for (table, columns) in SPECIFICATION {
        for (column, ty) in *columns {
            let found = catalog.columns.get(*table).and_then(|columns| columns.get(*column));
            assert_eq!(found.map(|(ty, _)| ty.as_str()), Some(*ty), "{table}.{column}");
        }
    }
    for (table, columns, unique) in INDEXES {
        let index = ((*table).to_owned(), (*columns).to_owned(), *unique);
        assert!(catalog.indexes.contains(&index), "{index:?}");
    }
    for (table, column, to) in FOREIGN_KEYS {
        let key = ((*table).to_owned(), (*column).to_owned(), (*to).to_owned());
        assert!(catalog.foreign_keys.contains(&key), "{key:?}");
    }
}

#[tokio::test]
async fn must_have_the_same_tables_on_both_databases() {
    let (mut postgres, sqlite) = (postgres().await, sqlite().await);
    // Only PostgreSQL has this table: the lock for migrations.
    assert!(postgres.columns.remove("schema_lock").is_some());
    for columns in postgres.columns.values_mut() {
        for (ty, _) in columns.values_mut() {
            *ty = in_sqlite(ty).to_owned();
        }
    }
    assert_eq!(postgres.columns, sqlite.columns);
    postgres.indexes.retain(|(table, ..)| table != "schema_lock");
    assert_eq!(postgres.indexes, sqlite.indexes);
    assert_eq!(postgres.partial, sqlite.partial);
    assert_eq!(postgres.foreign_keys, sqlite.foreign_keys);
}

/// Tables without a description, because no change writes to them. The head of the log is only locked; its floor and
/// the marks are written by upkeep; the migrations' own tables are created before any migration runs.
const UNDESCRIBED: [&str; 5] = ["log_floor", "log_head", "marks", "schema_lock", "schema_migrations"];

#[tokio::test]
async fn must_describe_each_table_as_it_is() {
    let catalog = postgres().await;
    let known: BTreeSet<_> = TABLES.iter().map(|table| table.name).chain(UNDESCRIBED).collect();
    assert_eq!(catalog.columns.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
    for table in TABLES {
        let columns = &catalog.columns[table.name];
        for column in table.columns {
            let (ty, _) = columns.get(column.name).unwrap_or_else(|| panic!("{}.{}", table.name, column.name));
            assert!(described(ty).contains(&column.ty), "{}.{}", table.name, column.name);
        }
        let undescribed: Vec<_> =
            columns.keys().filter(|name| !table.columns.iter().any(|column| column.name == **name)).collect();
        // Secrets of webhooks, and where their events begin, have reads of their own.
        let expected: &[&str] = if table.name.ends_with("_webhooks") { &["from_position", "secret"] } else { &[] };
        assert_eq!(undescribed, expected, "{}", table.name);
        let key = (table.name.to_owned(), table.key.join(","), true);
        assert!(catalog.indexes.contains(&key), "{key:?}");
    }
    // A copy of a database has all columns.
    for table in TABLES {
        let copied: BTreeSet<_> = crate::copy::columns(table).iter().map(|column| column.name).collect();
        assert_eq!(copied, catalog.columns[table.name].keys().map(String::as_str).collect(), "{}", table.name);
    }
    for kind in WRITES {
        let known = TABLES.iter().any(|table| table.name == kind.table().name);
        let named = kind.columns().iter().all(|column| catalog.columns[kind.table().name].contains_key(column.name));
        assert!(known && named, "{kind:?}");
        assert!(kind.columns().iter().all(|column| column.name != "no_such_column"), "{kind:?}");
    }
}

#[tokio::test]
async fn must_order_ids_and_names_by_their_bytes_on_postgresql() {
    let database = tenancy_testkit::Postgres::shared().database("collations");
    Database::Postgres(database.url().to_owned()).migrate(false).await.expect("migrated");
    let other = "SELECT c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
        JOIN pg_collation l ON l.oid = a.attcollation \
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 \
        AND c.relname NOT LIKE 'schema_%' AND format_type(a.atttypid, a.atttypmod) LIKE 'character varying%' AND l.collname <> 'C' ORDER BY 1";
    let other: Vec<_> = database.rows(other).iter().map(|row| text(row, 0)).collect();
    assert_eq!(
        other,
        ["organizations.display_name", "tenants.display_name"],
        "nothing is ordered or compared by these"
    );
}

/// SQLite's checks must refuse what PostgreSQL's types refuse, and values outside a closed list.
#[tokio::test]
async fn must_check_lengths_lists_and_json_on_sqlite() {
    fn list<T>(words: &[(&str, T)]) -> String {
        words.iter().map(|(word, _)| format!("'{word}'")).collect::<Vec<_>>().join(", ")
    }
    let lists = [
        ("tenants.profile", list(Profile::WORDS)),
        ("tenants.state", list(State::WORDS)),
        ("tenants.desired_state", list(DesiredState::WORDS)),
        ("environments.state", list(State::WORDS)),
        ("environments.isolation_level", list(IsolationLevel::WORDS)),
        ("tenant_jobs.state", list(JobState::WORDS)),
        ("webhook_deliveries.state", list(DeliveryState::WORDS)),
        ("tenant_webhooks.format", list(Format::WORDS)),
        ("platform_webhooks.format", list(Format::WORDS)),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("checks.db");
    Database::Sqlite(path.clone()).migrate(false).await.expect("migrated");
    let sqlite = rusqlite::Connection::open(path).expect("open");
    for (table, columns) in postgres().await.columns {
        // The migrations' own tables are created before any migration runs.
        if table.starts_with("schema_") {
            continue;
        }
        let sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?";
        let sql: String = sqlite.query_row(sql, [&table], |row| row.get(0)).expect("the table");
        assert!(sql.ends_with("STRICT"), "{table}");
        for (column, (ty, _)) in columns {
            let name = format!("{table}.{column}");
            let listed = lists.iter().find(|(listed, _)| *listed == name);
            let check = match (listed, ty.strip_prefix("character varying(")) {
                (Some((_, words)), _) => format!("CHECK ({column} IN ({words}))"),
                (None, Some(most)) => format!("CHECK (length({column}) <= {most}"),
                (None, None) if ty == "jsonb" => format!("CHECK (json_valid({column}))"),
                _ => continue,
            };
            assert!(sql.contains(&check), "{name}: {check}");
        }
    }
}
