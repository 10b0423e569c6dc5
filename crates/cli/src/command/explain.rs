//! `explain`: what a field of a manifest means.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::table::{Cell, Table};
use crate::terminal::{Colour, colours, say, write};
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
    /// A kind of document or a field of one
    #[arg(default_value = "tenant")]
    field: String,
    #[command(flatten)]
    output: Output,
}

/// Each field by its path: what it takes, and what it means.
const FIELDS: &[(&str, &str, &str)] = &[
    ("organization", "document", "a customer: owns tenants, and caps how much they may be in sum"),
    ("organization.kind", "Organization", "what this document is; required"),
    ("organization.organization_id", "name", "global, yours to choose; 2 to 64 of a-z, 0-9 and -; required"),
    ("organization.display_name", "text", "for people; at most 255 bytes"),
    ("organization.labels", "text to text", "for your filters; keys under internal/ are not shown to customers"),
    ("organization.caps", "object", "what its tenants may be at most; what is absent has no cap"),
    ("organization.caps.tenants", "number", "how many tenants; what is not purged counts"),
    ("organization.caps.quotas", "object", "the sum of a quota over all its tenants"),
    ("tenant", "document", "one isolated customer instance"),
    ("tenant.kind", "Tenant", "what this document is; required"),
    ("tenant.tenant_id", "name", "global, yours to choose, never used twice; 2 to 64 of a-z, 0-9 and -"),
    ("tenant.organization_id", "name", "who owns it; required"),
    ("tenant.display_name", "text", "for people; at most 255 bytes"),
    (
        "tenant.profile",
        "word",
        "mt-standard: shared placement (the default); st-dedicated: its own, every environment strict",
    ),
    ("tenant.desired_state", "word", "Active or Suspended; as it is when left out. A hold overrides it"),
    ("tenant.region", "word", "the home region; required"),
    ("tenant.labels", "text to text", "for your filters: get tenants -l tier=gold"),
    (
        "tenant.aliases",
        "kind to text or list",
        "other names it is found by: stripe: cus_9s6 is stripe:cus_9s6; each leads to one tenant",
    ),
    ("tenant.quotas", "object", "how much it may use; the environments' shares must fit in, in sum"),
    ("tenant.policies", "object", "what must hold for its data"),
    (
        "tenant.policies.dataResidency",
        "word",
        "in-region-only, in-jurisdiction or unrestricted: where environments may be",
    ),
    ("tenant.policies.encryption", "word", "kms-per-tenant or platform"),
    (
        "tenant.policies.retentionDays",
        "number",
        "how long the platform keeps the tenant's own data; environments may keep less, not more; without end when left out",
    ),
    ("tenant.policies.purgeAfterDays", "number", "how long its data outlives its archiving; 30 when left out"),
    ("tenant.billing", "object", "references of your billing; what is not known is kept as it came, with a warning"),
    ("tenant.billing.plan", "text", "what they pay for; at most 255 bytes"),
    ("tenant.billing.costCenter", "text", "who pays for it; at most 255 bytes"),
    (
        "tenant.deletion_protection",
        "true or false",
        "while it stands, the tenant cannot be deleted; off needs --allow protection-off",
    ),
    (
        "tenant.environments",
        "list",
        "by name: dev, stage, prod. A name that is missing in a list that is given asks to remove it",
    ),
    ("tenant.environments.name", "word", "declared by the server, unique in the tenant; required"),
    ("tenant.environments.region", "word", "where; the tenant's region when left out"),
    ("tenant.environments.isolation_level", "word", "strict: nothing shared with other tenants (the default); shared"),
    ("tenant.environments.quotas", "object", "its share of the tenant's quotas"),
    (
        "tenant.environments.retention_days",
        "number",
        "how long its data is kept; not above policies.retentionDays, which it is when left out; without both, without end",
    ),
    ("tenant.webhooks", "list", "by name: who is told of events. Recorded; nothing is sent yet"),
    ("tenant.webhooks.name", "name", "unique in the tenant; required"),
    ("tenant.webhooks.url", "URL", "where events go; required"),
    ("tenant.webhooks.events", "list", "event types, such as TENANCY_SUSPENDED or TENANCY_*; required"),
    ("tenant.webhooks.retry_policy", "object", "backoff (exponential or fixed) and max_retries (0 to 100)"),
];

/// Runs it.
///
/// # Errors
/// When there is no such field.
pub fn run(given: Explain) -> Result<Exit, Failure> {
    let text = page(&given.field, colours())?;
    let rows = || below(&given.field);
    match given.output.output {
        Format::Json => write(&yaml::json(&json!(rows().collect::<Vec<_>>()))?)?,
        Format::Yaml => write(&yaml::yaml(&json!(rows().collect::<Vec<_>>()))?)?,
        Format::Name => rows().try_for_each(|row| say(&row.field))?,
        Format::Table | Format::Wide => write(&text)?,
    }
    Ok(Exit::Done)
}

/// A field, for programs.
#[derive(Debug, Serialize)]
struct Field {
    field: String,
    takes: String,
    means: String,
}

/// A field and all below it.
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
        let message = format!("there is no field {path}{}", near.unwrap_or_default());
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
        text.push_str(&Table::new(["FIELD", "TAKES", "MEANS"], colours).render(&below));
    }
    Ok(text)
}

/// The fields, with what is declared and built in: a server's configuration may declare others.
fn all() -> Vec<(String, String, String)> {
    let declared = Declared::default();
    let mut fields: Vec<_> = FIELDS
        .iter()
        .map(|(path, takes, means)| ((*path).to_owned(), (*takes).to_owned(), (*means).to_owned()))
        .collect();
    for place in ["organization.caps.quotas", "tenant.quotas", "tenant.environments.quotas"] {
        for (name, key) in &declared.quotas {
            let sums = if key.sums { "; the environments' add up" } else { "" };
            fields.push((format!("{place}.{name}"), "number".to_owned(), format!("{}{sums}", key.unit)));
        }
    }
    for (path, names) in [
        ("tenant.region", declared.regions.keys().cloned().collect::<Vec<_>>()),
        ("tenant.environments.name", declared.environments.clone()),
    ] {
        if let Some((_, _, means)) = fields.iter_mut().find(|(field, ..)| field == path) {
            means.push_str(&format!("; built in: {}", names.join(", ")));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_explain_a_field_and_what_is_below() {
        let text = page("tenant.quotas", false).expect("a page");
        assert!(text.starts_with("tenant.quotas  (object)\nhow much it may use"), "{text}");
        assert!(text.contains("apiRateLimit    number  requests per second"), "{text}");
        assert!(page("tenant.quotas.storageGiB", false).is_ok());
        let failure = page("tenant.quota", false).expect_err("none");
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::NotFound, "there is no field tenant.quota; did you mean tenant.quotas?")
        );
    }

    #[test]
    fn must_explain_every_field_that_a_manifest_takes() {
        let declared = Declared::default();
        let unknown =
            serde_json::json!({"nonsense": 1, "environments": [{"nonsense": 1}], "webhooks": [{"nonsense": 1}]});
        let Err(tenancy_core::Error::Invalid(violations)) =
            tenancy_core::manifest::Manifest::parse(&declared, &unknown)
        else {
            unreachable!("it has unknown fields");
        };
        let fields = all();
        for violation in violations.iter().filter(|violation| violation.code == "unknown_field") {
            let (_, known) = violation.message.split_once("; there are ").expect("the list of fields");
            let place =
                violation.pointer.split('/').filter(|part| part.parse::<usize>().is_err() && *part != "nonsense");
            let place: Vec<_> = std::iter::once("tenant").chain(place.filter(|part| !part.is_empty())).collect();
            for field in known.split(", ") {
                let path = format!("{}.{field}", place.join("."));
                assert!(fields.iter().any(|(known, ..)| *known == path), "{path} is not explained");
            }
        }
    }
}
