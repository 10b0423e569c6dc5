//! `context`: the servers one knows by name.

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

/// The commands on contexts.
#[derive(Subcommand, Debug)]
pub enum ContextCommand {
    /// List them; the current one has a star
    #[command(after_help = "Examples:\n  tenancy context list\n  tenancy context list -o name")]
    List(List),
    /// Make one current: commands go to it when nothing else is said
    #[command(after_help = "Examples:\n  tenancy context use dev")]
    Use(Use),
    /// Remember a server, with the key in TENANCY_TOKEN
    #[command(after_help = "Examples:\n  TENANCY_TOKEN=… tenancy context add prod https://tenancy.example.com")]
    Add(Add),
    /// Forget a server
    #[command(after_help = "Examples:\n  tenancy context remove staging")]
    Remove(Use),
}

/// How to list them.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    output: Output,
}

/// A context by its name.
#[derive(Args, Debug)]
pub struct Use {
    /// Its name
    name: String,
}

/// A context to remember.
#[derive(Args, Debug)]
pub struct Add {
    /// Its name
    name: String,
    /// Where the server answers
    url: String,
}

/// Runs it.
///
/// # Errors
/// When the file cannot be read or written, or there is no such context.
pub fn run(given: ContextCommand) -> Result<Exit, Failure> {
    let path = Contexts::path()?;
    let mut contexts = Contexts::load(&path)?;
    match given {
        ContextCommand::List(given) => list(&contexts, &path, given.output.output)?,
        ContextCommand::Use(Use { name }) => {
            contexts.named(&name)?;
            contexts.current = Some(name.clone());
            contexts.save(&path)?;
            say(&format!("{name} is current"))?;
        }
        ContextCommand::Add(Add { name, url }) => {
            check_name(&name)?;
            check_url(&url)?;
            let key = std::env::var("TENANCY_TOKEN").ok().filter(|token| !token.is_empty());
            if key.is_none() {
                remark("without a key: set TENANCY_TOKEN and run it again to add one");
            }
            contexts.contexts.insert(name.clone(), Context { url, key });
            contexts.current.get_or_insert_with(|| name.clone());
            contexts.save(&path)?;
            say(&format!("{name} is kept in {}", path.display()))?;
        }
        ContextCommand::Remove(Use { name }) => {
            contexts.named(&name)?;
            contexts.contexts.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
            contexts.save(&path)?;
            say(&format!("{name} is forgotten"))?;
        }
    }
    Ok(Exit::Done)
}

/// A name that can be typed without quotes, and cannot be taken for a flag.
fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(Failure::usage(format!("{name:?} is no name for a context: letters and digits, then also - _ .")))
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
            // The key itself is never shown.
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
    fn must_star_the_current_one_and_show_no_key() {
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
    fn must_keep_no_name_that_cannot_be_typed() {
        for good in ["dev", "prod-eu.1", "7"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a b", ".", "a\n", "größe"] {
            assert_eq!(check_name(bad).expect_err(bad).exit, Exit::Usage);
        }
    }
}
