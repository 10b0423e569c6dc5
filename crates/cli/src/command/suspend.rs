//! `suspend`: places a hold.

use crate::client::Client;
use crate::command::lifecycle::{ask_for, ask_organization};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming;
use crate::output::Output;
use crate::time::ahead;
use crate::waiting::Patience;
use clap::Args;
use jiff::Timestamp;
use reqwest::Method;
use tenancy_api::document::Suspension;

const EXAMPLES: &str = "\
Examples:
  tenancy suspend acme-eu --reason 'asked for by the customer'
  tenancy suspend acme-eu --hold billing --reason 'invoice 1042' --until 14d
  tenancy suspend acme --organization --hold billing --reason 'invoice 1042'   all tenants of acme

A hold stands outside the manifest: the next `apply` leaves the tenant suspended and says which hold keeps it.";

/// Arguments of `suspend`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Suspend {
    /// A tenant, by its id or an alias such as stripe:cus_9s6; an organization with --organization
    #[arg(value_name = "TENANT")]
    name: String,
    /// Hold all tenants of the organization of that name; they follow, and are not waited for
    #[arg(long)]
    organization: bool,
    /// Why; kept beside the audit log, and gone with a purge
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The kind of the hold: billing, abuse, security, operator, …; the operator's when left out
    #[arg(long, value_name = "KIND")]
    hold: Option<String>,
    /// When it ends by itself: 2h, 14d, or 2026-12-24T00:00:00Z
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
///
/// # Errors
/// What the server says, or the job that failed.
pub async fn run(client: &Client, given: Suspend) -> Result<Exit, Failure> {
    let until = given.until.map(|until| ahead(&until, Timestamp::now())).transpose()?;
    let until = until.map(|until| until.to_string());
    let body = Suspension { hold: given.hold, reason: Some(given.reason), until };
    let of_flags =
        |failure: Failure| failure.of_flags(&[("/hold", "--hold"), ("/reason", "--reason"), ("/until", "--until")]);
    if given.organization {
        let request = client.v1(Method::POST, &["organizations", &given.name, "suspend"]).json(&body);
        return ask_organization(request, given.output.output).await.map_err(of_flags);
    }
    let segments = ["tenants", naming::tenant(&given.name)?, "suspend"];
    let request = client.v1(Method::POST, &segments).json(&body);
    ask_for(client, request, given.patience, given.output.output).await.map_err(of_flags)
}
