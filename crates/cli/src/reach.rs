//! Selects the server of a command.

use crate::contexts::{Context, Contexts, read_toml};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::quoted;
use crate::trust;
use clap::Args;
use std::path::{Path, PathBuf};

/// Default data directory.
pub const DATA_DIRECTORY: &str = ".tenancy";
/// File in the data directory of a `dev` server with its URL and key.
pub const CLIENT_FILE: &str = "client.toml";
/// The context that `dev` writes.
pub const DEV_CONTEXT: &str = "dev";

/// Options that select the server. Default: the current context, else the `dev` server of ./.tenancy.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Server")]
pub struct Reach {
    /// Use this context (see `tenancy context list`)
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// URL of the server, such as http://127.0.0.1:7300
    #[arg(long, value_name = "URL", env = "TENANCY_URL", hide_env_values = true)]
    url: Option<String>,
    /// Token for --url. Prefer TENANCY_TOKEN: other users of this machine can see options
    #[arg(long, value_name = "TOKEN", requires = "url")]
    token: Option<String>,
    /// Use the `dev` server of this data directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// A selected server.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// URL and key.
    pub context: Context,
    /// How it was selected, such as `context dev`.
    pub found_by: String,
    /// Next command to suggest if the server does not answer.
    pub helps: String,
}

impl Server {
    fn of_context(name: &str, context: &Context) -> Self {
        // `dev` can start only the server of the context that it writes itself.
        let helps = if name == DEV_CONTEXT { "dev" } else { "context list" };
        Self { context: context.clone(), found_by: format!("context {name}"), helps: helps.to_owned() }
    }
}

impl Reach {
    /// Names a context; the same as no option without one. The URL of the environment is used as for other commands.
    pub fn of_context(context: Option<String>) -> Self {
        let url = environment_url().filter(|_| context.is_none());
        Self { context, url, ..Self::default() }
    }

    /// Returns the options after the command if there are any, else those before it.
    #[must_use]
    pub fn over(self, before: &Self) -> Self {
        // A server that is named after the command overrides one that is named before it.
        let environment = environment_url();
        let is_set = self.context.is_some() || self.data_dir.is_some() || self.has_own_url(environment.as_deref());
        let is_set = is_set || self.token.is_some();
        if is_set || before.is_nothing() { self } else { before.clone() }
    }

    fn is_nothing(&self) -> bool {
        self.context.is_none() && self.url.is_none() && self.data_dir.is_none()
    }

    /// Returns whether the URL is an option. A URL from the environment has lower precedence than other options.
    fn has_own_url(&self, environment: Option<&str>) -> bool {
        self.url.as_deref().is_some_and(|url| Some(url) != environment)
    }

    /// Checks that the options name at most one server.
    fn check(&self, environment: Option<&str>) -> Result<(), Failure> {
        let said = [
            ("--context", self.context.is_some()),
            ("--data-dir", self.data_dir.is_some()),
            ("--url", self.has_own_url(environment)),
        ];
        let said: Vec<_> = said.into_iter().filter(|(_, said)| *said).map(|(flag, _)| flag).collect();
        match said.as_slice() {
            [] | [_] => Ok(()),
            several => {
                Err(Failure::usage(format!("{} each name a server: use only one of them", several.join(" and "))))
            }
        }
    }

    /// Returns the selected server.
    ///
    /// # Errors
    /// Fails if the named server is not known, or if no server is configured.
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
                return Err(Failure::usage(format!("{} is not a directory", directory.display())));
            }
            return dev_server(directory)?.ok_or_else(|| {
                let message = format!("no dev server has used {}", directory.display());
                Failure::new(Exit::NoServer, message).and_type(&dev_in(directory))
            });
        }
        if let Some(url) = self.url.as_ref().filter(|url| !url.is_empty()) {
            let context = Context { url: url.clone(), key: self.token.clone().or(token) };
            return Ok(Server { context, found_by: "--url".to_owned(), helps: "context list".to_owned() });
        }
        let contexts = Contexts::load(config)?;
        if let Some(name) = &contexts.current {
            let mut server = Server::of_context(name, contexts.named(name)?);
            if let Some(token) = token {
                server.context.key = Some(token);
                server.found_by.push_str(" with the token in TENANCY_TOKEN");
            }
            return Ok(server);
        }
        let server = dev_server(here)?
            .ok_or_else(|| Failure::new(Exit::NoServer, "no server is configured: start one").and_type("dev"))?;
        // A directory can name any server; the token is for the one that the user means.
        match token {
            Some(_) => {
                let message = format!("TENANCY_TOKEN is set, but is not sent to {}", server.found_by);
                Err(Failure::usage(message).and("name the server with TENANCY_URL or --url, or unset TENANCY_TOKEN"))
            }
            None => Ok(server),
        }
    }
}

fn dev_server(directory: &Path) -> Result<Option<Server>, Failure> {
    trust::check(directory)?;
    let file = directory.join(CLIENT_FILE);
    let found_by = format!("the dev server of {}", directory.display());
    Ok(read_toml(&file)?.map(|context| Server { context, found_by, helps: dev_in(directory) }))
}

/// Returns the arguments that start a `dev` server with a data directory.
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
    fn must_select_a_server_in_the_documented_order() {
        let temp = tempfile::tempdir().expect("a directory");
        let nothing = Reach::default();
        assert_eq!(found(&nothing, temp.path(), None), Err(Exit::NoServer));

        write_toml(&temp.path().join("here/client.toml"), &context("here", "k1")).expect("written");
        assert_eq!(found(&nothing, temp.path(), None), Ok(("here".into(), Some("k1".into()))));

        assert_eq!(found(&nothing, temp.path(), Some("t")), Err(Exit::Usage), "a directory gets no token");

        let contexts = BTreeMap::from([("a".into(), context("a", "k2")), ("b".into(), context("b", "k3"))]);
        let contexts = Contexts { current: Some("a".into()), contexts };
        contexts.save(&temp.path().join("config.toml")).expect("written");
        assert_eq!(found(&nothing, temp.path(), None), Ok(("a".into(), Some("k2".into()))));
        assert_eq!(
            found(&nothing, temp.path(), Some("t")),
            Ok(("a".into(), Some("t".into()))),
            "environment over context"
        );

        let url = Reach { url: Some("u".into()), ..Reach::default() };
        assert_eq!(found(&url, temp.path(), Some("t")), Ok(("u".into(), Some("t".into()))));
        let flag = Reach { token: Some("flag".into()), ..url.clone() };
        assert_eq!(found(&flag, temp.path(), Some("t")), Ok(("u".into(), Some("flag".into()))));

        let named = Reach { context: Some("b".into()), ..url };
        assert_eq!(
            found(&named, temp.path(), Some("t")),
            Ok(("b".into(), Some("k3".into()))),
            "option over environment"
        );
        let missing = Reach { context: Some("c".into()), ..Reach::default() };
        assert_eq!(found(&missing, temp.path(), None), Err(Exit::NotFound));
        let file = Reach { data_dir: Some(temp.path().join("config.toml")), ..Reach::default() };
        assert_eq!(found(&file, temp.path(), None), Err(Exit::Usage));
        let unused = Reach { data_dir: Some(temp.path().join("unused")), ..Reach::default() };
        assert_eq!(found(&unused, temp.path(), None), Err(Exit::NoServer));
    }

    #[test]
    fn must_prefer_options_after_the_command() {
        let before = Reach { context: Some("a".into()), ..Reach::default() };
        let after = Reach { context: Some("b".into()), ..Reach::default() };
        assert_eq!(after.over(&before).context.as_deref(), Some("b"));
        assert_eq!(Reach::default().over(&before).context.as_deref(), Some("a"));
        let url = Reach { url: Some("u".into()), ..Reach::default() };
        assert_eq!(url.over(&before).url.as_deref(), Some("u"));
    }

    #[test]
    fn must_refuse_two_named_servers() {
        let both = Reach { context: Some("a".into()), url: Some("u".into()), ..Reach::default() };
        assert_eq!(
            both.check(None).expect_err("two").message,
            "--context and --url each name a server: use only one of them"
        );
        assert!(both.check(Some("u")).is_ok(), "a URL of the environment has lower precedence");
        let directory = Reach { data_dir: Some("d".into()), ..both };
        assert!(directory.check(Some("u")).is_err());
    }

    #[test]
    fn must_suggest_a_command_that_fits_the_selection() {
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
