//! `webhook`: creates, lists, rotates, enables, disables and deletes webhooks.

pub mod create;
pub mod delete;
pub mod deliveries;
pub mod list;
pub mod owner;
pub mod replay;
pub mod resend;
pub mod rotate;
pub mod switch;
pub mod test;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{column, joined, pairs};
use crate::output::{Format, Kind, one_of};
use crate::table::{Cell, Table};
use crate::terminal::{colours, remark, say, write_data};
use crate::time::{age, short};
use crate::wire::Received;
use crate::yaml;
use jiff::Timestamp;
use tenancy_api::webhook::{NewWebhook, OwnedWebhook, Webhook};

/// Webhooks of all owners.
pub const OWNED: Kind<OwnedWebhook<'static>> = Kind {
    plural: "webhooks",
    name: |w| match &w.tenant_id {
        Some(tenant) => format!("{tenant}/{}", w.webhook.name),
        None => w.webhook.name.to_string(),
    },
    columns: &[
        column!("WEBHOOK", |w, _| Cell::new((OWNED.name)(w))),
        column!("URL", |w, _| Cell::new(&*w.webhook.url)),
        column!("EVENTS", |w, _| Cell::new(joined(&*w.webhook.events))),
        column!("ENABLED", |w, _| Cell::new(standing(&w.webhook))),
        column!("AGE", |w, now| Cell::new(age(w.webhook.created_at, now))),
        column!("FORMAT", wide, |w, _| Cell::new(w.webhook.format.as_str())),
        column!("RETRIES", wide, |w, _| Cell::new(pairs(&*w.webhook.retry_policy))),
        column!("VERSION", wide, |w, _| Cell::new(w.version.to_string())),
        column!("ID", wide, |w, _| Cell::new(&*w.webhook.webhook_id)),
    ],
};

/// Returns whether a webhook receives events, and if the server has disabled it, since when and why.
pub fn standing(webhook: &Webhook<'_>) -> String {
    match (webhook.enabled, webhook.disabled_at) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes".to_owned(),
        (true, Some(at)) => {
            let cause = webhook.disabled_cause.as_deref().unwrap_or("unknown");
            format!("no: disabled by the server at {}: {cause}", short(at))
        }
    }
}

/// Renders names and values. Empty values are omitted.
fn facts(facts: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    let rows: Vec<_> = facts.map(|(name, value)| vec![Cell::new(name), Cell::new(value)]).collect();
    Table::untitled(2, colours()).render(&rows)
}

/// Formats how long ago something was; empty if it never was.
pub fn ago(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map(|time| format!("{} ago", age(time, now))).unwrap_or_default()
}

/// Formats a number of deliveries that was counted up to `most`.
pub fn counted(number: i64, most: i64) -> String {
    if number < most { number.to_string() } else { format!("{most} or more") }
}

/// Prints a webhook with its secret. The secret is missing if the response is a replay after a lost one.
fn show(made: &Received<NewWebhook<'static>>, format: Format, lost: impl FnOnce() -> Failure) -> Result<Exit, Failure> {
    let NewWebhook { webhook, secret } = &made.value;
    let Some(secret) = secret else { return Err(lost()) };
    match format {
        Format::Name => say(secret)?,
        Format::Json => write_data(&yaml::json(&made.raw)?)?,
        Format::Yaml => write_data(&yaml::yaml(&made.raw)?)?,
        Format::Table | Format::Wide => {
            one_of(&OWNED, webhook, &made.raw, format)?;
            say(&format!("\n{secret}"))?;
            remark("this secret is shown only once: store it now");
        }
    }
    Ok(Exit::Done)
}
