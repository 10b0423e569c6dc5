//! What is read for the judge: one description, from which both databases' statements are made.

use crate::batch::ReadSet;
use crate::rows::{Corrupt, Field, Record, Type, Value};
use std::collections::BTreeSet;
use tenancy_core::changes::IdempotencyRecord;
use tenancy_core::ids::{Alias, AuditId, JobId, KeyId, OrganizationId, TenantId};
use tenancy_core::job::JobState;
use tenancy_core::judge::{CurrentOrganization, CurrentRows};
use tenancy_core::organization::{Caps, Usage};

/// One kind of row that guards name.
pub struct Read {
    /// What is read.
    pub columns: &'static str,
    /// Out of which table.
    pub table: &'static str,
    /// Found by which column.
    pub key: &'static str,
    /// What must hold besides.
    pub and: &'static str,
    /// What it is locked by on PostgreSQL; rows that are only ever inserted need no lock, a unique index settles them.
    pub lock: bool,
    /// Types of what is read.
    pub types: &'static [Type],
    /// Which keys.
    pub keys: for<'a, 'b> fn(&'b ReadSet<'a>) -> &'b BTreeSet<&'a str>,
    /// Where it goes.
    pub put: fn(&mut CurrentRows, Vec<Value>) -> Result<(), Corrupt>,
}

impl Read {
    /// One key a statement.
    pub fn sqlite(&self) -> String {
        if self.is_newest_only() {
            return format!(
                "SELECT {} FROM {} WHERE {} = ?1 ORDER BY serial DESC LIMIT 1",
                self.columns, self.table, self.key
            );
        }
        format!("SELECT {} FROM {} WHERE {} = ?1{}", self.columns, self.table, self.key, self.and)
    }

    /// Whether only each key's newest row is read; on PostgreSQL the least number that it can have comes with the key.
    pub fn is_newest_only(&self) -> bool {
        self.table == "organization_usage"
    }

    /// In which statement of its flush it goes on PostgreSQL: organizations are locked by the first. What is inserted while a
    /// statement waits for a lock it does not see; so what is read without a lock is read when all locks are held.
    pub fn round(&self) -> usize {
        match self {
            Self { table: "organizations", .. } => 0,
            read if read.lock || read.is_newest_only() => 1,
            _ => 2,
        }
    }

    /// Whether it reads the keys in whose name changes are made. PostgreSQL asserts with the log what they are said to be at,
    /// and reads them only in a batch that runs again, or where two changes say otherwise of one key.
    pub fn is_of_callers(&self) -> bool {
        self.table == "api_keys" && self.key == "key_id" && !self.lock
    }

    /// All keys in one statement. What is locked is locked in order of its keys, so that processes cannot wait for
    /// each other in a circle.
    pub fn postgres(&self) -> String {
        let Self { columns, table, key, and, .. } = self;
        // jsonb is read as text.
        let columns = columns.replace("caps", "caps::text");
        if self.is_newest_only() {
            return format!(
                "SELECT u.* FROM unnest($1::text[], $2::bigint[]) AS o(id, least) CROSS JOIN LATERAL (SELECT {columns} \
                 FROM {table} WHERE {key} = o.id AND serial >= o.least ORDER BY serial DESC LIMIT 1) u"
            );
        }
        let order = if self.lock { format!(" ORDER BY {key} FOR NO KEY UPDATE") } else { String::new() };
        format!("SELECT {columns} FROM {table} WHERE {key} = any($1::text[]){and}{order}")
    }
}

/// How many [rounds](Read::round) there are.
pub const ROUNDS: usize = 3;

/// Every read, in the order in which rows are locked; usage comes after its organizations' locks, receipts last.
pub const READS: &[Read] = &[
    Read {
        columns: "organization_id, version, counter, closed_at IS NULL, caps",
        table: "organizations",
        key: "organization_id",
        and: "",
        lock: true,
        types: &[Type::Text, Type::Int, Type::Int, Type::Bool, Type::Json],
        keys: |needs| &needs.organizations,
        put: organization,
    },
    Read {
        columns: "organization_id, serial, tenants, quotas",
        table: "organization_usage",
        key: "organization_id",
        and: "",
        lock: false,
        types: &[Type::Text, Type::Int, Type::Int, Type::Json],
        keys: |needs| &needs.organizations,
        put: usage,
    },
    Read {
        columns: "tenant_id, version, counter",
        table: "tenants",
        key: "tenant_id",
        and: "",
        lock: true,
        types: &[Type::Text, Type::Int, Type::Int],
        keys: |needs| &needs.tenants,
        put: |found, row| {
            let [id, version, counter] = columns(row)?;
            found.tenants.insert(TenantId::take(id)?, (i64::take(version)?, i64::take(counter)?));
            Ok(())
        },
    },
    Read {
        // Not `AND state IN (…)`: while the table is small the planner would take the index of all open jobs.
        columns: "job_id, lease_epoch, state",
        table: "tenant_jobs",
        key: "job_id",
        and: "",
        lock: true,
        types: &[Type::Text, Type::Int, Type::Text],
        keys: |needs| &needs.jobs,
        put: |found, row| {
            let [id, epoch, state] = columns(row)?;
            if matches!(JobState::take(state)?, JobState::Queued | JobState::Running) {
                found.jobs.insert(JobId::take(id)?, i64::take(epoch)?);
            }
            Ok(())
        },
    },
    key_version(true, |needs| &needs.api_keys),
    // Not locked: who revokes a key would wait for every process that is busy in its name.
    key_version(false, |needs| &needs.callers),
    Read {
        columns: "name",
        table: "api_keys",
        key: "name",
        and: " AND revoked_at IS NULL",
        lock: false,
        types: &[Type::Text],
        keys: |needs| &needs.api_key_names,
        put: |found, row| {
            let [name] = columns(row)?;
            found.api_key_names.insert(String::take(name)?);
            Ok(())
        },
    },
    Read {
        columns: "alias",
        table: "aliases",
        key: "alias",
        and: "",
        lock: false,
        types: &[Type::Text],
        keys: |needs| &needs.aliases,
        put: |found, row| {
            let [alias] = columns(row)?;
            found.aliases.insert(Alias::take(alias)?);
            Ok(())
        },
    },
    Read {
        columns: "digest, request_digest, status, headers, body, created_at, expires_at",
        table: "idempotency_records",
        key: "digest",
        and: "",
        lock: false,
        types: &[Type::Text, Type::Text, Type::Int, Type::Json, Type::Text, Type::Time, Type::Time],
        keys: |needs| &needs.answers,
        put: |found, row| {
            let record = IdempotencyRecord::from_values(row)?;
            found.answers.insert(record.digest.clone(), record);
            Ok(())
        },
    },
    receipts("tenant_audit"),
    receipts("platform_audit"),
];

const fn key_version(lock: bool, keys: for<'a, 'b> fn(&'b ReadSet<'a>) -> &'b BTreeSet<&'a str>) -> Read {
    Read {
        columns: "key_id, version",
        table: "api_keys",
        key: "key_id",
        and: "",
        lock,
        types: &[Type::Text, Type::Int],
        keys,
        put: |found, row| {
            let [id, version] = columns(row)?;
            found.api_keys.insert(KeyId::take(id)?, i64::take(version)?);
            Ok(())
        },
    }
}

const fn receipts(table: &'static str) -> Read {
    Read {
        columns: "audit_id",
        table,
        key: "audit_id",
        and: "",
        lock: false,
        types: &[Type::Text],
        keys: |needs| &needs.receipts,
        put: |found, row| {
            let [id] = columns(row)?;
            found.receipts.insert(AuditId::take(id)?);
            Ok(())
        },
    }
}

fn columns<const N: usize>(row: Vec<Value>) -> Result<[Value; N], Corrupt> {
    row.try_into().map_err(|row: Vec<Value>| Corrupt(format!("{N} columns expected, {} found", row.len())))
}

fn organization(found: &mut CurrentRows, row: Vec<Value>) -> Result<(), Corrupt> {
    let [id, version, counter, open, caps] = columns(row)?;
    let organization = CurrentOrganization {
        version: i64::take(version)?,
        counter: i64::take(counter)?,
        open: bool::take(open)?,
        caps: Caps::take(caps)?,
        usage: Usage::default(),
        usage_serial: 0,
    };
    found.organizations.insert(OrganizationId::take(id)?, organization);
    Ok(())
}

fn usage(found: &mut CurrentRows, row: Vec<Value>) -> Result<(), Corrupt> {
    let [id, serial, tenants, quotas] = columns(row)?;
    if let Some(organization) = found.organizations.get_mut(&OrganizationId::take(id)?) {
        organization.usage_serial = i64::take(serial)?;
        organization.usage = Usage { tenants: i64::take(tenants)?, quotas: Field::take(quotas)? };
    }
    Ok(())
}
