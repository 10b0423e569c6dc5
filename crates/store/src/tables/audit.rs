//! The log: `tenant_audit`, and `platform_audit` for events without a tenant.

use crate::Store;
use crate::current_rows::{Read, columns};
use crate::list::{converted, cursor, limit, place, text_of, unread};
use crate::log_tail::{END, UnreadableEvent};
use crate::many_rows::bind_rows;
use crate::page::{Listed, Page, Unreadable};
use crate::rows::{Column, Corrupt, Dialect, Field, Record, Table, Type, Value, described};
use crate::sealing::{Keys, Opened, is_sealed_json};
use crate::seals::event_columns;
use crate::sql::Sql;
use serde_json::Value as Json;
use tenancy_core::decision_context::least_audit_id;
use tenancy_core::event::{Event, EventType, Private};
use tenancy_core::ids::{AuditId, CorrelationId, OrganizationId, TenantId};
use tenancy_core::json::Object;
use tenancy_core::scope::Scope;
use tenancy_core::{Error, Timestamp};

/// Row of `tenant_audit`. A row of `platform_audit` is the same without a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// Id of the event.
    pub audit_id: AuditId,
    /// Tenant of the event; `None` only in `platform_audit`.
    pub tenant_id: Option<TenantId>,
    /// Type of the event.
    pub event_type: EventType,
    /// Version of the payload's schema.
    pub event_version: i64,
    /// `kind:subject`.
    pub actor: String,
    /// Subject that the actor acted for.
    pub on_behalf_of: Option<String>,
    /// Details of the event.
    pub payload: Object,
    /// Correlation id of the request.
    pub correlation_id: CorrelationId,
    /// When the event happened.
    pub occurred_at: Timestamp,
    /// Log position. In a writing statement: position within the batch, from 1.
    pub position: i64,
}

described!(
    /// Log of tenants.
    AuditRow as TENANT_AUDIT "tenant_audit" [audit_id] {
        audit_id: AuditId,
        tenant_id: Option<TenantId>,
        event_type: EventType,
        event_version: i64,
        actor: String,
        on_behalf_of: Option<String>,
        payload: Object,
        correlation_id: CorrelationId,
        occurred_at: Timestamp,
        position: i64,
    }
);

/// Log of events without a tenant: the same columns without `tenant_id`.
pub const PLATFORM_AUDIT: &Table = &Table {
    name: "platform_audit",
    key: &["audit_id"],
    columns: &[
        Column { name: "audit_id", ty: Type::Text },
        Column { name: "event_type", ty: Type::Text },
        Column { name: "event_version", ty: Type::Int },
        Column { name: "actor", ty: Type::Text },
        Column { name: "on_behalf_of", ty: Type::Text },
        Column { name: "payload", ty: Type::Json },
        Column { name: "correlation_id", ty: Type::Text },
        Column { name: "occurred_at", ty: Type::Time },
        Column { name: "position", ty: Type::Int },
    ],
};

impl AuditRow {
    /// Creates the row of an event at a position.
    pub fn of(event: &Event, position: i64) -> Self {
        Self {
            audit_id: event.audit_id.clone(),
            tenant_id: event.tenant_id.clone(),
            event_type: event.event_type,
            event_version: event.event_version,
            actor: event.actor.clone(),
            on_behalf_of: event.on_behalf_of.clone(),
            payload: event.payload.clone(),
            correlation_id: event.correlation_id.clone(),
            occurred_at: event.occurred_at,
            position,
        }
    }

    /// Returns the event, without its private data.
    pub fn into_event(self) -> Event {
        Event {
            audit_id: self.audit_id,
            tenant_id: self.tenant_id,
            event_type: self.event_type,
            event_version: self.event_version,
            actor: self.actor,
            on_behalf_of: self.on_behalf_of,
            payload: self.payload,
            correlation_id: self.correlation_id,
            occurred_at: self.occurred_at,
            private: None,
        }
    }
}

/// Reads receipts in `tenant_audit`.
pub const CURRENT_TENANT_RECEIPTS: Read = receipts("tenant_audit");
/// Reads receipts in `platform_audit`.
pub const CURRENT_PLATFORM_RECEIPTS: Read = receipts("platform_audit");

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

/// Filter of audit events. Events are ordered by position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only events of this tenant.
    pub tenant_id: Option<TenantId>,
    /// Only events of these types; empty for all types.
    pub event_types: Vec<EventType>,
    /// Only events of this request.
    pub correlation_id: Option<CorrelationId>,
    /// Only events that this actor caused, as `kind:subject`.
    pub actor: Option<String>,
    /// Only events of tenants of this organization.
    pub organization_id: Option<OrganizationId>,
    /// Only events at this time or later.
    pub since: Option<Timestamp>,
    /// Only events before this time.
    pub until: Option<Timestamp>,
    /// Whether the newest events come first.
    pub newest_first: bool,
    /// Whether the last page has a cursor, too, with which later events can be read. Only in order of positions.
    pub follow: bool,
}

/// Event with its log position.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEvent {
    /// Position in the one order of all events.
    pub position: i64,
    /// The event, with its private data if they are still kept.
    pub event: Event,
    /// Whether the private data do not have the digest in the event, because they were changed later, or whether their key
    /// is missing. They are then left out.
    pub tampered: bool,
}

impl Store {
    /// Lists events in order of their positions, of one tenant or of all tenants within a scope. Scope `All` includes
    /// the events of the platform.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn audit(&self, scope: &Scope, filter: &AuditFilter, page: &Page) -> Result<Listed<LoggedEvent>, Error> {
        // Read before the page: each event up to the newest position is then on the page, or does not match the filter.
        let end = self.log_end().await?;
        let after = match page.after.as_deref() {
            Some(END) => Some(end.newest),
            _ => place("log", page)?.map(|place| end.position(&place)).transpose()?,
        };
        let sql = log_sql(self.dialect(), scope, filter, after, limit(page) + 1);
        let mut types: Vec<_> = TENANT_AUDIT.columns.iter().map(|column| column.ty).collect();
        types.extend([Type::Text, Type::Json]);
        let (mut rows, more) = self.page(sql, types, page).await?;
        rows.truncate(limit(page));
        let last = rows.last().and_then(|row| position_of(row));
        let (items, unreadable) = self.read_events(rows).await?;
        let unreadable: Vec<Unreadable> = unreadable.into_iter().map(|event| event.row).collect();
        let next = match (more, filter.follow && !filter.newest_first) {
            (true, _) => last,
            (false, true) => last.max(Some(end.newest)),
            (false, false) => None,
        };
        Ok(Listed { items, unreadable, next: next.map(|position| cursor("log", &end.place(position))) })
    }

    /// Converts rows of the log to events, with their private data opened. One that cannot be read does not keep others
    /// from being read.
    pub(crate) async fn read_events(
        &self,
        rows: Vec<Vec<Value>>,
    ) -> Result<(Vec<LoggedEvent>, Vec<UnreadableEvent>), Error> {
        let keys = self.keys_of(rows.iter().filter_map(|row| owner_of_sealed(row))).await?;
        converted(rows, move |rows| events(rows, &keys)).await
    }
}

impl Store {
    /// Returns the events with these ids, with their private data if they are still kept; and those that cannot be read.
    /// Those that expired are in neither list.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn logged_events(&self, ids: &[AuditId]) -> Result<(Vec<LoggedEvent>, Vec<UnreadableEvent>), Error> {
        if ids.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut sql = Sql::kept(self.dialect());
        let rows = ids.iter().map(|id| vec![id.put()]).collect();
        // The ids come first: each is looked up in the one month that it is in.
        let first = format!("{} CROSS JOIN ", bind_rows(&mut sql, &[("id", Type::Text)], rows));
        let [tenants, platform] = [false, true].map(|platform| log_select_from(self.dialect(), platform, &first));
        sql.text = format!("{tenants} WHERE l.audit_id = u.id UNION ALL {platform} WHERE l.audit_id = u.id");
        let mut types: Vec<_> = TENANT_AUDIT.columns.iter().map(|column| column.ty).collect();
        types.extend([Type::Text, Type::Json]);
        let rows = self.rows(sql, types).await?;
        self.read_events(rows).await
    }
}

/// Returns the position of a row of the log.
pub(crate) fn position_of(row: &[Value]) -> Option<i64> {
    match row.get(TENANT_AUDIT.index("position")?)? {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

fn events(rows: Vec<Vec<Value>>, keys: &Keys) -> (Vec<LoggedEvent>, Vec<UnreadableEvent>) {
    let (mut items, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let text = |name| TENANT_AUDIT.index(name).and_then(|place| text_of(row.get(place)?));
        let (id, tenant, position) = (text("audit_id"), text("tenant_id"), position_of(&row));
        match logged(row, keys) {
            Ok(event) => items.push(event),
            Err(error) => {
                let (row, tenant_id) = (unread(id.unwrap_or_default(), &error), tenant.map(TenantId::known));
                unreadable.push(UnreadableEvent { row, tenant_id, position });
            }
        }
    }
    (items, unreadable)
}

/// Reads one table of the log if one tenant is requested or the scope includes only tenants, otherwise both.
pub(crate) fn log_sql(dialect: Dialect, scope: &Scope, filter: &AuditFilter, after: Option<i64>, limit: usize) -> Sql {
    let (order, past) = if filter.newest_first { ("position DESC", "<") } else { ("position", ">") };
    let mut params = Vec::new();
    let mut one = |platform: bool| {
        let mut sql = Sql::new(dialect, log_select(dialect, platform));
        sql.params = std::mem::take(&mut params);
        sql.and(&format!("position {past} {{}}"), after);
        filter_log(&mut sql, scope, filter, platform);
        sql.order(order, limit);
        params = std::mem::take(&mut sql.params);
        sql.text
    };
    let tenants = one(false);
    let text = match (&filter.tenant_id, scope) {
        (Some(_), _) | (None, Scope::Organization(_) | Scope::Tenant(_)) => tenants,
        (None, Scope::All) if filter.organization_id.is_some() => tenants,
        (None, Scope::All) => {
            let platform = one(true);
            let all =
                format!("SELECT * FROM (SELECT * FROM ({tenants}) AS t UNION ALL SELECT * FROM ({platform}) AS p)");
            format!("{all} AS a ORDER BY {order} LIMIT {}", limit)
        }
    };
    let mut sql = Sql::new(dialect, text);
    sql.params = params;
    sql
}

/// Columns of the log, the same for both tables, with the private data of each row.
fn log_select(dialect: Dialect, platform: bool) -> String {
    log_select_from(dialect, platform, "")
}

/// As [`log_select`], with what stands in the FROM clause before the log.
fn log_select_from(dialect: Dialect, platform: bool, first: &str) -> String {
    let table = if platform { PLATFORM_AUDIT } else { TENANT_AUDIT };
    let columns = event_columns(dialect, platform);
    let tenant = if platform { "''" } else { "l.tenant_id" };
    format!(
        "SELECT {columns}, p.salt AS salt, p.content AS content FROM {first}{} l LEFT JOIN audit_private p \
         ON p.tenant_id = {tenant} AND p.audit_id = l.audit_id",
        table.name
    )
}

fn filter_log(sql: &mut Sql, scope: &Scope, filter: &AuditFilter, platform: bool) {
    if !platform {
        sql.tenant_within("l.tenant_id", scope).and("l.tenant_id = {}", filter.tenant_id.clone());
        if let Some(id) = &filter.organization_id {
            sql.tenant_within("l.tenant_id", &Scope::Organization(id.clone()));
        }
    }
    sql.and("l.correlation_id = {}", filter.correlation_id.clone())
        .and("l.actor = {}", filter.actor.clone())
        .and("l.occurred_at >= {}", filter.since)
        .and("l.occurred_at < {}", filter.until)
        // The id contains the time, and the log is partitioned by id: this condition skips old partitions.
        .and("l.audit_id >= {}", filter.since.map(least_audit_id))
        .and("l.audit_id < {}", filter.until.map(|time| least_audit_id(next_millisecond(time))));
    if !filter.event_types.is_empty() {
        let words: Vec<_> = filter
            .event_types
            .iter()
            .map(|event_type| sql.bind(Type::Text, Value::Text(event_type.as_str().to_owned())))
            .collect();
        sql.also(&format!("l.event_type IN ({})", words.join(", ")));
    }
}

/// Ids are bounded by whole milliseconds.
fn next_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond() + 1).unwrap_or(time)
}

/// Returns the owner of the private data of a row, if they are sealed: the data are its last value.
fn owner_of_sealed(row: &[Value]) -> Option<&str> {
    match (row.last(), row.get(TENANT_AUDIT.index("tenant_id")?)?) {
        (Some(Value::Text(content)), Value::Text(tenant)) if is_sealed_json(content) => Some(tenant),
        (Some(Value::Text(content)), _) if is_sealed_json(content) => Some(""),
        _ => None,
    }
}

/// Opens the private data of an event; `None` if there are none.
pub(crate) fn opened_private(keys: &Keys, tenant: &Value, audit_id: &Value, content: &Value) -> Option<Opened> {
    let Value::Text(content) = content else { return None };
    let tenant = if let Value::Text(tenant) = tenant { tenant.as_str() } else { "" };
    let id = if let Value::Text(id) = audit_id { id.as_str() } else { "" };
    Some(keys.open_json(tenant, &format!("audit_private/{id}"), content))
}

fn logged(mut row: Vec<Value>, keys: &Keys) -> Result<LoggedEvent, Corrupt> {
    let content = row.pop().unwrap_or(Value::Null);
    let value = |name| TENANT_AUDIT.index(name).and_then(|at| row.get(at)).unwrap_or(&Value::Null);
    let content = opened_private(keys, value("tenant_id"), value("audit_id"), &content);
    let salt = <Option<String> as Field>::take(row.pop().unwrap_or(Value::Null))?;
    let row = AuditRow::from_values(row)?;
    let position = row.position;
    let mut event = row.into_event();
    // After a purge there is nothing. What cannot be opened is there.
    let is_there = !matches!(content, None | Some(Opened::Gone));
    let content = content.and_then(Opened::json);
    let private = salt.zip(content).map(|(salt, content)| Private { salt, content });
    let digest = event.payload.get("private_digest").and_then(Json::as_str);
    event.private = private.filter(|private| digest == Some(private.digest().as_str()));
    let tampered = is_there && event.private.is_none();
    Ok(LoggedEvent { position, event, tampered })
}
