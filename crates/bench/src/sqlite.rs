//! The reference on SQLite: durable transactions with the same rows, one after the other, on one connection.

use crate::Names;
use crate::product::name;
use rusqlite::Connection;
use std::path::Path;
use std::time::{Duration, Instant};
use tenancy_core::Timestamp;

const STATEMENTS: [&str; 7] = [
    "INSERT INTO organization_usage (organization_id, serial, tenants, quotas) VALUES (?2, ?3, 1, \
     '{\"apiRateLimit\":200,\"concurrentJobs\":10,\"storageGiB\":500}')",
    "INSERT INTO tenants (tenant_id, organization_id, display_name, profile, state, region, labels, quotas, policies, \
     billing, deletion_protection, version, counter, created_at, updated_at, state_since) VALUES (?1, ?2, 'A customer', \
     'mt-standard', 'Draft', 'eu-west-1', '{\"tier\":\"gold\"}', \
     '{\"apiRateLimit\":200,\"concurrentJobs\":10,\"storageGiB\":500}', \
     '{\"dataResidency\":\"in-region-only\",\"retentionDays\":365}', '{\"plan\":\"enterprise\"}', 0, 1, 1, ?4, ?4, ?4)",
    "INSERT INTO tenant_versions (tenant_id, version, manifest, actor, correlation_id, created_at) VALUES (?1, 1, \
     '{\"billing\":{\"plan\":\"enterprise\"},\"display_name\":\"A customer\",\"labels\":{\"tier\":\"gold\"},\
     \"organization_id\":\"org-1\",\"policies\":{\"dataResidency\":\"in-region-only\",\"retentionDays\":365},\
     \"profile\":\"mt-standard\",\"quotas\":{\"apiRateLimit\":200,\"concurrentJobs\":10,\"storageGiB\":500},\
     \"region\":\"eu-west-1\",\"tenant_id\":\"s-0123456789012345-12\"}', 'user:key_0192f000000070008000000000000000', \
     'f0e1d2c3b4a5968778695a4b3c2d1e0f', ?4)",
    "INSERT INTO tenant_jobs (job_id, tenant_id, action, state, progress, logs, steps, due_at, attempt, lease_epoch, \
     correlation_id, requested_by, created_at, updated_at) VALUES ('job_' || printf('%016x', ?4) || substr(?1, 3, 16), ?1, 'create', 'queued', 0, '', \
     '[{\"name\":\"record\",\"state\":\"pending\"}]', ?4, 0, 0, 'f0e1d2c3b4a5968778695a4b3c2d1e0f', \
     'user:key_0192f000000070008000000000000000', ?4, ?4)",
    "INSERT INTO audit_private (audit_id, tenant_id, salt, content) VALUES ('aud_' || printf('%016x', ?4) || substr(?1, 3, 16), ?1, \
     '0123456789abcdef0123456789abcdef', '{\"display_name\":\"A customer\"}')",
    "INSERT INTO tenant_audit (audit_id, tenant_id, event_type, event_version, actor, payload, correlation_id, \
     occurred_at, position) VALUES ('aud_' || printf('%016x', ?4) || substr(?1, 3, 16), ?1, 'TENANCY_REGISTERED', 1, \
     'user:key_0192f000000070008000000000000000', '{\"job_id\":\"job_0192f000000070008000000000000000\",\
     \"organization_id\":\"org-1\",\"private_digest\":\"701c375ccf377db3054e1913b83194a06f79a9ec0c233bf12b424e5639efb844\",\
     \"profile\":\"mt-standard\",\"region\":\"eu-west-1\",\"version\":1}', \
     'f0e1d2c3b4a5968778695a4b3c2d1e0f', ?4, ?3)",
    "INSERT INTO log_batches (last_position, first_position, committed_at) VALUES (?3, ?3, ?4)",
];

/// Fills a file with organizations and tenants.
pub fn seed(path: &Path, tenants: u64) {
    let connection = Connection::open(path).expect("open");
    let tenant = STATEMENTS[1]
        .replace("VALUES (?1, ?2,", "SELECT 'seed-' || n, 'org-' || (1 + n % 100),")
        .replace("?4, ?4, ?4)", "0, 0, 0 FROM c")
        .replacen("INSERT", "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?1) INSERT", 1);
    connection
        .execute(
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100) INSERT INTO organizations \
             (organization_id, labels, caps, version, counter, settled_counter, created_at, updated_at) \
             SELECT 'org-' || n, '{}', '{}', 1, 1, 1, 0, 0 FROM c",
            [],
        )
        .expect("organizations");
    connection.execute(&tenant, [i64::try_from(tenants).unwrap_or(i64::MAX)]).expect("tenants");
    connection.execute_batch("ANALYZE").expect("analyzed");
}

/// Runs the reference; `serial` continues from run to run. Returns transactions per second.
pub fn run(path: &Path, seconds: u64, names: Names, serial: &mut i64) -> f64 {
    let connection = Connection::open(path).expect("open");
    for (name, value) in [("journal_mode", "WAL"), ("synchronous", "FULL"), ("foreign_keys", "ON")] {
        connection.pragma_update(None, name, value).expect("set");
    }
    // The same settings as in the product.
    for (name, value) in [("wal_autocheckpoint", 10_000), ("cache_size", -16 * 1024)] {
        connection.pragma_update(None, name, value).expect("set");
    }
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_secs(seconds) {
        *serial += 1;
        let id = name('s', names, serial.unsigned_abs());
        let organization = format!("org-{}", 1 + *serial % 100);
        let now = Timestamp::now().as_microsecond();
        connection.execute_batch("BEGIN IMMEDIATE").expect("begun");
        for sql in STATEMENTS {
            let mut statement = connection.prepare_cached(sql).expect("prepared");
            let all: [&dyn rusqlite::ToSql; 4] = [&id, &organization, &*serial, &now];
            let used: Vec<_> = (0..4).filter(|index| sql.contains(&format!("?{}", index + 1))).collect();
            for index in used {
                statement.raw_bind_parameter(index + 1, all[index]).expect("bound");
            }
            statement.raw_execute().expect("executed");
        }
        connection.execute_batch("COMMIT").expect("committed");
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}
