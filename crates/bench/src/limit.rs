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
        other => of_events(other),
    }
}

/// Does the same for webhooks, the event feed and the answers for gateways. These are expectations; no profile was taken.
fn of_events(key: &str) -> &'static str {
    match key {
        "deliveries_pg_vs_loop" | "deliveries_pg_vs_bare" | "deliveries_pg_vs_sender" => {
            "CPU: rows of deliveries and attempts with their index entries, beside the requests"
        }
        "deliveries_sqlite_vs_loop"
        | "deliveries_sqlite_vs_bare"
        | "deliveries_sqlite_vs_sender"
        | "deliveries_sqlite_vs_pg" => {
            "the single writer thread: deliveries, attempts and lanes, and an fsync for each batch"
        }
        "delivery_lag_pg_p50" | "delivery_lag_pg_p95" => {
            "three transactions after the change: the dispatcher reads the log and writes deliveries, the deliverer reads them"
        }
        "delivery_lag_sqlite_p50" | "delivery_lag_sqlite_p95" => {
            "the same, in turn with the changes on the single writer thread"
        }
        "registration_pg_webhooks_paused" | "registration_sqlite_webhooks_paused" => {
            "the dispatcher: one row for each event, in transactions of many"
        }
        "registration_pg_webhooks_sending" | "registration_sqlite_webhooks_sending" => {
            "CPU: dispatching, sending and receiving share both cores with the registrations"
        }
        "registration_pg_own_keys" | "registration_sqlite_own_keys" => {
            "one fsync of the files of keys before each batch, and wrapping"
        }
        "dead_endpoint_pg_rate" | "dead_endpoint_sqlite_rate" => {
            "one more delivery for each event, to the dead endpoint"
        }
        "dead_endpoint_pg_lag_p99" | "dead_endpoint_sqlite_lag_p99" => "the same",
        "bad_endpoints_pg_lag_p99" | "bad_endpoints_sqlite_lag_p99" => {
            "the attempts at the bad endpoints, and their records"
        }
        "followers_pg_lag_p50" | "followers_pg_lag_p99" | "followers_sqlite_lag_p50" | "followers_sqlite_lag_p99" => {
            "CPU: writes to 200 sockets, and reading them in this process"
        }
        "cache_1000_tenants" | "cache_1000_tenants_vs_map" => "the hash of the name, twice, and a lock for reading",
        "cache_100000_tenants" | "cache_100000_tenants_vs_map" => "memory: a lookup touches lines that are in no cache",
        "agent_auth_vs_healthz" | "agent_access_vs_healthz" => "HTTP; a body is rendered and digested for each answer",
        other => panic!("add an entry for what limits {other}"),
    }
}
