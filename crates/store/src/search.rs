//! Searches in lists. What a search costs depends on the page or on what it finds, not on how many rows there are.
//!
//! A text is searched by its beginning, as a range of an index. A range yields its rows in the order of the text, and lists
//! are in the order of ids: the ids of all matches are collected, sorted, and read up to a page. Where there are too many to
//! collect, the list is walked in its order instead, since it soon meets enough of them. Labels have an index in the order
//! of ids.

use crate::Store;
use crate::rows::{Dialect, Type, Value};
use crate::sql::Sql;
use crate::tables::tenants::TenantFilter;
use tenancy_core::Error;
use tenancy_core::ids::OrganizationId;
use tenancy_core::normal_form::{nfc, search_form};

/// Number of matches up to which they are collected.
const MAX_COLLECTED: usize = 5_000;

/// Returns the condition that the text in a column begins with `prefix`.
pub fn begins(sql: &mut Sql, column: &str, prefix: &str) -> String {
    let from = sql.bind(Type::Text, Value::Text(prefix.to_owned()));
    match after(prefix) {
        Some(after) => {
            let before = sql.bind(Type::Text, Value::Text(after));
            format!("({column} >= {from} AND {column} < {before})")
        }
        None => format!("{column} >= {from}"),
    }
}

/// Returns the least text that is greater than every text that begins with `prefix`. Code points have the same order as
/// their bytes.
fn after(prefix: &str) -> Option<String> {
    let mut chars: Vec<_> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match u32::from(last) + 1 {
            0xD800 => Some('\u{E000}'),
            next => char::from_u32(next),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// Adds the condition that a column is among the values that a query selects. PostgreSQL is given an array: it reads that in
/// the order of the index, and does not join it with a scan.
pub fn also_one_of(sql: &mut Sql, column: &str, select: &str) {
    match sql.dialect() {
        Dialect::Sqlite => sql.also(&format!("{column} IN ({select})")),
        Dialect::Postgres => sql.also(&format!("{column} = any(ARRAY({select}))")),
    };
}

/// What a list of tenants is read by. All its other conditions are checked on the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// The order of the list, or the index of a column.
    Rows,
    /// The label with this place in the filter.
    Label(usize),
    /// The matches of the searched text.
    Matches,
}

/// Returns the queries of the ids of tenants whose id, name or alias begins with `q`.
fn matches(sql: &mut Sql, q: &str, column: &str) -> Vec<String> {
    let form = search_form(q);
    let mut found = vec![
        format!("SELECT {column} FROM tenants WHERE {}", begins(sql, "tenant_id", &form)),
        format!("SELECT {column} FROM tenants WHERE {}", begins(sql, "search_name", &form)),
        format!("SELECT {column} FROM aliases WHERE {}", begins(sql, "search_value", &form)),
        format!("SELECT {column} FROM aliases WHERE {}", begins(sql, "alias", &form)),
    ];
    let exact = nfc(q);
    if exact != form {
        found.push(format!("SELECT {column} FROM aliases WHERE {}", begins(sql, "alias", &exact)));
    }
    found
}

/// Returns the condition that the row of a tenant matches `q`. `+` keeps SQLite from looking for matches by their indexes.
fn is_match(sql: &mut Sql, q: &str) -> String {
    let plus = if sql.dialect() == Dialect::Sqlite { "+" } else { "" };
    let (form, exact) = (search_form(q), nfc(q));
    let mut of_alias = vec![("search_value", form.as_str()), ("alias", form.as_str())];
    if exact != form {
        of_alias.push(("alias", &exact));
    }
    let mut condition = |column: &str, text: &str| begins(sql, &format!("{plus}{column}"), text);
    let own = ["tenants.tenant_id", "tenants.search_name"].map(|column| condition(column, &form)).join(" OR ");
    let of_alias: Vec<_> = of_alias.iter().map(|(column, text)| condition(&format!("a.{column}"), text)).collect();
    let of_alias = of_alias.join(" OR ");
    format!("({own} OR EXISTS (SELECT 1 FROM aliases a WHERE a.tenant_id = tenants.tenant_id AND ({of_alias})))")
}

impl Lead {
    /// Begins a list of tenants: `select` reads all of them. Returns the column that the list is ordered by.
    pub fn begin(self, sql: &mut Sql, filter: &TenantFilter) -> &'static str {
        let label = match self {
            Self::Label(place) => filter.labels.get(place),
            _ => None,
        };
        if let Some((key, value)) = label {
            let [key, value] = [key, value].map(|text| sql.bind(Type::Text, Value::Text(text.clone())));
            // Each row of the label is followed by its tenant, up to a page. CROSS fixes that order in SQLite; OFFSET keeps
            // PostgreSQL from a join that reads all tenants in their order.
            let tenants = match sql.dialect() {
                Dialect::Sqlite => "CROSS JOIN tenants ON tenants.tenant_id = found.found_id",
                Dialect::Postgres => {
                    "CROSS JOIN LATERAL (SELECT * FROM tenants t WHERE t.tenant_id = found.found_id OFFSET 0) AS tenants"
                }
            };
            let from = format!(
                " FROM (SELECT tenant_id AS found_id FROM tenant_labels WHERE label_key = {key} AND label_value = {value}) \
                 AS found {tenants}"
            );
            sql.text = sql.text.replace(" FROM tenants", &from);
            return "found.found_id";
        }
        "tenant_id"
    }

    /// Adds the conditions of labels and of the searched text. Those that the list is read by are checked as well: an earlier
    /// release that still runs leaves rows of labels as they were.
    pub fn conditions(self, sql: &mut Sql, filter: &TenantFilter) {
        for (key, value) in &filter.labels {
            let key = sql.bind(Type::Text, Value::Text(key.clone()));
            let has = match sql.dialect() {
                // `->>` interprets a key that looks like a path as a path.
                Dialect::Sqlite => {
                    format!("EXISTS (SELECT 1 FROM json_each(labels) WHERE key = {key} AND value = {{}})")
                }
                // The planner takes a comparison to hold for few rows, and would rather collect all rows than walk an index up
                // to a page. Of CASE it assumes nothing.
                Dialect::Postgres => format!("CASE WHEN labels ->> {key} = {{}} THEN true ELSE false END"),
            };
            sql.and(&has, Some(value.clone()));
        }
        match &filter.q {
            Some(q) if self == Self::Matches => {
                let found = matches(sql, q, "tenant_id").join(" UNION ");
                also_one_of(sql, "tenant_id", &found);
            }
            Some(q) => {
                let matches = is_match(sql, q);
                sql.also(&matches);
            }
            None => {}
        }
    }
}

impl Store {
    /// Chooses what a list of tenants is read by: whatever finds the fewest. `organization` is the only one whose tenants are
    /// listed, if there is one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database cannot be reached.
    pub(crate) async fn lead(
        &self,
        filter: &TenantFilter,
        organization: Option<&OrganizationId>,
    ) -> Result<Lead, Error> {
        match (&filter.q, filter.labels.len()) {
            (None, 0) => return Ok(Lead::Rows),
            (None, 1) if organization.is_none() => return Ok(Lead::Label(0)),
            _ => {}
        }
        let (sql, leads) = counts(self.dialect(), filter, organization);
        let row = self.list_rows(sql, vec![Type::Int; leads.len()]).await?.pop().unwrap_or_default();
        let counted = leads.into_iter().zip(row).filter_map(|(lead, count)| match count {
            Value::Int(count) => Some((usize::try_from(count).ok()?, lead)),
            _ => None,
        });
        Ok(match counted.min_by_key(|(count, _)| *count) {
            // Too many to collect: a label is walked in the order of the list, too.
            Some((MAX_COLLECTED.., Lead::Matches)) | None => Lead::Rows,
            Some((_, lead)) => lead,
        })
    }
}

/// Counts what each lead finds, up to the limit. The first of those with the same count is chosen: labels come first.
pub(crate) fn counts(
    dialect: Dialect,
    filter: &TenantFilter,
    organization: Option<&OrganizationId>,
) -> (Sql, Vec<Lead>) {
    let (mut sql, mut leads, mut found) = (Sql::new(dialect, ""), Vec::new(), Vec::new());
    for (place, (key, value)) in filter.labels.iter().enumerate() {
        let [key, value] = [key, value].map(|text| sql.bind(Type::Text, Value::Text(text.clone())));
        leads.push(Lead::Label(place));
        found.push(format!("SELECT 1 FROM tenant_labels WHERE label_key = {key} AND label_value = {value}"));
    }
    if let Some(id) = organization {
        let id = sql.bind(Type::Text, Value::Text(id.to_string()));
        leads.push(Lead::Rows);
        found.push(format!("SELECT 1 FROM tenants WHERE organization_id = {id}"));
    }
    if let Some(q) = &filter.q {
        leads.push(Lead::Matches);
        found.push(matches(&mut sql, q, "1").join(" UNION ALL "));
    }
    let counts: Vec<_> = found
        .into_iter()
        .map(|rows| {
            format!("(SELECT count(*) FROM (SELECT 1 FROM ({rows}) AS found LIMIT {MAX_COLLECTED}) AS counted)")
        })
        .collect();
    sql.text = format!("SELECT {}", counts.join(", "));
    (sql, leads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_bound_a_range_above_every_text_that_begins_so() {
        for (prefix, next) in [
            ("a", Some("b")),
            ("ab", Some("ac")),
            ("\u{D7FF}", Some("\u{E000}")),
            ("a\u{10FFFF}", Some("b")),
            ("\u{10FFFF}", None),
            ("", None),
        ] {
            assert_eq!(after(prefix).as_deref(), next, "{prefix:?}");
        }
    }
}
