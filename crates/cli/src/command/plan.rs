//! `plan`: shows what `apply` would change.

use crate::allow::Allow;
use crate::client::Client;
use crate::command::apply::{How, send};
use crate::documents::{Documents, Files};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::terminal::{plain, remark, say};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  tenancy plan -f acme.yaml
  tenancy plan -f tenants/ -f more.yaml
  tenancy plan -f acme.yaml --exit-code    For CI: ends with 10 if there are changes.";

/// Arguments of `plan`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Plan {
    #[command(flatten)]
    files: Files,
    /// End with exit code 10 if there are changes
    #[arg(long)]
    exit_code: bool,
    /// Print unchanged documents, too
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request fails or the server would refuse a document.
pub async fn run(client: &Client, given: Plan) -> Result<Exit, Failure> {
    let documents = Documents::read(&given.files.files)?;
    let how = How { allow: &given.allow.allow, dry_run: true, partial: false };
    let applied = send(client, documents, how).await?;
    applied.print(given.output.output, given.verbose)?;
    if matches!(given.output.output, Format::Table | Format::Wide) {
        for (line, next) in applied.waiting() {
            say(&plain(&line))?;
            next.into_iter().for_each(|command| remark(&format!("next: {command}")));
        }
    }
    applied.refusal()?;
    let changes = given.exit_code && applied.changes_something();
    Ok(if changes { Exit::Changes } else { Exit::Done })
}
