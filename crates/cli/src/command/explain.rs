//! `explain`: explains the fields of a manifest.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::table::{Cell, Table};
use crate::terminal::{Colour, colours, say, write, write_data};
use crate::yaml;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use tenancy_core::declared::Declared;

const EXAMPLES: &str = "\
Examples:
  tenancy explain tenant
  tenancy explain tenant.quotas
  tenancy explain tenant.environments.retention_days
  tenancy explain organization.caps";

/// Arguments of `explain`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// Kind of document, or a field such as tenant.quotas
    #[arg(default_value = "tenant")]
    field: String,
    #[command(flatten)]
    output: Output,
}

/// Path, type and description of each field.
const FIELDS: &[(&str, &str, &str)] = &[
    (
        "organization",
        "document",
        "Customer that owns tenants. Its caps limit the total of its tenants. A field that the manifest omits is left \
         alone. A field that is present is the whole field: a key that is missing in labels or caps is removed. \
         Webhooks are matched by name.",
    ),
    ("organization.kind", "Organization", "Required. Kind of this document."),
    (
        "organization.organization_id",
        "name",
        "Required. Unique id that you choose: 2 to 64 characters of a-z, 0-9 and -.",
    ),
    ("organization.display_name", "text", "Name for people. At most 255 bytes."),
    ("organization.labels", "text to text", "Labels for your filters. Scoped keys do not see labels under internal/."),
    (
        "organization.caps",
        "object",
        "Limits for all tenants of the organization together. Without a cap, there is no limit.",
    ),
    ("organization.caps.tenants", "number", "Maximum number of tenants. Purged tenants do not count."),
    ("organization.caps.quotas", "object", "Maximum total of a quota of all tenants."),
    (
        "placement",
        "document",
        "Database server or disk on which the data of environments lives. How the server reaches it is in the \
         configuration of the server, under the same name. A field that the manifest omits is left alone.",
    ),
    ("placement.kind", "Placement", "Required. Kind of this document."),
    ("placement.name", "name", "Required. Unique name that you choose. It never changes."),
    (
        "placement.place_kind",
        "word",
        "Required. What an environment gets: sqlite (a file), postgres_database or postgres_schema. It never changes.",
    ),
    ("placement.region", "region", "Required. Environments are placed only in their own region. It never changes."),
    ("placement.address", "object", "Where clients reach the places, if that is not where the server reaches them."),
    ("placement.address.host", "text", "Required. Name or IP address."),
    ("placement.address.port", "number", "Required. 1 to 65535."),
    ("placement.profiles", "list", "Profiles of tenants that it takes: mt-standard, st-dedicated. Default: all."),
    ("placement.isolation_levels", "list", "Isolation levels that it takes: strict, shared. Default: all."),
    (
        "placement.max_environments",
        "number",
        "Maximum number of environments, 0 to 10000. Default: no maximum. Required for postgres_schema, at most 2000.",
    ),
    ("placement.cordoned", "true or false", "Whether it takes no new environments. Those on it stay. Default: false."),
    (
        "tenant",
        "document",
        "One isolated instance of a customer. A field that the manifest omits is left alone. A field that is present is \
         the whole field: a key that is missing in labels, aliases, quotas, policies or billing is removed, null \
         removes the field. Environments and webhooks are matched by name.",
    ),
    ("tenant.kind", "Tenant", "Required. Kind of this document."),
    ("tenant.tenant_id", "name", "Unique id that you choose: 2 to 64 characters of a-z, 0-9 and -. Never reused."),
    ("tenant.organization_id", "name", "Required. Organization that owns the tenant."),
    ("tenant.display_name", "text", "Name for people. At most 255 bytes."),
    (
        "tenant.profile",
        "word",
        "mt-standard: shared placement (default). st-dedicated: dedicated placement; every environment is strict.",
    ),
    ("tenant.desired_state", "word", "Active or Suspended. Default: the state does not change. A hold has precedence."),
    ("tenant.region", "word", "Required. Home region of the tenant."),
    ("tenant.labels", "text to text", "Labels for your filters, such as tenancy get tenants -l tier=gold."),
    (
        "tenant.aliases",
        "kind to text or list",
        "Other unique names of the tenant. {stripe: cus_9s6} lets you name the tenant stripe:cus_9s6. A host is a host name \
         in any case, without scheme, port and path.",
    ),
    ("tenant.quotas", "object", "Limits of the tenant. The totals of its environments must not exceed them."),
    ("tenant.policies", "object", "Rules for the data of the tenant."),
    (
        "tenant.policies.dataResidency",
        "word",
        "Regions allowed for environments: in-region-only, in-jurisdiction or unrestricted.",
    ),
    ("tenant.policies.encryption", "word", "Encryption keys: kms-per-tenant or platform."),
    (
        "tenant.policies.retentionDays",
        "number",
        "Days that the platform keeps the data of the tenant; maximum for its environments. Default: no limit.",
    ),
    (
        "tenant.policies.purgeAfterDays",
        "number",
        "Days that the data is kept after the tenant is archived. Default: 30.",
    ),
    ("tenant.billing", "object", "References to your billing system. Unknown fields are stored with a warning."),
    ("tenant.billing.plan", "text", "Plan that the customer pays for. At most 255 bytes."),
    ("tenant.billing.costCenter", "text", "Cost center that pays for the tenant. At most 255 bytes."),
    (
        "tenant.deletion_protection",
        "true or false",
        "If true, the tenant cannot be deleted. To turn it off, confirm with --allow protection-off.",
    ),
    (
        "tenant.environments",
        "list",
        "Environments by name. Omitting an existing name from the list removes that environment.",
    ),
    (
        "tenant.environments.name",
        "word",
        "Required. Unique in the tenant, and declared in the configuration of the server.",
    ),
    (
        "tenant.environments.region",
        "word",
        "Region of the environment. Without it, the environment follows the region of the tenant.",
    ),
    (
        "tenant.environments.isolation_level",
        "word",
        "strict: shares nothing with other tenants (default). shared: shares with other tenants.",
    ),
    (
        "tenant.environments.quotas",
        "object",
        "Limits of the environment, which count towards the quotas of the tenant.",
    ),
    (
        "tenant.environments.retention_days",
        "number",
        "Days that data is kept. Default and maximum: policies.retentionDays. If neither is set, data is kept indefinitely.",
    ),
    ("tenant.webhooks", "list", "Webhooks by name. `tenancy webhook rotate` shows a new secret of one."),
    ("tenant.webhooks.name", "name", "Required. Unique in the tenant."),
    ("tenant.webhooks.url", "URL", "Required. URL that receives the events."),
    ("tenant.webhooks.events", "list", "Required. Event types, such as TENANCY_SUSPENDED or TENANCY_*."),
    (
        "tenant.webhooks.retry_policy",
        "object",
        "backoff (exponential or fixed), base_seconds, max_seconds, max_retries (0 to 100) and jitter (0 to 1).",
    ),
    (
        "tenant.webhooks.max_per_second",
        "integer",
        "Maximum number of attempts per second, 1 to 1000. No limit by default.",
    ),
    ("tenant.webhooks.max_in_flight", "integer", "Maximum number of attempts at the same time, 1 to 64. Default: 8."),
    ("tenant.webhooks.timeout_seconds", "integer", "Time limit of one attempt, 1 to 30. Default: 15."),
    ("tenant.webhooks.format", "word", "standard (Standard Webhooks 1.0), the default, or cloudevents."),
    ("tenant.webhooks.enabled", "true or false", "Whether the webhook receives events. Default: true."),
];

/// Runs the command.
///
/// # Errors
/// Fails if the field does not exist.
pub fn run(given: Explain) -> Result<Exit, Failure> {
    let text = page(&given.field, colours())?;
    let rows = || below(&given.field);
    match given.output.output {
        Format::Json => write_data(&yaml::json(&json!(rows().collect::<Vec<_>>()))?)?,
        Format::Yaml => write_data(&yaml::yaml(&json!(rows().collect::<Vec<_>>()))?)?,
        Format::Name => rows().try_for_each(|row| say(&row.field))?,
        Format::Table | Format::Wide => write(&text)?,
    }
    Ok(Exit::Done)
}

/// A field for `-o json` and `-o yaml`.
#[derive(Debug, Serialize)]
struct Field {
    field: String,
    takes: String,
    means: String,
}

/// Returns a field and all fields below it.
fn below(path: &str) -> impl Iterator<Item = Field> {
    let path = path.trim_end_matches('.').to_lowercase();
    let is_below = move |field: &str| {
        field.to_lowercase().strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let fields = all().into_iter().filter(move |(field, ..)| is_below(field));
    fields.map(|(field, takes, means)| Field { field, takes, means })
}

fn page(path: &str, colours: bool) -> Result<String, Failure> {
    let path = path.trim_end_matches('.').to_lowercase();
    let fields = all();
    let Some((_, takes, means)) = fields.iter().find(|(field, ..)| field.to_lowercase() == path) else {
        let names = fields.iter().map(|(field, ..)| field.as_str());
        let near = tenancy_core::nearest::nearest(&path, names).map(|near| format!("; did you mean {near}?"));
        let message = format!("no field {path}{}", near.unwrap_or_default());
        return Err(Failure::new(Exit::NotFound, message).and_type("explain tenant"));
    };
    let mut text = format!("{}  ({takes})\n{means}\n", Colour::Bold.paint(&path, colours));
    let below: Vec<_> = fields
        .iter()
        .filter(|(field, ..)| {
            field.to_lowercase().strip_prefix(&format!("{path}.")).is_some_and(|rest| !rest.contains('.'))
        })
        .map(|(field, takes, means)| {
            let last = field.rsplit('.').next().unwrap_or_default();
            vec![Cell::new(last), Cell::new(takes.as_str()), Cell::new(means.as_str())]
        })
        .collect();
    if !below.is_empty() {
        text.push('\n');
        text.push_str(&Table::new(["FIELD", "TYPE", "DESCRIPTION"], colours).render(&below));
    }
    Ok(text)
}

/// Returns all fields, with the declarations of the default configuration. The configuration of a server can declare
/// others.
fn all() -> Vec<(String, String, String)> {
    let declared = Declared::default();
    let mut fields: Vec<_> = FIELDS
        .iter()
        .map(|(path, takes, means)| ((*path).to_owned(), (*takes).to_owned(), (*means).to_owned()))
        .collect();
    // The webhooks of an organization have the fields of those of a tenant.
    let webhooks = fields.iter().filter(|(path, ..)| path.starts_with("tenant.webhooks"));
    let of_organization = |(path, takes, means): &(String, String, String)| {
        let path = path.replacen("tenant.", "organization.", 1);
        (path, takes.clone(), means.replace("in the tenant", "in the organization"))
    };
    fields.extend(webhooks.map(of_organization).collect::<Vec<_>>());
    for place in ["organization.caps.quotas", "tenant.quotas", "tenant.environments.quotas"] {
        for (name, key) in &declared.quotas {
            let sums = if key.sums { " The total of the environments counts." } else { "" };
            fields.push((format!("{place}.{name}"), "number".to_owned(), format!("Unit: {}.{sums}", key.unit)));
        }
    }
    for (path, names) in [
        ("tenant.region", declared.regions.keys().cloned().collect::<Vec<_>>()),
        ("tenant.environments.name", declared.environments.clone()),
    ] {
        if let Some((_, _, means)) = fields.iter_mut().find(|(field, ..)| field == path) {
            means.push_str(&format!(" Default declarations: {}.", names.join(", ")));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_explain_a_field_and_the_fields_below() {
        let text = page("tenant.quotas", false).expect("a page");
        assert!(text.starts_with("tenant.quotas  (object)\nLimits of the tenant."), "{text}");
        assert!(text.contains("apiRateLimit    number  Unit: requests per second."), "{text}");
        assert!(page("tenant.quotas.storageGiB", false).is_ok());
        let failure = page("tenant.quota", false).expect_err("none");
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::NotFound, "no field tenant.quota; did you mean tenant.quotas?")
        );
    }

    #[test]
    fn must_explain_every_field_of_a_manifest() {
        let declared = Declared::default();
        let unknown =
            serde_json::json!({"nonsense": 1, "environments": [{"nonsense": 1}], "webhooks": [{"nonsense": 1}]});
        explains("tenant", tenancy_core::manifest::Manifest::parse(&declared, &unknown).map(drop));
        let unknown = serde_json::json!({"nonsense": 1, "caps": {"nonsense": 1}, "webhooks": [{"nonsense": 1}]});
        let read = tenancy_core::rules::organizations::OrganizationManifest::parse(&declared, &unknown);
        explains("organization", read.map(drop));
        let unknown = serde_json::json!({"nonsense": 1, "address": {"nonsense": 1}});
        let read = tenancy_core::rules::placement_manifest::PlacementManifest::parse(&declared, &unknown, None);
        explains("placement", read.map(drop));
    }

    /// Checks that each field is explained that a manifest with unknown fields is told of.
    fn explains(kind: &str, read: Result<(), tenancy_core::Error>) {
        let Err(tenancy_core::Error::Invalid(violations)) = read else { unreachable!("it has unknown fields") };
        let fields = all();
        for violation in violations.iter().filter(|violation| violation.code == "unknown_field") {
            let (_, known) = violation.message.split_once("; known fields: ").expect("the list of fields");
            let place =
                violation.pointer.split('/').filter(|part| part.parse::<usize>().is_err() && *part != "nonsense");
            let place: Vec<_> = std::iter::once(kind).chain(place.filter(|part| !part.is_empty())).collect();
            for field in known.split(", ") {
                let path = format!("{}.{field}", place.join("."));
                assert!(fields.iter().any(|(known, ..)| *known == path), "{path} is not explained");
            }
        }
    }
}
