//! Reads by key, described once. Those that wait together are fetched together on PostgreSQL, and in place on SQLite.

use crate::rows::{
    AliasRow, Corrupt, Dialect, Record, STAMPS, TABLE_ALIASES, TABLE_API_KEYS, TABLE_ENVIRONMENTS, TABLE_HOLDS,
    TABLE_IDEMPOTENCY_RECORDS, TABLE_TENANT_JOBS, TABLE_TENANT_WEBHOOKS, TABLE_TENANTS, Table, Type, Value,
};
use std::collections::HashMap;
use tenancy_core::environment::Environment;
use tenancy_core::hold::{Held, Hold};
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::job::Job;
use tenancy_core::tenant::{Tenant, TenantSnapshot};
use tenancy_core::webhook::Webhook;

/// Rows of a table that are found by a key.
#[derive(Debug)]
pub struct ByKey {
    table: &'static Table,
    // `{}` stands for the key, or for all the keys.
    condition: &'static str,
}

/// A [`ByKey`] as its statement, made once.
#[derive(Debug)]
pub struct Statement {
    /// Its text.
    pub sql: String,
    /// Types of what is read.
    pub types: Vec<Type>,
}

/// The statements of all of them.
pub fn statements(reads: &[ByKey], dialect: Dialect) -> Vec<Statement> {
    reads.iter().map(|read| Statement { sql: read.sql(dialect), types: read.types() }).collect()
}

impl ByKey {
    /// The statement: one key on SQLite, any number on PostgreSQL.
    pub fn sql(&self, dialect: Dialect) -> String {
        let key = match dialect {
            Dialect::Sqlite => "(?1)",
            Dialect::Postgres => "any($1::text[])",
        };
        let mut condition = self.condition.replace("{}", key);
        if let (Dialect::Postgres, Some((column, inner))) = (dialect, condition.split_once(" IN (SELECT ")) {
            // A join would read both tables whole while they are small, and from then on.
            condition = format!("{column} = any(ARRAY(SELECT {inner})");
        }
        format!("{} WHERE {condition}", self.table.select(dialect))
    }

    /// The key of a row that was found: the column that the condition begins with.
    pub fn key_of<'a>(&self, row: &'a [Value]) -> Option<&'a str> {
        let name = self.condition.split(' ').next()?;
        let index = self.table.columns.iter().position(|column| column.name == name)?;
        match row.get(index)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Types of what is read.
    pub fn types(&self) -> Vec<Type> {
        self.table.columns.iter().map(|column| column.ty).collect()
    }
}

/// Single rows that are found by a key; the key's column is unique.
pub const ROWS: [ByKey; 4] = [
    ByKey { table: TABLE_API_KEYS, condition: "token_digest = {}" },
    ByKey { table: TABLE_IDEMPOTENCY_RECORDS, condition: "digest = {}" },
    ByKey { table: TABLE_ALIASES, condition: "alias = {}" },
    ByKey { table: STAMPS, condition: "tenant_id = {}" },
];

/// Place in [`ROWS`] of an API key by the digest of its token.
pub const API_KEY: usize = 0;
/// Place in [`ROWS`] of a stored answer by its digest.
pub const ANSWER: usize = 1;
/// Place in [`ROWS`] of an alias.
pub const ALIAS: usize = 2;
/// Place in [`ROWS`] of a tenant's stamp.
pub const STAMP: usize = 3;

/// Everything of a snapshot, each found by the tenant's id.
pub const SNAPSHOT: [ByKey; 7] = [
    ByKey { table: TABLE_TENANTS, condition: "tenant_id = {}" },
    ByKey { table: TABLE_ENVIRONMENTS, condition: "tenant_id = {}" },
    ByKey { table: TABLE_ALIASES, condition: "tenant_id = {}" },
    ByKey { table: TABLE_TENANT_WEBHOOKS, condition: "tenant_id = {}" },
    ByKey { table: TABLE_HOLDS, condition: "tenant_id = {}" },
    ByKey {
        table: TABLE_HOLDS,
        condition: "organization_id IN (SELECT organization_id FROM tenants WHERE tenant_id = {})",
    },
    ByKey { table: TABLE_TENANT_JOBS, condition: "tenant_id = {} AND state IN ('queued', 'running')" },
];

/// TenantSnapshots as their parts come in.
#[derive(Debug, Default)]
pub struct TenantSnapshots {
    tenants: HashMap<TenantId, Tenant>,
    environments: HashMap<TenantId, Vec<Environment>>,
    aliases: HashMap<TenantId, Vec<AliasRow>>,
    webhooks: HashMap<TenantId, Vec<Webhook>>,
    holds: HashMap<TenantId, Vec<Hold>>,
    organization_holds: HashMap<OrganizationId, Vec<Hold>>,
    jobs: HashMap<TenantId, Job>,
}

impl TenantSnapshots {
    /// Adds the rows of [`SNAPSHOT`]'s part `index`.
    pub fn add(&mut self, index: usize, rows: Vec<Vec<Value>>) -> Result<(), Corrupt> {
        for row in rows {
            match index {
                0 => {
                    let tenant = Tenant::from_values(row)?;
                    self.tenants.insert(tenant.tenant_id.clone(), tenant);
                }
                1 => push(&mut self.environments, row, |row: &Environment| row.tenant_id.clone())?,
                2 => push(&mut self.aliases, row, |row: &AliasRow| row.tenant_id.clone())?,
                3 => push(&mut self.webhooks, row, |row: &Webhook| row.tenant_id.clone())?,
                4 | 5 => {
                    let hold = Hold::from_values(row)?;
                    match &hold.held {
                        Held::Tenant(id) => self.holds.entry(id.clone()).or_default().push(hold),
                        Held::Organization(id) => self.organization_holds.entry(id.clone()).or_default().push(hold),
                    }
                }
                _ => {
                    let job = Job::from_values(row)?;
                    self.jobs.insert(job.tenant_id.clone(), job);
                }
            }
        }
        Ok(())
    }

    /// The snapshot of a tenant, if it is there. Several may ask for one, so it is a copy.
    pub fn get(&self, id: &TenantId) -> Option<TenantSnapshot> {
        let tenant = self.tenants.get(id)?.clone();
        let mut environments = self.environments.get(id).cloned().unwrap_or_default();
        environments.sort_by(|a, b| a.name.cmp(&b.name));
        let mut aliases: Vec<_> = self.aliases.get(id).into_iter().flatten().map(|row| row.alias.clone()).collect();
        aliases.sort();
        let mut webhooks = self.webhooks.get(id).cloned().unwrap_or_default();
        webhooks.sort_by(|a, b| a.name.cmp(&b.name));
        let by_kind = |mut holds: Vec<Hold>| {
            holds.sort_by(|a, b| a.kind.cmp(&b.kind));
            holds
        };
        let organization_holds = self.organization_holds.get(&tenant.organization_id).cloned().unwrap_or_default();
        Some(TenantSnapshot {
            environments,
            aliases,
            webhooks,
            holds: by_kind(self.holds.get(id).cloned().unwrap_or_default()),
            organization_holds: by_kind(organization_holds),
            open_job: self.jobs.get(id).cloned(),
            tenant,
        })
    }
}

fn push<K: Eq + std::hash::Hash, R: Record>(
    into: &mut HashMap<K, Vec<R>>,
    row: Vec<Value>,
    key: impl Fn(&R) -> K,
) -> Result<(), Corrupt> {
    let record = R::from_values(row)?;
    into.entry(key(&record)).or_default().push(record);
    Ok(())
}
