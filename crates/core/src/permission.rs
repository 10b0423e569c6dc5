//! Who may do what: tables of data, in one place.
//!
//! What a caller may do follows from the role of its key (which operations), from the scope of its key (on what), and
//! from the group of a field (which part of a document).

use crate::apikey::Role;
use crate::scope::Scope;
use crate::words::words;

words!(
    /// Everything that can be asked of the server with a credential. A route names the one it needs.
    Operation {
        /// Read an organization, or list them.
        ReadOrganizations = "read organizations",
        /// Create, change or close an organization.
        WriteOrganizations = "write organizations",
        /// Read tenants, environments, versions, webhooks, or list them.
        ReadTenants = "read tenants",
        /// See what a manifest would change.
        Plan = "plan changes",
        /// Register tenants.
        RegisterTenants = "register tenants",
        /// Change tenants.
        WriteTenants = "write tenants",
        /// Add, change and remove environments.
        WriteEnvironments = "write environments",
        /// Ask for a lifecycle transition; place and release holds; cancel jobs.
        RunLifecycle = "run lifecycle actions",
        /// Read jobs and their logs.
        ReadJobs = "read jobs",
        /// Read the audit log.
        ReadAudit = "read the audit log",
        /// Read what runs in the background of the server.
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
    Operation::Plan,
    Operation::ReadJobs,
    Operation::ReadAudit,
    Operation::ReadStatus,
];
const WRITES: &[Operation] = &[
    Operation::WriteOrganizations,
    Operation::RegisterTenants,
    Operation::WriteTenants,
    Operation::WriteEnvironments,
    Operation::RunLifecycle,
];
const CHANGES: &[Operation] = &[Operation::WriteTenants];
const READS_KEYS: &[Operation] = &[Operation::ReadKeys];
const KEYS: &[Operation] = &[Operation::ManageKeys];

/// What each role may do.
pub const TABLE: &[(Role, &[&[Operation]])] = &[
    (Role::Admin, &[READS, WRITES, READS_KEYS, KEYS]),
    (Role::Operator, &[READS, WRITES]),
    (Role::Auditor, &[READS, READS_KEYS]),
    (Role::Viewer, &[READS]),
    (Role::Customer, &[READS, CHANGES]),
];

/// What only a key without a scope may do, whatever its role: it concerns the terms on which a customer is served, or the
/// server itself.
pub const UNSCOPED_ONLY: &[Operation] = &[
    Operation::WriteOrganizations,
    Operation::RegisterTenants,
    Operation::WriteEnvironments,
    Operation::RunLifecycle,
    Operation::ReadStatus,
];

/// Whether `role` may do `operation`.
pub fn may(role: Role, operation: Operation) -> bool {
    TABLE.iter().any(|(who, groups)| *who == role && groups.iter().any(|group| group.contains(&operation)))
}

/// Whether a key of this role and scope may do `operation`.
pub fn key_may(role: Role, scope: &Scope, operation: Operation) -> bool {
    may(role, operation) && (scope.is_all() || !UNSCOPED_ONLY.contains(&operation))
}

/// Which part of the record a field belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldGroup {
    /// The customer's own: written by scoped keys, too.
    Own,
    /// The terms on which the customer is served: written by unscoped keys only, read by all.
    Terms,
    /// For our own staff: written and read by unscoped keys only.
    Internal,
}

/// The field groups of a tenant's document, by its top-level fields. Keys of `labels` that begin with
/// [`INTERNAL_LABELS`] are [`FieldGroup::Internal`], whatever the group of `labels`.
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

/// The internal fields of answers, wherever they stand: the reason of a hold, and who acted. A customer is shown no reason, and
/// of actors only keys with a scope. Every other fact is shown to all callers that may read the thing itself.
pub const INTERNAL_FACTS: &[&str] = &["reason", "placed_by", "requested_by", "actor"];

/// The prefix of labels that only unscoped keys read and write.
pub const INTERNAL_LABELS: &str = "internal/";

/// The group of a top-level field of a tenant's document; a field that is not in the table is a term.
pub fn group(field: &str) -> FieldGroup {
    TENANT_FIELDS.iter().find(|(name, _)| *name == field).map_or(FieldGroup::Terms, |(_, group)| *group)
}

/// For whom an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Bearers of unscoped keys: they see everything.
    Staff,
    /// Bearers of scoped keys: they see nothing internal.
    Customer,
}

impl Scope {
    /// For whom an answer to a key of this scope is written.
    pub fn audience(&self) -> Audience {
        if self.is_all() { Audience::Staff } else { Audience::Customer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TenantId;

    #[test]
    fn must_let_somebody_do_each_operation_and_an_admin_all() {
        for (_, operation) in Operation::WORDS {
            assert!(may(Role::Admin, *operation), "{operation}");
        }
        assert!(!may(Role::Viewer, Operation::WriteTenants));
        assert!(!may(Role::Operator, Operation::ManageKeys));
    }

    #[test]
    fn must_let_an_auditor_read_everything_and_write_nothing() {
        for (word, operation) in Operation::WORDS {
            let reads = word.starts_with("read") || *operation == Operation::Plan;
            assert_eq!(may(Role::Auditor, *operation), reads, "{operation}");
        }
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
