//! The command line with all its commands.

use crate::client::Client;
use crate::command;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::reach::Reach;
use crate::suggest::suggest;
use clap::{Args, Parser, Subcommand};

const FIRST_STEPS: &str = "\
First steps:
  tenancy example > acme.yaml        Write an example manifest: an organization with two tenants.
  tenancy dev --apply acme.yaml      Start a server on a SQLite file and apply the manifest.
  tenancy get tenants                List the tenants, from a second shell. No option is needed.
  tenancy describe tenant acme-eu
  tenancy suspend acme-eu --reason 'not paid'

Exit codes: 0 success, 1 refused, 2 usage error, 3 not found, 4 conflict, 5 not allowed,
6 job failed, 7 timed out, 8 no server. `plan --exit-code` ends with 10 if there are changes.";

/// A control plane for tenants: server and client in one program
#[derive(Parser, Debug)]
#[command(name = "tenancy", version, after_help = FIRST_STEPS, max_term_width = 100)]
pub struct Arguments {
    /// Server options are accepted before and after the command.
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

/// A command that sends requests to a server.
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
    /// Start a server for development, on a SQLite file and with an admin key
    Dev(command::dev::Dev),
    /// Start a server
    Serve(command::serve::Serve),
    /// Answer gateways whether a tenant may be served, from memory
    Agent(OnServer<command::agent::Agent>),
    /// Migrate, check and maintain the database
    #[command(subcommand)]
    Db(command::db::Db),

    /// Show what `apply` would change
    Plan(OnServer<command::plan::Plan>),
    /// Create and change what the manifests declare, and wait for the jobs
    Apply(OnServer<command::apply::Apply>),
    /// Write organizations and tenants as manifests
    Export(OnServer<command::export::Export>),
    /// Compare two versions of a tenant
    Diff(OnServer<command::diff::Diff>),
    /// Restore an earlier version of a tenant
    Rollback(OnServer<command::rollback::Rollback>),
    /// Create organizations and tenants from flags
    #[command(subcommand)]
    Create(Create),
    /// Open the manifest of a tenant in an editor, and write the changes
    Edit(OnServer<command::edit::Edit>),
    /// Change single fields of a tenant, an environment or an organization
    Set(OnServer<command::set::Set>),

    /// List tenants, organizations and other resources
    Get(OnServer<command::get::Get>),
    /// Show one resource in detail
    Describe(OnServer<command::describe::Describe>),
    /// Show whether a tenant may be served, as gateways see it
    Access(OnServer<command::access::Access>),
    /// Open the data of an environment
    Connect(OnServer<command::connect::Connect>),
    /// Show the audit log
    Audit(OnServer<command::audit::Audit>),
    /// Show events as they happen
    Watch(OnServer<command::watch::Watch>),
    /// Forward events to a program on this machine, as a webhook would send them
    Listen(OnServer<command::listen::Listen>),
    /// Print the log of a job, or of a tenant's newest job
    Logs(OnServer<command::logs::Logs>),
    /// Wait until a tenant is in its desired state, or until a job ends
    Wait(OnServer<command::wait::Wait>),
    /// Show the server, its database and job queue, your key, and counts of tenants and organizations
    Status(OnServer<command::status::Status>),

    /// Release a hold, so that a tenant returns to service
    Activate(OnServer<command::activate::Activate>),
    /// Place a hold: it suspends a tenant or, for a kind such as legal, keeps its data
    Suspend(OnServer<command::suspend::Suspend>),
    /// Archive a tenant, close an organization, or remove an environment
    Delete(OnServer<command::delete::Delete>),
    /// Restore an archived tenant
    Undelete(OnServer<command::undelete::Undelete>),
    /// Destroy the data of an archived tenant permanently
    Purge(OnServer<command::purge::Purge>),

    /// Cancel jobs
    #[command(subcommand)]
    Job(Job),
    /// Create, list, rotate and revoke API keys
    #[command(subcommand)]
    Key(Key),
    /// Create, list, rotate, enable, disable and delete webhooks
    #[command(subcommand)]
    Webhook(Webhook),
    /// List, cordon and delete placements: servers and disks on which environments are made
    #[command(subcommand)]
    Placement(Placement),
    /// Manage contexts: servers that the client knows by name
    #[command(subcommand)]
    Context(command::context::ContextCommand),

    /// Print an example manifest
    Example,
    /// Explain the fields of a manifest
    Explain(command::explain::Explain),
    /// Print a completion script for a shell
    Completions(command::completions::Completions),
    /// Print the names that can follow on a command line; for completion scripts
    #[command(name = "__complete", hide = true)]
    Complete(command::complete::Complete),
}

#[derive(Subcommand, Debug)]
enum Create {
    /// Create an organization
    Organization(OnServer<command::create::CreateOrganization>),
    /// Create a tenant and wait for its jobs
    Tenant(OnServer<command::create::CreateTenant>),
}

#[derive(Subcommand, Debug)]
enum Job {
    /// Cancel a job; completed steps are not undone
    Cancel(OnServer<command::job::Cancel>),
}

#[derive(Subcommand, Debug)]
enum Key {
    /// Create a key; its token is shown once
    Create(OnServer<command::key::Create>),
    /// List keys
    List(OnServer<command::key::List>),
    /// Issue a new token for a key; the previous token keeps working for a while
    Rotate(OnServer<command::key::Rotate>),
    /// Revoke a key
    Revoke(OnServer<command::key::Revoke>),
}

impl Key {
    async fn run(self, before: &Reach) -> Result<Exit, Failure> {
        match self {
            Self::Create(given) => {
                let (client, arguments) = given.open(before)?;
                command::key::create(&client, arguments).await
            }
            Self::List(given) => {
                let (client, arguments) = given.open(before)?;
                command::key::list(&client, arguments).await
            }
            Self::Rotate(given) => {
                let (client, arguments) = given.open(before)?;
                command::key::rotate(&client, arguments).await
            }
            Self::Revoke(given) => {
                let (client, arguments) = given.open(before)?;
                command::key::revoke(&client, arguments).await
            }
        }
    }
}

#[derive(Subcommand, Debug)]
enum Webhook {
    /// Create a webhook; its secret is shown once
    Create(OnServer<command::webhook::create::Create>),
    /// List the webhooks of a tenant, of an organization or of the platform
    List(OnServer<command::webhook::list::List>),
    /// Show a webhook in detail
    Describe(OnServer<command::webhook::list::Describe>),
    /// Give a webhook a new secret; requests are signed with the former ones, too, for a while
    Rotate(OnServer<command::webhook::rotate::Rotate>),
    /// Enable a webhook, also one that the server has disabled
    Enable(OnServer<command::webhook::switch::Switch>),
    /// Disable a webhook: it receives no events
    Disable(OnServer<command::webhook::switch::Switch>),
    /// Delete a webhook
    Delete(OnServer<command::webhook::delete::Delete>),
    /// Send a test message now, and show the request and the answer
    Test(OnServer<command::webhook::test::Test>),
    /// Show how deliveries go: the last success, the last failure, what waits
    Status(OnServer<command::webhook::deliveries::Status>),
    /// List the deliveries of a webhook, or show the attempts of one
    Deliveries(OnServer<command::webhook::deliveries::Deliveries>),
    /// Send a delivery again
    Resend(OnServer<command::webhook::resend::Resend>),
    /// Send the events since a time again, or pause or continue that
    Replay(OnServer<command::webhook::replay::Replay>),
}

#[derive(Subcommand, Debug)]
enum Placement {
    /// List placements
    List(OnServer<command::placement::list::List>),
    /// Show a placement in detail
    Describe(OnServer<command::placement::list::Describe>),
    /// Let a placement take no new environments
    Cordon(OnServer<command::placement::cordon::Cordon>),
    /// Let a placement take new environments again
    Uncordon(OnServer<command::placement::cordon::Cordon>),
    /// Delete a placement on which there is nothing
    Delete(OnServer<command::placement::delete::Delete>),
}

impl Placement {
    async fn run(self, before: &Reach) -> Result<Exit, Failure> {
        use command::placement::{cordon, delete, list};
        macro_rules! on {
            ($given:expr, $run:expr) => {{
                let (client, arguments) = $given.open(before)?;
                match $run(&client, arguments).await {
                    Err(failure) => Err(suggest(&client, failure).await),
                    done => done,
                }
            }};
        }
        match self {
            Self::List(given) => on!(given, list::run),
            Self::Describe(given) => on!(given, list::describe),
            Self::Cordon(given) => on!(given, cordon::cordon),
            Self::Uncordon(given) => on!(given, cordon::uncordon),
            Self::Delete(given) => on!(given, delete::run),
        }
    }
}

impl Webhook {
    async fn run(self, before: &Reach) -> Result<Exit, Failure> {
        use command::webhook::{create, delete, deliveries, list, replay, resend, rotate, switch, test};
        macro_rules! with {
            ($given:expr, $run:expr) => {{
                let (client, arguments) = $given.open(before)?;
                let named = arguments.owner.named(&arguments.name);
                match $run(&client, arguments).await {
                    Err(failure) => Err(suggest(&client, named.next_of(failure)).await),
                    done => done,
                }
            }};
        }
        match self {
            Self::Create(given) => with!(given, create::run),
            Self::List(given) => {
                let (client, arguments) = given.open(before)?;
                match list::run(&client, arguments).await {
                    Err(failure) => Err(suggest(&client, failure).await),
                    done => done,
                }
            }
            Self::Describe(given) => with!(given, list::describe),
            Self::Rotate(given) => with!(given, rotate::run),
            Self::Enable(given) => with!(given, switch::enable),
            Self::Disable(given) => with!(given, switch::disable),
            Self::Delete(given) => with!(given, delete::run),
            Self::Test(given) => with!(given, test::run),
            Self::Status(given) => with!(given, deliveries::status),
            Self::Deliveries(given) => with!(given, deliveries::run),
            Self::Resend(given) => with!(given, resend::run),
            Self::Replay(given) => with!(given, replay::run),
        }
    }
}

/// Passes the client and the arguments to the module of the command.
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
    /// Runs the command.
    ///
    /// # Errors
    /// Fails if the command fails.
    pub async fn run(self) -> Result<Exit, Failure> {
        let before = &self.reach;
        environment::check(matches!(self.command, Command::Dev(_) | Command::Serve(_) | Command::Db(_)))?;
        match self.command {
            Command::Dev(given) => command::dev::run(given).await,
            Command::Serve(given) => command::serve::run(given).await,
            Command::Agent(given) => on_server!(agent, given, before),
            Command::Db(given) => command::db::run(given).await,
            Command::Plan(given) => on_server!(plan, given, before),
            Command::Apply(given) => on_server!(apply, given, before),
            Command::Export(given) => on_server!(export, given, before),
            Command::Diff(given) => on_server!(diff, given, before),
            Command::Rollback(given) => on_server!(rollback, given, before),
            Command::Create(Create::Organization(given)) => {
                let (client, arguments) = given.open(before)?;
                command::create::organization(&client, arguments).await
            }
            Command::Create(Create::Tenant(given)) => {
                let (client, arguments) = given.open(before)?;
                command::create::tenant(&client, arguments).await
            }
            Command::Edit(given) => on_server!(edit, given, before),
            Command::Set(given) => on_server!(set, given, before),
            Command::Get(given) => on_server!(get, given, before),
            Command::Describe(given) => on_server!(describe, given, before),
            Command::Access(given) => on_server!(access, given, before),
            Command::Connect(given) => on_server!(connect, given, before),
            Command::Audit(given) => on_server!(audit, given, before),
            Command::Watch(given) => on_server!(watch, given, before),
            Command::Listen(given) => on_server!(listen, given, before),
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
            Command::Key(key) => key.run(before).await,
            Command::Webhook(given) => given.run(before).await,
            Command::Placement(given) => given.run(before).await,
            Command::Context(given) => command::context::run(given).await,
            Command::Example => command::example::run(),
            Command::Explain(given) => command::explain::run(given),
            Command::Complete(given) => command::complete::run(given).await,
            Command::Completions(given) => command::completions::run(given),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn must_be_a_consistent_command_line() {
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
