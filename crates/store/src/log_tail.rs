//! The log as its followers read it: what comes after a position, and the positions that are still kept.

use crate::Store;
use crate::list::{bad_cursor, corrupt, cursor, place};
use crate::page::{LoggedEvent, Page, Unreadable};
use crate::rows::{Field, Type, Value, size, take};
use crate::sql::Sql;
use crate::tables::audit::{AuditFilter, TENANT_AUDIT, log_sql, position_of};
use crate::tables::log_epochs::{LogEnd, Place};
use tenancy_core::Error;
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::scope::Scope;

/// Maximum number of events that one read returns.
const MAX_EVENTS: usize = 200;
/// Maximum size of the rows of one read, in bytes. The row that reaches it is the last one.
const MAX_BYTES: usize = 128 * 1024;

/// Cursor that starts after the newest event.
pub(crate) const END: &str = "end";

/// A row of the log that cannot be read, and what is known of its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableEvent {
    /// The row.
    pub row: Unreadable,
    /// Tenant of the event; `None` for events without a tenant.
    pub tenant_id: Option<TenantId>,
    /// Log position.
    pub position: Option<i64>,
}

/// The events that come next after a position.
#[derive(Debug, Clone)]
pub struct LogTail {
    /// All events up to [`LogTail::last`], in the order of the log.
    pub events: Vec<LoggedEvent>,
    /// Rows among them that cannot be read.
    pub unreadable: Vec<UnreadableEvent>,
    /// Position up to which everything was read.
    pub last: i64,
    /// End of the log before the read.
    pub end: LogEnd,
    /// Whether nothing more could be read.
    pub is_end: bool,
    /// Size of the rows, in bytes.
    pub bytes: usize,
}

fn types() -> Vec<Type> {
    let mut types: Vec<_> = TENANT_AUDIT.columns.iter().map(|column| column.ty).collect();
    types.extend([Type::Text, Type::Json]);
    types
}

impl LogTail {
    fn nothing(after: i64, end: LogEnd) -> Self {
        Self { events: Vec::new(), unreadable: Vec::new(), last: after, end, is_end: true, bytes: 0 }
    }

    async fn of(store: &Store, rows: Vec<Vec<Value>>, after: i64, limit: usize, end: LogEnd) -> Result<Self, Error> {
        let bytes = rows.iter().map(|row| size(row)).sum();
        let is_end = rows.len() < limit && bytes < MAX_BYTES;
        let last = rows.last().and_then(|row| position_of(row)).unwrap_or(after);
        let last = if is_end { last.max(end.newest) } else { last };
        let (events, unreadable) = store.read_events(rows).await?;
        Ok(Self { events, unreadable, last, end, is_end, bytes })
    }
}

/// Where a reader that presents a cursor continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// After this position. Everything after it is still kept.
    After(i64),
    /// Events after the cursor are no longer kept, or the cursor belongs to a lost part of the log. The oldest cursor
    /// after which everything is kept.
    Expired {
        /// The cursor.
        oldest: String,
        /// Whether the database was restored to a time before the cursor.
        is_lost: bool,
    },
}

impl LogEnd {
    /// Returns the cursor of a position.
    pub fn cursor(&self, position: i64) -> String {
        cursor("log", &self.place(position))
    }
}

impl Store {
    /// Reads what comes after a position. Positions become visible in their order, so nothing before
    /// [`LogTail::last`] can appear later.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn log_after(&self, after: i64) -> Result<LogTail, Error> {
        let end = self.log_end().await?;
        if end.newest <= after {
            return Ok(LogTail::nothing(after, end));
        }
        let mut sql = log_sql(self.dialect(), &Scope::All, &AuditFilter::default(), Some(after), MAX_EVENTS);
        (sql.most_bytes, sql.is_kept) = (MAX_BYTES, true);
        let rows = self.rows(sql, types()).await?;
        LogTail::of(self, rows, after, MAX_EVENTS, end).await
    }

    /// Reads those events after a position that match a filter, at most `limit`, as a list.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn matching_log_after(
        &self,
        scope: &Scope,
        filter: &AuditFilter,
        after: i64,
        limit: usize,
    ) -> Result<LogTail, Error> {
        let end = self.log_end().await?;
        if end.newest <= after {
            return Ok(LogTail::nothing(after, end));
        }
        let filter = AuditFilter { newest_first: false, ..filter.clone() };
        let mut sql = log_sql(self.dialect(), scope, &filter, Some(after), limit);
        sql.most_bytes = MAX_BYTES;
        let rows = self.list_rows(sql, types()).await?;
        LogTail::of(self, rows, after, limit, end).await
    }

    /// Finds where a reader continues: after the event of the cursor, after the newest event for `end`, or without a
    /// cursor with the oldest event.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the text is no cursor of the log; same as [`Store::tenants`].
    pub async fn resume_log(&self, after: Option<&str>) -> Result<(Resumed, LogEnd), Error> {
        let end = self.log_end().await?;
        let (position, is_lost) = match after {
            None => return Ok((Resumed::After(0), end)),
            Some(END) => return Ok((Resumed::After(end.newest), end)),
            Some(text) => {
                let page = Page { after: Some(text.to_owned()), limit: 1 };
                let place = place("log", &page)?.ok_or_else(|| bad_cursor("must have a value"))?;
                match end.find(&place)? {
                    Place::At(position) => (position, false),
                    Place::Lost => (0, true),
                }
            }
        };
        let oldest = self.oldest_kept_position(end.newest).await?;
        if is_lost || position < oldest - 1 {
            return Ok((Resumed::Expired { oldest: end.cursor((oldest - 1).max(0)), is_lost }, end));
        }
        Ok((Resumed::After(position), end))
    }

    /// Returns whether everything after a position is still kept. Ask after the read of what comes next: events may
    /// expire during it.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn keeps_log_after(&self, position: i64, end: &LogEnd) -> Result<bool, Error> {
        Ok(position == 0 || position >= self.oldest_kept_position(end.newest).await? - 1)
    }

    /// Returns the oldest cursor after which everything is kept.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn oldest_log_cursor(&self) -> Result<String, Error> {
        let end = self.log_end().await?;
        let oldest = self.oldest_kept_position(end.newest).await?;
        Ok(end.cursor((oldest - 1).max(0)))
    }

    /// Returns the position before which tenants' events may have expired; 0 if none has.
    pub(crate) async fn oldest_kept_position(&self, head: i64) -> Result<i64, Error> {
        let mut sql = Sql::kept(self.dialect());
        sql.text = "SELECT CASE WHEN f.audit_id = '' THEN 0 ELSE (SELECT min(position) FROM tenant_audit \
             WHERE audit_id >= f.audit_id) END FROM log_floor f"
            .to_owned();
        let rows = self.rows(sql, vec![Type::Int]).await?;
        let found = take::<Option<i64>>(&mut rows.into_iter().flatten(), "tenant_audit", "position");
        Ok(found.map_err(corrupt)?.unwrap_or(head + 1))
    }

    /// Returns the organizations of these tenants. The organization of a tenant never changes.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn organizations_of(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, OrganizationId)>, Error> {
        if tenants.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = Sql::new(self.dialect(), "SELECT tenant_id, organization_id FROM tenants");
        sql.one_of("tenant_id", tenants);
        let rows = self.rows(sql, vec![Type::Text, Type::Text]).await?;
        rows.into_iter().map(owner).collect()
    }
}

fn owner(row: Vec<Value>) -> Result<(TenantId, OrganizationId), Error> {
    let mut values = row.into_iter();
    let mut next = || String::take(values.next().unwrap_or(Value::Null)).map_err(corrupt);
    Ok((TenantId::known(next()?), OrganizationId::known(next()?)))
}
