//! Paging through lists.

use crate::client::Client;
use crate::failure::Failure;
use reqwest::Method;
use serde_json::Value;

/// Items asked for at once.
const PAGE_ITEMS: usize = 200;
/// Most pages that are looked through for one thing: beyond, a list is no way to find it.
pub const MAX_SEARCHED_ITEMS: usize = 10_000;

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
    pub async fn pages(
        &self,
        client: &Client,
        mut each: impl FnMut(Vec<Value>) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let mut after: Option<String> = None;
        let mut left = self.limit.unwrap_or(usize::MAX);
        while left > 0 {
            let mut request = client.v1(Method::GET, self.segments).query("limit", left.min(PAGE_ITEMS).to_string());
            for (name, value) in &self.query {
                request = request.query(name, value.clone());
            }
            let mut answer = request.query_if("after", after.take()).send().await?;
            let Value::Array(mut items) = answer.body["items"].take() else {
                return Err(client.no_tenancy());
            };
            items.truncate(left);
            left -= items.len();
            after = answer.body["next"].as_str().map(str::to_owned);
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
    pub async fn all(&self, client: &Client) -> Result<Vec<Value>, Failure> {
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
    pub async fn find(self, client: &Client, wanted: impl Fn(&Value) -> bool) -> Result<Option<Value>, Failure> {
        let mut found = None;
        let bounded = Self { limit: Some(MAX_SEARCHED_ITEMS), ..self };
        bounded
            .pages(client, |items| {
                found = items.into_iter().find(|item| wanted(item));
                Ok(found.is_none())
            })
            .await?;
        Ok(found)
    }
}
