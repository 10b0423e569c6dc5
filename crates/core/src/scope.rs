//! Scopes of keys: everything, one organization, or one tenant.

use crate::ids::{OrganizationId, TenantId};
use std::fmt;

/// Scope of a key. Resources outside the scope do not exist for the caller: reads answer 404, lists omit them.
///
/// It is one column of the key: `all`, `organization:acme` or `tenant:acme-eu`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every organization and every tenant.
    All,
    /// One organization and its tenants.
    Organization(OrganizationId),
    /// One tenant.
    Tenant(TenantId),
}

/// Syntax of a scope, for error messages.
pub const SCOPE_RULE: &str = "must be all, organization:ID or tenant:ID";

impl Scope {
    /// Parses a scope; `None` if the text is not a scope.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => (text == "all").then_some(Self::All),
            Some(("organization", id)) => OrganizationId::parse(id).ok().map(Self::Organization),
            Some(("tenant", id)) => TenantId::parse(id).ok().map(Self::Tenant),
            Some(_) => None,
        }
    }

    /// Whether the scope includes everything.
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// Whether the scope includes a tenant of an organization.
    pub fn reaches(&self, tenant: &TenantId, organization: &OrganizationId) -> bool {
        match self {
            Self::All => true,
            Self::Organization(id) => id == organization,
            Self::Tenant(id) => id == tenant,
        }
    }

    /// Whether the scope includes an organization itself, and not only one of its tenants.
    pub fn reaches_organization(&self, organization: &OrganizationId) -> bool {
        match self {
            Self::All => true,
            Self::Organization(id) => id == organization,
            Self::Tenant(_) => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Organization(id) => write!(f, "organization:{id}"),
            Self::Tenant(id) => write!(f, "tenant:{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_read_what_it_writes_and_nothing_else() {
        for text in ["all", "organization:acme", "tenant:acme-eu"] {
            assert_eq!(Scope::parse(text).map(|scope| scope.to_string()).as_deref(), Some(text));
        }
        for bad in ["", "All", "acme", "organization:", "tenant:", "tenant:a b", "key:x", "all:x"] {
            assert_eq!(Scope::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn must_reach_what_lies_inside_and_nothing_outside() {
        let (acme, globex) = (OrganizationId::known("acme"), OrganizationId::known("globex"));
        let (eu, us) = (TenantId::known("acme-eu"), TenantId::known("acme-us"));
        let organization = Scope::Organization(acme.clone());
        assert!(organization.reaches(&eu, &acme) && !organization.reaches(&eu, &globex));
        assert!(organization.reaches_organization(&acme) && !organization.reaches_organization(&globex));
        let tenant = Scope::Tenant(eu.clone());
        assert!(tenant.reaches(&eu, &acme) && !tenant.reaches(&us, &acme));
        assert!(!tenant.reaches_organization(&acme));
        assert!(Scope::All.reaches(&us, &globex) && Scope::All.reaches_organization(&globex));
    }
}
