//! Owned wire types for the client. Each is kept together with the received JSON, which `-o json` prints.

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use serde_json::Value;
use tenancy_api::{environment, event, job, key, organization, tenant, version};

/// A tenant.
pub type Tenant = tenant::Tenant<'static>;
/// A tenant in a list.
pub type TenantRow = tenant::TenantRow<'static>;
/// A hold.
pub type Hold = tenant::Hold<'static>;
/// An organization.
pub type Organization = organization::Organization<'static>;
/// An environment.
pub type Environment = environment::Environment<'static>;
/// A job.
pub type Job = job::Job<'static>;
/// The open job of a tenant.
pub type OpenJob = job::OpenJob<'static>;
/// An API key.
pub type Key = key::Key<'static>;
/// A kept version of a tenant.
pub type TenantVersion = version::TenantVersion<'static>;
/// An audit event.
pub type AuditEvent = event::AuditEvent<'static>;

/// The verification of a part of the audit log.
pub type LogVerification = tenancy_api::verification::LogVerification;

/// A value from the server: as its wire type and as the received JSON. A newer server can send fields that the type
/// does not have.
#[derive(Debug, Clone)]
pub struct Received<T> {
    /// Typed value, for commands.
    pub value: T,
    /// Received JSON, for `-o json` and `-o yaml`.
    pub raw: Value,
}

impl<T: DeserializeOwned> Received<T> {
    /// Converts received JSON.
    ///
    /// # Errors
    /// Fails if the JSON does not have the shape of `T`.
    pub fn of(raw: Value) -> Result<Self, serde_json::Error> {
        Ok(Self { value: T::deserialize(&raw)?, raw })
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Received<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Complete values for tests; each test states only the fields that matter to it.
#[cfg(test)]
pub mod samples {
    use super::{Job, Received, Tenant};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};
    use tenancy_api::Problem;

    const TIME: &str = "2026-11-20T12:00:00Z";

    fn over<T: DeserializeOwned>(mut whole: Value, said: Value) -> Received<T> {
        let (Value::Object(fields), Value::Object(said)) = (&mut whole, said) else { panic!("objects") };
        fields.extend(said);
        Received::of(whole).expect("the shape of the type")
    }

    /// A tenant.
    pub fn tenant(said: Value) -> Received<Tenant> {
        let whole = json!({
            "tenant_id": "acme-eu", "organization_id": "acme", "profile": "mt-standard", "region": "eu-west-1",
            "state": "Active", "state_since": TIME, "version": 1, "counter": 1, "holds": [],
            "created_at": TIME, "updated_at": TIME,
        });
        over(whole, said)
    }

    /// A job.
    pub fn job(said: Value) -> Received<Job> {
        let whole = json!({
            "job_id": "job_1", "tenant_id": "acme-eu", "action": "create", "state": "running", "progress": 0.0,
            "steps": [], "due_at": TIME, "attempt": 1, "correlation_id": "c", "requested_by": "user:key_1",
            "created_at": TIME, "updated_at": TIME,
        });
        over(whole, said)
    }

    /// A problem.
    pub fn problem(status: u16, said: Value) -> Problem {
        let whole = json!({"type": "about:blank", "title": "Refused", "status": status, "correlation_id": "c"});
        over(whole, said).value
    }
}
