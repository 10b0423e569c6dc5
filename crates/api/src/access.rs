//! Access: whether a tenant may be served now. The server and the agent answer it in the same form, as JSON and as
//! headers.

use crate::viewpoint::Viewpoint;
use crate::word::Word;
use serde::{Deserialize, Serialize};
use tenancy_core::access::{AccessLevel, AccessReason, quotas_of_environment, quotas_of_tenant, refusal};
use tenancy_core::declared::Declared;
use tenancy_core::environment::Environment;
use tenancy_core::ids::Alias;
use tenancy_core::json::Object;
use tenancy_core::quotas::counted;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::State;
use utoipa::ToSchema;

/// Whether a tenant may be served, and on which terms. Texts are owned, because caches keep the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Access {
    /// Id of the tenant.
    #[schema(example = "acme-eu")]
    pub tenant_id: String,
    /// Organization that owns the tenant.
    #[schema(example = "acme")]
    pub organization_id: String,
    /// Aliases of the tenant, as `kind:value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Whether the tenant may be served, in the requested environment if the request named one.
    pub allowed: bool,
    /// Why the tenant must not be served: `tenant_draft`, `tenant_suspended`, `tenant_archived`, `tenant_purged`,
    /// `environment_missing`, `environment_not_provisioned`, or `hold_` and the kind of the hold. Omitted if it may be
    /// served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "hold_billing")]
    pub reason: Option<AccessReason>,
    /// Current state.
    #[schema(value_type = crate::schema::State)]
    pub state: Word<State>,
    /// What the tenant may do: `full` or `none`.
    #[schema(value_type = crate::schema::AccessLevel)]
    pub access_level: Word<AccessLevel>,
    /// Plan of the tenant: `billing.plan`. Shown to keys without a scope only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Quotas in effect: of the requested environment if the request named one, otherwise of the whole tenant. A quota
    /// that an environment does not set has the value of the tenant. A quota that the tenant does not set has the sum
    /// of its environments.
    #[serde(default)]
    pub quotas: Object,
    /// Region: of the requested environment if the request named one, otherwise the home region of the tenant.
    #[schema(example = "eu-west-1")]
    pub region: String,
    /// Environment that the request named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Environments of the tenant, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentAccess>,
    /// Version of the manifest.
    pub version: i64,
    /// Log position: the answer includes every event of the tenant up to it.
    pub position: i64,
}

/// An environment of a tenant in an [`Access`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentAccess {
    /// Name of the environment.
    #[schema(example = "prod")]
    pub name: String,
    /// Region of the environment.
    #[schema(example = "eu-west-1")]
    pub region: String,
    /// Quotas in effect for the environment.
    #[serde(default)]
    pub quotas: Object,
    /// State of the tenant when a job last changed the environment.
    #[schema(value_type = crate::schema::State)]
    pub state: Word<State>,
    /// Whether a job has provisioned the environment.
    pub provisioned: bool,
}

impl Access {
    /// Builds the answer for a whole tenant. `position`: a log position that was read before the snapshot.
    pub fn of(declared: &Declared, viewpoint: Viewpoint<'_>, snapshot: &TenantSnapshot, position: i64) -> Self {
        let tenant = &snapshot.tenant;
        let plan = tenant.terms.billing.get("plan").and_then(|plan| plan.as_str()).map(str::to_owned);
        Self {
            tenant_id: tenant.tenant_id.as_str().to_owned(),
            organization_id: tenant.organization_id.as_str().to_owned(),
            aliases: snapshot.aliases.iter().map(|alias| alias.as_str().to_owned()).collect(),
            allowed: true,
            reason: None,
            state: tenant.facts.state.into(),
            access_level: AccessLevel::Full.into(),
            plan: viewpoint.internal(plan).flatten(),
            quotas: quotas_of_tenant(snapshot),
            region: tenant.terms.region.clone(),
            environment: None,
            environments: snapshot.environments.iter().map(|e| EnvironmentAccess::of(snapshot, e)).collect(),
            version: tenant.terms.version,
            position,
        }
        .refused_for(refusal(declared, snapshot))
    }

    /// Returns the answer for one environment of the tenant.
    #[must_use]
    pub fn in_environment(&self, name: &str) -> Self {
        let mut access = Self { environment: Some(name.to_owned()), ..self.clone() };
        let mut reason = None;
        match self.environments.iter().find(|environment| environment.name == name) {
            None => reason = Some(AccessReason::EnvironmentMissing),
            Some(environment) => {
                access.region.clone_from(&environment.region);
                access.quotas.clone_from(&environment.quotas);
                if !environment.provisioned {
                    reason = Some(AccessReason::EnvironmentNotProvisioned);
                }
            }
        }
        // The reason of the tenant comes first: it concerns every environment.
        if access.allowed { access.refused_for(reason) } else { access }
    }

    fn refused_for(mut self, reason: Option<AccessReason>) -> Self {
        if reason.is_some() {
            (self.allowed, self.access_level) = (false, AccessLevel::None.into());
            self.reason = reason;
        }
        self
    }

    /// Returns the answer as headers, in lower case: `x-tenant-id`, `x-tenant-organization`, `x-tenant-state`,
    /// `x-tenant-region`, `x-tenant-version`, `x-tenant-reason` (if refused), `x-tenant-environment` (if requested),
    /// `x-tenant-plan` (if known), and one `x-tenant-quota-…` for each quota that is a number. Values are visible ASCII;
    /// all other bytes, and `%`, are percent-encoded.
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![
            ("x-tenant-id".to_owned(), header_text(&self.tenant_id)),
            ("x-tenant-organization".to_owned(), header_text(&self.organization_id)),
            ("x-tenant-state".to_owned(), header_text(self.state.as_str())),
            ("x-tenant-region".to_owned(), header_text(&self.region)),
            ("x-tenant-version".to_owned(), self.version.to_string()),
        ];
        let mut add = |name: &str, value: Option<String>| {
            headers.extend(value.map(|value| (name.to_owned(), header_text(&value))));
        };
        add(REASON_HEADER, self.reason.as_ref().map(ToString::to_string));
        add(ENVIRONMENT_HEADER, self.environment.clone());
        add("x-tenant-plan", self.plan.clone());
        let numbers = self.quotas.iter().filter_map(|(name, value)| Some((quota_header(name)?, counted(value)?)));
        headers.extend(numbers.take(MAX_QUOTA_HEADERS).map(|(name, value)| (name, value.to_string())));
        headers
    }
}

impl EnvironmentAccess {
    fn of(snapshot: &TenantSnapshot, environment: &Environment) -> Self {
        Self {
            name: environment.name.clone(),
            region: environment.region.clone(),
            quotas: quotas_of_environment(snapshot, environment),
            state: environment.state.into(),
            provisioned: environment.provisioned_at.is_some(),
        }
    }
}

/// Header of the reason why a request must not be served.
pub const REASON_HEADER: &str = "x-tenant-reason";
/// Request header that names the tenant: its id, or an alias as `kind:value`.
pub const TENANT_HEADER: &str = "x-tenant";
/// Request header that names the environment. The answer repeats it.
pub const ENVIRONMENT_HEADER: &str = "x-tenant-environment";
/// Maximum number of `x-tenant-quota-…` headers, so that the answer fits into the buffers of gateways.
pub const MAX_QUOTA_HEADERS: usize = 24;

/// Reason in [`REASON_HEADER`]: the request names no tenant.
pub const TENANT_NOT_NAMED: &str = "tenant_not_named";
/// Reason in [`REASON_HEADER`]: no tenant has the id or alias, or the key of the gateway does not reach it.
pub const TENANT_UNKNOWN: &str = "tenant_unknown";
/// Reason in [`REASON_HEADER`]: a header, or a parameter, that names the tenant or the environment is repeated or cannot
/// be read.
pub const BAD_REQUEST: &str = "bad_request";

/// Returns the header of a quota; `None` if its name cannot be a header.
fn quota_header(name: &str) -> Option<String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    (is_plain && !name.is_empty()).then(|| format!("x-tenant-quota-{}", name.to_ascii_lowercase()))
}

/// Returns a text as the value of a header.
pub fn header_text(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            value.push(char::from(byte));
        } else {
            value.push_str(&format!("%{byte:02X}"));
        }
    }
    value
}

/// What a gateway asks about, in a request to `/v1/access/auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Id of the tenant, or an alias as `kind:value`.
    pub tenant: String,
    /// Name of the environment.
    pub environment: Option<String>,
}

impl Asked {
    /// Reads what a gateway asks about. The tenant is named, in this order, by the header `X-Tenant`, by the query
    /// parameters `tenant` or `alias`, by `X-Forwarded-Host`, or by `Host`: the last two as an alias of kind `host`,
    /// without the port. The environment is named by the header `X-Tenant-Environment` or by the query parameter
    /// `environment`.
    ///
    /// `query` must be empty if the path has a suffix: a gateway that appends the path of its client also appends the
    /// query of its client, which could then name another tenant. `headers` are all headers of the request, with names
    /// in lower case.
    ///
    /// # Errors
    /// The reason for [`REASON_HEADER`]: [`TENANT_NOT_NAMED`], [`TENANT_UNKNOWN`] or [`BAD_REQUEST`].
    pub fn of<'a>(
        headers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        query: &[(String, String)],
    ) -> Result<Self, &'static str> {
        // A header that occurs twice was perhaps added by the client: the gateway must replace it.
        let header = |name: &str| only(headers.clone().filter(|(named, _)| *named == name).map(|(_, value)| value));
        let parameter =
            |name: &str| only(query.iter().filter(|(named, _)| named == name).map(|(_, value)| value.as_str()));
        let environment = header(ENVIRONMENT_HEADER)?.or(parameter("environment")?).map(str::to_owned);
        if let Some(named) = header(TENANT_HEADER)?.or(parameter("tenant")?).or(parameter("alias")?) {
            return Ok(Self { tenant: named.to_owned(), environment });
        }
        let host = header("x-forwarded-host")?.or(header("host")?).ok_or(TENANT_NOT_NAMED)?;
        let alias = Alias::new(Alias::HOST, without_port(host)).map_err(|_| TENANT_UNKNOWN)?;
        Ok(Self { tenant: alias.as_str().to_owned(), environment })
    }
}

/// Returns the only value, if there is one that is not empty.
fn only<'a>(mut values: impl Iterator<Item = &'a str>) -> Result<Option<&'a str>, &'static str> {
    let first = values.next();
    if values.next().is_some() {
        return Err(BAD_REQUEST);
    }
    Ok(first.map(str::trim).filter(|value| !value.is_empty()))
}

/// Returns the host without its port. The colons of an IPv6 address are in brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        serde_json::from_str(
            r#"{"tenant_id":"acme-eu","organization_id":"acme","allowed":true,"state":"Active","access_level":"full",
            "plan":"größte 5%","quotas":{"apiRateLimit":200,"note":"x","ö":3},"region":"eu-west-1","version":3,"position":9,
            "environments":[{"name":"dev","region":"us-east-1","quotas":{"apiRateLimit":5},"state":"Draft","provisioned":false},
            {"name":"prod","region":"eu-west-1","quotas":{"apiRateLimit":150},"state":"Active","provisioned":true}]}"#,
        )
        .expect("an access")
    }

    #[test]
    fn must_answer_for_an_environment_with_its_region_its_quotas_and_its_reason() {
        let prod = access().in_environment("prod");
        assert!(prod.allowed && prod.quotas["apiRateLimit"] == 150);
        let dev = access().in_environment("dev");
        assert_eq!(
            (dev.allowed, dev.reason, dev.region.as_str()),
            (false, Some(AccessReason::EnvironmentNotProvisioned), "us-east-1")
        );
        assert_eq!(access().in_environment("qa").reason, Some(AccessReason::EnvironmentMissing));
        let held = access().refused_for(Some(AccessReason::Hold("abuse".to_owned())));
        assert_eq!(held.in_environment("qa").reason, held.reason);
        assert!(held.access_level == AccessLevel::None);
    }

    #[test]
    fn must_write_headers_of_visible_characters_only() {
        let headers = access().in_environment("qa").headers();
        let value = |name: &str| headers.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str());
        assert_eq!(value("x-tenant-quota-apiratelimit"), Some("200"));
        assert_eq!(value("x-tenant-plan"), Some("gr%C3%B6%C3%9Fte%205%25"));
        assert_eq!(value(REASON_HEADER), Some("environment_missing"));
        assert_eq!(value(ENVIRONMENT_HEADER), Some("qa"));
        assert!(headers.iter().all(|(name, value)| {
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && value.bytes().all(|b| b.is_ascii_graphic())
        }));
    }

    #[test]
    fn must_find_the_tenant_that_the_gateway_names() {
        let asked = |headers: &[(&str, &str)], query: &[(&str, &str)]| {
            let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Asked::of(headers.iter().copied(), &query).map(|asked| (asked.tenant, asked.environment))
        };
        let of = |tenant: &str| Ok((tenant.to_owned(), None));
        assert_eq!(asked(&[("x-tenant", "acme-eu"), ("host", "x")], &[("tenant", "acme-us")]), of("acme-eu"));
        assert_eq!(asked(&[("host", "x")], &[("alias", "stripe:cus_9")]), of("stripe:cus_9"));
        assert_eq!(
            asked(&[("host", "10.0.0.1:80"), ("x-forwarded-host", "Acme.Example.com:8443")], &[]),
            of("host:acme.example.com")
        );
        let prod = Ok(("acme-eu".to_owned(), Some("prod".to_owned())));
        assert_eq!(
            asked(&[("x-tenant", "acme-eu"), ("x-tenant-environment", "prod")], &[("environment", "dev")]),
            prod
        );
        assert_eq!(asked(&[("x-tenant", "acme-eu"), ("x-tenant", "acme-us")], &[]), Err(BAD_REQUEST));
        assert_eq!(asked(&[("x-forwarded-host", "a.example, b.example")], &[]), Err(TENANT_UNKNOWN));
        assert_eq!(asked(&[("x-tenant", "")], &[]), Err(TENANT_NOT_NAMED));
    }
}
