//! What a batch was presumed to find is asserted in its transaction: a statement that meets anything else fails, and its
//! COMMIT with it.

use super::connection::{Param, numbers, texts};
use super::one_read::OneRead;
use crate::batch::ReadSet;
use crate::rows::{Field as _, Value};
use std::collections::BTreeSet;
use tenancy_core::judge::{CurrentOrganization, CurrentRows};
use tokio_postgres::types::Type;

/// Rows that are locked, in order of their keys, and that must be as they are said to be.
struct Said {
    table: &'static str,
    key: &'static str,
    columns: &'static [&'static str],
    and: &'static str,
}

const ORGANIZATIONS: Said =
    Said { table: "organizations", key: "organization_id", columns: &["version", "counter"], and: "" };
const TENANTS: Said = Said { table: "tenants", key: "tenant_id", columns: &["version", "counter"], and: "" };
const JOBS: Said =
    Said { table: "tenant_jobs", key: "job_id", columns: &["lease_epoch"], and: " AND bool_and(finished_at IS NULL)" };
const API_KEYS: Said = Said { table: "api_keys", key: "key_id", columns: &["version"], and: "" };

/// The newest usage of each organization is this: its number alone would not say whose it is. A batch that failed and another
/// process both count on from the one before.
const USAGE: &str = "SELECT 1 / bool_and(o.serial = coalesce(u.serial, 0) AND o.tenants = coalesce(u.tenants, 0) \
    AND o.quotas = coalesce(u.quotas, '{}'))::integer \
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS o(id, serial, tenants, quotas) \
    LEFT JOIN LATERAL (SELECT serial, tenants, quotas FROM organization_usage WHERE organization_id = o.id \
    AND serial >= o.serial ORDER BY serial DESC LIMIT 1) u ON true";

impl Said {
    /// Keys and rows come in one order: they are the same rows if both lists are the same.
    fn sql(&self) -> String {
        let Self { table, key, columns, and } = self;
        let same = |(at, column): (usize, &&str)| format!(" AND array_agg({column}::bigint) = ${}::bigint[]", at + 2);
        let same: String = columns.iter().enumerate().map(same).collect();
        format!(
            "SELECT 1 / coalesce(array_agg({key}::text) = $1::text[]{same}{and}, false)::integer FROM \
             (SELECT * FROM {table} WHERE {key} = any($1::text[]) ORDER BY {key} FOR NO KEY UPDATE) t"
        )
    }
}

/// The statements that assert, made once: organizations, their usage, tenants, jobs, API keys.
pub struct Preconditions(pub [String; 5]);

impl Preconditions {
    /// Makes them.
    pub fn new() -> Self {
        Self([ORGANIZATIONS.sql(), USAGE.to_owned(), TENANTS.sql(), JOBS.sql(), API_KEYS.sql()])
    }

    /// What locks the rows that the guards name and asserts that they are as in `found`: organizations first, everything else
    /// in a second statement, which sees what was committed while the first waited. What is to be new needs none: its key is
    /// unique. Callers' keys are asserted with the log.
    pub fn statements<'a>(&self, needs: &ReadSet<'a>, found: &CurrentRows) -> impl Iterator<Item = OneRead<'a>> {
        let organization = |id: &str| found.organizations.get(id);
        let newest: [fn(&CurrentOrganization) -> i64; 2] = [|now| now.usage_serial, |now| now.usage.tenants];
        let mut usages = said(&needs.organizations, organization, newest);
        if let Some(params) = &mut usages {
            let quotas = needs.organizations.iter().filter_map(|id| organization(id)).map(|now| now.usage.quotas.put());
            params.push(values_as_texts(quotas));
        }
        let said = [
            said(&needs.organizations, organization, [|now: &CurrentOrganization| now.version, |now| now.counter]),
            usages,
            said(&needs.tenants, |id| found.tenants.get(id), [|now: &(i64, i64)| now.0, |now| now.1]),
            said(&needs.jobs, |id| found.jobs.get(id), [|epoch| *epoch]),
            said(&needs.api_keys, |id| found.api_keys.get(id), [|version| *version]),
        ];
        let mut statements: [OneRead<'a>; 2] = Default::default();
        for (place, (sql, said)) in self.0.iter().zip(said).enumerate() {
            if let Some(params) = said {
                statements[usize::from(place > 0)].and(place, sql, params);
            }
        }
        statements.into_iter().filter(|one| !one.sql.is_empty())
    }
}

/// A list of texts that are made here.
fn values_as_texts(values: impl Iterator<Item = Value>) -> Param<'static> {
    let text = |value| if let Value::Text(text) = value { text } else { String::new() };
    (Box::new(values.map(text).collect::<Vec<String>>()), Type::TEXT_ARRAY)
}

/// The keys of rows that are said to be there, and numbers of each; `None` if there are none.
fn said<'a, 'b, T: 'b, const N: usize>(
    keys: &BTreeSet<&'a str>,
    found: impl Fn(&str) -> Option<&'b T>,
    numbers_of: [fn(&T) -> i64; N],
) -> Option<Vec<Param<'a>>> {
    let rows: Vec<_> = keys.iter().filter_map(|id| Some((*id, found(id)?))).collect();
    let lists = numbers_of.iter().map(|number| numbers(rows.iter().map(|(_, row)| number(row)).collect()));
    let params = std::iter::once(texts(rows.iter().map(|(id, _)| *id))).chain(lists).collect();
    (!rows.is_empty()).then_some(params)
}
