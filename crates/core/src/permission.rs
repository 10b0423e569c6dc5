//! The permission tables.
//!
//! The permissions of a caller depend on the role of its key (operations), on the scope of its key (organizations and
//! tenants), and on the group of a field (parts of a document).

use crate::apikey::Role;
use crate::scope::Scope;
use crate::words::words;

words!(
    /// Operations that require a credential. Each route names the operation that it requires.
    Operation {
        /// Read an organization, or list them.
        ReadOrganizations = "read organizations",
        /// Create, change or close an organization.
        WriteOrganizations = "write organizations",
        /// Read tenants, environments, versions, webhooks, or list them.
        ReadTenants = "read tenants",
        /// Read whether tenants may be served, and on which terms.
        ReadAccess = "read access",
        /// Add, change and remove webhooks of organizations.
        WriteOrganizationWebhooks = "write webhooks of organizations",
        /// Read the webhooks of the platform.
        ReadPlatformWebhooks = "read webhooks of the platform",
        /// Add, change and remove webhooks of the platform, which receive all events.
        WritePlatformWebhooks = "write webhooks of the platform",
        /// Read placements.
        ReadPlacements = "read placements",
        /// Create, change and delete placements.
        WritePlacements = "write placements",
        /// See what a manifest would change.
        Plan = "plan changes",
        /// Register tenants.
        RegisterTenants = "register tenants",
        /// Change tenants.
        WriteTenants = "write tenants",
        /// Add, change and remove environments.
        WriteEnvironments = "write environments",
        /// Get connection data of environments.
        ConnectEnvironments = "connect to environments",
        /// Request lifecycle transitions; place and release holds; cancel jobs.
        RunLifecycle = "run lifecycle actions",
        /// Release holds that keep data, or end them sooner.
        ReleaseKeptData = "release holds that keep data",
        /// Purge tenants before their grace period ends.
        PurgeEarly = "purge before the grace period ends",
        /// Turn deletion protection off.
        Unprotect = "turn deletion protection off",
        /// Shorten the time between the deletion of a tenant and the earliest purge.
        ShortenGrace = "shorten the grace period",
        /// Read jobs and their logs.
        ReadJobs = "read jobs",
        /// Read the audit log.
        ReadAudit = "read the audit log",
        /// Verify the audit log, which covers all tenants.
        VerifyAudit = "read and verify the whole audit log",
        /// Read the status of the background loops of the server.
        ReadStatus = "read the server's status",
        /// Read keys, without their tokens.
        ReadKeys = "read keys",
        /// Create, rotate and revoke keys.
        ManageKeys = "manage keys",
    }
);

const READS: &[Operation] = &[
    Operation::ReadOrganizations,
    Operation::ReadTenants,
    Operation::ReadAccess,
    Operation::Plan,
    Operation::ReadJobs,
    Operation::ReadAudit,
    Operation::VerifyAudit,
    Operation::ReadStatus,
    Operation::ReadPlatformWebhooks,
    Operation::ReadPlacements,
];
const WRITES: &[Operation] = &[
    Operation::WriteOrganizations,
    Operation::RegisterTenants,
    Operation::WriteTenants,
    Operation::WriteEnvironments,
    Operation::ConnectEnvironments,
    Operation::RunLifecycle,
    Operation::WriteOrganizationWebhooks,
    Operation::WritePlatformWebhooks,
];
/// Operations that remove a protection of data. The rules check them, because they depend on the document and on the
/// current rows.
const PROTECTED: &[Operation] =
    &[Operation::ReleaseKeptData, Operation::PurgeEarly, Operation::Unprotect, Operation::ShortenGrace];
const CHANGES: &[Operation] = &[Operation::WriteTenants, Operation::WriteOrganizationWebhooks];
const READS_ACCESS: &[Operation] = &[Operation::ReadAccess];
const PLACEMENTS: &[Operation] = &[Operation::WritePlacements];
const READS_KEYS: &[Operation] = &[Operation::ReadKeys];
const KEYS: &[Operation] = &[Operation::ManageKeys];

/// Operations of each role.
pub const TABLE: &[(Role, &[&[Operation]])] = &[
    (Role::Admin, &[READS, WRITES, PROTECTED, PLACEMENTS, READS_KEYS, KEYS]),
    (Role::Operator, &[READS, WRITES]),
    (Role::Auditor, &[READS, READS_KEYS]),
    (Role::Viewer, &[READS]),
    (Role::Customer, &[READS, CHANGES]),
    (Role::Gateway, &[READS_ACCESS]),
];

/// Operations that require a key without a scope, regardless of its role: they concern the terms on which a customer is
/// served, or the server itself.
pub const UNSCOPED_ONLY: &[Operation] = &[
    Operation::WriteOrganizations,
    Operation::RegisterTenants,
    Operation::WriteEnvironments,
    Operation::ConnectEnvironments,
    Operation::RunLifecycle,
    Operation::VerifyAudit,
    Operation::ReleaseKeptData,
    Operation::PurgeEarly,
    Operation::Unprotect,
    Operation::ShortenGrace,
    Operation::ReadStatus,
    Operation::ReadPlatformWebhooks,
    Operation::WritePlatformWebhooks,
    Operation::ReadPlacements,
    Operation::WritePlacements,
];

/// Whether `role` may do `operation`.
pub fn may(role: Role, operation: Operation) -> bool {
    TABLE.iter().any(|(of, groups)| *of == role && groups.iter().any(|group| group.contains(&operation)))
}

/// Whether a key of this role and scope may do `operation`.
pub fn key_may(role: Role, scope: &Scope, operation: Operation) -> bool {
    may(role, operation) && (scope.is_all() || !UNSCOPED_ONLY.contains(&operation))
}

/// Whether a key of this role and scope reads every field in full, so that what it reads can be written back: internal
/// fields need a key without a scope, and secrets in URLs a role that writes them.
pub fn sees_everything(role: Role, scope: &str) -> bool {
    scope == "all" && may(role, Operation::WriteTenants)
}

/// Whether a key of this role and scope sees the whole URLs of webhooks. They often contain a secret, so that only who may
/// write them sees more than the host.
pub fn sees_urls(role: Role, scope: &Scope) -> bool {
    key_may(role, scope, Operation::WriteTenants)
}

/// Group of a field, which decides who can read and write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldGroup {
    /// Fields of the customer: scoped keys can also write them.
    Own,
    /// Terms on which the customer is served: only unscoped keys can write them, all keys can read them.
    Terms,
    /// Fields of the platform's operator: only unscoped keys can read and write them.
    Internal,
}

/// Group of each top-level field of a tenant's document. Keys of `labels` that begin with [`INTERNAL_LABELS`] are
/// [`FieldGroup::Internal`], regardless of the group of `labels`.
pub const TENANT_FIELDS: &[(&str, FieldGroup)] = &[
    ("display_name", FieldGroup::Own),
    ("labels", FieldGroup::Own),
    ("webhooks", FieldGroup::Own),
    ("tenant_id", FieldGroup::Terms),
    ("organization_id", FieldGroup::Terms),
    ("profile", FieldGroup::Terms),
    ("desired_state", FieldGroup::Terms),
    ("region", FieldGroup::Terms),
    ("aliases", FieldGroup::Terms),
    ("quotas", FieldGroup::Terms),
    ("policies", FieldGroup::Terms),
    ("environments", FieldGroup::Terms),
    ("deletion_protection", FieldGroup::Terms),
    ("billing", FieldGroup::Internal),
];

/// Fields outside the manifest, of tenants, holds, jobs and events, that are internal. All other fields outside the
/// manifest are visible to every caller that can read the resource.
pub const INTERNAL_FACTS: &[&str] = &["reason", "placed_by", "requested_by", "actor", "waiting_for", "placement"];

/// Prefix of labels that only unscoped keys can read and write.
pub const INTERNAL_LABELS: &str = "internal/";

/// Returns the group of a top-level field of a tenant's document. Fields that are not in the table are terms.
pub fn group(field: &str) -> FieldGroup {
    TENANT_FIELDS.iter().find(|(name, _)| *name == field).map_or(FieldGroup::Terms, |(_, group)| *group)
}

/// Audience of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Callers with unscoped keys, which see everything.
    Staff,
    /// Callers with scoped keys, which see nothing internal.
    Customer,
}

impl Scope {
    /// Returns the audience of responses to a key with this scope.
    pub fn audience(&self) -> Audience {
        if self.is_all() { Audience::Staff } else { Audience::Customer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TenantId;

    #[test]
    fn must_let_an_admin_do_every_operation_and_other_roles_fewer() {
        for (_, operation) in Operation::WORDS {
            assert!(may(Role::Admin, *operation), "{operation}");
        }
        assert!(!may(Role::Viewer, Operation::WriteTenants));
        assert!(!may(Role::Operator, Operation::ManageKeys));
        for (_, role) in Role::WORDS.iter().filter(|(_, role)| *role != Role::Admin) {
            assert!(PROTECTED.iter().all(|operation| !may(*role, *operation)), "{role}");
        }
    }

    #[test]
    fn must_let_an_auditor_read_everything_and_write_nothing() {
        for (word, operation) in Operation::WORDS {
            let reads = word.starts_with("read") || *operation == Operation::Plan;
            assert_eq!(may(Role::Auditor, *operation), reads, "{operation}");
        }
    }

    #[test]
    fn must_let_a_gateway_read_access_and_nothing_else() {
        let permitted = Operation::WORDS.iter().filter(|(_, operation)| may(Role::Gateway, *operation));
        assert_eq!(permitted.map(|(_, operation)| *operation).collect::<Vec<_>>(), [Operation::ReadAccess]);
    }

    #[test]
    fn must_keep_terms_from_every_scoped_key() {
        let scope = Scope::Tenant(TenantId::known("acme-eu"));
        for (_, role) in Role::WORDS {
            for operation in UNSCOPED_ONLY {
                assert!(!key_may(*role, &scope, *operation), "{role} {operation}");
            }
        }
        assert!(key_may(Role::Customer, &scope, Operation::WriteTenants));
    }
}
