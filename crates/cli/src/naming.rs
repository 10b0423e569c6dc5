//! How a person names a tenant, an environment, a job or a key on the command line.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::TenantWebhook;
use crate::listing::{List, MAX_SEARCHED_ITEMS};
use crate::program::quoted;
use crate::wire::{Job, Key, Received};
use serde::Deserialize;
use serde_json::{Map, Value};
use tenancy_core::nearest::nearest;

/// `acme-eu`, `stripe:cus_9s6`, or `acme-eu/prod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name<'a> {
    /// A tenant, by its id or an alias.
    Tenant(&'a str),
    /// An environment of a tenant.
    Environment(&'a str, &'a str),
}

/// Reads a name. One slash parts tenant and environment; an alias may hold slashes of its own, and then has several.
pub fn name(text: &str) -> Name<'_> {
    match text.split_once('/') {
        Some((tenant, environment)) if !tenant.is_empty() && !environment.is_empty() && !environment.contains('/') => {
            Name::Environment(tenant, environment)
        }
        _ => Name::Tenant(text),
    }
}

/// A name that must be a tenant's: lifecycle actions are on whole tenants.
///
/// # Errors
/// A usage error that names the tenant.
pub fn tenant(text: &str) -> Result<&str, Failure> {
    match name(text) {
        Name::Tenant(tenant) => Ok(tenant),
        Name::Environment(tenant, _) => {
            Err(Failure::usage(format!("this acts on a whole tenant: write {tenant}, not {text}")))
        }
    }
}

/// Whether it looks like a job's id.
pub fn is_job(text: &str) -> bool {
    text.starts_with("job_")
}

/// A job by its id alone, or as `acme-eu/job_…`, which needs no search.
///
/// # Errors
/// When it is not found.
pub async fn job(client: &Client, id: &str) -> Result<Received<Job>, Failure> {
    if let Name::Environment(tenant, id) = name(id) {
        return client.get(&["tenants", tenant, "jobs", id]).await;
    }
    let Some(found) = List::of(&["jobs"]).find(client, |job: &Job| job.job_id == id).await? else {
        let failure = Failure::new(Exit::NotFound, format!("there is no job {id:?} among the newest"));
        return Err(failure.and_type("get jobs"));
    };
    client.get(&["tenants", &found.value.tenant_id, "jobs", id]).await
}

/// A tenant's webhooks as they came.
#[derive(Deserialize)]
struct TenantOfWebhooks {
    tenant_id: String,
    #[serde(default)]
    webhooks: Vec<Map<String, Value>>,
}

/// The webhooks of a tenant, each with its tenant's id.
///
/// # Errors
/// What the server says.
pub async fn webhooks(client: &Client, tenant: &str) -> Result<Vec<Received<TenantWebhook>>, Failure> {
    let tenant: TenantOfWebhooks = client.get(&["tenants", tenant]).await?.value;
    let owned = tenant.webhooks.into_iter().map(|mut webhook| {
        webhook.insert("tenant_id".to_owned(), tenant.tenant_id.clone().into());
        Received::of(Value::Object(webhook))
    });
    owned.collect::<Result<_, _>>().map_err(|error| Failure::refused(format!("a webhook cannot be read: {error}")))
}

/// A webhook, as `acme-eu/main`.
///
/// # Errors
/// When there is none of that name, with the nearest.
pub async fn webhook(client: &Client, wanted: &str) -> Result<Received<TenantWebhook>, Failure> {
    let Name::Environment(tenant, wanted) = name(wanted) else {
        return Err(Failure::usage(format!("a webhook is written tenant/webhook, not {wanted:?}")));
    };
    let mut webhooks = webhooks(client, tenant).await?;
    if let Some(at) = webhooks.iter().position(|webhook| webhook.value.webhook.name == wanted) {
        return Ok(webhooks.swap_remove(at));
    }
    let near = nearest(wanted, webhooks.iter().map(|webhook| &*webhook.value.webhook.name));
    let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let failure = Failure::new(Exit::NotFound, format!("{tenant} has no webhook {wanted:?}{near}"));
    Err(failure.and_type(&format!("get webhooks {}", quoted(tenant))))
}

/// A key by its id, or by its name while it is good.
///
/// # Errors
/// When it is not found, with the nearest name.
pub async fn key(client: &Client, wanted: &str) -> Result<Received<Key>, Failure> {
    let mut keys: Vec<Received<Key>> = List::of(&["keys"]).at_most(Some(MAX_SEARCHED_ITEMS)).all(client).await?;
    let is_good = |key: &Key| key.revoked_at.is_none();
    let is = |key: &Received<Key>| key.value.key_id == wanted || (key.value.name == wanted && is_good(&key.value));
    if let Some(at) = keys.iter().position(is) {
        return Ok(keys.swap_remove(at));
    }
    let names = keys.iter().filter(|key| is_good(&key.value)).map(|key| &*key.value.name);
    let near = nearest(wanted, names).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let message = format!("there is no key {wanted:?} that is good{near}");
    Err(Failure::new(Exit::NotFound, message).and_type("key list"))
}

/// The newest job of a tenant, with its log.
///
/// # Errors
/// What the server says.
pub async fn newest_job(client: &Client, tenant: &str) -> Result<Option<Received<Job>>, Failure> {
    let segments = ["tenants", tenant, "jobs"];
    let newest: Vec<Received<Job>> = List::of(&segments).at_most(Some(1)).all(client).await?;
    let Some(job) = newest.first() else { return Ok(None) };
    client.get(&["tenants", tenant, "jobs", &job.value.job_id]).await.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_part_tenant_and_environment_and_leave_an_alias_whole() {
        assert_eq!(name("acme-eu"), Name::Tenant("acme-eu"));
        assert_eq!(name("acme-eu/prod"), Name::Environment("acme-eu", "prod"));
        assert_eq!(name("host:acme.example.com/prod"), Name::Environment("host:acme.example.com", "prod"));
        assert_eq!(name("url:https://a/b"), Name::Tenant("url:https://a/b"));
        assert_eq!(name("acme-eu/"), Name::Tenant("acme-eu/"));
        assert_eq!(tenant("acme-eu/prod").expect_err("an environment").exit, Exit::Usage);
    }
}
