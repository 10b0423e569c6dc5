//! Records refused calls in the audit log.

use super::{Command, Decided};
use crate::authentication::Caller;
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::rules::refusals::{RefusedCalls, record};

/// Records refused calls.
#[derive(Debug)]
pub struct Record {
    /// The calls.
    pub calls: Vec<RefusedCalls>,
}

impl Command for Record {
    type Outcome = ();

    async fn decide(&self, _: &Tenancy, _: &Caller, context: &mut DecisionContext) -> Result<Decided<()>, Error> {
        Ok(Decided { outcome: (), changes: record(&self.calls, context)? })
    }
}
