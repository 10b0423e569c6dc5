//! What limits each figure, as profiles of the product under this bench have shown it.

/// What limits the figure of this key; every key has one.
pub fn of(key: &str) -> &'static str {
    match key {
        "get_pg_vs_select" => {
            "both cores, with HTTP, the load generator and the database on them; a read is one look at two rows"
        }
        "registration_pg_vs_one_statement" | "registration_pg_vs_same_rows" => {
            "the one committing backend: index entries and foreign keys of its rows, and its fdatasync"
        }
        "registration_pg_one_vs_hundred_organizations" => {
            "the same: only the sum of an organization's usage is shared, and it is kept by the batch"
        }
        "registration_pg_vs_one_statement_16_clients" | "registration_pg_vs_same_rows_16_clients" => {
            "the batch: with fewer who wait, each fdatasync is shared by fewer"
        }
        "registration_pg_latency_one_client" | "registration_pg_latency_one_client_vs_bare" => {
            "one fdatasync, and the way through HTTP, the committer's thread and the database; nobody to share them with"
        }
        "registration_pg_old_snapshot" => {
            "the same: what a commit reads is appended and never updated, so no dead rows pile up before it"
        }
        "registration_sqlite_vs_single" => {
            "the one writer thread: inserts and their indexes, and an fsync for each batch"
        }
        other => panic!("say what limits {other}"),
    }
}
