//! `create`: creates an organization or a tenant from flags.

use crate::change;
use crate::client::Client;
use crate::command::lifecycle::finish;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::ORGANIZATIONS;
use crate::output::{Format, Output, one_of};
use crate::program::{command, quoted};
use crate::selector;
use crate::terminal::{error_colours, remark, say};
use crate::waiting::Patience;
use crate::wire::{Organization, Received, Tenant};
use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tenancy_api::document::{Caps, EnvironmentManifest, OrganizationManifest, TenantManifest};
use tenancy_api::written::Written;

const ORGANIZATION: &str = "\
Examples:
  tenancy create organization acme
  tenancy create organization acme --display-name 'Acme Corp' --cap tenants=10 --cap storageGiB=5000";

const TENANT: &str = "\
Examples:
  tenancy create tenant acme-eu --organization acme --region eu-west-1 --desired-state Active
  tenancy create tenant acme-eu --organization acme --region eu-west-1 --environment dev,prod \\
      --quota storageGiB=500 -l tier=gold --alias stripe=cus_9s6

Without --desired-state, the tenant stays in state Draft. `tenancy edit` and `tenancy export` show the manifest.";

/// Arguments of `create organization`.
#[derive(Args, Debug)]
#[command(after_help = ORGANIZATION)]
pub struct CreateOrganization {
    /// Id of the organization
    #[arg(value_name = "ORGANIZATION")]
    id: String,
    /// Display name, for people
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Labels: KEY=VALUE or KEY=VALUE,KEY=VALUE; can be repeated
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Maximum number of tenants (tenants=10) or maximum sum of a quota (storageGiB=5000); can be repeated
    #[arg(long = "cap", value_name = "NAME=NUMBER")]
    caps: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `create tenant`.
#[derive(Args, Debug)]
#[command(after_help = TENANT)]
pub struct CreateTenant {
    /// Id of the tenant
    #[arg(value_name = "TENANT")]
    id: String,
    /// Organization that owns the tenant; it must exist
    #[arg(long, value_name = "NAME")]
    organization: String,
    /// Home region of the tenant
    #[arg(long)]
    region: String,
    /// State that the tenant should have: Active or Suspended
    #[arg(long, value_name = "STATE")]
    desired_state: Option<String>,
    /// Profile: mt-standard or st-dedicated. Default: mt-standard
    #[arg(long)]
    profile: Option<String>,
    /// Display name, for people
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Environments of the tenant, such as dev,prod
    #[arg(long = "environment", value_name = "NAME", value_delimiter = ',')]
    environments: Vec<String>,
    /// Quota, such as storageGiB=500; can be repeated
    #[arg(long = "quota", value_name = "NAME=NUMBER")]
    quotas: Vec<String>,
    /// Labels: KEY=VALUE or KEY=VALUE,KEY=VALUE; can be repeated
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Alias, such as stripe=cus_9s6; can be repeated
    #[arg(long = "alias", value_name = "KIND=VALUE")]
    aliases: Vec<String>,
    /// Refuse to delete the tenant until deletion_protection is set to false
    #[arg(long)]
    protected: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Creates an organization.
///
/// # Errors
/// Fails if the request fails.
pub async fn organization(client: &Client, given: CreateOrganization) -> Result<Exit, Failure> {
    let mut caps = Caps::default();
    for (name, most) in numbers("--cap", &given.caps)? {
        match name.as_str() {
            "tenants" => caps.tenants = Some(most),
            _ => drop(caps.quotas.get_or_insert_default().insert(name, most)),
        }
    }
    let body = OrganizationManifest {
        organization_id: given.id,
        display_name: given.display_name,
        labels: labels(&given.labels)?,
        caps: (!given.caps.is_empty()).then_some(caps),
        webhooks: None,
    };
    let flags = [
        ("/organization_id", "ORGANIZATION"),
        ("/display_name", "--display-name"),
        ("/labels", "-l"),
        ("/caps", "--cap"),
    ];
    let made = client.v1(Method::POST, &["organizations"]).json(&body).receive::<Written<Organization>>().await;
    let Received { value: Written { view, warnings }, raw } = made.map_err(|failure| failure.of_flags(&flags))?;
    change::warnings(&warnings, "", error_colours()).iter().for_each(|line| remark(line));
    match given.output.output {
        Format::Table | Format::Wide => {
            say(&format!("organization {} is created", view.organization_id))?;
            let next = format!("create tenant NAME --organization {} --region REGION", quoted(&view.organization_id));
            remark(&format!("next: {}", command(&next)));
        }
        format => one_of(&ORGANIZATIONS, &view, &raw, format)?,
    }
    Ok(Exit::Done)
}

/// Creates a tenant, and waits for its jobs.
///
/// # Errors
/// Fails if the request or a job fails.
pub async fn tenant(client: &Client, given: CreateTenant) -> Result<Exit, Failure> {
    let quotas: Map<String, Value> =
        numbers("--quota", &given.quotas)?.into_iter().map(|(name, most)| (name, most.into())).collect();
    let environment = |name: String| EnvironmentManifest { name, ..EnvironmentManifest::default() };
    let body = TenantManifest {
        tenant_id: Some(given.id),
        organization_id: given.organization,
        display_name: given.display_name,
        profile: given.profile,
        desired_state: given.desired_state,
        region: given.region,
        labels: labels(&given.labels)?,
        aliases: aliases(&given.aliases)?,
        quotas: (!quotas.is_empty()).then_some(Value::Object(quotas)),
        deletion_protection: given.protected.then_some(true),
        environments: (!given.environments.is_empty())
            .then(|| given.environments.into_iter().map(environment).collect()),
        ..TenantManifest::default()
    };
    let flags = [
        ("/tenant_id", "TENANT"),
        ("/organization_id", "--organization"),
        ("/region", "--region"),
        ("/desired_state", "--desired-state"),
        ("/profile", "--profile"),
        ("/display_name", "--display-name"),
        ("/environments", "--environment"),
        ("/quotas", "--quota"),
        ("/labels", "-l"),
        ("/aliases", "--alias"),
    ];
    let made = client.v1(Method::POST, &["tenants"]).json(&body).receive::<Written<Tenant>>().await;
    let Received { value: Written { view, warnings }, raw } = made.map_err(|failure| failure.of_flags(&flags))?;
    change::warnings(&warnings, "", error_colours()).iter().for_each(|line| remark(line));
    finish(client, (&view, &raw), None, given.patience, given.output.output).await
}

/// Returns the labels of all `-l` options; `None` without one.
fn labels(options: &[String]) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let labels = selector::labels(options)?;
    let pairs = labels.iter().filter_map(|label| label.split_once('='));
    let labels: BTreeMap<_, _> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Ok((!labels.is_empty()).then_some(labels))
}

/// Reads NAME=NUMBER.
fn numbers(flag: &str, options: &[String]) -> Result<Vec<(String, i64)>, Failure> {
    let number = |option: &String| {
        let pair = option.split_once('=').filter(|(name, _)| !name.is_empty());
        let pair = pair.and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
        pair.ok_or_else(|| Failure::usage(format!("{flag} must be NAME=NUMBER, not {option:?}")))
    };
    options.iter().map(number).collect()
}

/// Reads KIND=VALUE. A kind can have several values.
fn aliases(options: &[String]) -> Result<Option<BTreeMap<String, Value>>, Failure> {
    let mut aliases = BTreeMap::<String, Vec<Value>>::new();
    for option in options {
        let pair = option.split_once('=').filter(|(kind, value)| !kind.is_empty() && !value.is_empty());
        let bad = || Failure::usage(format!("--alias must be KIND=VALUE, not {option:?}"));
        let (kind, value) = pair.ok_or_else(bad)?;
        aliases.entry(kind.to_owned()).or_default().push(value.into());
    }
    let aliases: BTreeMap<_, _> = aliases.into_iter().map(|(kind, values)| (kind, Value::Array(values))).collect();
    Ok((!aliases.is_empty()).then_some(aliases))
}
