//! Preconditions of a batch that was not read first: statements in its transaction that fail, and its COMMIT with them, if a
//! row is not as the batch was judged by.

use super::connection::{Param, numbers, texts};
use super::one_read::OneRead;
use crate::batch::ReadSet;
use crate::rows::{Field as _, Value};
use std::collections::BTreeSet;
use tenancy_core::judge::{CurrentOrganization, CurrentRows};
use tokio_postgres::types::Type;

/// Rows that are locked in order of their keys, and whose columns must have the expected values.
struct Expected {
    table: &'static str,
    key: &'static str,
    columns: &'static [&'static str],
}

const ORGANIZATIONS: Expected =
    Expected { table: "organizations", key: "organization_id", columns: &["version", "counter"] };
const TENANTS: Expected = Expected { table: "tenants", key: "tenant_id", columns: &["version", "counter"] };
/// A job that has finished is at no epoch.
const JOBS: Expected =
    Expected { table: "tenant_jobs", key: "job_id", columns: &["CASE WHEN finished_at IS NULL THEN lease_epoch END"] };
const WEBHOOKS: Expected = Expected { table: "platform_webhooks", key: "webhook_id", columns: &["version"] };
const PLACEMENTS: Expected = Expected { table: "placements", key: "name", columns: &["version"] };
const API_KEYS: Expected = Expected { table: "api_keys", key: "key_id", columns: &["version"] };

/// The newest usage of each organization must be the expected one in number and content: another process may have written
/// a row with the same number.
const USAGE: &str = "SELECT count(CASE WHEN o.serial = coalesce(u.serial, 0) AND o.tenants = coalesce(u.tenants, 0) \
    AND o.quotas = coalesce(u.quotas, '{}') THEN 1 \
    ELSE assertion_failed('TN001', 'organization_usage: ' || o.id || ' is not at serial ' || o.serial) END) \
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS o(id, serial, tenants, quotas) \
    LEFT JOIN LATERAL (SELECT serial, tenants, quotas FROM organization_usage WHERE organization_id = o.id \
    AND serial >= o.serial ORDER BY serial DESC LIMIT 1) u ON true";

impl Expected {
    /// Locks the rows and compares. Keys and rows come in the same order: the rows are as expected if all lists are equal.
    fn sql(&self) -> String {
        let Self { table, key, columns } = self;
        let found: Vec<_> = columns.iter().map(|column| format!("array_agg(({column})::bigint)")).collect();
        let expected: Vec<_> = (2..2 + columns.len()).map(|number| format!("${number}::bigint[]")).collect();
        let equal: String =
            found.iter().zip(&expected).map(|(found, expected)| format!(" AND {found} = {expected}")).collect();
        let (found, expected) = (found.join(", "), expected.join(", "));
        format!(
            "SELECT CASE WHEN array_agg({key}::text) = $1::text[]{equal} THEN 1 \
             ELSE assertion_failed('TN001', '{table}: ' || first_difference($1::text[], array_agg({key}::text), \
             ARRAY[{expected}], ARRAY[{found}]) || ' is not as expected') END FROM \
             (SELECT * FROM {table} WHERE {key} = any($1::text[]) ORDER BY {key} FOR NO KEY UPDATE) t"
        )
    }
}

/// The statements that assert, made once: organizations, their usage, tenants, jobs, API keys, webhooks of
/// organizations and of the platform, placements.
pub struct Preconditions(pub [String; 7]);

impl Preconditions {
    /// Makes them.
    pub fn new() -> Self {
        Self([
            ORGANIZATIONS.sql(),
            USAGE.to_owned(),
            TENANTS.sql(),
            JOBS.sql(),
            API_KEYS.sql(),
            WEBHOOKS.sql(),
            PLACEMENTS.sql(),
        ])
    }

    /// The statements that lock the rows that the guards name, and assert that they are as in `found`: organizations first,
    /// then everything else in a second statement, which sees what was committed while the first one waited. A row that is to
    /// be new needs none: its key is unique. Callers' API keys are asserted with the log.
    pub fn statements<'a>(&self, needs: &ReadSet<'a>, found: &CurrentRows) -> impl Iterator<Item = OneRead<'a>> {
        let organization = |id: &str| found.organizations.get(id);
        let newest: [fn(&CurrentOrganization) -> i64; 2] = [|now| now.usage_serial, |now| now.usage.tenants];
        let mut usages = expected(&needs.organizations, organization, newest);
        if let Some(params) = &mut usages {
            let quotas = needs.organizations.iter().filter_map(|id| organization(id)).map(|now| now.usage.quotas.put());
            params.push(values_as_texts(quotas));
        }
        let expected = [
            expected(&needs.organizations, organization, [|now: &CurrentOrganization| now.version, |now| now.counter]),
            usages,
            expected(&needs.tenants, |id| found.tenants.get(id), [|now: &(i64, i64)| now.0, |now| now.1]),
            expected(&needs.jobs, |id| found.jobs.get(id), [|epoch| *epoch]),
            expected(&needs.api_keys, |id| found.api_keys.get(id), [|version| *version]),
            expected(&needs.webhooks, |id| found.webhooks.get(id), [|version| *version]),
            expected(&needs.placements, |name| found.placements.get(name), [|version| *version]),
        ];
        let mut statements: [OneRead<'a>; 2] = Default::default();
        for (place, (sql, params)) in self.0.iter().zip(expected).enumerate() {
            if let Some(params) = params {
                statements[usize::from(place > 0)].and(place, sql, params);
            }
        }
        statements.into_iter().filter(|one| !one.sql.is_empty())
    }
}

/// A parameter that is a list of texts.
fn values_as_texts(values: impl Iterator<Item = Value>) -> Param<'static> {
    let text = |value| if let Value::Text(text) = value { text } else { String::new() };
    (Box::new(values.map(text).collect::<Vec<String>>()), Type::TEXT_ARRAY)
}

/// The keys of rows that are expected to be there, and the numbers of each; `None` if there are none.
fn expected<'a, 'b, T: 'b, const N: usize>(
    keys: &BTreeSet<&'a str>,
    found: impl Fn(&str) -> Option<&'b T>,
    numbers_of: [fn(&T) -> i64; N],
) -> Option<Vec<Param<'a>>> {
    let rows: Vec<_> = keys.iter().filter_map(|id| Some((*id, found(id)?))).collect();
    let lists = numbers_of.iter().map(|number| numbers(rows.iter().map(|(_, row)| number(row)).collect()));
    let params = std::iter::once(texts(rows.iter().map(|(id, _)| *id))).chain(lists).collect();
    (!rows.is_empty()).then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::postgres::connection::Connection;
    use crate::postgres::target::Target;

    /// What a statement says of three rows of `numbers` that are expected at these versions.
    async fn said(connection: &Connection, keys: [&str; 3], versions: [i64; 3]) -> String {
        let rows = Expected { table: "numbers", key: "id", columns: &["version", "CASE WHEN open THEN version END"] };
        let params = [texts(keys), numbers(versions.to_vec()), numbers(versions.to_vec())];
        let answer = connection.query(&rows.sql(), &params).await;
        answer.map_or_else(|error| crate::postgres::fault::described(&error), |_| "as expected".to_owned())
    }

    #[tokio::test]
    async fn must_name_the_first_row_that_is_not_as_expected() {
        let database = tenancy_testkit::Postgres::shared().database("expected");
        Database::Postgres(database.url()).migrate(false).await.unwrap();
        database.execute(
            "CREATE TABLE numbers (id varchar(8) COLLATE \"C\" PRIMARY KEY, version integer NOT NULL, open boolean NOT NULL); \
             INSERT INTO numbers VALUES ('a', 1, true), ('b', 2, true), ('c', 3, true), ('d', 4, false)",
        );
        let connection = Connection::open(&Target::parse(&database.url()).unwrap(), &[]).await.unwrap();
        let is_not = |id: &str| format!("TN001 numbers: {id} is not as expected");
        assert_eq!(said(&connection, ["a", "b", "c"], [1, 2, 3]).await, "as expected");
        assert_eq!(said(&connection, ["a", "b", "c"], [1, 1, 1]).await, is_not("b"));
        assert_eq!(said(&connection, ["a", "b", "d"], [1, 2, 4]).await, is_not("d"));
        assert_eq!(said(&connection, ["a", "gone", "x"], [1, 2, 3]).await, is_not("gone"));
        assert_eq!(said(&connection, ["x", "y", "z"], [1, 2, 3]).await, is_not("x"));
    }
}
