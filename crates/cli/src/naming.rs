//! Resolves names of tenants, environments, jobs, webhooks and keys from the command line.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::TenantWebhook;
use crate::listing::{List, MAX_SEARCHED_ITEMS};
use crate::program::quoted;
use crate::wire::{Job, Key, Received, TenantRow};
use serde::Deserialize;
use serde_json::{Map, Value};
use tenancy_core::nearest::nearest;

/// `acme-eu`, `stripe:cus_9s6`, or `acme-eu/prod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name<'a> {
    /// Id or alias of a tenant.
    Tenant(&'a str),
    /// Tenant and name of an environment.
    Environment(&'a str, &'a str),
}

/// Parses a name. One slash separates tenant and environment. What has a colon before its first slash is an alias of a
/// tenant, such as a URL; [`resolved`] finds out whether its last part names an environment.
pub fn name(text: &str) -> Name<'_> {
    match text.split_once('/') {
        Some((tenant, environment)) if !is_alias(text) && is_name(tenant) && is_name(environment) => {
            Name::Environment(tenant, environment)
        }
        _ => Name::Tenant(text),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

/// Returns whether the text is an alias such as `github:acme/web`, perhaps with the name of an environment behind it.
fn is_alias(text: &str) -> bool {
    text.split('/').next().is_some_and(|first| first.contains(':'))
}

/// Splits the name of something that a tenant has, such as `acme-eu/job_1`, `acme-eu/main` or `github:acme/web/main`.
pub fn part(text: &str) -> Option<(&str, &str)> {
    let (tenant, part) = text.rsplit_once('/')?;
    (!part.is_empty() && (is_alias(text) || is_name(tenant))).then_some((tenant, part))
}

/// Parses a name that can be that of a tenant or of an environment. An alias with a slash names the tenant that has this
/// alias. If none has it, the part behind the last slash is the name of an environment, as in `github:acme/web/dev`.
///
/// # Errors
/// Fails if a request fails, or if an alias is not found with or without its last part.
pub async fn resolved<'a>(client: &Client, text: &'a str) -> Result<Name<'a>, Failure> {
    let Some((tenant, environment)) = part(text).filter(|_| is_alias(text)) else { return Ok(name(text)) };
    let missing = match client.get::<TenantRow>(&["tenants", text]).await {
        Ok(_) => return Ok(Name::Tenant(text)),
        Err(failure) if failure.exit == Exit::NotFound => failure,
        Err(failure) => return Err(failure),
    };
    match client.get::<TenantRow>(&["tenants", tenant]).await {
        Ok(_) => Ok(Name::Environment(tenant, environment)),
        Err(failure) if failure.exit == Exit::NotFound => Err(missing),
        Err(failure) => Err(failure),
    }
}

/// Parses the name of a tenant. Lifecycle actions apply to whole tenants, not to environments.
///
/// # Errors
/// Fails with a usage error if the text names an environment.
pub fn tenant(text: &str) -> Result<&str, Failure> {
    match name(text) {
        Name::Tenant(tenant) => Ok(tenant),
        Name::Environment(tenant, _) => {
            Err(Failure::usage(format!("this command applies to a whole tenant: use {tenant}, not {text}")))
        }
    }
}

/// Parses `TENANT/JOB`, such as `acme-eu/job_018f4e9a`.
pub fn job_of_tenant(text: &str) -> Option<(&str, &str)> {
    part(text).filter(|(_, part)| !is_alias(text) || is_job(part))
}

/// Returns whether the text has the prefix of a job id.
pub fn is_job(text: &str) -> bool {
    text.starts_with("job_")
}

/// Returns a job by its id, or by `acme-eu/job_…`, which avoids a search.
///
/// # Errors
/// Fails if the job is not found.
pub async fn job(client: &Client, id: &str) -> Result<Received<Job>, Failure> {
    if let Some((tenant, id)) = job_of_tenant(id) {
        return client.get(&["tenants", tenant, "jobs", id]).await;
    }
    let Some(found) = List::of(&["jobs"]).find(client, |job: &Job| job.job_id == id).await? else {
        let failure = Failure::new(Exit::NotFound, format!("no job {id} among the newest {MAX_SEARCHED_ITEMS} jobs"));
        return Err(failure.and_type("get jobs"));
    };
    client.get(&["tenants", &found.value.tenant_id, "jobs", id]).await
}

/// A tenant's webhooks as the server sent them.
#[derive(Deserialize)]
struct TenantOfWebhooks {
    tenant_id: String,
    #[serde(default)]
    webhooks: Vec<Map<String, Value>>,
}

/// Returns the webhooks of a tenant, each with the id of the tenant.
///
/// # Errors
/// Fails if the request fails.
pub async fn webhooks(client: &Client, tenant: &str) -> Result<Vec<Received<TenantWebhook>>, Failure> {
    let tenant: TenantOfWebhooks = client.get(&["tenants", tenant]).await?.value;
    let owned = tenant.webhooks.into_iter().map(|mut webhook| {
        webhook.insert("tenant_id".to_owned(), tenant.tenant_id.clone().into());
        Received::of(Value::Object(webhook))
    });
    owned
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::refused(format!("cannot read a webhook of the response: {error}")))
}

/// Returns a webhook by `TENANT/WEBHOOK`, such as `acme-eu/main`.
///
/// # Errors
/// Fails if the webhook does not exist, and suggests the nearest name.
pub async fn webhook(client: &Client, wanted: &str) -> Result<Received<TenantWebhook>, Failure> {
    let Some((tenant, wanted)) = part(wanted) else {
        return Err(Failure::usage(format!("name a webhook as TENANT/WEBHOOK, not {wanted:?}")));
    };
    let mut webhooks = webhooks(client, tenant).await?;
    if let Some(at) = webhooks.iter().position(|webhook| webhook.value.webhook.name == wanted) {
        return Ok(webhooks.swap_remove(at));
    }
    let near = nearest(wanted, webhooks.iter().map(|webhook| &*webhook.value.webhook.name));
    let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let failure = Failure::new(Exit::NotFound, format!("tenant {tenant} has no webhook named {wanted}{near}"));
    Err(failure.and_type(&format!("get webhooks {}", quoted(tenant))))
}

/// Returns a key by its id, or by its name if it is not revoked.
///
/// # Errors
/// Fails if the key is not found, and suggests the nearest name.
pub async fn key(client: &Client, wanted: &str) -> Result<Received<Key>, Failure> {
    let mut keys: Vec<Received<Key>> = List::of(&["keys"]).at_most(Some(MAX_SEARCHED_ITEMS)).all(client).await?;
    let is_active = |key: &Key| key.revoked_at.is_none();
    let is = |key: &Received<Key>| key.value.key_id == wanted || (key.value.name == wanted && is_active(&key.value));
    if let Some(at) = keys.iter().position(is) {
        return Ok(keys.swap_remove(at));
    }
    let names = keys.iter().filter(|key| is_active(&key.value)).map(|key| &*key.value.name);
    let near = nearest(wanted, names).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let message = format!("no active key named {wanted}{near}");
    Err(Failure::new(Exit::NotFound, message).and_type("key list"))
}

/// Returns the newest job of a tenant, with its log.
///
/// # Errors
/// Fails if a request fails.
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
    fn must_separate_tenant_and_environment_and_not_split_an_alias() {
        assert_eq!(name("acme-eu"), Name::Tenant("acme-eu"));
        assert_eq!(name("acme-eu/prod"), Name::Environment("acme-eu", "prod"));
        for alias in ["host:acme.example.com/prod", "github:acme/web", "github:acme/web/dev"] {
            assert_eq!((name(alias), tenant(alias).ok()), (Name::Tenant(alias), Some(alias)));
        }
        assert_eq!(part("github:acme/web/dev"), Some(("github:acme/web", "dev")));
        assert_eq!(part("acme-eu/main"), Some(("acme-eu", "main")));
        assert_eq!(job_of_tenant("github:acme/web/job_1"), Some(("github:acme/web", "job_1")));
        assert_eq!((job_of_tenant("github:acme/web"), job_of_tenant("acme-eu")), (None, None));
        assert_eq!(name("url:https://a/b"), Name::Tenant("url:https://a/b"));
        assert_eq!(name("acme-eu/"), Name::Tenant("acme-eu/"));
        assert_eq!(tenant("acme-eu/prod").expect_err("an environment").exit, Exit::Usage);
    }
}
