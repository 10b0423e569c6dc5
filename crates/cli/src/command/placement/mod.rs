//! `placement`: lists, cordons and deletes placements.

pub mod cordon;
pub mod delete;
pub mod list;

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{column, joined};
use crate::output::Kind;
use crate::table::Cell;
use crate::time::age;
use crate::wire::Received;
use tenancy_api::document::Address;
use tenancy_api::placement::Placement;
use tenancy_api::word::Word;

/// What a placement without a list of profiles or isolation levels takes.
const ALL: &str = "all";

/// Placements.
pub const PLACEMENTS: Kind<Placement<'static>> = Kind {
    plural: "placements",
    name: |p| p.name.to_string(),
    columns: &[
        column!("PLACEMENT", |p, _| Cell::new(&*p.name)),
        column!("PLACES", |p, _| Cell::new(p.place_kind.as_str())),
        column!("REGION", |p, _| Cell::new(&*p.region)),
        column!("PROFILES", |p, _| Cell::new(all_or(p.profiles.iter().map(Word::as_str)))),
        column!("ISOLATION", |p, _| Cell::new(all_or(p.isolation_levels.iter().map(Word::as_str)))),
        column!("MAXIMUM", |p, _| Cell::maybe(p.max_environments.map(|most| most.to_string()))),
        column!("CORDONED", |p, _| Cell::new(yes_or_no(p.cordoned))),
        column!("AGE", |p, now| Cell::new(age(p.created_at, now))),
        column!("ADDRESS", wide, |p, _| Cell::maybe(p.address.as_ref().map(address))),
        column!("VERSION", wide, |p, _| Cell::new(p.version.to_string())),
    ],
};

/// Returns a placement.
///
/// # Errors
/// Fails if the request fails.
async fn find(client: &Client, name: &str) -> Result<Received<Placement<'static>>, Failure> {
    client.get(&["placements", name]).await.map_err(|failure| match failure.exit {
        Exit::NotFound => failure.and_type("placement list"),
        _ => failure,
    })
}

fn all_or<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words = joined(words);
    if words.is_empty() { ALL.to_owned() } else { words }
}

fn yes_or_no(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

fn address(address: &Address) -> String {
    format!("{}:{}", address.host, address.port)
}
