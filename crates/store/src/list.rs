//! Lists: keyset pagination, so that a page costs the same however far one has paged.

use crate::Store;
use crate::page::{Listed, MAX_PAGE_BYTES, MAX_PAGE_ITEMS, Page};
use crate::rows::{Corrupt, Record, Type, Value, size};
use crate::sql::Sql;
use tenancy_core::json::{Pointer, hex};
use tenancy_core::{Error, Violation};

/// A cursor: opaque text, which says of which list it is.
pub fn cursor(list: &str, place: &str) -> String {
    hex(format!("{list}:{place}").as_bytes())
}

/// The place that a cursor of this list names.
pub fn place(list: &str, page: &Page) -> Result<Option<String>, Error> {
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

/// The error of a cursor that is none.
pub fn bad_cursor(message: &str) -> Error {
    Error::Invalid(vec![Violation::at(&Pointer::root().key("after"), "bad_cursor", format!("after {message}"))])
}

/// How many items the page has at most.
pub fn limit(page: &Page) -> usize {
    page.limit.clamp(1, MAX_PAGE_ITEMS)
}

impl Store {
    /// Runs a list of whole records: one more than the page holds says whether there is a next one. Where the rows were too
    /// large for one page, there may be.
    pub(crate) async fn list<R: Record>(
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
    pub(crate) async fn page(
        &self,
        mut sql: Sql,
        types: Vec<Type>,
        page: &Page,
    ) -> Result<(Vec<Vec<Value>>, bool), Error> {
        sql.most_bytes = MAX_PAGE_BYTES;
        let rows = self.rows(sql, types).await?;
        let more = rows.len() > limit(page) || rows.iter().map(|row| size(row)).sum::<usize>() >= MAX_PAGE_BYTES;
        Ok((rows, more))
    }

    pub(crate) fn select<R: Record>(&self) -> Sql {
        Sql::new(self.dialect(), R::TABLE.select(self.dialect()))
    }
}

/// The number that a place is.
pub fn number(text: Option<String>) -> Result<Option<i64>, Error> {
    text.map(|text| text.parse().map_err(|_| bad_cursor("is no cursor: send `next` as it came"))).transpose()
}

/// The error of a row that is not as it must be.
pub fn corrupt(error: Corrupt) -> Error {
    Error::Internal(error.to_string())
}
