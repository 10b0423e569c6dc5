//! Lists with keyset pagination: the cost of a page does not depend on its distance from the start.

use crate::Store;
use crate::elsewhere::{MAX_ROWS_INLINE, elsewhere};
use crate::page::{Listed, MAX_PAGE_BYTES, MAX_PAGE_ITEMS, Page, Unreadable};
use crate::rows::{Corrupt, Record, Type, Value, size};
use crate::sql::Sql;
use tenancy_core::Error;
use tenancy_core::json::hex;

/// Builds a cursor: opaque text that names its list.
pub fn cursor(list: &str, place: &str) -> String {
    hex(format!("{list}:{place}").as_bytes())
}

/// Decodes the place in a cursor of this list.
pub fn place(list: &str, page: &Page) -> Result<Option<String>, Error> {
    let Some(text) = &page.after else { return Ok(None) };
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
    let bytes: Option<Vec<_>> = text.as_bytes().chunks(2).map(byte).collect();
    // PostgreSQL text cannot contain U+0000, so no place in a list contains it.
    let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.contains('\0'));
    match place.as_deref().and_then(|text| text.strip_prefix(list)?.strip_prefix(':')) {
        Some(place) => Ok(Some(place.to_owned())),
        None => Err(bad_cursor("is not a cursor of this list: pass `next` of the previous page unchanged")),
    }
}

/// Error of an invalid cursor.
pub fn bad_cursor(message: &str) -> Error {
    Error::Malformed(format!("query parameter after {message}"))
}

/// Maximum number of items on the page.
pub fn limit(page: &Page) -> usize {
    page.limit.clamp(1, MAX_PAGE_ITEMS)
}

impl Store {
    /// Runs a list of whole records, which is ordered by `column`. It reads one row more than fits on the page, to find out
    /// whether there is a next page. If the rows were too large for one page, a next page is assumed.
    pub(crate) async fn list<R: Record + Send + 'static>(
        &self,
        name: &str,
        sql: Sql,
        page: &Page,
        column: &str,
    ) -> Result<Listed<R>, Error> {
        let types: Vec<_> = R::TABLE.columns.iter().map(|column| column.ty).collect();
        let (mut rows, more) = self.page(sql, types, page).await?;
        rows.truncate(limit(page));
        let last = rows.last().filter(|_| more).and_then(|row| text_of(row.get(R::TABLE.index(column)?)?));
        let next = last.map(|place| cursor(name, &place));
        let (items, unreadable) = converted(rows, readable).await?;
        Ok(Listed { items, unreadable, next })
    }

    /// Same as [`Store::list`], for a table with a sealed column, which is opened.
    pub(crate) async fn list_sealed<R: Record + Send + 'static>(
        &self,
        name: &str,
        sql: Sql,
        page: &Page,
        column: &str,
    ) -> Result<Listed<R>, Error> {
        let types: Vec<_> = R::TABLE.columns.iter().map(|column| column.ty).collect();
        let (mut rows, more) = self.page(sql, types, page).await?;
        rows.truncate(limit(page));
        let last = rows.last().filter(|_| more).and_then(|row| text_of(row.get(R::TABLE.index(column)?)?));
        let next = last.map(|place| cursor(name, &place));
        let keys = self.keys_of_rows(R::TABLE, &rows).await?;
        let (items, unreadable) = converted(rows, move |rows| keys.read(rows)).await?;
        Ok(Listed { items, unreadable, next })
    }

    /// Returns the rows of a page up to the size limit, and whether there may be more.
    pub(crate) async fn page(
        &self,
        mut sql: Sql,
        types: Vec<Type>,
        page: &Page,
    ) -> Result<(Vec<Vec<Value>>, bool), Error> {
        sql.most_bytes = MAX_PAGE_BYTES;
        let rows = self.list_rows(sql, types).await?;
        let more = rows.len() > limit(page) || rows.iter().map(|row| size(row)).sum::<usize>() >= MAX_PAGE_BYTES;
        Ok((rows, more))
    }

    pub(crate) fn select<R: Record>(&self) -> Sql {
        Sql::new(self.dialect(), R::TABLE.select(self.dialect()))
    }
}

/// Converts the rows of a page. If there are many, another thread does it.
///
/// # Errors
/// [`Error::Internal`] if the conversion panics.
pub async fn converted<T: Send + 'static>(
    rows: Vec<Vec<Value>>,
    convert: impl FnOnce(Vec<Vec<Value>>) -> T + Send + 'static,
) -> Result<T, Error> {
    if rows.len() <= MAX_ROWS_INLINE {
        return Ok(convert(rows));
    }
    elsewhere(None, move || Ok(convert(rows))).await
}

/// Parses a place as a number.
pub fn number(text: Option<String>) -> Result<Option<i64>, Error> {
    text.map(|text| text.parse().map_err(|_| bad_cursor("is not a cursor: pass `next` of the previous page unchanged")))
        .transpose()
}

/// Error of a row that does not match its description.
pub fn corrupt(error: Corrupt) -> Error {
    tracing::error!(%error, "a row cannot be read");
    Error::Unreadable(error.place().to_owned())
}

/// Reads rows. One that cannot be read does not keep others from being read; it is logged.
pub fn readable<R: Record>(rows: Vec<Vec<Value>>) -> (Vec<R>, Vec<Unreadable>) {
    let (mut records, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let key = R::TABLE.key.iter().filter_map(|name| text_of(row.get(R::TABLE.index(name)?)?));
        let id = key.collect::<Vec<_>>().join("/");
        match R::from_values(row) {
            Ok(record) => records.push(record),
            Err(error) => unreadable.push(unread(id, &error)),
        }
    }
    (records, unreadable)
}

/// Logs and describes a row that cannot be read.
pub fn unread(id: String, error: &Corrupt) -> Unreadable {
    tracing::error!(id, %error, "a row cannot be read");
    Unreadable { id, place: error.place().to_owned() }
}

/// Returns a value of a key or an order as text.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}
