//! `context`: manages contexts, which are named servers.

use crate::client::check_url;
use crate::contexts::{Context, Contexts};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::table::{Cell, Table};
use crate::terminal::{Colour, colours, remark, say, write};
use crate::yaml;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::Path;

/// Subcommands of `context`.
#[derive(Subcommand, Debug)]
pub enum ContextCommand {
    /// List contexts; the current one is marked with *
    #[command(after_help = "Examples:\n  tenancy context list\n  tenancy context list -o name")]
    List(List),
    /// Set the current context, which commands use by default
    #[command(after_help = "Examples:\n  tenancy context use dev")]
    Use(Use),
    /// Add or replace a context; the key is read from TENANCY_TOKEN
    #[command(after_help = "Examples:\n  TENANCY_TOKEN=… tenancy context add prod https://tenancy.example.com")]
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
}

/// Runs the command.
///
/// # Errors
/// Fails if the file cannot be read or written, or if the context does not exist.
pub fn run(given: ContextCommand) -> Result<Exit, Failure> {
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
        ContextCommand::Add(Add { name, url }) => {
            check_name(&name)?;
            check_url(&url)?;
            let key = std::env::var("TENANCY_TOKEN").ok().filter(|token| !token.is_empty());
            if key.is_none() {
                remark("warning: no key stored: set TENANCY_TOKEN and run the command again to store one");
            }
            contexts.contexts.insert(name.clone(), Context { url, key });
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
        Format::Json => write(&yaml::json(&all.collect())?),
        Format::Yaml => write(&yaml::yaml(&all.collect())?),
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
