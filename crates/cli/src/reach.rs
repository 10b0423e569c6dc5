//! Which server a command talks to.

use crate::contexts::{Context, Contexts, read_toml};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::quoted;
use clap::Args;
use std::path::{Path, PathBuf};

/// The data directory when nothing is said.
pub const DATA_DIRECTORY: &str = ".tenancy";
/// Where a `dev` server leaves its URL and key, in its data directory.
pub const CLIENT_FILE: &str = "client.toml";
/// The context that `dev` writes.
pub const DEV_CONTEXT: &str = "dev";

/// How to find the server. Without any of it: the current context, else a `dev` server in ./.tenancy.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Which server")]
pub struct Reach {
    /// A context by its name (see `context list`)
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Where it answers, such as http://127.0.0.1:7300
    #[arg(long, value_name = "URL", env = "TENANCY_URL", hide_env_values = true)]
    url: Option<String>,
    /// The token for --url; better in TENANCY_TOKEN, where other users do not see it
    #[arg(long, value_name = "TOKEN", requires = "url")]
    token: Option<String>,
    /// The data directory of a `dev` server
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// A server, found.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Where, and with which key.
    pub context: Context,
    /// How it was found, for people.
    pub found_by: String,
    /// The command that helps when nobody answers there.
    pub helps: String,
}

impl Server {
    fn of_context(name: &str, context: &Context) -> Self {
        // Only the context that `dev` writes is one that `dev` can bring back.
        let helps = if name == DEV_CONTEXT { "dev" } else { "context list" };
        Self { context: context.clone(), found_by: format!("context {name}"), helps: helps.to_owned() }
    }
}

impl Reach {
    /// What was said after the verb, over what was said before it.
    #[must_use]
    pub fn over(self, before: &Self) -> Self {
        // Whoever names a server after the verb means that one, whatever stood before it.
        let environment = environment_url();
        let said = self.context.is_some() || self.data_dir.is_some() || self.has_own_url(environment.as_deref());
        let said = said || self.token.is_some();
        if said || before.is_nothing() { self } else { before.clone() }
    }

    fn is_nothing(&self) -> bool {
        self.context.is_none() && self.url.is_none() && self.data_dir.is_none()
    }

    /// Whether the URL was typed: one of the environment is there for every command, and gives way.
    fn has_own_url(&self, environment: Option<&str>) -> bool {
        self.url.as_deref().is_some_and(|url| Some(url) != environment)
    }

    /// That one server is named, and not two.
    fn check(&self, environment: Option<&str>) -> Result<(), Failure> {
        let said = [
            ("--context", self.context.is_some()),
            ("--data-dir", self.data_dir.is_some()),
            ("--url", self.has_own_url(environment)),
        ];
        let said: Vec<_> = said.into_iter().filter(|(_, said)| *said).map(|(flag, _)| flag).collect();
        match said.as_slice() {
            [] | [_] => Ok(()),
            several => Err(Failure::usage(format!("{} each name a server: leave one of them", several.join(" and ")))),
        }
    }

    /// Finds the server.
    ///
    /// # Errors
    /// When what was named is not there, or nothing is known.
    pub fn find(&self) -> Result<Server, Failure> {
        self.check(environment_url().as_deref())?;
        let token = std::env::var("TENANCY_TOKEN").ok().filter(|token| !token.is_empty());
        self.find_in(&Contexts::path()?, token, Path::new(DATA_DIRECTORY))
    }

    fn find_in(&self, config: &Path, token: Option<String>, here: &Path) -> Result<Server, Failure> {
        if let Some(name) = &self.context {
            return Ok(Server::of_context(name, Contexts::load(config)?.named(name)?));
        }
        if let Some(directory) = &self.data_dir {
            if directory.exists() && !directory.is_dir() {
                return Err(Failure::usage(format!("{} is no directory", directory.display())));
            }
            return dev_server(directory)?.ok_or_else(|| {
                let message = format!("{} was never used by a dev server", directory.display());
                Failure::new(Exit::NoServer, message).and_type(&dev_in(directory))
            });
        }
        if let Some(url) = self.url.as_ref().filter(|url| !url.is_empty()) {
            // The token of the environment goes to the URL it was set for, never to a context's server.
            let context = Context { url: url.clone(), key: self.token.clone().or(token) };
            return Ok(Server { context, found_by: "--url".to_owned(), helps: "context list".to_owned() });
        }
        let contexts = Contexts::load(config)?;
        if let Some(name) = &contexts.current {
            return Ok(Server::of_context(name, contexts.named(name)?));
        }
        dev_server(here)?
            .ok_or_else(|| Failure::new(Exit::NoServer, "no server is known here: start one").and_type("dev"))
    }
}

fn dev_server(directory: &Path) -> Result<Option<Server>, Failure> {
    let file = directory.join(CLIENT_FILE);
    let found_by = format!("the dev server of {}", directory.display());
    Ok(read_toml(&file)?.map(|context| Server { context, found_by, helps: dev_in(directory) }))
}

/// The command that starts a `dev` server in a data directory.
fn dev_in(directory: &Path) -> String {
    match directory == Path::new(DATA_DIRECTORY) {
        true => "dev".to_owned(),
        false => format!("dev --data-dir {}", quoted(&directory.to_string_lossy())),
    }
}

fn environment_url() -> Option<String> {
    std::env::var("TENANCY_URL").ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contexts::write_toml;
    use std::collections::BTreeMap;

    fn context(url: &str, key: &str) -> Context {
        Context { url: url.to_owned(), key: Some(key.to_owned()) }
    }

    fn found(reach: &Reach, directory: &Path, token: Option<&str>) -> Result<(String, Option<String>), Exit> {
        let server = reach.find_in(&directory.join("config.toml"), token.map(str::to_owned), &directory.join("here"));
        server.map(|server| (server.context.url, server.context.key)).map_err(|failure| failure.exit)
    }

    #[test]
    fn must_look_in_the_order_that_is_written() {
        let temp = tempfile::tempdir().expect("a directory");
        let nothing = Reach::default();
        assert_eq!(found(&nothing, temp.path(), None), Err(Exit::NoServer));

        write_toml(&temp.path().join("here/client.toml"), &context("here", "k1")).expect("written");
        assert_eq!(found(&nothing, temp.path(), None), Ok(("here".into(), Some("k1".into()))));

        let contexts = BTreeMap::from([("a".into(), context("a", "k2")), ("b".into(), context("b", "k3"))]);
        let contexts = Contexts { current: Some("a".into()), contexts };
        contexts.save(&temp.path().join("config.toml")).expect("written");
        assert_eq!(found(&nothing, temp.path(), Some("t")), Ok(("a".into(), Some("k2".into()))));

        let url = Reach { url: Some("u".into()), ..Reach::default() };
        assert_eq!(found(&url, temp.path(), Some("t")), Ok(("u".into(), Some("t".into()))));
        let flag = Reach { token: Some("flag".into()), ..url.clone() };
        assert_eq!(found(&flag, temp.path(), Some("t")), Ok(("u".into(), Some("flag".into()))));

        let named = Reach { context: Some("b".into()), ..url };
        assert_eq!(found(&named, temp.path(), Some("t")), Ok(("b".into(), Some("k3".into()))));
        let missing = Reach { context: Some("c".into()), ..Reach::default() };
        assert_eq!(found(&missing, temp.path(), None), Err(Exit::NotFound));
        let file = Reach { data_dir: Some(temp.path().join("config.toml")), ..Reach::default() };
        assert_eq!(found(&file, temp.path(), None), Err(Exit::Usage));
        let unused = Reach { data_dir: Some(temp.path().join("unused")), ..Reach::default() };
        assert_eq!(found(&unused, temp.path(), None), Err(Exit::NoServer));
    }

    #[test]
    fn must_let_what_stands_after_the_verb_win() {
        let before = Reach { context: Some("a".into()), ..Reach::default() };
        let after = Reach { context: Some("b".into()), ..Reach::default() };
        assert_eq!(after.over(&before).context.as_deref(), Some("b"));
        assert_eq!(Reach::default().over(&before).context.as_deref(), Some("a"));
        let url = Reach { url: Some("u".into()), ..Reach::default() };
        assert_eq!(url.over(&before).url.as_deref(), Some("u"));
    }

    #[test]
    fn must_not_choose_between_two_servers_that_are_named() {
        let both = Reach { context: Some("a".into()), url: Some("u".into()), ..Reach::default() };
        assert_eq!(
            both.check(None).expect_err("two").message,
            "--context and --url each name a server: leave one of them"
        );
        assert!(both.check(Some("u")).is_ok(), "one of the environment gives way");
        let directory = Reach { data_dir: Some("d".into()), ..both };
        assert!(directory.check(Some("u")).is_err());
    }

    #[test]
    fn must_know_what_helps_by_how_the_server_was_found() {
        let temp = tempfile::tempdir().expect("a directory");
        let config = temp.path().join("config.toml");
        let contexts = BTreeMap::from([("dev".into(), context("a", "k")), ("prod".into(), context("b", "k"))]);
        Contexts { current: Some("dev".into()), contexts }.save(&config).expect("written");
        write_toml(&temp.path().join("d/client.toml"), &context("c", "k")).expect("written");
        let helps = |reach: &Reach| reach.find_in(&config, None, &temp.path().join("none")).map(|server| server.helps);
        assert_eq!(helps(&Reach::default()).expect("found"), "dev");
        let prod = Reach { context: Some("prod".into()), ..Reach::default() };
        assert_eq!(helps(&prod).expect("found"), "context list");
        let url = Reach { url: Some("u".into()), ..Reach::default() };
        assert_eq!(helps(&url).expect("found"), "context list");
        let directory = Reach { data_dir: Some(temp.path().join("d")), ..Reach::default() };
        let shown = temp.path().join("d");
        assert_eq!(helps(&directory).expect("found"), format!("dev --data-dir {}", shown.display()));
    }
}
