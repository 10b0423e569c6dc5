//! Suggests the nearest name if a tenant or an organization does not exist.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{ORGANIZATIONS, TENANTS};
use crate::listing::List;
use crate::output::Kind;
use serde::de::DeserializeOwned;
use tenancy_core::nearest::nearest;

/// Maximum number of names in each of two requests.
const MAX_LISTED: usize = 100;
/// Length of the prefix of the first request. Typing errors are mostly behind the first characters.
const PREFIX_CHARS: usize = 3;

/// Adds the nearest name to the failure if a tenant or an organization does not exist.
pub async fn suggest(client: &Client, failure: Failure) -> Failure {
    let Some((list, name)) = missing(&failure) else { return failure };
    let prefix: String = name.chars().take(PREFIX_CHARS).collect();
    let mut near = near(client, list, &name, Some(prefix)).await;
    if near.is_none() {
        near = self::near(client, list, &name, None).await;
    }
    let failure = if failure.next.is_none() { failure.and_type(&format!("get {}", list.plural())) } else { failure };
    match near {
        Some(near) => Failure { message: format!("{}; did you mean {near:?}?", failure.message), ..failure },
        None => failure,
    }
}

/// A list with names to suggest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Tenants,
    Organizations,
}

impl Names {
    fn plural(self) -> &'static str {
        match self {
            Self::Tenants => TENANTS.plural,
            Self::Organizations => ORGANIZATIONS.plural,
        }
    }
}

/// Returns the missing name and the list to search, if the failure is about a tenant or an organization.
fn missing(failure: &Failure) -> Option<(Names, String)> {
    if failure.exit != Exit::NotFound {
        return None;
    }
    let lists = [("tenant", Names::Tenants), ("organization", Names::Organizations)];
    lists.into_iter().find_map(|(kind, list)| {
        let quoted = failure.message.strip_prefix("there is no ")?.strip_prefix(kind)?.trim_start();
        // If the sentence continues after the name, the server has already suggested a name.
        Some((list, serde_json::from_str(quoted).ok()?))
    })
}

async fn near(client: &Client, list: Names, name: &str, q: Option<String>) -> Option<String> {
    let names = match list {
        Names::Tenants => names(client, &TENANTS, q).await,
        Names::Organizations => names(client, &ORGANIZATIONS, q).await,
    };
    nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

/// Returns some names of a list; none if the request fails, such as for a missing permission.
async fn names<T: DeserializeOwned>(client: &Client, kind: &Kind<T>, q: Option<String>) -> Vec<String> {
    let segments = [kind.plural];
    let rows = List::of(&segments).filter("q", q).at_most(Some(MAX_LISTED)).all::<T>(client).await;
    rows.unwrap_or_default().iter().map(|row| (kind.name)(&row.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_find_the_missing_name_unless_the_server_suggested_one() {
        let of = |message: &str| missing(&Failure::new(Exit::NotFound, message));
        let tenant = Some((Names::Tenants, "acme-ue".to_owned()));
        assert_eq!(of("there is no tenant \"acme-ue\""), tenant);
        assert_eq!(of("there is no organization \"acem\"").map(|(list, ..)| list), Some(Names::Organizations));
        assert_eq!(of("there is no tenant \"acme-ue\"; did you mean \"acme-eu\"?"), None);
        assert_eq!(of("there is no job \"job_1\""), None);
    }
}
