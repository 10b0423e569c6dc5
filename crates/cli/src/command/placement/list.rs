//! `placement list` and `placement describe`

use super::{PLACEMENTS, address, all_or, find, yes_or_no};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::listing;
use crate::output::{Format, Output, Printer, one};
use crate::table::{Cell, Table};
use crate::terminal::{colours, write};
use crate::time::{age, short};
use clap::Args;
use jiff::Timestamp;
use tenancy_api::placement::Placement;
use tenancy_api::word::Word;

const LIST: &str = "\
Examples:
  tenancy placement list
  tenancy placement list -o json

A placement is declared with a document of kind Placement, which `tenancy apply` creates and changes.
`tenancy explain placement` lists its fields.";

const DESCRIBE: &str = "\
Examples:
  tenancy placement describe disk-1
  tenancy placement describe disk-1 -o yaml";

/// Arguments of `placement list`.
#[derive(Args, Debug)]
#[command(after_help = LIST)]
pub struct List {
    #[command(flatten)]
    output: Output,
}

/// Arguments of `placement describe`.
#[derive(Args, Debug)]
#[command(after_help = DESCRIBE)]
pub struct Describe {
    /// Name of the placement
    #[arg(value_name = "PLACEMENT")]
    pub name: String,
    #[command(flatten)]
    output: Output,
}

/// Lists placements.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: List) -> Result<Exit, Failure> {
    let mut printer = Printer::new(&PLACEMENTS, given.output.output);
    listing::List::of(&["placements"]).pages(client, |items| printer.page(&items).map(|()| true)).await?;
    printer.finish()?;
    Ok(Exit::Done)
}

/// Shows a placement.
///
/// # Errors
/// Fails if the request fails.
pub async fn describe(client: &Client, given: Describe) -> Result<Exit, Failure> {
    let found = find(client, &given.name).await?;
    if !matches!(given.output.output, Format::Table | Format::Wide) {
        one(&PLACEMENTS, &found, given.output.output)?;
        return Ok(Exit::Done);
    }
    write(&page(&found.value, Timestamp::now()))?;
    Ok(Exit::Done)
}

fn page(placement: &Placement<'_>, now: Timestamp) -> String {
    let maximum = placement.max_environments.map_or_else(|| "no maximum".to_owned(), |most| format!("at most {most}"));
    let environments = placement.environment_count.unwrap_or_default();
    let facts = [
        ("Placement", placement.name.to_string()),
        ("Places", placement.place_kind.as_str().to_owned()),
        ("Region", placement.region.to_string()),
        ("Address", placement.address.as_ref().map(address).unwrap_or_default()),
        ("Profiles", all_or(placement.profiles.iter().map(Word::as_str))),
        ("Isolation levels", all_or(placement.isolation_levels.iter().map(Word::as_str))),
        ("Environments", format!("{environments}, {maximum}")),
        ("Cordoned", yes_or_no(placement.cordoned).to_owned()),
        ("Version", placement.version.to_string()),
        ("Created", format!("{} ({} ago)", short(placement.created_at), age(placement.created_at, now))),
        ("Changed", format!("{} ({} ago)", short(placement.updated_at), age(placement.updated_at, now))),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    let rows: Vec<_> = facts.map(|(name, value)| vec![Cell::new(name), Cell::new(value)]).collect();
    Table::untitled(2, colours()).render(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_show_what_a_placement_takes_and_what_it_has() {
        let placement = json!({
            "name": "disk-1", "place_kind": "sqlite", "region": "eu-west-1", "profiles": ["st-dedicated"],
            "max_environments": 10, "environment_count": 3, "cordoned": true, "version": 2,
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        });
        let placement: Placement<'static> = serde_json::from_value(placement).unwrap();
        let page = page(&placement, "2026-01-03T00:00:00Z".parse().unwrap());
        let line = |name: &str| page.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("Environments").ends_with("3, at most 10"), "{page}");
        assert!(line("Profiles").ends_with("st-dedicated") && line("Isolation").ends_with("all"), "{page}");
        assert!(line("Cordoned").ends_with("yes") && line("Changed").ends_with(" ago)"), "{page}");
    }
}
