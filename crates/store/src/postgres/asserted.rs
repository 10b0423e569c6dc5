//! What a batch was presumed to find is asserted in its transaction: a statement that meets anything else fails, and its
//! COMMIT with it.

use super::connection::{Param, numbers, texts};
use super::one_read::OneRead;
use crate::batch::Needs;
use std::collections::BTreeSet;
use tenancy_core::judge::{Found, FoundOrganization};

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

/// The newest usage of each organization has this number.
const USAGE: &str = "SELECT 1 / bool_and(o.serial = coalesce((SELECT u.serial FROM organization_usage u \
    WHERE u.organization_id = o.id AND u.serial >= o.serial ORDER BY u.serial DESC LIMIT 1), 0))::integer \
    FROM unnest($1::text[], $2::bigint[]) AS o(id, serial)";

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
pub struct Asserted(pub [String; 5]);

impl Asserted {
    /// Makes them.
    pub fn new() -> Self {
        Self([ORGANIZATIONS.sql(), USAGE.to_owned(), TENANTS.sql(), JOBS.sql(), API_KEYS.sql()])
    }

    /// What locks the rows that the guards name and asserts that they are as in `found`: organizations first, everything else
    /// in a second statement, which sees what was committed while the first waited. What is to be new needs none: its key is
    /// unique. Callers' keys are asserted with the log.
    pub fn statements<'a>(&self, needs: &Needs<'a>, found: &Found) -> impl Iterator<Item = OneRead<'a>> {
        let organization = |id: &str| found.organizations.get(id);
        let said = [
            said(&needs.organizations, organization, [|now: &FoundOrganization| now.version, |now| now.counter]),
            said(&needs.organizations, organization, [|now: &FoundOrganization| now.usage_serial]),
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
