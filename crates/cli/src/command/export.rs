//! `export`: writes organizations and tenants as manifests.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::joined;
use crate::listing::List;
use crate::terminal::{plain, remark, write_data};
use crate::wire::{Hold, Organization, Received, Tenant, TenantRow};
use crate::{naming, yaml};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tenancy_api::key::WhoAmI;
use tenancy_api::word::Word;
use tenancy_core::permission::sees_everything;
use tenancy_core::tenant::{DesiredState, State};

const EXAMPLES: &str = "\
Examples:
  tenancy export > all.yaml
  tenancy export acme-eu acme-us
  tenancy export --organization acme -o json

Applying an unmodified export changes nothing. Holds, archived tenants and closed organizations are left
out and named on standard error. The key must read every field in full.";

/// Fields of an organization's manifest.
const ORGANIZATION: &[&str] = &["organization_id", "display_name", "labels", "caps", "webhooks"];
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
const WEBHOOK: &[&str] = &[
    "name",
    "url",
    "events",
    "retry_policy",
    "max_per_second",
    "max_in_flight",
    "timeout_seconds",
    "format",
    "enabled",
];

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
    /// Write held tenants with desired_state: Suspended, for another server. Holds are not part of a manifest
    #[arg(long)]
    portable: bool,
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
/// Fails if the key does not see everything, or if the request fails.
pub async fn run(client: &Client, given: Export) -> Result<Exit, Failure> {
    must_see_everything(client).await?;
    let mut writer = Writer { format: given.output, written: 0 };
    let mut left_out = LeftOut::default();
    for name in &given.names {
        let one: Received<Tenant> = client.get(&["tenants", naming::tenant(name)?]).await?;
        let row = &one.value.row;
        if row.purged_at.is_some() {
            return Err(Failure::refused(format!("{} is purged: nothing is left to export", row.tenant_id)));
        }
        if row.state == State::Archived {
            left_out.archiving.push(row.tenant_id.to_string());
        }
        writer.write(&left_out.manifest(&one, given.portable))?;
    }
    if given.names.is_empty() {
        all(client, &given, &mut writer, &mut left_out).await?;
    }
    left_out.remark();
    let done = writer.finish()?;
    match left_out.unreadable {
        0 => Ok(done),
        count => Err(Failure::refused(format!("the export is not complete: {count} rows cannot be read"))),
    }
}

/// Writes all organizations and tenants, or those of one organization.
async fn all(client: &Client, given: &Export, writer: &mut Writer, left_out: &mut LeftOut) -> Result<(), Failure> {
    let organizations = List::of(&["organizations"]);
    match &given.organization {
        Some(name) => left_out.organization(&client.get(&["organizations", name]).await?, writer)?,
        None => {
            // Rows of the list do not contain holds.
            let rows: Vec<Received<Organization>> = organizations.all(client).await?;
            for row in &rows {
                left_out.organization(&client.get(&["organizations", &row.value.organization_id]).await?, writer)?;
            }
        }
    }
    // Rows of the list do not contain environments. Tenants are read one after the other, so that an export does not
    // load the server.
    let tenants = List::of(&["tenants"]).filter("organization_id", given.organization.clone());
    let rows: Vec<Received<TenantRow>> = tenants.all(client).await?;
    for Received { value: row, .. } in &rows {
        // Applied to another server, an archived tenant would become active.
        if row.state == State::Archived {
            left_out.archived.push(row.tenant_id.to_string());
            continue;
        }
        match client.get(&["tenants", &row.tenant_id]).await {
            Ok(read) => writer.write(&left_out.manifest(&read, given.portable))?,
            Err(failure) if failure.is_unreadable() => tenants.note(&row.tenant_id, &failure.message),
            Err(failure) => return Err(failure),
        }
    }
    left_out.unreadable = organizations.left_out() + tenants.left_out();
    Ok(())
}

/// Checks that the key reads every field in full. Applying an incomplete manifest would remove what it does not have.
///
/// # Errors
/// Fails if the key is scoped or can only read, or if the request fails.
pub async fn must_see_everything(client: &Client) -> Result<(), Failure> {
    let key: Received<WhoAmI<'static>> = client.get(&["whoami"]).await?;
    let WhoAmI { name, role, scope, .. } = &key.value;
    match role {
        Word::Known(role) if !sees_everything(*role, scope) => {
            let message = format!("key {name} (role {role}, scope {scope}) does not read every field in full");
            Err(Failure::new(Exit::NotAllowed, message)
                .and("export with the key of an admin or operator without a scope"))
        }
        _ => Ok(()),
    }
}

/// What an export does not contain.
#[derive(Debug, Default)]
struct LeftOut {
    /// Holds, by tenant or organization.
    holds: Vec<String>,
    /// Archived tenants that are not written.
    archived: Vec<String>,
    /// Archived tenants that are written, without being archived.
    archiving: Vec<String>,
    /// Closed organizations, which are not written.
    closed: Vec<String>,
    /// Number of rows that cannot be read.
    unreadable: usize,
}

impl LeftOut {
    /// Returns the manifest of a tenant, and notes its holds. `portable` writes a held tenant as Suspended, so that
    /// another server does not activate it.
    fn manifest(&mut self, one: &Received<Tenant>, portable: bool) -> Value {
        let (row, holds) = (&one.value.row, &one.value.holds);
        let mut document = tenant(&one.raw);
        if !holds.is_empty() {
            self.holds.push(held(&row.tenant_id, holds));
        }
        // A hold that keeps only data leaves its tenant Active.
        let out_of_service = row.state != State::Active || one.value.open_job.is_some();
        let is_held = !holds.is_empty() && out_of_service || row.state == State::Archived;
        if portable
            && is_held
            && let Some(fields) = document.as_object_mut()
        {
            fields.insert("desired_state".to_owned(), json!(DesiredState::Suspended));
        }
        document
    }

    /// Writes an organization unless it is closed, and notes its holds.
    fn organization(&mut self, one: &Received<Organization>, writer: &mut Writer) -> Result<(), Failure> {
        let (id, holds) = (&one.value.organization_id, one.value.holds.as_deref().unwrap_or_default());
        if !holds.is_empty() {
            self.holds.push(held(id, holds));
        }
        if one.value.closed_at.is_some() {
            self.closed.push(id.to_string());
            return Ok(());
        }
        writer.write(&organization(&one.raw))
    }

    fn remark(&self) {
        for (what, names, then) in [
            ("holds on", &self.holds, "; --portable writes held tenants as Suspended"),
            ("archived tenants", &self.archived, "; export them by name"),
            ("the archiving of", &self.archiving, "; another server would create them anew"),
            ("closed organizations", &self.closed, "; another server needs them before their tenants"),
        ] {
            if !names.is_empty() {
                remark(&plain(&format!("left out: {what} {}{then}", some(names))));
            }
        }
    }
}

/// Formats `acme-eu (billing, legal)`.
fn held(id: &str, holds: &[Hold]) -> String {
    format!("{id} ({})", joined(holds.iter().map(|hold| &hold.hold)))
}

/// Formats the number of names, and the first of them.
fn some(names: &[String]) -> String {
    const MAX_NAMED: usize = 10;
    let more = names.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("({}) {}{more}", names.len(), joined(names.iter().take(MAX_NAMED)))
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
            Format::Yaml => write_data(&format!("{between}{}", yaml::yaml(document)?)),
            Format::Json => write_data(&format!("{between}{}", yaml::json(document)?.trim_end())),
        }
    }

    fn finish(&self) -> Result<Exit, Failure> {
        match (self.format, self.written) {
            (Format::Json, 0) => write_data("[]\n")?,
            (Format::Json, _) => write_data("\n]\n")?,
            (Format::Yaml, _) => {}
        }
        Ok(Exit::Done)
    }
}

/// Returns the manifest of an organization.
pub fn organization(organization: &Value) -> Value {
    let mut document = only(organization, ORGANIZATION);
    // reason: the fields become a manifest, which has no type of api
    for webhook in document.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
        *webhook = Value::Object(only(webhook, WEBHOOK));
    }
    manifest("Organization", document)
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
    use crate::wire::samples;

    #[test]
    fn must_note_holds_and_write_held_tenants_as_suspended_if_portable() {
        let hold = |kind: &str| json!({"hold": kind, "placed_by": "user:key_1", "created_at": "2026-11-23T08:00:00Z", "organization": false});
        let billed =
            samples::tenant(json!({"desired_state": "Active", "state": "Suspended", "holds": [hold("billing")]}));
        let legal = samples::tenant(json!({"tenant_id": "b", "desired_state": "Active", "holds": [hold("legal")]}));
        let mut left_out = LeftOut::default();
        let mut written = |one, portable| left_out.manifest(one, portable)["desired_state"].clone();
        assert_eq!(
            [written(&billed, false), written(&billed, true), written(&legal, true)],
            ["Active", "Suspended", "Active"]
        );
        assert_eq!(left_out.holds, ["acme-eu (billing)", "acme-eu (billing)", "b (legal)"]);
        assert_eq!(some(&left_out.holds[1..]), "(2) acme-eu (billing), b (legal)");
    }

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
    fn must_know_every_field_of_an_organizations_manifest() {
        use tenancy_core::declared::Declared;
        use tenancy_core::rules::organizations::OrganizationManifest;
        let document = json!({
            "organization_id": "acme", "display_name": "Acme", "labels": {"tier": "gold"}, "caps": {"tenants": 10},
            "webhooks": [{
                "name": "main", "url": "https://hooks.acme.example/x", "events": ["*"], "retry_policy": {"max_retries": 3},
                "max_per_second": 5, "max_in_flight": 2, "timeout_seconds": 3, "format": "cloudevents", "enabled": false,
            }],
        });
        let (manifest, _) = OrganizationManifest::parse(&Declared::default(), &document).expect("good");
        let mut answer = manifest.document();
        answer["counter"] = json!(1);
        answer["webhooks"][0]["webhook_id"] = json!("whk_1");
        let mut exported = organization(&answer);
        exported.as_object_mut().expect("an object").remove("kind");
        assert_eq!(exported, document);
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
