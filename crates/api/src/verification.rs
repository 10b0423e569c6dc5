//! The verification of the audit log as responses show it.

use crate::word::Word;
use serde::{Deserialize, Serialize};
use tenancy_core::log_fault::{self as core, LogFaultKind};
use utoipa::ToSchema;

/// Result of the verification of a part of the audit log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogVerification {
    /// Number of events in this part that were verified.
    pub events: u64,
    /// Number of sealed events in this part that have expired.
    pub expired: u64,
    /// Number of seals in this part that were verified.
    pub seals: u64,
    /// Last log position that is verified and sealed.
    pub sealed_position: i64,
    /// Last log position that is verified. Positions after `sealed_position` are not sealed yet.
    pub position: i64,
    /// Digest of the last verified seal. It depends on every event up to `sealed_position`. Keep it outside the
    /// database to detect later that the log was rewritten together with its seals. Empty if nothing is sealed.
    pub digest: String,
    /// The first fault. The verification ends there. Omitted if everything in this part fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<LogFault>,
    /// Value of `after` for the next part. Omitted in the last part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Something in the audit log that does not fit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogFault {
    /// Kind of the fault.
    #[schema(value_type = crate::schema::LogFaultKind)]
    pub kind: Word<LogFaultKind>,
    /// Log position of the fault.
    pub position: i64,
    /// Id of the event. Omitted if there is no event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_id: Option<String>,
    /// What does not fit.
    pub message: String,
}

impl From<&core::LogFault> for LogFault {
    fn from(fault: &core::LogFault) -> Self {
        Self {
            kind: fault.kind.into(),
            position: fault.position,
            audit_id: fault.audit_id.clone(),
            message: fault.message.clone(),
        }
    }
}
