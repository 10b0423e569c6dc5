//! `key`: creates, lists, rotates and revokes keys.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::KEYS;
use crate::output::{Format, Output, Printer, one, one_of};
use crate::program::{command, quoted};
use crate::terminal::{remark, say, write_data};
use crate::time::{ahead, duration};
use crate::wire::{Key, Received};
use crate::{listing, naming, yaml};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use reqwest::Method;
use std::time::Duration;
use tenancy_api::document::{KeyRequest, KeyRevocation, KeyRotation};
use tenancy_api::key::NewKey;
use tenancy_core::gated_change::LAST_ADMIN_KEY;

const CREATE: &str = "\
Examples:
  tenancy key create ci --role operator
  tenancy key create grafana --role viewer --expires 90d
  tenancy key create edge --role gateway
  tenancy key create acme-portal --role customer --organization acme
  TENANCY_TOKEN=$(tenancy key create ci --role operator -o name)   prints only the token";

const REVOKE: &str = "\
Examples:
  tenancy key revoke ci
  tenancy key revoke key_018f4e9a
  tenancy key revoke ci --with-children";

const ROTATE: &str = "\
Examples:
  tenancy key rotate ci
  tenancy key rotate ci --overlap 1h
  TENANCY_TOKEN=$(tenancy key rotate ci -o name)   prints only the token";

const LIST: &str = "\
Examples:
  tenancy key list
  tenancy key list -o json";

/// Arguments of `key create`.
#[derive(Args, Debug)]
#[command(after_help = CREATE)]
pub struct Create {
    /// Name of the key; unique among the keys that are not revoked
    name: String,
    /// Permissions of the key
    #[arg(long, value_enum)]
    role: Role,
    /// Limit the key to one organization and its tenants
    #[arg(long, value_name = "ORGANIZATION", conflicts_with = "tenant")]
    organization: Option<String>,
    /// Limit the key to one tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Time when the key expires, such as 90d or 2027-01-01T00:00:00Z. Default: the expiry of your own key
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Everything, including keys
    Admin,
    /// Reads and changes organizations and tenants; no access to keys
    Operator,
    /// Reads everything, including the audit log and keys
    Auditor,
    /// Reads organizations and tenants, and plans changes; no access to keys
    Viewer,
    /// For staff of a customer: reads the tenants of its scope and changes their display name, labels and webhooks.
    /// Requires --organization or --tenant
    Customer,
    /// For gateways: reads whether tenants may be served, and nothing else
    Gateway,
}

/// Arguments of `key list`.
#[derive(Args, Debug)]
#[command(after_help = LIST)]
pub struct List {
    #[command(flatten)]
    output: Output,
}

/// Arguments of `key rotate`.
#[derive(Args, Debug)]
#[command(after_help = ROTATE)]
pub struct Rotate {
    /// Id or name of the key
    #[arg(value_name = "KEY")]
    name: String,
    /// Time that the previous token keeps working, from 0s to 30d
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = duration)]
    overlap: Duration,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `key revoke`.
#[derive(Args, Debug)]
#[command(after_help = REVOKE)]
pub struct Revoke {
    /// Id or name of the key
    #[arg(value_name = "KEY")]
    name: String,
    /// Also revoke the keys that this key created, directly and indirectly
    #[arg(long)]
    with_children: bool,
    /// Also revoke the last admin key. Only `tenancy db key` on the machine of the server then creates another
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

/// Creates a key.
///
/// # Errors
/// Fails if the request fails.
pub async fn create(client: &Client, given: Create) -> Result<Exit, Failure> {
    let role = match given.role {
        Role::Admin => "admin",
        Role::Operator => "operator",
        Role::Auditor => "auditor",
        Role::Viewer => "viewer",
        Role::Customer => "customer",
        Role::Gateway => "gateway",
    };
    let scope = match (&given.organization, &given.tenant) {
        (Some(id), _) => Some(format!("organization:{id}")),
        (None, Some(id)) => Some(format!("tenant:{id}")),
        (None, None) => None,
    };
    let expires = given.expires.map(|expires| ahead(&expires, Timestamp::now())).transpose()?;
    let expires_at = expires.map(|expires| expires.to_string());
    let body = KeyRequest { name: given.name, role: role.to_owned(), scope, expires_at };
    let made = client.v1(Method::POST, &["keys"]).json(&body).receive::<NewKey<'static>>().await;
    let scope = if given.tenant.is_some() { "--tenant" } else { "--organization" };
    let flags = [("/name", "NAME"), ("/expires_at", "--expires"), ("/scope", scope)];
    let made = made.map_err(|failure| failure.of_flags(&flags))?;
    let id = &made.value.key.key_id;
    show(&made, given.output.output, || {
        let failure = Failure::refused(format!(
            "{id} was created, but its token was lost with the first response: revoke it and create another key"
        ));
        failure.and_type(&format!("key revoke {}", quoted(id)))
    })
}

/// Prints a key with its token. The token is missing if the response is a replay after a lost one, because the server
/// does not store tokens.
fn show(made: &Received<NewKey<'static>>, format: Format, lost: impl FnOnce() -> Failure) -> Result<Exit, Failure> {
    let NewKey { key, token } = &made.value;
    let Some(token) = token else { return Err(lost()) };
    match format {
        Format::Name => say(token)?,
        Format::Json => write_data(&yaml::json(&made.raw)?)?,
        Format::Yaml => write_data(&yaml::yaml(&made.raw)?)?,
        Format::Table | Format::Wide => {
            one_of(&KEYS, key, &made.raw, format)?;
            say(&format!("\n{token}"))?;
            remark("this token is shown only once: store it now");
        }
    }
    Ok(Exit::Done)
}

/// Lists keys.
///
/// # Errors
/// Fails if the request fails.
pub async fn list(client: &Client, given: List) -> Result<Exit, Failure> {
    let mut printer = Printer::new(&KEYS, given.output.output);
    listing::List::of(&["keys"]).pages(client, |items| printer.page(&items).map(|()| true)).await?;
    printer.finish()?;
    Ok(Exit::Done)
}

/// Maximum time that the previous token of a key keeps working.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);

/// Rotates a key.
///
/// # Errors
/// Fails if the request fails.
pub async fn rotate(client: &Client, given: Rotate) -> Result<Exit, Failure> {
    let key = naming::key(client, &given.name).await?;
    let id = &*key.value.key_id;
    if given.overlap > MAX_OVERLAP {
        return Err(Failure::usage("--overlap must be from 0s to 30d"));
    }
    let overlap = i64::try_from(given.overlap.as_secs()).unwrap_or(i64::MAX);
    let body = KeyRotation { overlap_seconds: Some(overlap) };
    let rotated = client.v1(Method::POST, &["keys", id, "rotate"]).json(&body).receive::<NewKey<'static>>().await;
    let rotated = rotated.map_err(|failure| failure.of_flags(&[("/overlap_seconds", "--overlap")]))?;
    show(&rotated, given.output.output, || {
        let failure = Failure::refused(format!(
            "{id} was rotated, but its new token was lost with the first response: rotate it again"
        ));
        failure.and_type(&format!("key rotate {}", quoted(id)))
    })
}

/// Says how to confirm the revocation of the last admin key, and the way back.
fn last_admin(failure: Failure, name: &str) -> Failure {
    if failure.code.as_deref() != Some("not_allowed_by_name") {
        return failure;
    }
    let message = format!("{name} is the last admin key: without it, nobody can create another key with `tenancy key`");
    let another = command("key create NAME --role admin");
    let next = format!(
        "create another one first with {another}. To revoke it nevertheless, add --yes; then only {} on the machine of \
         the server creates an admin key",
        command("db key NAME")
    );
    Failure { message, details: Vec::new(), ..failure }.and(next)
}

/// Revokes a key.
///
/// # Errors
/// Fails if the request fails.
pub async fn revoke(client: &Client, given: Revoke) -> Result<Exit, Failure> {
    let name = given.name.as_str();
    let key = naming::key(client, name).await?;
    let id = &*key.value.key_id;
    let request = client.v1(Method::DELETE, &["keys", id]);
    let request = match given.with_children {
        true => request.json(&KeyRevocation { with_children: Some(true) }),
        false => request,
    };
    let request = if given.yes { request.allow(&[LAST_ADMIN_KEY.to_owned()]) } else { request };
    let revoked: Received<Key> = request.receive().await.map_err(|failure| last_admin(failure, name))?;
    match given.output.output {
        Format::Table | Format::Wide if given.with_children => {
            say(&format!("{id} is revoked, and with it the keys that it created"))?;
        }
        Format::Table | Format::Wide => say(&format!("{id} is revoked"))?,
        format => one(&KEYS, &revoked, format)?,
    }
    Ok(Exit::Done)
}
