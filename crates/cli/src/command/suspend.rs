//! `suspend`: places a hold.

use crate::client::Client;
use crate::command::lifecycle::{ask_for, ask_organization};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming;
use crate::output::{Format, Output};
use crate::terminal::remark;
use crate::time::ahead;
use crate::waiting::Patience;
use crate::wire::TenantRow;
use clap::Args;
use jiff::Timestamp;
use reqwest::Method;
use tenancy_api::document::Suspension;
use tenancy_core::hold::DEFAULT_HOLD;
use tenancy_core::tenant::State;

const EXAMPLES: &str = "\
Examples:
  tenancy suspend acme-eu --reason 'requested by the customer'
  tenancy suspend acme-eu --hold billing --reason 'invoice 1042' --until 14d
  tenancy suspend acme --organization --hold billing --reason 'invoice 1042'

With --organization, the hold suspends all tenants of the organization.
A hold is not part of the manifest: `apply` does not release it, and shows which hold suspends the tenant.";

/// Arguments of `suspend`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Suspend {
    /// Id of the tenant, or an alias such as stripe:cus_9s6; id of the organization with --organization
    #[arg(value_name = "TENANT")]
    name: String,
    /// Suspend all tenants of the organization. The command does not wait for them
    #[arg(long)]
    organization: bool,
    /// Reason, shown with the audit log; a purge deletes it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Kind of the hold, such as billing, abuse, security or operator. Default: operator
    #[arg(long, value_name = "KIND")]
    hold: Option<String>,
    /// Time when the hold ends automatically: 2h, 14d, or 2026-12-24T00:00:00Z
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request or a job fails.
pub async fn run(client: &Client, given: Suspend) -> Result<Exit, Failure> {
    let until = given.until.map(|until| ahead(&until, Timestamp::now())).transpose()?;
    let until = until.map(|until| until.to_string());
    let hold = given.hold.clone().unwrap_or_else(|| DEFAULT_HOLD.to_owned());
    let body = Suspension { hold: given.hold, reason: Some(given.reason), until };
    let of_flags =
        |failure: Failure| failure.of_flags(&[("/hold", "--hold"), ("/reason", "--reason"), ("/until", "--until")]);
    if given.organization {
        let request = client.v1(Method::POST, &["organizations", &given.name, "suspend"]).json(&body);
        return ask_organization(request, given.output.output).await.map_err(of_flags);
    }
    let segments = ["tenants", naming::tenant(&given.name)?, "suspend"];
    let request = client.v1(Method::POST, &segments).json(&body);
    let done = ask_for(client, request, given.patience, given.output.output).await.map_err(of_flags)?;
    if matches!(given.output.output, Format::Table | Format::Wide) {
        let tenant: TenantRow = client.get(&segments[..2]).await?.value;
        // A hold that only keeps data does not change the state that was printed.
        if tenant.state != State::Suspended {
            remark(&format!("placed: hold {hold} on {}", tenant.tenant_id));
        }
    }
    Ok(done)
}
