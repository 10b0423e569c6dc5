//! What limits each figure, from profiles of the product under this bench.

/// Returns what limits the figure of this key; every key has an entry.
pub fn of(key: &str) -> &'static str {
    match key {
        "get_pg_vs_select" => {
            "CPU: HTTP, the load generator and the database share both cores; a read looks up two rows"
        }
        "registration_pg_vs_one_statement" | "registration_pg_vs_same_rows" => {
            "the single committing backend: index entries and foreign keys of its rows, and its fdatasync"
        }
        "registration_pg_one_vs_hundred_organizations" => {
            "the same backend: organizations share only the sum of their usage, which is written once per batch"
        }
        "registration_pg_vs_one_statement_16_clients" | "registration_pg_vs_same_rows_16_clients" => {
            "batch size: with fewer clients, fewer registrations share each fdatasync"
        }
        "registration_pg_latency_one_client" | "registration_pg_latency_one_client_vs_bare" => {
            "one fdatasync and the path through HTTP, the committer's thread and the database, for one client alone"
        }
        "registration_pg_old_snapshot" => {
            "the same backend: a commit reads rows that are appended and never updated, so dead rows do not slow it"
        }
        "registration_sqlite_vs_single" => {
            "the single writer thread: inserts and their indexes, and an fsync for each batch"
        }
        "apply_pg_new_vs_registration" | "apply_sqlite_new_vs_registration" => {
            "the same commits, after the file was parsed and every document was decided, which use one core before them"
        }
        "apply_pg_unchanged_vs_registration" | "apply_sqlite_unchanged_vs_registration" => {
            "CPU: parsing the file, reading the tenants, and comparing each with its manifest"
        }
        other => panic!("add an entry for what limits {other}"),
    }
}
