//! Connections to the SQLite file, the lock on the file, and conversion of values.

use crate::rows::{Type, Value, size};
use crate::sql::{Bound, Sql};
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Statement, ToSql};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use tenancy_core::Error;
use tenancy_core::decision_context::from_microseconds;

/// How long a connection waits for a lock of another connection. Readers never wait for the writer; this is for
/// checkpoints.
pub const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Number of pages of 4 KiB that the write-ahead log collects before a checkpoint.
const CHECKPOINT_PAGES: i64 = 10_000;

/// Size of the writer's page cache, in KiB. With SQLite's default of 2,000 the writer spends a tenth of its time
/// reading pages again that it has written. A much larger cache is no better: after a page split, SQLite scans the
/// whole cache at each commit.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// Opens the file for writing. Creates it if it does not exist.
pub fn open(path: &Path) -> Result<Connection, Error> {
    make(path)?;
    let connection = Connection::open(path).map_err(|error| failed(&error))?;
    configure(&connection).map_err(|error| failed(&error))?;
    Ok(connection)
}

/// Opens a file that is already open for writing, for writes that may be lost in a power failure. Commits do not wait
/// for the disk and run no checkpoint. The next commit of the other connection makes them durable.
pub fn open_unsynced(path: &Path) -> Result<Connection, Error> {
    let unsynced = || {
        let connection = Connection::open(path)?;
        configure(&connection)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(connection)
    };
    unsynced().map_err(|error| failed(&error))
}

/// Writes the write-ahead log to the file and empties it. Returns `false` if a reader still needs it.
pub fn empty_log(connection: &Connection, patience: std::time::Duration) -> rusqlite::Result<bool> {
    connection.busy_timeout(patience)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    connection.busy_timeout(BUSY_TIMEOUT)?;
    busy.map(|busy| busy == 0)
}

/// Creates the file with access for its owner only, if it does not exist. SQLite gives the files that it creates beside
/// it the same mode.
pub fn make(path: &Path) -> Result<(), Error> {
    let made = private(OpenOptions::new().append(true).create(true)).open(path);
    made.map(drop).map_err(|error| Error::NotNow(format!("{} cannot be opened: {error}", path.display())))
}

/// Creates a new file with access for its owner only.
///
/// # Errors
/// [`Error::NotNow`] when it exists or cannot be created.
pub fn make_new(path: &Path) -> Result<(), Error> {
    let made = private(OpenOptions::new().write(true).create_new(true)).open(path);
    made.map(drop).map_err(|error| Error::NotNow(format!("{} cannot be created: {error}", path.display())))
}

/// Resolves links to the one path of the file, and creates the file if it does not exist. The lock and SQLite's files
/// beside it are found by this path. (An existing file is not opened before it is locked: closing it again would drop
/// the locks that SQLite has on it in this process.)
///
/// # Errors
/// [`Error::NotNow`] when the file has several hard links: another process could have it open by another path.
pub fn place(path: &Path) -> Result<PathBuf, Error> {
    if !path.exists() {
        make(path)?;
    }
    let cannot = |error: std::io::Error| Error::NotNow(format!("{} cannot be opened: {error}", path.display()));
    let place = path.canonicalize().map_err(cannot)?;
    #[cfg(unix)]
    {
        let names = std::os::unix::fs::MetadataExt::nlink(&place.metadata().map_err(cannot)?);
        if names > 1 {
            return Err(Error::NotNow(format!(
                "{} has {names} names (hard links), so another process could open it by another name: copy it, or \
                 remove the other names",
                place.display()
            )));
        }
    }
    Ok(place)
}

/// Restricts new files to their owner.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Opens the file for inspection, even if another process has it open, and leaves no files behind. If there is no
/// write-ahead log beside it, no process is using it. Then it is opened as immutable, because SQLite would otherwise
/// create a write-ahead log that stays.
pub fn open_to_look(path: &Path) -> Result<Connection, Error> {
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let beside = |end: &str| PathBuf::from(format!("{}{end}", place.display())).exists();
    if beside("-wal") || beside("-journal") {
        return open_reader(&place);
    }
    let coded = place.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{coded}?immutable=1"), flags).map_err(|error| failed(&error))
}

/// Opens the file for reading only.
pub fn open_reader(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| failed(&error))?;
    keyed(&connection).map_err(|error| failed(&error))?;
    Ok(connection)
}

/// Sets the statement cache of a connection, and keeps plans independent of bound values. (Otherwise SQLite plans some
/// statements again at each execution, once it has statistics.)
fn keyed(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    keyed(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit is on the disk before it is answered.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Frequently changed pages are written to the file once for many commits.
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // Negative: KiB instead of pages.
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Deleted content is overwritten with zeros, so that a purge leaves nothing in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    // Without it, REPLACE would delete rows without firing the triggers that forbid it.
    connection.pragma_update(None, "recursive_triggers", true)
}

/// Logs the error text. The caller learns only that nothing has changed.
pub fn failed(error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, SystemIoFailure};
    let code = error.sqlite_error_code();
    let away = [CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, SystemIoFailure];
    if code.is_some_and(|code| away.contains(&code)) {
        tracing::error!(%error, "SQLite cannot read or write the file");
        return Error::Unavailable;
    }
    Error::Internal(format!("SQLite: {error}"))
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(rusqlite::types::Value::Null),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::Float(number) => ToSqlOutput::Borrowed(ValueRef::Real(*number)),
            Self::Bool(flag) => ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*flag))),
            Self::Time(time) => ToSqlOutput::Borrowed(ValueRef::Integer(time.as_microsecond())),
        })
    }
}

impl ToSql for Bound {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::One(value) => value.to_sql(),
            Self::Column(..) => Err(rusqlite::Error::ToSqlConversionFailure("SQLite has no arrays".into())),
        }
    }
}

/// Converts a value of a column of this type.
fn value(raw: ValueRef<'_>, ty: Type) -> rusqlite::Result<Value> {
    Ok(match (raw, ty) {
        (ValueRef::Null, _) => Value::Null,
        (ValueRef::Integer(number), Type::Bool) => Value::Bool(number != 0),
        (ValueRef::Integer(number), Type::Time) => from_microseconds(number).map_or(Value::Int(number), Value::Time),
        (ValueRef::Integer(number), _) => Value::Int(number),
        (ValueRef::Real(number), _) => Value::Float(number),
        // Bytes that are no text are shown as far as they are: they must not take other rows with them.
        (text, _) => Value::Text(String::from_utf8_lossy(text.as_bytes()?).into_owned()),
    })
}

/// Runs a query whose columns have these types.
pub fn rows(
    connection: &Connection,
    sql: &str,
    params: &[impl ToSql],
    types: &[Type],
) -> rusqlite::Result<Vec<Vec<Value>>> {
    rows_of(&mut *connection.prepare_cached(sql)?, params, types)
}

/// Runs a composed query, up to its size limit.
pub fn rows_within(connection: &Connection, sql: &Sql, types: &[Type]) -> rusqlite::Result<Vec<Vec<Value>>> {
    taken(&mut *connection.prepare_cached(&sql.text)?, &sql.params, types, sql.most_bytes)
}

/// Runs a prepared query.
pub fn rows_of(
    statement: &mut Statement<'_>,
    params: &[impl ToSql],
    types: &[Type],
) -> rusqlite::Result<Vec<Vec<Value>>> {
    taken(statement, params, types, usize::MAX)
}

fn taken(
    statement: &mut Statement<'_>,
    params: &[impl ToSql],
    types: &[Type],
    most_bytes: usize,
) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < most_bytes
        && let Some(row) = rows.next()?
    {
        let values = types.iter().enumerate().map(|(index, ty)| value(row.get_ref(index)?, *ty));
        let values: Vec<_> = values.collect::<rusqlite::Result<_>>()?;
        bytes += size(&values);
        found.push(values);
    }
    Ok(found)
}

/// Lock on a file beside the database that names its holder. It keeps a second process from opening the database.
pub struct FileLock {
    // The lock is released with the file, also when the process is killed.
    _file: File,
}

impl FileLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`Error::NotNow`] that names the holder, when another process has the lock.
    pub fn take(database: &Path) -> Result<Self, Error> {
        let path = PathBuf::from(format!("{}.lock", database.display()));
        let cannot = |error: std::io::Error| {
            let (path, user) =
                (path.display(), "the user of this process must be able to write files in its directory");
            Error::NotNow(format!("{path} cannot be written: {error}; {user}"))
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = private(&mut options).open(&path).map_err(cannot)?;
        if file.try_lock().is_err() {
            let mut holder = String::new();
            // The holder may be writing its name at this moment.
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.trim().is_empty() { "another process".to_owned() } else { holder.trim().to_owned() };
            return Err(Error::NotNow(format!(
                "{} is open in {holder}, and only one process can open a SQLite file: stop the server that runs there first",
                database.display()
            )));
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(cannot)?;
        writeln!(file, "process {}", std::process::id()).map_err(cannot)?;
        Ok(Self { _file: file })
    }
}
