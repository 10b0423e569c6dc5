//! `set`: changes single fields.

use crate::allow::Allow;
use crate::change;
use crate::client::Client;
use crate::command::diff::between;
use crate::command::export;
use crate::command::lifecycle::finish;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming::{self, Name};
use crate::output::{Format, Output};
use crate::terminal::{error_colours, remark, say};
use crate::waiting::Patience;
use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value};

const EXAMPLES: &str = "\
Examples:
  tenancy set acme-eu quotas.apiRateLimit=400
  tenancy set acme-eu labels.tier=platinum desired_state=Suspended
  tenancy set acme-eu/prod quotas.storageGiB=450
  tenancy set acme-eu labels.tier=null        clears it
  tenancy set acme-eu 'labels.tier=\"null\"'    the text, and not nothing

A value is read as JSON where it is JSON, and as text otherwise.";

/// Arguments of `set`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Set {
    /// A tenant or an environment: acme-eu, or acme-eu/prod
    name: String,
    /// A field and its value
    #[arg(value_name = "FIELD=VALUE", required = true)]
    fields: Vec<String>,
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
///
/// # Errors
/// What the server says, or the job that failed.
pub async fn run(client: &Client, given: Set) -> Result<Exit, Failure> {
    let mut patch = Value::Object(Map::new());
    for field in &given.fields {
        add(&mut patch, field)?;
    }
    let segments = match naming::name(&given.name) {
        Name::Tenant(tenant) => vec!["tenants", tenant],
        Name::Environment(tenant, environment) => vec!["tenants", tenant, "environments", environment],
    };
    let before = client.get(&segments).await?;
    let version = before.version.or_else(|| before.body["version"].as_i64()).unwrap_or_default();
    let request = client.v1(Method::PATCH, &segments).on_version(version).allow(&given.allow.allow);
    let after = request.text("application/merge-patch+json", patch.to_string()).send().await?;
    change::warnings(&after.body, "", error_colours()).iter().for_each(|line| remark(line));
    if matches!(given.output.output, Format::Table | Format::Wide) {
        let changes = between(&export::tenant(&before.body), &export::tenant(&after.body));
        if changes.is_empty() {
            say("unchanged")?;
            return Ok(Exit::Done);
        }
        change::lines(&changes, "", error_colours()).iter().for_each(|line| remark(line));
    }
    match naming::name(&given.name) {
        Name::Tenant(_) => finish(client, after, given.patience, given.output.output).await,
        // An environment's own answer does not have its tenant's job in it.
        Name::Environment(tenant, _) => {
            let tenant = client.get(&["tenants", tenant]).await?;
            finish(client, tenant, given.patience, given.output.output).await
        }
    }
}

/// Adds `quotas.apiRateLimit=400` to a merge patch.
fn add(patch: &mut Value, field: &str) -> Result<(), Failure> {
    let bad = || Failure::usage(format!("{field:?} is not FIELD=VALUE, such as quotas.apiRateLimit=400"));
    let (path, value) = field.split_once('=').ok_or_else(bad)?;
    // A label's key and an alias's kind may hold dots, and their values are texts whatever they look like.
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
