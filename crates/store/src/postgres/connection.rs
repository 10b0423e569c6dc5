//! One connection: statements are prepared once (or unnamed, behind a pooler), and values are converted to PostgreSQL's types.

use super::rows::row_types;
use super::target::{CONNECT_TIMEOUT, LOCK_TIMEOUT_SECONDS, Target};
use crate::rows::{Type, Value, size};
use crate::sql::{Bound, Sql};
use futures_util::TryStreamExt;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tenancy_core::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_postgres::types::{ToSql, Type as PgType};
use tokio_postgres::{AsyncMessage, Client, Error, NoTls, Row, Statement};

/// Makes the server's process keep memory that statements free. glibc's allocator returns freed memory to the system, and
/// faults it in again for every statement, until one large block has been allocated and freed.
const KEEP_MEMORY: &str = "SELECT length(repeat('x', 4000000))";
/// Fails if the server does not accept writes (no row is locked). From then on the session writes only in transactions that
/// say READ WRITE.
const WRITE_IN_TRANSACTIONS_ONLY: &str =
    "SELECT FROM log_head WHERE false FOR NO KEY UPDATE; SET default_transaction_read_only = on";
/// Ends a session, and fails if it has not ended within five seconds. The session's start is part of its name, because the
/// operating system reuses process numbers. Where commits wait for a standby, a session that works is left alone: if it is
/// ended during that wait, its transaction is committed without the standby, and every reader sees what a failover loses.
const END_SESSION: &str = "SELECT CASE WHEN state = 'active' AND current_setting('synchronous_standby_names') <> '' \
    THEN assertion_failed('TN003', 'session ' || $1 || ' may wait for a synchronous standby and is not ended') \
    WHEN pg_terminate_backend(pid, 5000) THEN 1 \
    ELSE assertion_failed('TN003', 'session ' || $1 || ' has not ended') END FROM pg_stat_activity \
    WHERE pid::text || '@' || backend_start::text = $1";
/// The function of the server that waits for a standby. Its warnings say that a wait was cancelled; their text may be in the
/// server's language.
const STANDBY_WAIT: &str = "SyncRepWaitForLSN";
const THIS_SESSION: &str =
    "SELECT pid::text || '@' || backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()";
/// Maximum number of prepared statements of a connection; beyond it all of them are prepared again.
const MAX_PREPARED: usize = 256;

/// An open connection. Statements that are begun one after the other travel together (pipelining).
pub struct Connection {
    client: Client,
    _task: Task,
    pooled: bool,
    /// Settings that each transaction begins with.
    begin: String,
    prepared: Mutex<HashMap<String, Statement>>,
    /// Held during a transaction, where many callers share the connection.
    turn: tokio::sync::Mutex<()>,
    /// The row types of tables, for a connection without prepared statements, which would know them.
    row_types: HashMap<String, PgType>,
    /// The next transactions wait for locks as long as possible.
    patient: AtomicBool,
    /// The server has cancelled a wait for a standby: see [`Self::is_unconfirmed`].
    unconfirmed: Arc<AtomicBool>,
}

/// The task that carries messages to the server and back. It would end only when every statement is answered: with a server
/// that accepts statements and never answers, a task would be left over for each connection that was given up.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A parameter with its type.
pub type Param<'a> = (Box<dyn ToSql + Sync + Send + 'a>, PgType);

impl Connection {
    /// Connects; `None` if the server does not answer in time.
    pub async fn open_soon(target: &Target, settings: &[(&str, String)]) -> Option<Result<Self, Error>> {
        tokio::time::timeout(2 * CONNECT_TIMEOUT, Self::open(target, settings)).await.ok()
    }

    /// Connects. The settings are start-up options; behind a pooler they are made in each transaction.
    pub async fn open(target: &Target, settings: &[(&str, String)]) -> Result<Self, Error> {
        let config = target.with(settings);
        let unconfirmed = Arc::new(AtomicBool::new(false));
        let (client, task) = match &target.tls {
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                (client, Task(tokio::spawn(driven(connection, Arc::clone(&unconfirmed))).abort_handle()))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                (client, Task(tokio::spawn(driven(connection, Arc::clone(&unconfirmed))).abort_handle()))
            }
        };
        let local = |(name, value): &(&str, String)| format!("; SET LOCAL {name} = '{value}'");
        let begin = if target.pooled { settings.iter().map(local).collect() } else { String::new() };
        let row_types = if target.pooled { row_types(&client).await? } else { HashMap::new() };
        if !target.pooled {
            // If it fails, the next statement fails, too, and that failure is handled.
            let _ = client.batch_execute(KEEP_MEMORY).await;
        }
        Ok(Self {
            client,
            _task: task,
            pooled: target.pooled,
            begin,
            prepared: Mutex::default(),
            turn: Default::default(),
            row_types,
            patient: AtomicBool::new(false),
            unconfirmed,
        })
    }

    /// Whether the connection is lost, or must not be used any more.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.is_unconfirmed()
    }

    /// Whether a COMMIT of this connection may have been answered although no standby has confirmed it: somebody cancelled
    /// its wait. The answer to COMMIT is the same, so nothing that this connection has committed may be relied on.
    pub fn is_unconfirmed(&self) -> bool {
        self.unconfirmed.load(Ordering::SeqCst)
    }

    /// Whether the next transactions wait for locks as long as possible, and not only for moments.
    pub fn set_patient(&self, patient: bool) {
        self.patient.store(patient, Ordering::Relaxed);
    }

    /// What a transaction sets if it is to wait for locks as long as possible.
    fn patience(&self) -> String {
        let patient = self.patient.load(Ordering::Relaxed);
        if patient { format!("; SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'") } else { String::new() }
    }

    /// Whether there is a pooler between this program and the server.
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// Replaces the session of the previous connection, and returns the name of this one; behind a pooler there is none.
    ///
    /// A batch that was sent over the previous connection may still arrive. It holds no lock yet that this session could wait
    /// for, so the previous session is ended first. Then the server is told to refuse writes outside of transactions: if a
    /// BEGIN fails, the statements behind it are already sent, and each would commit by itself. Behind a pooler nothing is
    /// sent before BEGIN is answered, and the setting would apply to other clients.
    pub async fn succeed(&self, before: Option<&str>) -> Result<Option<String>, Error> {
        if self.pooled {
            return Ok(None);
        }
        self.client.query_typed(END_SESSION, &[(&before.unwrap_or_default(), PgType::TEXT)]).await?;
        self.client.batch_execute(WRITE_IN_TRANSACTIONS_ONLY).await?;
        let session = self.client.query_typed(THIS_SESSION, &[]).await?;
        session.first().map(|row| row.try_get(0)).transpose()
    }

    /// Begins a transaction.
    pub async fn begin(&self, mode: &str) -> Result<(), Error> {
        self.client.batch_execute(&format!("BEGIN{mode}{}{}", self.begin, self.patience())).await
    }

    /// Runs statements without parameters and results: `COMMIT`, or SQL of a migration.
    pub async fn execute(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }

    /// Prepares the statements that are not prepared yet, so that they can be sent together.
    pub async fn prepare(&self, statements: impl IntoIterator<Item = &str>) -> Result<(), Error> {
        if self.pooled {
            return Ok(());
        }
        let missing: Vec<_> = {
            let mut known = lock(&self.prepared);
            if known.len() >= MAX_PREPARED {
                known.clear();
            }
            statements.into_iter().filter(|sql| !known.contains_key(*sql)).map(str::to_owned).collect()
        };
        let made = together(missing.iter().map(|sql| Box::pin(self.client.prepare(sql)) as _).collect()).await;
        for (sql, statement) in missing.into_iter().zip(made) {
            lock(&self.prepared).insert(sql, statement?);
        }
        Ok(())
    }

    /// Runs a statement.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let known = lock(&self.prepared).get(sql).cloned();
        let Some(statement) = known else {
            // It is not prepared now: statements that are sent after it must not overtake it.
            let typed: Vec<_> =
                params.iter().map(|(value, ty)| (&**value as &(dyn ToSql + Sync), ty.clone())).collect();
            return self.client.query_typed(sql, &typed).await;
        };
        let values: Vec<_> = params.iter().map(|(value, _)| &**value as &(dyn ToSql + Sync)).collect();
        self.client.query(&statement, &values).await
    }

    /// The type of a parameter that carries rows of a table. A prepared statement does not need it.
    pub fn row_array_type(&self, table: &str) -> PgType {
        self.row_types.get(table).cloned().unwrap_or(PgType::UNKNOWN)
    }

    /// As [`Self::run`], with the limits of this connection. Behind a pooler that takes a transaction, and statements run one at
    /// a time; the server's session would run them one after the other anyway.
    pub async fn run_limited(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        if !self.pooled {
            return self.run(sql, types).await;
        }
        let _turn = self.turn.lock().await;
        let sent: Vec<Sent<'_, Vec<Vec<Value>>>> = vec![
            Box::pin(async { self.begin("").await.map(|()| Vec::new()) }),
            Box::pin(self.run(sql, types)),
            Box::pin(async { self.execute("COMMIT").await.map(|()| Vec::new()) }),
        ];
        let mut rows = Vec::new();
        for answer in together(sent).await {
            rows.extend(answer?);
        }
        Ok(rows)
    }

    /// Runs statements that return numbers in one transaction. They are sent together. Transactions of several callers run one
    /// after the other.
    pub async fn run_all(&self, mode: &str, statements: &[Sql]) -> Result<Vec<Vec<Vec<Value>>>, Error> {
        let _turn = self.turn.lock().await;
        let mut sent: Vec<Sent<'_, Vec<Vec<Value>>>> =
            vec![Box::pin(async { self.begin(mode).await.map(|()| Vec::new()) })];
        // Before the transaction: a statement that is prepared first would be overtaken by those behind it.
        self.prepare(statements.iter().filter(|sql| sql.is_kept).map(|sql| sql.text.as_str())).await?;
        for sql in statements {
            sent.push(Box::pin(self.run(sql, &[Type::Int])));
        }
        sent.push(Box::pin(async { self.execute("COMMIT").await.map(|()| Vec::new()) }));
        let mut answers = together(sent).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        // The answers to BEGIN and COMMIT.
        answers.pop();
        Ok(answers.into_iter().skip(1).collect())
    }

    /// Runs a statement that was built from conditions. It is kept prepared only if it says so.
    pub async fn run(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        if sql.is_kept {
            self.prepare([sql.text.as_str()]).await?;
        }
        let params: Vec<_> = sql.params.iter().map(bound).collect();
        let kept = lock(&self.prepared).get(&sql.text).cloned();
        let answers = match kept {
            Some(statement) => {
                let values: Vec<_> = params.iter().map(|(value, _)| &**value as &(dyn ToSql + Sync)).collect();
                // The reason of an error may be that another release has migrated the database.
                let forget = |_: &Error| drop(lock(&self.prepared).remove(&sql.text));
                self.client.query_raw(&statement, values).await.inspect_err(forget)?
            }
            None => {
                let typed: Vec<_> =
                    params.iter().map(|(value, ty)| (&**value as &(dyn ToSql + Sync), ty.clone())).collect();
                self.client.query_typed_raw(&sql.text, typed).await?
            }
        };
        let (mut answers, mut rows, mut bytes) = (std::pin::pin!(answers), Vec::new(), 0);
        // Further rows are dropped as they arrive.
        while bytes < sql.most_bytes
            && let Some(row) = answers.try_next().await?
        {
            let row = values(&row, types)?;
            bytes += size(&row);
            rows.push(row);
        }
        Ok(rows)
    }
}

fn lock(prepared: &Mutex<HashMap<String, Statement>>) -> MutexGuard<'_, HashMap<String, Statement>> {
    prepared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries messages until the connection ends.
async fn driven<S, T>(mut connection: tokio_postgres::Connection<S, T>, unconfirmed: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        let AsyncMessage::Notice(notice) = message else { continue };
        if notice.routine() == Some(STANDBY_WAIT) {
            // This is noticed before the COMMIT behind it is answered.
            unconfirmed.store(true, Ordering::SeqCst);
            tracing::warn!(notice = notice.message(), "a commit was not confirmed by the synchronous standby");
        }
    }
}

/// A future whose statement is sent when it is first polled.
pub type Sent<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Polls all futures in order until each has its answer, so that their statements are sent together and in this order. If one
/// fails before it is sent (a parameter that cannot be encoded), its error is the only answer, and those after it are not sent.
pub async fn together<T>(sent: Vec<Sent<'_, T>>) -> Vec<Result<T, Error>> {
    together_told(sent, || {}).await
}

/// As [`together`]; `are_sent` is called once all of them are.
pub async fn together_told<T>(mut sent: Vec<Sent<'_, T>>, are_sent: impl Fn()) -> Vec<Result<T, Error>> {
    let mut answers: Vec<Option<Result<T, Error>>> = sent.iter().map(|_| None).collect();
    let mut all_sent = false;
    std::future::poll_fn(move |context| {
        let mut waiting = false;
        for (future, answer) in sent.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(Err(error)) if !all_sent => {
                        return std::task::Poll::Ready(vec![Err(error)]);
                    }
                    std::task::Poll::Ready(done) => *answer = Some(done),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if !all_sent {
            are_sent();
        }
        all_sent = true;
        if waiting {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(answers.iter_mut().filter_map(Option::take).collect())
    })
    .await
}

/// A list of texts: keys.
pub fn texts<'a>(keys: impl IntoIterator<Item = &'a str>) -> Param<'a> {
    (Box::new(keys.into_iter().collect::<Vec<_>>()), PgType::TEXT_ARRAY)
}

/// One text.
pub fn text(text: &str) -> Param<'_> {
    (Box::new(text), PgType::TEXT)
}

/// One number.
pub fn number(number: i64) -> Param<'static> {
    (Box::new(number), PgType::INT8)
}

/// A list of numbers.
pub fn numbers(numbers: Vec<i64>) -> Param<'static> {
    (Box::new(numbers), PgType::INT8_ARRAY)
}

/// One time.
pub fn time(time: Timestamp) -> Param<'static> {
    (Box::new(time), PgType::TIMESTAMPTZ)
}

fn bound(param: &Bound) -> Param<'_> {
    match param {
        Bound::One(value) => scalar(value),
        Bound::Column(ty, values) => column(*ty, values),
    }
}

/// The values of one type as an array.
fn column(ty: Type, values: &[Value]) -> Param<'_> {
    macro_rules! array {
        ($variant:ident, $type:expr) => {{
            let one = |value| match value {
                &Value::$variant(ref value) => Some(value),
                _ => None,
            };
            (Box::new(values.iter().map(one).collect::<Vec<_>>()), $type)
        }};
    }
    match ty {
        Type::Text | Type::Json => array!(Text, PgType::TEXT_ARRAY),
        Type::Int => array!(Int, PgType::INT8_ARRAY),
        Type::Float => array!(Float, PgType::FLOAT8_ARRAY),
        Type::Bool => array!(Bool, PgType::BOOL_ARRAY),
        Type::Time => array!(Time, PgType::TIMESTAMPTZ_ARRAY),
    }
}

fn scalar(value: &Value) -> Param<'_> {
    match value {
        Value::Null => (Box::new(None::<&str>), PgType::TEXT),
        Value::Text(text) => (Box::new(text.as_str()), PgType::TEXT),
        Value::Int(number) => (Box::new(*number), PgType::INT8),
        Value::Float(number) => (Box::new(*number), PgType::FLOAT8),
        Value::Bool(flag) => (Box::new(*flag), PgType::BOOL),
        Value::Time(time) => (Box::new(*time), PgType::TIMESTAMPTZ),
    }
}

/// What stands for a time that cannot be represented: its row cannot be read, but others can.
pub fn out_of_range() -> Value {
    Value::Text("a time out of range".to_owned())
}

/// The values of a row whose columns have these types.
pub fn values(row: &Row, types: &[Type]) -> Result<Vec<Value>, Error> {
    types.iter().enumerate().map(|(index, ty)| value(row, index, *ty)).collect()
}

fn value(row: &Row, index: usize, ty: Type) -> Result<Value, Error> {
    let int4 = row.columns().get(index).is_some_and(|column| *column.type_() == PgType::INT4);
    Ok(match ty {
        Type::Text | Type::Json => row.try_get::<_, Option<String>>(index)?.map_or(Value::Null, Value::Text),
        Type::Int if int4 => row.try_get::<_, Option<i32>>(index)?.map_or(Value::Null, |n| Value::Int(n.into())),
        Type::Int => row.try_get::<_, Option<i64>>(index)?.map_or(Value::Null, Value::Int),
        Type::Float => row.try_get::<_, Option<f64>>(index)?.map_or(Value::Null, Value::Float),
        Type::Bool => row.try_get::<_, Option<bool>>(index)?.map_or(Value::Null, Value::Bool),
        // A time that cannot be represented, such as infinity, must not take other rows with it.
        Type::Time => row
            .try_get::<_, Option<Timestamp>>(index)
            .map_or_else(|_| out_of_range(), |time| crate::rows::Field::put(&time)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::fault::Fault;
    use std::time::Duration;

    #[tokio::test]
    async fn must_send_nothing_behind_what_cannot_be_encoded() {
        let database = tenancy_testkit::Postgres::shared().database("encoded");
        database.execute("CREATE TABLE numbers (number bigint)");
        let connection = Connection::open(&Target::parse(&database.url()).unwrap(), &[]).await.unwrap();
        connection.begin("").await.unwrap();
        let insert = "INSERT INTO numbers VALUES ($1::bigint)";
        connection.prepare([insert]).await.unwrap();
        let (good, bad) = ([number(1)], [texts(["one"])]);
        let sent: Vec<Sent<'_, Vec<Row>>> = vec![
            Box::pin(connection.query(insert, &good)),
            Box::pin(connection.query(insert, &bad)),
            Box::pin(async { connection.execute("COMMIT").await.map(|()| Vec::new()) }),
        ];
        let answers = together(sent).await;
        assert!(matches!(&answers[..], [Err(error)] if Fault::of(error) == Fault::Final), "{answers:?}");
        connection.execute("ROLLBACK").await.unwrap();
        assert_eq!(database.value("SELECT count(*) FROM numbers"), "0");
    }

    #[tokio::test]
    async fn must_leave_nothing_running_when_it_is_given_up() {
        let database = tenancy_testkit::Postgres::shared().database("given-up");
        let running = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = running();
        let connection = Connection::open(&Target::parse(&database.url()).unwrap(), &[]).await.unwrap();
        let asked = tokio::time::timeout(Duration::from_millis(50), connection.execute("SELECT pg_sleep(30)")).await;
        assert!(asked.is_err() && running() == before + 1);
        drop(connection);
        let gone = async {
            while running() > before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect("before it is answered");
    }

    #[tokio::test]
    async fn must_send_what_is_not_prepared_in_its_place() {
        let database = tenancy_testkit::Postgres::shared().database("unprepared");
        let connection = Connection::open(&Target::parse(&database.url()).unwrap(), &[]).await.unwrap();
        let (first, second) = ("SELECT clock_timestamp(), 1", "SELECT clock_timestamp(), 2");
        connection.prepare([second]).await.unwrap();
        let sent: Vec<Sent<'_, Vec<Row>>> =
            vec![Box::pin(connection.query(first, &[])), Box::pin(connection.query(second, &[]))];
        let times: Vec<Timestamp> = together(sent).await.into_iter().map(|rows| rows.unwrap()[0].get(0)).collect();
        assert!(times[0] < times[1], "{times:?}");
    }

    #[tokio::test]
    async fn must_limit_how_long_it_runs_waits_and_idles() {
        let database = tenancy_testkit::Postgres::shared().database("limits");
        let shown = async |url: &str, settings: &[(&str, String)]| {
            let connection = Connection::open(&Target::parse(url).unwrap(), settings).await.unwrap();
            connection.begin("").await.unwrap();
            let mut shown = Vec::new();
            for (name, value) in settings {
                let rows = connection.query(&format!("SHOW {name}"), &[]).await.unwrap();
                assert_eq!(&rows[0].get::<_, String>(0), value, "{name}");
                shown.push(format!("{name}={value}"));
            }
            shown
        };
        for url in [database.url(), format!("{}?pooler=transaction", database.url())] {
            let keyed = shown(&url, &Target::keyed_settings()).await;
            let limits = ["statement_timeout=10s", "lock_timeout=2s", "idle_in_transaction_session_timeout=5s"];
            assert_eq!(keyed[..3], limits);
            let shared = shown(&url, &Target::shared_settings()).await;
            assert_eq!(shared[..3], limits);
        }
    }
}
