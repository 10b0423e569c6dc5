//! Connections to the file, the lock on it, and values as SQLite has them.

use crate::rows::{Type, Value, size};
use crate::sql::Sql;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Statement, ToSql};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use tenancy_core::{Error, Timestamp};

/// How long a connection waits for another's lock: readers never wait for the writer, so this is for checkpoints.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// How many pages of 4 KiB the write-ahead log collects before they go into the file.
const CHECKPOINT_PAGES: i64 = 10_000;

/// How much of the file the one connection that writes keeps in memory, in KiB. With SQLite's own 2,000 the writer spends a tenth of
/// its time on reading again what it has written. Much more is no better: once a page was split, SQLite goes through the whole
/// cache at a commit.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// Opens the file for writing, and makes it if it is not there.
pub fn open(path: &Path) -> Result<Connection, Error> {
    make(path)?;
    let connection = Connection::open(path).map_err(|error| failed(&error))?;
    configure(&connection).map_err(|error| failed(&error))?;
    Ok(connection)
}

/// As [`open`], for a file that is open for writing already, and for what need not outlast the machine's power: no commit waits
/// for the disk, nor brings any page of the log to where it belongs. The next commit of the other connection takes these along.
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

/// Makes the file for its owner alone, if it is not there; SQLite gives what it makes beside it the same mode.
pub fn make(path: &Path) -> Result<(), Error> {
    let made = private(OpenOptions::new().append(true).create(true)).open(path);
    made.map(drop).map_err(|error| Error::NotNow(format!("{} cannot be opened: {error}", path.display())))
}

/// The file's one name, whatever links lead to it; made if it is not there. What stands beside it is found by its name, the lock
/// among it. (One that is there is not opened before it is locked: to close it again would give up the locks that SQLite has on it
/// in this process.)
///
/// # Errors
/// [`Error::NotNow`] when it has several: another process could have it open by another one.
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
                "{} has {names} names (hard links), and another process could open it by another one: copy it, or remove the \
                 other names",
                place.display()
            )));
        }
    }
    Ok(place)
}

/// What is made with these options is for its owner alone.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Opens the file to look at it, whoever has it open, and leaves nothing behind. Where nothing is beside it, nobody is at work on
/// it: then it is read as it stands, since else a log to write ahead to would be made and stay.
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

/// What every connection keeps: its statements, and their plans whatever is bound to them. (Otherwise SQLite plans some
/// anew at each execution, once it has statistics.)
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
    // Hot pages are written into the file once for many commits, and not for every few.
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // Negative: KiB and not pages.
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Without it, REPLACE would delete rows past the triggers that forbid it.
    connection.pragma_update(None, "recursive_triggers", true)
}

/// The sentence for a person is in the log; the caller learns that nothing has changed.
pub fn failed(error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, SystemIoFailure};
    let code = error.sqlite_error_code();
    let away = [CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, SystemIoFailure];
    if code.is_some_and(|code| away.contains(&code)) {
        tracing::error!(%error, "SQLite is not available");
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

/// A value of a column of this type.
fn value(raw: ValueRef<'_>, ty: Type) -> rusqlite::Result<Value> {
    Ok(match (raw, ty) {
        (ValueRef::Null, _) => Value::Null,
        (ValueRef::Integer(number), Type::Bool) => Value::Bool(number != 0),
        (ValueRef::Integer(number), Type::Time) => {
            Timestamp::from_microsecond(number).map_or(Value::Int(number), Value::Time)
        }
        (ValueRef::Integer(number), _) => Value::Int(number),
        (ValueRef::Real(number), _) => Value::Float(number),
        (text, _) => Value::Text(text.as_str()?.to_owned()),
    })
}

/// Runs a query whose columns have these types.
pub fn rows(connection: &Connection, sql: &str, params: &[Value], types: &[Type]) -> rusqlite::Result<Vec<Vec<Value>>> {
    rows_of(&mut *connection.prepare_cached(sql)?, params, types)
}

/// Runs a query that was put together from conditions, within its bytes.
pub fn rows_within(connection: &Connection, sql: &Sql, types: &[Type]) -> rusqlite::Result<Vec<Vec<Value>>> {
    taken(&mut *connection.prepare_cached(&sql.text)?, &sql.params, types, sql.most_bytes)
}

/// Runs a query that is prepared.
pub fn rows_of(statement: &mut Statement<'_>, params: &[Value], types: &[Type]) -> rusqlite::Result<Vec<Vec<Value>>> {
    taken(statement, params, types, usize::MAX)
}

fn taken(
    statement: &mut Statement<'_>,
    params: &[Value],
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

/// A lock on the file beside the database, which names its holder: one process per file.
pub struct FileLock {
    // The lock goes with the file; a process that is killed gives it up.
    _file: File,
}

impl FileLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`Error::NotNow`] with the holder when another process has it.
    pub fn take(database: &Path) -> Result<Self, Error> {
        let path = PathBuf::from(format!("{}.lock", database.display()));
        let cannot = |error: std::io::Error| Error::NotNow(format!("{} cannot be locked: {error}", path.display()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = private(&mut options).open(&path).map_err(cannot)?;
        if file.try_lock().is_err() {
            let mut holder = String::new();
            // Whoever holds it may be writing its name this moment.
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.trim().is_empty() { "another process".to_owned() } else { holder.trim().to_owned() };
            return Err(Error::NotNow(format!(
                "{} is open in {holder}: one process per SQLite file; stop that one, or use another --data-dir",
                database.display()
            )));
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(cannot)?;
        writeln!(file, "process {}", std::process::id()).map_err(cannot)?;
        Ok(Self { _file: file })
    }
}
