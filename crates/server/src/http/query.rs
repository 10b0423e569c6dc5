//! Query parameters. Handlers read each parameter by name; a parameter that no handler reads is refused, with the
//! nearest known name.

use super::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tenancy_core::document::one_of;
use tenancy_core::nearest::nearest;
use tenancy_core::{Error, Timestamp};
use tenancy_store::page::{DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS, Page};

/// Query parameters of a request.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // The decoder replaces what is not UTF-8 by U+FFFD, and the filter would then find something else.
        if !is_utf8(parts.uri.query().unwrap_or_default()) {
            return Err(Error::Malformed("The query must be percent-encoded UTF-8 (RFC 3986).".to_owned()).into());
        }
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let pairs = pairs.map_err(|bad| Error::Malformed(bad.body_text()))?.0;
        // No valid text contains it, and PostgreSQL accepts no text that does.
        if pairs.iter().any(|(_, value)| value.contains('\0')) {
            return Err(Error::Malformed("The query must not contain U+0000.".to_owned()).into());
        }
        Ok(Self { pairs, known: Vec::new() })
    }
}

/// Whether the bytes that the percent-encoding stands for are UTF-8.
fn is_utf8(query: &str) -> bool {
    if !query.contains('%') {
        return true;
    }
    let mut bytes = Vec::with_capacity(query.len());
    let mut rest = query.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// Extractor that refuses all query parameters.
pub struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::from_request_parts(parts, state).await?.no_others()?;
        Ok(Self)
    }
}

fn bad(name: &str, what: impl std::fmt::Display) -> Error {
    Error::Malformed(format!("query parameter {name} {what}"))
}

impl Query {
    /// Returns every value of a parameter.
    pub fn all(&mut self, name: &'static str) -> impl Iterator<Item = &str> {
        self.known.push(name);
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of a parameter that may occur once.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the parameter occurs more than once, or has no value: an empty filter must not select
    /// everything.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        match self.once(name)? {
            Some(value) if value.is_empty() => Err(bad(name, "must have a value")),
            value => Ok(value),
        }
    }

    fn once(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        let mut values = self.all(name);
        let value = values.next().map(str::to_owned);
        if values.next().is_some() { Err(bad(name, "must not occur more than once")) } else { Ok(value) }
    }

    /// Returns every item of a parameter that may be repeated, and whose values may be lists separated by commas.
    ///
    /// # Errors
    /// [`Error::Malformed`] if an item is empty.
    pub fn list(&mut self, name: &'static str) -> Result<Vec<String>, Error> {
        let items: Vec<_> =
            self.all(name).flat_map(|value| value.split(',')).map(|item| item.trim().to_owned()).collect();
        if items.iter().any(String::is_empty) { Err(bad(name, "must have a value")) } else { Ok(items) }
    }

    /// Returns one word of a closed list.
    ///
    /// # Errors
    /// [`Error::Malformed`], with the nearest word.
    pub fn word<T: Copy>(&mut self, name: &'static str, words: &[(&'static str, T)]) -> Result<Option<T>, Error> {
        self.text(name)?.map(|text| word(name, &text, words)).transpose()
    }

    /// Returns any number of words of a closed list.
    ///
    /// # Errors
    /// [`Error::Malformed`], with the nearest word.
    pub fn words<T: Copy>(&mut self, name: &'static str, words: &[(&'static str, T)]) -> Result<Vec<T>, Error> {
        self.list(name)?.iter().map(|text| word(name, text, words)).collect()
    }

    /// Returns a boolean. Absent means false; present without a value means true, so that `?dry_run` never writes.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn flag(&mut self, name: &'static str) -> Result<bool, Error> {
        match self.once(name)?.as_deref() {
            None => Ok(false),
            Some("") => Ok(true),
            Some(text) => word(name, text, &[("true", true), ("false", false)]),
        }
    }

    /// Returns a whole number in the range.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn number(&mut self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let what = || format!("must be a whole number from {} to {}, not {text:?}", range.start(), range.end());
        number.map(Some).ok_or_else(|| bad(name, what()))
    }

    /// Returns a time in RFC 3339 format.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let time = tenancy_core::time::parse(&text).map_err(|what| bad(name, what))?;
        // No time in the database is older than the Unix epoch, and PostgreSQL's earliest time is in 4713 BC.
        if time < Timestamp::UNIX_EPOCH {
            return Err(bad(name, format!("must be a time since 1970, not {text:?}")));
        }
        Ok(Some(time))
    }

    /// Returns the requested page: `limit` and `after`.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn page(&mut self) -> Result<Page, Error> {
        let limit = self.number("limit", 1..=MAX_PAGE_ITEMS as u64)?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_PAGE_ITEMS);
        Ok(Page { after: self.text("after")?, limit })
    }

    /// Refuses all parameters that were not read.
    ///
    /// # Errors
    /// [`Error::Malformed`], with the nearest known name.
    pub fn no_others(&self) -> Result<(), Error> {
        let Some((name, _)) = self.pairs.iter().find(|(name, _)| !self.known.contains(&name.as_str())) else {
            return Ok(());
        };
        let hint = match (nearest(name, self.known.iter().copied()), self.known.as_slice()) {
            (Some(near), _) => format!("; did you mean {near:?}?"),
            (None, []) => "; this route has no query parameters".to_owned(),
            (None, known) => format!("; known parameters: {}", known.join(", ")),
        };
        Err(Error::Malformed(format!("unknown query parameter {name:?}{hint}")))
    }
}

fn word<T: Copy>(name: &'static str, text: &str, words: &[(&'static str, T)]) -> Result<T, Error> {
    let list: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| bad(name, one_of(text, &list)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Query {
        let uri = format!("/x?{text}").parse().expect("a uri");
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).expect("a query");
        Query { pairs: pairs.0, known: Vec::new() }
    }

    #[test]
    fn must_refuse_an_unknown_parameter() {
        let mut query = of("limit=3&stat=Active");
        assert_eq!(query.page().map(|page| page.limit), Ok(3));
        assert_eq!(query.text("state"), Ok(None));
        let refused = query.no_others().expect_err("unknown").to_string();
        assert!(refused.contains("did you mean \"state\""), "{refused}");
    }

    #[test]
    fn must_read_each_kind() {
        let mut query = of("allow=a,b&allow=c&dry_run=true&since=2026-11-23T08:00:00Z&limit=501");
        assert_eq!(query.list("allow"), Ok(["a", "b", "c"].map(str::to_owned).to_vec()));
        assert_eq!(query.flag("dry_run"), Ok(true));
        assert!(query.time("since").expect("a time").is_some());
        assert!(query.page().is_err());
        assert_eq!(query.no_others(), Ok(()));
        assert!(of("since=yesterday").time("since").is_err());
        assert!(of("a=1&a=2").text("a").is_err());
        for text in ["dry_run", "dry_run="] {
            assert_eq!(of(text).flag("dry_run"), Ok(true), "a flag without a value is set: {text}");
        }
        for text in ["q", "q=", "limit=", "since=", "allow=", "allow=a,"] {
            let (mut query, name) = (of(text), text.split('=').next().expect("a name"));
            let refused = match name {
                "q" => query.text("q").map(drop),
                "limit" => query.number("limit", 1..=9).map(drop),
                "since" => query.time("since").map(drop),
                _ => query.list("allow").map(drop),
            };
            assert!(refused.is_err(), "an empty value is not the absence of a filter: {text}");
        }
        for (query, good) in [("q=%C3%A9", true), ("q=%ff", false), ("q=%C3", false), ("q=%zz", true), ("q=é", true)] {
            assert_eq!(is_utf8(query), good, "{query}");
        }
        assert!(of("order=up").word("order", &[("asc", ()), ("desc", ())]).is_err());
    }
}
