//! Upkeep of the dispatcher, which makes deliveries of events. The position up to which it has done so is written in the
//! transaction of the deliveries, so that a crash at any time neither loses an event nor makes a delivery twice.

use super::Durability;
use super::{MAX_CLOCK_OFFSET, after};
use crate::Store;
use crate::list::corrupt;
use crate::many_rows::{Named, bind_rows, parts};
use crate::rows::{Corrupt, Dialect, Field, Record, Type, Value, take};
use crate::sql::Sql;
use crate::tables::webhook_deliveries;
use crate::topics::Topic;
use serde_json::Value as Json;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tenancy_core::delivery::Delivery;
use tenancy_core::event::EventType;
use tenancy_core::ids::{AuditId, DeliveryId, OrganizationId, TenantId, WebhookId};
use tenancy_core::json::Object;
use tenancy_core::lane::CHANGE;
use tenancy_core::{Error, Timestamp};

/// The right of one process to make deliveries, until a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchLease {
    /// Number of the lease.
    pub epoch: i64,
    /// Position up to which events have become deliveries.
    pub position: i64,
}

/// What the dispatcher needs of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventHead {
    /// Log position.
    pub position: i64,
    /// Id of the event.
    pub audit_id: AuditId,
    /// Tenant of the event; `None` for events outside tenants.
    pub tenant_id: Option<TenantId>,
    /// Organization of the tenant, if it has webhooks.
    pub organization_id: Option<OrganizationId>,
    /// Whether the tenant has webhooks.
    pub tenant_has_webhooks: bool,
    /// Type of the event.
    pub event_type: EventType,
    /// Payload of events about webhooks.
    pub payload: Option<Object>,
}

/// The events that come next after a position.
#[derive(Debug, Clone, PartialEq)]
pub struct EventHeads {
    /// The events, in the order of the log.
    pub events: Vec<EventHead>,
    /// Position up to which all events are among them.
    pub last: i64,
    /// Whether there was nothing more to read.
    pub is_end: bool,
    /// Newest position of the log.
    pub newest: i64,
    /// Type of the event after [`EventHeads::last`], if this release does not know it: a newer release wrote it.
    pub unknown: Option<String>,
}

/// A change of a webhook in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wake {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// Whether it is due now, whatever failed before.
    pub now: bool,
}

/// Move of the dispatcher over a part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Number of the lease.
    pub epoch: i64,
    /// Position that was written last. If the database has another one, it has lost a move in a crash.
    pub from: i64,
    /// End of the part.
    pub to: i64,
}

/// What a part of the log becomes. It is written as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// Deliveries to make. Those that exist stay as they are.
    pub deliveries: Vec<Delivery>,
    /// Webhooks that receive events from a position on, because the log says there that they were added.
    pub begun: Vec<(WebhookId, i64)>,
    /// Lanes that have something to do.
    pub wakes: Vec<Wake>,
    /// Deliveries that are due again, whatever their state.
    pub resends: Vec<(WebhookId, DeliveryId)>,
    /// Replays that begin, are paused, or continue, in order.
    pub replays: Vec<(WebhookId, Replay)>,
}

/// A change of the replay of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Sends the events between two positions again. It replaces a replay that is in progress.
    Begin {
        /// Position after which it begins.
        after: i64,
        /// Last position.
        to: i64,
        /// Whether only events are sent that were not delivered.
        only_undelivered: bool,
    },
    /// Makes no further deliveries until it continues.
    Pause,
    /// Continues.
    Continue,
}

const HEAD: [Type; 5] = [Type::Int, Type::Text, Type::Text, Type::Text, Type::Json];

impl Store {
    /// Takes or extends the lease of the dispatcher. `None` while another process has it.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn lease_dispatch(&self, holder: &str, lease: Duration) -> Result<Option<DispatchLease>, Error> {
        let now = self.now();
        let mut sql = Sql::new(self.dialect(), "");
        let holder = sql.bind(Type::Text, Value::Text(holder.to_owned()));
        let until = sql.bind(Type::Time, Value::Time(after(now, lease)));
        let time = sql.bind(Type::Time, Value::Time(now));
        // After the clock was set back, the end of a lease may lie further in the future than any lease does.
        let latest = sql.bind(Type::Time, Value::Time(after(now, 2 * lease + MAX_CLOCK_OFFSET)));
        sql.text = format!(
            "UPDATE webhook_dispatch SET lease_until = {until}, lease_holder = {holder}, \
             lease_epoch = lease_epoch + CASE WHEN lease_holder = {holder} THEN 0 ELSE 1 END \
             WHERE lease_holder IS NULL OR lease_holder = {holder} OR lease_until <= {time} OR lease_until > {latest} \
             RETURNING lease_epoch, position"
        );
        let Some(row) = self.write(sql, vec![Type::Int, Type::Int]).await?.pop() else { return Ok(None) };
        let mut values = row.into_iter();
        let mut number = |column| take::<i64>(&mut values, "webhook_dispatch", column).map_err(corrupt);
        Ok(Some(DispatchLease { epoch: number("lease_epoch")?, position: number("position")? }))
    }

    /// Gives the lease of the dispatcher back.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn release_dispatch(&self, epoch: i64) -> Result<(), Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let epoch = sql.bind(Type::Int, Value::Int(epoch));
        sql.text = format!(
            "UPDATE webhook_dispatch SET lease_holder = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1 \
             WHERE lease_epoch = {epoch} RETURNING 1"
        );
        self.write(sql, vec![Type::Int]).await.map(drop)
    }

    /// Returns the next events after a position, at most `limit`; with `to`, none after that position; with a tenant, only
    /// its own. An event whose type this release does not know ends them.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn event_heads(
        &self,
        after: i64,
        to: Option<i64>,
        tenant: Option<&TenantId>,
        limit: usize,
    ) -> Result<EventHeads, Error> {
        let rows = self.rows(heads_sql(self.dialect(), after, to, tenant, limit), HEAD.to_vec()).await?;
        let (mut heads, has_owners) = read_heads(rows, after, to, limit).map_err(corrupt)?;
        if has_owners {
            self.find_owners(&mut heads.events).await?;
        }
        Ok(heads)
    }

    /// Finds out which tenants and organizations of events have webhooks.
    async fn find_owners(&self, events: &mut [EventHead]) -> Result<(), Error> {
        let tenants: BTreeSet<_> = events.iter().filter_map(|event| event.tenant_id.clone()).collect();
        if tenants.is_empty() {
            return Ok(());
        }
        let rows = self.rows(owners_sql(self.dialect(), &tenants), vec![Type::Text, Type::Text, Type::Bool]).await?;
        let found = rows.into_iter().map(|row| {
            let mut values = row.into_iter();
            let values = &mut values;
            let tenant: TenantId = take(values, "tenants", "tenant_id")?;
            let organization: Option<OrganizationId> = take(values, "tenants", "organization_id")?;
            Ok((tenant, (organization, take::<bool>(values, "tenant_webhooks", "tenant_id")?)))
        });
        let found: HashMap<_, _> = found.collect::<Result<_, _>>().map_err(corrupt)?;
        for event in events {
            if let Some((organization, own)) = event.tenant_id.as_ref().and_then(|id| found.get(id)) {
                (event.organization_id, event.tenant_has_webhooks) = (organization.clone(), *own);
            }
        }
        Ok(())
    }

    /// Writes what the events of a part of the log become, and its end as the position, as a whole. Returns `false` if the
    /// lease is lost, or the position is not where the part begins; then nothing is written. One exception: if the same part was
    /// already written under this lease and the answer was lost, what it makes due is made due once more.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn dispatch(&self, move_to: Move, made: &Dispatched) -> Result<bool, Error> {
        let dialect = self.dialect();
        let mut statements = vec![moved(dialect, move_to)];
        if !made.begun.is_empty() {
            statements.push(begun(dialect, move_to, "tenant_webhooks", &made.begun));
            statements.push(begun(dialect, move_to, "platform_webhooks", &made.begun));
        }
        // Lanes are locked before deliveries, as by those who record results; otherwise two could wait for each other.
        if !made.wakes.is_empty() {
            statements.push(woken(dialect, move_to, self.now(), &made.wakes));
        }
        statements.extend(parts(dialect, &made.deliveries).map(|part| inserted(dialect, move_to, part)));
        if !made.resends.is_empty() {
            statements.push(resent(dialect, move_to, self.now(), &made.resends));
        }
        statements.extend(made.replays.iter().map(|(id, replay)| replayed(dialect, move_to, id, replay)));
        // What a crash undoes is made again from the log, which is durable: the position is undone with it.
        let is_held =
            self.write_all(statements, Durability::Unsynced).await?.first().is_some_and(|rows| !rows.is_empty());
        if is_held && !made.wakes.is_empty() {
            self.tell(Topic::Deliveries);
        }
        Ok(is_held)
    }
}

/// Reads both tables of the log, each up to the limit: an event is read once, however much of the log follows it. One more row,
/// without an event, has the newest position, and words if any tenant or organization has webhooks at all. It belongs to the
/// same snapshot, so every event up to the position is visible.
fn heads_sql(dialect: Dialect, after: i64, to: Option<i64>, tenant: Option<&TenantId>, limit: usize) -> Sql {
    let mut sql = Sql::kept(dialect);
    let after = sql.bind(Type::Int, Value::Int(after));
    let limit = sql.bind(Type::Int, Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
    let mut range = format!("l.position > {after}");
    if let Some(to) = to {
        range.push_str(&format!(" AND l.position <= {}", sql.bind(Type::Int, Value::Int(to))));
    }
    let of_tenant = tenant.map(|id| format!(" AND l.tenant_id = {}", sql.bind(Type::Text, id.put())));
    let text = if dialect == Dialect::Sqlite { "" } else { "::text" };
    let about = format!("CASE WHEN l.event_type LIKE 'WEBHOOK%' THEN l.payload{text} END AS payload");
    let part = |tenant: &str, table: &str, more: &str| {
        format!(
            "SELECT * FROM (SELECT l.position, l.audit_id, {tenant}, l.event_type, {about} FROM {table} l \
             WHERE {range}{more} ORDER BY l.position LIMIT {limit}) AS {table}"
        )
    };
    let mut parts = part("l.tenant_id", "tenant_audit", of_tenant.as_deref().unwrap_or(""));
    if tenant.is_none() {
        let of_platform = part("NULL AS tenant_id", "platform_audit", "");
        parts = format!("SELECT * FROM ({parts} UNION ALL {of_platform}) AS heads ORDER BY position LIMIT {limit}");
    }
    let tenants = "(SELECT 'tenants' FROM tenant_webhooks LIMIT 1)";
    let organizations = "(SELECT 'organizations' FROM platform_webhooks WHERE organization_id IS NOT NULL LIMIT 1)";
    sql.text = format!(
        "SELECT * FROM ({parts}) AS found UNION ALL SELECT n.last_position, NULL, {tenants}, {organizations}, NULL FROM \
         (SELECT last_position FROM log_batches ORDER BY last_position DESC LIMIT 1) AS n"
    );
    sql
}

/// Looks tenants up one by one, since a join could be planned as a scan of all of them; LIMIT keeps the database from reading
/// all webhooks instead of looking one up.
fn owners_sql(dialect: Dialect, tenants: &BTreeSet<TenantId>) -> Sql {
    let mut sql = Sql::kept(dialect);
    let ids: Vec<_> = tenants.iter().map(|id| vec![id.put()]).collect();
    let from = bind_rows(&mut sql, &[("id", Type::Text)], ids);
    let organization = "(SELECT t.organization_id FROM tenants t WHERE t.tenant_id = u.id AND (SELECT true FROM \
                        platform_webhooks w WHERE w.organization_id = t.organization_id LIMIT 1))";
    let own = "coalesce((SELECT true FROM tenant_webhooks w WHERE w.tenant_id = u.id LIMIT 1), false)";
    sql.text = format!("SELECT u.id, {organization}, {own} FROM {from}");
    sql
}

/// Returns the events, and whether any tenant or organization has webhooks.
fn read_heads(rows: Vec<Vec<Value>>, after: i64, to: Option<i64>, limit: usize) -> Result<(EventHeads, bool), Corrupt> {
    // The row without an event is the end of the log.
    let (mut rows, mut end): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.get(1) != Some(&Value::Null));
    let end = end.pop().unwrap_or_default();
    let newest = end.first().cloned().map_or(Ok(0), i64::take)?;
    let has_owners = end.iter().skip(2).any(|word| *word != Value::Null);
    rows.sort_by_key(|row| if let Some(Value::Int(position)) = row.first() { *position } else { 0 });
    let is_end = rows.len() < limit;
    let mut read = EventHeads { events: Vec::with_capacity(rows.len()), last: after, is_end, newest, unknown: None };
    for row in rows {
        match head(row)? {
            Ok(event) => {
                read.last = event.position;
                read.events.push(event);
            }
            Err((position, event_type)) => {
                (read.last, read.is_end, read.unknown) = (position - 1, false, Some(event_type));
                return Ok((read, has_owners));
            }
        }
    }
    if is_end {
        read.last = read.last.max(to.map_or(newest, |to| to.min(newest)));
    }
    Ok((read, has_owners))
}

/// Reads an event; if this release does not know its type, its position and type.
fn head(row: Vec<Value>) -> Result<Result<EventHead, (i64, String)>, Corrupt> {
    let mut values = row.into_iter();
    let values = &mut values;
    let position = take(values, "tenant_audit", "position")?;
    let audit_id = take(values, "tenant_audit", "audit_id")?;
    let tenant_id = take(values, "tenant_audit", "tenant_id")?;
    let event_type: String = take(values, "tenant_audit", "event_type")?;
    let Some(event_type) = EventType::parse(&event_type) else { return Ok(Err((position, event_type))) };
    // An event whose payload something else has broken asks for nothing; others are not kept back by it.
    let payload = take::<Option<Object>>(values, "tenant_audit", "payload").inspect_err(|error| {
        tracing::error!(position, %error, "the payload of an event cannot be read");
    });
    let payload = payload.unwrap_or_default();
    let (organization_id, tenant_has_webhooks) = (None, false);
    Ok(Ok(EventHead { position, audit_id, tenant_id, organization_id, tenant_has_webhooks, event_type, payload }))
}

impl EventHead {
    /// Returns the webhook that the event is about.
    pub fn webhook(&self) -> Option<WebhookId> {
        self.text("webhook_id").map(WebhookId::known)
    }

    /// Returns a text in the payload of an event about a webhook.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.payload.as_ref()?.get(name).and_then(Json::as_str)
    }
}

/// Moves the position, if the lease is held and the position is where the move begins.
fn moved(dialect: Dialect, Move { epoch, from, to }: Move) -> Sql {
    let mut sql = Sql::kept(dialect);
    let [epoch, from, to] = [epoch, from, to].map(|number| sql.bind(Type::Int, Value::Int(number)));
    sql.text = format!(
        "UPDATE webhook_dispatch SET position = {to} WHERE lease_epoch = {epoch} AND position = {from} RETURNING 1"
    );
    sql
}

/// The condition of the other statements: the row is locked by the first one, so it cannot change before the commit.
fn is_moved(sql: &mut Sql, Move { epoch, to, .. }: Move) -> String {
    let [epoch, to] = [epoch, to].map(|number| sql.bind(Type::Int, Value::Int(number)));
    format!("EXISTS (SELECT 1 FROM webhook_dispatch WHERE lease_epoch = {epoch} AND position = {to})")
}

/// The condition of statements in a transaction that does not move the position: the lease is held.
pub(super) fn held(sql: &mut Sql, epoch: i64) -> String {
    let epoch = sql.bind(Type::Int, Value::Int(epoch));
    format!("EXISTS (SELECT 1 FROM webhook_dispatch WHERE lease_epoch = {epoch})")
}

/// Locks the lease, if it is held, and writes nothing.
pub(super) fn locked(dialect: Dialect, epoch: i64) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let epoch = sql.bind(Type::Int, Value::Int(epoch));
    sql.text = format!("UPDATE webhook_dispatch SET lease_epoch = lease_epoch WHERE lease_epoch = {epoch} RETURNING 1");
    sql
}

fn begun(dialect: Dialect, move_to: Move, table: &str, webhooks: &[(WebhookId, i64)]) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let rows: Vec<_> = webhooks.iter().map(|(id, position)| vec![id.put(), Value::Int(*position)]).collect();
    let from = bind_rows(&mut sql, &[("webhook_id", Type::Text), ("position", Type::Int)], rows);
    let held = is_moved(&mut sql, move_to);
    sql.text = format!(
        "UPDATE {table} AS w SET from_position = u.position FROM {from} \
         WHERE w.webhook_id = u.webhook_id AND w.from_position IS NULL AND {held} RETURNING 1"
    );
    sql
}

/// Columns of a delivery, for [`bind_rows`].
pub(super) fn delivery_columns() -> Vec<Named> {
    webhook_deliveries::TABLE.columns.iter().map(|column| (column.name, column.ty)).collect()
}

fn inserted(dialect: Dialect, move_to: Move, deliveries: &[Delivery]) -> Sql {
    let mut sql = Sql::kept(dialect);
    let rows: Vec<_> = deliveries.iter().map(Record::values).collect();
    let columns = delivery_columns();
    let from = bind_rows(&mut sql, &columns, rows);
    let held = is_moved(&mut sql, move_to);
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    sql.text = format!(
        "INSERT INTO webhook_deliveries ({}) SELECT u.{} FROM {from} WHERE {held} \
         ON CONFLICT (delivery_id) DO NOTHING RETURNING 1",
        names.join(", "),
        names.join(", u.")
    );
    sql
}

/// Makes deliveries due now, each with its whole retry policy before it.
fn resent(dialect: Dialect, move_to: Move, now: Timestamp, resends: &[(WebhookId, DeliveryId)]) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let rows: Vec<_> = resends.iter().map(|(webhook, delivery)| vec![webhook.put(), delivery.put()]).collect();
    let from = bind_rows(&mut sql, &[("webhook_id", Type::Text), ("delivery_id", Type::Text)], rows);
    let held = is_moved(&mut sql, move_to);
    let now = sql.bind(Type::Time, Value::Time(now));
    sql.text = format!(
        "UPDATE webhook_deliveries AS d SET state = 'waiting', tries = 0, due_at = {now} FROM {from} \
         WHERE d.delivery_id = u.delivery_id AND d.webhook_id = u.webhook_id AND {held} RETURNING 1"
    );
    sql
}

/// Changes the replay of a webhook. Its lane was woken before, so that it exists.
fn replayed(dialect: Dialect, move_to: Move, webhook: &WebhookId, replay: &Replay) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let set = match replay {
        Replay::Begin { after, to, only_undelivered } => {
            let [after, to] = [after, to].map(|position| sql.bind(Type::Int, Value::Int(*position)));
            let only = sql.bind(Type::Bool, Value::Bool(*only_undelivered));
            format!("replay_position = {after}, replay_to = {to}, replay_undelivered = {only}, replay_paused = false")
        }
        Replay::Pause => "replay_paused = true".to_owned(),
        Replay::Continue => "replay_paused = false".to_owned(),
    };
    let id = sql.bind(Type::Text, webhook.put());
    let held = is_moved(&mut sql, move_to);
    sql.text = format!("UPDATE webhook_lanes SET {set} WHERE webhook_id = {id} AND {held} RETURNING 1");
    sql
}

/// Makes lanes due, if no process has them; a process that has one is told by the count of wakes.
fn woken(dialect: Dialect, move_to: Move, now: Timestamp, wakes: &[Wake]) -> Sql {
    let mut sql = Sql::kept(dialect);
    let mut rows: Vec<(&WebhookId, bool)> = wakes.iter().map(|wake| (&wake.webhook_id, wake.now)).collect();
    // Once each, and in the order in which all processes lock them.
    rows.sort_by_key(|(id, now)| (*id, !now));
    rows.dedup_by_key(|(id, _)| *id);
    let rows: Vec<_> = rows.into_iter().map(|(id, now)| vec![id.put(), Value::Bool(now)]).collect();
    let from = bind_rows(&mut sql, &[("webhook_id", Type::Text), ("now", Type::Bool)], rows);
    let held = is_moved(&mut sql, move_to);
    let now = sql.bind(Type::Time, Value::Time(now));
    // A lane that fails is not due before its pause is over, unless it is due whatever failed. One that is due already keeps
    // its place before those that became due later.
    let greater = if dialect == Dialect::Sqlite { "max" } else { "greatest" };
    sql.text = format!(
        "INSERT INTO webhook_lanes AS l (webhook_id, due_at, wakes, lease_epoch, failures, warned, replay_undelivered, \
         replay_paused) SELECT u.webhook_id, {now}, CASE WHEN u.now THEN {CHANGE} ELSE 1 END, 0, 0, 0, false, false \
         FROM {from} WHERE {held} ORDER BY u.webhook_id \
         ON CONFLICT (webhook_id) DO UPDATE SET wakes = l.wakes + excluded.wakes, \
         due_at = CASE WHEN l.lease_holder IS NOT NULL OR l.due_at <= {now} THEN l.due_at \
         WHEN excluded.wakes = {CHANGE} THEN excluded.due_at \
         ELSE {greater}(coalesce(l.open_until, {now}), {now}) END RETURNING 1"
    );
    sql
}
