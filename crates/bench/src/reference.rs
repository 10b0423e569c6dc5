//! The references: pgbench with the same rows on the product's own schema.

use crate::Names;
use crate::figure::median;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use tenancy_testkit::{Database, Postgres};

/// Result of a pgbench run.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Transactions per second.
    pub per_second: f64,
    /// Average latency, in milliseconds.
    pub latency_ms: f64,
}

/// Values that every reference row needs and that the product generates in its program. (pgbench replaces `:word` by a
/// variable, also inside a literal, so a space follows each colon.)
const NEW: &str = "\\set n random(1, 100)\nUNIQUE\n";

/// Id of the tenant, as long as the ids that the product gets.
const ID: &str = "'s-' || lpad(:unique::text, 16, '0') || '-' || :client_id";
/// Ids are built from the time, so that an event falls into this month's partition and new ids sort last, and from
/// random digits.
const FRESH: &str = "lpad(to_hex((extract(epoch from transaction_timestamp()) * 1000)::bigint), 12, '0') \
    || lpad(:client_id::text, 2, '0') || lpad(:unique::text, 18, '7')";
const TENANT: &str = "INSERT INTO tenants (tenant_id, organization_id, display_name, profile, state, region, labels, quotas, \
    policies, billing, deletion_protection, version, counter, created_at, updated_at, state_since) VALUES (ID, 'org-' || ORG, \
    'A customer', 'mt-standard', 'Draft', 'eu-west-1', '{\"tier\": \"gold\"}', \
    '{\"apiRateLimit\": 200,\"concurrentJobs\": 10,\"storageGiB\": 500}', \
    '{\"dataResidency\": \"in-region-only\",\"retentionDays\": 365}', '{\"plan\": \"enterprise\"}', false, 1, 1, \
    clock_timestamp(), clock_timestamp(), clock_timestamp())";
const AUDIT: &str = "INSERT INTO tenant_audit (audit_id, tenant_id, event_type, event_version, actor, payload, correlation_id, \
    occurred_at, position) VALUES ('aud_' || FRESH, ID, 'TENANCY_REGISTERED', 1, 'user_key_0192f000000070008000000000000000', \
    '{\"job_id\": \"job_0192f000000070008000000000000000\",\"organization_id\": \"org-1\",\
    \"private_digest\": \"701c375ccf377db3054e1913b83194a06f79a9ec0c233bf12b424e5639efb844\",\"profile\": \"mt-standard\",\
    \"region\": \"eu-west-1\",\"version\": 1}', 'f0e1d2c3b4a5968778695a4b3c2d1e0f', clock_timestamp(), nextval('bench_position'))";
const JOB: &str = "INSERT INTO tenant_jobs (job_id, tenant_id, action, state, progress, logs, steps, due_at, attempt, \
    lease_epoch, correlation_id, requested_by, created_at, updated_at) VALUES ('job_' || FRESH, \
    ID, 'create', 'queued', 0, '', '[{\"name\": \"record\",\"state\": \"pending\"}]', clock_timestamp(), 0, 0, \
    'f0e1d2c3b4a5968778695a4b3c2d1e0f', 'user_key_0192f000000070008000000000000000', clock_timestamp(), clock_timestamp())";
const VERSION: &str = "INSERT INTO tenant_versions (tenant_id, version, manifest, actor, correlation_id, created_at) VALUES (ID, 1, \
    '{\"billing\": {\"plan\": \"enterprise\"},\"display_name\": \"A customer\",\"labels\": {\"tier\": \"gold\"},\
    \"organization_id\": \"org-1\",\"policies\": {\"dataResidency\": \"in-region-only\",\"retentionDays\": 365},\
    \"profile\": \"mt-standard\",\"quotas\": {\"apiRateLimit\": 200,\"concurrentJobs\": 10,\"storageGiB\": 500},\
    \"region\": \"eu-west-1\",\"tenant_id\": \"s-0123456789012345-12\"}', 'user_key_0192f000000070008000000000000000', \
    'f0e1d2c3b4a5968778695a4b3c2d1e0f', clock_timestamp())";
const USAGE: &str = "INSERT INTO organization_usage (organization_id, serial, tenants, quotas) VALUES ('org-' || ORG, \
    nextval('bench_position'), 1, '{\"apiRateLimit\": 200,\"concurrentJobs\": 10,\"storageGiB\": 500}')";
const PRIVATE: &str = "INSERT INTO audit_private (audit_id, tenant_id, salt, content) VALUES ('aud_' || FRESH, ID, \
    '0123456789abcdef0123456789abcdef', '{\"display_name\": \"A customer\"}')";
const BATCH: &str = "INSERT INTO log_batches (last_position, first_position, committed_at) VALUES (nextval('bench_position'), 1, \
    clock_timestamp())";

fn filled(sql: &str, id: &str) -> String {
    sql.replace("FRESH", FRESH)
        .replace("(ID,", &format!("({id},"))
        .replace(" ID,", &format!(" {id},"))
        .replace("ORG", ":n")
}

/// *bare*: tenant, audit and job rows as one statement.
pub fn bare() -> String {
    let (tenant, audit, job) = (filled(TENANT, "n.id"), filled(AUDIT, "n.id"), filled(JOB, "n.id"));
    let select =
        |sql: &str| sql.replacen("VALUES (", "SELECT ", 1).strip_suffix(')').unwrap_or(sql).to_owned() + " FROM n";
    format!(
        "{NEW}WITH n AS MATERIALIZED (SELECT {ID} AS id), t AS ({} RETURNING 1), a AS ({} RETURNING 1) {};\n",
        select(&tenant),
        select(&audit),
        select(&job)
    )
}

/// *same rows*: every row that the product writes for one registration, each with its own statement, in one
/// transaction.
pub fn same_rows() -> String {
    let statements = [USAGE, TENANT, VERSION, JOB, PRIVATE, AUDIT, BATCH].map(|sql| filled(sql, ID)).join(";\n");
    format!("{NEW}BEGIN;\n{statements};\nCOMMIT;\n")
}

/// Reads one tenant by its id.
pub fn select(tenants: u64) -> String {
    format!("\\set n random(1, {tenants})\nSELECT * FROM tenants WHERE tenant_id = 'seed-' || :n;\n")
}

/// Prepares a database for the references.
pub fn prepare(database: &Database, tenants: u64) {
    database.execute("CREATE SEQUENCE bench_position START 1000000 CACHE 1000");
    seed(database, tenants);
}

/// Fills a database with organizations and tenants, and analyzes it: both sides start with the same size.
pub fn seed(database: &Database, tenants: u64) {
    database.execute(
        "INSERT INTO organizations (organization_id, labels, caps, version, counter, settled_counter, created_at, updated_at) \
         SELECT 'org-' || n, '{}', '{}', 1, 1, 1, clock_timestamp(), clock_timestamp() FROM generate_series(1, 100) n",
    );
    let tenant = TENANT
        .replacen("VALUES (ID", "SELECT 'seed-' || n", 1)
        .replace("ORG", "(1 + n % 100)")
        .strip_suffix(')')
        .unwrap_or_default()
        .to_owned();
    database.execute(&format!("{tenant} FROM generate_series(1, {tenants}) n"));
    database.execute("ANALYZE");
}

/// Runs pgbench with a script. Its clients continue counting after the highest number that the previous run can have
/// reached.
pub fn run(postgres: &Postgres, database: &Database, script: &str, names: Names, clients: usize, seconds: u64) -> Rate {
    static RUNS: AtomicU64 = AtomicU64::new(1);
    let begin = 10_000_000 * RUNS.fetch_add(1, Ordering::Relaxed);
    let unique = match names {
        Names::InOrder => "\\set unique :unique + 1",
        Names::InNoOrder => "\\set unique random(1, 1000000000000000)",
    };
    let script = script.replace("UNIQUE", unique);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("script.sql");
    std::fs::write(&file, script).expect("written");
    let output = Command::new(postgres.program("pgbench"))
        .args(["-n", "-M", "prepared", "-h", "127.0.0.1", "-U", "postgres", "-p", &postgres.port().to_string()])
        .args(["-c", &clients.to_string(), "-j", "2", "-T", &seconds.to_string()])
        .args(["-D", &format!("unique={begin}"), "-f"])
        .arg(&file)
        .arg(database.name())
        .output()
        .expect("pgbench runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let after = |label: &str| {
        let line = text.lines().find(|line| line.starts_with(label))?;
        line.split('=').nth(1)?.split_whitespace().next()?.parse::<f64>().ok()
    };
    let (Some(per_second), Some(latency_ms), true) = (after("tps"), after("latency average"), output.status.success())
    else {
        // A client that gave up is also an error: fewer clients would make the product look better.
        panic!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Rate { per_second, latency_ms }
}

/// Returns the median of several runs.
pub fn middle(rates: &[Rate]) -> Rate {
    Rate {
        per_second: median(rates.iter().map(|rate| rate.per_second)),
        latency_ms: median(rates.iter().map(|rate| rate.latency_ms)),
    }
}
