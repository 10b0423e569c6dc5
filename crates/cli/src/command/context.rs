//! `context`: manages contexts, which are named servers.

use crate::client::{Client, check_url};
use crate::contexts::{Context, Contexts};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::program::command;
use crate::reach::Server;
use crate::table::{Cell, Table};
use crate::terminal::{Colour, colours, remark, say, write, write_data};
use crate::yaml;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;
use std::path::Path;
use url::Host;

/// Subcommands of `context`.
#[derive(Subcommand, Debug)]
pub enum ContextCommand {
    /// List contexts; the current one is marked with *
    #[command(after_help = "Examples:\n  tenancy context list\n  tenancy context list -o name")]
    List(List),
    /// Set the current context, which commands use by default
    #[command(after_help = "Examples:\n  tenancy context use dev")]
    Use(Use),
    /// Add or replace a context; the key is read from TENANCY_TOKEN, and checked with the server
    #[command(
        after_help = "Examples:\n  TENANCY_TOKEN=… tenancy context add prod https://tenancy.example.com\n\nWithout TENANCY_TOKEN, a key that is stored for the same URL is kept."
    )]
    Add(Add),
    /// Remove a context and its key
    #[command(after_help = "Examples:\n  tenancy context remove staging")]
    Remove(Use),
}

/// Arguments of `context list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    output: Output,
}

/// Arguments of `context use` and `context remove`.
#[derive(Args, Debug)]
pub struct Use {
    /// Name of the context
    name: String,
}

/// Arguments of `context add`.
#[derive(Args, Debug)]
pub struct Add {
    /// Name of the context
    name: String,
    /// URL of the server
    url: String,
    /// Store the context without asking the server
    #[arg(long)]
    no_check: bool,
}

/// Runs the command.
///
/// # Errors
/// Fails if the file cannot be read or written, or if the context does not exist.
pub async fn run(given: ContextCommand) -> Result<Exit, Failure> {
    let path = Contexts::path()?;
    let mut contexts = Contexts::load(&path)?;
    match given {
        ContextCommand::List(given) => list(&contexts, &path, given.output.output)?,
        ContextCommand::Use(Use { name }) => {
            contexts.named(&name)?;
            contexts.current = Some(name.clone());
            contexts.save(&path)?;
            say(&format!("context {name} is now the current context"))?;
        }
        ContextCommand::Add(Add { name, url, no_check }) => {
            check_name(&name)?;
            check_url(&url)?;
            let given = std::env::var("TENANCY_TOKEN").ok().filter(|token| !token.is_empty());
            let context = added(&name, url, given, contexts.contexts.get(&name))?;
            if !no_check {
                check_server(&name, &context).await?;
            }
            for warning in warnings(&context) {
                remark(&format!("warning: {warning}"));
            }
            contexts.contexts.insert(name.clone(), context);
            contexts.current.get_or_insert_with(|| name.clone());
            contexts.save(&path)?;
            say(&format!("context {name} is stored in {}", path.display()))?;
        }
        ContextCommand::Remove(Use { name }) => {
            contexts.named(&name)?;
            contexts.contexts.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
            contexts.save(&path)?;
            say(&format!("context {name} is removed"))?;
        }
    }
    Ok(Exit::Done)
}

/// Returns the context to store. A key that is stored for the same URL is kept; a key for another URL is not erased
/// without a word.
fn added(name: &str, url: String, given: Option<String>, stored: Option<&Context>) -> Result<Context, Failure> {
    let kept = stored.filter(|stored| stored.key.is_some());
    match (given, kept) {
        (Some(key), _) => Ok(Context { url, key: Some(key) }),
        (None, Some(stored)) if stored.url.trim_end_matches('/') == url.trim_end_matches('/') => Ok(stored.clone()),
        (None, Some(stored)) => {
            let message = format!("context {name} has a key for {}, and none is given for {url}", stored.url);
            let next = format!("set TENANCY_TOKEN, or first run {}", command(&format!("context remove {name}")));
            Err(Failure::refused(message).and(next))
        }
        (None, None) => Ok(Context { url, key: None }),
    }
}

/// Checks that a Tenancy server answers and takes the key.
async fn check_server(name: &str, context: &Context) -> Result<(), Failure> {
    let (context, found_by) = (context.clone(), format!("context {name}"));
    let is_keyed = context.key.is_some();
    let client = Client::new(Server { context, found_by, helps: "context add --help".to_owned() })?;
    let segments: &[&str] = if is_keyed { &["v1", "whoami"] } else { &["healthz"] };
    let answered = client.request(Method::GET, segments).send().await;
    answered.map(drop).map_err(|failure| {
        let next = "the context is not stored; --no-check stores it without asking the server";
        failure.and(next)
    })
}

/// Returns what the user should know about a context.
fn warnings(context: &Context) -> Vec<String> {
    let mut warnings = Vec::new();
    if context.key.is_none() {
        warnings.push("no key stored: set TENANCY_TOKEN and run the command again to store one".to_owned());
    }
    let is_plain = reqwest::Url::parse(&context.url).is_ok_and(|url| {
        let is_here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        url.scheme() == "http" && !is_here
    });
    if is_plain && context.key.is_some() {
        let url = &context.url;
        warnings
            .push(format!("the key is sent to {url} without encryption: everybody on the way can read it; use https"));
    }
    warnings
}

/// Checks that a name needs no quotes and cannot be confused with an option.
fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "invalid context name {name:?}: use letters, digits, - _ and ., beginning with a letter or digit"
    )))
}

fn list(contexts: &Contexts, path: &Path, format: Format) -> Result<(), Failure> {
    let all = contexts.contexts.iter().map(|(name, context)| {
        let current = contexts.current.as_deref() == Some(name);
        json!({"name": name, "url": context.url, "has_key": context.key.is_some(), "current": current})
    });
    match format {
        Format::Json => write_data(&yaml::json(&all.collect())?),
        Format::Yaml => write_data(&yaml::yaml(&all.collect())?),
        Format::Name => contexts.contexts.keys().try_for_each(|name| say(name)),
        Format::Table | Format::Wide if contexts.contexts.is_empty() => {
            remark(&format!("no contexts in {}\nnext: {}", path.display(), crate::program::command("dev")));
            Ok(())
        }
        Format::Table | Format::Wide => write(&render(contexts, colours())),
    }
}

fn render(contexts: &Contexts, colours: bool) -> String {
    let rows = contexts.contexts.iter().map(|(name, context)| {
        let current = contexts.current.as_deref() == Some(name);
        let colour = current.then_some(Colour::Green);
        vec![
            Cell::new(format!("{} {name}", if current { '*' } else { ' ' })).coloured(colour),
            Cell::new(context.url.as_str()),
            // The token is never printed.
            Cell::new(if context.key.is_some() { "yes" } else { "no" }),
        ]
    });
    Table::new(["  CONTEXT", "URL", "KEY"], colours).render(&rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn must_not_erase_a_stored_key_and_warn_of_one_that_others_can_read() {
        let stored = Context { url: "https://a.example".into(), key: Some("tnc_secret".into()) };
        let same = added("prod", "https://a.example/".into(), None, Some(&stored)).expect("the same server");
        assert_eq!(same.key.as_deref(), Some("tnc_secret"));
        let failure = added("prod", "https://b.example".into(), None, Some(&stored)).expect_err("another server");
        assert!(failure.message.contains("has a key for https://a.example") && !failure.message.contains("tnc_secret"));
        let replaced = added("prod", "https://b.example".into(), Some("tnc_other".into()), Some(&stored));
        assert_eq!(replaced.expect("named").key.as_deref(), Some("tnc_other"));
        for (url, expected) in [
            ("http://10.0.0.1:7300", 1),
            ("http://tenancy.example", 1),
            ("https://tenancy.example", 0),
            ("http://127.0.0.1:7300", 0),
            ("http://[::1]:7300", 0),
            ("http://localhost:7300", 0),
        ] {
            let context = Context { url: url.into(), key: Some("tnc_secret".into()) };
            assert_eq!(warnings(&context).len(), expected, "{url}");
        }
    }

    #[test]
    fn must_mark_the_current_context_and_print_no_token() {
        let context = |url: &str, key: Option<&str>| Context { url: url.into(), key: key.map(str::to_owned) };
        let contexts = Contexts {
            current: Some("dev".into()),
            contexts: BTreeMap::from([
                ("dev".into(), context("http://127.0.0.1:7300", Some("tnc_secret"))),
                ("prod".into(), context("https://tenancy.example.com", None)),
            ]),
        };
        assert_eq!(
            render(&contexts, false),
            "  CONTEXT  URL                          KEY\n\
             * dev      http://127.0.0.1:7300        yes\n\
             \x20 prod     https://tenancy.example.com  no\n"
        );
    }

    #[test]
    fn must_refuse_names_that_need_quotes() {
        for good in ["dev", "prod-eu.1", "7"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a b", ".", "a\n", "größe"] {
            assert_eq!(check_name(bad).expect_err(bad).exit, Exit::Usage);
        }
    }
}
