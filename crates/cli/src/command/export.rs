//! `export`: writes organizations and tenants as manifests.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::listing::List;
use crate::terminal::{remark, write};
use crate::wire::{Received, TenantRow};
use crate::{naming, yaml};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tenancy_core::tenant::State;

const EXAMPLES: &str = "\
Examples:
  tenancy export > all.yaml
  tenancy export acme-eu acme-us
  tenancy export --organization acme -o json

Applying an unmodified export changes nothing.";

/// Fields of an organization's manifest.
const ORGANIZATION: &[&str] = &["organization_id", "display_name", "labels", "caps"];
/// Fields of a tenant's manifest.
const TENANT: &[&str] = &[
    "tenant_id",
    "organization_id",
    "display_name",
    "profile",
    "desired_state",
    "region",
    "labels",
    "aliases",
    "quotas",
    "policies",
    "billing",
    "deletion_protection",
    "environments",
    "webhooks",
];
/// Fields of an environment in a manifest.
/// Fact of an environment: whether its region follows the tenant's.
const FOLLOWS: &str = "region_follows_tenant";
const REGION: &str = "region";
const ENVIRONMENT: &[&str] = &["name", REGION, "isolation_level", "quotas", "retention_days"];
/// Fields of a webhook in a manifest.
const WEBHOOK: &[&str] = &["name", "url", "events", "retry_policy"];

/// Arguments of `export`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    /// Tenants to write. Default: all organizations and tenants
    #[arg(value_name = "TENANT")]
    names: Vec<String>,
    /// Only this organization and its tenants
    #[arg(long, value_name = "NAME", conflicts_with = "names")]
    organization: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Export) -> Result<Exit, Failure> {
    let mut writer = Writer { format: given.output, written: 0 };
    if !given.names.is_empty() {
        for name in &given.names {
            writer.write(&tenant(&client.get::<Value>(&["tenants", naming::tenant(name)?]).await?.raw))?;
        }
        return writer.finish();
    }
    match &given.organization {
        Some(name) => writer.write(&organization(&client.get::<Value>(&["organizations", name]).await?.raw))?,
        None => {
            let mut write =
                |items: Vec<Received<Value>>| items.iter().try_for_each(|item| writer.write(&organization(&item.raw)));
            List::of(&["organizations"]).pages(client, |items| write(items).map(|()| true)).await?;
        }
    }
    // Rows of the list do not contain environments. Tenants are read one after the other, so that an export does not
    // load the server.
    let rows: Vec<Received<TenantRow>> =
        List::of(&["tenants"]).filter("organization_id", given.organization).all(client).await?;
    let mut archived = 0;
    for Received { value: row, .. } in &rows {
        // Applied to another server, an archived tenant would become active.
        if row.state == State::Archived {
            archived += 1;
            continue;
        }
        writer.write(&tenant(&client.get::<Value>(&["tenants", &row.tenant_id]).await?.raw))?;
    }
    if archived > 0 {
        remark(&format!("{archived} archived tenants are not included; export them by name"));
    }
    writer.finish()
}

struct Writer {
    format: Format,
    written: usize,
}

impl Writer {
    fn write(&mut self, document: &Value) -> Result<(), Failure> {
        let between = match (self.format, self.written) {
            (Format::Yaml, 0) => "",
            (Format::Yaml, _) => "---\n",
            (Format::Json, 0) => "[\n",
            (Format::Json, _) => ",\n",
        };
        self.written += 1;
        match self.format {
            Format::Yaml => write(&format!("{between}{}", yaml::yaml(document)?)),
            Format::Json => write(&format!("{between}{}", yaml::json(document)?.trim_end())),
        }
    }

    fn finish(&self) -> Result<Exit, Failure> {
        match (self.format, self.written) {
            (Format::Json, 0) => write("[]\n")?,
            (Format::Json, _) => write("\n]\n")?,
            (Format::Yaml, _) => {}
        }
        Ok(Exit::Done)
    }
}

fn organization(organization: &Value) -> Value {
    manifest("Organization", only(organization, ORGANIZATION))
}

/// Returns the manifest of a tenant: the declared fields without state and other facts.
pub fn tenant(tenant: &Value) -> Value {
    let mut document = only(tenant, TENANT);
    for (list, fields) in [("environments", ENVIRONMENT), ("webhooks", WEBHOOK)] {
        if let Some(items) = document.get_mut(list).and_then(Value::as_array_mut) {
            for item in items {
                let follows = item.get(FOLLOWS) == Some(&Value::Bool(true));
                let mut entry = only(item, fields);
                // The answer shows the region in effect; the manifest does not give one.
                if follows {
                    entry.remove(REGION);
                }
                *item = Value::Object(entry);
            }
        }
    }
    manifest("Tenant", document)
}

fn manifest(kind: &str, mut fields: Map<String, Value>) -> Value {
    fields.insert("kind".to_owned(), json!(kind));
    Value::Object(fields)
}

/// Returns the named fields that are set.
fn only(item: &Value, fields: &[&str]) -> Map<String, Value> {
    let set = |value: &&Value| match value {
        Value::Null => false,
        Value::Object(object) => !object.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let kept = fields.iter().filter_map(|field| Some(((*field).to_owned(), item.get(field).filter(set)?.clone())));
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_write_the_manifest_without_facts() {
        let document = tenant(&json!({
            "tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1", "profile": "mt-standard",
            "state": "Active", "version": 3, "holds": [], "labels": {},
            "environments": [
                {"name": "dev", "region": "eu-west-1", "isolation_level": "shared", "env_id": "env_1", "version": 1},
                {"name": "prod", "region": "eu-west-1", "region_follows_tenant": true},
            ],
        }));
        assert_eq!(
            document,
            json!({
                "kind": "Tenant", "tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1",
                "profile": "mt-standard",
                "environments": [
                    {"name": "dev", "region": "eu-west-1", "isolation_level": "shared"},
                    {"name": "prod"},
                ],
            })
        );
    }

    #[test]
    fn must_know_every_field_of_a_manifest() {
        use tenancy_core::{declared::Declared, manifest::Manifest};
        let document: Vec<Value> = serde_saphyr::from_multiple(crate::command::example::ACME).expect("YAML");
        let mut source = document[1].clone();
        source.as_object_mut().expect("an object").remove("kind");
        let (manifest, _) = Manifest::parse(&Declared::default(), &source).expect("good");
        let mut exported = tenant(&manifest.document());
        exported.as_object_mut().expect("an object").remove("kind");
        assert_eq!(exported, manifest.document());
    }
}
