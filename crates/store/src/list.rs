//! Lists: keyset pagination, so that a page costs the same however far one has paged.

use crate::Store;
use crate::page::{
    AuditFilter, JobFilter, Listed, ListedKeys, LoggedEvent, MAX_PAGE_BYTES, MAX_PAGE_ITEMS, OrganizationFilter, Page,
    TenantFilter,
};
use crate::rows::{AuditRow, Column, Corrupt, Dialect, Field, PLATFORM_AUDIT, Record, TENANT_AUDIT, Type, Value, size};
use crate::sql::Sql;
use tenancy_core::apikey::ApiKey;
use tenancy_core::decision_context::least_audit_id;
use tenancy_core::environment::{Environment, EnvironmentVersion};
use tenancy_core::error::Violation;
use tenancy_core::event::Private;
use tenancy_core::ids::{EnvironmentId, TenantId};
use tenancy_core::job::Job;
use tenancy_core::json::{Pointer, hex};
use tenancy_core::organization::Organization;
use tenancy_core::tenant::{Tenant, TenantVersion};
use tenancy_core::{Error, Timestamp};

/// The log's order begins anew when a database is restored to an earlier time: cursors of another epoch are refused.
const EPOCH: i64 = 1;

/// A cursor: opaque text, which says of which list it is.
fn cursor(list: &str, place: &str) -> String {
    hex(format!("{list}:{place}").as_bytes())
}

/// The place that a cursor of this list names.
fn place(list: &str, page: &Page) -> Result<Option<String>, Error> {
    let Some(text) = &page.after else { return Ok(None) };
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
    let bytes: Option<Vec<_>> = text.as_bytes().chunks(2).map(byte).collect();
    // PostgreSQL knows no text with U+0000 in it, and so no list has a place that is called so.
    let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.contains('\0'));
    match place.as_deref().and_then(|text| text.strip_prefix(list)?.strip_prefix(':')) {
        Some(place) => Ok(Some(place.to_owned())),
        None => Err(bad_cursor("is no cursor of this list: send `next` as it came")),
    }
}

fn bad_cursor(message: &str) -> Error {
    Error::Invalid(vec![Violation::at(&Pointer::root().key("after"), "bad_cursor", format!("after {message}"))])
}

fn limit(page: &Page) -> usize {
    page.limit.clamp(1, MAX_PAGE_ITEMS)
}

impl Store {
    /// Runs a list of whole records: one more than the page holds says whether there is a next one. Where the rows were too
    /// large for one page, there may be.
    async fn list<R: Record>(
        &self,
        name: &str,
        sql: Sql,
        page: &Page,
        place: impl Fn(&R) -> String,
    ) -> Result<Listed<R>, Error> {
        let types: Vec<_> = R::TABLE.columns.iter().map(|column| column.ty).collect();
        let (rows, more) = self.page(sql, types, page).await?;
        let mut items = rows.into_iter().map(R::from_values).collect::<Result<Vec<_>, _>>().map_err(corrupt)?;
        items.truncate(limit(page));
        let next = if more { items.last().map(|last| cursor(name, &place(last))) } else { None };
        Ok(Listed { items, next })
    }

    /// The rows of a page, as far as they are not too large, and whether there may be more.
    async fn page(&self, mut sql: Sql, types: Vec<Type>, page: &Page) -> Result<(Vec<Vec<Value>>, bool), Error> {
        sql.most_bytes = MAX_PAGE_BYTES;
        let rows = self.rows(sql, types).await?;
        let more = rows.len() > limit(page) || rows.iter().map(|row| size(row)).sum::<usize>() >= MAX_PAGE_BYTES;
        Ok((rows, more))
    }

    pub(crate) fn select<R: Record>(&self) -> Sql {
        Sql::new(self.dialect(), R::TABLE.select(self.dialect()))
    }

    /// Tenants in order of their ids.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor that is none, [`Error::Unavailable`].
    pub async fn tenants(&self, filter: &TenantFilter, page: &Page) -> Result<Listed<Tenant>, Error> {
        let mut sql = self.select::<Tenant>();
        sql.and("tenant_id > {}", place("tenants", page)?)
            .and("state = {}", filter.state)
            .and("region = {}", filter.region.clone())
            .and("profile = {}", filter.profile)
            .and("organization_id = {}", filter.organization_id.clone())
            .and("created_at >= {}", filter.created_from)
            .and("created_at < {}", filter.created_before);
        for (key, value) in &filter.labels {
            let key = sql.bind(Type::Text, Value::Text(key.clone()));
            let has = match self.dialect() {
                // `->>` takes a key for a path, if it looks like one.
                Dialect::Sqlite => {
                    format!("EXISTS (SELECT 1 FROM json_each(labels) WHERE key = {key} AND value = {{}})")
                }
                Dialect::Postgres => format!("labels ->> {key} = {{}}"),
            };
            sql.and(&has, Some(value.clone()));
        }
        if let Some(q) = &filter.q {
            beginning(&mut sql, self.dialect(), q);
        }
        if !filter.purged {
            sql.also("purged_at IS NULL");
        }
        sql.order("tenant_id", limit(page) + 1);
        self.list("tenants", sql, page, |tenant: &Tenant| tenant.tenant_id.to_string()).await
    }

    /// A tenant's environments, in order of their names.
    ///
    /// # Errors
    /// As [`Store::tenants`].
    pub async fn environments(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Environment>, Error> {
        let mut sql = self.select::<Environment>();
        sql.and("tenant_id = {}", Some(tenant.clone()))
            .and("name > {}", place("environments", page)?)
            .order("name", limit(page) + 1);
        self.list("environments", sql, page, |environment: &Environment| environment.name.clone()).await
    }

    /// Organizations in order of their ids.
    ///
    /// # Errors
    /// As [`Store::tenants`].
    pub async fn organizations(&self, filter: &OrganizationFilter, page: &Page) -> Result<Listed<Organization>, Error> {
        let mut sql = self.select::<Organization>();
        sql.and("organization_id > {}", place("organizations", page)?);
        if let Some(q) = &filter.q {
            let n = q.chars().count();
            let q = sql.bind(Type::Text, Value::Text(q.clone()));
            let [name, given] = [format!("substr(display_name, 1, {n})"), q.clone()].map(|text| lowered(&sql, &text));
            sql.also(&format!("(substr(organization_id, 1, {n}) = {q} OR {name} = {given})"));
        }
        sql.order("organization_id", limit(page) + 1);
        self.list("organizations", sql, page, |row: &Organization| row.organization_id.to_string()).await
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// As [`Store::tenants`].
    pub async fn jobs(&self, filter: &JobFilter, page: &Page) -> Result<Listed<Job>, Error> {
        let mut sql = self.select::<Job>();
        sql.and("tenant_id = {}", filter.tenant_id.clone())
            .and("state = {}", filter.state)
            .and("job_id < {}", place("jobs", page)?)
            .order("job_id DESC", limit(page) + 1);
        self.list("jobs", sql, page, |job: &Job| job.job_id.to_string()).await
    }

    /// Kept versions of a tenant, newest first.
    ///
    /// # Errors
    /// As [`Store::tenants`].
    pub async fn tenant_versions(&self, id: &TenantId, page: &Page) -> Result<Listed<TenantVersion>, Error> {
        let mut sql = self.select::<TenantVersion>();
        sql.and("tenant_id = {}", Some(id.clone()))
            .and("version < {}", number(place("versions", page)?)?)
            .order("version DESC", limit(page) + 1);
        self.list("versions", sql, page, |row: &TenantVersion| row.version.to_string()).await
    }

    /// Kept versions of an environment, newest first.
    ///
    /// # Errors
    /// As [`Store::tenants`].
    pub async fn environment_versions(
        &self,
        tenant: &TenantId,
        id: &EnvironmentId,
        page: &Page,
    ) -> Result<Listed<EnvironmentVersion>, Error> {
        let mut sql = self.select::<EnvironmentVersion>();
        sql.and("tenant_id = {}", Some(tenant.clone()))
            .and("env_id = {}", Some(id.clone()))
            .and("version < {}", number(place("versions", page)?)?)
            .order("version DESC", limit(page) + 1);
        self.list("versions", sql, page, |row: &EnvironmentVersion| row.version.to_string()).await
    }

    /// API keys in order of their ids, revoked ones among them.
    ///
    /// # Errors
    /// As [`Store::tenants`].
    pub async fn api_keys(&self, page: &Page) -> Result<ListedKeys, Error> {
        let mut sql = self.select::<ApiKey>();
        sql.and("key_id > {}", place("keys", page)?).order("key_id", limit(page) + 1);
        self.list("keys", sql, page, |key: &ApiKey| key.key_id.to_string()).await
    }

    /// Events in order of their positions: of one tenant, or of all and the platform's among them.
    ///
    /// # Errors
    /// As [`Store::tenants`].
    pub async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Listed<LoggedEvent>, Error> {
        let sql = log_sql(self.dialect(), filter, log_place(page)?, limit(page) + 1);
        let mut types: Vec<_> = TENANT_AUDIT.columns.iter().map(|column| column.ty).collect();
        types.extend([Type::Text, Type::Json]);
        let (rows, more) = self.page(sql, types, page).await?;
        let mut items = rows.into_iter().map(logged).collect::<Result<Vec<_>, _>>().map_err(corrupt)?;
        items.truncate(limit(page));
        let place = |last: &LoggedEvent| cursor("log", &format!("{EPOCH}:{}", last.position));
        let next = if more { items.last().map(place) } else { None };
        Ok(Listed { items, next })
    }
}

/// Of one table of the log where one tenant is asked for, else of both.
pub(crate) fn log_sql(dialect: Dialect, filter: &AuditFilter, after: Option<i64>, limit: usize) -> Sql {
    let (order, past) = if filter.newest_first { ("position DESC", "<") } else { ("position", ">") };
    let mut params = Vec::new();
    let mut one = |platform: bool| {
        let mut sql = Sql::new(dialect, log_select(dialect, platform));
        sql.params = std::mem::take(&mut params);
        sql.and(&format!("position {past} {{}}"), after);
        filter_log(&mut sql, filter, platform);
        sql.order(order, limit);
        params = std::mem::take(&mut sql.params);
        sql.text
    };
    let tenants = one(false);
    let text = match filter.tenant_id {
        Some(_) => tenants,
        None => {
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

/// The columns of the log, the same for both its tables, and what stands beside each row.
fn log_select(dialect: Dialect, platform: bool) -> String {
    let table = if platform { PLATFORM_AUDIT } else { TENANT_AUDIT };
    let column = |column: &Column| match (platform, column.name, dialect) {
        (true, "tenant_id", Dialect::Postgres) => "NULL::text AS tenant_id".to_owned(),
        (true, "tenant_id", Dialect::Sqlite) => "NULL AS tenant_id".to_owned(),
        (_, "payload", Dialect::Postgres) => "l.payload::text AS payload".to_owned(),
        (_, name, _) => format!("l.{name} AS {name}"),
    };
    let columns: Vec<_> = TENANT_AUDIT.columns.iter().map(column).collect();
    let tenant = if platform { "''" } else { "l.tenant_id" };
    format!(
        "SELECT {}, p.salt AS salt, p.content AS content FROM {} l LEFT JOIN audit_private p \
         ON p.tenant_id = {tenant} AND p.audit_id = l.audit_id",
        columns.join(", "),
        table.name
    )
}

fn filter_log(sql: &mut Sql, filter: &AuditFilter, platform: bool) {
    if !platform {
        sql.and("l.tenant_id = {}", filter.tenant_id.clone());
    }
    sql.and("l.correlation_id = {}", filter.correlation_id.clone())
        .and("l.occurred_at >= {}", filter.since)
        .and("l.occurred_at < {}", filter.until)
        // The id has the time in it, and the log is partitioned by it: old partitions are not touched.
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

/// An id is bounded by whole milliseconds.
fn next_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond() + 1).unwrap_or(time)
}

fn logged(mut row: Vec<Value>) -> Result<LoggedEvent, Corrupt> {
    let content = <Option<serde_json::Value> as Field>::take(row.pop().unwrap_or(Value::Null))?;
    let salt = <Option<String> as Field>::take(row.pop().unwrap_or(Value::Null))?;
    let row = AuditRow::from_values(row)?;
    let position = row.position;
    let mut event = row.into_event();
    event.private = salt.zip(content).map(|(salt, content)| Private { salt, content });
    Ok(LoggedEvent { position, event })
}

fn log_place(page: &Page) -> Result<Option<i64>, Error> {
    let Some(text) = place("log", page)? else { return Ok(None) };
    match text.split_once(':') {
        Some((epoch, position)) if epoch == EPOCH.to_string() => number(Some(position.to_owned())),
        _ => Err(bad_cursor("is a place in a log that is gone: begin anew")),
    }
}

fn number(text: Option<String>) -> Result<Option<i64>, Error> {
    text.map(|text| text.parse().map_err(|_| bad_cursor("is no cursor: send `next` as it came"))).transpose()
}

/// Whose id, name or alias begins with `q`.
fn beginning(sql: &mut Sql, dialect: Dialect, q: &str) {
    let n = q.chars().count();
    let q = sql.bind(Type::Text, Value::Text(q.to_owned()));
    let colon = match dialect {
        Dialect::Sqlite => "instr(a.alias, ':')",
        Dialect::Postgres => "strpos(a.alias, ':')",
    };
    let [name, given] = [format!("substr(display_name, 1, {n})"), q.clone()].map(|text| lowered(sql, &text));
    sql.also(&format!(
        "(substr(tenant_id, 1, {n}) = {q} OR {name} = {given} OR EXISTS (SELECT 1 FROM aliases a \
         WHERE a.tenant_id = tenants.tenant_id AND (substr(a.alias, 1, {n}) = {q} \
         OR substr(a.alias, {colon} + 1, {n}) = {q})))"
    ));
}

/// A text in small letters, of which A to Z have some: what others have, every database and locale says otherwise.
fn lowered(sql: &Sql, text: &str) -> String {
    match sql.dialect() {
        Dialect::Sqlite => format!("lower({text})"),
        Dialect::Postgres => format!("lower({text} COLLATE \"C\")"),
    }
}

/// The error of a row that is not as it must be.
pub(crate) fn corrupt(error: Corrupt) -> Error {
    Error::Internal(error.to_string())
}
