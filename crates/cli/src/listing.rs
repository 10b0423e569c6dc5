//! Paging through lists.

use crate::client::Client;
use crate::failure::Failure;
use crate::wire::Received;
use reqwest::Method;
use serde::de::DeserializeOwned;

/// Items asked for at once.
const PAGE_ITEMS: usize = 200;
/// Most pages that are looked through for one thing: beyond, a list is no way to find it.
pub const MAX_SEARCHED_ITEMS: usize = 10_000;

/// A page with its items as they came.
type Page<T> = tenancy_api::List<Received<T>>;

/// A list, with its filters.
pub struct List<'a> {
    /// Under `/v1`.
    pub segments: &'a [&'a str],
    /// Filters.
    pub query: Vec<(&'static str, String)>,
    /// Most items, over all pages.
    pub limit: Option<usize>,
}

impl<'a> List<'a> {
    /// All of a list.
    pub fn of(segments: &'a [&'a str]) -> Self {
        Self { segments, query: Vec::new(), limit: None }
    }

    /// With a filter, if there is a value.
    #[must_use]
    pub fn filter(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        self.query.extend(value.map(|value| (name, value.into())));
        self
    }

    /// With at most so many items.
    #[must_use]
    pub fn at_most(mut self, limit: Option<usize>) -> Self {
        self.limit = limit;
        self
    }

    /// Hands over page after page, as they come; `each` says whether to go on. Answers whether more was there.
    ///
    /// # Errors
    /// What the server says, and what `each` does.
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
            if !each(items)? {
                return Ok(true);
            }
            if after.is_none() {
                return Ok(false);
            }
        }
        Ok(after.is_some())
    }

    /// All items, up to the limit.
    ///
    /// # Errors
    /// As [`List::pages`].
    pub async fn all<T: DeserializeOwned>(&self, client: &Client) -> Result<Vec<Received<T>>, Failure> {
        let mut all = Vec::new();
        self.pages(client, |items| {
            all.extend(items);
            Ok(true)
        })
        .await?;
        Ok(all)
    }

    /// The first item that is wanted, among a bounded number of them.
    ///
    /// # Errors
    /// As [`List::pages`].
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
