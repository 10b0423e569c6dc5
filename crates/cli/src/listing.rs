//! Reads lists page by page.

use crate::client::Client;
use crate::failure::Failure;
use crate::terminal::{plain, remark};
use crate::wire::Received;
use reqwest::Method;
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Items per page.
const PAGE_ITEMS: usize = 200;
/// Maximum number of items to search for one item.
pub const MAX_SEARCHED_ITEMS: usize = 10_000;

/// A page with its items as received.
type Page<T> = tenancy_api::List<Received<T>>;

/// A request for a list, with filters.
pub struct List<'a> {
    /// Path under `/v1`.
    pub segments: &'a [&'a str],
    /// Query parameters.
    pub query: Vec<(&'static str, String)>,
    /// Maximum number of items of all pages together.
    pub limit: Option<usize>,
    /// Number of rows that the server could not read.
    unreadable: AtomicUsize,
}

impl<'a> List<'a> {
    /// Creates a request for a whole list.
    pub fn of(segments: &'a [&'a str]) -> Self {
        Self { segments, query: Vec::new(), limit: None, unreadable: AtomicUsize::new(0) }
    }

    /// Adds a filter if there is a value.
    #[must_use]
    pub fn filter(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        self.query.extend(value.map(|value| (name, value.into())));
        self
    }

    /// Limits the number of items.
    #[must_use]
    pub fn at_most(mut self, limit: Option<usize>) -> Self {
        self.limit = limit;
        self
    }

    /// Says on standard error that a row is left out, and why.
    pub fn note(&self, id: &str, why: &str) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
        remark(&format!("{} is left out: {}", plain(id), plain(why)));
    }

    /// Returns how many rows were left out.
    pub fn left_out(&self) -> usize {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Calls `each` with every page until it returns `false`. Returns whether the list has more items.
    ///
    /// # Errors
    /// Fails if a request or `each` fails.
    pub async fn pages<T: DeserializeOwned>(
        &self,
        client: &Client,
        mut each: impl FnMut(Vec<Received<T>>) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let mut after: Option<String> = None;
        let mut left = self.limit.unwrap_or(usize::MAX);
        while left > 0 {
            let mut request = client.v1(Method::GET, self.segments).query("limit", left.min(PAGE_ITEMS).to_string());
            for (name, value) in &self.query {
                request = request.query(name, value.clone());
            }
            let page = request.query_if("after", after.take()).receive::<Page<T>>().await?.value;
            let mut items = page.items;
            items.truncate(left);
            left -= items.len();
            after = page.next;
            for row in page.unreadable {
                self.note(&row.id, &format!("the server cannot read {}", row.place));
            }
            if !each(items)? {
                return Ok(true);
            }
            if after.is_none() {
                return Ok(false);
            }
        }
        Ok(after.is_some())
    }

    /// Returns all items, up to the limit.
    ///
    /// # Errors
    /// Fails as [`List::pages`] does.
    pub async fn all<T: DeserializeOwned>(&self, client: &Client) -> Result<Vec<Received<T>>, Failure> {
        let mut all = Vec::new();
        self.pages(client, |items| {
            all.extend(items);
            Ok(true)
        })
        .await?;
        Ok(all)
    }

    /// Returns the first matching item among the first `MAX_SEARCHED_ITEMS`.
    ///
    /// # Errors
    /// Fails as [`List::pages`] does.
    pub async fn find<T: DeserializeOwned>(
        self,
        client: &Client,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Option<Received<T>>, Failure> {
        let mut found = None;
        let bounded = Self { limit: Some(MAX_SEARCHED_ITEMS), ..self };
        bounded
            .pages(client, |items| {
                found = items.into_iter().find(|item: &Received<T>| wanted(&item.value));
                Ok(found.is_none())
            })
            .await?;
        Ok(found)
    }
}
