//! Who may do what: one table.

use crate::apikey::Role;
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
        /// Register or change tenants and environments.
        WriteTenants = "write tenants",
        /// Ask for a lifecycle transition; place and release holds.
        RunLifecycle = "run lifecycle actions",
        /// Read jobs and their logs.
        ReadJobs = "read jobs",
        /// Read the audit log of tenants.
        ReadAudit = "read the audit log",
        /// Read what runs in the background of the server.
        ReadStatus = "read the server's status",
        /// Read, create and revoke keys.
        ManageKeys = "manage keys",
    }
);

const READS: &[Operation] = &[
    Operation::ReadOrganizations,
    Operation::ReadTenants,
    Operation::ReadJobs,
    Operation::ReadAudit,
    Operation::ReadStatus,
];
const WRITES: &[Operation] = &[Operation::WriteOrganizations, Operation::WriteTenants, Operation::RunLifecycle];
const KEYS: &[Operation] = &[Operation::ManageKeys];

/// What each role may.
pub const TABLE: &[(Role, &[&[Operation]])] =
    &[(Role::Admin, &[READS, WRITES, KEYS]), (Role::Operator, &[READS, WRITES]), (Role::Viewer, &[READS])];

/// Whether `role` may do `operation`.
pub fn may(role: Role, operation: Operation) -> bool {
    TABLE.iter().any(|(who, groups)| *who == role && groups.iter().any(|group| group.contains(&operation)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_let_somebody_do_each_operation_and_an_admin_all() {
        for (_, operation) in Operation::WORDS {
            assert!(may(Role::Admin, *operation), "{operation}");
        }
        assert!(!may(Role::Viewer, Operation::WriteTenants));
        assert!(!may(Role::Operator, Operation::ManageKeys));
    }
}
