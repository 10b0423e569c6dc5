//! Reads the events of a range of positions, a bounded number at a time.

use super::{TABLES, event_columns, event_digest};
use crate::Store;
use crate::list::corrupt;
use crate::rows::{Dialect, Field, Type, Value, size};
use crate::sealing::{Keys, Opened};
use crate::sql::Sql;
use crate::tables::audit::{TENANT_AUDIT, opened_private};
use serde_json::Value as Json;
use tenancy_core::Error;
use tenancy_core::event::Private;
use tenancy_core::json::Object;

/// Maximum number of events that one statement reads.
const MAX_ROWS: usize = 500;
/// Maximum size of the events that one statement reads.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// An event of the log, as its digest.
pub(super) struct LogRow {
    pub position: i64,
    pub audit_id: String,
    pub is_platform: bool,
    pub digest: String,
    /// Whether the event fits what is stored beside it.
    pub beside: Beside,
}

/// What is stored beside an event, compared with the digest in the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// It fits, or is not read.
    Fits,
    /// It does not have the digest in the event, or the event has no digest.
    Changed,
    /// It is missing, and the tenant is not purged.
    Removed,
    /// It is missing, and the tenant is purged.
    Purged,
}

/// Place in a range.
pub(super) struct Range {
    position: i64,
    audit_id: String,
    last: i64,
    /// Whether to read what is stored beside the events.
    beside: bool,
    done: bool,
}

impl Range {
    pub fn new(first: i64, last: i64, beside: bool) -> Self {
        Self { position: first, audit_id: String::new(), last, beside, done: false }
    }

    /// Returns the next events in the order of their positions; `None` at the end.
    pub async fn next(&mut self, store: &Store) -> Result<Option<Vec<LogRow>>, Error> {
        if self.done {
            return Ok(None);
        }
        let dialect = store.dialect();
        let mut types: Vec<_> = TENANT_AUDIT.columns.iter().map(|column| column.ty).collect();
        types.push(Type::Int);
        if self.beside {
            types.extend([Type::Text, Type::Text, Type::Int]);
        }
        let rows = store.rows(self.sql(dialect), types).await?;
        let bytes: usize = rows.iter().map(|row| size(row)).sum();
        self.done = rows.len() < MAX_ROWS && bytes < MAX_BYTES;
        let keys =
            if self.beside { store.keys_of(rows.iter().filter_map(|row| owner(row))).await? } else { Keys::default() };
        let read = |row| self.read(dialect, row, &keys);
        let rows = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>().map_err(corrupt)?;
        if let Some(last) = rows.last() {
            (self.position, self.audit_id) = (last.position, last.audit_id.clone());
        }
        // Lets requests run: on SQLite a read does not wait for anything.
        tokio::task::yield_now().await;
        Ok(Some(rows))
    }

    fn sql(&self, dialect: Dialect) -> Sql {
        let mut sql = Sql::new(dialect, "");
        let [from, to] = [self.position, self.last].map(|position| sql.bind(Type::Int, Value::Int(position)));
        let id = sql.bind(Type::Text, Value::Text(self.audit_id.clone()));
        let part = |(table, platform): (&crate::rows::Table, bool)| {
            let columns = event_columns(dialect, platform);
            let number = i32::from(platform);
            let (more, joins) = match (self.beside, platform) {
                (false, _) => (String::new(), String::new()),
                (true, true) => (", p.salt, p.content, 0".to_owned(), beside("''")),
                (true, false) => (
                    ", p.salt, p.content, CASE WHEN t.purged_at IS NULL THEN 0 ELSE 1 END".to_owned(),
                    format!("{} LEFT JOIN tenants t ON t.tenant_id = l.tenant_id", beside("l.tenant_id")),
                ),
            };
            format!(
                "SELECT {columns}, {number} AS platform{more} FROM {} l{joins} WHERE l.position >= {from} \
                 AND l.position <= {to} AND (l.position > {from} OR l.audit_id > {id})",
                table.name
            )
        };
        sql.text = format!("{} ORDER BY position, audit_id LIMIT {MAX_ROWS}", TABLES.map(part).join(" UNION ALL "));
        sql.most_bytes = MAX_BYTES;
        sql
    }

    fn read(&self, dialect: Dialect, mut row: Vec<Value>, keys: &Keys) -> Result<LogRow, crate::rows::Corrupt> {
        let more = row.split_off(TENANT_AUDIT.columns.len());
        let digest = event_digest(dialect, &row);
        let beside = if self.beside { compared(&row, more.get(1..).unwrap_or_default(), keys) } else { Beside::Fits };
        let is_platform = more.first() == Some(&Value::Int(1));
        let position = row.pop().map_or(Ok(0), i64::take)?;
        let audit_id = String::take(row.swap_remove(0))?;
        Ok(LogRow { position, audit_id, is_platform, digest, beside })
    }
}

fn beside(tenant: &str) -> String {
    format!(" LEFT JOIN audit_private p ON p.tenant_id = {tenant} AND p.audit_id = l.audit_id")
}

/// Returns the owner of the content beside an event, if there is any.
fn owner(row: &[Value]) -> Option<&str> {
    let more = row.get(TENANT_AUDIT.columns.len()..)?;
    match (more, row.get(TENANT_AUDIT.index("tenant_id")?)?) {
        ([_, _, Value::Text(_), ..], Value::Text(tenant)) => Some(tenant),
        ([_, _, Value::Text(_), ..], _) => Some(""),
        _ => None,
    }
}

/// Compares the digest in an event with what is stored beside it: salt, content, whether the tenant is purged. Content
/// whose key was destroyed or is missing counts as removed.
fn compared(row: &[Value], more: &[Value], keys: &Keys) -> Beside {
    let value = |name| TENANT_AUDIT.index(name).and_then(|at| row.get(at)).unwrap_or(&Value::Null);
    let Ok(payload) = <Object as Field>::take(value("payload").clone()) else { return Beside::Changed };
    let digest = payload.get("private_digest").and_then(Json::as_str);
    let opened = more.get(1).and_then(|content| opened_private(keys, value("tenant_id"), value("audit_id"), content));
    let opened = opened.filter(|opened| !matches!(opened, Opened::Gone | Opened::NoKey));
    match (digest, more, opened) {
        (digest, [Value::Text(salt), ..], Some(content)) => {
            let private = content.json().map(|content| Private { salt: salt.clone(), content });
            let fits = private.is_some_and(|private| digest == Some(private.digest().as_str()));
            if fits { Beside::Fits } else { Beside::Changed }
        }
        (None, ..) => Beside::Fits,
        (Some(_), [.., Value::Int(1)], None) => Beside::Purged,
        (Some(_), _, _) => Beside::Removed,
    }
}
