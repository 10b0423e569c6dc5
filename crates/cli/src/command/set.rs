//! `set`: changes single fields of a tenant, an environment or an organization.

use crate::allow::Allow;
use crate::change;
use crate::client::{Client, Request};
use crate::command::diff::between;
use crate::command::export;
use crate::command::lifecycle::finish;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::ORGANIZATIONS;
use crate::naming::{self, Name};
use crate::output::{Format, Output, one_of};
use crate::terminal::{error_colours, remark, say};
use crate::waiting::Patience;
use crate::wire::{Environment, Organization, Received, Tenant, TenantRow};
use clap::Args;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tenancy_api::written::Written;

const EXAMPLES: &str = "\
Examples:
  tenancy set acme-eu quotas.apiRateLimit=400
  tenancy set acme-eu labels.tier=platinum desired_state=Suspended
  tenancy set acme-eu/prod quotas.storageGiB=450
  tenancy set organization acme caps.tenants=20
  tenancy set acme-eu labels.tier=null        Removes the label.
  tenancy set acme-eu 'labels.tier=\"null\"'    Sets the text \"null\".

A value that is valid JSON is used as JSON, any other value as text.";

/// Arguments of `set`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Set {
    /// Tenant or environment, such as acme-eu or acme-eu/prod; or `organization` and the name of an organization
    name: String,
    /// Field and value, such as quotas.apiRateLimit=400
    #[arg(value_name = "FIELD=VALUE", required = true)]
    fields: Vec<String>,
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request or a job fails.
pub async fn run(client: &Client, given: Set) -> Result<Exit, Failure> {
    let is_kind = |kinds: &[&str]| kinds.contains(&given.name.as_str());
    match given.fields.split_first() {
        Some((name, fields)) if !name.contains('=') && is_kind(&["organization", "org"]) => {
            return organization(client, name, &patch(fields)?, &given).await;
        }
        Some((name, fields)) if !name.contains('=') && is_kind(&["tenant", "environment", "env"]) => {
            return tenant(client, name, &patch(fields)?, &given).await;
        }
        _ => tenant(client, &given.name, &patch(&given.fields)?, &given).await,
    }
}

/// Returns the merge patch of all fields.
fn patch(fields: &[String]) -> Result<Value, Failure> {
    let mut patch = Value::Object(Map::new());
    if fields.is_empty() {
        return Err(Failure::usage("name a field and its value, such as quotas.apiRateLimit=400"));
    }
    for field in fields {
        add(&mut patch, field)?;
    }
    Ok(patch)
}

async fn organization(client: &Client, name: &str, patch: &Value, given: &Set) -> Result<Exit, Failure> {
    let segments = ["organizations", name];
    let before: Received<Organization> = client.get(&segments).await?;
    let request = client.v1(Method::PATCH, &segments).on_version(before.value.version);
    let manifest = export::organization;
    let Some(after) = patched::<Organization>(request, given, patch, (&before.raw, manifest)).await? else {
        return Ok(Exit::Done);
    };
    match given.output.output {
        Format::Table | Format::Wide => {
            say(&format!("organization {name} is at version {}", after.value.view.version))?
        }
        format => one_of(&ORGANIZATIONS, &after.value.view, &after.raw, format)?,
    }
    Ok(Exit::Done)
}

async fn tenant(client: &Client, name: &str, patch: &Value, given: &Set) -> Result<Exit, Failure> {
    match naming::resolved(client, name).await? {
        Name::Tenant(tenant) => {
            let segments = ["tenants", tenant];
            let before: Received<TenantRow> = client.get(&segments).await?;
            let request = client.v1(Method::PATCH, &segments).on_version(before.value.version);
            let Some(after) = patched::<Tenant>(request, given, patch, (&before.raw, export::tenant)).await? else {
                return Ok(Exit::Done);
            };
            finish(client, (&after.value.view, &after.raw), None, given.patience, given.output.output).await
        }
        Name::Environment(tenant, environment) => {
            let segments = ["tenants", tenant, "environments", environment];
            let before: Received<Environment> = client.get(&segments).await?;
            let request = client.v1(Method::PATCH, &segments).on_version(before.value.entry.version);
            if patched::<Environment>(request, given, patch, (&before.raw, export::tenant)).await?.is_none() {
                return Ok(Exit::Done);
            }
            // The response for an environment does not contain the job of the tenant.
            let tenant: Received<Tenant> = client.get(&["tenants", tenant]).await?;
            finish(client, (&tenant.value, &tenant.raw), None, given.patience, given.output.output).await
        }
    }
}

/// Sends the patch and prints the changes. Returns `None` if nothing changed and `unchanged` was printed.
async fn patched<T: DeserializeOwned>(
    request: Request<'_>,
    given: &Set,
    patch: &Value,
    (before, manifest): (&Value, fn(&Value) -> Value),
) -> Result<Option<Received<Written<T>>>, Failure> {
    let request = request.allow(&given.allow.allow).text("application/merge-patch+json", patch.to_string());
    let after: Received<Written<T>> = request.receive().await?;
    change::warnings(&after.value.warnings, "", error_colours()).iter().for_each(|line| remark(line));
    if matches!(given.output.output, Format::Table | Format::Wide) {
        let changes = between(&manifest(before), &manifest(&after.raw));
        if changes.is_empty() {
            say("unchanged")?;
            return Ok(None);
        }
        change::lines(&changes, "", error_colours()).iter().for_each(|line| remark(line));
    }
    Ok(Some(after))
}

/// Adds `quotas.apiRateLimit=400` to a merge patch.
fn add(patch: &mut Value, field: &str) -> Result<(), Failure> {
    let bad = || Failure::usage(format!("{field:?} is not FIELD=VALUE, such as quotas.apiRateLimit=400"));
    let (path, value) = field.split_once('=').ok_or_else(bad)?;
    // Keys of labels and kinds of aliases can contain dots, and their values are always texts.
    let (parts, is_text) = match path.split_once('.') {
        Some((object @ ("labels" | "aliases"), key)) => (vec![object, key], true),
        _ => (path.split('.').collect(), matches!(path, "display_name" | "region" | "organization_id")),
    };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(bad());
    }
    let json = serde_json::from_str(value).ok();
    let json = json.filter(|json: &Value| !is_text || json.is_null() || json.is_array() || json.is_string());
    let mut place = patch;
    for part in parts {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[part];
    }
    *place = json.unwrap_or_else(|| Value::String(value.to_owned()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_make_one_patch_of_all_fields() {
        let mut patch = json!({});
        for field in [
            "quotas.apiRateLimit=400",
            "quotas.storageGiB=null",
            "desired_state=Active",
            "deletion_protection=true",
            "labels.app.example.com/version=2",
            "labels.old=null",
            "labels.quoted=\"null\"",
            "aliases.host=[\"a.example\",\"b.example\"]",
            "display_name=1984",
            "billing.note=a=b",
        ] {
            add(&mut patch, field).expect(field);
        }
        assert_eq!(
            patch,
            json!({
                "quotas": {"apiRateLimit": 400, "storageGiB": null},
                "desired_state": "Active",
                "deletion_protection": true,
                "labels": {"app.example.com/version": "2", "old": null, "quoted": "null"},
                "aliases": {"host": ["a.example", "b.example"]},
                "display_name": "1984",
                "billing": {"note": "a=b"},
            })
        );
        for bad in ["quotas.apiRateLimit", "=1", "quotas.=1"] {
            assert_eq!(add(&mut patch, bad).expect_err(bad).exit, Exit::Usage);
        }
    }
}
