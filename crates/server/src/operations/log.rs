//! Maintenance of the audit log: removes expired events.

use super::{Command, Decided};
use crate::authentication::Caller;
use crate::tenancy::{RequestContext, Tenancy};
use jiff::civil::Date;
use tenancy_core::Error;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::rules::log::expire;
use tenancy_store::upkeep::Expired;

/// Records that events of tenants before a day will be removed.
#[derive(Debug)]
pub struct Expire {
    /// First day that is kept; must be the first of a month.
    pub first_kept: Date,
}

impl Command for Expire {
    type Outcome = ();

    async fn decide(&self, _: &Tenancy, _: &Caller, context: &mut DecisionContext) -> Result<Decided<()>, Error> {
        let (_, changes) = expire(self.first_kept, context)?;
        Ok(Decided { outcome: (), changes })
    }
}

impl Tenancy {
    /// Removes events of tenants before `first_kept`. First raises the floor of the log, which only the owner of the
    /// log can do. Then commits the record of the removal, and only then removes anything. If this stops at any point,
    /// no event is missing without a record, and running it again continues.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the day is not the first of a month, or too late; errors of the database.
    pub async fn expire_log(&self, first_kept: Date, request: &RequestContext) -> Result<Expired, Error> {
        let (start, _) = expire(first_kept, &mut self.context(request)?)?;
        self.store.raise_log_floor(start).await?;
        self.decide_and_commit(&Expire { first_kept }, request, None).await?;
        self.store.remove_expired_log(start).await
    }
}
