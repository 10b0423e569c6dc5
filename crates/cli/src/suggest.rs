//! What was meant, where a name is not there.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::text;
use crate::listing::List;
use tenancy_core::nearest::nearest;

/// Names that are looked through at most, in each of two requests.
const MAX_LISTED: usize = 100;
/// A slip stands mostly behind so many characters.
const PREFIX_CHARS: usize = 3;

/// Adds the nearest name to the failure of a tenant or an organization that is not there.
pub async fn suggest(client: &Client, failure: Failure) -> Failure {
    let Some((list, field, name)) = missing(&failure) else { return failure };
    let prefix: String = name.chars().take(PREFIX_CHARS).collect();
    let mut near = near(client, list, field, &name, Some(prefix)).await;
    if near.is_none() {
        near = self::near(client, list, field, &name, None).await;
    }
    let failure = if failure.next.is_none() { failure.and_type(&format!("get {list}")) } else { failure };
    match near {
        Some(near) => Failure { message: format!("{}; did you mean {near:?}?", failure.message), ..failure },
        None => failure,
    }
}

/// The list in which a name should stand, the field it stands in, and the name.
fn missing(failure: &Failure) -> Option<(&'static str, &'static str, String)> {
    if failure.exit != Exit::NotFound {
        return None;
    }
    let lists = [("tenant", "tenants", "tenant_id"), ("organization", "organizations", "organization_id")];
    lists.into_iter().find_map(|(kind, list, field)| {
        let quoted = failure.message.strip_prefix("there is no ")?.strip_prefix(kind)?.trim_start();
        // A sentence that goes on behind the name has suggested one.
        Some((list, field, serde_json::from_str(quoted).ok()?))
    })
}

async fn near(client: &Client, list: &str, field: &str, name: &str, q: Option<String>) -> Option<String> {
    let segments = [list];
    // Whoever may not list hears no names.
    let rows = List::of(&segments).filter("q", q).at_most(Some(MAX_LISTED)).all(client).await.ok()?;
    nearest(name, rows.iter().filter_map(|row| text(row, field))).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_know_which_name_is_missing_and_leave_what_is_answered() {
        let of = |message: &str| missing(&Failure::new(Exit::NotFound, message));
        let tenant = Some(("tenants", "tenant_id", "acme-ue".to_owned()));
        assert_eq!(of("there is no tenant \"acme-ue\""), tenant);
        assert_eq!(of("there is no organization \"acem\"").map(|(list, ..)| list), Some("organizations"));
        assert_eq!(of("there is no tenant \"acme-ue\"; did you mean \"acme-eu\"?"), None);
        assert_eq!(of("there is no job \"job_1\""), None);
    }
}
