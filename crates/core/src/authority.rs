//! The authority of a decision: what its actor may do beyond what the route required.
//!
//! Some effects depend on the document or on the current rows: a change can turn deletion protection off, and a hold
//! can keep data. The rules check these permissions themselves, so that they hold on every path of a change.

use crate::apikey::Role;
use crate::permission::{Operation, key_may};
use crate::scope::Scope;

/// What the actor of a decision may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// Everything: the actor is a part of the product.
    Everything,
    /// What a key with this role and scope may do.
    Key(Role, Scope),
    /// Nothing that requires a permission of its own.
    Nothing,
}

impl Authority {
    /// Whether the actor may do `operation`.
    pub fn may(&self, operation: Operation) -> bool {
        match self {
            Self::Everything => true,
            Self::Key(role, scope) => key_may(*role, scope, operation),
            Self::Nothing => false,
        }
    }

    /// Says that the actor may not do `operation`, and what to do.
    pub fn refusal(&self, operation: Operation) -> String {
        match self {
            Self::Key(role, _) => {
                format!("a key with role {role} may not {operation}; use a key whose role allows it, such as admin")
            }
            Self::Everything | Self::Nothing => format!("this requires a key that may {operation}, such as admin"),
        }
    }
}
