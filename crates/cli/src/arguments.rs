//! The command line: every command there is.

use crate::client::Client;
use crate::command;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::reach::Reach;
use crate::suggest::suggest;
use clap::{Args, Parser, Subcommand};

const FIRST_STEPS: &str = "\
First steps:
  tenancy example > acme.yaml        an organization with two tenants, commented
  tenancy dev --apply acme.yaml      a server on a SQLite file, with these tenants in it
  tenancy get tenants                from a second shell; needs no flag
  tenancy describe tenant acme-eu
  tenancy suspend acme-eu --reason 'not paid'

Exit codes: 0 done, 1 refused, 2 usage, 3 not found, 4 conflict, 5 not allowed,
6 a job failed, 7 timed out, 8 no server; `plan --exit-code`: 10 there are changes.";

/// A control plane for tenants: server and client in one program
#[derive(Parser, Debug)]
#[command(name = "tenancy", version, after_help = FIRST_STEPS, max_term_width = 100)]
pub struct Arguments {
    /// Before the verb or behind it.
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

/// A command that talks to a server.
#[derive(Args, Debug)]
struct OnServer<T: Args> {
    #[command(flatten)]
    arguments: T,
    #[command(flatten)]
    reach: Reach,
}

impl<T: Args> OnServer<T> {
    fn open(self, before: &Reach) -> Result<(Client, T), Failure> {
        Ok((Client::new(self.reach.over(before).find()?)?, self.arguments))
    }
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Start a server to try things, on a SQLite file, with an admin key made and kept
    Dev(command::dev::Dev),
    /// Start a server
    Serve(command::serve::Serve),
    /// Bring the database up to this release, or look how far it is
    #[command(subcommand)]
    Db(command::db::Db),

    /// Say what `apply` would do
    Plan(OnServer<command::plan::Plan>),
    /// Make it so: create and change what the manifests say, and wait for it
    Apply(OnServer<command::apply::Apply>),
    /// Write what is there as manifests
    Export(OnServer<command::export::Export>),
    /// Compare two versions of a tenant
    Diff(OnServer<command::diff::Diff>),
    /// Put an earlier version of a tenant back
    Rollback(OnServer<command::rollback::Rollback>),
    /// Change single fields of a tenant or an environment
    Set(OnServer<command::set::Set>),

    /// List things
    Get(OnServer<command::get::Get>),
    /// Say everything about one thing
    Describe(OnServer<command::describe::Describe>),
    /// Read the audit log
    Audit(OnServer<command::audit::Audit>),
    /// Print the log of a job, or of a tenant's newest job
    Logs(OnServer<command::logs::Logs>),
    /// Wait until a tenant is in its desired state, or a job ended
    Wait(OnServer<command::wait::Wait>),
    /// Say which server this is, who we are to it, and what is there
    Status(OnServer<command::status::Status>),

    /// Release a hold, so that a tenant goes back into service
    Activate(OnServer<command::activate::Activate>),
    /// Place a hold that takes a tenant out of service
    Suspend(OnServer<command::suspend::Suspend>),
    /// Archive a tenant; its data is kept for a grace period
    Delete(OnServer<command::delete::Delete>),
    /// Take a tenant out of the archive
    Undelete(OnServer<command::undelete::Undelete>),
    /// Destroy the data of an archived tenant, for good
    Purge(OnServer<command::purge::Purge>),

    /// Jobs that are under way
    #[command(subcommand)]
    Job(Job),
    /// Keys that programs and people use
    #[command(subcommand)]
    Key(Key),
    /// The servers you know by name
    #[command(subcommand)]
    Context(command::context::ContextCommand),

    /// Print an example manifest
    Example,
    /// Say what a field of a manifest means
    Explain(command::explain::Explain),
    /// Print a completion script for a shell
    Completions(command::completions::Completions),
}

#[derive(Subcommand, Debug)]
enum Job {
    /// Cancel a job; what its steps have done stays
    Cancel(OnServer<command::job::Cancel>),
}

#[derive(Subcommand, Debug)]
enum Key {
    /// Create a key; its token is shown once
    Create(OnServer<command::key::Create>),
    /// List keys
    List(OnServer<command::key::List>),
    /// Give a key a new token; the former one keeps working for a while
    Rotate(OnServer<command::key::Rotate>),
    /// Revoke a key
    Revoke(OnServer<command::key::Revoke>),
}

/// Hands the client and the command's own arguments to its module.
macro_rules! on_server {
    ($module:ident, $given:expr, $before:expr) => {{
        let (client, arguments) = $given.open($before)?;
        match command::$module::run(&client, arguments).await {
            Err(failure) => Err(suggest(&client, failure).await),
            done => done,
        }
    }};
}

impl Arguments {
    /// Does what was asked for.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn run(self) -> Result<Exit, Failure> {
        let before = &self.reach;
        match self.command {
            Command::Dev(given) => command::dev::run(given).await,
            Command::Serve(given) => command::serve::run(given).await,
            Command::Db(given) => command::db::run(given).await,
            Command::Plan(given) => on_server!(plan, given, before),
            Command::Apply(given) => on_server!(apply, given, before),
            Command::Export(given) => on_server!(export, given, before),
            Command::Diff(given) => on_server!(diff, given, before),
            Command::Rollback(given) => on_server!(rollback, given, before),
            Command::Set(given) => on_server!(set, given, before),
            Command::Get(given) => on_server!(get, given, before),
            Command::Describe(given) => on_server!(describe, given, before),
            Command::Audit(given) => on_server!(audit, given, before),
            Command::Logs(given) => on_server!(logs, given, before),
            Command::Wait(given) => on_server!(wait, given, before),
            Command::Status(given) => on_server!(status, given, before),
            Command::Activate(given) => on_server!(activate, given, before),
            Command::Suspend(given) => on_server!(suspend, given, before),
            Command::Delete(given) => on_server!(delete, given, before),
            Command::Undelete(given) => on_server!(undelete, given, before),
            Command::Purge(given) => on_server!(purge, given, before),
            Command::Job(Job::Cancel(given)) => {
                let (client, arguments) = given.open(before)?;
                command::job::cancel(&client, arguments).await
            }
            Command::Key(Key::Create(given)) => {
                let (client, arguments) = given.open(before)?;
                command::key::create(&client, arguments).await
            }
            Command::Key(Key::List(given)) => {
                let (client, arguments) = given.open(before)?;
                command::key::list(&client, arguments).await
            }
            Command::Key(Key::Rotate(given)) => {
                let (client, arguments) = given.open(before)?;
                command::key::rotate(&client, arguments).await
            }
            Command::Key(Key::Revoke(given)) => {
                let (client, arguments) = given.open(before)?;
                command::key::revoke(&client, arguments).await
            }
            Command::Context(given) => command::context::run(given),
            Command::Example => command::example::run(),
            Command::Explain(given) => command::explain::run(given),
            Command::Completions(given) => command::completions::run(given),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn must_be_a_command_line_that_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn must_show_an_example_in_the_help_of_every_verb_that_has_arguments() {
        let mut program = Arguments::command();
        program.build();
        for verb in program.get_subcommands().filter(|verb| {
            verb.get_name() != "help" && verb.get_arguments().any(|a| !a.is_global_set() && a.get_id() != "help")
        }) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("  tenancy "), "{} has no example", verb.get_name());
        }
    }
}
