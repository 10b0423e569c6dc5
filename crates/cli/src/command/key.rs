//! `key`: makes, lists and revokes keys.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::KEYS;
use crate::output::{Format, Output, Printer, one, one_of};
use crate::program::quoted;
use crate::terminal::{remark, say, write};
use crate::time::ahead;
use crate::wire::{Key, Received};
use crate::{listing, naming, yaml};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use reqwest::Method;
use tenancy_api::document::KeyRequest;
use tenancy_api::key::NewKey;

const CREATE: &str = "\
Examples:
  tenancy key create ci --role operator
  tenancy key create grafana --role viewer --expires 90d
  TENANCY_TOKEN=$(tenancy key create ci --role operator -o name)   the bare token";

const REVOKE: &str = "\
Examples:
  tenancy key revoke ci
  tenancy key revoke key_018f4e9a";

const LIST: &str = "\
Examples:
  tenancy key list
  tenancy key list -o json";

/// Arguments of `key create`.
#[derive(Args, Debug)]
#[command(after_help = CREATE)]
pub struct Create {
    /// For people; unique among the keys that are not revoked
    name: String,
    /// What it may: everything, everything about tenants, or read
    #[arg(long, value_enum)]
    role: Role,
    /// From when on it is refused: 90d, or 2027-01-01T00:00:00Z; never when left out
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Admin,
    Operator,
    Viewer,
}

/// Arguments of `key list`.
#[derive(Args, Debug)]
#[command(after_help = LIST)]
pub struct List {
    #[command(flatten)]
    output: Output,
}

/// Arguments of `key revoke`.
#[derive(Args, Debug)]
#[command(after_help = REVOKE)]
pub struct Revoke {
    /// The key's id or name
    #[arg(value_name = "KEY")]
    name: String,
    #[command(flatten)]
    output: Output,
}

/// Makes a key.
///
/// # Errors
/// What the server says.
pub async fn create(client: &Client, given: Create) -> Result<Exit, Failure> {
    let role = match given.role {
        Role::Admin => "admin",
        Role::Operator => "operator",
        Role::Viewer => "viewer",
    };
    let expires = given.expires.map(|expires| ahead(&expires, Timestamp::now())).transpose()?;
    let expires_at = expires.map(|expires| expires.to_string());
    let body = KeyRequest { name: given.name, role: role.to_owned(), expires_at };
    let made = client.v1(Method::POST, &["keys"]).json(&body).receive::<NewKey<'static>>().await;
    let made = made.map_err(|failure| failure.of_flags(&[("/name", "NAME"), ("/expires_at", "--expires")]))?;
    let NewKey { key, token } = &made.value;
    let id = &key.key_id;
    let Some(token) = token else {
        // The answer was lost, and what the server keeps of it has no token in it.
        let failure = Failure::refused(format!("{id} was made, but its token was lost on the way: make another"));
        return Err(failure.and_type(&format!("key revoke {}", quoted(id))));
    };
    match given.output.output {
        Format::Name => say(token)?,
        Format::Json => write(&yaml::json(&made.raw)?)?,
        Format::Yaml => write(&yaml::yaml(&made.raw)?)?,
        Format::Table | Format::Wide => {
            one_of(&KEYS, key, &made.raw, given.output.output)?;
            say(&format!("\n{token}"))?;
            remark("this token is shown once and kept nowhere: store it now");
        }
    }
    Ok(Exit::Done)
}

/// Lists keys.
///
/// # Errors
/// What the server says.
pub async fn list(client: &Client, given: List) -> Result<Exit, Failure> {
    let mut printer = Printer::new(&KEYS, given.output.output);
    listing::List::of(&["keys"]).pages(client, |items| printer.page(&items).map(|()| true)).await?;
    printer.finish()?;
    Ok(Exit::Done)
}

/// Revokes a key.
///
/// # Errors
/// What the server says.
pub async fn revoke(client: &Client, given: Revoke) -> Result<Exit, Failure> {
    let name = given.name.as_str();
    let key = naming::key(client, name).await?;
    let id = &*key.value.key_id;
    let revoked: Received<Key> = client.v1(Method::DELETE, &["keys", id]).receive().await?;
    match given.output.output {
        Format::Table | Format::Wide => say(&format!("{id} is revoked"))?,
        format => one(&KEYS, &revoked, format)?,
    }
    Ok(Exit::Done)
}
