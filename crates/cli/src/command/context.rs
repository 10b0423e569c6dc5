//! `context`: the servers one knows by name.

use crate::contexts::{Context, Contexts};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::table::{Cell, Table};
use crate::terminal::{Colour, colours, remark, say, write};
use clap::{Args, Subcommand};
use std::path::Path;

/// The commands on contexts.
#[derive(Subcommand, Debug)]
pub enum ContextCommand {
    /// List them; the current one has a star
    #[command(after_help = "Examples:\n  tenancy context list")]
    List,
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
        ContextCommand::List => list(&contexts, &path)?,
        ContextCommand::Use(Use { name }) => {
            contexts.named(&name)?;
            contexts.current = Some(name.clone());
            contexts.save(&path)?;
            say(&format!("{name} is current"))?;
        }
        ContextCommand::Add(Add { name, url }) => {
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

fn list(contexts: &Contexts, path: &Path) -> Result<(), Failure> {
    if contexts.contexts.is_empty() {
        remark(&format!("no contexts in {}\nnext: {}", path.display(), crate::program::command("dev")));
        return Ok(());
    }
    write(&render(contexts, colours()))
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
}
